"""One array many times: tile, repeat and meshgrid, composed of broadcasts and takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.types import as_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import MAX_PLACES, as_int, broadcast_shapes, normalize_axis
from staticnet.ops.base import as_value, as_values, function
from staticnet.ops.indexing import take
from staticnet.ops.shape import broadcast_to, expand_dims, reshape


@function
def tile(x: Any, repetitions: Any) -> Value:
    """y = x repeated whole, `repetitions` times along each axis.  x: [*s] -> y: [r * s]"""
    x = as_value(x)
    counts = as_shape(repetitions, "repetitions")
    rank = max(len(counts), x.ndim)
    counts = (1,) * (rank - len(counts)) + counts
    dims = (1,) * (rank - x.ndim) + x.shape
    paired = [d for pair in zip(counts, dims, strict=True) for d in pair]
    spread = reshape(x, [d for dim in dims for d in (1, dim)])
    return reshape(broadcast_to(spread, paired), [c * d for c, d in zip(counts, dims, strict=True)])


@function
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Value:
    """y = x with each element along `axis` `repeats` times; None flattens first.

    `repeats` is a number or, for a fixed dim, one known number an element.

    Raises:
        ShapeError: if there are not as many repeats as elements, or one is negative.
        ArgumentError: if the repeats are no integers, or are not known.
    """
    x = as_value(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis(axis, x.ndim)
    if isinstance(repeats, Value | list | tuple | np.ndarray):
        return _repeat_each(x, _counts(repeats), axis)
    count = as_int(repeats, "repeats")
    wide = (*x.shape[: axis + 1], *as_shape(count, "repeats"), *x.shape[axis + 1 :])
    merged = (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :])
    return reshape(broadcast_to(expand_dims(x, axis + 1), wide), merged)


def _counts(repeats: Any) -> np.ndarray[Any, Any]:
    if isinstance(repeats, Value) and repeats.is_symbolic:
        raise ArgumentError(
            f"repeats {repeats!r:.60} are values that no graph knows; pass a list or a NumPy array"
        )
    counts = np.asarray(repeats)
    if counts.size and counts.dtype.kind not in "iu":
        raise ArgumentError(f"repeats must be integers, not {repeats!r:.60}")
    return counts.astype(np.int64)


def _repeat_each(x: Value, counts: np.ndarray[Any, Any], axis: int) -> Value:
    dim = x.shape[axis]
    if counts.ndim > 1 or counts.size not in (1, dim) or (counts < 0).any():
        raise ShapeError(f"repeats must be {dim} numbers >= 0, not {counts.tolist()!s:.60}")
    if counts.size == 1:
        return repeat(x, int(counts.reshape(())), axis)
    if sum(counts.tolist()) > MAX_PLACES:
        raise ShapeError(
            f"repeats add up to {sum(counts.tolist())}, too many for the table of places that the "
            f"graph would hold; at most {MAX_PLACES}"
        )
    return take(x, np.repeat(np.arange(counts.size), counts), axis)


@function
def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Value]:
    """Each of vectors x_k along its own axis of one grid: y_k[i0, i1, …] = x_k[i_k].

    x_k: [n_k] -> each y_k: [n_0, n_1, …], or with "xy" the first two axes exchanged

    Raises:
        ShapeError: if one has more than one axis.
        DTypeError: if their dtypes differ.
        ArgumentError: if `indexing` is neither "xy" nor "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'indexing must be "xy" or "ij", not {indexing!r:.60}')
    vectors = as_values(*arrays)
    if any(x.ndim > 1 for x in vectors):
        raise ShapeError("takes vectors, to make the axes of a grid of them")
    if len({x.dtype for x in vectors}) > 1:
        raise DTypeError("takes vectors of one dtype; cast them with sn.astype(x, dtype)")
    count = len(vectors)
    places = list(range(count))
    if indexing == "xy" and count > 1:
        places[:2] = 1, 0
    columns = [
        reshape(x, [-1 if axis == place else 1 for axis in range(count)])
        for x, place in zip(vectors, places, strict=True)
    ]
    shape = broadcast_shapes(*(x.shape for x in columns))
    return [broadcast_to(x, shape) for x in columns]
