"""Convolutions: a library for each way and dtype, built once for all programs.

Where a program has more to compile than there are cores, ways that are not built yet share one
library, in which is compiled once what they share.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from itertools import groupby

from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import is_built, load
from staticnet.codegen.convolution import convolution_library, convolution_routines
from staticnet.codegen.program import Program
from staticnet.codegen.regions import CORES
from staticnet.codegen.resources import SCALARS, kernel_text


def routines(source: str, way: str, compiler: Compiler) -> ctypes.Array[ctypes.c_void_p]:
    """The addresses of a way's routines, as `planes_f32`, in its library; 0 for the others."""
    library = load(source, compiler.by_hand())
    return (ctypes.c_void_p * 3).in_dll(library, f"sn_routines_{way}")


def sources(program: Program, compiler: Compiler) -> dict[str, str]:
    """The C text of what a program calls of each way; ways that share a library have the same."""
    by_hand = compiler.by_hand()
    texts = {way: _source(program, [way]) for way in program.convolutions}
    missing = sorted((way for way in texts if not is_built(texts[way], by_hand)), key=_dtype)
    if len(missing) + 2 <= CORES:  # and the program, and its products
        return texts
    for group in (list(ways) for _, ways in groupby(missing, _dtype)):
        # depthwise convolutions are planes under another name
        same = [way for way in group if not way.startswith("depthwise")]
        texts |= dict.fromkeys(same, _source(program, same)) if same else {}
    return texts


def _dtype(way: str) -> str:
    return way.partition("_")[2]


def _source(program: Program, ways: Sequence[str]) -> str:
    return "".join(_parts(program, ways))


def _parts(program: Program, ways: Sequence[str]) -> Iterator[str]:
    """The C text of what a program calls of some ways with one dtype."""
    kind, _, dtype = ways[0].partition("_")
    yield kernel_text(*SCALARS) if dtype in ("f16", "bf16") else ""
    yield "#include <stdint.h>\n" + kernel_text("convolution_sizes.h")
    yield convolution_library(dtype, depthwise=kind == "depthwise")
    for way in ways:
        yield convolution_routines(way, program.convolution_routines(way))
