"""Rounding to whole numbers, and to decimal digits."""

from __future__ import annotations

import builtins
from typing import Any

from staticnet.ir.dtype import FLOAT64, is_floating
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_int
from staticnet.ops.base import Elementwise, apply, as_value, function, unary
from staticnet.ops.comparison import isfinite
from staticnet.ops.selection import astype, where
from staticnet.ops.widening import rounded_once


class Ceil(Elementwise, name="ceil"):
    """y = the least integer >= x.  x: [*s] -> y: [*s]"""

    scalar = "ceil({0})"
    differentiable = False


ceil = unary(Ceil)


class Floor(Elementwise, name="floor"):
    """y = the greatest integer <= x.  x: [*s] -> y: [*s]"""

    scalar = "floor({0})"
    differentiable = False


floor = unary(Floor)


class Trunc(Elementwise, name="trunc"):
    """y = x without its fraction.  x: [*s] -> y: [*s]"""

    scalar = "trunc({0})"
    differentiable = False


trunc = unary(Trunc)


class Round(Elementwise, name="round"):
    """y = the nearest integer, halves to even.  x: [*s] -> y: [*s]"""

    scalar = "rint({0})"
    differentiable = False

    def eval(self, xp: Any, x: Any) -> Any:
        return xp.rint(x) if is_floating(x.dtype) else x


@function
@rounded_once()
def round(x: Any, decimals: int = 0) -> Value:
    """y = rint(x * 10**decimals) / 10**decimals: halves to even, as NumPy's.  x: [*s] -> y: [*s]

    Negative `decimals` round to tens, hundreds and so on, integers too.

    Raises:
        ArgumentError: if decimals is no int from -308 to 308.
    """
    x, digits = as_value(x), as_int(decimals, "decimals", -308, 308)
    if digits == 0 or (digits > 0 and not is_floating(x.dtype)):
        return apply(Round(), x)
    factor = 10.0 ** builtins.abs(digits)
    exact = x if is_floating(x.dtype) else astype(x, FLOAT64)
    scaled = exact * factor if digits > 0 else exact / factor
    whole = apply(Round(), scaled)
    y = whole / factor if digits > 0 else whole * factor
    return astype(where(isfinite(scaled), y, exact), x.dtype)
