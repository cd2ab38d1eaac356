"""Bounds of variables: a transformation after which every point is within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ops.arithmetic import abs, remainder
from staticnet.ops.promotion import as_array
from staticnet.ops.selection import where

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Bounds:
    """low <= x <= high for each of n variables; infinite ones are none.

    What lies well inside stays as it is, so the search sees the function itself. Near a bound a
    parabola leads to it and back without a kink, and further out the whole is mirrored, as by
    Hansen's `BoxConstraintsLinQuadTransformation`.
    """

    low: Array
    high: Array

    @classmethod
    def of(cls, who: str, given: Any, start: Array) -> Bounds:
        """Those that a user gives `who`, (low, high), numbers or arrays [n]; they hold at start.

        Raises:
            ArgumentError: if they are no pair, out of order, or do not hold at the start.
            ShapeError: if one is neither a number nor an array [n].
        """
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ArgumentError(f"{who}: bounds are a pair (low, high), not {given!r:.60}")
        ends = [as_array(end, start.dtype) for end in given]
        for end in ends:
            if end.shape not in ((), start.shape):
                raise ShapeError(
                    f"{who}: a bound is a number or an array {list(start.shape)}, "
                    f"not {list(end.shape)}"
                )
        low, high = (np.broadcast_to(end, start.shape) for end in ends)
        wrong = np.flatnonzero(~(low < high) | (start < low) | (start > high))
        if wrong.size:
            i = int(wrong[0])
            raise ArgumentError(
                f"{who}: variable {i} begins at {start[i]}, which must be within its bounds "
                f"{low[i]} < {high[i]}"
            )
        return cls(low, high)

    def within(self, x: Any) -> Any:
        """The points within the bounds that points stand for.  x: [*s, n] -> [*s, n]"""
        low, high, below, above = self._ends()
        least, most = low - below, high + above  # what is mirrored at
        span = np.where(np.isfinite(most - least), most - least, 1).astype(low.dtype)
        wave = span - abs(remainder(x - _finite(least), 2 * span) - span)
        both = np.isfinite(most - least)
        once = where(x < least, 2 * _finite(least) - x, 2 * _finite(most) - x)
        mirrored = where(both, _finite(least) + wave, once)
        x = where((x < least) | (x > most), mirrored, x)
        up = _finite(low) + (x - _finite(least)) ** 2 / (4 * below)
        down = _finite(high) - (x - _finite(most)) ** 2 / (4 * above)
        return where(x < low + below, up, where(x > high - above, down, x))

    def _ends(self) -> tuple[Array, ...]:
        """The bounds, and how far from each the parabola begins."""
        half = (self.high - self.low) / 2
        margins = [np.minimum(half, (1 + np.abs(_finite(b))) / 20) for b in (self.low, self.high)]
        return tuple(a.astype(self.low.dtype) for a in (self.low, self.high, *margins))


def _finite(ends: Array) -> Array:
    """Bounds, or 0 where there is none and the value is not taken."""
    return np.where(np.isfinite(ends), ends, 0).astype(ends.dtype)
