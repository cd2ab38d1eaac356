"""What this CPU reaches, measured once a process: copies of several sizes, and large products."""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Collection

import numpy as np

from staticnet.backends.cpu import blas
from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import is_forked, load
from staticnet.backends.rates import (
    PRODUCT,
    REPEATED,
    SIZES,
    Rates,
    best_rate,
    random_numbers,
)
from staticnet.codegen.resources import kernel_text

_GEMM = {"float32": "sgemm", "float64": "dgemm"}


def rates(compiler: Compiler, dtypes: Collection[str]) -> Rates:
    """The rates of compiled copies, and of BLAS' products in the given dtypes."""
    return Rates(_copies(compiler), {dtype: _product(dtype) for dtype in sorted(dtypes)})


@functools.cache
def _copies(compiler: Compiler) -> tuple[tuple[int, float], ...]:
    """For each size the rate of a copy on one thread or on all, whichever is faster."""
    copy = load(kernel_text("copy.h"), compiler).sn_copy
    copy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3)
    numbers = random_numbers(SIZES[-1] // 2 // 4, np.float32)
    room = np.zeros_like(numbers)
    to, source = room.ctypes.data, numbers.ctypes.data
    found = []
    for size in SIZES:
        times = max(1, REPEATED // size)
        work = functools.partial(copy, to, source, size // 2, times)
        acts = [functools.partial(work, parallel) for parallel in range(1 + (not is_forked()))]
        found.append((size, max(best_rate(act, size * times) for act in acts)))
    return tuple(found)


@functools.cache
def _product(dtype: str) -> float:
    """FLOP/s of a square product, on one thread or on those of BLAS, whichever is faster."""
    gemm = getattr(importlib.import_module("scipy.linalg.blas"), _GEMM[dtype])
    a, b, c = random_numbers(3 * PRODUCT**2, dtype).reshape(3, PRODUCT, PRODUCT)

    def rate() -> float:
        return best_rate(lambda: gemm(1.0, a.T, b.T, c=c.T, overwrite_c=1), 2.0 * PRODUCT**3)

    together = rate()
    before = blas.set_blas_threads(1)
    try:
        return max(together, rate())
    finally:
        if before is not None:
            blas.set_blas_threads(before)
