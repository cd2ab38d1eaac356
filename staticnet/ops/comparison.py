"""Comparisons, classification of floats, and logic on bools and on bits: no derivatives."""

from __future__ import annotations

from typing import Any

from staticnet.ir.dtype import is_floating
from staticnet.ir.value import Value
from staticnet.ops.arguments import ANY, BOOLS, FLOATS, INTEGERS, INTEGERS_AND_BOOLS
from staticnet.ops.base import Elementwise, apply, as_value, binary, function, unary


class Equal(Elementwise, name="equal"):
    """z = x == y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} == {1}"
    arity = 2
    kinds = ANY
    gives_bool = True
    differentiable = False


equal = binary(Equal)


class NotEqual(Elementwise, name="not_equal"):
    """z = x != y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} != {1}"
    arity = 2
    kinds = ANY
    gives_bool = True
    differentiable = False


not_equal = binary(NotEqual)


class Less(Elementwise, name="less"):
    """z = x < y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} < {1}"
    arity = 2
    kinds = ANY
    gives_bool = True
    differentiable = False


less = binary(Less)


class LessEqual(Elementwise, name="less_equal"):
    """z = x <= y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} <= {1}"
    arity = 2
    kinds = ANY
    gives_bool = True
    differentiable = False


less_equal = binary(LessEqual)


class Greater(Elementwise, name="greater"):
    """z = x > y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} > {1}"
    arity = 2
    kinds = ANY
    gives_bool = True
    differentiable = False


greater = binary(Greater)


class GreaterEqual(Elementwise, name="greater_equal"):
    """z = x >= y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} >= {1}"
    arity = 2
    kinds = ANY
    gives_bool = True
    differentiable = False


greater_equal = binary(GreaterEqual)


class Isnan(Elementwise, name="isnan"):
    """y = whether x is NaN.  x: [*s] -> y: [*s]"""

    scalar = "isnan({0})"
    kinds = FLOATS
    gives_bool = True
    differentiable = False


@function
def isnan(x: Any) -> Value:
    """y = whether x is NaN; no integer is.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return apply(Isnan(), x) if is_floating(x.dtype) else x != x


class Isinf(Elementwise, name="isinf"):
    """y = whether x is +-infinity.  x: [*s] -> y: [*s]"""

    scalar = "isinf({0})"
    kinds = FLOATS
    gives_bool = True
    differentiable = False


@function
def isinf(x: Any) -> Value:
    """y = whether x is +-infinity; no integer is.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return apply(Isinf(), x) if is_floating(x.dtype) else x != x


class Isfinite(Elementwise, name="isfinite"):
    """y = whether x is neither NaN nor infinite.  x: [*s] -> y: [*s]"""

    scalar = "isfinite({0})"
    kinds = FLOATS
    gives_bool = True
    differentiable = False


@function
def isfinite(x: Any) -> Value:
    """y = whether x is neither NaN nor infinite; every integer is so.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return apply(Isfinite(), x) if is_floating(x.dtype) else x == x


class Signbit(Elementwise, name="signbit"):
    """y = whether x's sign bit is set (so for -0.0).  x: [*s] -> y: [*s]"""

    scalar = "signbit({0})"
    kinds = FLOATS
    gives_bool = True
    differentiable = False


signbit = unary(Signbit)


class LogicalNot(Elementwise, name="logical_not"):
    """y = not x.  x: [*s] -> y: [*s]"""

    scalar = "!{0}"
    kinds = BOOLS
    gives_bool = True
    differentiable = False


logical_not = unary(LogicalNot)


class LogicalAnd(Elementwise, name="logical_and"):
    """z = x and y, of bools.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} && {1}"
    arity = 2
    kinds = BOOLS
    gives_bool = True
    differentiable = False


logical_and = binary(LogicalAnd)


class LogicalOr(Elementwise, name="logical_or"):
    """z = x or y, of bools.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} || {1}"
    arity = 2
    kinds = BOOLS
    gives_bool = True
    differentiable = False


logical_or = binary(LogicalOr)


class LogicalXor(Elementwise, name="logical_xor"):
    """z = x xor y, of bools.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} != {1}"
    arity = 2
    kinds = BOOLS
    gives_bool = True
    differentiable = False


logical_xor = binary(LogicalXor)


class BitwiseInvert(Elementwise, name="bitwise_invert"):
    """y = ~x; on bools, not x.  x: [*s] -> y: [*s]"""

    scalar = "~{0}"
    numpy = "invert"
    kinds = INTEGERS_AND_BOOLS
    differentiable = False


bitwise_invert = unary(BitwiseInvert)


class BitwiseAnd(Elementwise, name="bitwise_and"):
    """z = x & y, bit by bit.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} & {1}"
    arity = 2
    kinds = INTEGERS_AND_BOOLS
    differentiable = False


bitwise_and = binary(BitwiseAnd)


class BitwiseOr(Elementwise, name="bitwise_or"):
    """z = x | y, bit by bit.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} | {1}"
    arity = 2
    kinds = INTEGERS_AND_BOOLS
    differentiable = False


bitwise_or = binary(BitwiseOr)


class BitwiseXor(Elementwise, name="bitwise_xor"):
    """z = x ^ y, bit by bit.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} ^ {1}"
    arity = 2
    kinds = INTEGERS_AND_BOOLS
    differentiable = False


bitwise_xor = binary(BitwiseXor)


class BitwiseLeftShift(Elementwise, name="bitwise_left_shift"):
    """z = x << y; 0 where y is not below x's width.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "shift_left({0}, {1})"
    arity = 2
    numpy = "left_shift"
    kinds = INTEGERS
    differentiable = False


bitwise_left_shift = binary(BitwiseLeftShift)


class BitwiseRightShift(Elementwise, name="bitwise_right_shift"):
    """z = x >> y, keeping the sign.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "shift_right({0}, {1})"
    arity = 2
    numpy = "right_shift"
    kinds = INTEGERS
    differentiable = False


bitwise_right_shift = binary(BitwiseRightShift)
