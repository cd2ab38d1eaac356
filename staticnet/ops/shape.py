"""Reshape, broadcast and sum: the three operations whose derivatives are one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim, exact_quotient, integer, size_of
from staticnet.ir.dtype import INT64, UINT64, DType, as_dtype, kind
from staticnet.ir.index import Index, broadcast, linear, split
from staticnet.ir.op import Axes
from staticnet.ir.types import Shape, TensorType, as_shape, fixed, format_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    as_bool,
    as_sequence,
    as_tuple,
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
)
from staticnet.ops.base import ALL, Reduction, TensorOp, apply, as_value, function
from staticnet.ops.batching import aligned
from staticnet.ops.selection import astype


@dataclass(frozen=True)
class Reshape(TensorOp, name="reshape"):
    """y = x's elements in C order in another shape.  x: [*s] -> y: [*shape]"""

    shape: Shape
    linear = ALL
    moves = True

    def infer(self, *operands: TensorType) -> TensorType:
        result = operands[0].with_shape(self.shape)
        if result.size != operands[0].size:
            raise ShapeError(
                f"{operands[0].size} elements do not fit {format_shape(self.shape)}, "
                f"which has {result.size}"
            )
        return result

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.reshape(x, self.shape)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (reshape(g, x.shape),)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(Reshape((size, *self.shape)), *operands)

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        return split(linear(index, fixed(self.shape)), shape)


@function
def reshape(x: Any, shape: Any) -> Value:
    """y = x's elements in C order in another shape; one dim may be -1.  x: [*s] -> y: [*shape]

    Raises:
        ShapeError: if the number of elements differs, or -1 has no or no single answer.
    """
    x = as_value(x)
    single = isinstance(shape, Dim | str) or integer(shape) is not None
    entries = [shape] if single else list(as_sequence(shape))
    unknown = [i for i, d in enumerate(entries) if integer(d) == -1]
    if len(unknown) > 1:
        raise ShapeError(f"at most one dim may be -1, got {format_shape(entries)}")
    if unknown:
        known = size_of(as_shape(d for i, d in enumerate(entries) if i != unknown[0]))
        missing = exact_quotient(size_of(x.shape), known)
        if missing is None:
            raise ShapeError(f"-1 in {format_shape(entries)} has no whole value")
        entries[unknown[0]] = missing
    new = as_shape(entries)
    return x if new == x.shape else apply(Reshape(new), x)


@function
def expand_dims(x: Any, axis: Any = 0) -> Value:
    """y = x with axes of length 1 at the places `axis` of the result."""
    x = as_value(x)
    count = len(as_tuple(axis))
    axes = normalize_axes(axis if axis is not None else 0, x.ndim + count)
    dims = iter(x.shape)
    return reshape(x, [1 if i in axes else next(dims) for i in range(x.ndim + count)])


@function
def squeeze(x: Any, axis: Any = None) -> Value:
    """y = x without the named axes of length 1; None means all of them.

    Raises:
        ShapeError: if a named axis has another length.
    """
    x = as_value(x)
    if axis is None:
        axes: Axes = tuple(i for i, d in enumerate(x.shape) if d == 1)
    else:
        axes = normalize_axes(axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ShapeError(f"axis {i} has length {x.shape[i]}, not 1")
    return reshape(x, [d for i, d in enumerate(x.shape) if i not in axes])


@function
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Value:
    """y = x with the axes start_dim … end_dim made one.

    Raises:
        ShapeError: if start_dim lies behind end_dim.
    """
    x = as_value(x)
    if x.ndim == 0:
        return reshape(x, (1,))
    first = normalize_axis(start_dim, x.ndim, "start_dim")
    last = normalize_axis(end_dim, x.ndim, "end_dim")
    if first > last:
        raise ShapeError(f"start_dim {start_dim} lies behind end_dim {end_dim}")
    middle = size_of(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], middle, *x.shape[last + 1 :]))


@function
def unflatten(x: Any, dim: int, sizes: Any) -> Value:
    """y = x with the axis `dim` made the axes `sizes`, of which one may be -1.

    x: [*a, prod(sizes), *b] -> y: [*a, *sizes, *b]

    Raises:
        OutOfRangeError: if the axis is out of range.
        ShapeError: if the sizes do not fit.
    """
    x = as_value(x)
    axis = normalize_axis(dim, x.ndim, "dim")
    entries = list(as_tuple(sizes))
    unknown = [i for i, d in enumerate(entries) if integer(d) == -1]
    known = size_of(as_shape(d for i, d in enumerate(entries) if i not in unknown[:1]))
    if unknown:
        entries[unknown[0]] = exact_quotient(x.shape[axis], known)
    elif known != x.shape[axis]:
        entries = []
    if not entries or None in entries:
        raise ShapeError(f"axis {axis} of {x.shape[axis]} is not the product of {sizes!r:.60}")
    return reshape(x, (*x.shape[:axis], *entries, *x.shape[axis + 1 :]))


@dataclass(frozen=True)
class BroadcastTo(TensorOp, name="broadcast_to"):
    """y = x repeated along new axes and axes of length 1.  x: [*s] -> y: [*shape]"""

    shape: Shape
    linear = ALL
    moves = True

    def infer(self, *operands: TensorType) -> TensorType:
        x = operands[0]
        if len(x.shape) > len(self.shape) or broadcast_shapes(x.shape, self.shape) != self.shape:
            raise ShapeError(f"{x} does not broadcast to {format_shape(self.shape)}")
        return x.with_shape(self.shape)

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.broadcast_to(x, self.shape)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (sum_to_shape(g, x.shape),)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], x: Any) -> Any:
        return apply(BroadcastTo((size, *self.shape)), aligned(x, len(self.shape)))

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        return broadcast(index, shape)


@function
def broadcast_to(x: Any, shape: Any) -> Value:
    """y = x repeated along new axes and axes of length 1.  x: [*s] -> y: [*shape]

    Raises:
        ShapeError: if x does not broadcast to `shape`.
    """
    x, new = as_value(x), as_shape(shape)
    return x if new == x.shape else apply(BroadcastTo(new), x)


@function
def broadcast_arrays(*xs: Any) -> list[Value]:
    """Each of xs broadcast to their common shape."""
    values = [as_value(x) for x in xs]
    shape = broadcast_shapes(*(x.shape for x in values))
    return [broadcast_to(x, shape) for x in values]


class Sum(Reduction, name="sum"):
    """y = the sum of x along axes, in x's dtype.  x: [*s] -> y: [s without axes]"""

    linear = ALL

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.sum(x, axis=self.axes, keepdims=self.keepdims, dtype=x.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (broadcast_to(keep_axes(g, self.axes, x), x.shape),)


def keep_axes(y: Any, axes: Axes, x: Any) -> Any:
    """A reduction's result with the reduced axes back as 1, to broadcast against x."""
    return reshape(y, tuple(1 if i in axes else d for i, d in enumerate(x.shape)))


@function
def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Value:
    """y = the sum of x along `axis` (None: all axes).  x: [*s] -> y: [s without axis]

    Integers are summed in 64 bits and bools counted, as the array API standard has it.
    """
    x = as_value(x)
    target = wide_dtype(x.dtype) if dtype is None else as_dtype(dtype)
    x = x if x.dtype == target else astype(x, target)
    op = Sum(normalize_axes(axis, x.ndim), as_bool(keepdims, "keepdims"))
    return apply(op, x) if op.axes else x


def wide_dtype(dtype: DType) -> DType:
    """The dtype in which elements of `dtype` are summed: 64 bits for integers and bools."""
    known = kind(dtype)
    return dtype if known == "float" else UINT64 if known == "uint" else INT64


def sum_to_shape(x: Any, shape: Shape) -> Any:
    """x summed over the axes along which an array of `shape` was broadcast to x's shape."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    axes = [i for i, d in enumerate(x.shape) if i < extra or (shape[i - extra] == 1 and d != 1)]
    y = apply(Sum(tuple(axes), False), x) if axes else x
    return y if y.shape == shape else reshape(y, shape)
