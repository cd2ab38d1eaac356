"""Sorting: stable argsort, or its beginning, is the primitive; sort and top_k take along it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import INT64
from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    NUMBERS,
    as_bool,
    as_int,
    check_axes,
    check_kind,
    normalize_axis,
)
from staticnet.ops.base import TensorOp, apply, as_value, function, promoted
from staticnet.ops.creation import dim_value
from staticnet.ops.indexing import take, take_along_axis
from staticnet.ops.movement import concat, split
from staticnet.ops.reduction import cumulative_sum
from staticnet.ops.selection import as_numbers
from staticnet.ops.shape import reshape


@dataclass(frozen=True)
class Argsort(TensorOp, name="argsort"):
    """y = the indices that sort x along `axis`; equal elements keep their order; NaN is greatest.

    x: [*s] -> y: int64 [*s]
    """

    axis: int
    descending: bool
    differentiable = False

    def infer(self, *operands: TensorType) -> TensorType:
        check_kind(operands[0].dtype, NUMBERS)
        check_axes((self.axis,), operands[0].ndim)
        return operands[0].with_dtype(INT64)

    def eval(self, xp: Any, x: Any) -> Any:
        if not self.descending:
            return xp.argsort(x, axis=self.axis, kind="stable")
        backwards = xp.argsort(xp.flip(x, self.axis), axis=self.axis, kind="stable")
        return xp.flip(x.shape[self.axis] - 1 - backwards, self.axis)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(replace(self, axis=self.axis + 1), *operands)


@dataclass(frozen=True)
class TopK(Argsort, name="top_k"):
    """y = the first `count` of the indices that sort x along `axis`, as `argsort` gives them.

    x: [.., n, ..] -> y: int64 [.., count, ..]
    """

    count: int

    def infer(self, *operands: TensorType) -> TensorType:
        whole = super().infer(*operands)
        n = whole.shape[self.axis]
        if self.count < 0 or (isinstance(n, int) and n < self.count):
            raise ShapeError(f"k = {self.count} does not fit an axis of {n}")
        return whole.with_shape(
            (*whole.shape[: self.axis], self.count, *whole.shape[self.axis + 1 :])
        )

    def eval(self, xp: Any, x: Any) -> Any:
        return super().eval(xp, x)[(slice(None),) * self.axis + (slice(self.count),)]


@function
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Value:
    """y = the indices that sort x along `axis`; always stable.  x: [*s] -> y: int64 [*s]"""
    x = as_numbers(x)
    as_bool(stable, "stable")
    op = Argsort(normalize_axis(axis, x.ndim), as_bool(descending, "descending"))
    return apply(op, x)


@function
def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Value:
    """y = x sorted along `axis`; NaN is greatest; always stable.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return take_along_axis(x, argsort(x, axis, descending, stable), axis)


@function
def searchsorted(x1: Any, x2: Any, side: str = "left", sorter: Any = None) -> Value:
    """y = how many elements of the sorted x1 are less than x2; "right" counts equal ones too.

    x1: [n], ascending or made so by the indices `sorter`, x2: [*s] -> y: int64 [*s]

    Raises:
        ShapeError: if x1 is no vector.
        ArgumentError: if `side` is neither "left" nor "right".
    """
    x1, x2 = promoted("searchsorted", x1, x2)
    if x1.ndim != 1:
        raise ShapeError(f"takes a sorted vector, not {x1.ndim} axes")
    if side not in ("left", "right"):
        raise ArgumentError(f'side must be "left" or "right", not {side!r:.60}')
    known, wanted = x1 if sorter is None else take(x1, sorter), reshape(x2, -1)
    right = side == "right"  # a stable sort keeps those before that stand before
    order = argsort(concat([known, wanted] if right else [wanted, known]))
    n, m = x1.shape[0], wanted.shape[0]
    is_known = order < dim_value(n, order) if right else order >= dim_value(m, order)
    rank = take(cumulative_sum(is_known), argsort(order))
    found = split(rank, [n, m] if right else [m, n])[1 if right else 0]
    return reshape(found, x2.shape)


@function
def top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Value, Value]:
    """The k greatest (or least) elements along `axis`, sorted, and their indices.

    x: [.., n, ..] -> values: [.., k, ..], indices: int64 [.., k, ..]

    Raises:
        ShapeError: if k is negative or more than n.
    """
    x = as_value(x)
    axis, count = normalize_axis(axis, x.ndim), as_int(k, "k")
    indices = apply(TopK(axis, as_bool(largest, "largest"), count), as_numbers(x))
    return take_along_axis(x, indices, axis), indices
