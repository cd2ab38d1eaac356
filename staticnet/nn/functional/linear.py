"""Linear maps."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.dim import size_of
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating
from staticnet.ops.base import function, promoted
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.widening import rounded_once


@function
def linear(input: Any, weight: Any, bias: Any = None) -> Value:
    """y = x @ weight.T + bias.  input x: [*b, in], weight: [out, in], bias: [out] -> y: [*b, out]

    Raises:
        ShapeError: if the last axis of x is not weight's, or bias is not [out].
    """
    x, weight = promoted("linear", input, weight)
    x, weight = as_floating(x), as_floating(weight)
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"x {format_shape(x.shape)} must be [..., in] for a weight [out, in] of "
            f"{format_shape(weight.shape)}"
        )
    y = x @ weight.T
    if bias is None:
        return y
    y, bias = promoted("linear", y, bias)
    if bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"bias {format_shape(bias.shape)} must be {format_shape(weight.shape[:1])}"
        )
    return y + bias


@function
@rounded_once(3)
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Value:
    """y[o] = x1 . weight[o] . x2 + bias[o].

    input1 x1: [*b, in1], input2 x2: [*b, in2], weight: [out, in1, in2], bias: [out] -> y: [*b, out]

    Raises:
        ShapeError: if the shapes do not fit.
    """
    x1, x2, weight = (as_floating(x) for x in promoted("bilinear", input1, input2, weight))
    if min(x1.ndim, x2.ndim) == 0 or x1.shape[:-1] != x2.shape[:-1]:
        raise ShapeError(
            f"x1 {format_shape(x1.shape)} and x2 {format_shape(x2.shape)} must differ in the last "
            "axis alone"
        )
    if weight.ndim != 3 or weight.shape[1:] != (x1.shape[-1], x2.shape[-1]):
        raise ShapeError(
            f"weight {format_shape(weight.shape)} must be [out, {x1.shape[-1]}, {x2.shape[-1]}]"
        )
    rows = reshape(weight, (size_of(weight.shape[:2]), weight.shape[2]))
    maps = reshape(linear(x2, rows), (*x2.shape[:-1], *weight.shape[:2]))
    y = sum(maps * expand_dims(x1, -2), -1)
    if bias is None:
        return y
    y, bias = promoted("bilinear", y, bias)
    if bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"bias {format_shape(bias.shape)} must be {format_shape(weight.shape[:1])}"
        )
    return y + bias
