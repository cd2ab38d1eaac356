"""What has as many results as its values say: computed at once, where these are known."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator


@operator("NonZero")
def nonzero(call: Call, x: Any) -> Any:
    """The places of elements that are not 0.  x: [*s] -> y: int64 [n, count]"""
    return sn.constant(np.array(np.nonzero(call.known(x, "the result's shape")), np.int64))


@operator("Compress")
def compress(call: Call, x: Any, condition: Any) -> Any:
    """x's slices along an axis, or elements, where the condition holds."""
    at = np.flatnonzero(call.known(condition, "the result's shape"))
    axis = call.attribute("axis")
    if axis is None:
        return sn.take(sn.reshape(x, (-1,)), at, axis=0)
    return sn.take(x, at, axis=call.place(axis, x.ndim))


@operator("Unique")
def unique(call: Call, x: Any) -> Any:
    """The different elements, or slices, in order; where they first are; and which ones x has."""
    values = call.known(x, "the result's shape")
    axis = call.attribute("axis")
    if axis is None:
        values = values.ravel()
    place = 0 if axis is None else call.place(axis, values.ndim)
    found, first, inverse, counts = np.unique(
        values, return_index=True, return_inverse=True, return_counts=True, axis=place
    )
    inverse = inverse.ravel()
    if not call.integer("sorted"):
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        found, first, counts = np.take(found, order, place), first[order], counts[order]
        inverse = rank[inverse]
    places = (sn.constant(v.astype(np.int64)) for v in (first, inverse, counts))
    return (sn.constant(found), *places)[: max(1, call.outputs)]


@operator("NonMaxSuppression")
def non_max_suppression(
    call: Call, boxes: Any, scores: Any, most: Any = None, overlap: Any = None, least: Any = None
) -> Any:
    """The best boxes of each class that overlap no better one by much.

    boxes: [n, b, 4], scores: [n, c, b] -> y: int64 [count, 3], of (example, class, box)
    """
    corners = call.known(boxes, "the result's shape")
    rates = call.known(scores, "the result's shape")
    count = 0 if most is None else call.sizes(most, "the number of boxes")[0]
    limit = 0.0 if overlap is None else call.numbers(overlap, "the overlap")[0]
    bottom = None if least is None else call.numbers(least, "the least score")[0]
    if call.integer("center_point_box"):
        middle, size = corners[..., :2], corners[..., 2:]
        corners = np.concatenate([middle - size / 2, middle + size / 2], -1)
    rows = [
        (n, c, box)
        for n in range(rates.shape[0])
        for c in range(rates.shape[1])
        for box in _best(corners[n], rates[n, c], count, limit, bottom)
    ]
    return sn.constant(np.array(rows, np.int64).reshape(-1, 3))


def _best(boxes: Any, scores: Any, count: int, limit: float, bottom: float | None) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if len(kept) >= count or (bottom is not None and scores[i] <= bottom):
            break
        if all(_overlap(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(int(i))
    return kept


def _overlap(a: Any, b: Any) -> float:
    """The area that both boxes have, over that which either has."""
    low = np.maximum(np.minimum(a[:2], a[2:]), np.minimum(b[:2], b[2:]))
    high = np.minimum(np.maximum(a[:2], a[2:]), np.maximum(b[:2], b[2:]))
    both = float(np.prod(np.maximum(high - low, 0)))
    either = sum(float(abs((c[2] - c[0]) * (c[3] - c[1]))) for c in (a, b)) - both
    return both / either if both > 0 else 0.0


@operator("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(call: Call, x: Any, indices: Any) -> Any:
    """x's elements at the indices along the last axis."""
    y = sn.take(x, sn.reshape(indices, (-1,)), axis=-1)
    return sn.reshape(y, (1, -1)) if x.ndim == 1 else y


@operator("Binarizer", domain="ai.onnx.ml")
def binarizer(call: Call, x: Any) -> Any:
    """1 where x is above a threshold, else 0."""
    return sn.astype(x > call.number("threshold"), x.dtype)


@operator("Scaler", domain="ai.onnx.ml")
def scaler(call: Call, x: Any) -> Any:
    """(x - offset) scale, of each feature or of all.  x: [n, features] -> y: f32[n, features]"""
    offset, scale = call.floats("offset", [0.0]), call.floats("scale", [1.0])
    return (sn.astype(x, sn.float32) - np.float32(offset)) * np.float32(scale)
