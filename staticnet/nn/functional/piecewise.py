"""Activations that are one thing here and another there, gates, and those with a parameter."""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.nn.functional.activation import hardtanh, softmax
from staticnet.nn.functional.dropout import key_for, mode_of
from staticnet.ops.arguments import as_bool, normalize_axis
from staticnet.ops.arithmetic import abs, logaddexp
from staticnet.ops.base import function, promoted
from staticnet.ops.creation import iota
from staticnet.ops.movement import split
from staticnet.ops.random import Key, uniform
from staticnet.ops.reduction import argmax
from staticnet.ops.selection import astype, stop_gradient, where
from staticnet.ops.shape import expand_dims, reshape
from staticnet.ops.transcendental import log, sigmoid, tanh
from staticnet.ops.widening import rounded_once


@function
def relu6(input: Any, inplace: bool = False) -> Value:
    """y = x limited to [0, 6]; the derivative at a limit is 0.  input x: [*s] -> y: [*s]

    Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.
    """
    return hardtanh(input, 0.0, 6.0)


@function
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Value:
    """y = x where x > threshold, else value; NaN stays.  input x: [*s] -> y: [*s]

    Raises:
        ArgumentError: if the threshold or the value is no number.
    """
    limit = as_number(threshold, "threshold", -math.inf, math.inf)
    x = as_floating(input)
    return where(x <= limit, as_number(value, "value", -math.inf, math.inf), x)


@function
@rounded_once()
def logsigmoid(input: Any) -> Value:
    """y = ln sigmoid(x) = -ln(1 + e**-x).  input x: [*s] -> y: [*s]"""
    return -logaddexp(-as_floating(input), 0)


@function
@rounded_once()
def hardsigmoid(input: Any, inplace: bool = False) -> Value:
    """y = (x + 3) / 6 limited to [0, 1]; the derivative at a limit is 0.

    input x: [*s] -> y: [*s]
    """
    x = as_floating(input)
    return where(x <= -3, 0, where(x >= 3, 1, (x + 3) / 6))


@function
@rounded_once()
def hardswish(input: Any, inplace: bool = False) -> Value:
    """y = x * hardsigmoid(x).  input x: [*s] -> y: [*s]

    Howard et al., "Searching for MobileNetV3", 2019.
    """
    x = as_floating(input)
    middle = where((x <= -3) | (x >= 3), 0, x)
    return where(x <= -3, 0, where(x >= 3, x, middle * (middle + 3) / 6))


@function
@rounded_once()
def softsign(input: Any) -> Value:
    """y = x / (1 + |x|).  input x: [*s] -> y: [*s]"""
    x = as_floating(input)
    return x / (1 + abs(x))


@function
def softshrink(input: Any, lambd: float = 0.5) -> Value:
    """y = x less lambd where x > lambd, plus it where x < -lambd, else 0.  input x: [*s] -> y: [*s]

    Raises:
        ArgumentError: if lambd is negative.
    """
    x, width = as_floating(input), as_number(lambd, "lambd", 0, math.inf)
    return where(abs(x) <= width, 0, where(x > 0, x - width, x + width))


@function
def hardshrink(input: Any, lambd: float = 0.5) -> Value:
    """y = x where |x| > lambd, else 0.  input x: [*s] -> y: [*s]

    Raises:
        ArgumentError: if lambd is negative.
    """
    x, width = as_floating(input), as_number(lambd, "lambd", 0, math.inf)
    return where(abs(x) <= width, 0, x)


@function
@rounded_once()
def tanhshrink(input: Any) -> Value:
    """y = x - tanh(x).  input x: [*s] -> y: [*s]"""
    x = as_floating(input)
    return x - tanh(x)


@function
@rounded_once()
def glu(input: Any, dim: int = -1) -> Value:
    """y = a * sigmoid(b), a and b the halves of x along `dim`.

    input x: [*a, 2 n, *b] -> y: [*a, n, *b]

    Dauphin et al., "Language modeling with gated convolutional networks", 2016.

    Raises:
        ShapeError: if the axis has no halves.
    """
    x = as_floating(input)
    axis = normalize_axis(dim, x.ndim, "dim")
    if isinstance(x.shape[axis], int) and x.shape[axis] % 2:
        raise ShapeError(f"the length of axis {axis} must be even, not {x.shape[axis]}")
    gated, gate = split(x, 2, axis)
    return gated * sigmoid(gate)


@function
def prelu(input: Any, weight: Any) -> Value:
    """y = x where x > 0, else weight * x.

    input x: [*s], weight: [], [1] or [c], c at axis 1 -> y: [*s]

    He et al., "Delving deep into rectifiers", 2015.

    Raises:
        ShapeError: if the weight has neither one entry nor one for each channel.
    """
    x, weight = (as_floating(operand) for operand in promoted("prelu", input, weight))
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or (weight.ndim and weight.shape[0] not in (1, channels)):
        raise ShapeError(
            f"weight {format_shape(weight.shape)} must have one entry, or one for each of the "
            f"{channels} channels on axis 1 of {format_shape(x.shape)}"
        )
    if weight.ndim and x.ndim > 1:
        weight = reshape(weight, (-1, *(1,) * (x.ndim - 2)))
    elif weight.ndim:
        weight = reshape(weight, ())
    return where(x > 0, x, x * weight)


@function
def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool | Key = False,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """y = x where x > 0, else a * x: a ~ U(lower, upper) in training, else their mean.

    input x: [*s] -> y: [*s]. Keys and `inplace` are as of `dropout`. Xu et al., "Empirical
    evaluation of rectified activations in convolutional network", 2015.

    Raises:
        ArgumentError: if lower > upper, or the key is no key.
    """
    x = as_floating(input)
    most = as_number(upper, "upper", -math.inf, math.inf)
    least = as_number(lower, "lower", -math.inf, most)
    trains, key = mode_of(training, key)
    if not trains:
        return where(x > 0, x, x * ((least + most) / 2))
    slope = uniform(key_for(x, key), x.shape, x.dtype, least, most)
    return where(x > 0, x, x * slope)


@function
@rounded_once()
def gumbel_softmax(
    logits: Any,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    key: Key | None = None,
) -> Value:
    """y = softmax((logits + g) / tau) along `dim`, g ~ Gumbel(0, 1): a sample that has gradients.

    logits: [*s] -> y: [*s]. `hard` gives the greatest entry's one-hot vector, with the gradient of
    the soft one. Equal keys draw equal samples, without a key each run draws others. `eps` changes
    nothing. Jang et al., "Categorical reparameterization with Gumbel-softmax", 2016.

    Raises:
        ArgumentError: if tau is not positive, or the key is no key.
    """
    logits = as_floating(logits)
    axis = normalize_axis(dim, logits.ndim, "dim")
    if not as_number(tau, "tau", 0, math.inf) > 0:
        raise ArgumentError("tau must be positive, not 0")
    exponential = -log(1 - uniform(key_for(logits, key), logits.shape, logits.dtype))
    gumbel = -log(where(exponential == 0, _least(logits), exponential))
    soft = softmax((logits + gumbel) / tau, axis)
    if not as_bool(hard, "hard"):
        return soft
    chosen = iota(logits.shape, axis) == expand_dims(argmax(soft, axis), axis)
    return astype(chosen, soft.dtype) + (soft - stop_gradient(soft))


def _least(x: Value) -> float:
    """What stands for the 0 that -ln(1 - u) may be: the half of its least step."""
    return 2.0**-54 if x.dtype.itemsize == 8 else 2.0**-25
