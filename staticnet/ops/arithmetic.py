"""Arithmetic, extrema and powers, by the array API standard's names."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.ir.dim import Dim
from staticnet.ir.dtype import is_floating
from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS, NUMBERS, check_kind
from staticnet.ops.base import ALL, Elementwise, apply, as_value, as_values, binary, function, unary
from staticnet.ops.comparison import LogicalAnd, LogicalOr, isfinite
from staticnet.ops.promotion import as_array
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to
from staticnet.ops.transcendental import log, sigmoid


class Negative(Elementwise, name="negative"):
    """y = -x.  x: [*s] -> y: [*s]"""

    scalar = "-{0}"
    linear = ALL

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (-g,)


negative = unary(Negative)


class Abs(Elementwise, name="abs"):
    """y = |x|.  x: [*s] -> y: [*s]"""

    scalar = "fabs({0})"

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * sign(x),)


abs = unary(Abs)


class Sign(Elementwise, name="sign"):
    """y = -1, 0 or 1 with the sign of x; NaN stays NaN.  x: [*s] -> y: [*s]"""

    scalar = "sign({0})"
    differentiable = False


sign = unary(Sign)


class Add(Elementwise, name="add"):
    """z = x + y; of bools, x or y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} + {1}"
    arity = 2
    of_bools = LogicalOr
    derivative_rule = "sum rule"
    linear = ALL

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g, g


add = binary(Add)


class Subtract(Elementwise, name="subtract"):
    """z = x - y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} - {1}"
    arity = 2
    derivative_rule = "sum rule"
    linear = ALL

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g, -g


subtract = binary(Subtract)


class Multiply(Elementwise, name="multiply"):
    """z = x * y; of bools, x and y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} * {1}"
    arity = 2
    derivative_rule = "product rule"
    of_bools = LogicalAnd

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g * y if x.requires_grad else None, g * x if y.requires_grad else None


multiply = binary(Multiply)


class Fma(Elementwise, name="fma"):
    """r = x * y + z, rounded once: IEEE 754's fusedMultiplyAdd.  x, y, z: [*s] -> r: [*s]

    The reference may round up where it is a tie, as it rounds twice: from the next wider float.
    """

    scalar = "fma({0}, {1}, {2})"
    arity = 3
    kinds = FLOATS

    def eval(self, xp: Any, x: Any, y: Any, z: Any) -> Any:
        if x.dtype == xp.float64:
            return _with_errors(xp, x, y, z)
        wider = xp.float64 if x.dtype == xp.float32 else xp.float32
        return (x.astype(wider) * y.astype(wider) + z.astype(wider)).astype(x.dtype)

    def vjp(self, r: Any, g: Any, x: Any, y: Any, z: Any) -> tuple[Any, ...]:
        by_x = g * y if x.requires_grad else None
        return by_x, g * x if y.requires_grad else None, g

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return 2 * result.size


_FMA = Fma()


@function
def fma(x: Any, y: Any, z: Any) -> Value:
    """r = x * y + z, rounded once: IEEE 754's fusedMultiplyAdd.  x, y, z: [*s] -> r: [*s]"""
    return apply(_FMA, x, y, z)


def _with_errors(xp: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z with the rounding errors of both added at the end: Dekker 1971, Knuth 4.2.2."""

    def halves(a: Any) -> tuple[Any, Any]:
        scaled = (2.0**27 + 1) * a
        high = scaled - (scaled - a)
        return high, a - high

    with np.errstate(invalid="ignore", over="ignore"):
        product = x * y
        (a, b), (c, d) = halves(x), halves(y)
        of_product = b * d - (((product - a * c) - b * c) - a * d)
        total = product + z
        of_sum = (product - (total - (total - product))) + (z - (total - product))
        error = of_product + of_sum
    return xp.where(xp.isfinite(error) & (error != 0), total + error, total)  # -0.0 stays


class Divide(Elementwise, name="divide"):
    """z = x / y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "{0} / {1}"
    arity = 2
    derivative_rule = "quotient rule"
    kinds = FLOATS

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g / y, -(g * z / y) if y.requires_grad else None


divide = binary(Divide)


class FloorDivide(Elementwise, name="floor_divide"):
    """z = floor(x / y).  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "floor_divide({0}, {1})"
    arity = 2
    differentiable = False


floor_divide = binary(FloorDivide)


class Remainder(Elementwise, name="remainder"):
    """z = x - y * floor(x / y): the sign of y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "remainder({0}, {1})"
    arity = 2

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g, -(g * floor_divide(x, y))


remainder = binary(Remainder)


class Pow(Elementwise, name="pow"):
    """z = x**y; of integers the power truncated, and 0 where x is 0 and y negative.

    x: [*s], y: [*s] -> z: [*s]. Special values are those of C99, as the array API standard has it.
    """

    scalar = "pow({0}, {1})"
    arity = 2
    derivative_rule = "power rule"
    numpy = "power"

    def eval(self, xp: Any, x: Any, y: Any) -> Any:
        if not is_floating(x.dtype):
            return _integer_power(xp, x, y)
        z, root = xp.power(x, y), y == 0.5
        if root.any():  # NumPy takes the square root where it sees one exponent: NaN at -infinity
            z = xp.where(root, xp.where(xp.isinf(x), xp.abs(x), z) + 0, z)
        return z

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        """dx = y x**(y - 1), dy = z ln x; where x is 0, neither is made of 0 * infinity."""
        kept = 1 if _is_fixed(y) else where(isfinite(1 / (x * x)), y, 1)
        dx = g * (y * pow(x, where(y == 0, kept, y) - 1))
        return dx, g * (z * log(where((x == 0) & (y >= 0), 1, x))) if y.requires_grad else None


pow = binary(Pow)


def _is_fixed(y: Any) -> bool:
    """Whether y is a number or an array that is known, such as a ramp."""
    op = getattr(y, "op", None)
    return not y.requires_grad or getattr(op, "name", "") in ("constant", "iota")


def _integer_power(xp: Any, x: Any, y: Any) -> Any:
    """NumPy refuses negative exponents; a graph, which sees no values, gives what C does."""
    z = xp.power(x, xp.maximum(y, 0))
    sign = xp.where(y % 2 == 0, 1, x).astype(x.dtype)  # of x = 1 or -1 the inverse's
    return xp.where(y < 0, xp.where((x == 1) | (x + 1 == 0), sign, 0).astype(x.dtype), z)


class Atan2(Elementwise, name="atan2"):
    """z = arctan(x / y) in the quadrant of the point (y, x), in radians.

    x: [*s], y: [*s] -> z: [*s]
    """

    scalar = "atan2({0}, {1})"
    arity = 2
    numpy = "arctan2"
    kinds = FLOATS

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        r = hypot(x, y)  # its square may overflow or vanish
        return g * (y / r / r), -(g * (x / r / r))


atan2 = binary(Atan2)


class Hypot(Elementwise, name="hypot"):
    """z = sqrt(x*x + y*y) without overflow.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "hypot({0}, {1})"
    arity = 2
    kinds = FLOATS

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g * (x / z), g * (y / z)


hypot = binary(Hypot)


class Copysign(Elementwise, name="copysign"):
    """z = |x| with the sign bit of y.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "copysign({0}, {1})"
    arity = 2
    kinds = FLOATS

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g * sign(x) * copysign(1.0, y), None


copysign = binary(Copysign)


class Nextafter(Elementwise, name="nextafter"):
    """z = the value of the dtype that follows x in the direction of y, or y if it is x.

    x: [*s], y: [*s] -> z: [*s]. z moves with x, so the derivative is 1 by x and 0 by y.
    """

    scalar = "nextafter({0}, {1})"
    arity = 2
    kinds = FLOATS
    widens = False

    def eval(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.where(x == y, y, xp.nextafter(x, y))

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g, None


nextafter = binary(Nextafter)


class Logaddexp(Elementwise, name="logaddexp"):
    """z = ln(e**x + e**y) without overflow.  x: [*s], y: [*s] -> z: [*s]"""

    scalar = "logaddexp({0}, {1})"
    arity = 2
    kinds = FLOATS

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g * sigmoid(x - y), g * sigmoid(y - x)


logaddexp = binary(Logaddexp)


class Maximum(Elementwise, name="maximum"):
    """z = the greater of x and y; NaN wins; at a tie each gets half of the gradient.

    x: [*s], y: [*s] -> z: [*s]
    """

    scalar = "maximum({0}, {1})"
    arity = 2
    of_bools = LogicalOr

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g * _share(x, y), g * _share(y, x)


maximum = binary(Maximum)


class Minimum(Elementwise, name="minimum"):
    """z = the lesser of x and y; NaN wins; at a tie each gets half of the gradient.

    x: [*s], y: [*s] -> z: [*s]
    """

    scalar = "minimum({0}, {1})"
    arity = 2
    of_bools = LogicalAnd

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return g * _share(y, x), g * _share(x, y)


minimum = binary(Minimum)


def _share(x: Any, y: Any) -> Any:
    """1 where x > y, 1/2 where they tie, 0 elsewhere, in x's dtype."""
    return (astype(x >= y, x.dtype) + astype(x > y, x.dtype)) * 0.5


@function
def square(x: Any) -> Value:
    """y = x * x.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return x * x


@function
def reciprocal(x: Any) -> Value:
    """y = 1 / x.  x: [*s] -> y: [*s]"""
    return divide(1, as_value(x))


@function
def conj(x: Any) -> Value:
    """y = x: numbers here are real.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    check_kind(x.dtype, NUMBERS)
    return x


@function
def real(x: Any) -> Value:
    """y = x: numbers here are real.  x: [*s] -> y: [*s]"""
    return conj(x)


@function
def imag(x: Any) -> Value:
    """y = 0: numbers here are real.  x: [*s] -> y: [*s]"""
    x = conj(x)
    return broadcast_to(as_values(x, as_array(0, x.dtype))[1], x.shape)


@function
def positive(x: Any) -> Value:
    """y = x.  x: [*s] -> y: [*s]"""
    return as_value(x)
