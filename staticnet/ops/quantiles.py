"""Quantiles and medians, by sorting: also of what is left without NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import FLOAT64, INT64
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_bool, normalize_axes
from staticnet.ops.arithmetic import minimum
from staticnet.ops.base import as_values, function
from staticnet.ops.comparison import isnan
from staticnet.ops.creation import dim_value
from staticnet.ops.indexing import take, take_along_axis
from staticnet.ops.movement import moveaxis, permute_dims
from staticnet.ops.products import lerp
from staticnet.ops.promotion import as_array
from staticnet.ops.rounding import ceil, floor, round
from staticnet.ops.selection import as_floats, astype, relu, where
from staticnet.ops.shape import reshape, sum
from staticnet.ops.sorting import sort
from staticnet.ops.widening import rounded_once

METHODS: dict[str, Callable[[Value], tuple[Value, Value]]] = {
    "linear": lambda at: (floor(at), at - floor(at)),
    "lower": lambda at: (floor(at), at * 0),
    "higher": lambda at: (ceil(at), at * 0),
    "nearest": lambda at: (round(at), at * 0),
    "midpoint": lambda at: (floor(at), where(at == floor(at), 0.0, at * 0 + 0.5)),
}
"""From a place among sorted elements, the element below, and how far it is to the next."""


@function
@rounded_once()
def quantile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear"
) -> Value:
    """y = the value that a share q of x's elements along `axis` (None: all) does not exceed.

    Between two elements `method` decides: "linear", "lower", "higher", "nearest" or "midpoint". NaN
    wins. The derivative goes to the elements that y lies between.

    x: [*s], q: [*t] in [0, 1] -> y: [*t, s without axis]

    Raises:
        ShapeError: if an axis is empty.
        ArgumentError: if there is no such method, or a number is outside of [0, 1].
    """
    return _quantile(x, q, axis, keepdims, method, skips=False)


@function
@rounded_once()
def nanquantile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear"
) -> Value:
    """y = `quantile` of the elements that are no NaN; NaN where there are none.

    x: [*s], q: [*t] in [0, 1] -> y: [*t, s without axis]

    Raises:
        ShapeError, ArgumentError: as `quantile`.
    """
    return _quantile(x, q, axis, keepdims, method, skips=True)


@function
@rounded_once()
def percentile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear"
) -> Value:
    """y = `quantile` of q / 100.  x: [*s], q: [*t] in [0, 100] -> y: [*t, s without axis]

    Raises:
        ShapeError, ArgumentError: as `quantile`.
    """
    return _quantile(x, _hundredths(q), axis, keepdims, method, skips=False)


@function
@rounded_once()
def nanpercentile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, method: str = "linear"
) -> Value:
    """y = `nanquantile` of q / 100.  x: [*s], q: [*t] in [0, 100] -> y: [*t, s without axis]

    Raises:
        ShapeError, ArgumentError: as `quantile`.
    """
    return _quantile(x, _hundredths(q), axis, keepdims, method, skips=True)


def _hundredths(q: Any) -> Any:
    if isinstance(q, Value):
        return q / 100
    array = as_array(q, FLOAT64)
    if not np.all((array >= 0) & (array <= 100)):
        raise ArgumentError(f"q must be numbers in [0, 100], not {q!r:.60}")
    return array / 100


@function
@rounded_once()
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the middle of x along `axis` (None: all), of an even number the mean of the middle two.

    x: [*s] -> y: [s without axis]. NaN wins.

    Raises:
        ShapeError: if an axis is empty.
    """
    return _quantile(x, 0.5, axis, keepdims, "linear", skips=False)


@function
@rounded_once()
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = `median` of the elements that are no NaN; NaN where there are none.

    x: [*s] -> y: [s without axis]

    Raises:
        ShapeError: if an axis is empty.
    """
    return _quantile(x, 0.5, axis, keepdims, "linear", skips=True)


def _quantile(x: Any, q: Any, axis: Any, keepdims: bool, method: str, skips: bool) -> Value:
    if not isinstance(method, str) or method not in METHODS:
        raise ArgumentError(f"method must be one of {', '.join(METHODS)}, not {method!r:.60}")
    x, share = as_values(as_floats(x), _shares(q))
    axes, share = normalize_axes(axis, x.ndim), astype(share, FLOAT64)
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    moved = permute_dims(x, (*kept, *axes))
    rows = reshape(moved, (*moved.shape[: len(kept)], size_of(x.shape[i] for i in axes)))
    if rows.shape[-1] == 0:
        raise ShapeError(f"has no value on an empty axis, of {list(x.shape)} along {axis}")
    y = moveaxis(_of_sorted(sort(rows), reshape(share, -1), method, skips), -1, 0)
    single = as_bool(keepdims, "keepdims")
    rest = [1 if i in axes else d for i, d in enumerate(x.shape) if single or i not in axes]
    return reshape(y, (*share.shape, *rest))


def _shares(q: Any) -> Any:
    if isinstance(q, Value):
        return q
    array = as_array(q, FLOAT64)
    if not np.all((array >= 0) & (array <= 1)):
        raise ArgumentError(f"q must be numbers in [0, 1], not {q!r:.60}")
    return array


def _of_sorted(rows: Value, share: Value, method: str, skips: bool) -> Value:
    """rows: [*s, n], ascending with NaN at the end, share: [t] -> y: [*s, t]"""
    count: Value = dim_value(rows.shape[-1], share)
    if skips:
        count = astype(sum(~isnan(rows), -1, keepdims=True), FLOAT64)
    last = relu(count - 1)
    below, part = METHODS[method](share * last)
    above = minimum(below + 1, last)
    low, high = (_elements(rows, astype(at, INT64)) for at in (below, above))
    y = where(low == high, low, lerp(low, high, astype(part, rows.dtype)))
    return y if skips else where(isnan(rows[..., -1:]), math.nan, y)


def _elements(rows: Value, places: Value) -> Value:
    """rows: [*s, n], places: [t], or [*s, t] -> y: [*s, t]"""
    if places.ndim == 1:
        return take(rows, places, rows.ndim - 1)
    return take_along_axis(rows, places, -1)
