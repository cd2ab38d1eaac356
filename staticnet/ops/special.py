"""Special functions: erf's complement and inverse, the logarithm of gamma and its derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS, as_int
from staticnet.ops.base import Elementwise, apply, function, unary
from staticnet.ops.selection import as_floats
from staticnet.ops.transcendental import exp, special

MAX_ORDER = 100


class Erfc(Elementwise, name="erfc"):
    """y = 1 - erf(x), accurate where that is small.  x: [*s] -> y: [*s]"""

    scalar = "erfc({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        return special(xp).erfc(x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * (-2 / math.sqrt(math.pi)) * exp(-(x * x)),)


erfc = unary(Erfc)


class Erfinv(Elementwise, name="erfinv"):
    """y with erf(y) = x, for -1 <= x <= 1.  x: [*s] -> y: [*s]"""

    scalar = "erfinv({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.copysign(special(xp).erfinv(x), x)  # SciPy's loses the sign of -0.0

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * (math.sqrt(math.pi) / 2) * exp(y * y),)


erfinv = unary(Erfinv)


class Lgamma(Elementwise, name="lgamma"):
    """y = ln |Gamma(x)|.  x: [*s] -> y: [*s]"""

    scalar = "lgamma({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        """By loggamma: SciPy's gammaln has no relative accuracy at 1 and 2, where y is 0."""
        y = special(xp).loggamma(x.astype(xp.complex128)).real + 0.0  # -0.0 at 1
        y = xp.where(xp.abs(x) < 1e-10, -xp.log(xp.abs(x)), y)
        poles = xp.isinf(x) | ((x <= 0) & (x == xp.floor(x)))
        return xp.where(poles, xp.inf, y).astype(x.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * digamma(x),)


lgamma = unary(Lgamma)


class Digamma(Elementwise, name="digamma"):
    """y = d ln Gamma(x) / dx; NaN at negative integers.  x: [*s] -> y: [*s]"""

    scalar = "digamma({0})"
    kinds = FLOATS

    def eval(self, xp: Any, x: Any) -> Any:
        poles = (x == xp.floor(x)) & (x < 0)
        return xp.where(poles, xp.nan, special(xp).psi(x)).astype(x.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * polygamma(1, x),)


digamma = unary(Digamma)


@dataclass(frozen=True)
class Polygamma(Elementwise, name="polygamma"):
    """y = the derivative of digamma of the order `order` >= 1.  x: [*s] -> y: [*s]"""

    order: int
    scalar = "polygamma({order}, {0})"
    kinds = FLOATS

    def infer(self, *operands: TensorType) -> TensorType:
        as_int(self.order, "order", 1, MAX_ORDER, f"an int in [1, {MAX_ORDER}]")
        return super().infer(*operands)

    def eval(self, xp: Any, x: Any) -> Any:
        wide = x.astype(xp.float64)
        s = self.order + 1
        sign = (-1.0) ** s
        rest = wide - xp.floor(wide)
        zeta = special(xp).zeta
        right = xp.where(wide > 0, wide, 1)  # left of 0, zeta's time grows with the argument
        left = zeta(s, rest) + sign * (zeta(s, 1 - rest) - zeta(s, xp.where(wide > 0, 1, 1 - wide)))
        left = xp.where(rest == 0, xp.nan if s % 2 else xp.inf, left)
        y = sign * math.factorial(self.order) * xp.where(wide > 0, zeta(s, right), left)
        return xp.where(xp.isnan(wide), wide, y).astype(x.dtype)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g * polygamma(self.order + 1, x),)


@function
def polygamma(n: int, x: Any) -> Value:
    """y = the n-th derivative of digamma, which is that itself for n = 0.  x: [*s] -> y: [*s]

    Raises:
        ArgumentError: if n is no int in [0, 100].
    """
    order = as_int(n, "n", 0, MAX_ORDER, f"an int in [0, {MAX_ORDER}]")
    x = as_floats(x)
    return apply(Polygamma(order), x) if order else digamma(x)
