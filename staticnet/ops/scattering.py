"""Scatters along an axis that set, multiply, or take the extremum: `scatter_add_along_axis`'s kin.

Elements go in the order of the axis, so that of equal indices the last one sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import HALVES
from staticnet.ir.types import TensorType
from staticnet.ops.arguments import NUMBERS, check_kind
from staticnet.ops.base import TensorOp, apply
from staticnet.ops.batching import spread_all
from staticnet.ops.creation import full_like, iota, zeros_like
from staticnet.ops.indexing import check_along, check_wide, scatter_add_along_axis, take_along_axis
from staticnet.ops.selection import astype, where


@dataclass(frozen=True)
class Scatter(TensorOp):
    """y = x, then y[a, indices[a, j, b], b] ∘= updates[a, j, b] for each j in order.

    `combine` says what ∘ is: set, prod, max or min.
    x: [*a, n, *b], updates and indices: [*a, m, *b] -> y: [*a, n, *b]
    """

    axis: int
    same_dtype: ClassVar[slice] = slice(0, 2)
    arity = 3
    may_fail = True
    begins_as = 0
    combine: ClassVar[str] = ""
    numpy: ClassVar[str] = ""

    def infer(self, *operands: TensorType) -> TensorType:
        x, updates, indices = operands
        if self.combine != "set":
            check_kind(x.dtype, NUMBERS)
            if x.dtype in HALVES:
                check_wide(x.dtype)
        wanted = check_along(self, self.axis, x, indices)
        if updates != wanted:
            raise ShapeError(f"updates must be {wanted}, not {updates}")
        return x

    def eval(self, xp: Any, x: Any, updates: Any, indices: Any) -> Any:
        y = x.copy()
        key = list(xp.indices(indices.shape, sparse=True))
        key[self.axis] = indices
        if self.numpy:
            getattr(xp, self.numpy).at(y, tuple(key), updates)
        else:
            y[tuple(key)] = updates
        return y

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(type(self)(self.axis + 1), *spread_all(size, batched, operands))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return 0 if self.combine == "set" else operands[1].size


class ScatterSet(Scatter, name="scatter_along_axis"):
    """y = x, then y[a, indices[a, j, b], b] = updates[a, j, b]: of equal indices the last one's.

    x: [*a, n, *b], updates and indices: [*a, m, *b] -> y: [*a, n, *b]
    """

    combine = "set"
    linear: ClassVar[slice] = slice(0, 2)

    def vjp(self, y: Any, g: Any, x: Any, updates: Any, indices: Any) -> tuple[Any, ...]:
        """An element that another one has replaced has no derivative."""
        dx = apply(self, g, zeros_like(updates), indices) if x.requires_grad else None
        if not updates.requires_grad:
            return dx, None, None
        place = iota(indices.shape, self.axis)
        last = apply(self, full_like(x, -1, place.dtype), place, indices)
        stays = take_along_axis(last, indices, self.axis) == place
        return dx, where(stays, take_along_axis(g, indices, self.axis), 0), None


class _Extremum(Scatter):
    """What the greatest and the least share: equal elements share the derivative."""

    def vjp(self, y: Any, g: Any, x: Any, updates: Any, indices: Any) -> tuple[Any, ...]:
        own = x == y
        hit = updates == take_along_axis(y, indices, self.axis)
        ones, others = astype(own, y.dtype), astype(hit, y.dtype)
        share = g / scatter_add_along_axis(ones, indices, others, self.axis)
        return where(own, share, 0), where(hit, take_along_axis(share, indices, self.axis), 0), None


class ScatterMax(_Extremum, name="scatter_max_along_axis"):
    """y = x, then y[a, indices[a, j, b], b] = the greater of it and updates[a, j, b]; NaN wins.

    x: [*a, n, *b], updates and indices: [*a, m, *b] -> y: [*a, n, *b]; no 16-bit floats
    """

    combine = "max"
    numpy = "maximum"


class ScatterMin(_Extremum, name="scatter_min_along_axis"):
    """y = x, then y[a, indices[a, j, b], b] = the lesser of it and updates[a, j, b]; NaN wins.

    x: [*a, n, *b], updates and indices: [*a, m, *b] -> y: [*a, n, *b]; no 16-bit floats
    """

    combine = "min"
    numpy = "minimum"


class ScatterProd(Scatter, name="scatter_prod_along_axis"):
    """y = x, then y[a, indices[a, j, b], b] *= updates[a, j, b], repeats accumulating.

    x: [*a, n, *b], updates and indices: [*a, m, *b] -> y: [*a, n, *b]; no 16-bit floats
    """

    combine = "prod"
    numpy = "multiply"

    def vjp(self, y: Any, g: Any, x: Any, updates: Any, indices: Any) -> tuple[Any, ...]:
        """The product of the others: y over the factor, or that of all but the only zero."""

        def of_index(z: Any) -> Any:
            return take_along_axis(z, indices, self.axis)

        zero, zeros = x == 0, updates == 0
        rest = apply(self, where(zero, 1, x), where(zeros, 1, updates), indices)
        counts = (astype(zero, y.dtype), indices, astype(zeros, y.dtype))
        alone = g * where(scatter_add_along_axis(*counts, self.axis) == 1, rest, 0)
        dx = where(zero, alone, g * y / where(zero, 1, x))
        du = where(zeros, of_index(alone), of_index(g * y) / where(zeros, 1, updates))
        return dx, du, None
