"""float32 products: faster than BLAS where they are not large, and built once for all programs.

Their strips of all heights are a library of their own, which a first program does not wait for: it
multiplies by strips of a few heights meanwhile, to the same bits.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import threading
import warnings

from staticnet.backends.cpu import blas
from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.library import is_built, is_loaded, load
from staticnet.backends.cpu.together import may_start_threads
from staticnet.codegen.resources import kernel_text
from staticnet.errors import CompileError

log = logging.getLogger("staticnet")

_STRIPS = ("vectors.h", "turns.h", "strips.h")


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


def same_pointer(compiler: Compiler) -> int | None:
    """The address of what tells a product that its right operand is the last one's, if any."""
    library = _library(compiler)
    if library is None or not hasattr(library, "sn_same_right"):
        return None
    return ctypes.cast(library.sn_same_right, ctypes.c_void_p).value


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
    return kernel_text(*_STRIPS, "products.h")


def strips_source() -> str:
    """The C text of the strips of all heights."""
    return kernel_text(*_STRIPS, "every_strip.h")


def begin(compiler: Compiler) -> None:
    """Begin to build the library, beside what decides on a program that will call it."""
    if not is_loaded(source(), compiler) and may_start_threads():
        threading.Thread(target=_load_early, args=(compiler,)).start()


def _load_early(compiler: Compiler) -> None:
    with contextlib.suppress(Exception):  # who calls it meets that, too
        load(source(), compiler)


def complete(compiler: Compiler) -> None:
    """Give the products strips of all heights: now if they are built, else as soon as they are.

    They are built beside what the process does then, by what the system runs when a core is idle.
    """
    process = os.getpid()  # of a forked child the parent's threads do not build
    _complete(compiler, process)


@functools.cache
def _complete(compiler: Compiler, _process: int) -> threading.Thread | None:
    """The thread that builds the strips; None if there are some, or they are none of this machine.

    Its end is waited for at that of the process, so that they are built once; then none begins.
    """
    library = _library(compiler)
    if library is None or not hasattr(library, "sn_set_strips"):
        return None
    if is_built(strips_source(), compiler):
        _take_strips(library, compiler)
        return None
    if not may_start_threads():
        return None
    builder = threading.Thread(target=_take_strips, args=(library, compiler.idle()))
    builder.start()
    return builder


def _take_strips(library: ctypes.CDLL, compiler: Compiler) -> None:
    """Build and load the strips of all heights; without them, the few serve as well, slower.

    No caller waits for what a thread raises, so it is logged.
    """
    try:
        strips = load(strips_source(), compiler)
    except Exception as error:
        told = "float32 products have few heights, for the others do not compile here: %s"
        log.warning(told, error)
        return
    library.sn_set_strips(ctypes.byref(ctypes.c_char.in_dll(strips, "sn_every_strip")))
