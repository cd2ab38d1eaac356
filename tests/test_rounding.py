"""A value has the same bits in a kernel and in memory: each op rounds once, whatever it is with."""

from __future__ import annotations

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
NEEDS_CC = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
Run = Callable[[Any, Any, list[Any]], list[Any]]


def on_cpu(inputs: Any, outputs: Any, feeds: list[Any], **options: Any) -> list[Any]:
    return list(sn.function(inputs, outputs, device="cpu", **options)(*feeds))


@NEEDS_CC
@pytest.mark.parametrize("numerics", ["fast", "exact"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_16_bit_sum_is_rounded_before_it_is_used(dtype: str, numerics: str) -> None:
    x = sn.placeholder((3,), dtype, name="x")
    total = sn.sum(x)
    feed = np.array([2048, 1, 0]).astype(x.dtype)
    difference, kept = on_cpu(x, [total - 2048.0, total], [feed], numerics=numerics)
    assert (float(difference), float(kept)) == (0, 2048)


def reductions_and_uses(dtype: str) -> tuple[Any, list[Any], Any]:
    x = sn.placeholder((64, 3), dtype, name="x")
    uses: list[Any] = [lambda v: v - 3.0, lambda v: v * 1.5 - v, lambda v: sn.exp(v * 0.01)]
    outputs = [
        use(reduce(x, axis))
        for reduce in (sn.sum, sn.max, sn.min, sn.prod)
        for axis in (0, 1, (0, 1))
        for use in uses
    ]
    feed = np.random.default_rng(0).uniform(0.9, 1.1, (64, 3)).astype(x.dtype)
    return x, outputs, feed


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_reductions_equal_those_of_the_reference(dtype: str, tmp_path: Path) -> None:
    """What a float32 sum is rounded to does not depend on its order, but for ties."""
    x, outputs, feed = reductions_and_uses(dtype)
    f = sn.function(x, outputs, device="numpy")
    wanted = f(feed)
    runs = [on_cpu(x, outputs, [feed])] if find_compiler() else []
    if CXX:
        failed, got, _ = Machine(lower(f), tmp_path).run([feed], [])
        assert failed == 0
        runs.append(got)
    for got in runs:
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a.astype("float32"), b.astype("float32"))


@NEEDS_CC
@pytest.mark.parametrize("numerics", ["fast", "exact"])
def test_a_product_is_rounded_before_it_is_added(numerics: str) -> None:
    """No compiler makes a multiply-add of an expression: a * a - a * a is 0."""
    a, b = sn.placeholder((1000,), name="a"), sn.placeholder((1000,), name="b")
    feed = np.random.default_rng(0).normal(size=1000).astype("float32")
    gap = a * a - b * b
    outputs = [sn.count_nonzero(gap), sn.sum(sn.sqrt(gap)), a * b + 0.5]
    count, roots, sums = on_cpu([a, b], outputs, [feed, feed], numerics=numerics)
    assert (int(count), float(roots)) == (0, 0)
    np.testing.assert_array_equal(sums, feed * feed + np.float32(0.5))


SHAPES = [
    (3, 96),
    (2, 70, 64),
    (300, 9),
    *(
        pytest.param(shape, marks=pytest.mark.slow)
        for shape in [(7, 5), (4, 1000), (2, 20_000), (6, 3, 31), (5000, 4)]
    ),
]


def sums_and_neighbours(
    shape: tuple[int, ...], dtype: str, neighbour: str
) -> tuple[Any, list[Any], list[Any]]:
    """Reductions over all kinds of axes; and what else their kernels may do on the way."""
    x = sn.placeholder(shape, dtype, name="x")
    w = sn.placeholder(shape, "float64", name="w")
    y = sn.tanh(x) * 1.5 - x * x
    kinds: list[Any] = [(0,), (-1,), tuple(range(len(shape))), tuple(range(1, len(shape)))]
    results = [r(y, axes) for axes in kinds for r in (sn.sum, sn.prod, sn.max)]
    results += [sn.sum(x, -1), sn.max(x, -1), sn.sum(sn.exp(x), -1)]
    last = sn.arange(shape[-1])
    others = {
        "none": [],
        "stored": [y, sn.exp(x)],
        "wide": [sn.sum(w * sn.astype(y, "float64"), -1), sn.astype(y, "float64") + w],
        "may fail": [sn.sum(sn.take(y, last, -1), -1), sn.take(y, last, -1) * 2.0],
        "narrow": [sn.astype(y, "int8"), sn.any(y > 0.5, -1)],
    }
    return [x, w], results, others[neighbour]


def feeds_of(shape: tuple[int, ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(len(shape))
    return [rng.uniform(-1, 1, shape).astype(dtype), rng.uniform(-1, 1, shape)]


@NEEDS_CC
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_have_the_same_bits_in_every_kernel(shape: tuple[int, ...], dtype: str) -> None:
    feeds = feeds_of(shape, dtype)
    inputs, results, _ = sums_and_neighbours(shape, dtype, "none")
    wanted = on_cpu(inputs, results, feeds)
    for neighbour in ("stored", "wide", "may fail", "narrow"):
        inputs, results, others = sums_and_neighbours(shape, dtype, neighbour)
        got = on_cpu(inputs, [*others, *results], feeds)[len(others) :]
        assert [a.tobytes() for a in got] == [b.tobytes() for b in wanted], neighbour
    apart = on_cpu(inputs, results, feeds, disabled_passes=("fusion",))
    assert [a.tobytes() for a in apart] == [b.tobytes() for b in wanted]


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_have_the_same_bits_in_every_kernel_of_a_gpu(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    feeds = feeds_of(shape, "float32")
    wanted: list[bytes] = []
    for neighbour in ("none", "stored", "wide", "may fail", "narrow"):
        inputs, results, others = sums_and_neighbours(shape, "float32", neighbour)
        f = sn.function(inputs, [*others, *results], device="numpy")
        failed, outputs, _ = Machine(lower(f), tmp_path).run(feeds, [])
        assert failed == 0
        got = [a.tobytes() for a in outputs[len(others) :]]
        assert got == (wanted or got), neighbour
        wanted = got


@NEEDS_CC
def test_computed_elements_are_combined_in_pieces_as_those_in_memory_are() -> None:
    shapes = [(5,), (33,), (64,), (100,), (1060,), (3, 1000), (20, 64), (3, 700, 2), (5, 4, 200)]
    inputs, outputs, feeds = [], [], []
    for number, shape in enumerate(shapes):
        x, minus_x = (sn.placeholder(shape, name=f"{name}{number}") for name in "xy")
        for reduce in (sn.sum, sn.max):
            outputs += [reduce(-x), reduce(minus_x)]
        data = np.random.default_rng(number).normal(size=shape).astype(np.float32)
        inputs += [x, minus_x]
        feeds += [data, -data]
    f = sn.function(inputs, outputs, device="cpu")
    assert "sn_sum_more_f32" in f.source()
    results = f(*feeds)
    for computed, read in zip(results[::2], results[1::2], strict=True):
        assert computed.tobytes() == read.tobytes()
