"""Convolutions: a library for each dtype, built once for all programs."""

from __future__ import annotations

import ctypes

from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import load
from staticnet.codegen.convolution import ROUTINES, convolution_library
from staticnet.codegen.resources import SCALARS, kernel_text


def pointers(dtype: str, compiler: Compiler) -> list[int]:
    """The addresses of the routines for a dtype, as `f32`, in the order of ROUTINES."""
    library = load(source(dtype), compiler)
    routines = [getattr(library, f"sn_{name}_{dtype}") for name in ROUTINES]
    return [ctypes.cast(routine, ctypes.c_void_p).value or 0 for routine in routines]


def source(dtype: str) -> str:
    """The C text of the library for a dtype."""
    scalars = kernel_text(*SCALARS) if dtype in ("f16", "bf16") else ""
    sizes = kernel_text("convolution_sizes.h")
    return f"{scalars}#include <stdint.h>\n{sizes}{convolution_library(dtype)}"
