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
