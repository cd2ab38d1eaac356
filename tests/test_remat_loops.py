"""Loops under `memory_limit`: what the way back reads is computed again from the carries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_control_derivatives import RNG, inputs

import staticnet as sn
from staticnet.errors import MemoryLimitError

STEPS, BATCH, HIDDEN = 40, 3, 8


def lstm() -> tuple[list[Any], list[Any], list[Any]]:
    shapes = [(STEPS, BATCH, HIDDEN), (HIDDEN, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN)]
    arrays = [RNG.normal(size=s) for s in shapes]
    x, w, u = nodes = inputs(arrays)
    sigmoid = sn.nn.functional.sigmoid

    def cell(state: Any, x: Any) -> Any:
        h, c = state
        i, f, g, o = sn.split(x @ w + h @ u, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * sn.tanh(g)
        h = sigmoid(o) * sn.tanh(c)
        return (h, c), None

    zero = sn.zeros((BATCH, HIDDEN), "float64")
    (h, c), _ = sn.scan(cell, (zero, zero), x)
    loss = sn.sum(h * c)
    return arrays, nodes, [loss, *sn.grad(loss, [w, u])]


def nest() -> tuple[list[Any], list[Any], list[Any]]:
    arrays = [RNG.normal(size=(STEPS, BATCH, HIDDEN)), RNG.normal(size=(HIDDEN, HIDDEN))]
    x, w = nodes = inputs(arrays)

    def outer(h: Any, row: Any) -> Any:
        return sn.fori_loop(0, 4, lambda i, h: sn.sin(h @ w + row), h), None

    h, _ = sn.scan(outer, sn.zeros((BATCH, HIDDEN), "float64"), x)
    loss = sn.sum(h * h)
    return arrays, nodes, [loss, *sn.grad(loss, [w])]


@pytest.mark.parametrize(("make", "part"), [(lstm, 0.5), (nest, 0.6)])
def test_a_limit_stacks_carries_alone(make: Any, part: float) -> None:
    arrays, nodes, outputs = make()
    free = sn.function(nodes, outputs, device="numpy")
    limit = int(part * free.memory_analysis().peak)
    bound = sn.function(nodes, outputs, device="numpy", memory_limit=limit)
    assert bound.memory_analysis().peak <= limit
    for a, b in zip(bound(*arrays), free(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_a_limit_below_what_is_fed_is_an_error() -> None:
    arrays, nodes, outputs = nest()
    with pytest.raises(MemoryLimitError, match="computed again"):
        sn.function(nodes, outputs, device="numpy", memory_limit=arrays[0].nbytes)(*arrays)
