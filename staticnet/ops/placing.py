"""PyTorch's functions that place values at indices: scatter, index_put and their kin.

Of equal indices the last one sets; what it replaces has no derivative. An index may be negative;
one outside of its axis fails the run.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import BOOL, INT64, is_floating, is_integer
from staticnet.ir.types import Shape, format_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_bool, broadcast_shapes, normalize_axis
from staticnet.ops.arithmetic import maximum
from staticnet.ops.base import apply, as_value, function, promoted
from staticnet.ops.creation import ones_like, zeros, zeros_like
from staticnet.ops.getitem import flat_index
from staticnet.ops.indexing import as_index, scatter_add, scatter_add_along_axis, take
from staticnet.ops.movement import concat, permute_dims
from staticnet.ops.reduction import cumulative_sum
from staticnet.ops.scattering import Scatter, ScatterMax, ScatterMin, ScatterProd, ScatterSet
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, reshape
from staticnet.ops.widening import widened

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


@function
def scatter(x: Any, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> Value:
    """y = x, then y[a, index[a, j, b], b] = src[a, j, b], j at `dim`.

    x: [*a, n, *b], index: int [*a, m, *b], or shorter along any axis, src: a number, or an array at
    least as long as index -> y: [*a, n, *b]. reduce: "add" or "multiply" instead of setting.

    Raises:
        ShapeError: if index is longer than src, or than x along another axis.
        DTypeError: if index is no array of integers.
        ArgumentError: if reduce is neither of the two nor None.
    """
    if reduce not in (None, "add", "multiply"):
        raise ArgumentError(f"reduce must be 'add', 'multiply' or None, not {reduce!r:.60}")
    how = {None: "set", "add": "sum", "multiply": "prod"}[reduce]
    return _scattered(x, dim, index, src, how)


@function
def scatter_reduce(
    x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Value:
    """y = x, then y[a, index[a, j, b], b] combined with src[a, j, b], j at `dim`.

    x: [*a, n, *b], index: int [*a, m, *b], or shorter along any axis, src: at least as long as
    index -> y: [*a, n, *b]. reduce: "sum", "prod", "mean", "amax" or "amin"; without include_self
    x counts only where nothing is combined with it. Equal extrema share the derivative.

    Raises:
        ShapeError: if index is longer than src, or than x along another axis.
        DTypeError: if index is no array of integers.
        ArgumentError: if reduce is none of these.
    """
    _check_reduction(reduce)
    return _scattered(x, dim, index, src, reduce, as_bool(include_self, "include_self"))


def _check_reduction(reduce: Any) -> None:
    if not isinstance(reduce, str) or reduce not in REDUCTIONS:
        listed = ", ".join(repr(name) for name in REDUCTIONS)
        raise ArgumentError(f"reduce must be one of {listed}, not {reduce!r:.60}")


def _integers(index: Any) -> Value:
    index = as_value(as_index(index))
    if not is_integer(index.dtype):
        raise DTypeError(f"an index must be an integer, not {index.dtype}")
    return index


def _scattered(x: Any, dim: Any, index: Any, src: Any, how: str, own: bool = True) -> Value:
    """A scatter into the part of x that the index covers along the other axes."""
    x, src = promoted("scatter", x, src)
    index = _integers(index)
    if x.ndim == 0:
        line = _scattered(reshape(x, 1), dim, reshape(index, -1), reshape(src, -1), how, own)
        return reshape(line, ())
    axis = normalize_axis(dim, x.ndim, "dim")
    src = broadcast_to(src, index.shape) if src.ndim == 0 else src
    covered = tuple(d if i == axis else m for i, (d, m) in _sides(x, index))
    if _exceeds(index.shape, src.shape) or _exceeds(covered, x.shape):
        raise ShapeError(
            f"index {format_shape(index.shape)} must not be longer than src "
            f"{format_shape(src.shape)}, nor than x {format_shape(x.shape)} beside axis {axis}"
        )
    y = _combined(_corner(x, covered), axis, index, _corner(src, index.shape), how, own)
    for i in reversed(range(x.ndim)):
        if covered[i] != x.shape[i]:  # the rest of x
            rest = _corner(x, (*covered[:i], *x.shape[i:]))
            y = concat([y, rest[(slice(None),) * i + (slice(covered[i], None),)]], i)
    return y


def _sides(x: Value, index: Value) -> Any:
    if index.ndim != x.ndim:
        raise ShapeError(f"index has {index.ndim} axes, and x has {x.ndim}")
    return enumerate(zip(x.shape, index.shape, strict=True))


def _exceeds(shape: Shape, other: Shape) -> bool:
    if len(shape) != len(other):
        return True
    return any(
        m > n if isinstance(m, int) and isinstance(n, int) else m != n
        for m, n in zip(shape, other, strict=True)
    )


def _corner(x: Value, shape: Shape) -> Value:
    return x if x.shape == shape else x[tuple(slice(0, d) for d in shape)]


def _combined(x: Value, axis: int, index: Value, src: Value, how: str, own: bool) -> Value:
    """A scatter of any kind where all shapes fit, of any dtype."""
    if how == "set":
        return cast(Value, apply(ScatterSet(axis), x, src, index))
    dtype = x.dtype
    x, src = _summable(x), _summable(src)
    if not own:
        first = broadcast_to(astype(_neutral(how, x), x.dtype), index.shape)
        x = apply(ScatterSet(axis), x, first, index)
    if how in ("sum", "mean"):
        y = scatter_add_along_axis(x, index, src, axis)
    else:
        y = apply(_OPS[how](axis), x, src, index)
    if how == "mean":
        first = ones_like(x, INT64) if own else zeros_like(x, INT64)
        count = scatter_add_along_axis(first, index, ones_like(index, INT64), axis)
        y = _divided(y, maximum(count, 1))
    return astype(y, dtype)


_OPS: dict[str, type[Scatter]] = {"prod": ScatterProd, "amax": ScatterMax, "amin": ScatterMin}


def _summable(x: Value) -> Value:
    return astype(x, INT64) if x.dtype == BOOL else widened(x)


def _neutral(how: str, x: Value) -> Any:
    """What a combination leaves as it is."""
    if how in ("sum", "mean", "prod"):
        return int(how == "prod")
    sign = -1 if how == "amax" else 1
    if is_floating(x.dtype):
        return sign * math.inf
    limits = np.iinfo(x.dtype)
    return limits.min if how == "amax" else limits.max


def _divided(total: Value, count: Value) -> Value:
    return total / count if is_floating(total.dtype) else total // astype(count, total.dtype)


def _along(x: Value, dim: Any, index: Any) -> tuple[int, Value]:
    """An axis, and indices on it of one axis."""
    index = _integers(index)
    index = reshape(index, 1) if index.ndim == 0 else index
    if index.ndim != 1:
        raise ShapeError(f"index {format_shape(index.shape)} must have one axis")
    return normalize_axis(dim, x.ndim, "dim"), index


def _spread(x: Value, axis: int, index: Value) -> Value:
    """The index of a row for each element of the rows."""
    shape = (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :])
    return broadcast_to(reshape(index, (-1, *(1,) * (x.ndim - axis - 1))), shape)


def _source(x: Value, axis: int, index: Value, source: Value) -> Value:
    shape = (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :])
    if source.shape != shape:
        raise ShapeError(
            f"source {format_shape(source.shape)} must be {format_shape(shape)}, as many rows as "
            "there are indices"
        )
    return source


@function
def index_select(x: Any, dim: int, index: Any) -> Value:
    """y[a, j, b] = x[a, index[j], b], j at `dim`.  x: [*a, n, *b], index: int [m] -> [*a, m, *b]

    Raises:
        ShapeError: if index has not one axis.
        DTypeError: if it is no array of integers.
    """
    x = as_value(x)
    axis, index = _along(x, dim, index)
    return take(x, index, axis)


@function
def index_copy(x: Any, dim: int, index: Any, source: Any) -> Value:
    """y = x, then y[a, index[j], b] = source[a, j, b], j at `dim`.

    x: [*a, n, *b], index: int [m], source: [*a, m, *b] -> y: [*a, n, *b]

    Raises:
        ShapeError: if the shapes do not fit.
        DTypeError: if index is no array of integers.
    """
    x, source = promoted("index_copy", x, source)
    axis, index = _along(x, dim, index)
    rows = _source(x, axis, index, source)
    return _combined(x, axis, _spread(x, axis, index), rows, "set", True)


@function
def index_fill(x: Any, dim: int, index: Any, value: Any) -> Value:
    """y = x, then y[a, index[j], b] = value, j at `dim`.

    x: [*a, n, *b], index: int [m], value: a number or [] -> y: [*a, n, *b]

    Raises:
        ShapeError: if index has not one axis, or value has any.
        DTypeError: if index is no array of integers.
    """
    x, value = promoted("index_fill", x, value)
    if value.ndim:
        raise ShapeError(f"value {format_shape(value.shape)} must be one number")
    axis, index = _along(x, dim, index)
    places = _spread(x, axis, index)
    return _combined(x, axis, places, broadcast_to(value, places.shape), "set", True)


@function
def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Value:
    """y = x, then y[a, index[j], b] += alpha * source[a, j, b], j at `dim`, repeats accumulating.

    x: [*a, n, *b], index: int [m], source: [*a, m, *b] -> y: [*a, n, *b]

    Raises:
        ShapeError: if the shapes do not fit.
        DTypeError: if index is no array of integers.
    """
    x, source = promoted("index_add", x, source)
    axis, index = _along(x, dim, index)
    return scatter_add(x, index, _source(x, axis, index, source) * alpha, axis)


@function
def index_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Value:
    """y = x, then y[a, index[j], b] combined with source[a, j, b], as `scatter_reduce` does.

    x: [*a, n, *b], index: int [m], source: [*a, m, *b] -> y: [*a, n, *b]

    Raises:
        ShapeError: if the shapes do not fit.
        DTypeError: if index is no array of integers.
        ArgumentError: if reduce is none of its kinds.
    """
    _check_reduction(reduce)
    x, source = promoted("index_reduce", x, source)
    axis, index = _along(x, dim, index)
    rows, own = _source(x, axis, index, source), as_bool(include_self, "include_self")
    return _combined(x, axis, _spread(x, axis, index), rows, reduce, own)


@function
def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Value:
    """y = x, then y[indices] = values, or += with accumulate, indices as in `x[indices]`.

    x: [*d, *r], indices: a tuple of integer arrays that broadcast to [*s], None for a whole axis,
    or one bool mask beside one number, values: broadcastable to x[indices] -> y: [*d, *r]

    Raises:
        ShapeError: if the shapes do not fit, or indexed axes are symbolic.
        ArgumentError: if the indices are no tuple of arrays.
    """
    x, values = promoted("index_put", x, values)
    adds = as_bool(accumulate, "accumulate")
    if not isinstance(indices, tuple | list) or not any(i is not None for i in indices):
        raise ArgumentError(f"indices must be a tuple of arrays, not {indices!r:.60}")
    arrays = [None if i is None else as_value(as_index(i)) for i in indices]
    mask = arrays[0]
    if len(arrays) == 1 and mask is not None and mask.dtype == BOOL:
        return _put_masked(x, mask, values, adds)
    given = [(axis, _integers(i)) for axis, i in enumerate(arrays) if i is not None]
    if len(arrays) > x.ndim:
        raise ShapeError(f"{len(arrays)} indices for {x.ndim} axes")
    axes, where_to = [axis for axis, _ in given], [i for _, i in given]
    shape = broadcast_shapes(*(i.shape for i in where_to))
    order = axes + [i for i in range(x.ndim) if i not in axes]
    first = axes[0] if axes == list(range(axes[0], axes[0] + len(axes))) else 0
    moved = permute_dims(x, order)
    others = moved.shape[len(axes) :]
    values = broadcast_to(values, (*others[:first], *shape, *others[first:]))
    spots = tuple(range(first, first + len(shape)))
    rows = reshape(
        permute_dims(values, spots + tuple(i for i in range(values.ndim) if i not in spots)),
        (size_of(shape), size_of(others)),
    )
    flat = reshape(broadcast_to(flat_index(moved.shape[: len(axes)], where_to), shape), -1)
    table = reshape(moved, (size_of(moved.shape[: len(axes)]), size_of(others)))
    if adds:
        table = scatter_add(table, flat, rows, 0)
    else:
        table = _combined(table, 0, _spread(table, 0, flat), rows, "set", True)
    return permute_dims(reshape(table, moved.shape), [order.index(i) for i in range(x.ndim)])


def _put_masked(x: Value, mask: Value, values: Value, adds: bool) -> Value:
    if mask.shape != x.shape[: mask.ndim]:
        raise ShapeError(f"a mask {format_shape(mask.shape)} does not fit {format_shape(x.shape)}")
    if values.ndim:
        raise ArgumentError(
            "a mask selects a number of elements that no graph can know; beside it values must be "
            "one number, or take sn.masked_scatter"
        )
    mask = reshape(mask, (*mask.shape, *(1,) * (x.ndim - mask.ndim)))
    return where(mask, x + values if adds else values, x)


def _masks(x: Value, mask: Any) -> Value:
    mask = as_value(mask)
    if mask.dtype != BOOL:
        raise DTypeError(f"a mask must be bool, not {mask.dtype}; compare it with 0")
    return mask


@function
def masked_fill(x: Any, mask: Any, value: Any) -> Value:
    """y = value where mask, else x.  x: [*s], mask: bool, value: [] -> y: [*s], broadcast

    Raises:
        DTypeError: if the mask is not bool.
        ShapeError: if value has axes.
    """
    x, value = promoted("masked_fill", x, value)
    if value.ndim:
        raise ShapeError(f"value {format_shape(value.shape)} must be one number")
    return where(_masks(x, mask), value, x)


@function
def masked_scatter(x: Any, mask: Any, source: Any) -> Value:
    """y = x with the true elements of mask, in C order, replaced by source's first ones.

    x: [*s], mask: bool, broadcastable to [*s], source: any shape -> y: [*s]. If there are too few
    the run fails.

    Raises:
        DTypeError: if the mask is not bool.
        ShapeError: if the mask does not broadcast.
    """
    x, source = promoted("masked_scatter", x, source)
    mask = broadcast_to(_masks(x, mask), x.shape)
    line = reshape(mask, -1)
    place = where(line, cumulative_sum(astype(line, INT64), 0), 0)  # from 1: 0 is for the rest
    padded = concat([zeros((1,), source.dtype), reshape(source, -1)])
    return where(mask, reshape(take(padded, place, 0), x.shape), x)
