"""Losses of predictions against targets of the same shape.

`reduction` is "mean" (over all elements), "sum" or "none"; an unknown one is an ArgumentError.
"""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.value import Value
from staticnet.nn.arguments import (
    as_floating,
    as_number,
    check_reduction,
    check_same_shape,
    pair,
    reduce_loss,
    signs_of,
    times_log,
    weighted,
)
from staticnet.ops.arithmetic import abs, logaddexp, square
from staticnet.ops.base import function
from staticnet.ops.creation import dim_value
from staticnet.ops.selection import astype, clip, relu, where
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import exp, log
from staticnet.ops.widening import rounded_once


@function
@rounded_once(2)
def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Value:
    """y = weight * (input - target)**2.  input, target, weight: [*s] -> y: [], or [*s]

    With a weight, "mean" divides by its sum.

    Raises:
        ShapeError: if the shapes differ.
    """
    input, target = pair(input, target)
    return _reduced(square(input - target), weight, reduction)


@function
@rounded_once(2)
def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Value:
    """y = weight * |input - target|.  input, target, weight: [*s] -> y: [], or [*s]

    With a weight, "mean" divides by its sum.

    Raises:
        ShapeError: if the shapes differ.
    """
    input, target = pair(input, target)
    return _reduced(abs(input - target), weight, reduction)


def _reduced(loss: Value, weight: Any, reduction: str) -> Value:
    """The reduction of a loss whose weight, if it has one, says how often each element counts."""
    if weight is None:
        return reduce_loss(loss, reduction)
    check_reduction(reduction)
    weight = astype(as_floating(weight, loss), loss.dtype)
    check_same_shape(loss, weight, "weight")
    loss = loss * weight
    return sum(loss) / sum(weight) if reduction == "mean" else reduce_loss(loss, reduction)


@function
@rounded_once(2)
def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Value:
    """y = d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2); d = input - target.

    input, target, weight: [*s] -> y: [], or [*s] if not reduced; a weight counts in the numerator
    of "mean" alone, as PyTorch has it. Huber, "Robust estimation of a location parameter", 1964.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if delta is not positive.
    """
    input, target = pair(input, target)
    if not as_number(delta, "delta", 0, math.inf) > 0:
        raise ArgumentError("delta must be positive, not 0")
    difference = input - target
    distance = abs(difference)
    near = distance <= delta
    far = delta * (distance - 0.5 * delta)
    inner = 0.5 * square(where(near, difference, 0))  # the square of infinity has no derivative
    loss = where(near, inner, far)
    if weight is not None:
        check_same_shape(input, as_floating(weight, input), "weight")
    return reduce_loss(weighted(loss, weight), reduction)


@function
@rounded_once(2)
def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Value:
    """y = d**2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = input - target.

    input, target: [*s] -> y: [], or [*s] if not reduced. For beta = 0 it is `l1_loss`. Girshick,
    "Fast R-CNN", 2015.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if beta is negative.
    """
    input, target = pair(input, target)
    width = as_number(beta, "beta", 0, math.inf)
    difference = input - target
    distance = abs(difference)
    if width == 0:
        return reduce_loss(distance, reduction)
    near = distance < width
    inner = (0.5 / width) * square(where(near, difference, 0))
    return reduce_loss(where(near, inner, distance - 0.5 * width), reduction)


@function
@rounded_once(2)
def hinge_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Value:
    """y = max(0, margin - target * input), target -1 or 1: the loss of support vector machines.

    input, target: [*s] -> y: [], or [*s] if not reduced

    Raises:
        ShapeError: if the shapes differ.
    """
    input, target = pair(input, target)
    return reduce_loss(relu(margin - astype(target, input.dtype) * input), reduction)


@function
@rounded_once(2)
def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Value:
    """y = input where target is 1, max(0, margin - input) where it is -1; input is a distance.

    Where the target is neither, y is the sum of both, as PyTorch's is.
    input, target: [*s] -> y: [], or [*s] if not reduced

    Raises:
        ShapeError: if the shapes differ.
    """
    input, target = pair(input, signs_of(target, input))
    apart = clip(margin - input, 0)  # with derivative -1 at the margin
    near = where(target == -1, 0, input)
    return reduce_loss(near + where(target == 1, 0, apart), reduction)


@function
@rounded_once(2)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Value:
    """y = -weight * (pos_weight * t * ln s + (1 - t) * ln(1 - s)); s = sigmoid(input), t = target.

    input, target: [*s], weight and pos_weight: broadcastable to [*s] -> y: [], or [*s] if not
    reduced. ln s and ln(1 - s) come from input itself, so none of it overflows.

    Raises:
        ShapeError: if the shapes differ or a weight does not broadcast.
    """
    input, target = pair(input, target)
    positive = target
    if pos_weight is not None:
        positive = astype(as_floating(pos_weight, input), input.dtype) * target
    distance = where(input > 0, input, -input)  # |input|, with a slope at 0
    tail = logaddexp(-distance, 0)  # less than distance in -ln s or -ln(1 - s), whichever is more
    if pos_weight is not None:
        tail = tail * (positive + (1 - target))
    loss = tail + times_log(where(input > 0, 1 - target, positive), distance)
    loss = weighted(loss, weight)
    check_same_shape(input, loss, "the weighted loss")
    return reduce_loss(loss, reduction)


@function
@rounded_once(2)
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Value:
    """y = t * (ln t - input): the divergence of e**input from t, both elementwise.

    input: ln of probabilities [*s], target: t or, if log_target, ln t [*s] -> y: [], or [*s] if
    not reduced. "batchmean" divides the sum by the length of the first axis: the definition of
    Kullback and Leibler, "On information and sufficiency", 1951, averaged over a batch.

    Raises:
        ShapeError: if the shapes differ, or "batchmean" meets a scalar.
    """
    input, target = pair(input, target)
    check_reduction(reduction, "batchmean")
    if log_target:
        loss = exp(target) * (target - input)
    else:
        entropy = target * log(where(target == 0, 1, target))  # 0 ln 0 is 0, as in the limit
        loss = entropy - times_log(target, input)
    if reduction != "batchmean":
        return reduce_loss(loss, reduction)
    if input.ndim == 0:
        raise ShapeError("the reduction 'batchmean' needs a batch axis, and the input is a scalar")
    return sum(loss) / dim_value(input.shape[0], loss)
