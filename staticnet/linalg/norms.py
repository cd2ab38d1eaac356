"""Norms of vectors and matrices: of 16-bit floats computed in float32 and rounded once.

Where a norm is 0 its derivative is given as 0.
"""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.value import Value
from staticnet.linalg.arguments import real, real_matrix
from staticnet.linalg.decompositions import svdvals
from staticnet.linalg.systems import inv
from staticnet.ops.arguments import as_bool, as_tuple, normalize_axes, normalize_axis
from staticnet.ops.arithmetic import abs, pow
from staticnet.ops.base import function
from staticnet.ops.movement import moveaxis
from staticnet.ops.promotion import is_scalar
from staticnet.ops.reduction import max, min
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.transcendental import sqrt
from staticnet.ops.widening import rounded_once


@function
@rounded_once()
def vector_norm(x: Any, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Value:
    """y = (sum of |x|^ord)^(1 / ord) along axes; `axis` None is all of them.

    ord may be inf, the greatest |x|, -inf, the least, or 0, the number of elements that are not 0.
    x: [*s] -> y: [s without axes], or with them as 1 if keepdims

    Raises:
        ArgumentError: if ord is no number.
        OutOfRangeError, ShapeError: if an axis is out of range, or named twice.
    """
    (x,) = real("vector_norm", x)
    if not is_scalar(ord):
        raise ArgumentError(f"ord must be a number, not {ord!r:.40}")
    axes, kept = normalize_axes(axis, x.ndim), as_bool(keepdims, "keepdims")
    if math.isinf(ord):
        return (max if ord > 0 else min)(abs(x), axes, keepdims=kept)
    if ord == 0:
        return sum(astype(x != 0, x.dtype), axes, keepdims=kept)
    if ord == 1:
        return sum(abs(x), axes, keepdims=kept)
    if ord == 2:
        return _root(sum(x * x, axes, keepdims=kept), sqrt)
    return _root(sum(_power(abs(x), ord), axes, keepdims=kept), lambda y: pow(y, 1 / ord))


def _power(size: Any, ord: float) -> Value:
    """|x|^ord, whose derivative at 0 is 0, not infinite, where ord < 1."""
    if ord >= 1:
        return pow(size, ord)
    zero = size == 0
    return where(zero, 0 if ord > 0 else math.inf, pow(where(zero, 1, size), ord))


def _root(x: Any, root: Any) -> Value:
    """The root of a sum, whose derivative at 0 is 0, not infinite."""
    zero = x == 0
    return where(zero, 0, root(where(zero, 1, x)))


@function
@rounded_once()
def matrix_norm(x: Any, *, keepdims: Any = False, ord: Any = "fro") -> Value:
    """y = a norm of each matrix: x: [*b, m, n] -> y: [*b], or [*b, 1, 1] if keepdims

    ord is "fro": the root of the sum of squares; "nuc", 2, -2: the sum, the greatest, the least
    singular value; 1, -1: the greatest, the least sum of |x| of a column; inf, -inf: of a row.

    Raises:
        ArgumentError: if ord is none of these.
        ShapeError: if x is no stack of matrices.
    """
    x = real_matrix("matrix_norm", x)
    y = _matrix_norm(x, ord)
    return expand_dims(y, (-1, -2)) if as_bool(keepdims, "keepdims") else y


def _matrix_norm(x: Value, ord: Any) -> Value:
    if isinstance(ord, str) and ord == "fro":
        return vector_norm(x, axis=(-2, -1))
    if isinstance(ord, str) and ord == "nuc":
        return sum(svdvals(x), -1)
    if is_scalar(ord) and ord in (2, -2):
        return (max if ord > 0 else min)(svdvals(x), -1)
    if is_scalar(ord) and ord in (1, -1, math.inf, -math.inf):
        sums = sum(abs(x), -2 if ord in (1, -1) else -1)
        return (max if ord > 0 else min)(sums, -1)
    raise ArgumentError(f'ord must be "fro", "nuc", 1, -1, 2, -2, inf or -inf, not {ord!r:.40}')


@function
@rounded_once()
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Value:
    """y = a norm, as `vector_norm` along one axis, or `matrix_norm` over two of them.

    Without an axis it is that of the vector or matrix x or, if ord is None, of all elements; ord
    None is 2 and "fro".

    Raises:
        ArgumentError: if ord is none of them.
        ShapeError: if ord is given with no axis and x is neither vector nor matrix, or there are
            more than two axes.
    """
    (x,) = real("norm", x)
    kept = as_bool(keepdims, "keepdims")
    if ord is None:
        return vector_norm(x, axis=axis, keepdims=kept)
    listed = range(x.ndim) if axis is None else as_tuple(axis)
    axes = [normalize_axis(i, x.ndim) for i in listed]
    if len(axes) == 1:
        return vector_norm(x, axis=axes[0], keepdims=kept, ord=ord)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ShapeError(f"with ord there must be one axis, or two, not {axes}")
    y = matrix_norm(moveaxis(x, axes, (-2, -1)), ord=ord)
    shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return reshape(y, shape) if kept else y


@function
def cond(x: Any, p: Any = None) -> Value:
    """y = |x| |inv x|, by a norm of `matrix_norm`: p None is 2, of which x need not be square.

    x: [*b, n, n] -> y: [*b]; infinite where x is singular, for p None, 2 and -2

    Raises:
        ArgumentError: if p is none of these norms.
        ShapeError: if x is no stack of matrices, or not of square ones for other norms than 2, -2.
        LinAlgError: when it runs, if a matrix is singular, for other norms than 2 and -2.
    """
    x = real_matrix("cond", x, square=p is not None and p not in (2, -2))
    if p is None or p in (2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(x, ord=p) * matrix_norm(inv(x), ord=p)
