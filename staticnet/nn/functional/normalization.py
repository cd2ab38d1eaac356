"""Normalisation: y = (x - mean) / sqrt(var + eps), over a batch, an example, a group or a row.

16-bit floats are computed in float32, and the result has the input's dtype, also beside parameters
of float32, as in PyTorch.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import HALVES
from staticnet.ir.types import as_shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.ops.arguments import as_size, normalize_axes
from staticnet.ops.arithmetic import maximum
from staticnet.ops.base import apply, function, items, promoted
from staticnet.ops.creation import dim_value, zeros_like
from staticnet.ops.moments import Moments, Normalize
from staticnet.ops.movement import pad
from staticnet.ops.reduction import mean
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import reshape
from staticnet.ops.state import Variable
from staticnet.ops.transcendental import rsqrt
from staticnet.ops.widening import widened
from staticnet.ops.with_update import with_update

CHANNELS = 1  # the axis of channels


class Running(NamedTuple):
    """Statistics over batches: running = (1 - factor) * running + factor * batch's.

    `batches` counts them, if somebody does.
    """

    mean: Variable
    var: Variable
    factor: Any
    batches: Variable | None = None


@function
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.

    In training mean and var are the batch's, and each run moves the running ones, which are
    variables or None, by `momentum` towards them, the var as n / (n - 1) times itself; else they
    are the running ones.  x: [n, c, *s]; the others: [c] -> y: [n, c, *s]
    Ioffe and Szegedy, "Batch normalization", 2015.

    Raises:
        ShapeError: if the shapes do not fit, or in training there is one value a channel.
        ArgumentError: if a running statistic is missing, or in training no variable.
    """
    x = as_floating(input)
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("running_mean and running_var are needed where it does not train")
        return by_statistics(x, running_mean, running_var, weight, bias, eps)
    running = running_of(running_mean, running_var, as_number(momentum, "momentum", 0, 1))
    return by_batch(x, running, weight, bias, eps)


def running_of(
    mean_: Any, var_: Any, factor: Any, batches: Variable | None = None
) -> Running | None:
    """The running statistics to update, if there are any.

    Raises:
        ArgumentError: if one alone is given, or no variable.
    """
    if mean_ is None and var_ is None:
        return None
    if not isinstance(mean_, Variable) or not isinstance(var_, Variable):
        raise ArgumentError(
            "running_mean and running_var are updated in training: both must be variables, "
            "sn.variable(value, trainable=False), or both None"
        )
    return Running(mean_, var_, factor, batches)


def by_batch(x: Value, running: Running | None, weight: Any, bias: Any, eps: float) -> Value:
    """`batch_norm` by the batch's statistics.  x: [n, c, *s] -> y: [n, c, *s]"""
    _check_channels(x)
    axes = tuple(i for i in range(x.ndim) if i != 1)
    count = _several(x, axes, "channel")
    wide = widened(x)
    mean_, var_ = (_across(v, x) for v in items(apply(Moments(CHANNELS), wide)))
    if running is not None:
        _check_vectors(x, running_mean=running.mean, running_var=running.var)
        mean_ = _observed(running, mean_, mean_, var_, count)
    return _by_channel(x, wide, mean_, var_, weight, bias, eps)


def by_statistics(x: Value, mean_: Any, var_: Any, weight: Any, bias: Any, eps: float) -> Value:
    """`batch_norm` by given statistics.  x: [n, c, *s], mean, var: [c] -> y: [n, c, *s]"""
    _check_channels(x)
    mean_, var_ = (widened(as_floating(v, x)) for v in (mean_, var_))
    _check_vectors(x, running_mean=mean_, running_var=var_)
    return _by_channel(x, widened(x), _across(mean_, x), _across(var_, x), weight, bias, eps)


@function
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of each example.

    With `use_input_stats` mean and var are the example's, and running ones, if given, move towards
    their means over the batch; else they are the running ones.  x: [n, c, *s] -> y: [n, c, *s]
    Ulyanov et al., "Instance normalization", 2016.

    Raises:
        ShapeError: if the shapes do not fit, or there is one value a channel.
        ArgumentError: if a running statistic is missing, or to be updated and no variable.
    """
    x = as_floating(input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    running = running_of(running_mean, running_var, as_number(momentum, "momentum", 0, 1))
    _check_channels(x)
    axes = tuple(range(2, x.ndim))
    count = _several(x, axes, "channel of an example")
    wide = widened(x)
    mean_, var_ = _moments(wide, axes)
    if running is not None:
        _check_vectors(x, running_mean=running.mean, running_var=running.var)
        batch_mean, batch_var = (mean(v, 0, keepdims=True) for v in (mean_, var_))
        mean_ = _observed(running, mean_, batch_mean, batch_var, count)
    return _affine(x, wide, mean_, var_, weight, bias, eps)


@function
def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each group of channels of an example.

    x: [n, c, *s], weight, bias: [c] -> y: [n, c, *s]
    Wu and He, "Group normalization", 2018.

    Raises:
        ShapeError: if the groups do not divide the channels, or the shapes do not fit.
    """
    x = as_floating(input)
    _check_channels(x)
    groups, (n, c, *s) = as_size(num_groups, "num_groups"), x.shape
    if not isinstance(c, int) or c % groups:
        raise ShapeError(f"{groups} groups do not divide the {c} channels")
    grouped = reshape(widened(x), (n, groups, c // groups, *s))
    y = reshape(_standard(grouped, tuple(range(2, grouped.ndim)), eps), x.shape)
    return _scaled_channels(x, y, weight, bias)


@function
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, over the last axes.

    x: [*b, *normalized_shape]; weight, bias: [*normalized_shape] -> y: as x
    Ba et al., "Layer normalization", 2016.

    Raises:
        ShapeError: if the last axes of x are not `normalized_shape`, or a parameter is not.
    """
    x = as_floating(input)
    axes = _last_axes(x, normalized_shape)
    return _scaled(x, _standard(widened(x), axes, eps), weight, bias, x.shape[axes[0] :])


@function
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Value:
    """y = x / sqrt(mean(x**2) + eps) * weight, over the last axes; eps is the dtype's if None.

    x: [*b, *normalized_shape], weight: [*normalized_shape] -> y: as x
    Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Raises:
        ShapeError: if the last axes of x are not `normalized_shape`, or the weight is not.
    """
    x = as_floating(input)
    axes, wide = _last_axes(x, normalized_shape), widened(x)
    least = float(np.finfo(wide.dtype).eps) if eps is None else _as_eps(eps)
    y = wide * rsqrt(mean(wide * wide, axes, keepdims=True) + least)
    return _scaled(x, y, weight, None, x.shape[axes[0] :])


@function
def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Value:
    """y = x / (k + alpha * mean of x**2 over `size` channels around)**beta; channels beyond are 0.

    x: [n, c, *s] -> y: [n, c, *s]
    Krizhevsky et al., "ImageNet classification with deep convolutional networks", 2012.

    Raises:
        ShapeError: if x has fewer than three axes.
    """
    x, size = as_floating(input), as_size(size, "size")
    if x.ndim < 3:
        raise ShapeError(f"takes [n, c, *s] of at least three axes, not {format_shape(x.shape)}")
    wide, channels = widened(x), x.shape[1]
    widths = [(size // 2, (size - 1) // 2) if i == 1 else (0, 0) for i in range(x.ndim)]
    squares = pad(wide * wide, widths)
    total = squares[:, :channels]
    for first in range(1, size):
        total = total + squares[:, first : first + channels]
    return astype(wide / (total * (alpha / size) + k) ** beta, x.dtype)


def _as_eps(eps: Any) -> float:
    return as_number(eps, "eps", 0, math.inf)


def _moments(x: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    """The mean and the biased variance along axes, which stay as 1."""
    mean_ = mean(x, axes, keepdims=True)
    centred = x - mean_
    return mean_, mean(centred * centred, axes, keepdims=True)


def _standard(x: Value, axes: Sequence[int], eps: float) -> Value:
    """(x - mean) / sqrt(var + eps) along axes."""
    mean_, var_ = _moments(x, axes)
    return (x - mean_) * rsqrt(var_ + _as_eps(eps))


def _by_channel(
    x: Value, wide: Value, mean_: Value, var_: Value, weight: Any, bias: Any, eps: float
) -> Value:
    """(x - mean) * scale + shift, whose gradient takes one pass for the sums that it needs."""
    scale = _number(x, rsqrt(var_ + _as_eps(eps)), weight, "weight", operator.mul)
    shift = _number(x, zeros_like(scale), bias, "bias", operator.add)
    y = apply(Normalize(CHANNELS), *promoted("batch_norm", wide, mean_, scale, shift))
    return astype(y, x.dtype) if x.dtype in HALVES else y


def _number(x: Value, own: Value, given: Any, name: str, combine: Any) -> Value:
    """A channel's number, combined with a parameter if there is one."""
    if given is None:
        return own
    parameter = widened(as_floating(given, x))
    _check_vectors(x, **{name: parameter})
    return combine(own, _across(parameter, x))


def _affine(
    x: Value, wide: Value, mean_: Value, var_: Value, weight: Any, bias: Any, eps: float
) -> Value:
    y = (wide - mean_) * rsqrt(var_ + _as_eps(eps))
    return _scaled_channels(x, y, weight, bias)


def _across(v: Value, x: Value) -> Value:
    """A number for each channel, to broadcast against x.  v: [c] -> [1, c, 1, …]"""
    return reshape(v, (1, x.shape[1], *(1,) * (x.ndim - 2)))


def _scaled_channels(x: Value, y: Value, weight: Any, bias: Any) -> Value:
    return _scaled(x, y, weight, bias, x.shape[1:2], x.ndim - 2)


def _scaled(
    x: Value, y: Value, weight: Any, bias: Any, wanted: Sequence[Any], behind: int = 0
) -> Value:
    """y * weight + bias, of a shape and that many axes `behind`, in x's dtype if of 16 bits.

    Raises:
        ShapeError: if a parameter has another shape.
    """
    wanted = tuple(wanted)
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is None:
            continue
        own = widened(as_floating(parameter, x))
        if own.shape != wanted:
            raise ShapeError(
                f"{name} {format_shape(own.shape)} must be {format_shape(wanted)} for an input "
                f"{format_shape(x.shape)}"
            )
        own = reshape(own, (*wanted, *(1,) * behind)) if behind else own
        y = y * own if name == "weight" else y + own
    return astype(y, x.dtype) if x.dtype in HALVES else y


def _observed(running: Running, y: Value, mean_: Value, var_: Value, count: int | Dim) -> Value:
    """y, and the running statistics move towards mean and var.  mean, var: [1, c, 1, …]"""
    n = dim_value(count, var_)
    mean_, var_ = reshape(mean_, (-1,)), reshape(var_, (-1,))
    unbiased = var_ * (n / maximum(n - 1, 1))
    for target, observed in ((running.mean, mean_), (running.var, unbiased)):
        old = widened(target)
        new = astype(old + (observed - old) * running.factor, target.dtype)
        if not isinstance(count, int):  # of nothing there are no statistics
            new = where(n > 0, new, target)
        if count != 0:
            y = with_update(y, target, observed, new)
    if running.batches is not None:
        y = with_update(y, running.batches, unbiased, running.batches + 1)
    return y


def _last_axes(x: Value, normalized_shape: Any) -> tuple[int, ...]:
    shape = as_shape(normalized_shape, "normalized_shape")
    if not shape or tuple(x.shape[-len(shape) :]) != tuple(shape):
        raise ShapeError(
            f"the last axes of an input {format_shape(x.shape)} are not normalized_shape "
            f"{format_shape(shape)}"
        )
    return normalize_axes(tuple(range(-len(shape), 0)), x.ndim)


def _check_channels(x: Value) -> None:
    if x.ndim < 2:
        raise ShapeError(f"takes [n, c, *s] of at least two axes, not {format_shape(x.shape)}")


def _check_vectors(x: Value, **given: Value) -> None:
    for name, v in given.items():
        if v.shape != x.shape[1:2]:
            raise ShapeError(
                f"{name} {format_shape(v.shape)} must be [c] for an input [n, c, *s] of "
                f"{format_shape(x.shape)}"
            )


def _several(x: Value, axes: Sequence[int], what: str) -> int | Dim:
    """How many values a statistic is of.

    Raises:
        ShapeError: if it is one, whose variance says nothing.
    """
    count = size_of(x.shape[axis] for axis in axes)
    if count == 1:
        raise ShapeError(
            f"in training there must be more than one value a {what}, and the input is "
            f"{format_shape(x.shape)}"
        )
    return count
