"""Convolutions: a library for each way and dtype, built once for all programs."""

from __future__ import annotations

import ctypes

from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import load
from staticnet.codegen.convolution import convolution_library, convolution_routines
from staticnet.codegen.resources import SCALARS, kernel_text


def routines(way: str, compiler: Compiler) -> ctypes.Array[ctypes.c_void_p]:
    """The addresses of the routines of a way and a dtype, as `planes_f32`."""
    library = load(source(way), compiler.by_hand())
    return (ctypes.c_void_p * 3).in_dll(library, f"sn_routines_{way}")


def source(way: str) -> str:
    """The C text of the library of a way and a dtype."""
    dtype = way.partition("_")[2]
    scalars = kernel_text(*SCALARS) if dtype in ("f16", "bf16") else ""
    sizes = kernel_text("convolution_sizes.h")
    texts = convolution_library(dtype) + convolution_routines(way)
    return f"{scalars}#include <stdint.h>\n{sizes}{texts}"
