"""A kernel writes over a buffer only what it reads at the very element that it makes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler

COMPILES = True
SHAPE = (4, 3)
ORDER = np.array([2, 0, 1, 3])
VIEWS: dict[str, Callable[[Any], Any]] = {
    "flip": lambda t: sn.flip(t, 0),
    "roll": lambda t: sn.roll(t, 1, 0),
    "transpose": lambda t: sn.reshape(sn.matrix_transpose(t), SHAPE),
    "slice": lambda t: sn.concat([t[1:], t[:1]]),
    "strides": lambda t: sn.concat([t[::2], t[1::2]]),
    "pad": lambda t: sn.pad(t[:-1], ((1, 0), (0, 0))),
    "take": lambda t: sn.take(t, sn.constant(ORDER), 0),
    "tile": lambda t: sn.tile(t[:2], (2, 1)),
    "broadcast": lambda t: sn.broadcast_to(t[1], SHAPE),
}
JOINS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b,
    lambda a, b: sn.where(a > b, a, b * 0.5),
]


X = sn.placeholder(SHAPE, "float64", name="x")


def moved_and_straight(view: Callable[[Any], Any], x: Any = X) -> list[Any]:
    """Programs that read one buffer straight, and through a view behind an elementwise op."""
    t = sn.cumulative_sum(x, axis=0)  # a routine: what it makes lies in the arena
    f, g = sn.tanh(t * 2), sn.tanh(t * 3)
    pairs = [(f, view(g)), (view(f), g), (view(f), view(g)), (f, sn.tanh(view(t))), (t, view(t))]
    return [sn.cumulative_sum(j(*pair), axis=0) for j, pair in itertools.product(JOINS, pairs)]


def moved_state(view: Callable[[Any], Any], x: Any = X) -> tuple[Any, dict[Any, Any]]:
    """State that is updated from moved views of itself and of other state."""
    start = np.random.default_rng(1).normal(size=(2, *SHAPE))
    v, w = sn.variable(start[0], name="v"), sn.variable(start[1], name="w")
    updates = {v: sn.tanh(v * 2) + view(sn.tanh(v * 3)), w: w + view(w * 0.5) + view(sn.tanh(v))}
    return sn.sum(x * v), updates


FEED = np.random.default_rng(0).normal(size=SHAPE)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("name", VIEWS)
def test_a_buffer_that_is_read_elsewhere_too(name: str) -> None:
    outputs = moved_and_straight(VIEWS[name])
    got, wanted = (sn.function(X, outputs, device=d)(FEED) for d in ("cpu", "numpy"))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("name", VIEWS)
def test_state_that_is_read_elsewhere_too(name: str) -> None:
    results = []
    for device in ("cpu", "numpy"):
        loss, updates = moved_state(VIEWS[name])
        step = sn.function(X, loss, updates=updates, device=device)
        losses = [step(FEED) for _ in range(3)]
        results.append([*losses, *(v.value for v in updates)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13)


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
def test_on_a_gpu_too(tmp_path: Path) -> None:
    """All the programs side by side, in one arena."""
    outputs, updates = [], {}
    for view in VIEWS.values():
        loss, new = moved_state(view)
        outputs, updates = [*outputs, *moved_and_straight(view), loss], updates | new
    f = sn.function(X, outputs, updates=updates, device="numpy")
    graph = lower(f)
    state = [v.value for v in graph.variables]  # type: ignore[attr-defined]
    failed, got, after = Machine(graph, tmp_path, arena=True).run([FEED], state)
    assert failed == 0
    wanted = f(FEED)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
    for a, v in zip(after, graph.variables, strict=True):
        np.testing.assert_allclose(a, v.value, rtol=0, atol=1e-13)  # type: ignore[attr-defined]


def test_what_is_read_at_its_own_element_is_written_over() -> None:
    """The memory is still used again where that is right: a reshape between keeps the place."""
    t = sn.cumulative_sum(X, axis=0)
    y = sn.cumulative_sum(sn.tanh(t) * sn.reshape(sn.exp(sn.reshape(t, (-1,))), SHAPE), axis=0)
    f = sn.function(X, sn.sum(y, axis=0), device="cpu" if find_compiler() else "numpy")
    assert len(f.specialize().plan.over) == 1
