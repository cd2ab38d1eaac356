"""Golden text for every pass: tests/golden/<pass>/<case>.sn holds the graph before and after."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import staticnet as sn
from staticnet import flags
from staticnet.compilation import PIPELINE
from staticnet.errors import ArgumentError, FlagError, VerifyError
from staticnet.passes.manager import Context, Pass, run_passes
from staticnet.plan.analysis import layout_of
from staticnet.plan.planner import make_plan

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.sn"))
MARK = "// after "


def settings(text: str) -> dict[str, Any]:
    """What a golden file's comments say: `// dims: batch=4`, `// numerics: exact`, ….

    `// epilogues: bias relu`, `// narrow_epilogues: gelu` and `// products: float32` are what the
    backend's library offers, and `// keeps_casts: True` is that it has casts of state as state;
    `// channels_last: True` is that it prefers that, `// loop_cache: 4096` what it has of that, and
    `// calls: attention` what it computes whole.
    """
    names = "dims|numerics|precision|epilogues|narrow_epilogues|products|memory_limit|keeps_casts"
    names += "|channels_last|loop_cache|calls"
    found = dict(re.findall(rf"^// ({names}): (.*)", text, re.M))
    options: dict[str, Any] = {key: found[key] for key in found.keys() & {"numerics", "precision"}}
    for key in found.keys() & {"epilogues", "narrow_epilogues", "products", "calls"}:
        options[key] = frozenset(found[key].split())
    options["keeps_casts"] = found.get("keeps_casts") == "True"
    options["channels_last"] = found.get("channels_last") == "True"
    options["loop_cache"] = int(found.get("loop_cache", 0))
    if "memory_limit" in found:
        options["memory_limit"] = int(found["memory_limit"])
        options["layout"] = lambda graph, recompute: layout_of(make_plan(graph, recompute=False))
    pairs = [word.split("=") for word in found.get("dims", "").split()]
    return options | {"dims": {name: int(value) for name, value in pairs}}


@pytest.mark.parametrize("file", FILES, ids=[f"{f.parent.name}/{f.stem}" for f in FILES])
def test_golden(file: Path, golden: Callable[[str, str], None]) -> None:
    name = file.parent.name
    before = file.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
    graph = sn.parse(before)
    passes = [p for p in PIPELINE if name in (p.name, "pipeline")]
    after, _ = run_passes(graph, passes, **settings(before))
    assert sn.parse(str(after)) is after
    golden(f"{name}/{file.name}", f"{before}\n{MARK}{name}\n{after}")


def test_every_pass_has_a_golden_file() -> None:
    assert {p.name for p in PIPELINE} | {"pipeline"} == {file.parent.name for file in FILES}


@pytest.mark.parametrize("p", PIPELINE, ids=[p.name for p in PIPELINE])
def test_passes_are_idempotent(p: Pass) -> None:
    text = (GOLDEN / "pipeline" / "train_step.sn").read_text(encoding="utf-8")
    graph = sn.parse(text.partition(MARK)[0])
    once = p.run(graph, Context())
    assert p.run(once, Context()) is once


def small() -> sn.Graph:
    x = sn.placeholder((3,), name="x")
    return sn.Graph("small", [x], [sn.tanh(x) * 1])


def test_a_broken_pass_is_named() -> None:
    from staticnet.ir.node import Node
    from staticnet.ir.types import TensorType

    def break_types(graph: sn.Graph, context: Context) -> sn.Graph:
        (y,) = graph.outputs
        wrong = Node(y.op, y.inputs, TensorType(y.dtype, (7,)))
        return sn.Graph(graph.name, graph.inputs, [wrong])

    with pytest.raises(VerifyError, match=r"after break_types: .*the op infers f32\[3\]"):
        run_passes(small(), [*PIPELINE, Pass("break_types", break_types)])


def test_records_say_what_was_done() -> None:
    graph, records = run_passes(small(), PIPELINE)
    assert [record.name for record in records] == [p.name for p in PIPELINE]
    (record,) = (record for record in records if record.name == "algebraic_simplify")
    assert record.notes == {"multiply_by_one": 1}
    assert (record.before, record.after) == (4, 2)
    assert "multiply_by_one ×1" in str(record)
    assert records[-1].graph is graph


def test_debug_logs_and_dump_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STATICNET_DEBUG", "passes")
    monkeypatch.setenv("STATICNET_DUMP", str(tmp_path / "dump"))
    with caplog.at_level(logging.INFO, "staticnet"):
        run_passes(small(), PIPELINE)
    assert [r.message.split()[0] for r in caplog.records] == [p.name for p in PIPELINE]
    files = sorted(file.name for file in (tmp_path / "dump").iterdir())
    number = [p.name for p in PIPELINE].index("algebraic_simplify")
    (name,) = (file for file in files if file.endswith("algebraic_simplify.sn"))
    assert name.split(".", 1)[1] == f"small.{number:02}.algebraic_simplify.sn"
    assert "multiply" not in (tmp_path / "dump" / name).read_text(encoding="utf-8")


def test_dumps_tell_functions_and_sizes_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STATICNET_DUMP", str(tmp_path))
    for dims in ({}, {"b": 3, "a": 2}):
        run_passes(small(), PIPELINE, dims=dims)
        run_passes(small(), PIPELINE, dims=dims)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert len(files) == 4 * len(PIPELINE)
    starts = sorted({name.split(".small.")[0] for name in files}, key=int)
    assert len(starts) == 4
    assert [n for n in files if n.startswith(f"{starts[2]}.small.a=2.b=3.00.")]


def test_debug_prints_where_no_logging_is_configured() -> None:
    code = (
        "import staticnet as sn; x = sn.placeholder((2,), name='x')\n"
        "sn.function(x, x * 1, device='numpy')\n"
        "import logging, io; logging.basicConfig(stream=io.StringIO(), level=logging.INFO)\n"
        "sn.function(x, x * 2, device='numpy')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"STATICNET_DEBUG": "passes"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == ""
    assert "multiply_by_one ×1" in run.stderr
    assert run.stderr.count("algebraic_simplify") == 1  # later the program's own logging has it


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STATICNET_DEBUG", "passes,everything", "everything: the legal topics are"),
        ("STATICNET_VERIFY", "yes", "use 0 or 1"),
        ("STATICNET_DEBUG", "passes, all", "STATICNET_DEBUG=all: the legal topics are"),
        ("STATICNET_DUMP", __file__, r"STATICNET_DUMP=.*\.sn cannot be written: .*; name a folder"),
        ("STATICNET_VERIFFY", "1", "STATICNET_VERIFFY is not a staticnet variable; the legal"),
    ],
)
def test_wrong_flags(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(FlagError, match=message):
        run_passes(small(), PIPELINE)


def test_empty_flags_are_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBUG", "DUMP", "VERIFY", "DATA", "TUNE", "CACHE"):
        monkeypatch.delenv(f"STATICNET_{name}", raising=False)
    monkeypatch.delenv("CC", raising=False)
    unset = flags.read()
    for name in ("DEBUG", "DUMP", "VERIFY", "DATA", "TUNE", "CACHE"):
        monkeypatch.setenv(f"STATICNET_{name}", "")
    monkeypatch.setenv("CC", "")
    assert flags.read() == unset
    monkeypatch.setenv("STATICNET_DEBUG", " passes, time,")
    assert flags.read().debug == {"passes", "time"}


def test_the_verifier_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATICNET_VERIFY", "0")
    assert len(run_passes(small(), PIPELINE)[1]) == len(PIPELINE)


def test_unknown_pass_to_leave_out() -> None:
    with pytest.raises(ArgumentError, match="'fusion' is no pass"):
        run_passes(small(), PIPELINE, disabled=["fusion"])
