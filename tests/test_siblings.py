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
