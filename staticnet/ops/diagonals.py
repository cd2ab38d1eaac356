"""Matrices by their diagonals, powers and quarter turns: diagonal, diag, trace, vander, rot90."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_bool, as_int, as_tuple, normalize_axis
from staticnet.ops.arithmetic import pow
from staticnet.ops.base import as_value, function
from staticnet.ops.creation import arange, iota
from staticnet.ops.movement import moveaxis, pad, swapaxes
from staticnet.ops.promotion import as_array
from staticnet.ops.rearranging import flip
from staticnet.ops.selection import as_numbers, astype, where
from staticnet.ops.shape import expand_dims, reshape, sum


@function
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """y[.., i] = x[.., i, .., i + offset, ..] of the rows `axis1` and the columns `axis2`.

    x: [.., m, .., n, ..] -> y: [.., length of the diagonal]

    Raises:
        ShapeError: if the axes are the same, or of symbolic dims not equal.
    """
    x, k = as_value(x), as_int(offset, "offset")
    rows, columns = (normalize_axis(axis, x.ndim) for axis in (axis1, axis2))
    if rows == columns:
        raise ShapeError(f"takes two axes, not {rows} twice")
    x = moveaxis(x, (rows, columns), (-2, -1))
    m, n = x.shape[-2:]
    if isinstance(m, Dim) or isinstance(n, Dim):
        return _masked_diagonal(x, k)
    length = max(0, min(m + min(k, 0), n - max(k, 0)))
    if length == 0:
        return reshape(x[..., :0, :0], (*x.shape[:-2], 0))
    square = x[..., max(-k, 0) : max(-k, 0) + length, max(k, 0) : max(k, 0) + length]
    return reshape(square, (*x.shape[:-2], length * length))[..., :: length + 1]


def _masked_diagonal(x: Value, k: int) -> Value:
    """Of a square of symbolic size, whose strides no slice can have."""
    m, n = x.shape[-2:]
    if m != n:
        raise ShapeError(f"the diagonal of [{m}, {n}] has no length that is known; make it square")
    on = iota((m, n), 1) - iota((m, n), 0) == k
    found = astype(sum(where(on, as_numbers(x), 0), -1), x.dtype)
    return found[..., -k:] if k < 0 else found[..., : n - k] if k else found


@function
def diag(x: Any, k: int = 0) -> Value:
    """The matrix with a vector on its k-th diagonal, or the k-th diagonal of a matrix.

    x: [n] -> y: [n + |k|, n + |k|]; x: [m, n] -> y: [length of the diagonal]

    Raises:
        ShapeError: if x is neither.
    """
    x, offset = as_value(x), as_int(k, "k")
    if x.ndim == 2:
        return diagonal(x, offset)
    if x.ndim != 1:
        raise ShapeError(f"takes a vector or a matrix, not {x.ndim} axes; use sn.diagonal")
    size = x.shape[0] + (offset if offset > 0 else -offset)
    on = iota((size, size), 1) - iota((size, size), 0) == offset
    columns = pad(x, [(max(offset, 0), max(-offset, 0))])
    return where(on, columns, as_array(0, x.dtype))


@function
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Value:
    """y = the sum of a diagonal, of integers in 64 bits.  x: [.., m, .., n, ..] -> y: the others"""
    return sum(diagonal(x, offset, axis1, axis2), -1, dtype=dtype)


@function
def vander(x: Any, N: Any = None, increasing: bool = False) -> Value:
    """y[i, j] = x[i]**(N - 1 - j), or x[i]**j if `increasing`.  x: [n] -> y: [n, N], N = n

    Raises:
        ShapeError: if x is no vector.
    """
    x = as_value(x)
    if x.ndim != 1:
        raise ShapeError(f"takes a vector, not {x.ndim} axes")
    powers = arange(x.shape[0] if N is None else N)
    y = pow(expand_dims(x, 1), powers)
    return y if as_bool(increasing, "increasing") else flip(y, 1)


@function
def rot90(x: Any, k: int = 1, axes: Any = (0, 1)) -> Value:
    """y = x turned `k` times by 90 degrees, from the first of two axes towards the second.

    Raises:
        ShapeError: if the axes are not two.
    """
    x, turns = as_value(x), as_int(k, "k") % 4
    places = [normalize_axis(axis, x.ndim) for axis in as_tuple(axes)]
    if len(places) != 2 or places[0] == places[1]:
        raise ShapeError(f"takes two axes, not {axes!r:.60}")
    first, second = places
    if turns == 2:
        return flip(x, (first, second))
    if turns == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second) if turns else x
