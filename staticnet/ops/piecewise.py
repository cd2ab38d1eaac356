"""Elementwise functions that are one thing here and another there: composed of `where`."""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.dtype import FLOAT64, is_floating
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_bool
from staticnet.ops.arithmetic import abs, copysign, logaddexp, maximum, minimum, pow, remainder
from staticnet.ops.base import as_value, function, promoted
from staticnet.ops.comparison import isfinite, isnan
from staticnet.ops.data_type import finfo
from staticnet.ops.reduction import all, any
from staticnet.ops.rounding import trunc
from staticnet.ops.selection import as_floats, astype, where
from staticnet.ops.shape import expand_dims, reshape
from staticnet.ops.transcendental import log, log1p, sin
from staticnet.ops.widening import rounded_once, widened


@function
def fmax(x: Any, y: Any) -> Value:
    """z = the greater of x and y, and of a number and NaN the number.  x: [*s], y: [*s] -> z: [*s]

    At a tie each gets half of the gradient.
    """
    return _but_nan(maximum, x, y)


@function
def fmin(x: Any, y: Any) -> Value:
    """z = the lesser of x and y, and of a number and NaN the number.  x: [*s], y: [*s] -> z: [*s]

    At a tie each gets half of the gradient.
    """
    return _but_nan(minimum, x, y)


def _but_nan(extremum: Any, x: Any, y: Any) -> Value:
    x, y = promoted(extremum.__name__, x, y)
    return where(isnan(x), y, where(isnan(y), x, extremum(x, y)))


@function
def fmod(x: Any, y: Any) -> Value:
    """z = x - y * trunc(x / y), exactly: the sign of x.  x: [*s], y: [*s] -> z: [*s]

    Of integers, 0 where y is 0.
    """
    x, y = promoted("fmod", x, y)
    z = remainder(x, y)
    if is_floating(z.dtype):
        return copysign(1, x) * remainder(abs(x), abs(y))
    return where((z != 0) & ((z < 0) != (x < 0)), z - y, z)


@function
def heaviside(x: Any, values: Any) -> Value:
    """y = 0 where x < 0, 1 where x > 0, and `values` where x is 0; NaN stays.

    x: [*s], values: [*s] -> y: [*s]
    """
    x, values = promoted("heaviside", x, values)
    return where(x == 0, values, where(isnan(x), x, astype(x > 0, x.dtype)))


@function
def nan_to_num(x: Any, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    """y = x with numbers for NaN and infinities: for ±∞ the greatest and least, unless given.

    x: [*s] -> y: [*s]; the derivative is 0 where a number stands in
    """
    x = as_value(x)
    if not is_floating(x.dtype):
        return x
    limits = finfo(x.dtype)
    most = limits.max if posinf is None else posinf
    least = limits.min if neginf is None else neginf
    y = where(isnan(x), nan, x)
    return where(x == math.inf, most, where(x == -math.inf, least, y))


@function
def isclose(x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Value:
    """z = whether |x - y| <= atol + rtol * |y|; infinities only if equal.

    x: [*s], y: [*s] -> z: bool [*s]
    """
    x, y = promoted("isclose", x, y)
    wide_x, wide_y = (widened(z) if is_floating(z.dtype) else astype(z, FLOAT64) for z in (x, y))
    near = (abs(wide_x - wide_y) <= atol + rtol * abs(wide_y)) & isfinite(y)
    z = (x == y) | near
    return z | (isnan(x) & isnan(y)) if as_bool(equal_nan, "equal_nan") else z


@function
def allclose(x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Value:
    """z = whether all elements are close, as `isclose` has it: a value, no Python bool.

    x: [*s], y: [*s] -> z: bool []
    """
    return all(isclose(x, y, rtol, atol, equal_nan))


@function
@rounded_once(2)
def xlogy(x: Any, y: Any) -> Value:
    """z = x ln y, and 0 where x is 0 and y is no NaN.  x: [*s], y: [*s] -> z: [*s]"""
    x, y = map(as_floats, promoted("xlogy", x, y))
    return x * log(where((x == 0) & ((y <= 0) | (y == math.inf)), 1, y))


@function
@rounded_once(2)
def xlog1py(x: Any, y: Any) -> Value:
    """z = x ln(1 + y), and 0 where x is 0 and y is no NaN.  x: [*s], y: [*s] -> z: [*s]"""
    x, y = map(as_floats, promoted("xlog1py", x, y))
    return x * log1p(where((x == 0) & ((y <= -1) | (y == math.inf)), 0, y))


@function
@rounded_once(2)
def logaddexp2(x: Any, y: Any) -> Value:
    """z = log2(2**x + 2**y), without overflow.  x: [*s], y: [*s] -> z: [*s]"""
    x, y = map(as_floats, promoted("logaddexp2", x, y))
    return logaddexp(x * math.log(2), y * math.log(2)) / math.log(2)


@function
def frac(x: Any) -> Value:
    """y = x - trunc(x), with the sign of x; the derivative is 1.  x: [*s] -> y: [*s]"""
    x = as_value(x)
    return x - trunc(x)


@function
def isposinf(x: Any) -> Value:
    """y = whether x is infinity; no integer is.  x: [*s] -> y: bool [*s]"""
    return as_value(x) == math.inf


@function
def isneginf(x: Any) -> Value:
    """y = whether x is -infinity; no integer is.  x: [*s] -> y: bool [*s]"""
    return as_value(x) == -math.inf


@function
def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Value:
    """y = whether x is one of the tested elements, or none with `invert`.

    elements: [*s], test_elements: [*t] -> y: bool [*s]
    """
    x, tested = promoted("isin", elements, test_elements)
    found = any(expand_dims(x, -1) == reshape(tested, -1), -1)
    return ~found if as_bool(invert, "invert") else found


@function
@rounded_once()
def logit(x: Any, eps: Any = None) -> Value:
    """y = ln(x / (1 - x)), of x limited to [eps, 1 - eps] if given.  x: [*s] -> y: [*s]"""
    x = as_floats(x)
    if eps is not None:
        least = promoted("logit", x, eps)[1]
        x = x.clip(least, 1 - least)
    return log(x / (1 - x))


@function
def exp2(x: Any) -> Value:
    """y = 2**x.  x: [*s] -> y: [*s]"""
    return pow(2, as_floats(x))


@function
@rounded_once()
def sinc(x: Any) -> Value:
    """y = sin(pi x) / (pi x), and 1 at 0.  x: [*s] -> y: [*s]

    Near 0 by the Taylor series, so that its derivatives do not cancel.
    """
    x = as_floats(x) * math.pi
    near = abs(x) < 1
    square = where(near, x * x, 0)
    series: Any = 0.0
    for k in range(9, -1, -1):  # the next term is less than 1 / 21!
        series = series * square + (-1) ** k / math.factorial(2 * k + 1)
    far = where(near, 1, x)
    return where(near, series, sin(far) / far)


@function
def deg2rad(x: Any) -> Value:
    """y = x pi / 180, an angle in radians.  x: [*s] -> y: [*s]"""
    return as_floats(x) * (math.pi / 180)


@function
def rad2deg(x: Any) -> Value:
    """y = 180 x / pi, an angle in degrees.  x: [*s] -> y: [*s]"""
    return as_floats(x) * (180 / math.pi)
