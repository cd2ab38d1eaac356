"""Sorting: stable argsort is the primitive; sort and top_k take along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from staticnet.errors import ShapeError
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
from staticnet.ops.base import TensorOp, apply, as_value, function
from staticnet.ops.indexing import take_along_axis
from staticnet.ops.movement import split


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


@function
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Value:
    """y = the indices that sort x along `axis`; always stable.  x: [*s] -> y: int64 [*s]"""
    x = as_value(x)
    as_bool(stable, "stable")
    op = Argsort(normalize_axis(axis, x.ndim), as_bool(descending, "descending"))
    return apply(op, x)


@function
def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Value:
    """y = x sorted along `axis`; NaN is greatest; always stable.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return take_along_axis(x, argsort(x, axis, descending, stable), axis)


@function
def top_k(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Value, Value]:
    """The k greatest (or least) elements along `axis`, sorted, and their indices.

    x: [.., n, ..] -> values: [.., k, ..], indices: int64 [.., k, ..]

    Raises:
        ShapeError: if k is negative or more than n.
    """
    x = as_value(x)
    axis, count = normalize_axis(axis, x.ndim), as_int(k, "k")
    rest = x.shape[axis] - count
    if count < 0 or (isinstance(rest, int) and rest < 0):
        raise ShapeError(f"k = {count} does not fit an axis of {x.shape[axis]}")
    order = argsort(x, axis, descending=as_bool(largest, "largest"))
    indices = split(order, [count, rest], axis)[0]
    return take_along_axis(x, indices, axis), indices
