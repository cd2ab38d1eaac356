"""Resize and its kin: weighted sums of few elements, whose places and weights are constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import is_floating

MAX_TAPS = 8
Coefficients = Callable[[float], list[float]]


@dataclass(frozen=True)
class Rule:
    """How an axis is resampled, as a step's attributes say."""

    mode: str
    transform: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool
    extrapolation: float


@dataclass(frozen=True)
class Length:
    """An axis: its length before and after, the scale, and the part of it that is meant."""

    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def exact(self) -> float:
        """The length after, before it is cut to a whole number."""
        return self.before * self.scale


@operator("Upsample")
def upsample_attribute(call: Call, x: Any) -> Any:
    """x stretched by scales."""
    scales = call.floats("scales")
    if scales is None:  # opset 1
        scales = [1.0] * (x.ndim - 2)
        scales += [call.number("height_scale", 1.0), call.number("width_scale", 1.0)]
    return _by_scales(call, x, scales, _plain(call))


@operator("Upsample", since=9)
def upsample(call: Call, x: Any, scales: Any) -> Any:
    """x stretched by scales that are an operand."""
    return _by_scales(call, x, call.numbers(scales, "the scales"), _plain(call))


@operator("Resize")
def resize_by_scales(call: Call, x: Any, scales: Any) -> Any:
    """x stretched by scales, as Upsample does."""
    return _by_scales(call, x, call.numbers(scales, "the scales"), _plain(call))


def _plain(call: Call) -> Rule:
    mode = {"bilinear": "linear"}.get(call.text("mode"), call.text("mode"))
    return Rule(mode, "asymmetric", "floor", -0.75, False, False, 0.0)


@operator("Resize", since=11)
def resize(call: Call, x: Any, roi: Any = None, scales: Any = None, sizes: Any = None) -> Any:
    """x stretched along axes by scales or to sizes."""
    rule = Rule(
        call.text("mode"), call.text("coordinate_transformation_mode"), call.text("nearest_mode"),
        call.number("cubic_coeff_a"), bool(call.attribute("antialias")),
        call.flag("exclude_outside"), call.number("extrapolation_value"),
    )  # fmt: skip
    axes = [call.place(a, x.ndim) for a in call.attribute("axes") or range(x.ndim)]
    part: list[float] = []
    if rule.transform == "tf_crop_and_resize" and roi is not None:
        part = call.numbers(roi, "the region")
    found = [] if scales is None else call.numbers(scales, "the scales")
    if found:
        lengths = [_scaled(call, x.shape[a], s) for a, s in zip(axes, found, strict=True)]
    elif sizes is not None:
        lengths = _sized(call, x, axes, call.sizes(sizes, "the sizes"))
    else:
        call.fail("neither scales nor sizes are given")
    if part:
        half = len(axes)
        lengths = [
            Length(row.before, row.after, row.scale, part[i], part[i + half])
            for i, row in enumerate(lengths)
        ]
    return _resized(call, x, axes, lengths, rule)


def _scaled(call: Call, before: Any, scale: float) -> Length:
    if not scale > 0:
        call.fail(f"the scale {scale} is not positive")
    if isinstance(before, Dim):
        return Length(before, before if scale == 1 else -1, scale)  # type: ignore[arg-type]
    return Length(before, math.floor(before * scale), scale)


def _sized(call: Call, x: Any, axes: list[int], sizes: list[Any]) -> list[Length]:
    """The lengths of axes by their sizes, of which one decides where the aspect is kept."""
    policy = call.attribute("keep_aspect_ratio_policy") or "stretch"
    rows = list(zip(axes, sizes, strict=True))
    if policy != "stretch":
        scales = [size / x.shape[a] for a, size in rows]
        scale = min(scales) if policy == "not_larger" else max(scales)
        return [Length(x.shape[a], math.floor(scale * x.shape[a] + 0.5), scale) for a, _ in rows]
    return [
        Length(x.shape[a], n, 1.0 if x.shape[a] == n else n / x.shape[a] if x.shape[a] else 1.0)
        for a, n in rows
    ]


def _by_scales(call: Call, x: Any, scales: list[float], rule: Rule) -> Any:
    lengths = [_scaled(call, d, s) for d, s in zip(x.shape, scales, strict=True)]
    return _resized(call, x, list(range(x.ndim)), lengths, rule)


def _resized(call: Call, x: Any, axes: list[int], lengths: list[Length], rule: Rule) -> Any:
    """x resampled along each axis whose length changes."""
    dtype, y = x.dtype, x
    outside: Any = None
    if rule.mode != "nearest" and not is_floating(dtype):
        y = sn.astype(y, sn.float32)
    if rule.mode not in ("nearest", "linear", "cubic"):
        call.fail(f"the mode {rule.mode!r:.40} is none of nearest, linear, cubic")
    for axis, own in zip(axes, lengths, strict=True):
        if isinstance(own.before, Dim):
            y = _symbolic(call, y, axis, own, rule)
        elif own.scale != 1 or own.after != own.before or (own.start, own.end) != (0.0, 1.0):
            y, far = _along(call, y, axis, own, rule)
            if far.any():
                mask = sn.constant(far.reshape([-1 if i == axis else 1 for i in range(x.ndim)]))
                outside = mask if outside is None else outside | mask
    if outside is not None:
        y = sn.where(outside, sn.constant(np.array(rule.extrapolation, y.dtype)), y)
    if y.dtype == dtype:
        return y
    if not is_floating(dtype):
        info = sn.iinfo(dtype)
        y = sn.clip(sn.trunc(y), info.min, info.max)
    return sn.astype(y, dtype)


def _symbolic(call: Call, x: Any, axis: int, own: Length, rule: Rule) -> Any:
    """x along an axis of unknown length: as it is, or each element several times."""
    if own.scale == 1:
        return x
    times = round(own.scale)
    if rule.mode != "nearest" or times != own.scale:
        call.fail(f"the axis {axis} has the length {own.before}, which must be known")
    wide = sn.expand_dims(x, axis + 1)
    shape = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    new = (*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1 :])
    return sn.reshape(sn.broadcast_to(wide, shape), new)


def _along(call: Call, x: Any, axis: int, own: Length, rule: Rule) -> tuple[Any, Any]:
    """x resampled along an axis, and where that is outside of it."""
    call.limit(own.after, "the length of an axis")
    places = [_source(call, i, own, rule.transform) for i in range(own.after)]
    far = np.array([_is_outside(p, own, rule) for p in places], bool)
    rows = [_taps(call, p, own, rule) for p in places]
    count = max((len(weights) for _, weights in rows), default=1)
    if not rows:
        part = tuple(slice(0, 0) if i == axis else slice(None) for i in range(x.ndim))
        return x[part], far
    if rule.mode == "nearest" and not rule.antialias:
        at = [index[int(np.argmax(weights))] for index, weights in rows]
        return sn.take(x, np.array(at, np.int64), axis=axis), far
    if count > MAX_TAPS:
        matrix = np.zeros((own.after, own.before))
        for i, (index, weights) in enumerate(rows):
            np.add.at(matrix[i], index, weights)
        wide = sn.matmul(sn.moveaxis(x, axis, -1), sn.constant(matrix.T.astype(x.dtype)))
        return sn.moveaxis(wide, -1, axis), far
    total: Any = None
    for k in range(count):
        places_k = np.array([index[k] for index, _ in rows], np.int64)
        column = np.array([weights[k] for _, weights in rows], x.dtype)
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        term = sn.take(x, places_k, axis=axis) * sn.constant(column.reshape(shape))
        total = term if total is None else total + term
    return total, far


def _source(call: Call, i: int, own: Length, transform: str) -> float:
    """Where an element of the result lies in the axis before."""
    n, whole = own.before, own.exact
    match transform:
        case "asymmetric":
            return i / own.scale
        case "half_pixel":
            return (i + 0.5) / own.scale - 0.5
        case "pytorch_half_pixel":
            return -0.5 if whole == 1 else (i + 0.5) / own.scale - 0.5
        case "half_pixel_symmetric":
            offset = n / 2 * (1 - own.after / whole)
            return offset + (i + 0.5) / own.scale - 0.5
        case "align_corners":
            return 0.0 if whole == 1 else i * (n - 1) / (whole - 1)
        case "tf_half_pixel_for_nn":
            return (i + 0.5) / own.scale
        case "tf_crop_and_resize":
            first, span = own.start * (n - 1), (own.end - own.start) * (n - 1)
            return span / 2 + first if whole == 1 else i * span / (whole - 1) + first
        case _:
            return call.fail(f"there is no coordinate_transformation_mode {transform!r:.40}")


def _is_outside(place: float, own: Length, rule: Rule) -> bool:
    return rule.transform == "tf_crop_and_resize" and not 0 <= place <= own.before - 1


def _taps(call: Call, place: float, own: Length, rule: Rule) -> tuple[list[int], list[float]]:
    """The elements that one of the result is of, and their weights."""
    base = math.floor(place)
    ratio = 1.0 if place == base else place - base
    weights = _weights(call, ratio, min(own.scale, 1.0), rule)
    count = len(weights)
    # as many neighbours on either side; a place that is whole counts as the right end of its cell
    first = (base - 1 if place == base else base) - (count // 2 - 1)
    index = list(range(first, first + count))
    if rule.exclude_outside:
        weights = [w if 0 <= i < own.before else 0.0 for i, w in zip(index, weights, strict=True)]
        total = sum(weights)
        weights = [w / total for w in weights]
    return [min(max(i, 0), own.before - 1) for i in index], weights


def _weights(call: Call, ratio: float, scale: float, rule: Rule) -> list[float]:
    """The weights of the neighbours of a place, `ratio` of the way between the middle two."""
    if rule.mode == "nearest":
        return _nearest(call, ratio, rule.nearest)
    if rule.mode == "linear":
        if not rule.antialias:
            return [1 - ratio, ratio]
        return _spread(ratio, scale, 1, lambda d: max(0.0, 1 - d))
    if not rule.antialias:
        return [_cubic(abs(k - ratio), rule.cubic) for k in (-1, 0, 1, 2)]
    return _spread(ratio, scale, 2, lambda d: _cubic(d, rule.cubic))


def _spread(
    ratio: float, scale: float, reach: int, weight: Callable[[float], float]
) -> list[float]:
    """The weights of a kernel that is as wide as what one element of the result stands for."""
    start = math.floor(-reach / scale) + 1
    found = [weight(abs(k - ratio) * scale) for k in range(start, 2 - start)]
    total = sum(found)
    return [w / total for w in found]


def _cubic(d: float, a: float) -> float:
    if d <= 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0.0


def _nearest(call: Call, ratio: float, mode: str) -> list[float]:
    if ratio == 1:
        return [0.0, 1.0]
    right = {
        "round_prefer_floor": ratio > 0.5, "round_prefer_ceil": ratio >= 0.5, "floor": False,
        "ceil": True,
    }  # fmt: skip
    if mode not in right:
        call.fail(f"there is no nearest_mode {mode!r:.40}")
    return [0.0, 1.0] if right[mode] else [1.0, 0.0]
