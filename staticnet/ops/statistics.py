"""Statistics: moments and sums that pass over NaN, averages with weights, covariance, counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dtype import FLOAT64, HALVES, INT64, is_floating
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    INTEGERS,
    as_bool,
    as_int,
    check_kind,
    normalize_axes,
)
from staticnet.ops.base import as_value, as_values, function, promoted
from staticnet.ops.comparison import isnan
from staticnet.ops.creation import dim_value, iota, ones_like, zeros, zeros_like
from staticnet.ops.diagonals import diagonal
from staticnet.ops.indexing import scatter_add
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.promotion import as_array, is_scalar
from staticnet.ops.reduction import all, as_correction, max, mean, min, prod, std, var
from staticnet.ops.selection import as_floats, astype, relu, where
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.sorting import searchsorted
from staticnet.ops.transcendental import sqrt
from staticnet.ops.widening import rounded_once, widened


@function
def nansum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Value:
    """y = the sum of x along `axis` (None: all) without NaN, 0 where there is nothing else.

    x: [*s] -> y: [s without axis]
    """
    return sum(_instead_of_nan(x, 0), axis, keepdims, dtype)


@function
def nanprod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Value:
    """y = the product of x along `axis` (None: all) without NaN, 1 where there is nothing else.

    x: [*s] -> y: [s without axis]
    """
    return prod(_instead_of_nan(x, 1), axis, keepdims, dtype)


@function
def nanmax(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the greatest of x along `axis` (None: all) without NaN, NaN where there is nothing else.

    x: [*s] -> y: [s without axis]

    Raises:
        ShapeError: if an axis is empty.
    """
    return _nan_extremum(max, -math.inf, x, axis, keepdims)


@function
def nanmin(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the least of x along `axis` (None: all) without NaN, NaN where there is nothing else.

    x: [*s] -> y: [s without axis]

    Raises:
        ShapeError: if an axis is empty.
    """
    return _nan_extremum(min, math.inf, x, axis, keepdims)


@function
@rounded_once()
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the mean of x along `axis` (None: all) without NaN, NaN where there is nothing else.

    x: [*s] -> y: floating [s without axis]
    """
    x = as_value(x)
    return nansum(x, axis, keepdims) / _numbers(x, axis, keepdims)


@function
@rounded_once()
def nanvar(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Value:
    """y = `var` of x along `axis` (None: all) without NaN, NaN where there is nothing else.

    x: [*s] -> y: [s without axis]
    """
    x = as_floats(x)
    centered = _instead_of_nan(x - nanmean(x, axis, keepdims=True), 0)
    count = relu(astype(_numbers(x, axis, keepdims), x.dtype) - as_correction(correction))
    return sum(centered * centered, axis, keepdims) / count


@function
@rounded_once()
def nanstd(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Value:
    """y = sqrt(nanvar(x)) along `axis`, with derivative 0 where it is 0.

    x: [*s] -> y: [s without axis]
    """
    y = nanvar(x, axis, correction, keepdims)
    return where(y == 0, 0, sqrt(where(y == 0, 1, y)))


def _instead_of_nan(x: Any, number: int) -> Value:
    x = as_value(x)
    return where(isnan(x), number, x) if is_floating(x.dtype) else x


def _nan_extremum(extremum: Any, bound: float, x: Any, axis: Any, keepdims: bool) -> Value:
    x = as_value(x)
    if not is_floating(x.dtype):
        return extremum(x, axis, keepdims)
    wrong = isnan(x)
    y = extremum(where(wrong, bound, x), axis, keepdims)
    return where(all(wrong, axis, keepdims), math.nan, y)


def _numbers(x: Value, axis: Any, keepdims: bool) -> Value:
    """How many elements along `axis` are no NaN, as int64."""
    return sum(~isnan(x), axis, keepdims)


@function
def var_mean(
    x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False
) -> tuple[Value, Value]:
    """The variance of x along `axis` (None: all), as `var` has it, and its mean.

    x: [*s] -> var, mean: [s without axis]
    """
    return var(x, axis, correction, keepdims), mean(x, axis, keepdims)


@function
def std_mean(
    x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False
) -> tuple[Value, Value]:
    """The standard deviation of x along `axis` (None: all), as `std` has it, and its mean.

    x: [*s] -> std, mean: [s without axis]
    """
    return std(x, axis, correction, keepdims), mean(x, axis, keepdims)


@function
@rounded_once()
def cov(x: Any, correction: float = 1, rowvar: bool = True) -> Value:
    """y[i, j] = the covariance of the variables i and j: the rows of x, or its columns.

    x: [v, n], or [n, v] without `rowvar` -> y: [v, v]; x: [n], or of one variable -> y: []

    Raises:
        ShapeError: if x has more axes.
    """
    x = as_floats(x)
    if not 1 <= x.ndim <= 2:
        raise ShapeError(f"takes a vector or a matrix, not {x.ndim} axes")
    rows = x if as_bool(rowvar, "rowvar") or x.ndim == 1 else matrix_transpose(x)
    if x.ndim == 1 or rows.shape[0] == 1:
        return var(reshape(rows, -1), correction=correction)
    centered = rows - mean(rows, 1, keepdims=True)
    return matmul(centered, matrix_transpose(centered)) / relu(
        dim_value(rows.shape[1], rows) - as_correction(correction)
    )


@function
@rounded_once()
def corrcoef(x: Any, rowvar: bool = True) -> Value:
    """y[i, j] = the correlation of the variables i and j: the rows of x, or its columns.

    x: [v, n], or [n, v] without `rowvar` -> y: [v, v], in [-1, 1]; x: [n], or of one variable ->
    y: []

    Raises:
        ShapeError: if x has more axes.
    """
    c = cov(x, rowvar=rowvar)
    if c.ndim == 0:
        return c / c
    deviation = sqrt(diagonal(c))
    return (c / expand_dims(deviation, 1) / deviation).clip(-1, 1)


@function
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Value:
    """y[k] = how many elements of x are k, or the sum of their weights.

    Of a tensor, whose values are known, y is as long as the greatest needs, at least `minlength`.
    Of a node y has `minlength` elements, which has to be given; a run with a greatest of
    `minlength` or more fails, as one with negative elements does.

    x: int [n], weights: [n] -> y: int64, or as weights, [length]

    Raises:
        ShapeError: if x is no vector, or the weights are not as many.
        DTypeError: if x is not of integers.
        ArgumentError: if a node is given without `minlength`.
    """
    x = as_value(x)
    check_kind(x.dtype, INTEGERS)
    if x.ndim != 1:
        raise ShapeError(f"takes a vector, not {x.ndim} axes")
    least = as_int(minlength, "minlength", 0, kind="an int >= 0")
    if x.is_symbolic and not least:
        raise ArgumentError(
            "how long the result is depends on values: pass minlength=, a number that all elements "
            "are below, or count with sn.dynamic"
        )
    length = least if x.is_symbolic else _needed(x, least)
    weights = ones_like(x, INT64) if weights is None else as_values(x, weights)[1]
    if weights.shape != x.shape:
        raise ShapeError(f"{list(weights.shape)} weights for {list(x.shape)} elements")
    x, start = as_values(astype(x, INT64), zeros(length, weights.dtype))
    return scatter_add(start, where(x < 0, length, x), weights)


def _needed(x: Any, least: int) -> int:
    values = np.asarray(x)
    return int(np.max(values, initial=least - 1)) + 1


@function
def digitize(x: Any, bins: Any, right: bool = False) -> Value:
    """y = i where bins[i - 1] <= x < bins[i], or with `right` bins[i - 1] < x <= bins[i].

    x: [*s], bins: [n], ascending -> y: int64 [*s], in [0, n]. Bins that are known, as a list or an
    array, may also descend: the inequalities then turn.

    Raises:
        ShapeError: if the bins are no vector.
        ArgumentError: if known bins neither ascend nor descend.
    """
    inclusive = as_bool(right, "right")
    if isinstance(bins, Value):
        return searchsorted(bins, x, "left" if inclusive else "right")
    known = np.asarray(bins)
    if known.ndim != 1:
        raise ShapeError(f"bins must be a vector, not of {known.ndim} axes")
    if (known[1:] >= known[:-1]).all():
        return searchsorted(bins, x, "left" if inclusive else "right")
    if not (known[1:] <= known[:-1]).all():
        raise ArgumentError(f"bins must ascend or descend, not {bins!r:.60}")
    ascending = known[::-1] if isinstance(bins, np.ndarray) else list(bins)[::-1]
    return known.size - searchsorted(ascending, x, "left" if inclusive else "right")


@function
def average(
    x: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False
) -> Any:
    """y = sum(w * x) / sum(w) along `axis` (None: all); without weights the mean.

    x: [*s], weights: [*s], or of one axis its length -> y: [s without axis]; with `returned` also
    the sum of the weights, in y's shape

    Raises:
        ShapeError: if the weights have another shape than x, and are not those of one axis.
    """
    is_told = as_bool(returned, "returned")
    x = as_floats(x)
    if weights is None:
        w = ones_like(x)
        y = mean(x, axis, keepdims)
    else:
        x, w = map(as_floats, promoted("average", x, weights))
        w = w if w.shape == x.shape else _along(w, x, axis)
        y = _weighted(x, w + zeros_like(x), axis, keepdims)
    return (y, sum(w + zeros_like(x), axis, keepdims)) if is_told else y


@rounded_once(2)
def _weighted(x: Value, w: Value, axis: Any, keepdims: bool) -> Value:
    return sum(x * w, axis, keepdims) / sum(w, axis, keepdims)


def _along(w: Value, x: Value, axis: Any) -> Value:
    """Weights of the elements along one axis, to be multiplied with x."""
    places = () if axis is None else normalize_axes(axis, x.ndim)
    if len(places) != 1 or w.ndim != 1:
        told = "pass weights in the shape of x, or a vector and its axis="
        raise ShapeError(f"weights {list(w.shape)} for {list(x.shape)}, axis {axis}: {told}")
    (place,) = places
    if w.shape[0] != x.shape[place]:
        raise ShapeError(f"{w.shape[0]} weights for an axis of length {x.shape[place]}")
    return reshape(w, [-1 if i == place else 1 for i in range(x.ndim)])


@function
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """y = the greatest of x along `axis` (None: all) minus the least ("peak to peak").

    x: [*s] -> y: [s without axis]

    Raises:
        ShapeError: if an axis is empty.
    """
    return max(x, axis, keepdims) - min(x, axis, keepdims)


@function
def histogram(
    x: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Value, Value]:
    """y[i] = how many x are in bin i, edges[i] <= x < edges[i + 1]; in the last one x <= edges[-1].

    `bins` are the edges, ascending, or how many of one width there are in `range`, (low, high), by
    default from the least of x to its greatest. With `density` the area of y is 1. Integers are
    compared in float64.

    x: [*s], weights: [*s] -> y: int64, or as weights, or floats [bins]; edges: [bins + 1]

    Raises:
        ArgumentError: if there are no bins, or edges or range do not ascend.
        ShapeError: if the weights are not as many as x's elements, or x has none, and no range.
    """
    x = as_value(x)
    w = ones_like(x, INT64) if weights is None else promoted("histogram", x, weights)[1]
    if w.shape != x.shape:
        raise ShapeError(f"weights {list(w.shape)} for {list(x.shape)}")
    own = x.dtype if is_floating(x.dtype) else FLOAT64
    x, w = reshape(widened(astype(x, own)), -1), reshape(w, -1)
    x, edges = promoted("histogram", x, _edges(x, bins, range))
    count = edges.shape[0] - 1
    place = searchsorted(edges, x, "right") - 1
    place = where(x == edges[-1], count - 1, place)
    inside = (place >= 0) & (place < count)
    start, w = as_values(zeros(count + 1, w.dtype), w)
    y = scatter_add(start, where(inside, place, count), w)[:count]
    narrow = own if own in HALVES else edges.dtype
    if as_bool(density, "density"):
        y = astype(y, edges.dtype) / (edges[1:] - edges[:-1]) / astype(sum(y), edges.dtype)
        y = astype(y, narrow)
    return y, astype(edges, narrow)


def _edges(x: Value, bins: Any, limits: Any) -> Any:
    """The edges, of as many dtypes as they are given in; x: floats [n]"""
    if not isinstance(bins, int | np.integer):
        return _given_edges(x, bins)
    count = as_int(bins, "bins", 1, kind="an int >= 1")
    low, high = (min(x), max(x)) if limits is None else _limits(x, limits)
    low, high = where(low == high, low - 0.5, low), where(low == high, high + 0.5, high)
    number = iota(count + 1)
    ramp = low + astype(number, low.dtype) * ((high - low) / count)  # as `linspace`: 15 is 3 * 5
    return astype(where(number == count, high, ramp), x.dtype)


def _given_edges(x: Value, bins: Any) -> Value:
    edges = promoted("histogram", x, bins)[1]
    if edges.ndim != 1 or edges.shape[0] in (0, 1):
        raise ArgumentError(f"bins must be a number or a vector of edges, not {bins!r:.60}")
    if not isinstance(bins, Value) and not np.all(np.diff(np.asarray(bins)) >= 0):
        raise ArgumentError(f"edges must ascend, not be {bins!r:.60}")
    return edges


def _limits(x: Value, limits: Any) -> tuple[Value, Value]:
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        raise ArgumentError(f"range must be (low, high), not {limits!r:.60}")
    if not any(isinstance(limit, Value) for limit in limits) and not limits[0] <= limits[1]:
        raise ArgumentError(f"range must ascend, not be {limits!r:.60}")
    if is_scalar(limits[0]) and is_scalar(limits[1]):
        low, high = (as_value(as_array(limit, FLOAT64)) for limit in limits)
    else:
        low, high = (astype(promoted("histogram", x, limit)[1], x.dtype) for limit in limits)
    return low, high
