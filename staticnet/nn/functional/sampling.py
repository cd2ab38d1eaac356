"""Elements at places that a graph computes: `grid_sample` and `affine_grid`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import reduce
from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import INT64
from staticnet.ir.types import as_shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, check_choice
from staticnet.ops.arguments import as_bool
from staticnet.ops.arithmetic import abs
from staticnet.ops.base import function, promoted
from staticnet.ops.creation import iota, zeros_like
from staticnet.ops.indexing import take_along_axis
from staticnet.ops.movement import matrix_transpose, stack
from staticnet.ops.rounding import floor
from staticnet.ops.rounding import round as rounded
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, expand_dims, reshape
from staticnet.ops.widening import rounded_once

CUBIC = -0.75  # the free coefficient of Keys' kernel
PADDING = ("zeros", "border", "reflection")
Taps = list[tuple[Any, Any]]  # places along an axis, whole numbers, and their weights


@function
@rounded_once(2)
def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Value:
    """y[i, :, p] = x[i] at the place grid[i, p], between its elements a weighted sum of them.

    input x: [n, c, h, w], grid: [n, h', w', 2] -> y: [n, c, h', w'], or [n, c, d, h, w] and
    [n, d', h', w', 3]. Places are (x, y) or (x, y, z) from -1 to 1, which are the outer corners of
    the outermost elements or, with `align_corners`, their centres.

    Raises:
        ArgumentError: on an unknown mode, or "bicubic" for three axes.
        ShapeError: if x and grid do not fit.
    """
    x, grid = promoted("grid_sample", input, grid)
    x, grid = as_floating(x), as_floating(grid)
    axes = _check_grid(x, grid)
    check_choice(mode, "mode", "bilinear", "nearest", *(["bicubic"] if axes == 2 else []))
    check_choice(padding_mode, "padding_mode", *PADDING)
    aligned = as_bool(align_corners, "align_corners") if align_corners is not None else False
    sizes, taps = x.shape[2:], list[Taps]()
    for axis, n in enumerate(sizes):
        at = _unnormalised(grid[..., axes - 1 - axis], n, aligned)
        if mode == "bicubic":
            taps.append(_cubic_taps(at, n, padding_mode, aligned))
        else:
            at = _kept_inside(at, n, padding_mode, aligned)
            taps.append([(rounded(at), 1)] if mode == "nearest" else _linear_taps(at))
    terms = [_term(x, corner, grid.shape[1:-1]) for corner in itertools.product(*taps)]
    return reduce(lambda a, b: a + b, terms)


def _check_grid(x: Value, grid: Value) -> int:
    """How many spatial axes there are."""
    axes = x.ndim - 2
    fits = axes in (2, 3) and grid.ndim == x.ndim and grid.shape[-1] == axes
    if not fits or grid.shape[0] != x.shape[0]:
        raise ShapeError(
            f"takes x [n, c, h, w] and grid [n, h', w', 2], or one axis more and 3, not "
            f"{format_shape(x.shape)} and {format_shape(grid.shape)}"
        )
    if 0 in x.shape[2:]:
        raise ShapeError(f"x {format_shape(x.shape)} has no elements to sample")
    return axes


def _unnormalised(at: Value, n: int | Dim, aligned: bool) -> Value:
    """From -1 … 1 to the elements' numbers."""
    return (at + 1) / 2 * (n - 1) if aligned else ((at + 1) * n - 1) / 2


def _kept_inside(at: Value, n: int | Dim, mode: str, aligned: bool) -> Value:
    """Places beyond the ends, at the nearest end or mirrored; those at an end have no slope."""
    if mode == "zeros":
        return at
    if mode == "reflection":
        at = _mirrored(at, n, aligned)
    return where(at <= 0, 0, where(at >= n - 1, zeros_like(at) + (n - 1), at))


def _mirrored(at: Value, n: int | Dim, aligned: bool) -> Value:
    """Mirrored about the outermost centres, or corners, until they are inside."""
    if aligned and n == 1:
        return zeros_like(at)
    least, span = (0.0, n - 1) if aligned else (-0.5, n)
    distance = abs(at - least)
    flips = floor(distance / span)
    rest = distance - flips * span
    is_even = flips - 2 * floor(flips / 2) == 0
    return where(is_even, rest + least, span - rest + least)


def _linear_taps(at: Value) -> Taps:
    first = floor(at)
    share = at - first
    return [(first, 1 - share), (first + 1, share)]


def _cubic_taps(at: Value, n: int | Dim, mode: str, aligned: bool) -> Taps:
    first = floor(at)
    share = at - first
    near = [((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1 for d in (share, 1 - share)]
    far = [_far(1 + share), _far(2 - share)]
    weights = [far[0], *near, far[1]]
    steps = enumerate(weights, -1)
    return [(_kept_inside(first + step, n, mode, aligned), weight) for step, weight in steps]


def _far(d: Value) -> Value:
    return ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC


def _term(x: Value, corner: Sequence[tuple[Any, Any]], shape: Sequence[int | Dim]) -> Value:
    """The elements at one corner of the places, each times its weight, and 0 outside of x."""
    n, c, *spatial = x.shape
    inside: Any = True
    flat: Any = 0
    weight: Any = 1
    for (at, share), size in zip(corner, spatial, strict=True):
        is_inside = (at >= 0) & (at < size)  # of NaN neither
        flat = flat * size + astype(where(is_inside, at, 0), INT64)
        inside, weight = is_inside & inside, share * weight
    points = size_of(shape)
    places = broadcast_to(reshape(flat, (n, 1, points)), (n, c, points))
    found = take_along_axis(reshape(x, (n, c, size_of(spatial))), places, 2)
    value = reshape(found, (n, c, *shape)) * (
        expand_dims(weight, 1) if isinstance(weight, Value) else weight
    )
    return where(expand_dims(inside, 1), value, 0)


@function
@rounded_once()
def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Value:
    """y[i, p] = theta[i] @ (p, 1), p the places of an array of `size` from -1 to 1.

    theta: [n, 2, 3], size: (n, c, h, w) -> y: [n, h, w, 2], or [n, 3, 4], (n, c, d, h, w) and
    [n, d, h, w, 3]: a grid for `grid_sample`.

    Raises:
        ShapeError: if theta and size do not fit.
    """
    theta = as_floating(theta)
    shape = as_shape(size, "size")
    axes = len(shape) - 2
    if axes not in (2, 3) or theta.shape != (shape[0], axes, axes + 1):
        raise ShapeError(
            "takes theta [n, 2, 3] and size (n, c, h, w), or [n, 3, 4] and one axis more, not "
            f"{format_shape(theta.shape)} and {format_shape(shape)}"
        )
    aligned = as_bool(align_corners, "align_corners") if align_corners is not None else False
    spatial = shape[2:]
    places = [_centres(n, i, spatial, theta, aligned) for i, n in enumerate(spatial)]
    ones = zeros_like(places[0]) + 1
    points = reshape(stack([*places[::-1], ones], -1), (1, size_of(spatial), axes + 1))
    return reshape(points @ matrix_transpose(theta), (shape[0], *spatial, axes))


def _centres(
    n: int | Dim, axis: int, spatial: Sequence[int | Dim], like: Value, aligned: bool
) -> Value:
    """The places of the elements along an axis, for all elements."""
    at = iota(spatial, axis, like.dtype)
    if not aligned:
        return (2 * at + 1) / n - 1
    return at * 0 if n == 1 else 2 * at / (n - 1) - 1
