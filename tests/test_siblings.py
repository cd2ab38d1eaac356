"""Sums down the columns of one array share a kernel that reads it once, where none waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import apply
from staticnet.plan.planner import make_plan
from staticnet.plan.siblings import MOST

COMPILES = True
ROWS, WIDTH = 300, 24


def norm_gradients(device: str) -> tuple[Any, Any]:
    """Gradients of a layer norm's weight and bias before a product, and feeds."""
    x, m = sn.placeholder((ROWS, WIDTH), name="x"), sn.placeholder((WIDTH, WIDTH), name="m")
    w, b = sn.placeholder((WIDTH,), name="w"), sn.placeholder((WIDTH,), name="b")
    y = sn.nn.functional.layer_norm(x, (WIDTH,), w, b) @ m
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=v.shape).astype("f") for v in (x, m, w, b)]
    gradients = sn.grad(sn.sum(y * y), [w, b])
    return sn.function([x, m, w, b], gradients, device=device), feeds


def expected(*feeds: Any) -> list[Any]:
    x, m, w, b = (a.astype("d") for a in feeds)
    centred = x - x.mean(1, keepdims=True)
    normal = centred / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    g = 2 * ((normal * w + b) @ m) @ m.T
    return [(g * normal).sum(0), g.sum(0)]


def columns(f: Any) -> list[Any]:
    """The kernels of a plan for a GPU that sum down columns."""
    return [g for _, g in make_plan(lower(f)).launched if g.kind == "columns"]


def sums(group: Any) -> int:
    return sum(node.op.name == "sum" for node in group.nodes)


def test_a_norms_gradients_are_one_kernel() -> None:
    (group,) = columns(norm_gradients("numpy")[0])
    assert sums(group) == 2


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
def test_values_on_the_cpu() -> None:
    f, feeds = norm_gradients("cpu")
    for y, e in zip(f(*feeds), expected(*feeds), strict=True):
        np.testing.assert_allclose(y, e, 1e-4, 1e-2)


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
def test_values_on_a_gpu(tmp_path: Path) -> None:
    f, feeds = norm_gradients("numpy")
    _, got, _ = Machine(lower(f), tmp_path).run(feeds, [])
    for y, e in zip(got, expected(*feeds), strict=True):
        np.testing.assert_allclose(y, e, 1e-4, 1e-2)


def test_sums_that_wait_for_each_other_stay_apart() -> None:
    x = sn.placeholder((ROWS, WIDTH), name="x")
    mean = sn.sum(x, 0) / ROWS
    f = sn.function(x, [mean, sn.sum((x - mean) ** 2, 0)], device="numpy")
    assert [sums(group) for group in columns(f)] == [1, 1]


def test_sums_of_different_arrays_stay_apart() -> None:
    x, y = (sn.placeholder((ROWS, WIDTH), name=name) for name in "xy")
    assert len(columns(sn.function([x, y], [sn.sum(x, 0), sn.sum(y, 0)], device="numpy"))) == 2


def test_a_kernel_has_few_sums() -> None:
    x = sn.placeholder((ROWS, WIDTH), name="x")
    factors = [sn.placeholder((ROWS, WIDTH), name=f"a{i}") for i in range(2 * MOST + 1)]
    f = sn.function([x, *factors], [sn.sum(x * a, 0) for a in factors], device="numpy")
    found = [sums(group) for group in columns(f)]
    assert sum(found) == len(factors)
    assert max(found) == MOST


def test_fewer_than_all_rows_are_another_array() -> None:
    x = sn.placeholder((ROWS, WIDTH), name="x")
    w = sn.placeholder((WIDTH,), name="w")
    f = sn.function([x, w], [sn.sum(x[1:] * w, 0), sn.sum(x, 0)], device="numpy")
    assert [sums(group) for group in columns(f)] == [1, 1]


def kernels(*outputs: Any, inputs: Any, updates: Any = ()) -> list[str]:
    plan = make_plan(sn.Graph("rows", list(inputs), list(outputs), tuple(updates)))
    return [group.kind for _, group in plan.launched]


def test_numbers_of_rows_are_made_where_their_array_is_read() -> None:
    x, w = sn.placeholder((ROWS, WIDTH), name="x"), sn.placeholder((WIDTH,), name="w")
    top, total = sn.max(sn.abs(x), 1), sn.sum(x * x, 1)
    assert kernels(top, total, inputs=[x]) == ["rows"]
    assert kernels(sn.tanh(x * w), top, inputs=[x, w]) == ["rows"]
    assert kernels(sn.nn.softmax(x), top, inputs=[x]) == ["rows"]


def test_numbers_of_rows_stay_apart() -> None:
    """Where the other kernel waits for them, turns the array, writes its next value, or has few."""
    x, v = sn.placeholder((ROWS, WIDTH), name="x"), sn.variable(np.ones((ROWS, WIDTH), "f"), "v")
    top = sn.max(sn.abs(x), 1)
    m = sn.expand_dims(top, 0) @ sn.tanh(x)
    assert kernels(m, x * m, inputs=[x]).count("rows") == 1
    assert kernels(x * m, top, inputs=[x]) == kernels(x * m, inputs=[x])
    assert sorted(kernels(sn.tanh(x[::-1]), top, inputs=[x])) == ["map", "rows"]
    few = sn.placeholder((3, WIDTH), name="few")
    assert sorted(kernels(sn.tanh(few), sn.max(few, 1), inputs=[few])) == ["map", "rows"]
    later = apply(OptimizationBarrier(0), x)
    assert sorted(kernels(sn.tanh(later), top, inputs=[x])) == ["map", "rows"]
    updated = kernels(sn.max(sn.abs(v), 1), inputs=[], updates=[(v, v * 0.5)])
    assert sorted(updated) == ["map", "rows"]


@pytest.mark.parametrize("device", ["cpu", "shim"])
def test_values_with_numbers_of_rows(device: str, tmp_path: Path) -> None:
    x = sn.placeholder((ROWS, WIDTH), name="x")
    outputs = [sn.max(sn.abs(x), 1), sn.sum(x * x, 1, keepdims=True), sn.tanh(x)]
    a = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("f")
    if device == "shim":
        if CXX is None:
            pytest.skip("no g++ on this machine")
        failed, made, _ = Machine(lower(sn.function(x, outputs, device="numpy")), tmp_path).run(
            [a], []
        )
        assert failed == 0
    else:
        made = sn.function(x, outputs, device="cpu")(a)
    wanted = [np.abs(a).max(1), (a.astype("d") ** 2).sum(1, keepdims=True), np.tanh(a)]
    for y, e in zip(made, wanted, strict=True):
        np.testing.assert_allclose(y, e, 1e-5)


@pytest.mark.parametrize("size", [3, 700])
def test_a_plan_for_all_sizes_has_them(size: int) -> None:
    """Also where there are few rows: the kernels of a function are those of all its sizes."""
    x = sn.placeholder(("batch", WIDTH), name="x")
    f = sn.function(x, [sn.max(sn.abs(x), 1), sn.tanh(x)], device="cpu")
    a = np.random.default_rng(0).normal(size=(size, WIDTH)).astype("f")
    top, all_of_it = f(a)
    np.testing.assert_array_equal(top, np.abs(a).max(1))
    np.testing.assert_allclose(all_of_it, np.tanh(a), 1e-6)
    assert [group.kind for _, group in f.specialize(batch=size).plan.launched] == ["rows"]
