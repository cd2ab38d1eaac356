"""Roots, exponentials, logarithms, circular and hyperbolic functions, erf and sigmoid."""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.value import FUNCTIONS
from staticnet.ops.arguments import FLOATS
from staticnet.ops.base import Elementwise, unary


def special(xp: Any) -> Any:
    """The special functions of an array module."""
    if xp.__name__ == "numpy":
        import scipy.special as result
    else:
        import cupyx.scipy.special as result
    return result


class Sqrt(Elementwise, name="sqrt"):
    """y = sqrt(x).  x: [*s] -> y: [*s]"""

    scalar = "sqrt({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * 0.5 / y,)


sqrt = unary(Sqrt)


class Rsqrt(Elementwise, name="rsqrt"):
    """y = 1 / sqrt(x).  x: [*s] -> y: [*s]"""

    scalar = "1 / sqrt({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        return 1 / xp.sqrt(x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * -0.5 * y / x,)


rsqrt = unary(Rsqrt)


class Exp(Elementwise, name="exp"):
    """y = e**x.  x: [*s] -> y: [*s]"""

    scalar = "exp({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * y,)


exp = unary(Exp)


class Expm1(Elementwise, name="expm1"):
    """y = e**x - 1, accurate near 0.  x: [*s] -> y: [*s]"""

    scalar = "expm1({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * (y + 1),)


expm1 = unary(Expm1)


class Log(Elementwise, name="log"):
    """y = ln x.  x: [*s] -> y: [*s]"""

    scalar = "log({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g / x,)


log = unary(Log)


class Log1p(Elementwise, name="log1p"):
    """y = ln(1 + x), accurate near 0.  x: [*s] -> y: [*s]"""

    scalar = "log1p({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g / (x + 1),)


log1p = unary(Log1p)


class Log2(Elementwise, name="log2"):
    """y = log2 x.  x: [*s] -> y: [*s]"""

    scalar = "log2({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g / (x * math.log(2)),)


log2 = unary(Log2)


class Log10(Elementwise, name="log10"):
    """y = log10 x.  x: [*s] -> y: [*s]"""

    scalar = "log10({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g / (x * math.log(10)),)


log10 = unary(Log10)


class Sin(Elementwise, name="sin"):
    """y = sin x, x in radians.  x: [*s] -> y: [*s]"""

    scalar = "sin({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * cos(x),)


sin = unary(Sin)


class Cos(Elementwise, name="cos"):
    """y = cos x, x in radians.  x: [*s] -> y: [*s]"""

    scalar = "cos({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (-(g * sin(x)),)


cos = unary(Cos)


class Tan(Elementwise, name="tan"):
    """y = tan x, x in radians.  x: [*s] -> y: [*s]"""

    scalar = "tan({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * (1 + y * y),)


tan = unary(Tan)


class Asin(Elementwise, name="asin"):
    """y = arcsin x, in radians.  x: [*s] -> y: [*s]"""

    scalar = "asin({0})"
    numpy = "arcsin"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * rsqrt(1 - x * x),)


asin = unary(Asin)


class Acos(Elementwise, name="acos"):
    """y = arccos x, in radians.  x: [*s] -> y: [*s]"""

    scalar = "acos({0})"
    numpy = "arccos"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (-(g * rsqrt(1 - x * x)),)


acos = unary(Acos)


class Atan(Elementwise, name="atan"):
    """y = arctan x, in radians.  x: [*s] -> y: [*s]"""

    scalar = "atan({0})"
    numpy = "arctan"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        r = FUNCTIONS["hypot"](1.0, x)  # x * x may overflow
        return (g / r / r,)


atan = unary(Atan)


class Sinh(Elementwise, name="sinh"):
    """y = (e**x - e**-x) / 2.  x: [*s] -> y: [*s]"""

    scalar = "sinh({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * cosh(x),)


sinh = unary(Sinh)


class Cosh(Elementwise, name="cosh"):
    """y = (e**x + e**-x) / 2.  x: [*s] -> y: [*s]"""

    scalar = "cosh({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * sinh(x),)


cosh = unary(Cosh)


class Tanh(Elementwise, name="tanh"):
    """y = tanh x.  x: [*s] -> y: [*s]"""

    scalar = "tanh({0})"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * (1 - y * y),)


tanh = unary(Tanh)


class Asinh(Elementwise, name="asinh"):
    """y = arsinh x.  x: [*s] -> y: [*s]"""

    scalar = "asinh({0})"
    numpy = "arcsinh"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g / FUNCTIONS["hypot"](1.0, x),)


asinh = unary(Asinh)


class Acosh(Elementwise, name="acosh"):
    """y = arcosh x, x >= 1.  x: [*s] -> y: [*s]"""

    scalar = "acosh({0})"
    numpy = "arccosh"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * rsqrt(x - 1) * rsqrt(x + 1),)


acosh = unary(Acosh)


class Atanh(Elementwise, name="atanh"):
    """y = artanh x, |x| < 1.  x: [*s] -> y: [*s]"""

    scalar = "atanh({0})"
    numpy = "arctanh"
    kinds = FLOATS

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g / (1 - x * x),)


atanh = unary(Atanh)


class Erf(Elementwise, name="erf"):
    """y = 2 / sqrt(pi) * the integral of e**(-t*t) from 0 to x.  x: [*s] -> y: [*s]"""

    scalar = "erf({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        return special(xp).erf(x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * (2 / math.sqrt(math.pi)) * exp(-(x * x)),)


erf = unary(Erf)


class Sigmoid(Elementwise, name="sigmoid"):
    """y = 1 / (1 + e**-x).  x: [*s] -> y: [*s]"""

    scalar = "sigmoid({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        z = xp.exp(-xp.abs(x))  # SciPy's loses results below the least normal number
        return xp.where(x < 0, z, 1) / (1 + z)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * y * (1 - y),)


sigmoid = unary(Sigmoid)
