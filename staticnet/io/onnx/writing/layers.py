"""Convolutions and pools, whose arrays with channels last are turned around them; attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticnet.attention.layout import LAYOUTS
from staticnet.attention.op import Attention
from staticnet.attention.operands import split_operands
from staticnet.io.onnx.writing.arrays import sliced
from staticnet.io.onnx.writing.body import Body, refusal
from staticnet.io.onnx.writing.elementwise import takes
from staticnet.io.onnx.writing.plainer import attention_parts, attention_scores
from staticnet.io.onnx.writing.table import writes
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import FLOAT64, INT32, INT64, UINT8
from staticnet.ir.node import Node
from staticnet.ops.shape import expand_dims
from staticnet.ops.widening import widened
from staticnet.spatial.convolution import (
    Convolution,
    ConvolutionInput,
    ConvolutionOp,
    ConvolutionWeight,
)
from staticnet.spatial.pooling import MaxPool, MaxPoolGradient, WindowOp, WindowSpread, WindowSum

Axes = tuple[int, ...]


def first(body: Body, op: Any, x: Any, ndim: int) -> Any:
    """x with its channels after the examples."""
    if op.layout == "first":
        return x
    return body.permuted(x, [0, ndim - 1, *range(1, ndim - 1)])


def as_laid(body: Body, op: Any, y: Any, ndim: int) -> Any:
    """A result with its channels where the op has them."""
    if op.layout == "first":
        return body.name(y)
    return body.permuted(y, [0, *range(2, ndim), 1])


def shape_first(op: Any, shape: Any) -> tuple[Any, ...]:
    """A shape with channels after the examples."""
    return tuple(shape) if op.layout == "first" else (shape[0], shape[-1], *shape[1:-1])


@writes(Convolution)
def _convolution(body: Body, node: Node) -> Any:
    op, (x, w) = node.op, node.inputs
    assert isinstance(op, Convolution)
    y = body(
        "Conv", first(body, op, x, x.ndim), w, strides=list(op.strides),
        pads=[*op.low, *op.high], dilations=list(op.dilations), group=_groups(node, op),
    )  # fmt: skip
    return as_laid(body, op, y, node.ndim)


def _groups(node: Node, op: ConvolutionOp) -> int:
    (groups,) = op.groups
    if isinstance(groups, Dim):
        raise refusal(node, f"ONNX takes a number of groups, not {groups}")
    return groups


@writes(ConvolutionInput)
def _convolution_input(body: Body, node: Node) -> Any:
    op, (g, w) = node.op, node.inputs
    assert isinstance(op, ConvolutionInput)
    given = shape_first(op, g.shape)[2:]
    more = []
    for axis, (n, t) in enumerate(zip(op.spatial, given, strict=True)):
        reach = op.dilations[axis] * (w.shape[2 + axis] - 1) + 1
        rest = n + op.low[axis] + op.high[axis] - reach - op.strides[axis] * (t - 1)
        if isinstance(rest, Dim):
            raise refusal(node, f"ONNX takes a number of rows that no kernel reached, not {rest}")
        more.append(int(rest))
    y = body(
        "ConvTranspose", first(body, op, g, g.ndim), w, strides=list(op.strides),
        pads=[*op.low, *op.high], dilations=list(op.dilations), group=_groups(node, op),
        output_padding=more,
    )  # fmt: skip
    return as_laid(body, op, y, node.ndim)


@writes(ConvolutionWeight)
def _convolution_weight(body: Body, node: Node) -> Any:
    """A convolution of each group's channels, as examples, with the cotangent as the kernel."""
    op, (x, g) = node.op, node.inputs
    assert isinstance(op, ConvolutionWeight)
    groups, rank = _groups(node, op), x.ndim - 2
    spatial = list(range(3, 3 + rank))
    n, c, *s = shape_first(op, x.shape)
    laid = first(body, op, x, x.ndim)
    if groups != 1:
        apart = body.reshape(laid, (n, groups, c // groups, *s))
        turned = body.permuted(apart, [2, 1, 0, *spatial])
        images = body.reshape(turned, (c // groups, groups * n, *s))
    else:
        images = body.permuted(laid, [1, 0, *range(2, 2 + rank)])
    kernel = body.permuted(first(body, op, g, g.ndim), [1, 0, *range(2, 2 + rank)])
    y = body(
        "Conv", images, kernel, strides=list(op.dilations), pads=[*op.low, *op.high],
        dilations=list(op.strides), group=groups,
    )  # fmt: skip
    axes = list(range(2, 2 + rank))
    y = sliced(body, y, axes, [0] * rank, list(op.kernel))
    return body.permuted(y, [1, 0, *axes])


@writes(MaxPool)
def _max_pool(body: Body, node: Node) -> Any:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, MaxPool)
    if op.numbered:
        raise refusal(node, "ONNX counts places through the plane")
    if any(p >= k for p, k in zip((*op.low, *op.high), (*op.kernel, *op.kernel), strict=True)):
        raise refusal(node, "ONNX pads by less than a window")
    wider = takes("MaxPool", body.model.opset, x.dtype)
    if wider != x.dtype:
        wider = FLOAT64
        if x.dtype.itemsize == 8:
            raise refusal(node, f"ONNX has no such pool of {x.dtype}")
    given = first(body, op, x if wider == x.dtype else body.cast(x, wider), x.ndim)
    places = body.is_read(node, 1)
    made = body(
        "MaxPool", given, results=2 if places else 1, kernel_shape=list(op.kernel),
        strides=list(op.strides), pads=[*op.low, *op.high], dilations=list(op.dilations),
    )  # fmt: skip
    y = made[0] if places else made
    y = as_laid(body, op, y if wider == x.dtype else body.cast(y, x.dtype), x.ndim)
    if not places:
        return [y, None]
    plane = body.scalar(size_of(op.spatial_of(x)))  # ONNX counts through all examples
    place = body.cast(body("Mod", made[1], plane), INT32)
    return [y, as_laid(body, op, place, x.ndim)]


@writes(MaxPoolGradient)
def _max_pool_gradient(body: Body, node: Node) -> Any:
    op, (g, places) = node.op, node.inputs
    assert isinstance(op, MaxPoolGradient)
    if places.dtype == UINT8:
        raise refusal(node, "ONNX counts places through the plane")
    body.model.needs(16, node, "a scatter that adds")
    n, c, *t = shape_first(op, g.shape)
    plane, windows = size_of(op.spatial), size_of(t)
    values = body.reshape(first(body, op, g, g.ndim), (n, c, windows))
    at = body.cast(body.reshape(first(body, op, places, g.ndim), (n, c, windows)), INT64)
    zeros = body("Expand", np.zeros((), g.dtype), body.vector(n, c, plane))
    y = body("ScatterElements", zeros, at, values, axis=2, reduction="add")
    return as_laid(body, op, body.reshape(y, (n, c, *op.spatial)), node.ndim)


@writes(WindowSum)
def _window_sum(body: Body, node: Node) -> Any:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, WindowSum)
    given = first(body, op, x, x.ndim)
    if _is_an_average(op):
        y = body(
            "AveragePool", given, kernel_shape=list(op.kernel), strides=list(op.strides),
            pads=[*op.low, *op.high], count_include_pad=1,
        )  # fmt: skip
        y = body("Mul", y, np.asarray(math.prod(op.kernel), x.dtype))
        return as_laid(body, op, y, node.ndim)
    n, c, *s = shape_first(op, x.shape)
    planes = body.reshape(given, (n * c, 1, *s))
    y = body(
        "Conv", planes, np.ones((1, 1, *op.kernel), x.dtype), strides=list(op.strides),
        pads=[*op.low, *op.high], dilations=list(op.dilations),
    )  # fmt: skip
    return as_laid(body, op, body.reshape(y, shape_first(op, node.shape)), node.ndim)


def _is_an_average(op: WindowOp) -> bool:
    """Whether ONNX's average over a window, times its elements, is the sum."""
    within = all(p < k for p, k in zip((*op.low, *op.high), (*op.kernel, *op.kernel), strict=True))
    return within and all(step == 1 for step in op.dilations)


@writes(WindowSpread)
def _window_spread(body: Body, node: Node) -> Any:
    op, (g,) = node.op, node.inputs
    assert isinstance(op, WindowSpread)
    n, c, *t = shape_first(op, g.shape)
    more = []
    for axis, (size, windows) in enumerate(zip(op.spatial, t, strict=True)):
        reach = op.dilations[axis] * (op.kernel[axis] - 1) + 1
        rest = size + op.low[axis] + op.high[axis] - reach - op.strides[axis] * (windows - 1)
        if isinstance(rest, Dim):
            raise refusal(node, f"ONNX takes a number of rows that no window reached, not {rest}")
        more.append(int(rest))
    planes = body.reshape(first(body, op, g, g.ndim), (n * c, 1, *t))
    y = body(
        "ConvTranspose", planes, np.ones((1, 1, *op.kernel), g.dtype), strides=list(op.strides),
        pads=[*op.low, *op.high], dilations=list(op.dilations), output_padding=more,
    )  # fmt: skip
    return as_laid(body, op, body.reshape(y, shape_first(op, node.shape)), node.ndim)


@writes(Attention)
def _attention(body: Body, node: Node) -> list[str | None]:
    """Products around a softmax; where l is read or there is a mask, around what it is made of."""
    op = node.op
    assert isinstance(op, Attention)
    (q, _, v, _), mask, drops = split_operands(op, node.inputs)
    lse = None
    if mask or drops or body.is_read(node, 1):
        parts = attention_parts(node)
        body.write(parts)
        weights, lse = map(body.name, parts)
    else:
        s = attention_scores(node)
        body.write([s])
        weights = str(body("Softmax", s, axis=-1))
    values: Any = expand_dims(widened(v), 2)
    body.write([values])
    (n, h, t), e = q.shape[:3], v.shape[3]
    y = body.reshape(body("MatMul", weights, values), (n, h, t, e))
    y = y if q.dtype == values.dtype else body.cast(y, q.dtype)
    axes = LAYOUTS[op.layout]
    return [y if op.layout == "first" else body.permuted(y, list(axes)), lse]
