"""Arrays of other spatial sizes: `interpolate`, axis by axis.

Along an axis each result is a weighted sum of a few elements. Which ones, and their weights, are
known when the graph is made, as tables: places [t, k] and weights [t, k].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.types import as_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number, check_choice
from staticnet.nn.functional.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from staticnet.ops.arguments import MAX_PLACES, as_bool
from staticnet.ops.base import constant, function
from staticnet.ops.indexing import take
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, sum
from staticnet.ops.widening import rounded_once

Table = np.ndarray[Any, Any]
AXES = {"linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,)}
MODES = ("nearest", "nearest-exact", "area", *AXES)
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}
FEW = 4  # places whose sum is written out
CUBIC, CUBIC_ANTIALIASED = -0.75, -0.5  # the free coefficient, as PyTorch and as Pillow have it


@function
@rounded_once()
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Value:
    """y = x with other spatial sizes, `size` or floor(n * scale_factor).

    input x: [n, c, *s] -> y: [n, c, *size]. Elements are taken to be squares, whose corners (or,
    with `align_corners`, whose centres) at the ends stay where they are. `antialias` widens the
    filters where y is smaller. A symbolic axis takes "nearest" with a whole scale_factor.

    Raises:
        ArgumentError: if not just one of size and scale_factor is given, or an option is not for
            the mode.
        ShapeError: if x has other axes than the mode is for, or an axis is symbolic.
    """
    x = as_floating(input)
    axes = _check_mode(x, mode, align_corners, antialias)
    sizes, scales = _sizes(x, axes, size, scale_factor)
    if recompute_scale_factor is not None and as_bool(
        recompute_scale_factor, "recompute_scale_factor"
    ):
        if scale_factor is None:
            raise ArgumentError("recompute_scale_factor is for scale_factor, not for size")
        scales = (None,) * axes
    if mode == "area":
        return AREA[axes](x, sizes)
    for axis, (n, count, scale) in enumerate(zip(x.shape[2:], sizes, scales, strict=True), 2):
        if mode == "nearest" and _is_repeated(n, count, scale):
            x = _repeated(x, axis, int(scale))  # type: ignore[arg-type]
            continue
        factor = None if _sizes_say(n, count, mode, axes, bool(antialias)) else scale
        tables = _tables(n, count, factor, mode, bool(align_corners), bool(antialias))
        x = _resampled(x, axis, *tables)
    return x


@function
def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Value:  # fmt: skip
    """`interpolate`, by its older name."""
    found: Value = interpolate(input, size, scale_factor, mode, align_corners)
    return found


def _check_mode(x: Value, mode: Any, align_corners: Any, antialias: Any) -> int:
    """How many spatial axes x has."""
    check_choice(mode, "mode", *MODES)
    axes = x.ndim - 2
    if axes not in AXES.get(mode, (1, 2, 3)):
        wanted = " or ".join(str(2 + n) for n in AXES.get(mode, (1, 2, 3)))
        raise ShapeError(f"the mode {mode!r} takes {wanted} axes, [n, c, *s], not {x.ndim}")
    if align_corners is not None:
        as_bool(align_corners, "align_corners")
        if mode not in AXES:
            raise ArgumentError(f"align_corners is for {', '.join(AXES)}, not for {mode!r}")
    if as_bool(antialias, "antialias") and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(f"antialias is for 'bilinear' and 'bicubic', not for {mode!r}")
    return axes


def _each(value: Any, axes: int, what: str) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    if len(values) != axes:
        raise ArgumentError(f"{what} must be one or {axes}, not {value!r:.60}")
    return values


def _sizes(
    x: Value, axes: int, size: Any, scale_factor: Any
) -> tuple[tuple[int | Dim, ...], tuple[float | None, ...]]:
    """The sizes of y, and the scale factors, if they are given."""
    if (size is None) == (scale_factor is None):
        raise ArgumentError("give just one of size and scale_factor")
    if size is not None:
        return as_shape(_each(size, axes, "size"), "size"), (None,) * axes
    entries = _each(scale_factor, axes, "scale_factor")
    factors = [as_number(f, "scale_factor", 0, math.inf) for f in entries]
    sizes: list[int | Dim] = []
    for n, factor in zip(x.shape[2:], factors, strict=True):
        if isinstance(n, int):
            sizes.append(math.floor(n * factor))
        elif factor == int(factor):
            sizes.append(n * int(factor))
        else:
            raise ShapeError(f"the symbolic axis of {n} takes a whole scale_factor, not {factor}")
    return tuple(sizes), tuple(factors)


def _is_repeated(n: int | Dim, count: int | Dim, scale: float | None) -> bool:
    """Whether each element is repeated so many times."""
    return scale is not None and scale == int(scale) and count == n * int(scale)


def _sizes_say(n: int | Dim, count: int | Dim, mode: str, axes: int, smooth: bool) -> bool:
    """Whether sizes alone say what is read, and not a scale factor: PyTorch's special cases.

    An axis that keeps its size is copied, and one of an image that doubles has each element twice.
    """
    if mode == "nearest":
        return axes == 2 and count in (n, 2 * n)
    return count == n and (smooth or mode in ("linear", "bilinear", "trilinear"))


def _repeated(x: Value, axis: int, times: int) -> Value:
    shape = x.shape
    apart = broadcast_to(expand_dims(x, axis + 1), (*shape[: axis + 1], times, *shape[axis + 1 :]))
    return reshape(apart, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))


def _resampled(x: Value, axis: int, places: Table, weights: Table | None) -> Value:
    """y[.., i, ..] = sum over k of weights[i, k] * x[.., places[i, k], ..]."""
    if weights is None:
        return take(x, places[:, 0], axis)
    rest = (1,) * (x.ndim - 1 - axis)
    taps = weights.astype(x.dtype)
    if places.shape[1] > FEW:
        parts = take(x, places, axis) * constant(taps.reshape(*taps.shape, *rest))
        return sum(parts, axis + 1)
    columns = range(places.shape[1])
    terms = [take(x, places[:, k], axis) * constant(taps[:, k].reshape(-1, *rest)) for k in columns]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _tables(
    n: int | Dim, count: int | Dim, factor: float | None, mode: str, aligned: bool, smooth: bool
) -> tuple[Table, Table | None]:
    """The places and weights along an axis of n for `count` results; no weights is 1."""
    if not isinstance(n, int) or not isinstance(count, int):
        raise ShapeError(
            f"from a symbolic axis of {n} to {count}: a symbolic axis takes the mode 'nearest' "
            "with a whole scale_factor; give it a fixed size"
        )
    if n == 0 or count == 0:
        raise ShapeError(f"an axis of {n} cannot become one of {count}: both need elements")
    if max(n, count) > MAX_PLACES:
        raise ShapeError(
            f"from {n} to {count} elements: the table of their places, which the graph would hold, "
            f"is too large; at most {MAX_PLACES}"
        )
    scale = 1 / factor if factor else n / count
    if mode.startswith("nearest"):
        half = 0.5 if mode == "nearest-exact" else 0.0
        at = np.floor((np.arange(count, dtype=np.float32) + np.float32(half)) * np.float32(scale))
        return np.minimum(at.astype(np.int64), n - 1)[:, None], None
    if aligned:
        scale = (n - 1) / (count - 1) if count > 1 else 0.0
    cubic = mode == "bicubic"
    if smooth:
        return _antialiased(n, count, scale, cubic)
    at = np.arange(count) * scale if aligned else (np.arange(count) + 0.5) * scale - 0.5
    return _cubic_taps(at, n) if cubic else _linear_taps(np.maximum(at, 0), n)


def _linear_taps(at: Table, n: int) -> tuple[Table, Table]:
    first = np.minimum(np.floor(at).astype(np.int64), n - 1)
    share = np.minimum(at - first, 1)
    return np.stack([first, np.minimum(first + 1, n - 1)], 1), np.stack([1 - share, share], 1)


def _cubic_taps(at: Table, n: int) -> tuple[Table, Table]:
    first = np.floor(at)
    steps = np.arange(-1, 3)
    weights = _cubic(CUBIC)(at[:, None] - first[:, None] - steps)
    places = np.clip(first[:, None] + steps, 0, n - 1).astype(np.int64)
    return places, weights


def _cubic(a: float) -> Callable[[Table], Table]:
    """Keys' kernel: "Cubic convolution interpolation for digital image processing", 1981."""

    def weight(distance: Table) -> Table:
        d = np.abs(distance)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d < 1, near, np.where(d < 2, far, 0))

    return weight


def _triangle(distance: Table) -> Table:
    return np.maximum(1 - np.abs(distance), 0)


def _antialiased(n: int, count: int, scale: float, cubic: bool) -> tuple[Table, Table]:
    """A filter as wide as what a result stands for, its weights adding up to 1."""
    stretch = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    centre = (np.arange(count) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), n)
    steps = first[:, None] + np.arange(max(1, int((end - first).max())))
    kernel = _cubic(CUBIC_ANTIALIASED) if cubic else _triangle
    weights = np.where(steps < end[:, None], kernel((steps - centre[:, None] + 0.5) / stretch), 0)
    return np.minimum(steps, n - 1), weights / weights.sum(1, keepdims=True)
