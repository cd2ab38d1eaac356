"""Diagonals, and products of vectors in space."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.ops import diagonals
from staticnet.ops.arguments import normalize_axis
from staticnet.ops.base import function, promoted
from staticnet.ops.movement import moveaxis, stack


def diagonal(x: Any, /, *, offset: Any = 0) -> Value:
    """y[.., i] = x[.., i, i + offset], from i = -offset on where that is negative.

    x: [*b, m, n] -> y: [*b, k]; `sn.diagonal` has NumPy's axes, the first two

    Raises:
        OutOfRangeError: if x is no matrix and no stack of them.
        ShapeError: if it has symbolic dims that are not equal.
    """
    return diagonals.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: Any = 0, dtype: Any = None) -> Value:
    """y = the sum of x[.., i, i + offset], of integers in 64 bits.  x: [*b, m, n] -> y: [*b]

    Raises: as `diagonal`.
    """
    return diagonals.trace(x, offset, -2, -1, dtype)


@function
def cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> Value:
    """z = the vectors at right angles to x1 and x2, of length |x1| |x2| sin(angle).

    x1: [*s], x2: [*s], 3 along `axis` -> z: [*s]; other axes broadcast

    Raises:
        ShapeError: if they are not 3 long along the axis, or do not broadcast.
    """
    x1, x2 = promoted("cross", x1, x2)
    moved = []
    for x in (x1, x2):
        place = normalize_axis(axis, x.ndim)
        if x.shape[place] != 3:
            raise ShapeError(f"axis {axis} must be 3 long: {format_shape(x.shape)}")
        moved.append(moveaxis(x, place, -1))
    (a, b, c), (d, e, f) = ([x[..., i] for i in range(3)] for x in moved)
    z = stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)
    return moveaxis(z, -1, axis)
