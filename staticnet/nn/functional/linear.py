"""Linear maps."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating
from staticnet.ops.base import function, promoted


@function
def linear(x: Any, weight: Any, bias: Any = None) -> Value:
    """y = x @ weight.T + bias.  x: [*b, in], weight: [out, in], bias: [out] -> y: [*b, out]

    Raises:
        ShapeError: if the last axis of x is not weight's, or bias is not [out].
    """
    x, weight = promoted("linear", x, weight)
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
