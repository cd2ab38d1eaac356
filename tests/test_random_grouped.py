"""Random programs are what they are without the passes for a library's products."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from random_grouped import array, program

import staticnet as sn
from staticnet.ops.auxiliary import AUXILIARY
from staticnet.ops.library import EPILOGUES
from staticnet.passes import auxiliary, grouped, grouped_gradients, grouped_operands
from staticnet.passes.infer_shape import INFER_SHAPE
from staticnet.passes.manager import run_passes

OFFERED = EPILOGUES | AUXILIARY | {grouped_operands.OFFER}
PASSES = tuple(p for p in sn.PIPELINE if p.name not in ("scatter_updates", "remat"))

SLOW = range(100, 160, 15)


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products pay, too, and however long their results are needed."""
    monkeypatch.setattr(grouped, "NEAR", 1000)
    monkeypatch.setattr(auxiliary, "LEAST_ELEMENTS", 1)
    monkeypatch.setattr(auxiliary, "MULTIPLE", 1)
    for module in (grouped_operands, grouped_gradients):
        monkeypatch.setattr(module, "LEAST_BYTES", -(1 << 40))


def evaluated(graph: sn.Graph, feed: Any, **options: Any) -> tuple[list[Any], Counter[str]]:
    """A graph's values after the passes, on NumPy, and what these did."""
    after, records = run_passes(graph, PASSES, epilogues=OFFERED, **options)
    notes = Counter[str]()
    for record in records:
        if record.name in ("grouped", "auxiliary"):
            notes.update(record.notes)
    f = sn.function(list(after.inputs), list(after.outputs), passes=(INFER_SHAPE,), device="numpy")
    return f(feed), notes


def compare(seed: int) -> Counter[str]:
    """Check one program; what the passes did in it."""
    made = program(seed)
    feed = array(seed, made.graph.inputs[0])
    wanted, _ = evaluated(made.graph, feed, disabled=["grouped", "auxiliary"])
    got, notes = evaluated(made.graph, feed)
    sizes = [np.linalg.norm(np.asarray(x, "d")) for x in wanted]
    for i, (mine, want) in enumerate(zip(got, wanted, strict=True)):
        error = np.linalg.norm(np.asarray(mine, "d") - want)
        assert error <= made.noise * (sizes[i] + max(sizes) / 10), (seed, i, error, sizes[i])
    return notes


@pytest.mark.parametrize(
    "seeds",
    [range(10, 12), *(pytest.param(range(at, at + 15), marks=pytest.mark.slow) for at in SLOW)],
    ids=lambda seeds: f"{seeds.start}",
)
def test_programs(seeds: range) -> None:
    found = Counter[str]()
    for seed in seeds:
        found.update(compare(seed))
    assert {"products of one operand", "gradients side by side"} <= found.keys()
