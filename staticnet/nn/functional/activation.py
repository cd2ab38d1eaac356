"""Activations: compositions of elementwise ops.

`inplace`, which PyTorch's take, changes nothing: no value ever changes.

Where a branch of a piecewise function overflows outside its domain, its operand is replaced there
before the function is applied: 0 * inf in the unused branch's gradient would be NaN.
"""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number, check_choice
from staticnet.ops import selection, transcendental
from staticnet.ops.arithmetic import logaddexp
from staticnet.ops.base import function, named
from staticnet.ops.creation import ones_like
from staticnet.ops.library import gelu_tanh
from staticnet.ops.reduction import max
from staticnet.ops.selection import astype, stop_gradient, where
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import erf, exp, expm1, log
from staticnet.ops.widening import rounded_once

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


@named  # the op's function, whose operand is x, is the registered one
def relu(input: Any, inplace: bool = False) -> Value:
    """y = max(x, 0); the derivative at 0 is 0.  input x: [*s] -> y: [*s]"""
    return selection.relu(input)


@named
def sigmoid(input: Any) -> Value:
    """y = 1 / (1 + e**-x).  input x: [*s] -> y: [*s]"""
    return transcendental.sigmoid(input)


@named
def tanh(input: Any) -> Value:
    """y = (e**x - e**-x) / (e**x + e**-x).  input x: [*s] -> y: [*s]"""
    return transcendental.tanh(input)


@function
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    """y = x where x > 0, else negative_slope * x.  input x: [*s] -> y: [*s]

    Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013.
    """
    x = as_floating(input)
    return where(x > 0, x, x * negative_slope)


@function
@rounded_once()
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Value:
    """y = x where x > 0, else alpha * (e**x - 1).  input x: [*s] -> y: [*s]

    At 0 the derivative is alpha, and the second one 0, as PyTorch's.
    Clevert et al., "Fast and accurate deep network learning by exponential linear units", 2016.
    """
    x = as_floating(input)
    as_it_is = isinstance(alpha, int | float) and (alpha == 1 or not math.isfinite(alpha))
    above = x if as_it_is else x * where(x > 0, ones_like(x), alpha)
    return where(x >= 0, above, alpha * expm1(where(x >= 0, 0, x)))


@function
@rounded_once()
def selu(input: Any, inplace: bool = False) -> Value:
    """y = scale * elu(x, alpha), which keeps mean 0 and variance 1.  input x: [*s] -> y: [*s]

    Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    return SELU_SCALE * elu(as_floating(input), SELU_ALPHA)


@function
@rounded_once()
def gelu(input: Any, approximate: str = "none") -> Value:
    """y = x * Phi(x), Phi the normal distribution function.  input x: [*s] -> y: [*s]

    approximate: "tanh" takes Phi(x) = (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2.
    Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Raises:
        ArgumentError: if `approximate` is neither "none" nor "tanh".
    """
    x = as_floating(input)
    check_choice(approximate, "approximate", "none", "tanh")
    if approximate == "none":
        return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))
    return gelu_tanh(x)  # (1 + tanh(u)) / 2 = sigmoid(2 u), which does not cancel where u is low


@function
@rounded_once()
def silu(input: Any, inplace: bool = False) -> Value:
    """y = x * sigmoid(x), also called swish.  input x: [*s] -> y: [*s]

    Elfwing et al., "Sigmoid-weighted linear units", 2018.
    """
    x = as_floating(input)
    return x * sigmoid(x)


@function
@rounded_once()
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Value:
    """y = x where x > 0, else alpha * (e**(x / alpha) - 1).  input x: [*s] -> y: [*s]

    At 0 the second derivative is 0, as PyTorch's.
    Barron, "Continuously differentiable exponential linear units", 2017.

    Raises:
        ArgumentError: if alpha is 0.
    """
    x, scale = as_floating(input), as_number(alpha, "alpha", -math.inf, math.inf)
    if scale == 0:
        raise ArgumentError("alpha must not be 0")
    return where(x >= 0, x, scale * expm1(where(x >= 0, 0, x) / scale))


@function
@rounded_once()
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """y = ln(1 + e**(beta * x)) / beta, or x where beta * x > threshold.

    input x: [*s] -> y: [*s]
    """
    x = as_floating(input)
    scaled = x * beta
    return where(scaled > threshold, x, logaddexp(scaled, 0) / beta)


@function
@rounded_once()
def mish(input: Any, inplace: bool = False) -> Value:
    """y = x * tanh(softplus(x)).  input x: [*s] -> y: [*s]

    Misra, "Mish: a self regularized non-monotonic activation function", 2020.
    """
    x = as_floating(input)
    return x * tanh(logaddexp(x, 0))


@function
def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Value:
    """y = x limited to [min_val, max_val]; the derivative at a limit is 0.

    input x: [*s] -> y: [*s]

    Raises:
        ArgumentError: if min_val > max_val.
    """
    x = as_floating(input)
    high = as_number(max_val, "max_val", -math.inf, math.inf)
    low = as_number(min_val, "min_val", -math.inf, high)
    return where(x <= low, low, where(x >= high, high, x))


@function
def softmax(input: Any, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Value:
    """y = e**x / sum(e**x) along `axis`, which PyTorch calls `dim`.  input x: [*s] -> y: [*s]

    dtype: what x is cast to beforehand.
    """
    return _softmax(_cast(input, dtype), axis if dim is None else dim)


@rounded_once()
def _softmax(x: Any, axis: int) -> Value:
    powers = exp(_below_zero(x, axis))
    return powers * (1 / sum(powers, axis, keepdims=True))  # the sum is at least 1: one power is


@function
def log_softmax(input: Any, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Value:
    """y = x - ln(sum(e**x)) along `axis`, which PyTorch calls `dim`.  input x: [*s] -> y: [*s]

    dtype: what x is cast to beforehand.
    """
    return _log_softmax(_cast(input, dtype), axis if dim is None else dim)


@rounded_once()
def _log_softmax(x: Any, axis: int) -> Value:
    shifted = _below_zero(x, axis)
    return shifted - log(sum(exp(shifted), axis, keepdims=True))


@function
def softmin(input: Any, axis: int = -1, *, dim: int | None = None, dtype: Any = None) -> Value:
    """y = softmax(-x) along `axis`, which PyTorch calls `dim`.  input x: [*s] -> y: [*s]

    dtype: what x is cast to beforehand.
    """
    return softmax(-_cast(input, dtype), axis, dim=dim)


def _cast(x: Any, dtype: Any) -> Value:
    return as_floating(x if dtype is None else astype(x, dtype))


def _below_zero(x: Value, axis: int) -> Value:
    """x less its maximum, so that no power overflows; softmax does not depend on the shift."""
    if 0 in x.shape:  # there is no maximum
        return x
    return x - stop_gradient(max(x, axis, keepdims=True))
