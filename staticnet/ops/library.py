"""Composites that a library computes in one call. Each has `expand`, the plain ops it stands for.

The `library` pass makes these nodes and, where a backend's library lacks them, undoes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import DType, compute_dtype
from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS, check_kind
from staticnet.ops.arithmetic import minimum
from staticnet.ops.base import ALL, TensorOp, apply
from staticnet.ops.batching import aligned
from staticnet.ops.linalg import Matmul
from staticnet.ops.selection import Relu, astype, relu
from staticnet.ops.shape import sum_to_shape
from staticnet.ops.transcendental import Sigmoid, sigmoid

ACTIVATIONS = ("none", "relu", "gelu")
EPILOGUES = frozenset({"bias", "relu", "relu_bias", "gelu", "gelu_bias"})
ADDS = "add"  # as a backend names the epilogue of `MatmulAdd`
_GELU_SCALE, _GELU_CUBIC = math.sqrt(8 / math.pi), 0.044715
_GELU_FLAT = 1024.0  # of x * x: beyond it the sigmoid is 0 or 1 even in float64


def gelu_tanh(
    x: Any, sigmoid: Callable[[Any], Any] = sigmoid, minimum: Callable[[Any, Any], Any] = minimum
) -> Any:
    """y = x * sigmoid(sqrt(8 / pi) * (x + 0.044715 * x**3)): the gelu of libraries.

    The form of `sn.nn.gelu(x, approximate="tanh")`; on arrays it is given their functions.
    """
    square = minimum(x * x, _GELU_FLAT)
    return x * sigmoid(x * (_GELU_SCALE + (_GELU_SCALE * _GELU_CUBIC) * square))


def gelu_slope(
    x: Any, sigmoid: Callable[[Any], Any] = sigmoid, minimum: Callable[[Any, Any], Any] = minimum
) -> Any:
    """y = the derivative of `gelu_tanh` at x; on arrays it is given their functions."""
    square = minimum(x * x, _GELU_FLAT)
    s = sigmoid(x * (_GELU_SCALE + (_GELU_SCALE * _GELU_CUBIC) * square))
    slope = _GELU_SCALE + (3 * _GELU_SCALE * _GELU_CUBIC) * square
    return s + x * s * (1 - s) * slope


def gelu_curvature(x: Any) -> Any:
    """y = the second derivative of `gelu_tanh` at x."""
    square = minimum(x * x, _GELU_FLAT)
    s = sigmoid(x * (_GELU_SCALE + (_GELU_SCALE * _GELU_CUBIC) * square))
    slope = _GELU_SCALE + (3 * _GELU_SCALE * _GELU_CUBIC) * square
    bend = (6 * _GELU_SCALE * _GELU_CUBIC) * square  # x times the derivative of the slope
    return s * (1 - s) * (2 * slope + x * (1 - 2 * s) * slope * slope + bend)


@dataclass(frozen=True)
class MatmulEpilogue(TensorOp, name="matmul_epilogue"):
    """z = activation(x @ y + bias), leading axes broadcast; the bias may be missing.

    x: [*b, m, k], y: [*b, k, n], bias: [n] -> z: [*b, m, n]

    activation: "none", "relu" or "gelu", the tanh form. A 16-bit result is rounded once.
    """

    activation: str
    arity = None
    same_dtype: ClassVar[slice] = ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise ArgumentError(
                f"{self.name}: activation must be one of {', '.join(ACTIVATIONS)}, "
                f"not {self.activation!r:.60}"
            )

    def infer(self, *operands: TensorType) -> TensorType:
        if len(operands) not in (2, 3):
            raise ArgumentError(f"takes 2 matrices and maybe a bias, not {len(operands)} operands")
        if self.epilogue(len(operands)) == "none":
            raise ArgumentError("with neither bias nor activation it is a matmul")
        x, y, *bias = operands
        check_kind(x.dtype, FLOATS)
        product = Matmul().infer(x, y)
        if bias and bias[0] != x.with_shape(product.shape[-1:]):
            raise ShapeError(f"the bias must be {x.with_shape(product.shape[-1:])}, not {bias[0]}")
        return product

    def epilogue(self, operands: int) -> str:
        """What follows the product, as a backend names it: one of EPILOGUES."""
        if operands < 3:
            return self.activation
        return "bias" if self.activation == "none" else f"{self.activation}_bias"

    def expand(self, *operands: Any) -> Value:
        """The plain ops that this stands for, with the bits of `eval`."""
        dtype = operands[0].dtype
        wide = compute_dtype(dtype)
        return self._activated(self._before_activation(*[astype(x, wide) for x in operands]), dtype)

    def _activated(self, z: Any, dtype: DType) -> Value:
        if self.activation != "none":
            z = relu(z) if self.activation == "relu" else gelu_tanh(z)
        return astype(z, dtype)

    def _before_activation(self, x: Any, y: Any, *bias: Any) -> Value:
        z = apply(Matmul(), x, y)
        return z + bias[0] if bias else z

    def eval(self, xp: Any, x: Any, y: Any, *bias: Any) -> Any:
        z = Matmul().eval(xp, x, y)
        z = z + bias[0] if bias else z
        if self.activation == "relu":
            return Relu().eval(xp, z)
        if self.activation == "gelu":
            return gelu_tanh(z, lambda u: Sigmoid().eval(xp, u), xp.minimum)
        return z

    def vjp(self, z: Any, g: Any, x: Any, y: Any, *bias: Any) -> tuple[Any, ...]:
        if self.activation == "relu":
            (g,) = Relu().vjp(z, g, None)
        elif self.activation == "gelu":
            g = g * gelu_slope(self._before_activation(x, y, *bias))
        dx, dy = Matmul().vjp(z, g, x, y)
        return (dx, dy, *(sum_to_shape(g, b.shape) for b in bias))

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        dtype = operands[0].dtype
        x, y, *bias = (astype(operand, compute_dtype(dtype)) for operand in operands)
        shared = not any(batched[:2])
        z = apply(Matmul(), x, y) if shared else Matmul().batch(size, batched[:2], x, y)
        if bias:
            z = z + (aligned(bias[0], z.ndim - (not shared)) if batched[2] else bias[0])
        return self._activated(z, dtype)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        after = (self.activation != "none") + (len(operands) == 3)
        return Matmul().flops(result, *operands[:2]) + result.size * after


@dataclass(frozen=True)
class MatmulAdd(TensorOp, name="matmul_add"):
    """z = x @ y + c, which lies where c lay if nothing else needs that.

    x: [m, k], y: [k, n], c: [m, n] -> z: [m, n]
    """

    arity = 3
    begins_as = 2
    same_dtype: ClassVar[slice] = ALL

    def infer(self, *operands: TensorType) -> TensorType:
        x, y, c = operands
        check_kind(x.dtype, FLOATS)
        product = Matmul().infer(x, y)
        if c != product or len(c.shape) != 2:
            raise ShapeError(f"what is added must be a matrix {product}, not {c}")
        return product

    def expand(self, *operands: Any) -> Value:
        """The plain ops that this stands for, with the bits of `eval`."""
        dtype = operands[0].dtype
        x, y, c = (astype(operand, compute_dtype(dtype)) for operand in operands)
        return astype(c + apply(Matmul(), x, y), dtype)

    def eval(self, xp: Any, x: Any, y: Any, c: Any) -> Any:
        return c + Matmul().eval(xp, x, y)

    def vjp(self, z: Any, g: Any, x: Any, y: Any, c: Any) -> tuple[Any, ...]:
        return (*Matmul().vjp(z, g, x, y), g)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        dtype = operands[0].dtype
        x, y, c = (astype(operand, compute_dtype(dtype)) for operand in operands)
        shared = not any(batched[:2])
        product = apply(Matmul(), x, y) if shared else Matmul().batch(size, batched[:2], x, y)
        return astype(c + product, dtype)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return Matmul().flops(result, *operands[:2]) + result.size
