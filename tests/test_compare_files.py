"""`staticnet compare` and its files: each number of them again from the raw samples."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import staticnet as sn
from bench import peers, recompute
from staticnet.cli import compare
from staticnet.cli.main import main
from staticnet.cli.workloads import WORKLOADS
from staticnet.compare import Comparison, table, waterfall
from staticnet.compare.model import build_model
from staticnet.compare.reference import reference_losses
from staticnet.compare.static import StaticStep

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("--device", "numpy", "--steps", "3", "--rounds", "3", "--peer")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick comparison without peers."""
    pytest.importorskip("matplotlib", reason="matplotlib draws the waterfall")
    folder = tmp_path_factory.mktemp("compare") / "out"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["compare", "playground", *QUICK, "--out", str(folder)]) == 0
    (folder.parent / "printed").write_text(printed.getvalue())
    return folder


@pytest.fixture
def comparison(saved: Path) -> Any:
    return json.loads((saved / "compare.json").read_text())


class TestFiles:
    def test_they_are_all_there(self, saved: Path) -> None:
        names = {file.name for file in saved.iterdir()}
        assert names == {"compare.json", "waterfall.png", "waterfall.svg", "report.html"}
        assert (saved / "waterfall.png").read_bytes().startswith(b"\x89PNG")

    def test_a_terminal_shows_names_as_they_are(
        self, comparison: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", "400")
        comparison["rows"][0]["name"] = "[bold]dyn[/red]"
        table.show(Comparison(comparison | {"name": "a [/red] b", "notes": ["[/red] note"]}))
        printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
        assert all(text in printed for text in ("a [/red] b", "[bold]dyn[/red]", "[/red] note"))

    def test_the_picture_keeps_dollars(self, comparison: Any) -> None:
        """They begin no formula."""
        drawn = waterfall.as_svg(waterfall.draw(comparison | {"name": "$1 of $x_{"}))
        assert "$1 of $x_{" in drawn

    def test_the_picture_suits_a_page(self, saved: Path, comparison: Any) -> None:
        text = (saved / "waterfall.svg").read_text()
        root = ElementTree.fromstring(text)
        ids = [x.get("id") for x in root.iter() if x.get("id")]
        assert ids
        assert all(name.startswith("waterfall-") for name in ids)
        targets = {x.get("{http://www.w3.org/1999/xlink}href") for x in root.iter()} - {None}
        assert {target.removeprefix("#") for target in targets} <= set(ids)
        for row in comparison["rows"]:
            assert row["name"].removeprefix("without ") in text
        assert "currentColor" in text
        assert "#010101" not in text
        assert comparison["waterfall_svg"] == text

    def test_the_page_is_of_the_file(self, saved: Path, comparison: Any) -> None:
        page = (saved / "report.html").read_text()
        assert "playground: 2-4-2-1 tanh" in page
        assert "waterfall-" in page
        assert comparison["document"]["totals"]["launches"] > 0

    def test_dots_are_medians_and_lines_their_intervals(self, comparison: Any) -> None:
        pytest.importorskip("matplotlib")
        upper, lower = waterfall.draw(comparison).axes
        rows = [r for r in comparison["rows"] if r["values"]["verdict"] != "the same program"]
        steps = [r for r in rows if not r["name"].startswith("without")]
        values = [r["values"] for r in steps]
        lines, dots = drawn_in(upper)
        scale = dots[0] / values[0]["time"]
        np.testing.assert_allclose(dots, [v["time"] * scale for v in values])
        np.testing.assert_allclose(lines, [np.multiply(v["time_interval"], scale) for v in values])
        left_out = [r for r in rows if r["name"].startswith("without")]
        assert [t.get_text() for t in lower.get_yticklabels()] == [r["name"] for r in left_out]
        lines, dots = drawn_in(lower)
        np.testing.assert_allclose(dots, [r["values"]["of_all"] for r in left_out])
        np.testing.assert_allclose(lines, [r["values"]["of_all_interval"] for r in left_out])


def drawn_in(ax: Any) -> tuple[list[Any], list[float]]:
    """The ends of the lines along x, and the places of the dots."""
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    rest = [line for line in ax.lines if line.get_marker() != "o"]
    return [x.get_xdata() for x in rest if np.ptp(x.get_ydata()) == 0], dots


class TestRecompute:
    def test_all_numbers_follow_from_the_samples(
        self, saved: Path, comparison: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert recompute.main([str(saved / "compare.json")]) == 0
        columns, rows = len(comparison["columns"]), len(comparison["rows"])
        assert f"{columns * rows} values of {rows} rows: 0 differ" in capsys.readouterr().out

    def test_a_tampered_number_is_found(self, comparison: Any) -> None:
        for column in comparison["columns"]:
            key, changed = column["key"], copy.deepcopy(comparison)
            values = changed["rows"][3]["values"]
            values[key] = tampered(values[key])
            (line,) = recompute.differences(changed)
            assert line.startswith(f"{changed['rows'][3]['name']}: {key} is ")

    def test_a_tampered_sample_is_found(self, comparison: Any) -> None:
        record = comparison["raw"]["contenders"][0]
        record["samples"] = [[2 * s for s in samples] for samples in record["samples"]]
        lines = recompute.differences(comparison)
        assert any(line.startswith("dynamic: time is") for line in lines)
        assert any("speedup" in line for line in lines)

    def test_rows_that_come_and_go_are_found(self, comparison: Any) -> None:
        row = comparison["rows"].pop()
        assert recompute.differences(comparison) == [
            f"{row['name']}: measured, and not in the table"
        ]
        comparison["rows"].append(row | {"name": "invented"})
        assert len(recompute.differences(comparison)) == 2

    def test_another_page_is_found(
        self, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("compare.json", "report.html"):
            (tmp_path / name).write_text((saved / name).read_text())
        page = (tmp_path / "report.html").read_text()
        (tmp_path / "report.html").write_text(page.replace("dynamic", "Dynamic", 1))
        assert recompute.main([str(tmp_path / "compare.json")]) == 1
        assert "report.html is not the page of this file" in capsys.readouterr().out


def tampered(value: Any) -> Any:
    """Another value of the same kind."""
    if value is None:
        return 1.0
    if isinstance(value, str):
        return f"{value}!"
    if isinstance(value, list):
        return [value[0], 1.001 * value[1]]
    return 1.001 * value + (value == 0)


class TestCommand:
    def test_what_is_printed(self, saved: Path) -> None:
        out = (saved.parent / "printed").read_text()
        assert f"wrote {saved / 'report.html'}" in out
        for text in ("dynamic", "static, all passes", "fusion", "the program is the same without"):
            assert text in out
        assert "torch" not in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["resnet"], "workload 'resnet': use one of mlp, playground"),
            (["mlp", "--device", "tpu"], "--device 'tpu': use one of auto"),
            (["mlp", "--peer", "mxnet"], "--peer 'mxnet': use one of torch"),
            (["mlp", "--steps", "0", "--device", "numpy"], "steps must be a positive int"),
        ],
    )
    def test_bad_options(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", *arguments]) == 2
        assert message in capsys.readouterr().err

    def test_without_a_checkout_the_peers_are_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from staticnet.cli import bench

        assert [p.name for p in compare.find_peers("mlp", ["jax"])[0]] == ["jax"]
        assert compare.find_peers("mlp", []) == ([], "")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(
            bench.staticnet, "__file__", str(tmp_path / "staticnet" / "__init__.py")
        )
        found, note = compare.find_peers("mlp", ["torch", "jax"])
        assert found == []
        assert "torch, jax were left out: their programs are in the repository" in note


def test_a_folder_that_cannot_be_is_told_before_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib draws the waterfall")
    file = tmp_path / "file"
    file.touch()
    assert main(["compare", "playground", *QUICK, "--out", str(file)]) != 0
    printed = capsys.readouterr()
    assert str(file) in printed.err
    assert printed.out == ""


COMPILED = pytest.param("torch.compile", marks=pytest.mark.slow)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch by itself
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.parametrize("peer", ["torch", COMPILED, "jax"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_peers_train_alike(name: str, peer: str) -> None:
    pytest.importorskip(compare.PEERS[peer], reason="the peer is not installed")
    workload = WORKLOADS[name]
    feeds = workload.feeds()
    model = build_model(workload.build, feeds[0], 0)
    graph = StaticStep.of(model, "numpy", ()).function.graph
    count = 10 if name in ("mlp", "playground") else 2  # a step op by op takes seconds
    wanted = reference_losses(graph, feeds, count)
    steps = peers.build(feeds, model.weights(), "cpu", workload=name, peer=peer)
    np.testing.assert_allclose(steps.losses(count), wanted, rtol=1e-4)


def test_the_example_trains_fails_and_compares(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "static_vs_dynamic.py"))
    example["main"](40, device="numpy", rounds=1, seconds=0.002, steps=10)
    out = capsys.readouterr().out
    assert len(out.split("iterations [")[1].split("]")[0].split(",")) > 1
    line = example["Equilibrium"].forward.__code__.co_firstlineno + 10
    assert re.search(rf"compiled as it stands: .*bool: .*static_vs_dynamic\.py:{line} depends", out)
    assert "sn.where" in out
    assert "the bounded layer" in out
    feeds = example["batches"](10)
    losses = []
    for bounded in (False, True):
        sn.manual_seed(0)
        losses.append(example["train"](example["Equilibrium"](bounded), feeds)[0])
    np.testing.assert_allclose(*losses, rtol=1e-5)
