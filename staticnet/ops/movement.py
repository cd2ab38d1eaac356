"""Moving elements without computing: permute, slice, pad, concat, and compositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, exact_quotient, integer
from staticnet.ir.dtype import BOOL
from staticnet.ir.index import Index
from staticnet.ir.op import Axes
from staticnet.ir.types import Shape, TensorType, as_shape, fixed, format_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    as_sequence,
    as_tuple,
    check_axes,
    normalize_axis,
)
from staticnet.ops.base import (
    ALL,
    TensorOp,
    apply,
    as_value,
    as_values,
    constant,
    function,
    promoted,
)
from staticnet.ops.batching import aligned, shifted, spread_all
from staticnet.ops.promotion import as_array, is_weak
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import (
    broadcast_to,
    expand_dims,
    flatten,
    reshape,
    squeeze,
    sum_to_shape,
)
from staticnet.ops.widening import widened

MAX_PARTS = 4096  # of split and unstack: each part is a node


@dataclass(frozen=True)
class PermuteDims(TensorOp, name="permute_dims"):
    """y[i[axes]] = x[i]: axis k of y is axis axes[k] of x.  x: [*s] -> y: [s[a] for a in axes]"""

    axes: Axes
    linear = ALL
    moves = True

    def infer(self, *operands: TensorType) -> TensorType:
        x = operands[0]
        if sorted(self.axes) != list(range(x.ndim)):
            raise ShapeError(f"axes {self.axes} are no permutation of {x.ndim} axes")
        return x.with_shape(tuple(x.shape[axis] for axis in self.axes))

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.transpose(x, self.axes)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (_permuted(g, tuple(self.axes.index(i) for i in range(len(self.axes)))),)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(PermuteDims((0, *shifted(self.axes))), *operands)

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        return tuple(index[self.axes.index(i)] for i in range(len(shape)))


@function
def permute_dims(x: Any, axes: Any) -> Value:
    """y: axis k of y is axis axes[k] of x.  x: [*s] -> y: [s[a] for a in axes]

    Raises:
        ShapeError: if `axes` is no permutation.
    """
    x = as_value(x)
    return _permuted(x, tuple(normalize_axis(axis, x.ndim) for axis in as_sequence(axes)))


def _permuted(x: Any, axes: Axes) -> Any:
    return x if axes == tuple(range(x.ndim)) else apply(PermuteDims(axes), x)


@function
def matrix_transpose(x: Any) -> Value:
    """y = x with its last two axes exchanged.  x: [*b, m, n] -> y: [*b, n, m]"""
    x = as_value(x)
    n = x.ndim
    if n < 2:
        raise ShapeError(f"takes stacks of matrices, not {n} axes")
    return apply(PermuteDims((*range(n - 2), n - 1, n - 2)), x)


@function
def swapaxes(x: Any, axis1: int, axis2: int) -> Value:
    """y = x with two axes exchanged."""
    x = as_value(x)
    axes = list(range(x.ndim))
    i, j = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    axes[i], axes[j] = j, i
    return permute_dims(x, axes)


@function
def moveaxis(x: Any, source: Any, destination: Any) -> Value:
    """y = x with the axes `source` moved to the places `destination`, the others in order.

    Raises:
        ShapeError: if the two differ in number, or one names an axis twice.
    """
    x = as_value(x)
    sources, places = as_tuple(source), as_tuple(destination)
    if len(sources) != len(places):
        raise ShapeError(f"{len(sources)} source axes for {len(places)} destinations")
    moved = {
        normalize_axis(to, x.ndim): normalize_axis(axis, x.ndim)
        for axis, to in zip(sources, places, strict=True)
    }
    if not len(moved) == len(set(moved.values())) == len(sources):
        raise ShapeError(f"source {source} or destination {destination} names an axis twice")
    rest = iter(i for i in range(x.ndim) if i not in moved.values())
    return permute_dims(x, [moved[i] if i in moved else next(rest, -1) for i in range(x.ndim)])


@dataclass(frozen=True)
class Slice(TensorOp, name="slice"):
    """y[i] = x[starts + i * steps], up to and without stops.

    x: [*s] -> y: [ceil((stops - starts) / steps)], with 0 <= starts <= stops <= s and steps >= 1
    """

    starts: Shape
    stops: Shape
    steps: Axes
    linear = ALL
    moves = True

    def infer(self, *operands: TensorType) -> TensorType:
        x = operands[0]
        if not len(self.starts) == len(self.stops) == len(self.steps) == x.ndim:
            raise ShapeError(f"{x.ndim} axes need as many starts, stops and steps")
        rows = zip(self.starts, self.stops, self.steps, x.shape, strict=True)
        return x.with_shape(tuple(_slice_length(*row) for row in rows))

    def eval(self, xp: Any, x: Any) -> Any:
        return x[tuple(map(slice, self.starts, self.stops, self.steps))]

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        if any(
            step > 1 and isinstance(n, Dim) for n, step in zip(y.shape, self.steps, strict=True)
        ):
            g = self._followed_by_zeros(g)
            high = [dim - stop for dim, stop in zip(x.shape, self.stops, strict=True)]
            return (apply(Pad(self.starts, tuple(high), (0,) * x.ndim), g, 0),)
        high = [
            dim - (start + (n - 1) * step + 1) if n != 0 else dim - start
            for dim, start, n, step in zip(x.shape, self.starts, y.shape, self.steps, strict=True)
        ]
        interior = tuple(step - 1 for step in self.steps)
        return (apply(Pad(self.starts, tuple(high), interior), g, 0),)

    def _followed_by_zeros(self, g: Any) -> Any:
        """g from starts to stops, of a length that may be 0: then nothing is between elements.

        g: [*n] -> [*(stops - starts)]
        """
        none = (0,) * (2 * g.ndim)
        rows = [side for n in g.shape for side in (n, 1)]
        behind = tuple(side for step in self.steps for side in (0, step - 1))
        g = apply(Pad(none, behind, none), reshape(g, rows), 0)
        g = reshape(g, [n * step for n, step in zip(g.shape[::2], self.steps, strict=True)])
        whole = [stop - start for start, stop in zip(self.starts, self.stops, strict=True)]
        return apply(Slice((0,) * g.ndim, tuple(whole), (1,) * g.ndim), g)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(Slice((0, *self.starts), (size, *self.stops), (1, *self.steps)), *operands)

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        rows = zip(index, fixed(self.starts), self.steps, strict=True)
        return tuple(i * step + start for i, start, step in rows)


def _slice_length(start: int | Dim, stop: int | Dim, step: int, dim: int | Dim) -> int | Dim:
    if step < 1:
        raise ShapeError(f"step {step} is not positive")
    for low, high in ((start, stop), (stop, dim)):
        gap = high - low
        if isinstance(gap, int) and gap < 0:
            raise ShapeError(f"the slice {start}:{stop} does not lie in a dimension of {dim}")
    return (stop - start + (step - 1)) // step


@dataclass(frozen=True)
class Pad(TensorOp, name="pad"):
    """y = x with `low` values before each axis, `high` after it and `interior` between elements.

    x: [*s], value: [] -> y: [low + s + (s - 1) * interior + high]
    """

    low: Shape
    high: Shape
    interior: Axes
    linear = ALL
    same_dtype: ClassVar[slice] = ALL
    arity = 2

    def infer(self, *operands: TensorType) -> TensorType:
        x, value = operands
        if value.ndim or value.dtype != x.dtype:
            raise ShapeError(f"the padding value must be a scalar of {x.dtype}, not {value}")
        if not len(self.low) == len(self.high) == len(self.interior) == x.ndim:
            raise ShapeError(f"{x.ndim} axes need as many low, high and interior widths")
        if any(width < 0 for width in self.interior):
            raise ShapeError(f"interior widths {self.interior} are negative")
        rows = zip(self.low, x.shape, self.high, self.interior, strict=True)
        return x.with_shape(tuple(lo + _spread(n, gap) + hi for lo, n, hi, gap in rows))

    def eval(self, xp: Any, x: Any, value: Any) -> Any:
        rows = list(zip(self.low, x.shape, self.high, self.interior, strict=True))
        y = xp.empty([lo + _spread(n, gap) + hi for lo, n, hi, gap in rows], x.dtype)
        y[...] = value
        y[tuple(slice(lo, lo + _spread(n, gap), gap + 1) for lo, n, _, gap in rows)] = x
        return y

    def vjp(self, y: Any, g: Any, x: Any, value: Any) -> tuple[Any, ...]:
        rows = list(zip(self.low, x.shape, self.interior, strict=True))
        stops = tuple(lo + _spread(n, gap) for lo, n, gap in rows)
        inner = apply(Slice(self.low, stops, tuple(gap + 1 for gap in self.interior)), g)
        outside = sum_to_shape(widened(g), ()) - sum_to_shape(widened(inner), ())
        return inner, astype(outside, g.dtype)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], x: Any, value: Any) -> Any:
        op = Pad((0, *self.low), (0, *self.high), (0, *self.interior)) if batched[0] else self
        if not batched[1]:
            return apply(op, x, value)
        inside = apply(op, broadcast_to(constant(True), x.shape), constant(False))
        return where(inside, apply(op, x, constant(0, x.dtype)), aligned(value, len(self.low)))


def _spread(n: int | Dim, gap: int) -> int | Dim:
    return n if n == 0 or gap == 0 else n + (n - 1) * gap


@function
def pad(x: Any, pad_width: Any, constant_values: Any = 0) -> Value:
    """y = x with `pad_width` = ((before, after), …) values around each axis.

    x: [*s] -> y: [before + s + after]; one pair, or one width, serves all axes. Of bools, 0 is
    False.

    Raises:
        ShapeError: if a width is negative or the pairs do not match the axes.
    """
    x = as_value(x)
    pairs = [pad_width] if integer(pad_width) is not None else list(as_sequence(pad_width))
    if 1 <= len(pairs) <= 2 and all(integer(width) is not None for width in pairs):
        pairs = [(pairs[0], pairs[-1])] * x.ndim
    if len(pairs) != x.ndim or any(len(as_sequence(pair)) != 2 for pair in pairs):
        raise ShapeError(f"pad_width needs a pair of widths for each of {x.ndim} axes")
    low, high = (as_shape([pair[i] for pair in pairs], "pad_width") for i in (0, 1))
    value = constant_values
    if x.dtype == BOOL and is_weak(value):
        value = as_values(x, as_array(value, BOOL))[1]
    return apply(Pad(low, high, (0,) * x.ndim), x, value)


@dataclass(frozen=True)
class Concat(TensorOp, name="concat"):
    """y = the operands one after the other along an axis.

    x_k: [.., n_k, ..] -> y: [.., sum of n_k, ..]
    """

    axis: int
    linear = ALL
    same_dtype: ClassVar[slice] = ALL
    arity = None

    def infer(self, *operands: TensorType) -> TensorType:
        if not operands:
            raise ArgumentError("concat: takes at least one operand")
        first, axis = operands[0], self.axis
        check_axes((axis,), first.ndim)
        total: int | Dim = 0
        for x in operands:
            if x.dtype != first.dtype or x.ndim != first.ndim:
                raise ShapeError(f"{first} and {x} differ in rank or dtype")
            if any(
                a != b
                for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True))
                if i != axis
            ):
                raise ShapeError(f"{first} and {x} differ outside axis {axis}")
            total = total + x.shape[axis]
        return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))

    def eval(self, xp: Any, *xs: Any) -> Any:
        return xp.concatenate(xs, axis=self.axis)

    def vjp(self, y: Any, g: Any, *xs: Any) -> tuple[Any, ...]:
        return tuple(split(g, [x.shape[self.axis] for x in xs], axis=self.axis))

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(Concat(self.axis + 1), *spread_all(size, batched, operands))


@function
def concat(xs: Sequence[Any], axis: int | None = 0) -> Value:
    """y = xs one after the other along `axis`; None flattens them first.

    Raises:
        ShapeError: if they differ outside that axis.
    """
    values = promoted("concat", *_operands(xs))
    if axis is None:
        values, axis = [flatten(x) for x in values], 0
    return apply(Concat(normalize_axis(axis, values[0].ndim)), *values)


def _operands(xs: Any) -> Sequence[Any]:
    if not isinstance(xs, tuple | list) or not xs:
        raise ArgumentError(f"expected a non-empty list of arrays, got {xs!r:.60}")
    return xs


@function
def stack(xs: Sequence[Any], axis: int = 0) -> Value:
    """y = xs side by side along a new axis.  n of [*s] -> y: [*s[:axis], n, *s[axis:]]"""
    return concat([expand_dims(x, axis) for x in promoted("stack", *_operands(xs))], axis)


@function
def split(x: Any, sections: Any, axis: int = 0) -> list[Value]:
    """x cut along `axis` into `sections` equal parts, or into parts of the given lengths.

    Raises:
        ShapeError: if the parts do not add up to the axis.
    """
    x = as_value(x)
    axis = normalize_axis(axis, x.ndim)
    count = integer(sections)
    if count is not None:
        length = exact_quotient(x.shape[axis], count)
        if length is None or not 1 <= count <= MAX_PARTS:
            raise ShapeError(
                f"axis {axis} of {x.shape[axis]} has no {count} equal parts, at most {MAX_PARTS}"
            )
        sections = [length] * count
    lengths = as_shape(sections, "sections")
    total: int | Dim = 0
    parts = []
    for length in lengths:
        starts = tuple(total if i == axis else 0 for i in range(x.ndim))
        total = total + length
        stops = tuple(total if i == axis else d for i, d in enumerate(x.shape))
        parts.append(apply(Slice(starts, stops, (1,) * x.ndim), x))
    if total != x.shape[axis]:
        raise ShapeError(f"lengths {format_shape(lengths)} do not add up to {x.shape[axis]}")
    return parts


@function
def unstack(x: Any, axis: int = 0) -> tuple[Value, ...]:
    """The slices of x along `axis`, without that axis.

    Raises:
        ShapeError: if the axis is symbolic, or longer than 4096.
    """
    x = as_value(x)
    axis = normalize_axis(axis, x.ndim)
    length = x.shape[axis]
    if not isinstance(length, int):
        raise ShapeError(
            f"axis {axis} has length {length}, a number only when it is fed, and so many slices"
            " as no graph can know; loop over it by sn.scan or sn.map"
        )
    if length > MAX_PARTS:
        raise ShapeError(
            f"axis {axis} has length {length}; at most {MAX_PARTS} slices unstack; loop over more "
            "by sn.scan or sn.map"
        )
    return tuple(squeeze(part, axis) for part in split(x, [1] * length, axis))
