"""x[key], and gather: slices, new axes and integer arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from staticnet.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError
from staticnet.ir.dim import Dim, integer, size_of
from staticnet.ir.dtype import BOOL, INT64, is_integer
from staticnet.ir.types import Shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_int, broadcast_shapes, check_unmasked
from staticnet.ops.base import apply, as_value, function
from staticnet.ops.indexing import Take, as_index
from staticnet.ops.movement import Slice, permute_dims, split
from staticnet.ops.rearranging import flip
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, reshape, squeeze


@function
def gather(x: Any, indices: Any) -> Value:
    """y[s, :] = x[indices[s, 0], indices[s, 1], …, :].

    x: [*d, *r], indices: int [*s, len(d)] -> y: [*s, *r]
    """
    x, indices = as_value(x), as_value(indices)
    count = indices.shape[-1] if indices.ndim else None
    if not isinstance(count, int) or count > x.ndim:
        raise ShapeError(f"the last axis of the indices must be a number of x's axes, not {count}")
    parts = split(indices, count, axis=-1) if count else []
    return _take_many(x, [squeeze(part, -1) for part in parts], 0)


@function
def getitem(x: Any, key: Any) -> Value:
    """y = x[key]: ints, slices with steps, None, `...`, and integer arrays.

    As in NumPy the axes of the arrays come where they stand if that is one place, else first; an
    int is no array here, as in PyTorch.

    Raises:
        OutOfRangeError: if there are too many indices or one is out of range.
        ShapeError: if index arrays do not broadcast.
        ArgumentError: on a bool mask (its result would have no static shape) or another type.
    """
    x = as_value(x)
    check_unmasked(key)
    entries = _expand_ellipsis(key if isinstance(key, tuple) else (key,), x.ndim)
    basic: list[Any] = []
    arrays: list[tuple[int, Value]] = []
    shape: list[int | Dim] = []
    flips: list[int] = []
    axis = 0
    for entry in entries:
        if entry is None:
            shape.append(1)
            continue
        dim = x.shape[axis]
        axis += 1
        if isinstance(entry, slice) and _reverses(entry, dim):
            x, entry = flip(x, axis - 1), slice(None, None, -entry.step)
        if isinstance(entry, slice):
            start, stop, step = _slice_bounds(entry, dim)
            if step < 0:
                flips.append(axis - 1)
            basic.append((start, stop, abs(step)))
            shape.append((stop - start + (abs(step) - 1)) // abs(step))
        elif _is_number(entry):
            at = _index_bound(entry, dim)
            basic.append((at, at + 1, 1))
        else:
            arrays.append((len(shape), _index_array(entry)))
            basic.append((0, dim, 1))
            shape.append(dim)
    y = _slice(x, basic, flips)
    y = reshape(y, shape)
    return _take_arrays(y, arrays) if arrays else y


def _is_number(entry: Any) -> bool:
    return isinstance(entry, Dim) or (not isinstance(entry, Value) and integer(entry) is not None)


def _expand_ellipsis(key: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    used = sum(1 for entry in key if entry is not None and entry is not Ellipsis)
    dots = [i for i, entry in enumerate(key) if entry is Ellipsis]
    if used > ndim or len(dots) > 1:
        raise OutOfRangeError(f"{used} indices and {len(dots)} ellipses for {ndim} axes")
    at = dots[0] if dots else len(key)
    return key[:at] + (slice(None),) * (ndim - used) + key[at + len(dots) :]


def _index_bound(entry: Any, dim: int | Dim) -> int | Dim:
    number = entry if isinstance(entry, Dim) else as_int(entry, "index")
    if isinstance(number, int) and isinstance(dim, int) and not -dim <= number < dim:
        raise OutOfRangeError(f"index {number} is out of range for a dimension of {dim}")
    return number + dim if isinstance(number, int) and number < 0 else number


def _reverses(entry: slice, dim: int | Dim) -> bool:
    """Whether a slice goes through all of a symbolic dimension from its end."""
    whole = entry.start is None and entry.stop is None
    return isinstance(dim, Dim) and whole and (integer(entry.step) or 0) < 0


def _slice_bounds(entry: slice, dim: int | Dim) -> tuple[int | Dim, int | Dim, int]:
    """Start and stop in memory order, and the step, whose sign says whether to flip."""
    step = 1 if entry.step is None else as_int(entry.step, "slice step")
    if step == 0:
        raise ArgumentError("the slice step is 0")
    ends = [_slice_end(entry.start), _slice_end(entry.stop)]
    if isinstance(dim, int) and not any(isinstance(e, Dim) for e in ends):
        first, last, _ = slice(ends[0], ends[1], step).indices(dim)
        length = len(range(first, last, step))
        if step > 0:
            return first, max(first, last), step
        return (first + (length - 1) * step, first + 1, step) if length else (0, 0, step)
    if step < 0:
        raise ShapeError(
            f"of negative steps the symbolic dimension {dim} takes only those of all of it, as "
            "[::-1] or [::-2]; flip it first"
        )
    start, stop = (
        default if e is None else e + dim if isinstance(e, int) and e < 0 else e
        for e, default in zip(ends, (0, dim), strict=True)
    )
    length = stop - start
    if isinstance(length, int) and length <= 0:  # empty at every size, also a smaller one
        return 0, 0, step
    return start, stop, step


def _slice_end(end: Any) -> int | Dim | None:
    return end if end is None or isinstance(end, Dim) else as_int(end, "slice bound")


def _slice(x: Value, basic: list[Any], flips: list[int]) -> Value:
    if any(
        (start, stop, step) != (0, d, 1)
        for (start, stop, step), d in zip(basic, x.shape, strict=True)
    ):
        starts, stops, steps = zip(*basic, strict=True)
        x = apply(Slice(starts, stops, steps), x)
    return flip(x, tuple(flips)) if flips else x


def _index_array(entry: Any) -> Value:
    try:
        indices = as_index(entry)
    except DTypeError:
        raise ArgumentError(f"{entry!r:.60} is not an index") from None
    if indices.dtype == BOOL:
        raise ArgumentError(
            "a bool mask selects a number of elements that no graph can know; "
            "use sn.where(mask, x, other)"
        )
    if not is_integer(indices.dtype):
        raise ArgumentError(f"an index must be an integer, not {indices.dtype}")
    return indices


def _take_arrays(x: Value, arrays: list[tuple[int, Value]]) -> Value:
    first, axes = arrays[0][0], [at for at, _ in arrays]
    if axes != list(range(first, first + len(arrays))):
        x, first = permute_dims(x, axes + [i for i in range(x.ndim) if i not in axes]), 0
    return _take_many(x, [indices for _, indices in arrays], first)


def _take_many(x: Value, indices: list[Value], axis: int) -> Value:
    """x[.., i, j, k, ..]: several index arrays on adjacent axes from `axis` on."""
    if not indices:
        return x
    if len(indices) == 1:
        return apply(Take(axis), x, as_index(indices[0]))
    dims = x.shape[axis : axis + len(indices)]
    if len(dims) != len(indices):
        raise ShapeError(f"{len(indices)} indices for {x.ndim} axes")
    shape = broadcast_shapes(*(i.shape for i in indices))
    merged: Shape = (*x.shape[:axis], size_of(dims), *x.shape[axis + len(dims) :])
    return apply(Take(axis), reshape(x, merged), broadcast_to(flat_index(dims, indices), shape))


def flat_index(dims: Sequence[int | Dim], indices: Sequence[Value]) -> Value:
    """The index in an axis of all elements of `dims`, from one for each; out of range if one is.

    Raises:
        ShapeError: if a dim is symbolic.
    """
    size, flat, inside = size_of(dims), cast(Any, 0), cast(Any, True)
    for index, dim in zip(indices, dims, strict=True):
        if not isinstance(dim, int):
            raise ShapeError(f"several index arrays need fixed dimensions, not {dim}")
        index = astype(as_index(index), INT64)
        place = where(index < 0, index + dim, index)
        flat = flat * dim + place
        inside = inside & (place >= 0) & (place < dim)
    # what one axis does not have, another must not make up for
    return where(inside, flat, size)
