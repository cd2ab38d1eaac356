"""Arrays as generated code wants them: their addresses, and memory that begins a cache line."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LARGE = 1 << 20  # bytes from which memory is an array's own
HUGE = 4 << 20  # bytes from which huge pages are asked for, as NumPy does
HUGE_PAGE = 2 << 20
STARTS = 16  # large arrays begin so many pages apart, in turn
READY = 0x101  # NumPy's flags of an array that is C-contiguous and aligned
_HEAD = object.__basicsize__  # bytes of an object before what its type adds


def _slow_address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _fast_address(array: np.ndarray[Any, Any]) -> int:
    """The first field of NumPy's array struct: seven times as fast as the array interface."""
    return ctypes.c_void_p.from_address(id(array) + _HEAD).value or 0


def _choose_address() -> Callable[[np.ndarray[Any, Any]], int]:
    if sys.implementation.name != "cpython":
        return _slow_address
    probe = np.empty(1)
    return _fast_address if _fast_address(probe) == _slow_address(probe) else _slow_address


address = _choose_address()
"""Where an array's first element lies."""


_starts = itertools.count()


def allocate(size: int) -> np.ndarray[Any, Any]:
    """So many bytes at the start of a page: aligned for any vector.

    The kernel lays mappings end to end, so arrays of 256 MiB would lie a multiple of 256 MiB apart.
    AMD's first-level cache guesses a line's way from address bits 12 to 27: a loop over such arrays
    evicts each by the next (Lipp et al., "Take A Way", 2020; Adam of 256 MiB took twice as long).
    Nor are mappings whole huge pages: the first begins here where one can, or some would be small.
    """
    if size == 0:
        return np.empty(0, np.uint8)
    if sys.platform == "win32":
        return np.frombuffer(mmap.mmap(-1, size), np.uint8)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked child gets its own
    if size < HUGE:
        return np.frombuffer(mmap.mmap(-1, size, flags=private), np.uint8)
    memory = mmap.mmap(-1, HUGE_PAGE + size + STARTS * mmap.PAGESIZE, flags=private)
    whole = np.frombuffer(memory, np.uint8)
    first, skipped = -address(whole) % HUGE_PAGE, next(_starts) % STARTS * mmap.PAGESIZE
    if hasattr(mmap, "MADV_HUGEPAGE"):
        covered = (skipped + size) // HUGE_PAGE * HUGE_PAGE  # what is left takes small pages
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE, first, covered)
    return np.frombuffer(memory, np.uint8, size, first + skipped)  # no slice: views hold it


def view(memory: np.ndarray[Any, Any], shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """The array of a shape at the start of some bytes; it holds them, so their count tells.

    The bytes must not be a slice: NumPy's views hold the array that a slice is of.
    """
    return np.ndarray(shape, dtype, memory)


def aligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array's elements in C order, in memory that begins a page."""
    copy = view(allocate(array.nbytes), array.shape, array.dtype)
    copy[...] = array
    return copy


def own(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy in C order; a large one has memory of its own, which goes back with it."""
    return aligned(array) if array.nbytes >= LARGE else np.array(array, order="C")
