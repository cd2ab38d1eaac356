"""Convolutions: a library for each way and dtype, built once for all programs."""

from __future__ import annotations

import ctypes

from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import load
from staticnet.codegen.convolution import convolution_library, convolution_routines
from staticnet.codegen.program import Program
from staticnet.codegen.resources import SCALARS, kernel_text


def routines(program: Program, way: str, compiler: Compiler) -> ctypes.Array[ctypes.c_void_p]:
    """The addresses of what a program calls of a way, as `planes_f32`; 0 for the others."""
    library = load(source(program, way), compiler.by_hand())
    return (ctypes.c_void_p * 3).in_dll(library, f"sn_routines_{way}")


def source(program: Program, way: str) -> str:
    """The C text of what a program calls of a way and a dtype."""
    kind, _, dtype = way.partition("_")
    scalars = kernel_text(*SCALARS) if dtype in ("f16", "bf16") else ""
    sizes = kernel_text("convolution_sizes.h")
    texts = convolution_library(dtype, depthwise=kind == "depthwise")
    texts += convolution_routines(way, program.convolution_routines(way))
    return f"{scalars}#include <stdint.h>\n{sizes}{texts}"
