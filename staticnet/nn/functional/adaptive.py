"""Adaptive pooling: t windows over n elements, window i from floor(i n / t) to ceil((i + 1) n / t).

Windows of equal size are those of plain pooling. Others are gathered side by side, each as long as
the longest, and pooled there. An array may lack its first axis, that of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import INT64
from staticnet.ir.types import Shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, with_examples
from staticnet.ops.arguments import MAX_PLACES, as_bool, as_int
from staticnet.ops.base import apply, function, items
from staticnet.ops.indexing import take, take_along_axis
from staticnet.ops.reduction import argmax, mean
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import reshape, squeeze, sum
from staticnet.ops.widening import rounded_once
from staticnet.spatial.pooling import MaxPool, WindowSum

Table = np.ndarray[Any, Any]


def _sizes(output_size: Any, spatial: Shape) -> tuple[int | Dim, ...]:
    """How many windows each axis gets; None leaves it as it is."""
    entries = output_size if isinstance(output_size, tuple | list) else [output_size] * len(spatial)
    if len(entries) != len(spatial):
        raise ArgumentError(
            f"output_size must be an int or {len(spatial)} entries, not {output_size!r:.60}"
        )
    return tuple(
        n if wanted is None or wanted is n else as_int(wanted, "output_size", 1)
        for wanted, n in zip(entries, spatial, strict=True)
    )


def _windows(n: int | Dim, count: int | Dim) -> tuple[Table, Table]:
    """The places of each window's elements, its last one again for what it lacks; and how many.

    -> int64 [count, longest], int64 [count]
    """
    if not isinstance(n, int) or not isinstance(count, int):
        raise ShapeError(
            f"a symbolic axis of {n} can have 1 window or as many as elements, not {count}; give "
            "the axis a fixed size"
        )
    if n == 0:
        raise ShapeError("an axis without elements has no windows")
    if max(n, count) > MAX_PLACES:
        raise ShapeError(
            f"{count} windows over {n} elements differ in size, and the table of their places "
            f"would have more than {MAX_PLACES} entries; take a number that divides {n}"
        )
    first = np.arange(count) * n // count
    length = -(-(np.arange(count) + 1) * n // count) - first
    steps = np.minimum(np.arange(length.max()), length[:, None] - 1)
    return (first[:, None] + steps).astype(np.int64), length


def _is_even(n: int | Dim, count: int | Dim) -> bool:
    return n == count or (isinstance(n, int) and isinstance(count, int) and n % count == 0 < n)


def _steps(spatial: Shape, counts: Sequence[int | Dim]) -> tuple[int, ...]:
    """The sizes of windows that are equal."""
    rows = zip(spatial, counts, strict=True)
    return tuple(1 if n == t else int(n) // int(t) for n, t in rows)


def _plain(steps: tuple[int, ...]) -> dict[str, Any]:
    """The attributes of windows side by side."""
    zeros, ones = (0,) * len(steps), (1,) * len(steps)
    return {
        "kernel": steps, "strides": steps, "low": zeros, "high": zeros, "dilations": ones,
        "layout": "first",
    }  # fmt: skip


def _average(axes: int, x: Any, output_size: Any) -> Value:
    x, single = with_examples(as_floating(x), axes)
    counts = _sizes(output_size, x.shape[2:])
    ones = [2 + i for i, count in enumerate(counts) if count == 1]
    if ones:
        x = mean(x, ones, keepdims=True)
    spatial = x.shape[2:]
    if all(map(_is_even, spatial, counts)):
        steps = _steps(spatial, counts)
        size = int(np.prod(steps))
        y = x if size == 1 else apply(WindowSum(**_plain(steps)), x) / size
    else:
        y = x
        for axis, (n, count) in enumerate(zip(spatial, counts, strict=True), 2):
            y = y if n == count else _average_along(y, axis, *_windows(n, count))
    return squeeze(y, 0) if single else y


def _average_along(x: Value, axis: int, places: Table, length: Table) -> Value:
    """The means of windows along an axis.  x: [.., n, ..], places: [t, k] -> y: [.., t, ..]"""
    rest = (1,) * (x.ndim - 1 - axis)
    inside = np.arange(places.shape[1]) < length[:, None]
    parts = where(inside.reshape(*inside.shape, *rest), take(x, places, axis), 0)
    return sum(parts, axis + 1) / astype(length.reshape(-1, *rest), x.dtype)


def _greatest(axes: int, x: Any, output_size: Any, return_indices: Any) -> Any:
    x, single = with_examples(x, axes)
    counts = _sizes(output_size, x.shape[2:])
    if all(count == 1 for count in counts):
        y, places = _greatest_of_all(x)
    elif all(map(_is_even, x.shape[2:], counts)):
        y, places = items(apply(MaxPool(**_plain(_steps(x.shape[2:], counts))), x))
    else:
        y, places = _greatest_gathered(x, counts)
    if single:
        y, places = squeeze(y, 0), squeeze(places, 0)
    return (y, astype(places, INT64)) if as_bool(return_indices, "return_indices") else y


def _greatest_of_all(x: Value) -> tuple[Value, Value]:
    """Of each plane: one window, also where its size is symbolic."""
    flat = reshape(x, (*x.shape[:2], size_of(x.shape[2:])))
    places = argmax(flat, 2, keepdims=True)
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2))
    return reshape(take_along_axis(flat, places, 2), shape), reshape(places, shape)


def _greatest_gathered(x: Value, counts: Sequence[int | Dim]) -> tuple[Value, Value]:
    """The windows side by side; then their greatest elements, and where these lay."""
    spatial, widths = x.shape[2:], []
    plane = np.zeros((1,) * len(spatial), np.int64)
    for axis, (n, count) in enumerate(zip(spatial, counts, strict=True)):
        places, _ = _windows(n, count)
        widths.append(places.shape[1])
        x = take(x, places.reshape(-1), 2 + axis)
        along = places.reshape(-1, *(1,) * (len(spatial) - 1 - axis))
        plane = plane * n + along
    y, found = items(apply(MaxPool(**_plain(tuple(widths))), x))
    return y, take(plane.reshape(-1), found, 0)


@function
@rounded_once()
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Value:
    """y = the means of `output_size` windows an axis; None leaves an axis as it is.

    input x: [n, c, w] -> y: [n, c, w']. A symbolic axis takes 1 or None.

    Raises:
        ArgumentError: if output_size is no positive int, nor one or None for each axis.
        ShapeError: if x has other axes.
    """
    return _average(1, input, output_size)


@function
@rounded_once()
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Value:
    """y = the means of `output_size` windows an axis; None leaves an axis as it is.

    input x: [n, c, h, w] -> y: [n, c, h', w']. A symbolic axis takes 1 or None.

    Raises:
        ArgumentError: if output_size is no positive int, nor one or None for each axis.
        ShapeError: if x has other axes.
    """
    return _average(2, input, output_size)


@function
@rounded_once()
def adaptive_avg_pool3d(input: Any, output_size: Any) -> Value:
    """y = the means of `output_size` windows an axis; None leaves an axis as it is.

    input x: [n, c, d, h, w] -> y: [n, c, d', h', w']. A symbolic axis takes 1 or None.

    Raises:
        ArgumentError: if output_size is no positive int, nor one or None for each axis.
        ShapeError: if x has other axes.
    """
    return _average(3, input, output_size)


@function
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """y = the greatest elements of `output_size` windows an axis; None leaves an axis as it is.

    input x: [n, c, w] -> y: [n, c, w'], and with `return_indices` int64 places in the plane.
    A symbolic axis takes None, or all axes 1.

    Raises:
        ArgumentError: if output_size is no positive int, nor one or None for each axis.
        ShapeError: if x has other axes.
    """
    return _greatest(1, input, output_size, return_indices)


@function
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """y = the greatest elements of `output_size` windows an axis; None leaves an axis as it is.

    input x: [n, c, h, w] -> y: [n, c, h', w'], and with `return_indices` int64 places in the plane.
    A symbolic axis takes None, or all axes 1.

    Raises:
        ArgumentError: if output_size is no positive int, nor one or None for each axis.
        ShapeError: if x has other axes.
    """
    return _greatest(2, input, output_size, return_indices)


@function
def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """y = the greatest elements of `output_size` windows an axis; None leaves an axis as it is.

    input x: [n, c, d, h, w] -> y: [n, c, d', h', w'], and with `return_indices` int64 places in the
    plane.
    A symbolic axis takes None, or all axes 1.

    Raises:
        ArgumentError: if output_size is no positive int, nor one or None for each axis.
        ShapeError: if x has other axes.
    """
    return _greatest(3, input, output_size, return_indices)
