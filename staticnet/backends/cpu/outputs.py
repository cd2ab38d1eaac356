"""The arrays of a step's results: new ones, or memory that nobody holds any more.

A large result is a view of memory that is kept here. When no view of it is left, a later run
gives it out again: to touch new pages costs more than most kernels take. Two are kept of each,
for a loop that holds one result until it has the next.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.ir.arrays import LARGE, allocate, view

KEPT = 2
Array = np.ndarray[Any, Any]


class Outputs:
    """Gives out result arrays, one of each shape and dtype."""

    def __init__(self, types: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        self._types = list(types)
        self._alone = _holders([np.empty(0)], 0)
        self._memory: list[list[Any]] = [[] for _ in self._types]
        counts = sys.implementation.name == "cpython" and _has_gil()
        self._sizes = [np.dtype(dtype).itemsize * int(np.prod(shape)) for shape, dtype in types]
        self._large = frozenset(i for i, size in enumerate(self._sizes) if counts and size >= LARGE)

    def take(self) -> list[Array]:
        """Arrays that nobody else reads or writes, with whatever lies in them."""
        return [
            self._again(i) if i in self._large else np.empty(shape, dtype)
            for i, (shape, dtype) in enumerate(self._types)
        ]

    def _again(self, i: int) -> Array:
        """A view of kept memory that is free, else of new memory, kept from now on."""
        kept = self._memory[i]
        free = (k for k in range(len(kept)) if _holders(kept, k) == self._alone)
        place = next(free, None)
        if place is None:
            kept[:] = [*kept[1 - KEPT :], allocate(self._sizes[i])]
            place = -1
        return view(kept[place], *self._types[i])


def _holders(memory: list[Any], i: int) -> int:
    return sys.getrefcount(memory[i])


def _has_gil() -> bool:
    """Whether counts of references are exact."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
