"""Losses of predicted distributions: the negative logarithm of what is observed.

`reduction` is "mean" (over all elements), "sum" or "none"; an unknown one is an ArgumentError.
"""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import (
    as_floating,
    as_number,
    check_reduction,
    pair,
    reduce_loss,
    weighted,
)
from staticnet.ops.arguments import as_bool
from staticnet.ops.arithmetic import maximum, square
from staticnet.ops.base import function
from staticnet.ops.promotion import is_scalar
from staticnet.ops.selection import astype, stop_gradient, where
from staticnet.ops.shape import broadcast_to, expand_dims
from staticnet.ops.transcendental import exp, log, log1p
from staticnet.ops.widening import rounded_once

LEAST_LOG = -100.0
STEEPEST = 1e12


@function
@rounded_once(2)
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Value:
    """y = -weight * (t * ln p + (1 - t) * ln(1 - p)); p = input, a probability, t = target.

    input, target: [*s], weight: broadcastable to [*s] -> y: [], or [*s] if not reduced. As in
    PyTorch the logarithms are at least -100 and their slopes at most 1e12; p outside [0, 1] gives
    NaN. `binary_cross_entropy_with_logits` needs no limits.

    Raises:
        ShapeError: if the shapes differ or the weight does not broadcast.
    """
    check_reduction(reduction)
    input, target = pair(input, target)
    target = astype(target, input.dtype)
    rest = 1 - input
    sure = _limited(input, log(input), log(where(input < 1 / STEEPEST, 1, input)))
    other = _limited(rest, log1p(-input), log1p(where(rest < 1 / STEEPEST, 0, -input)))
    return reduce_loss(weighted(-(target * sure + (1 - target) * other), weight), reduction)


def _limited(p: Value, exact: Value, inner: Value) -> Value:
    """ln p with the two limits: `exact` has its value, `inner` its derivatives where p is not low.

    Where p is low the value is constant and p - p, which is 0, has the slope.
    """
    low = stop_gradient(maximum(exact, LEAST_LOG)) + (p - stop_gradient(p)) * STEEPEST
    return where(p < 1 / STEEPEST, low, inner)


@function
@rounded_once(3)
def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Value:
    """y = (ln v + (input - target)**2 / v) / 2, v = max(var, eps): of N(input, var).

    input, target: [*s], var: a number, [*s], [*s] with 1 for one axis, or without its last axis
    -> y: [], or [*s] if not reduced. `full` adds ln(2 pi) / 2. The derivative by var is that by v;
    a negative var gives NaN. Nix and Weigend, "Estimating the mean and variance of the target
    probability distribution", 1994.

    Raises:
        ShapeError: if the shapes do not fit.
        ArgumentError: if eps is not positive, or var a negative number.
    """
    check_reduction(reduction)
    input, target = pair(input, target)
    least = as_number(eps, "eps", 0, math.inf)
    if not least > 0:
        raise ArgumentError("eps must be positive, not 0")
    if is_scalar(var) and not var >= 0:
        raise ArgumentError(f"var must be a variance, which is not negative, not {var!r:.60}")
    var = _variance(input, var)
    limited = where(var < least, least + (var - stop_gradient(var)), var)
    limited = where(var < 0, math.nan, limited)
    loss = 0.5 * (log(limited) + square(input - target) / limited)
    if as_bool(full, "full"):
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)


def _variance(input: Value, var: Any) -> Value:
    """A variance of one of the shapes that fit, in that of the input."""
    var = astype(as_floating(var, input), input.dtype)
    if var.ndim and var.shape == input.shape[:-1]:
        var = expand_dims(var, -1)
    shared = [i for i in range(var.ndim) if var.shape[i] == 1 and var.ndim == input.ndim]
    kept = tuple(1 if i in shared else d for i, d in enumerate(input.shape))
    if var.ndim and (len(shared) > 1 or var.shape not in (input.shape, kept)):
        raise ShapeError(
            f"var {format_shape(var.shape)} must have the input's shape "
            f"{format_shape(input.shape)}, or that with 1 for one axis, or without the last"
        )
    return broadcast_to(var, input.shape)


@function
@rounded_once(2)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Value:
    """y = e**x - t * x, x = input, the ln of a rate, t = target, a count.

    Without log_input, x is the rate and y = x - t * ln(x + eps). `full` adds Stirling's t * ln t -
    t + ln(2 pi t) / 2 where t > 1.  input, target: [*s] -> y: [], or [*s] if not reduced

    Raises:
        ShapeError: if the shapes differ.
    """
    check_reduction(reduction)
    input, target = pair(input, target)
    target = astype(target, input.dtype)
    least = as_number(eps, "eps", 0, math.inf)
    if as_bool(log_input, "log_input"):
        loss = exp(input) - target * input
    else:
        loss = input - target * log(input + least)
    if as_bool(full, "full"):
        many = target > 1
        count = where(many, target, 1)
        stirling = count * log(count) - count + 0.5 * log(2 * math.pi * count)
        loss = loss + where(many, stirling, 0)
    return reduce_loss(loss, reduction)
