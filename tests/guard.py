"""Arrays that end where memory does, so that to read what lies behind them ends the process."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import pytest


def guarded(array: Any) -> Any:
    """A copy of an array whose last element is followed by a page that cannot be read."""
    if sys.platform == "win32":
        pytest.skip("protects pages as POSIX does")
    page, nbytes = mmap.PAGESIZE, array.nbytes
    end = -(-nbytes // page) * page
    memory = np.frombuffer(mmap.mmap(-1, end + page), np.uint8)
    libc = ctypes.CDLL(None)
    if libc.mprotect(ctypes.c_void_p(memory.ctypes.data + end), ctypes.c_size_t(page), 0):
        pytest.skip("this system protects no pages")
    copy = np.ndarray(array.shape, array.dtype, memory[end - nbytes : end])
    copy[...] = array
    return copy
