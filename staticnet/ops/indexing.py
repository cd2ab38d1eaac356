"""Take and scatter-add, by integer arrays on one axis or along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import HALVES, INT64, UINT64, DType
from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    INTEGERS,
    check_axes,
    check_kind,
    normalize_axis,
)
from staticnet.ops.base import TensorOp, apply, as_value, function, promoted
from staticnet.ops.batching import spread_all
from staticnet.ops.creation import iota, zeros_like
from staticnet.ops.movement import moveaxis
from staticnet.ops.promotion import adapted, common_dtype, is_weak
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, reshape
from staticnet.ops.widening import widened


@dataclass(frozen=True)
class Take(TensorOp, name="take"):
    """y[a, j, b] = x[a, indices[j], b], j at `axis`; an index may be negative.

    x: [*a, n, *b], indices: int [*j] -> y: [*a, *j, *b]
    """

    axis: int
    linear: ClassVar[slice] = slice(0, 1)
    arity = 2
    may_fail = True

    def infer(self, *operands: TensorType) -> TensorType:
        x, indices = operands
        check_kind(indices.dtype, INTEGERS)
        check_axes((self.axis,), x.ndim)
        return x.with_shape((*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]))

    def eval(self, xp: Any, x: Any, indices: Any) -> Any:
        return xp.take(x, indices, axis=self.axis)

    def vjp(self, y: Any, g: Any, x: Any, indices: Any) -> tuple[Any, ...]:
        return _scattered(ScatterAdd(self.axis), zeros_like(x), g, indices), None

    def batch(self, size: int | Dim, batched: tuple[bool, ...], x: Any, indices: Any) -> Any:
        if not batched[1]:
            return apply(Take(self.axis + 1), x, indices)
        if not batched[0]:
            return moveaxis(apply(self, x, indices), self.axis, 0)
        y = apply(Take(0), _rows(x, self.axis), _rows_of(indices, x.shape[self.axis + 1]))
        return _columns(y, self.axis, indices.ndim)


@dataclass(frozen=True)
class ScatterAdd(TensorOp, name="scatter_add"):
    """y = x, then y[a, indices[j], b] += updates[a, j, b], j at `axis`, repeats accumulating.

    x: [*a, n, *b], updates: [*a, *j, *b], indices: int [*j] -> y: [*a, n, *b]; 16-bit floats, which
    would be rounded after each addition, are refused
    """

    axis: int
    same_dtype: ClassVar[slice] = slice(0, 2)
    linear: ClassVar[slice] = slice(0, 2)
    arity = 3
    may_fail = True
    begins_as = 0

    def infer(self, *operands: TensorType) -> TensorType:
        x, updates, indices = operands
        check_wide(x.dtype)
        wanted = Take(self.axis).infer(x, indices)
        if updates != wanted:
            raise ShapeError(f"updates must be {wanted}, not {updates}")
        return x

    def eval(self, xp: Any, x: Any, updates: Any, indices: Any) -> Any:
        y = x.copy()
        key = (slice(None),) * self.axis + (indices,)
        xp.add.at(y, key, updates)
        return y

    def vjp(self, y: Any, g: Any, x: Any, updates: Any, indices: Any) -> tuple[Any, ...]:
        return g, apply(Take(self.axis), g, indices), None

    def batch(
        self, size: int | Dim, batched: tuple[bool, ...], x: Any, updates: Any, indices: Any
    ) -> Any:
        x, updates = spread_all(size, batched[:2], [x, updates])
        if not batched[2]:
            return apply(ScatterAdd(self.axis + 1), x, updates, indices)
        places = range(self.axis + 1, self.axis + indices.ndim)
        updates = moveaxis(updates, tuple(places), tuple(range(1, indices.ndim)))
        places = _rows_of(indices, x.shape[self.axis + 1])
        y = apply(ScatterAdd(0), _rows(x, self.axis), updates, places)
        first = moveaxis(x, self.axis + 1, 1)
        return moveaxis(reshape(y, first.shape), 1, self.axis + 1)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[1].size


def _rows(x: Any, axis: int) -> Any:
    """The entries of all examples, one after the other.  x: [B, *a, n, *b] -> [B * n, *a, *b]"""
    x = moveaxis(x, axis + 1, 1)
    return reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _rows_of(indices: Any, n: int | Dim) -> Any:
    """Where `_rows` has each example's entries; one out of its range is out of all ranges.

    indices: [B, *j] -> int64 [B, *j]
    """
    size, indices = indices.shape[0], astype(as_index(indices), INT64)
    place = where(indices < 0, indices + n, indices)
    example = reshape(iota((size,)) * n, (size, *(1,) * (indices.ndim - 1)))
    return where((place >= 0) & (place < n), place + example, size * n)


def _columns(y: Any, axis: int, count: int) -> Any:
    """y: [B, *j, *a, *b] -> [B, *a, *j, *b], with `count` axes from B to the last of j"""
    return moveaxis(y, tuple(range(count, count + axis)), tuple(range(1, axis + 1)))


def check_wide(dtype: DType) -> None:
    """Raise DTypeError if a dtype would be rounded after each of many additions."""
    if dtype in HALVES:
        raise DTypeError(f"adds up in at least 32 bits, not in {dtype}; cast with sn.astype")


def _scattered(op: TensorOp, x: Any, updates: Any, indices: Any) -> Any:
    """A scatter-add of any dtype: 16-bit floats are summed in float32 and rounded once."""
    dtype = common_dtype(op.name, (x, updates))
    x, updates = promoted(op.name, x, updates)
    return astype(apply(op, widened(x), widened(updates), indices), dtype)


def check_along(op: TensorOp, axis: int, x: TensorType, indices: TensorType) -> TensorType:
    """The type of the elements that indices along an axis name.

    Raises:
        DTypeError, ShapeError: if they are no integers, or do not match x elsewhere.
    """
    check_kind(indices.dtype, INTEGERS)
    check_axes((axis,), x.ndim)
    if indices.ndim != x.ndim or any(
        i != axis and a != b for i, (a, b) in enumerate(zip(x.shape, indices.shape, strict=True))
    ):
        raise ShapeError(f"{op.name}: indices {indices} must match {x} outside axis {axis}")
    return x.with_shape(indices.shape)


@dataclass(frozen=True)
class TakeAlongAxis(TensorOp, name="take_along_axis"):
    """y[a, j, b] = x[a, indices[a, j, b], b].

    x: [*a, n, *b], indices: int [*a, m, *b] -> y: [*a, m, *b]
    """

    axis: int
    linear: ClassVar[slice] = slice(0, 1)
    arity = 2
    may_fail = True
    failure = "the index may be a label of cross_entropy or nll_loss that is none of the classes"

    def infer(self, *operands: TensorType) -> TensorType:
        return check_along(self, self.axis, *operands)

    def eval(self, xp: Any, x: Any, indices: Any) -> Any:
        return xp.take_along_axis(x, indices, axis=self.axis)

    def vjp(self, y: Any, g: Any, x: Any, indices: Any) -> tuple[Any, ...]:
        return _scattered(ScatterAddAlongAxis(self.axis), zeros_like(x), g, indices), None

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(TakeAlongAxis(self.axis + 1), *spread_all(size, batched, operands))


@dataclass(frozen=True)
class ScatterAddAlongAxis(TensorOp, name="scatter_add_along_axis"):
    """y = x, then y[a, indices[a, j, b], b] += updates[a, j, b], repeats accumulating.

    x: [*a, n, *b], updates and indices: [*a, m, *b] -> y: [*a, n, *b]; no 16-bit floats, as above
    """

    axis: int
    same_dtype: ClassVar[slice] = slice(0, 2)
    linear: ClassVar[slice] = slice(0, 2)
    arity = 3
    may_fail = True
    begins_as = 0

    def infer(self, *operands: TensorType) -> TensorType:
        x, updates, indices = operands
        check_wide(x.dtype)
        wanted = check_along(self, self.axis, x, indices)
        if updates != wanted:
            raise ShapeError(f"updates must be {wanted}, not {updates}")
        return x

    def eval(self, xp: Any, x: Any, updates: Any, indices: Any) -> Any:
        y = x.copy()
        key = list(xp.indices(indices.shape, sparse=True))
        key[self.axis] = indices
        xp.add.at(y, tuple(key), updates)
        return y

    def vjp(self, y: Any, g: Any, x: Any, updates: Any, indices: Any) -> tuple[Any, ...]:
        return g, apply(TakeAlongAxis(self.axis), g, indices), None

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(ScatterAddAlongAxis(self.axis + 1), *spread_all(size, batched, operands))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[1].size


def as_index(indices: Any) -> Any:
    """Integer indices in a dtype in which none wraps: unsigned ones above 2**63 - 1 become that.

    int64 arrays stay what they are, for what they index to take.
    """
    indices = _as_indices(indices)
    if type(indices) is np.ndarray and indices.dtype == INT64:
        return indices
    indices = as_value(indices)
    if indices.dtype != UINT64:
        return indices
    most = 2**63 - 1
    return astype(where(indices > most, most, indices), INT64)


def _as_indices(x: Any) -> Any:
    """A number or list that can be indices as integers, no numbers at all among them."""
    return adapted(x, INT64) if is_weak(x) and not isinstance(x, Dim) else x


def _axis_or_only(axis: Any, ndim: int) -> int:
    if axis is None and ndim != 1:
        raise ShapeError(f"needs an axis for {ndim} axes")
    return normalize_axis(0 if axis is None else axis, ndim)


@function
def take(x: Any, indices: Any, axis: int | None = None) -> Value:
    """y[a, j, b] = x[a, indices[j], b], j at `axis` (optional for one axis).

    x: [*a, n, *b], indices: int [*j] -> y: [*a, *j, *b]. An index may be negative; one outside
    [-n, n) fails the run.

    Raises:
        DTypeError: if the indices are no integers.
    """
    x = as_value(x)
    return apply(Take(_axis_or_only(axis, x.ndim)), x, as_index(indices))


@function
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Value:
    """y[a, j, b] = x[a, indices[a, j, b], b], j at `axis`.

    x: [*a, n, *b], indices: int, broadcastable to [*a, m, *b] -> y: [*a, m, *b]
    """
    x, indices = as_value(x), as_index(indices)
    axis = normalize_axis(axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ShapeError(f"indices have {indices.ndim} axes, x has {x.ndim}")
    wanted = (*x.shape[:axis], indices.shape[axis], *x.shape[axis + 1 :])
    return apply(TakeAlongAxis(axis), x, broadcast_to(indices, wanted))


@function
def scatter_add(x: Any, indices: Any, updates: Any, axis: int = 0) -> Value:
    """y = x, then y[a, indices[j], b] += updates[a, j, b], j at `axis`, repeats accumulating.

    x: [*a, n, *b], indices: int [*j], updates: [*a, *j, *b] -> y: [*a, n, *b]
    """
    x, updates = promoted("scatter_add", x, updates)
    op = ScatterAdd(normalize_axis(axis, x.ndim))
    return _scattered(op, x, updates, as_index(indices))


@function
def scatter_add_along_axis(x: Any, indices: Any, updates: Any, axis: int = -1) -> Value:
    """y = x, then y[a, indices[a, j, b], b] += updates[a, j, b], repeats accumulating.

    x: [*a, n, *b], indices and updates: [*a, m, *b] -> y: [*a, n, *b]
    """
    x, updates = promoted("scatter_add_along_axis", x, updates)
    op = ScatterAddAlongAxis(normalize_axis(axis, x.ndim))
    return _scattered(op, x, updates, as_index(indices))
