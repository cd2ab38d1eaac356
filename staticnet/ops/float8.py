"""8-bit floats: what products of `precision="float8"` take, and the scales that fit values to them.

Two formats of the OCP 8-bit Floating Point Specification (revision 1.0, 2023), after Micikevicius
et al., "FP8 formats for deep learning", 2022: e4m3, up to 448 and without infinity, and e5m2, up to
57344. They are no dtypes here: a rounded array is one of uint8, which moves as any other does, and
these ops alone know what its bytes mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from staticnet.errors import DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BFLOAT16, FLOAT32, UINT8, DType
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType, format_shape
from staticnet.ops.arguments import FLOATS
from staticnet.ops.base import Elementwise, Reduction, TensorOp, apply
from staticnet.ops.batching import spread_all
from staticnet.ops.library import MatmulEpilogue
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.selection import astype
from staticnet.ops.shape import expand_dims

FORMATS = (np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2))  # by `e5m2`
GREATEST = (448.0, 57344.0)
MULTIPLE = 16  # of a library's sizes, and of bytes before a row of its matrices
MOST_SCALE = 2.0**126  # whose reciprocal is normal


def check_float32(*operands: TensorType) -> None:
    """Raise DTypeError unless all are float32."""
    for x in operands:
        if x.dtype != FLOAT32:
            raise DTypeError(f"takes float32, not {x.dtype}; cast with sn.astype(x, 'float32')")


@dataclass(frozen=True)
class Float8(Elementwise, name="float8"):
    """q = the byte of x * scale, rounded to the nearest number of 8 bits, ties to even.

    e5m2: which format. What is beyond the greatest number becomes it, infinity too; NaN stays NaN,
    the byte 0x7f. x: [*s], scale: broadcastable to [*s] -> q: uint8 [*s]
    """

    e5m2: bool
    scalar = "float8({0} * {1}, {e5m2})"
    arity = 2
    kinds = FLOATS
    differentiable = False

    def infer(self, *operands: TensorType) -> TensorType:
        check_float32(*operands)
        return super().infer(*operands).with_dtype(UINT8)

    def eval(self, xp: Any, x: Any, scale: Any) -> Any:
        limit = np.float32(GREATEST[self.e5m2])
        scaled = np.asarray(np.clip(x * scale, -limit, limit), np.float32)
        q = scaled.astype(FORMATS[self.e5m2]).view(np.uint8)
        return np.where(np.isnan(scaled), np.uint8(0x7F), q)


@dataclass(frozen=True)
class Float8Value(Elementwise, name="float8_value"):
    """x = the number of a byte, times `factor`.

    q: uint8 [*s], factor: broadcastable to [*s] -> x: float32 [*s]
    """

    e5m2: bool
    scalar = "float8_value({0}, {e5m2}) * {1}"
    arity = 2
    kinds = frozenset({"uint"})
    same_dtype: ClassVar[slice] = slice(0, 1)
    differentiable = False

    def infer(self, *operands: TensorType) -> TensorType:
        q, factor = operands
        if q.dtype != UINT8:
            raise DTypeError(f"takes bytes, uint8, not {q.dtype}")
        check_float32(factor)
        return super().infer(*operands).with_dtype(FLOAT32)

    def eval(self, xp: Any, q: Any, factor: Any) -> Any:
        return np.asarray(q).view(FORMATS[self.e5m2]).astype(np.float32) * factor


class Float8Scale(Elementwise, name="float8_scale"):
    """s = the greatest power of 2 with amax * s <= limit, and at most 2**126.

    1 where amax is 0, infinite or NaN: nothing is known of what is to be scaled.
    amax: [*s], limit: broadcastable to [*s] -> s: [*s]
    """

    scalar = "float8_scale({0}, {1})"
    arity = 2
    kinds = FLOATS
    differentiable = False

    def infer(self, *operands: TensorType) -> TensorType:
        check_float32(*operands)
        return super().infer(*operands)

    def eval(self, xp: Any, amax: Any, limit: Any) -> Any:
        with np.errstate(all="ignore"):
            ratio = np.minimum(np.float32(limit) / amax, np.float32(MOST_SCALE))
        known = (amax > 0) & np.isfinite(amax)
        _, exponent = np.frexp(np.where(known, ratio, 1))
        return np.ldexp(np.float32(1), exponent - 1)


class Float8Amax(Reduction, name="float8_amax"):
    """y = the greatest of magnitudes x along axes, -infinity where there are none; NaN wins.

    x: [*s] -> y: [s without axes]
    """

    kinds = FLOATS
    combine = "max"
    differentiable = False

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.max(x, axis=self.axes, keepdims=self.keepdims, initial=-np.inf)


@dataclass(frozen=True)
class Float8Matmul(TensorOp, name="float8_matmul"):
    """z = a[left] * b[right] * (x @ yᵀ) + bias of bytes x and y, in float32 and rounded once.

    x: uint8 [m, k], y: uint8 [n, k], a: float32 [p], b: float32 [q] -> z: bfloat16 [m, n];
    the bias, bfloat16 [n], may be missing

    `left_e5m2` and `right_e5m2` are the formats; of e5m2 is one at most, as the matrix units of
    GPUs have it.
    """

    left_e5m2: bool
    right_e5m2: bool
    left: int
    right: int
    arity = None
    differentiable = False

    def infer(self, *operands: TensorType) -> TensorType:
        if len(operands) not in (4, 5):
            raise ShapeError(f"takes 4 operands, or 5 with a bias, not {len(operands)}")
        x, y, a, b = operands[:4]
        check_float32(a, b)
        if x.dtype != UINT8 or y.dtype != UINT8 or (self.left_e5m2 and self.right_e5m2):
            raise DTypeError("takes two matrices of bytes, uint8, of which one is e5m2 at most")
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
            raise ShapeError(
                f"{format_shape(x.shape)} and {format_shape(y.shape)} are not two matrices with "
                "rows of one length"
            )
        if a.ndim != 1 or b.ndim != 1:
            raise ShapeError("the factors must lie in vectors")
        for factors, at in ((a, self.left), (b, self.right)):
            (size,) = factors.shape
            if at < 0 or (isinstance(size, int) and at >= size):
                raise ShapeError(f"{format_shape(factors.shape)} has no factor {at}")
        for bias in operands[4:]:
            if bias.dtype != BFLOAT16 or bias.shape != y.shape[:1]:
                raise ShapeError(f"the bias must be bfloat16 {format_shape(y.shape[:1])}")
        return TensorType(BFLOAT16, (x.shape[0], y.shape[0]))

    def eval(self, xp: Any, x: Any, y: Any, a: Any, b: Any, *bias: Any) -> Any:
        wide = (
            q.view(FORMATS[e5m2]).astype(np.float32) * factors[at]
            for q, e5m2, factors, at in (
                (x, self.left_e5m2, a, self.left), (y, self.right_e5m2, b, self.right),
            )
        )  # fmt: skip
        u, v = wide
        z = np.matmul(u, np.ascontiguousarray(v.T))
        return sum([z, *(x.astype(np.float32) for x in bias)]).astype(BFLOAT16)

    def expand(self, *operands: Any, dtype: DType = BFLOAT16) -> Any:
        """The plain ops that this stands for: a product in a dtype that holds all operands exactly.

        Factors are powers of 2, so it rounds once, too. Matrices may have leading axes.
        """
        x, y, a, b, *bias = operands
        u = _values(Float8Value(self.left_e5m2), x, _factor(a, self.left), dtype)
        v = _values(Float8Value(self.right_e5m2), y, _factor(b, self.right), dtype)
        if bias:
            return apply(MatmulEpilogue("none"), u, matrix_transpose(v), astype(bias[0], dtype))
        return astype(matmul(u, matrix_transpose(v)), BFLOAT16)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return self.expand(*spread_all(size, batched, operands))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size * operands[0].shape[1] * 2


def _factor(factors: Any, at: int) -> Any:
    """The factor of a matrix, to broadcast against it; of each example where they differ."""
    factor = factors[..., at]
    return expand_dims(expand_dims(factor, -1), -1) if factor.ndim else factor


def _values(op: Float8Value, q: Any, factor: Any, dtype: DType) -> Any:
    """What bytes are, in a dtype: made where they lie, once for all views of them."""
    views = []
    while isinstance(q, Node) and q.op.moves and factor.ndim == 0:
        views.append(q.op)
        (q,) = q.inputs
    made = astype(apply(op, q, factor), dtype)
    for view in reversed(views):
        made = apply(view, made)
    return made
