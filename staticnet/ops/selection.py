"""Choosing, converting and passing on: where, casts, clip, relu, stop_gradient."""

from __future__ import annotations

from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, ClassVar

from staticnet.ir.dtype import BOOL, FLOAT32, UINT8, DType, as_dtype, is_floating, is_integer
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType
from staticnet.ir.value import FUNCTIONS, Value
from staticnet.ops.arguments import ANY, BOOLS, check_kind
from staticnet.ops.base import (
    ALL,
    Elementwise,
    apply,
    as_value,
    constant,
    function,
    promoted,
    unary,
)
from staticnet.ops.promotion import is_weak


class Where(Elementwise, name="where"):
    """z = x where c, else y.  c: bool [*s], x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} ? {1} : {2}"
    arity = 3
    kinds = ANY
    same_dtype: ClassVar[slice] = slice(1, None)
    linear: ClassVar[slice] = slice(1, None)

    def infer(self, *operands: TensorType) -> TensorType:
        if operands:
            check_kind(operands[0].dtype, BOOLS)
        return super().infer(*operands)

    def eval(self, xp: Any, c: Any, x: Any, y: Any) -> Any:
        return xp.where(c, x, y)

    def vjp(self, z: Any, g: Any, c: Any, x: Any, y: Any) -> tuple[Any, ...]:
        dx = where(c, g, 0) if x.requires_grad else None
        return None, dx, where(c, 0, g) if y.requires_grad else None


@function
def where(condition: Any, x: Any, y: Any) -> Value:
    """z = x where condition, else y.  condition: bool [*s], x: [*s], y: [*s] -> z: [*s]"""
    return apply(Where(), condition, x, y)


@dataclass(frozen=True)
class Cast(Elementwise, name="cast"):
    """y = x converted to `dtype`: to an integer toward zero, to bool by x != 0.  [*s] -> [*s]

    Floats beyond an integer's range give its nearest end, and NaN gives 0; integers wrap.
    """

    dtype: DType
    scalar = "({dtype}){0}"
    kinds = ANY
    linear: ClassVar[slice] = ALL

    def infer(self, *operands: TensorType) -> TensorType:
        return super().infer(*operands).with_dtype(self.dtype)

    def eval(self, xp: Any, x: Any) -> Any:
        if is_floating(x.dtype) and is_integer(self.dtype):
            return _to_integer(xp, x, self.dtype)
        return x.astype(self.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (astype(g, x.dtype) if is_floating(x.dtype) else None,)


def _to_integer(xp: Any, x: Any, dtype: DType) -> Any:
    """What NumPy, like C, leaves open beyond the range of the dtype."""
    least, greatest = (xp.asarray(end, dtype) for end in (xp.iinfo(dtype).min, xp.iinfo(dtype).max))
    low, high = float(least), float(greatest) + 1
    inside = (x > low) & (x < high)
    if inside.all():
        return x.astype(dtype)
    ends = xp.where(x >= high, greatest, xp.where(x <= low, least, xp.zeros((), dtype)))
    return xp.where(inside, xp.where(inside, x, 0).astype(dtype), ends)


@function
def astype(x: Any, dtype: Any) -> Value:
    """y = x converted to `dtype`: to an integer toward zero, to bool by x != 0.  [*s] -> [*s]

    Floats beyond an integer's range give its nearest end, and NaN gives 0; integers wrap.

    Raises:
        DTypeError: if the dtype is not supported, or a number is out of its range.
    """
    dtype = as_dtype(dtype)
    if is_weak(x):
        return constant(x, dtype)
    x = as_value(x)
    return x if x.dtype == dtype else apply(Cast(dtype), x)


def widens(node: Node) -> bool:
    """Whether a node is a float in a larger format: a cast that changes no number."""
    if not isinstance(node.op, Cast):
        return False
    (x,) = node.inputs
    floats = is_floating(node.dtype) and is_floating(x.dtype)
    return floats and node.dtype.itemsize > x.dtype.itemsize


def as_numbers(x: Any) -> Value:
    """A Value that has an order: bools as 0 and 1."""
    x = as_value(x)
    return astype(x, UINT8) if x.dtype == BOOL else x


def as_floats(x: Any) -> Value:
    """A Value of real numbers: integers and bools as float32."""
    x = as_value(x)
    return x if is_floating(x.dtype) else astype(x, FLOAT32)


class StopGradient(Elementwise, name="stop_gradient"):
    """y = x, with derivative 0.  x: [*s] -> y: [*s]"""

    scalar = "{0}"
    kinds = ANY
    differentiable = False

    def eval(self, xp: Any, x: Any) -> Any:
        return x


stop_gradient = unary(StopGradient)


class Relu(Elementwise, name="relu"):
    """y = max(x, 0), with derivative 0 at 0; NaN stays NaN, -0.0 gives 0.0.  x: [*s] -> y: [*s]"""

    scalar = "relu({0})"

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.maximum(x, 0)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (where(y > 0, g, 0),)


relu = unary(Relu)


@function
def clip(x: Any, min: Any = None, max: Any = None) -> Value:
    """y = x limited to [min, max]; None is no limit; the derivative at a limit is 1.

    x: [*s], min and max: broadcastable to [*s] -> y: [*s]. NaN wins, in x and in the limits; where
    min > max, y = max.
    """
    if is_weak(x):  # in the dtype of its limits
        x = promoted("clip", x, *(limit for limit in (min, max) if limit is not None))[0]
    x = as_value(x)
    if min is not None:
        x = _bounded(x, min, lt, ge, FUNCTIONS["maximum"])
    if max is not None:
        x = _bounded(x, max, gt, le, FUNCTIONS["minimum"])
    return x


def _bounded(x: Value, limit: Any, beyond: Any, within: Any, extremum: Any) -> Value:
    """x where it is `within` a limit, else the limit, or NaN if one of the two is."""
    if type(limit) in (int, float) and not x.requires_grad and limit - limit == 0:
        return where(beyond(x, limit), limit, x)  # x's NaN would have derivative 1 here
    return where(within(x, limit), x, extremum(x, limit))  # which shares a tie
