"""Reductions over axes, scans along an axis, and the statistics composed of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import BOOL, INT64, compute_dtype
from staticnet.ir.types import Shape, TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    BOOLS,
    NUMBERS,
    as_bool,
    check_axes,
    check_kind,
    normalize_axes,
    normalize_axis,
)
from staticnet.ops.base import ALL, Reduction, TensorOp, apply, as_value, function
from staticnet.ops.comparison import isfinite
from staticnet.ops.creation import dim_value, iota
from staticnet.ops.movement import concat, moveaxis, permute_dims, split
from staticnet.ops.promotion import is_scalar
from staticnet.ops.rearranging import flip
from staticnet.ops.selection import as_floats, as_numbers, astype, relu, stop_gradient, where
from staticnet.ops.shape import broadcast_to, expand_dims, keep_axes, reshape, sum, wide_dtype
from staticnet.ops.transcendental import exp, log, sqrt
from staticnet.ops.widening import rounded_once, widened


class Max(Reduction, name="max"):
    """y = the greatest of x along axes; NaN wins; ties share the gradient.  [*s] -> [s - axes]"""

    has_identity = False

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (_to_extremum(self, y, g, x),)


class Min(Reduction, name="min"):
    """y = the least of x along axes; NaN wins; ties share the gradient.  [*s] -> [s - axes]"""

    has_identity = False

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (_to_extremum(self, y, g, x),)


def _to_extremum(op: Reduction, y: Any, g: Any, x: Any) -> Any:
    hits = astype(x == keep_axes(y, op.axes, x), compute_dtype(x.dtype))
    share = hits / sum(hits, op.axes, keepdims=True)
    return astype(share * widened(keep_axes(g, op.axes, x)), x.dtype)


class Prod(Reduction, name="prod"):
    """y = the product of x along axes, in x's dtype.  x: [*s] -> y: [s without axes]"""

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.prod(x, axis=self.axes, keepdims=self.keepdims, dtype=x.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        others = _product_of_others(widened(x), self.axes)
        return (astype(widened(keep_axes(g, self.axes, x)) * others, x.dtype),)


def _product_of_others(x: Any, axes: tuple[int, ...]) -> Any:
    """For each element the product of the others along `axes`, exact where some are zero."""
    kept = [i for i in range(x.ndim) if i not in axes]
    order = [*kept, *axes]
    moved = permute_dims(x, order)
    flat = reshape(moved, (*moved.shape[: len(kept)], size_of(moved.shape[len(kept) :])))
    before = _exclusive_product(flat)
    after = flip(_exclusive_product(flip(flat, -1)), -1)
    return permute_dims(
        reshape(before * after, moved.shape), [order.index(i) for i in range(x.ndim)]
    )


def _exclusive_product(x: Any) -> Any:
    if x.shape[-1] == 0:
        return x
    one, rest = (*x.shape[:-1], 1), x.shape[-1] - 1
    leading = split(x, [rest, 1], axis=-1)[0]
    ones = broadcast_to(astype(1, x.dtype), one)
    return concat([ones, apply(CumulativeProd(x.ndim - 1), leading)], axis=-1)


class Any_(Reduction, name="any"):
    """y = whether any of x is true along axes.  x: bool [*s] -> y: bool [s without axes]"""

    kinds = BOOLS
    differentiable = False


class All_(Reduction, name="all"):
    """y = whether all of x are true along axes.  x: bool [*s] -> y: bool [s without axes]"""

    kinds = BOOLS
    differentiable = False


def _reduce(op: type[Reduction], x: Any, axis: Any, keepdims: bool) -> Value:
    x = as_value(x)
    axes = normalize_axes(axis, x.ndim)
    keep = as_bool(keepdims, "keepdims")
    return apply(op(axes, keep), x) if axes else x


def _reduce_ordered(op: type[Reduction], x: Any, axis: Any, keepdims: bool) -> Value:
    x = as_value(x)
    return astype(_reduce(op, as_numbers(x), axis, keepdims), x.dtype)


@function
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the greatest of x along `axis` (None: all); NaN wins.  x: [*s] -> y: [s without axis]

    Raises:
        ShapeError: if the axis is empty.
    """
    return _reduce_ordered(Max, x, axis, keepdims)


@function
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the least of x along `axis` (None: all); NaN wins.  x: [*s] -> y: [s without axis]

    Raises:
        ShapeError: if the axis is empty.
    """
    return _reduce_ordered(Min, x, axis, keepdims)


@function
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Value:
    """y = the product of x along `axis` (None: all); integers in 64 bits, unless `dtype` says."""
    return _reduce(Prod, _widened(x, dtype), axis, keepdims)


def _widened(x: Any, dtype: Any) -> Value:
    """x in the dtype in which it is to be summed or multiplied."""
    x = as_value(x)
    return astype(x, wide_dtype(x.dtype) if dtype is None else dtype)


@function
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = whether any of x is nonzero along `axis` (None: all).  x: [*s] -> y: bool"""
    x = as_value(x)
    return _reduce(Any_, x if x.dtype == BOOL else x != 0, axis, keepdims)


@function
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = whether all of x are nonzero along `axis` (None: all).  x: [*s] -> y: bool"""
    x = as_value(x)
    return _reduce(All_, x if x.dtype == BOOL else x != 0, axis, keepdims)


@dataclass(frozen=True)
class ArgReduction(TensorOp):
    """y = the first index along `axis` of an extremum.  x: [*s] -> y: int64 [s without axis]"""

    axis: int
    keepdims: bool
    differentiable = False

    def infer(self, *operands: TensorType) -> TensorType:
        check_kind(operands[0].dtype, NUMBERS)
        reduced = Reduction((self.axis,), self.keepdims).infer(*operands).with_dtype(INT64)
        if operands[0].shape[self.axis] == 0:
            raise ShapeError(f"has no value on an empty axis of {operands[0]}")
        return reduced

    def eval(self, xp: Any, x: Any) -> Any:
        return getattr(xp, self.name)(x, axis=self.axis, keepdims=self.keepdims)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(type(self)(self.axis + 1, self.keepdims), *operands)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[0].size


class Argmax(ArgReduction, name="argmax"):
    """y = the first index of the greatest of x along `axis`.  x: [*s] -> y: int64 [s - axis]"""


class Argmin(ArgReduction, name="argmin"):
    """y = the first index of the least of x along `axis`.  x: [*s] -> y: int64 [s - axis]"""


def _arg_reduce(op: type[ArgReduction], x: Any, axis: int | None, keepdims: bool) -> Value:
    x, keep = as_numbers(x), as_bool(keepdims, "keepdims")
    if axis is not None:
        return apply(op(normalize_axis(axis, x.ndim), keep), x)
    index = apply(op(0, False), reshape(x, -1))
    return reshape(index, (1,) * x.ndim) if keep else index


@function
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Value:
    """y = the first index of the greatest of x along `axis` (None: of the flattened array).

    x: [*s] -> y: int64 [s without axis]
    """
    return _arg_reduce(Argmax, x, axis, keepdims)


@function
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Value:
    """y = the first index of the least of x along `axis` (None: of the flattened array).

    x: [*s] -> y: int64 [s without axis]
    """
    return _arg_reduce(Argmin, x, axis, keepdims)


@dataclass(frozen=True)
class Scan(TensorOp):
    """y[i] = x[0] ∘ … ∘ x[i] along `axis`.  x: [*s] -> y: [*s]

    `combine` says what ∘ is: sum, prod, max, min or logaddexp.
    """

    axis: int
    numpy: ClassVar[str] = ""
    combine: ClassVar[str] = ""

    def infer(self, *operands: TensorType) -> TensorType:
        check_kind(operands[0].dtype, NUMBERS)
        check_axes((self.axis,), operands[0].ndim)
        return operands[0]

    def eval(self, xp: Any, x: Any) -> Any:
        return getattr(xp, self.numpy)(x, axis=self.axis, dtype=x.dtype)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(type(self)(self.axis + 1), *operands)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size


class CumulativeSum(Scan, name="cumulative_sum"):
    """y[i] = x[0] + … + x[i] along `axis`.  x: [*s] -> y: [*s]"""

    numpy = "cumsum"
    combine = "sum"
    linear = ALL

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (flip(apply(self, flip(g, self.axis)), self.axis),)


class CumulativeProd(Scan, name="cumulative_prod"):
    """y[i] = x[0] * … * x[i] along `axis`.  x: [*s] -> y: [*s]"""

    numpy = "cumprod"
    combine = "prod"

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        """dx[k] = sum over i >= k of g[i] * the product of x[j], j <= i, j != k; exact at zeros."""
        rows, grads = (moveaxis(widened(z), self.axis, -1) for z in (x, g))
        n = rows.shape[-1]
        k, i = iota((n, n), 0), iota((n, n), 1)
        without_k = where(k == i, 1, expand_dims(rows, -2))
        products = apply(CumulativeProd(x.ndim), without_k)
        terms = where(i >= k, expand_dims(grads, -2) * products, 0)
        return (astype(moveaxis(sum(terms, -1), -1, self.axis), x.dtype),)


def _scan(
    op: type[Scan], x: Any, axis: int | None, first: int, include_initial: bool, dtype: Any
) -> Value:
    x = _widened(x, dtype)
    if axis is None and x.ndim != 1:
        raise ShapeError(f"needs an axis for {x.ndim} axes")
    axis = normalize_axis(0 if axis is None else axis, x.ndim)
    y: Value = apply(op(axis), x)
    if not as_bool(include_initial, "include_initial"):
        return y
    initial: Shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return concat([broadcast_to(astype(first, x.dtype), initial), y], axis)


@function
def cumulative_sum(
    x: Any, axis: int | None = None, include_initial: bool = False, dtype: Any = None
) -> Value:
    """y[i] = x[0] + … + x[i] along `axis`, after a 0 if `include_initial`.

    Integers are summed in 64 bits unless `dtype` is given.  x: [.., n, ..] -> y: [.., n, ..]
    """
    return _scan(CumulativeSum, x, axis, 0, include_initial, dtype)


@function
def cumulative_prod(
    x: Any, axis: int | None = None, include_initial: bool = False, dtype: Any = None
) -> Value:
    """y[i] = x[0] * … * x[i] along `axis`, after a 1 if `include_initial`.

    Integers are multiplied in 64 bits unless `dtype` is given.  x: [.., n, ..] -> y: [.., n, ..]
    """
    return _scan(CumulativeProd, x, axis, 1, include_initial, dtype)


def _count(x: Value, axes: tuple[int, ...]) -> int | Dim:
    return size_of(x.shape[axis] for axis in axes)


@function
def mean(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Value:
    """y = sum(x) / n along `axis` (None: all).  x: [*s] -> y: floating [s without axis]

    Integers and bools are summed in 64 bits; their mean is float32, unless `dtype` is given, in
    which x is summed.
    """
    return _mean(x if dtype is None else astype(x, dtype), axis, keepdims)


@rounded_once()
def _mean(x: Any, axis: Any, keepdims: bool) -> Value:
    x = as_value(x)
    axes = normalize_axes(axis, x.ndim)
    return sum(x, axes, keepdims) / _count(x, axes)


@function
@rounded_once()
def var(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Value:
    """y = sum((x - mean(x))**2) / (n - correction) along `axis`.  x: [*s] -> y: [s without axis]

    Of n <= correction elements it is infinite, or NaN where they are equal or there are none.
    """
    x = as_floats(x)
    axes = normalize_axes(axis, x.ndim)
    centered = x - mean(x, axes, keepdims=True)
    count = relu(dim_value(_count(x, axes), x) - as_correction(correction))
    return sum(centered * centered, axes, keepdims) / count


def as_correction(correction: Any) -> Any:
    """What a variance divides by less than the number of elements.

    Raises:
        ArgumentError: if it is no number, or node of one.
    """
    if not is_scalar(correction) and getattr(correction, "shape", None) != ():
        raise ArgumentError(f"correction must be a number, not {correction!r:.60}")
    return correction


@function
@rounded_once()
def std(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Value:
    """y = sqrt(var(x)) along `axis`, with derivative 0 where it is 0.  x: [*s] -> y: [s - axis]"""
    y = var(x, axis, correction, keepdims)
    return where(y == 0, 0, sqrt(where(y == 0, 1, y)))


@function
@rounded_once()
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = ln(sum(e**x)) along `axis`, without overflow.  x: [*s] -> y: [s without axis]

    Of no elements it is -infinity.
    """
    x = as_floats(x)
    axes = normalize_axes(axis, x.ndim)
    if not axes:
        return x
    if _count(x, axes) == 0:
        return log(sum(x, axes, keepdims))
    top = stop_gradient(max(x, axes, keepdims=True))
    shift = where(isfinite(top), top, 0)
    y = log(sum(exp(x - shift), axes, keepdims=True)) + shift
    return y if keepdims else reshape(y, tuple(d for i, d in enumerate(x.shape) if i not in axes))


@function
def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the number of nonzero elements along `axis`.  x: [*s] -> y: int64"""
    x = as_value(x)
    return sum(x if x.dtype == BOOL else x != 0, axis, keepdims)
