"""Products with a second result, which a library has in the same call: auxiliary epilogues.

A product with an activation leaves what the activation's gradient needs; a product whose result is
multiplied by that gradient sums its rows, as a bias' gradient is; and so may a product sum one of
its operands. The `auxiliary` pass makes these nodes where a backend's library has them, and
expands them where it has not. 16-bit results are rounded once, from float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import UINT8, compute_dtype
from staticnet.ir.types import Shape, TensorType, TupleType, format_shape
from staticnet.ops.arguments import FLOATS, check_kind
from staticnet.ops.base import ALL, TensorOp
from staticnet.ops.batching import spread_all
from staticnet.ops.creation import arange
from staticnet.ops.library import gelu_curvature, gelu_slope, gelu_tanh
from staticnet.ops.linalg import Matmul, matmul
from staticnet.ops.movement import matrix_transpose, pad
from staticnet.ops.selection import Relu, astype, relu, where
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, sum
from staticnet.ops.transcendental import Sigmoid

ACTIVATIONS = ("relu", "gelu")
AUXILIARY = frozenset(
    {
        "relu_aux", "relu_aux_bias", "gelu_aux", "gelu_aux_bias",
        "drelu_bgrad", "dgelu_bgrad", "bgrada", "bgradb",
    }
)  # fmt: skip
MASK_BITS = 128  # to a multiple of which a row of relu's mask is filled up


def mask_bytes(n: int) -> int:
    """Bytes of a row of relu's mask.  n: elements of the row"""
    return -(-n // MASK_BITS) * MASK_BITS // 8


@dataclass(frozen=True)
class AuxiliaryProduct(TensorOp):
    """A product of two matrices with a result beside it."""

    arity = None
    kinds: ClassVar[frozenset[str]] = FLOATS

    def epilogue(self, operands: int) -> str:
        """What a backend's library must have, of so many operands: one of AUXILIARY."""
        raise NotImplementedError

    def plain(self, *operands: Any) -> tuple[Any, Any]:
        """Both results in plain ops, of operands in the dtype that is computed in.

        They may have leading axes, over which a bias is broadcast.
        """
        raise NotImplementedError

    def expand(self, *operands: Any) -> list[Any]:
        """The plain ops that this stands for."""
        dtype = operands[0].dtype
        made = self.plain(*[_wide(x) for x in operands])
        return [y if y.dtype == UINT8 else astype(y, dtype) for y in made]

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        spread = spread_all(size, batched, operands)
        return self.expand(*(expand_dims(x, 1) if x.ndim == 2 else x for x in spread))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        x, y = operands[:2]
        return Matmul().flops(Matmul().infer(x, y), x, y) + x.shape[0] * y.shape[1]

    def _product(self, *operands: TensorType) -> TensorType:
        """The type of the product of the first two operands.

        Raises:
            ShapeError: if they are no matrices.
        """
        x, y = operands[:2]
        check_kind(x.dtype, FLOATS)
        if x.ndim != 2 or y.ndim != 2:
            raise ShapeError(
                f"takes matrices, not {format_shape(x.shape)}, {format_shape(y.shape)}"
            )
        return Matmul().infer(x, y)


@dataclass(frozen=True)
class _OfActivation(AuxiliaryProduct):
    activation: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise ArgumentError(
                f"{self.name}: activation must be one of {', '.join(ACTIVATIONS)}, "
                f"not {self.activation!r:.60}"
            )

    def _saved(self, z: TensorType) -> TensorType:
        """The type of what the gradient needs of a product."""
        if self.activation == "gelu":
            return z
        m, n = z.shape
        if not isinstance(n, int):
            raise ShapeError(f"relu's mask needs a number of columns, not {format_shape(z.shape)}")
        return z.with_shape((m, mask_bytes(n))).with_dtype(UINT8)


@dataclass(frozen=True)
class MatmulAuxiliary(_OfActivation, name="matmul_auxiliary"):
    """(y, a): y = activation(z), z = x @ w + bias, and a what its gradient needs: z, or a mask.

    x: [m, k], w: [k, n], bias: [n], which may be missing -> y: [m, n]; a: of gelu, the tanh form,
    z: [m, n]; of relu a bit for each z > 0, uint8: [m, 16 * ceil(n / 128)], the lowest bit first
    """

    same_dtype: ClassVar[slice] = ALL

    def epilogue(self, operands: int) -> str:
        return f"{self.activation}_aux{'_bias' * (operands > 2)}"

    def infer(self, *operands: TensorType) -> TensorType:
        if len(operands) not in (2, 3):
            raise ArgumentError(f"takes 2 matrices and maybe a bias, not {len(operands)} operands")
        z = self._product(*operands)
        if operands[2:] and operands[2] != z.with_shape(z.shape[1:]):
            raise ShapeError(f"the bias must be {z.with_shape(z.shape[1:])}, not {operands[2]}")
        return TupleType((z, self._saved(z)))

    def eval(self, xp: Any, *operands: Any) -> Any:
        dtype = operands[0].dtype
        x, w, *bias = (_wide_array(v) for v in operands)
        z = Matmul().eval(xp, x, w)
        z = z + bias[0] if bias else z
        if self.activation == "gelu":
            y = gelu_tanh(z, lambda u: Sigmoid().eval(xp, u), xp.minimum)
            return y.astype(dtype), z.astype(dtype)
        return Relu().eval(xp, z).astype(dtype), _packed(xp, z > 0)

    def plain(self, *operands: Any) -> tuple[Any, Any]:
        z = _affine(*operands)
        if self.activation == "gelu":
            return gelu_tanh(z), z
        return relu(z), _bits(z > 0)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        g_y, g_z = g
        z = _affine(*(_wide(x) for x in operands))
        to_z = None
        if g_y is not None:
            slope = gelu_slope(z) if self.activation == "gelu" else where(z > 0, 1, 0)
            to_z = _wide(g_y) * slope
        if g_z is not None and self.activation == "gelu":
            to_z = _wide(g_z) if to_z is None else to_z + _wide(g_z)
        if to_z is None:
            return (None,) * len(operands)
        return _to_operands(to_z, operands)


@dataclass(frozen=True)
class MatmulActivationGradient(_OfActivation, name="matmul_activation_gradient"):
    """(d, b): d = (x @ w) * activation'(z), of a as `matmul_auxiliary` leaves it, and b its sums.

    x: [m, k], w: [k, n], a: [m, n], or a mask -> d: [m, n], b: [n], over the rows
    """

    @property
    def same_dtype(self) -> slice:  # type: ignore[override]
        """The operands of one dtype: a mask has its own."""
        return slice(0, 3 if self.activation == "gelu" else 2)

    def epilogue(self, operands: int) -> str:
        return f"d{self.activation}_bgrad"

    def infer(self, *operands: TensorType) -> TensorType:
        if len(operands) != 3:
            raise ArgumentError(f"takes 2 matrices and a third operand, not {len(operands)}")
        z = self._product(*operands)
        if operands[2] != self._saved(z):
            raise ShapeError(f"the third operand must be {self._saved(z)}, not {operands[2]}")
        return TupleType((z, z.with_shape(z.shape[1:])))

    def eval(self, xp: Any, *operands: Any) -> Any:
        x, w, a = (_wide_array(v) for v in operands)
        product = Matmul().eval(xp, x, w)
        if self.activation == "gelu":
            d = product * gelu_slope(a, lambda u: Sigmoid().eval(xp, u), xp.minimum)
        else:
            d = xp.where(_unpacked(xp, a, product.shape[1]), product, 0)
        dtype = operands[0].dtype
        return d.astype(dtype), d.sum(0, dtype=d.dtype).astype(dtype)

    def plain(self, *operands: Any) -> tuple[Any, Any]:
        x, w, a = operands
        product = matmul(x, w)
        d = self._sloped(product, a)
        return d, sum(d, -2)

    def _sloped(self, product: Any, a: Any) -> Any:
        if self.activation == "gelu":
            return product * gelu_slope(a)
        return where(_of_bits(a, product.shape[-1]), product, 0)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        x, w, a = (_wide(v) for v in operands)
        g_d, g_sums = g
        to_d = broadcast_to(_wide(g_sums), (x.shape[0], w.shape[1])) if g_sums is not None else 0
        to_d = to_d if g_d is None else _wide(g_d) + to_d
        to_product = self._sloped(to_d, a)
        to_a = None
        if self.activation == "gelu":
            to_a = astype(to_d * matmul(x, w) * gelu_curvature(a), operands[2].dtype)
        return (*_to_operands(to_product, operands[:2]), to_a)


@dataclass(frozen=True)
class MatmulBiasGradient(AuxiliaryProduct, name="matmul_bias_gradient"):
    """(z, b): z = x @ y, and b the sums of one of both over the terms of the product.

    x: [m, k], y: [k, n] -> z: [m, n], b: [m], sums of x, or, where `of` is "right", [n], of y
    """

    of: str
    same_dtype: ClassVar[slice] = ALL

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.of not in ("left", "right"):
            raise ArgumentError(f"{self.name}: of must be left or right, not {self.of!r:.60}")

    def epilogue(self, operands: int) -> str:
        return "bgradb" if self.of == "left" else "bgrada"  # a column-major library swaps them

    def infer(self, *operands: TensorType) -> TensorType:
        if len(operands) != 2:
            raise ArgumentError(f"takes 2 matrices, not {len(operands)} operands")
        z = self._product(*operands)
        return TupleType((z, z.with_shape((z.shape[self._axis],))))

    @property
    def _axis(self) -> int:
        return 0 if self.of == "left" else 1

    def eval(self, xp: Any, *operands: Any) -> Any:
        x, y = (_wide_array(v) for v in operands)
        dtype = operands[0].dtype
        summed = (x, y)[self._axis].sum(1 - self._axis, dtype=x.dtype)
        return Matmul().eval(xp, x, y).astype(dtype), summed.astype(dtype)

    def plain(self, *operands: Any) -> tuple[Any, Any]:
        x, y = operands
        return matmul(x, y), sum(x, -1) if self.of == "left" else sum(y, -2)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        g_z, g_sums = g
        made: list[Any] = [None, None]
        if g_z is not None:
            made = list(_to_operands(_wide(g_z), operands))
        if g_sums is not None:
            own = operands[self._axis]
            sums = broadcast_to(expand_dims(g_sums, 1 - self._axis), own.shape)
            made[self._axis] = sums if made[self._axis] is None else made[self._axis] + sums
        return tuple(made)


def _wide(x: Any) -> Any:
    return x if x.dtype == UINT8 else astype(x, compute_dtype(x.dtype))


def _wide_array(x: Any) -> Any:
    return x if x.dtype == UINT8 else x.astype(compute_dtype(x.dtype))


def _affine(x: Any, w: Any, *bias: Any) -> Any:
    z = matmul(x, w)
    return z + bias[0] if bias else z


def _to_operands(g: Any, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The cotangents of a product's operands and bias, of its own."""
    x, w, *bias = operands
    to_x = matmul(g, matrix_transpose(_wide(w)))
    to_w = matmul(matrix_transpose(_wide(x)), g)
    made = (to_x, to_w, *(sum(g, 0) for _ in bias))
    return tuple(astype(y, x.dtype) for y in made)


def _packed(xp: Any, mask: Any) -> Any:
    n = mask.shape[-1]
    wide = xp.zeros((*mask.shape[:-1], mask_bytes(n) * 8), bool)
    wide[..., :n] = mask
    return xp.packbits(wide, axis=-1, bitorder="little")


def _unpacked(xp: Any, bits: Any, n: int) -> Any:
    places = xp.arange(n)
    return bits[..., places // 8] >> (places % 8).astype("uint8") & 1 != 0


def _bits(mask: Any) -> Any:
    """A mask as bits, filled up with zeros.  mask: [*s, n] -> y: uint8 [*s, mask_bytes(n)]"""
    leading: Shape = mask.shape[:-1]
    n = mask.shape[-1]
    ones = pad(astype(mask, "int32"), [(0, 0)] * len(leading) + [(0, mask_bytes(n) * 8 - n)])
    bytes_ = reshape(ones, (*leading, mask_bytes(n), 8))
    return astype(sum(bytes_ * 2 ** arange(8, dtype="int32"), -1, dtype="int32"), "uint8")


def _of_bits(bits: Any, n: int) -> Any:
    """The first n elements of a mask of bits.  bits: uint8 [*s, b] -> y: bool [*s, n]"""
    leading: Shape = bits.shape[:-1]
    powers = 2 ** arange(8, dtype="int32")
    ones = expand_dims(astype(bits, "int32"), -1) // powers % 2
    return reshape(ones, (*leading, bits.shape[-1] * 8))[..., :n] != 0
