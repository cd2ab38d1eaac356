"""Rearranging the elements along an axis: flip and roll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.index import Index
from staticnet.ir.op import Axes
from staticnet.ir.types import TensorType
from staticnet.ir.value import FUNCTIONS, Value
from staticnet.ops.arguments import as_int, as_tuple, check_axes, normalize_axes, normalize_axis
from staticnet.ops.base import ALL, TensorOp, apply, as_value, function
from staticnet.ops.batching import shifted
from staticnet.ops.movement import concat, split
from staticnet.ops.shape import reshape


@dataclass(frozen=True)
class Flip(TensorOp, name="flip"):
    """y[i] = x[n - 1 - i] along each of `axes`.  x: [*s] -> y: [*s]"""

    axes: Axes
    linear = ALL
    moves = True

    def infer(self, *operands: TensorType) -> TensorType:
        check_axes(self.axes, operands[0].ndim)
        return operands[0]

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.flip(x, self.axes)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (apply(self, g),)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(Flip(shifted(self.axes)), *operands)

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        rows = enumerate(zip(index, shape, strict=True))
        return tuple(i * -1 + (n - 1) if axis in self.axes else i for axis, (i, n) in rows)


@function
def flip(x: Any, axis: Any = None) -> Value:
    """y = x in reverse along `axis`; None means all axes.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    axes = normalize_axes(axis, x.ndim)
    return apply(Flip(axes), x) if axes else x


@function
def roll(x: Any, shift: Any, axis: Any = None) -> Value:
    """y[(i + shift) mod n] = x[i] along `axis`; None rolls the flattened array."""
    x = as_value(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), as_int(shift, "shift"), 0), x.shape)
    axes, shifts = as_tuple(axis), as_tuple(shift)
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    if len(shifts) != len(axes):
        raise ShapeError(f"{len(shifts)} shifts for {len(axes)} axes")
    for amount, ax in zip(shifts, axes, strict=True):
        x = _roll_axis(x, as_int(amount, "shift"), normalize_axis(ax, x.ndim))
    return x


def _roll_axis(x: Value, shift: int, axis: int) -> Value:
    length = x.shape[axis]
    if not isinstance(length, int):  # where to cut is known only when it is fed
        places = (FUNCTIONS["arange"](length) - shift) % length
        return x if shift == 0 else cast(Value, FUNCTIONS["take"](x, places, axis))
    shift = shift % length if length else 0
    if shift == 0:
        return x
    return concat(split(x, [length - shift, shift], axis)[::-1], axis)
