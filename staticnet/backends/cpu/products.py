"""float32 products: faster than BLAS where they are not large, and built once for all programs."""

from __future__ import annotations

import ctypes
import functools
import warnings

from staticnet.backends.cpu import blas
from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import load
from staticnet.codegen.resources import kernel_text
from staticnet.errors import CompileError


def pointers(compiler: Compiler) -> tuple[int, int]:
    """The addresses of sgemm and dgemm for programs: those of BLAS, behind one of our own.

    Where that does not compile, they are BLAS' alone, and a warning says so.
    """
    sgemm, dgemm = blas.pointers(["sgemm", "dgemm"]).values()
    library = _library(compiler)
    if library is None:
        return sgemm, dgemm
    library.sn_set_sgemm(ctypes.c_void_p(sgemm))
    ours = ctypes.cast(library.sn_sgemm, ctypes.c_void_p).value
    return ours or sgemm, dgemm


def held_pointers(compiler: Compiler) -> tuple[int | None, ...]:
    """The addresses of what packs a matrix and multiplies by it; None where there is no such."""
    library = _library(compiler)
    names = ("sn_hold_panels", "sn_times_held")
    if library is None or not all(hasattr(library, name) for name in names):
        return None, None
    return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names)


@functools.cache
def _library(compiler: Compiler) -> ctypes.CDLL | None:
    """The library, or None, and a warning, where it does not compile."""
    try:
        return load(source(), compiler)
    except CompileError as error:
        told = f"float32 products are those of BLAS, for ours do not compile here: {error}"
        warnings.warn(told, RuntimeWarning, stacklevel=2)
        return None


def source() -> str:
    """The C text of the library."""
    return kernel_text("vectors.h", "turns.h", "products.h")
