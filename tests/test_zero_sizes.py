"""Dims of 0 in every position, alone and behind and before other ops, on every device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.errors import ExecutionError, StaticnetError

COMPILES = True
SHAPES = [(0, 3), (3, 0), (0, 0), (2, 0, 3)]

# each is written for staticnet and for NumPy: f(module, array)
BEFORE: dict[str, Callable[[Any, Any], Any]] = {
    "nothing": lambda m, x: x,
    "double": lambda m, x: x * 2,
    "concat": lambda m, x: concat(m, [x, x, x, x], 0),
    "concat last": lambda m, x: concat(m, [x, x], -1),
    "flip": lambda m, x: m.flip(x),
    "step": lambda m, x: x[::2],
    "transpose": lambda m, x: x.T if x.ndim == 2 else x,
    "take": lambda m, x: m.take(x, np.zeros(0, np.int64), axis=0),
    "where": lambda m, x: m.where(x > 1, x, x * 2),
    "stack": lambda m, x: m.stack([x, x]),
    "pad": lambda m, x: m.pad(x, [(1, 2)] * x.ndim, constant_values=2),
    "broadcast": lambda m, x: m.broadcast_to(x, (2, *x.shape)),
}
AFTER: dict[str, Callable[[Any, Any], Any]] = {
    "same": lambda m, x: x,
    "sum": lambda m, x: m.sum(x),
    "sum first": lambda m, x: m.sum(x, axis=0),
    "sum last": lambda m, x: m.sum(x, axis=-1, keepdims=True),
    "count": lambda m, x: m.count_nonzero(x, axis=0),
    "count last": lambda m, x: m.count_nonzero(x > 1, axis=-1),
    "prod": lambda m, x: m.prod(x, axis=0),
    "any": lambda m, x: m.any(x > 1, axis=-1),
    "all": lambda m, x: m.all(x > 1, axis=0),
    "max": lambda m, x: m.max(x, axis=-1),
    "argmax": lambda m, x: m.argmax(x, axis=0),
    "sort": lambda m, x: m.sort(x, axis=-1),
    "roll": lambda m, x: m.roll(x, 1, axis=0),
    "product": lambda m, x: x @ x.T if x.ndim == 2 else x,
    "outer sum": lambda m, x: m.sum(x[..., None] * x[..., None, :], axis=-1),
    "concat": lambda m, x: concat(m, [x, x], -1),
    "sum of concat": lambda m, x: m.sum(concat(m, [x, x], 0), axis=0),
    "less the sum": lambda m, x: x - m.sum(x, axis=-1, keepdims=True),
    "reshape": lambda m, x: m.reshape(x, -1),
    "repeat": lambda m, x: m.repeat(x, 2, axis=0),
}


def concat(m: Any, xs: list[Any], axis: int) -> Any:
    return m.concatenate(xs, axis) if m is np else m.concat(xs, axis)


def cases(shape: tuple[int, ...], dtype: str) -> tuple[Any, Any, list[str], list[Any], list[Any]]:
    """-> placeholder, feed, names, nodes, and NumPy's values of all pairs that NumPy allows."""
    x, feed = sn.placeholder(shape, dtype, "x"), np.zeros(shape, dtype)
    names, nodes, wanted = [], [], []
    for first, before in BEFORE.items():
        for then, after in AFTER.items():
            try:
                value = after(np, before(np, feed))
            except ValueError:  # an extremum of nothing
                with pytest.raises(StaticnetError):
                    after(sn, before(sn, x))
                continue
            names.append(f"{first}, {then}")
            nodes.append(after(sn, before(sn, x)))
            wanted.append(np.asarray(value))
    return x, feed, names, nodes, wanted


def agree(names: list[str], got: list[Any], wanted: list[Any]) -> None:
    for name, a, b in zip(names, got, wanted, strict=True):
        np.testing.assert_array_equal(a, b, name, strict=True)


@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reference_and_tape(shape: tuple[int, ...], dtype: str) -> None:
    x, feed, names, nodes, wanted = cases(shape, dtype)
    agree(names, sn.function(x, nodes, device="numpy")(feed), wanted)
    t = sn.dynamic.tensor(feed)
    for name, value in zip(names, wanted, strict=True):
        first, then = name.split(", ")
        got = np.asarray(AFTER[then](sn, BEFORE[first](sn, t)))
        np.testing.assert_array_equal(got, value, name, strict=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cpu(shape: tuple[int, ...]) -> None:
    x, feed, names, nodes, wanted = cases(shape, "int64" if shape[0] else "float64")
    agree(names, sn.function(x, nodes, device="cpu")(feed), wanted)


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_cuda_kernels(shape: tuple[int, ...], tmp_path: Path) -> None:
    x, feed, names, nodes, wanted = cases(shape, "int64")
    machine = Machine(lower(sn.function(x, nodes, device="numpy")), tmp_path)
    failed, outputs, _ = machine.run([feed], [])
    assert not failed
    agree(names, outputs, wanted)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_gradients_are_empty(device: str) -> None:
    x = sn.placeholder((0, 3), "float64", "x")
    for loss in (sn.sum(sn.tanh(x)), sn.sum(sn.concat([x, x])), sn.sum(sn.mean(x, 1))):
        assert sn.function(x, sn.grad(loss, [x]), device=device)(np.zeros((0, 3)))[0].shape == (
            0,
            3,
        )


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_an_array_without_rows_has_none_to_take(device: str) -> None:
    x, at = sn.placeholder((0, 3), name="x"), sn.placeholder((2,), "int64", "at")
    taken = sn.function([x, at], sn.sum(sn.concat([x, x])[at], 1), device=device)
    with pytest.raises(ExecutionError, match="take"):
        taken(np.zeros((0, 3), "f"), [0, 0])
