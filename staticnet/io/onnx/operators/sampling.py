"""Values between elements: at places of a grid or a region, and of a kernel that is bent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.nn import functional as F


@operator("GridSample")
def grid_sample(call: Call, x: Any, grid: Any) -> Any:
    """x at the places of a grid."""
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    mode = call.text("mode")
    grid = sn.astype(grid, x.dtype)
    return F.grid_sample(
        x, grid, modes.get(mode, mode), call.text("padding_mode"), call.flag("align_corners")
    )


@operator("RoiAlign")
def roi_align(call: Call, x: Any, rois: Any, batch: Any) -> Any:
    """The mean or the greatest of samples in each cell of each region.

    x: [n, c, h, w], rois: [r, 4], batch: [r] -> y: [r, c, output_height, output_width]
    """
    height, width = call.integer("output_height"), call.integer("output_width")
    scale, ratio = call.number("spatial_scale"), call.integer("sampling_ratio")
    mode = call.attribute("coordinate_transformation_mode") or "output_half_pixel"
    shift = 0.5 if mode == "half_pixel" else 0.0
    known = (
        call.known(rois, "the regions, of which the number of samples is made,")
        if not ratio
        else None
    )
    rows = []
    for r in range(rois.shape[0]):
        corner = [sn.reshape(rois[r, i], ()) * scale - shift for i in range(4)]
        counts = [ratio, ratio]
        if known is not None:
            spans = (known[r, 3] - known[r, 1], known[r, 2] - known[r, 0])
            least = 0.0 if shift else 1.0
            counts = [
                max(1, math.ceil(max(float(s) * scale, least) / n))
                for s, n in zip(spans, (height, width), strict=True)
            ]
        rows.append(
            _region(call, sn.take(x, batch[r], axis=0), corner, counts, (height, width), shift)
        )
    return sn.stack(rows)


def _region(
    call: Call, x: Any, corner: list[Any], counts: list[int], cells: tuple[int, int], shift: float
) -> Any:
    """One region of x: [c, h, w]."""
    ys = _samples(corner[1], corner[3], cells[0], counts[0], shift)
    xs = _samples(corner[0], corner[2], cells[1], counts[1], shift)
    (h, w), c = x.shape[1:], x.shape[0]
    (y0, y1, fy, iy), (x0, x1, fx, ix) = _between(ys, h), _between(xs, w)
    rows = [sn.take(x, at, axis=1) for at in (y0, y1)]
    corners = [[sn.take(row, at, axis=2) for at in (x0, x1)] for row in rows]
    fy, fx = sn.reshape(fy, (1, -1, 1)), sn.reshape(fx, (1, 1, -1))
    weights = [[(1 - fy) * (1 - fx), (1 - fy) * fx], [fy * (1 - fx), fy * fx]]
    terms = [corners[i][j] * weights[i][j] for i in range(2) for j in range(2)]
    is_inside = sn.reshape(iy, (1, -1, 1)) & sn.reshape(ix, (1, 1, -1))
    terms = [sn.where(is_inside, term, sn.zeros_like(term)) for term in terms]
    shape = (c, cells[0], counts[0], cells[1], counts[1])
    if call.text("mode") == "max":
        highest = terms[0]
        for term in terms[1:]:
            highest = sn.maximum(highest, term)
        return sn.max(sn.reshape(highest, shape), axis=(2, 4))
    return sn.mean(sn.reshape(terms[0] + terms[1] + terms[2] + terms[3], shape), axis=(2, 4))


def _samples(start: Any, end: Any, cells: int, count: int, shift: float) -> Any:
    """The places of samples along an axis of a region.  -> y: [cells * count]"""
    span = end - start
    if not shift:
        span = sn.maximum(span, 1.0)
    steps = (np.arange(cells)[:, None] + (np.arange(count) + 0.5) / count).reshape(-1)
    return start + span / cells * sn.constant(steps.astype(span.dtype))


def _between(at: Any, n: Any) -> tuple[Any, Any, Any, Any]:
    """The elements before and after each place, how far between them, and whether it is inside."""
    inside = (at >= -1.0) & (at <= float(n))
    at = sn.maximum(at, 0.0)
    low = sn.minimum(sn.floor(at), n - 1)
    high = sn.minimum(low + 1, n - 1)
    return sn.astype(low, sn.int64), sn.astype(high, sn.int64), sn.minimum(at, n - 1) - low, inside


@operator("DeformConv")
def deform_conv(call: Call, x: Any, w: Any, offset: Any, b: Any = None, mask: Any = None) -> Any:
    """A convolution whose taps lie where offsets move them, between elements.

    x: [n, c, h, w], w: [o, c / group, kh, kw], offset: [n, g * kh * kw * 2, th, tw],
    mask: [n, g * kh * kw, th, tw] -> y: [n, o, th, tw]
    """
    if x.ndim != 4:
        call.fail(f"takes 2 spatial axes, not {x.ndim - 2}")
    n, c, h, width = x.shape
    o, _, kh, kw = w.shape
    groups, own = call.integer("group"), call.integer("offset_group")
    strides, pads = call.ints("strides") or [1, 1], call.ints("pads") or [0] * 4
    dilations = call.ints("dilations") or [1, 1]
    th, tw = offset.shape[2:]
    taps = sn.reshape(offset, (n, own, kh, kw, 2, th, tw))
    base = [
        np.arange(k)[:, None] * d + np.arange(t)[None, :] * s - p
        for k, d, t, s, p in zip((kh, kw), dilations, (th, tw), strides, pads, strict=False)
    ]
    ys = taps[:, :, :, :, 0] + base[0].reshape(1, 1, kh, 1, th, 1).astype(x.dtype)
    xs = taps[:, :, :, :, 1] + base[1].reshape(1, 1, 1, kw, 1, tw).astype(x.dtype)
    planes = sn.reshape(x, (n, own, c // own, h * width))
    sampled = _bilinear(planes, ys, xs, h, width)
    if mask is not None:
        sampled = sampled * sn.reshape(mask, (n, own, 1, kh, kw, th, tw))
    rows = sn.reshape(sampled, (n, groups, (c // groups) * kh * kw, th * tw))
    y = sn.matmul(sn.reshape(w, (1, groups, o // groups, -1)), rows)
    y = sn.reshape(y, (n, o, th, tw))
    return y if b is None else y + sn.reshape(b, (-1, 1, 1))


def _bilinear(planes: Any, ys: Any, xs: Any, h: int, w: int) -> Any:
    """planes: [n, g, c, h * w] at places [n, g, *t] -> y: [n, g, c, *t]; outside is 0."""
    n, g, c, _ = planes.shape
    low_y, low_x = sn.floor(ys), sn.floor(xs)
    total: Any = 0
    for dy in (0, 1):
        for dx in (0, 1):
            py, px = low_y + dy, low_x + dx
            weight = (1 - sn.abs(ys - py)) * (1 - sn.abs(xs - px))
            inside = (py >= 0) & (py < h) & (px >= 0) & (px < w)
            flat = sn.clip(py, 0, h - 1) * w + sn.clip(px, 0, w - 1)
            index = sn.reshape(sn.astype(flat, sn.int64), (n, g, 1, -1))
            index = sn.broadcast_to(index, (n, g, c, index.shape[-1]))
            value = sn.reshape(sn.take_along_axis(planes, index, axis=3), (n, g, c, *ys.shape[2:]))
            term = sn.where(inside, weight, sn.zeros_like(weight))
            total = total + value * sn.expand_dims(term, 2)
    return total
