"""Curves that are given by points: areas, slopes, values between; polynomials and phases."""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.value import Value
from staticnet.ops.arguments import normalize_axes, normalize_axis
from staticnet.ops.base import as_values, function, promoted
from staticnet.ops.indexing import take
from staticnet.ops.movement import MAX_PARTS, concat
from staticnet.ops.promotion import is_scalar, python_number
from staticnet.ops.reduction import cumulative_sum
from staticnet.ops.selection import as_floats, where
from staticnet.ops.shape import reshape, sum
from staticnet.ops.sorting import searchsorted
from staticnet.ops.widening import rounded_once


@function
@rounded_once(2)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Value:
    """z = the area under y along `axis`: the sum of (y[i] + y[i + 1]) / 2 times the step.

    Steps are those of x, which has the length of the axis or y's shape, or all `dx`.

    y: [.., n, ..] -> z: the other axes
    """
    return sum(_trapezoids(y, x, dx, axis), axis)


@function
@rounded_once(2)
def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Value:
    """z[i] = the area under y along `axis` from its first element to the one after i.

    y: [.., n, ..] -> z: [.., n - 1, ..]; x and dx as `trapezoid` has them
    """
    areas = _trapezoids(y, x, dx, axis)
    return cumulative_sum(areas, normalize_axis(axis, areas.ndim))


def _trapezoids(y: Any, x: Any, dx: Any, axis: int) -> Value:
    y = as_floats(y)
    place = normalize_axis(axis, y.ndim)
    first, last = ([slice(None)] * y.ndim for _ in range(2))
    first[place], last[place] = slice(None, -1), slice(1, None)
    steps: Any = dx
    if x is not None:
        x = as_values(y, promoted("trapezoid", y, x)[1])[1]
        steps = x[1:] - x[:-1] if x.ndim == 1 else x[tuple(last)] - x[tuple(first)]
        if x.ndim == 1:
            steps = reshape(steps, [-1 if i == place else 1 for i in range(y.ndim)])
    return (y[tuple(last)] + y[tuple(first)]) / 2 * steps


@function
@rounded_once(3)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Value:
    """y = the value at x of the line through the points (xp, fp); beyond them the first and last.

    x: [*s], xp: [n], ascending, fp: [n], n >= 2 -> y: [*s]; `left` and `right` are what y is
    beyond the points, if given

    Raises:
        ShapeError: if there are not as many xp as fp, at least two.
    """
    x, xp, fp = map(as_floats, promoted("interp", x, xp, fp))
    if xp.ndim != 1 or xp.shape != fp.shape or xp.shape[0] in (0, 1):
        raise ShapeError(f"takes two vectors of points, not {list(xp.shape)} and {list(fp.shape)}")
    n = xp.shape[0]
    above = searchsorted(xp, x, "right").clip(1, n - 1)
    x0, x1, y0, y1 = (take(v, i, 0) for v in (xp, fp) for i in (above - 1, above))
    width = where(x1 == x0, 1, x1 - x0)
    y = where(x == x0, y0, y0 + (x - x0) / width * (y1 - y0))  # y1 may be infinite
    y = where(x < xp[0], fp[0] if left is None else left, y)
    return where(x > xp[-1], fp[-1] if right is None else right, y)


@function
def gradient(f: Any, *spacing: Any, axis: Any = None) -> Any:
    """The slope of f at each point of an axis: of its neighbours' line, at the ends of one of them.

    Where points are uneven it is that of the parabola through a point and its neighbours. `spacing`
    is the distance of points, or a vector of their places: one for all axes, or one for each.

    f: [*s] -> as f, of one axis; a list of them, one for each `axis` (None: all)

    Raises:
        ShapeError: if an axis has less than two points, or not as many as there are places.
        ArgumentError: if there are not as many spacings as axes, or an axis is named twice.
    """
    f = as_floats(f)
    given = axis if isinstance(axis, tuple | list) else normalize_axes(axis, f.ndim)
    places = [normalize_axis(each, f.ndim) for each in given]
    normalize_axes(tuple(places), f.ndim)  # none twice
    steps = list(spacing) * (len(places) if len(spacing) == 1 else 1) or [1.0] * len(places)
    if len(steps) != len(places):
        raise ArgumentError(f"{len(steps)} spacings for {len(places)} axes; pass one, or one each")
    slopes = [_slope(f, step, place) for step, place in zip(steps, places, strict=True)]
    single = f.ndim == 1 if axis is None else not isinstance(axis, tuple | list)
    return slopes[0] if single else slopes


@rounded_once(2)
def _slope(f: Value, spacing: Any, axis: int) -> Value:
    def part(x: Value, first: int | None, last: int | None) -> Value:
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(first, last)
        return x[tuple(cut)]

    if f.shape[axis] in (0, 1):
        raise ShapeError(f"axis {axis} has {f.shape[axis]} points; a slope takes at least 2")
    f, h = map(as_floats, promoted("gradient", f, spacing))
    rises = part(f, 1, None) - part(f, None, -1)
    if h.ndim == 0:
        ends = part(rises, None, 1) / h, part(rises, -1, None) / h
        return concat([ends[0], (part(f, 2, None) - part(f, None, -2)) / (2 * h), ends[1]], axis)
    if h.ndim != 1 or h.shape[0] != f.shape[axis]:
        raise ShapeError(f"places {list(h.shape)} for an axis of {f.shape[axis]} points")
    runs = reshape(h[1:] - h[:-1], [-1 if i == axis else 1 for i in range(f.ndim)])
    slopes = rises / runs
    before, after = part(runs, None, -1), part(runs, 1, None)
    inner = part(slopes, None, -1) * after + part(slopes, 1, None) * before
    ends = part(slopes, None, 1), part(slopes, -1, None)
    return concat([ends[0], inner / (before + after), ends[1]], axis)


@function
@rounded_once(2)
def polyval(p: Any, x: Any) -> Value:
    """y = p[0] * x**(n - 1) + … + p[n - 2] * x + p[n - 1], by Horner's rule.

    p: [n] -> y: as x

    Raises:
        ShapeError: if the coefficients are no vector of a static length.
    """
    p, x = promoted("polyval", p, x)
    if p.ndim != 1 or not isinstance(p.shape[0], int) or p.shape[0] > MAX_PARTS:
        told = f"takes a vector of at most {MAX_PARTS} coefficients, their number known"
        raise ShapeError(f"{told}, not {list(p.shape)}")
    y = x * 0
    for i in range(p.shape[0]):
        y = y * x + p[i]
    return y


@function
@rounded_once()
def unwrap(p: Any, discont: Any = None, axis: int = -1, period: float = 2 * math.pi) -> Value:
    """Phases without jumps: whole periods are added where neighbours differ by over a half.

    p: [*s] -> [*s]; with `discont` only jumps of at least so much are taken out

    Raises:
        ArgumentError: if the period is not positive.
    """
    p = as_floats(p)
    for given in (period, 0.0 if discont is None else discont):
        if not is_scalar(given):
            raise ArgumentError(f"period and discont must be numbers, not {given!r:.40}")
    if not python_number(period) > 0:
        raise ArgumentError(f"period must be positive, not {period!r:.40}")
    place = normalize_axis(axis, p.ndim)
    first, rest, short = ([slice(None)] * p.ndim for _ in range(3))
    first[place], rest[place], short[place] = slice(None, 1), slice(1, None), slice(None, -1)
    jump = p[tuple(rest)] - p[tuple(short)]
    wrapped = (jump + period / 2) % period - period / 2
    wrapped = where((wrapped == -period / 2) & (jump > 0), period / 2, wrapped)
    least = period / 2 if discont is None else max(discont, period / 2)
    added = where(abs(jump) < least, 0.0, wrapped - jump)
    shifted = p[tuple(rest)] + cumulative_sum(added, place)
    return concat([p[tuple(first)], shifted], place)
