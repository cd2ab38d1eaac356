"""Running extrema, the running logarithm of a sum, and differences, along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS, NUMBERS, as_int, check_kind, normalize_axis
from staticnet.ops.base import apply, as_value, function, promoted
from staticnet.ops.comparison import isnan
from staticnet.ops.creation import iota, zeros_like
from staticnet.ops.indexing import scatter_add_along_axis
from staticnet.ops.movement import concat, moveaxis
from staticnet.ops.reduction import Scan
from staticnet.ops.selection import as_floats, as_numbers, astype, where
from staticnet.ops.shape import broadcast_to, expand_dims, sum
from staticnet.ops.transcendental import exp
from staticnet.ops.widening import widened


def _accumulated(xp: Any, ufunc: str, x: Any, axis: int) -> Any:
    """NumPy's running combination; CuPy has none of these."""
    if xp is np:
        return getattr(np, ufunc).accumulate(x, axis=axis)
    return xp.asarray(getattr(np, ufunc).accumulate(xp.asnumpy(x), axis=axis))


class Cummax(Scan, name="cummax"):
    """y[i] = the greatest of x[0], …, x[i] along `axis`; NaN wins.  x: [*s] -> y: [*s]

    The derivative goes to the last of equal elements.
    """

    combine = "max"

    def eval(self, xp: Any, x: Any) -> Any:
        return _accumulated(xp, "maximum", x, self.axis)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (_to_records(self.axis, y, g, x),)


class Cummin(Scan, name="cummin"):
    """y[i] = the least of x[0], …, x[i] along `axis`; NaN wins.  x: [*s] -> y: [*s]

    The derivative goes to the last of equal elements.
    """

    combine = "min"

    def eval(self, xp: Any, x: Any) -> Any:
        return _accumulated(xp, "minimum", x, self.axis)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (_to_records(self.axis, y, g, x),)


def _to_records(axis: int, y: Any, g: Any, x: Any) -> Any:
    """Each g[i] added to where x last was what y[i] is."""
    records = where((x == y) | isnan(x), iota(x.shape, axis), 0)
    return scatter_add_along_axis(zeros_like(x), apply(Cummax(axis), records), g, axis)


class Logcumsumexp(Scan, name="logcumsumexp"):
    """y[i] = ln(e**x[0] + … + e**x[i]) along `axis`, without overflow.  x: [*s] -> y: [*s]"""

    combine = "logaddexp"

    def infer(self, *operands: TensorType) -> TensorType:
        check_kind(operands[0].dtype, FLOATS)
        return super().infer(*operands)

    def eval(self, xp: Any, x: Any) -> Any:
        return _accumulated(xp, "logaddexp", x, self.axis)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        """dx[j] = sum over i >= j of g[i] e**(x[j] - y[i]), of which none overflows."""
        columns, rows, grads = (moveaxis(widened(z), self.axis, -1) for z in (x, y, g))
        n = columns.shape[-1]
        i, j = iota((n, n), 0), iota((n, n), 1)
        rows, grads = expand_dims(rows, -1), expand_dims(grads, -1)
        known = (j <= i) & (rows != -math.inf)
        shares = exp(where(known, expand_dims(columns, -2) - where(known, rows, 0), -math.inf))
        return (astype(moveaxis(sum(shares * grads, -2), -1, self.axis), x.dtype),)


@function
def cummax(x: Any, axis: int | None = None) -> Value:
    """y[i] = the greatest of x[0], …, x[i] along `axis`, optional for one axis; NaN wins.

    x: [*s] -> y: [*s]. The derivative goes to the last of equal elements.

    Raises:
        ShapeError: if x has several axes and none is given.
    """
    x = as_value(x)
    return astype(_along(Cummax, as_numbers(x), axis), x.dtype)


@function
def cummin(x: Any, axis: int | None = None) -> Value:
    """y[i] = the least of x[0], …, x[i] along `axis`, optional for one axis; NaN wins.

    x: [*s] -> y: [*s]. The derivative goes to the last of equal elements.

    Raises:
        ShapeError: if x has several axes and none is given.
    """
    x = as_value(x)
    return astype(_along(Cummin, as_numbers(x), axis), x.dtype)


@function
def logcumsumexp(x: Any, axis: int | None = None) -> Value:
    """y[i] = ln(e**x[0] + … + e**x[i]) along `axis`, optional for one axis, without overflow.

    x: [*s] -> y: [*s]

    Raises:
        ShapeError: if x has several axes and none is given.
    """
    return _along(Logcumsumexp, as_floats(x), axis)


def _along(op: type[Scan], x: Value, axis: int | None) -> Value:
    if axis is None and x.ndim != 1:
        raise ShapeError(f"needs an axis for {x.ndim} axes")
    found: Value = apply(op(normalize_axis(0 if axis is None else axis, x.ndim)), x)
    return found


@function
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Value:
    """y[i] = x[i + 1] - x[i] along `axis`, `n` times, of x between `prepend` and `append`.

    x: [.., m, ..], prepend and append: [.., *, ..], or [] -> y: [.., max(0, m - n), ..]

    Raises:
        ArgumentError: if n is negative.
        DTypeError: if x is no array of numbers.
    """
    x = as_value(x)
    axis = normalize_axis(axis, x.ndim)
    parts = [_part(part, x, axis) for part in (prepend, x, append) if part is not None]
    x = concat(parts, axis) if len(parts) > 1 else x
    check_kind(x.dtype, NUMBERS)
    count = as_int(n, "n")
    if count < 0:
        raise ArgumentError(f"n must be an int >= 0, not {count}")
    for _ in range(count):
        if x.shape[axis] == 0:
            break
        first, last = ([slice(None)] * x.ndim for _ in range(2))
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        x = x[tuple(last)] - x[tuple(first)]
    return x


def _part(part: Any, x: Value, axis: int) -> Any:
    """What stands before or behind x: an array, or one number all along."""
    if as_value(part).ndim:
        return part
    shape = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    return broadcast_to(promoted("diff", x, part)[1], shape)
