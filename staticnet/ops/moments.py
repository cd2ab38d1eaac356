"""What batch normalisation is made of: statistics of channels, in one pass, and what uses them.

A channel is an index along `axis`; its elements are those of all other axes. `moments` and
`centered_sums` read an array once, in an order that does not depend on threads, so a normalisation
and its gradient read the input twice each. 16-bit floats are refused: they are widened before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import DTypeError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import HALVES
from staticnet.ir.types import TensorType, TupleType, format_shape
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.arguments import FLOATS, check_axes, check_kind
from staticnet.ops.base import ALL, Elementwise, TensorOp, apply, items
from staticnet.ops.batching import aligned, spread_all
from staticnet.ops.creation import dim_value
from staticnet.ops.shape import reshape
from staticnet.ops.shape import sum as total


@dataclass(frozen=True)
class ChannelOp(TensorOp):
    """What reduces all axes but one to two numbers a channel."""

    axis: int
    same_dtype: ClassVar[slice] = ALL

    def infer(self, *operands: TensorType) -> TensorType:
        x = operands[0]
        check_kind(x.dtype, FLOATS)
        if x.dtype in HALVES or any(other.dtype != x.dtype for other in operands):
            raise DTypeError("takes operands of one dtype, float32 or float64")
        check_axes((self.axis,), x.ndim)
        y = x.with_shape((x.shape[self.axis],))
        return TupleType((y, y))

    def others(self, x: Any) -> tuple[int, ...]:
        """The axes that are reduced."""
        return tuple(i for i in range(x.ndim) if i != self.axis)

    def count(self, x: Any) -> int | Dim:
        """How many elements a channel has."""
        return size_of(x.shape[i] for i in self.others(x))

    def across(self, v: Any, x: Any) -> Any:
        """A number for each channel, to broadcast against x.  v: [c] -> [1, c, 1, …]"""
        return reshape(v, tuple(x.shape[i] if i == self.axis else 1 for i in range(x.ndim)))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[0].size * 4


@dataclass(frozen=True)
class Moments(ChannelOp, name="moments"):
    """(mean, var): of each channel the mean and the biased variance.  x: [*s] -> [c], [c]

    Blocks' moments are combined as in Chan et al., "Updating formulae and a pairwise algorithm for
    computing sample variances", 1979.
    """

    def eval(self, xp: Any, x: Any) -> Any:
        axes = self.others(x)
        if self.count(x) == 0:
            return (xp.full(x.shape[self.axis], xp.nan, x.dtype),) * 2
        return xp.mean(x, axis=axes, dtype=x.dtype), xp.var(x, axis=axes, dtype=x.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        gradient = None
        n = dim_value(self.count(x), x)
        by_mean, by_var = g
        if by_mean is not None:
            gradient = FUNCTIONS["broadcast_to"](self.across(by_mean / n, x), x.shape)
        if by_var is not None:
            centred = x - self.across(items(y)[0], x)
            own = centred * self.across(by_var * (2 / n), x)
            gradient = own if gradient is None else gradient + own
        return (gradient,)

    def expand(self, x: Any) -> list[Any]:
        """The plain ops that this stands for."""
        axes, n = self.others(x), dim_value(self.count(x), x)
        mean = total(x, axes) / n
        centred = x - self.across(mean, x)
        return [mean, total(centred * centred, axes) / n]

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        (x,) = operands
        axes = tuple(axis + 1 for axis in range(x.ndim - 1) if axis != self.axis)
        mean, var = FUNCTIONS["mean"](x, axes), FUNCTIONS["var"](x, axes)
        return [mean, var]


@dataclass(frozen=True)
class CenteredSums(ChannelOp, name="centered_sums"):
    """(s, t): of each channel the sum of g, and of g * (x - mean).

    g: [*s], x: [*s], mean: [c] -> [c], [c]
    """

    arity = 3

    def infer(self, *operands: TensorType) -> TensorType:
        g, x, mean = operands
        result = super().infer(*operands)
        if g.shape != x.shape or mean.shape != (x.shape[self.axis],):
            raise ShapeError(
                f"{format_shape(g.shape)}, {format_shape(x.shape)} and {format_shape(mean.shape)} "
                "are not two arrays of one shape and a number a channel"
            )
        return result

    def eval(self, xp: Any, g: Any, x: Any, mean: Any) -> Any:
        axes = self.others(x)
        column = [-1 if i == self.axis else 1 for i in range(x.ndim)]
        centred = x - mean.reshape(column)
        return xp.sum(g, axis=axes, dtype=g.dtype), xp.sum(g * centred, axis=axes, dtype=g.dtype)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        weights, x, mean = operands
        by_sum, by_product = g
        by_weights = by_x = by_mean = None
        if by_sum is not None:
            by_weights = FUNCTIONS["broadcast_to"](self.across(by_sum, x), x.shape)
        if by_product is not None:
            factor = self.across(by_product, x)
            own = factor * (x - self.across(mean, x))
            by_weights = own if by_weights is None else by_weights + own
            by_x = factor * weights
            by_mean = -by_product * items(y)[0]
        return by_weights, by_x, by_mean

    def expand(self, g: Any, x: Any, mean: Any) -> list[Any]:
        """The plain ops that this stands for."""
        axes = self.others(x)
        return [total(g, axes), total(g * (x - self.across(mean, x)), axes)]

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        g, x, mean = spread_all(size, batched, operands)
        axes = tuple(axis + 1 for axis in range(x.ndim - 1) if axis != self.axis)
        shape = tuple(x.shape[i] if i in (0, self.axis + 1) else 1 for i in range(x.ndim))
        return [total(g, axes), total(g * (x - reshape(mean, shape)), axes)]


@dataclass(frozen=True)
class Normalize(Elementwise, name="normalize_channels"):
    """y = (x - mean) * scale + shift, of each channel by its own numbers.

    x: [*s]; mean, scale, shift: [1, c, 1, …] with c along `axis` -> y: [*s]
    """

    axis: int
    arity = 4
    kinds = FLOATS
    positional = True
    scalar = "({0} - {1}) * {2} + {3}"

    def infer(self, *operands: TensorType) -> TensorType:
        y = super().infer(*operands)
        check_axes((self.axis,), y.ndim)
        return y

    def eval(self, xp: Any, *operands: Any) -> Any:
        x, mean, scale, shift = operands
        return (x - mean) * scale + shift

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        x, mean, scale, shift = operands
        own = tuple(d if i == self.axis else 1 for i, d in enumerate(y.shape))
        if x.shape != y.shape or any(v.shape != own for v in (mean, scale, shift)):
            return g * scale, -g * scale, g * (x - mean), g
        sums = items(apply(CenteredSums(self.axis), g, x, reshape(mean, (-1,))))
        by_shift, by_scale = (reshape(s, mean.shape) for s in sums)
        return g * scale, -scale * by_shift, by_scale, by_shift

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        x, mean, scale, _ = operands
        factors = (scale, -scale, x - mean, None)
        moved = None
        for tangent, factor in zip(tangents, factors, strict=True):
            if tangent is not None:
                part = tangent if factor is None else tangent * factor
                moved = part if moved is None else moved + part
        return FUNCTIONS["broadcast_to"](moved, y.shape)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        pairs = zip(batched, operands, strict=True)
        ndim = max(x.ndim - own for own, x in zip(batched, operands, strict=True))
        x, mean, scale, shift = (aligned(v, ndim) if own else v for own, v in pairs)
        return (x - mean) * scale + shift

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size * 3
