"""The arrays of a step's results: new ones, or memory that nobody holds any more.

A large result is a view of memory that is kept here. When no view of it is left, the next run
gives it out again: to touch new pages costs more than most kernels take.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.cpu.arrays import allocate, view

LARGE = 1 << 20  # bytes of a result whose memory is kept
Array = np.ndarray[Any, Any]


class Outputs:
    """Gives out result arrays, one of each shape and dtype."""

    def __init__(self, types: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        self._types = list(types)
        self._memory: list[Any] = [np.empty(0)]
        self._alone = self._holders(0)
        self._memory = [None] * len(self._types)
        counts = sys.implementation.name == "cpython" and _has_gil()
        self._sizes = [np.dtype(dtype).itemsize * int(np.prod(shape)) for shape, dtype in types]
        self._large = frozenset(i for i, size in enumerate(self._sizes) if counts and size >= LARGE)

    def _holders(self, i: int) -> int:
        return sys.getrefcount(self._memory[i])

    def take(self) -> list[Array]:
        """Arrays that nobody else reads or writes, with whatever lies in them."""
        return [
            self._again(i) if i in self._large else np.empty(shape, dtype)
            for i, (shape, dtype) in enumerate(self._types)
        ]

    def _again(self, i: int) -> Array:
        """A view of the kept memory if it is free, else of new memory, kept from now on."""
        if self._memory[i] is None or self._holders(i) > self._alone:
            self._memory[i] = allocate(self._sizes[i])
        return view(self._memory[i], *self._types[i])


def _has_gil() -> bool:
    """Whether counts of references are exact."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
