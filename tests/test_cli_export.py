"""`staticnet export`: a graph's text and a state become a program that runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import BATCH, Feeds, build, check, mlp

import staticnet as sn
from staticnet.cli.main import main
from staticnet.io import safetensors

COMPILES = True


@pytest.fixture
def graph_file(tmp_path: Path) -> tuple[Path, sn.Function, Feeds]:
    step, feeds = mlp()
    file = tmp_path / "graph.sn"
    file.write_text(f"{step.graph}\n", encoding="utf-8")
    return file, step, feeds


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
def test_the_command_exports_a_graphs_text(graph_file: Any, tmp_path: Path, capsys: Any) -> None:
    file, step, feeds = graph_file
    weights = {v.name: v.value for v in step.graph.variables if "exp_avg" not in v.name}
    safetensors.save(tmp_path / "weights.safetensors", weights)
    out = tmp_path / "out.c"
    arguments = ["export", str(file), "-o", str(out), "--dim", f"b={BATCH}"]
    assert main([*arguments, "--state", str(tmp_path / "weights.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert f"wrote {out} and {out.with_suffix('.h')}\n" in shown
    assert "8 of 14 variables begin as zeros" in shown
    for v in step.graph.variables:
        if "exp_avg" in v.name:
            v.value = np.zeros(v.shape, "f")  # type: ignore[attr-defined]
    check(build(out), step, feeds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "main wants --dim b=N; got none"),
        (["--dim", "c=3"], "main wants --dim b=N; got c=3"),
        (["--dim", "b"], "give a name and a number"),
        (["--dim", "b=-3"], "give a name and a number"),
        (["--dim", "b=3", "-o", "here"], "must end in .c"),
    ],
)
def test_the_command_names_what_is_wrong(
    graph_file: Any, capsys: Any, arguments: list[str], message: str
) -> None:
    assert main(["export", str(graph_file[0]), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_state_that_does_not_fit_is_refused(graph_file: Any, tmp_path: Path, capsys: Any) -> None:
    file, weights = str(tmp_path / "graph.sn"), tmp_path / "w.safetensors"
    command = ["export", file, "--dim", "b=3", "-o", str(tmp_path / "f.c"), "--state", str(weights)]
    for name, message in (("nothing", "has no nothing"), ("adam.step", "cannot hold an array")):
        safetensors.save(weights, {name: np.zeros(3, np.int64)})
        assert main(command) == 2
        assert message in capsys.readouterr().err
    weights.unlink()
    assert main(command) == 2
    assert "w.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "f.c").exists()
