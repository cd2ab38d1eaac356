"""float32 products: faster than BLAS where they are not large, and built once for all programs."""

from __future__ import annotations

import ctypes

from staticnet.backends.cpu import blas
from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import load
from staticnet.codegen.resources import kernel_text
from staticnet.errors import CompileError


def pointers(compiler: Compiler) -> tuple[int, int]:
    """The addresses of sgemm and dgemm for programs: those of BLAS, behind one of our own.

    Where that does not compile, they are BLAS' alone.
    """
    sgemm, dgemm = blas.pointers(["sgemm", "dgemm"]).values()
    try:
        library = load(source(), compiler)
    except CompileError:
        return sgemm, dgemm
    library.sn_set_sgemm(ctypes.c_void_p(sgemm))
    ours = ctypes.cast(library.sn_sgemm, ctypes.c_void_p).value
    return ours or sgemm, dgemm


def held_pointers(compiler: Compiler) -> tuple[int | None, ...]:
    """The addresses of what packs a matrix and multiplies by it; None where there is no such."""
    try:
        library = load(source(), compiler)
    except CompileError:
        return None, None
    names = ("sn_hold_panels", "sn_times_held")
    if not all(hasattr(library, name) for name in names):
        return None, None
    return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names)


def source() -> str:
    """The C text of the library."""
    return kernel_text("vectors.h", "turns.h", "products.h")
