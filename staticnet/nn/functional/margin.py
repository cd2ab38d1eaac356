"""Losses that want a margin: between a class and the others, a near and a far example.

`reduction` is "mean" (over all elements), "sum" or "none"; an unknown one is an ArgumentError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dtype import INT64, is_integer
from staticnet.ir.types import format_shape
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.nn.arguments import (
    as_floating,
    as_number,
    check_reduction,
    reduce_loss,
    signs_of,
    weighted,
)
from staticnet.nn.functional.distance import pairwise_distance
from staticnet.nn.functional.piecewise import logsigmoid
from staticnet.ops.arguments import as_bool, as_int, broadcast_shapes
from staticnet.ops.arithmetic import logaddexp, minimum
from staticnet.ops.base import as_value, function, promoted
from staticnet.ops.creation import dim_value, iota, one_hot
from staticnet.ops.indexing import as_index, take, take_along_axis
from staticnet.ops.reduction import any, cumulative_sum, mean
from staticnet.ops.selection import astype, clip, relu, where
from staticnet.ops.shape import expand_dims, sum
from staticnet.ops.transcendental import sqrt
from staticnet.ops.widening import rounded_once

COSINE_EPS = 1e-12


def _operands(*xs: Any) -> list[Value]:
    """Floating operands of one dtype that broadcast against each other."""
    values = [as_floating(x) for x in promoted("losses", *xs)]
    broadcast_shapes(*(x.shape for x in values))
    return values


def _limit(margin: Any) -> float:
    return as_number(margin, "margin", -math.inf, math.inf)


@function
@rounded_once(3)
def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Value:
    """y = max(0, margin - target * (input1 - input2)): target 1 where input1 ranks higher, or -1.

    input1, input2, target: broadcastable to [*s] -> y: [], or [*s] if not reduced

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    check_reduction(reduction)
    first, second, target = _operands(input1, input2, signs_of(target, input1))
    return reduce_loss(clip(_limit(margin) - target * (first - second), 0), reduction)


@function
@rounded_once(2)
def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Value:
    """y = ln(1 + e**(-target * input)), target -1 or 1.

    input, target: broadcastable to [*s] -> y: [], or [*s] if not reduced

    Raises:
        ShapeError: if the shapes do not broadcast.
    """
    check_reduction(reduction)
    input, target = _operands(input, signs_of(target, input))
    return reduce_loss(logaddexp(-target * input, 0), reduction)


def _rows(input: Value) -> None:
    if input.ndim not in (1, 2):
        raise ShapeError(
            f"the input {format_shape(input.shape)} must be [n, c], or [c] of one example"
        )


def _labels(target: Any, wanted: Any) -> Value:
    """Labels as int64, of a shape.

    Raises:
        DTypeError: if they are no integers.
        ShapeError: if they have another shape.
    """
    target = as_value(target)
    if not is_integer(target.dtype):
        raise DTypeError(f"class labels must be integers, not {target.dtype}")
    if target.shape != wanted:
        raise ShapeError(
            f"target {format_shape(target.shape)} must be {format_shape(wanted)} for this input"
        )
    return astype(as_index(target), INT64)


@function
@rounded_once()
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Value:
    """y = sum over classes i != t of weight[t] * max(0, margin - input[t] + input[i])**p / c.

    input: [n, c] or [c], target: the labels t, int [n] or [], weight: [c] -> y: [], or target's
    shape if not reduced. p is 1 or 2. A label outside [0, c) fails the run. Crammer and Singer,
    "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.

    Raises:
        ShapeError: if target or weight does not fit the input.
        DTypeError: if target is no integer.
        ArgumentError: if p is neither 1 nor 2.
    """
    check_reduction(reduction)
    input, power = as_floating(input), as_int(p, "p", 1, 2, "1 or 2")
    _rows(input)
    classes = input.shape[-1]
    labels = _labels(target, input.shape[:-1])
    index = expand_dims(where(labels < 0, dim_value(classes, labels), labels), -1)
    picked = take_along_axis(input, index, -1)
    terms = relu(_limit(margin) - picked + input)
    terms = terms * terms if power == 2 else terms
    terms = where(iota(input.shape, input.ndim - 1) == index, 0, terms)
    if weight is not None:
        weight = astype(as_floating(weight, input), input.dtype)
        if weight.shape != (classes,):
            raise ShapeError(f"weight {format_shape(weight.shape)} must be [{classes}]")
        terms = terms * take(weight, index, 0)
    return reduce_loss(sum(terms, -1) / dim_value(classes, terms), reduction)


@function
@rounded_once()
def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Value:
    """y = sum over labels j, other classes i of max(0, 1 - (input[j] - input[i])) / c.

    input: [n, c] or [c], target: int of its shape, the labels of each example up to the first that
    is negative -> y: [], or [n] or [] if not reduced. A label of c or more fails the run.

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if target is no integer.
    """
    check_reduction(reduction)
    input = as_floating(input)
    _rows(input)
    labels = _labels(target, input.shape)
    counted = cumulative_sum(astype(labels < 0, INT64), -1) == 0
    index = where(counted, labels, 0)
    picked = expand_dims(take_along_axis(input, index, -1), -1)  # [.., j, 1] beside [.., 1, i]
    classes = input.shape[-1]
    hit = (one_hot(index, classes, "bool")) & expand_dims(counted, -1)
    other = expand_dims(~any(hit, -2), -2)
    terms = relu(1 - (picked - expand_dims(input, -2)))
    terms = where(expand_dims(counted, -1) & other, terms, 0)
    return reduce_loss(sum(terms, (-2, -1)) / dim_value(classes, terms), reduction)


@function
@rounded_once(2)
def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Value:
    """y = -mean over classes of weight * (t * ln s + (1 - t) * ln(1 - s)); s = sigmoid(input).

    input, target: [*s, c], weight: broadcastable to them -> y: [], or [*s] if not reduced

    Raises:
        ShapeError: if the shapes do not broadcast, or there is no axis of classes.
    """
    check_reduction(reduction)
    input, target = _operands(input, signs_of(target, input))
    if not input.ndim:
        raise ShapeError("the input needs an axis of classes")
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    return reduce_loss(mean(weighted(loss, weight), -1), reduction)


@function
@rounded_once(3)
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Value:
    """y = max(0, margin + d(anchor, positive) - d(anchor, negative)), d = `pairwise_distance`.

    anchor, positive, negative: [n, d] or [d] -> y: [], or [n] or [] if not reduced. `swap` takes
    the lesser of d(anchor, negative) and d(positive, negative): Balntas et al., "Learning local
    feature descriptors with triplets and shallow convolutional neural networks", 2016.

    Raises:
        ShapeError: if the shapes do not broadcast, or their numbers of axes differ.
    """
    return _triplet(
        (anchor, positive, negative),
        lambda x, y: pairwise_distance(x, y, p, eps),
        (margin, swap, reduction),
    )


@function
@rounded_once(3)
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Value:
    """`triplet_margin_loss` with another distance, a function of two values.

    anchor, positive, negative: [n, *s] -> y: [], or what the distance gives if not reduced

    Raises:
        ShapeError: if the shapes do not broadcast, or their numbers of axes differ.
        ArgumentError: if the distance is no function.
    """
    distance = pairwise_distance if distance_function is None else distance_function
    if not callable(distance):
        raise ArgumentError(f"distance_function must be a function, not {distance!r:.60}")
    f = guarded("triplet_margin_with_distance_loss: distance_function", distance)
    return _triplet((anchor, positive, negative), f, (margin, swap, reduction))


def _triplet(
    examples: tuple[Any, Any, Any],
    distance: Callable[[Any, Any], Any],
    options: tuple[float, bool, str],
) -> Value:
    margin, swap, reduction = options
    check_reduction(reduction)
    anchor, positive, negative = _operands(*examples)
    ranks = {x.ndim for x in (anchor, positive, negative)}
    if len(ranks) > 1:
        raise ShapeError("anchor, positive and negative must have as many axes as each other")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if as_bool(swap, "swap"):
        far = minimum(far, distance(positive, negative))
    return reduce_loss(clip(_limit(margin) + near - far, 0), reduction)


@function
@rounded_once(2)
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Value:
    """y = 1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1.

    input1, input2: [n, d] or [d], target: [n] or [] -> y: [], or target's shape if not reduced

    Raises:
        ShapeError: if the shapes do not fit.
    """
    check_reduction(reduction)
    first, second = _operands(input1, input2)
    target = signs_of(target, first)
    rank = target.ndim + 1
    if rank > 2 or first.ndim != rank or second.ndim != rank:
        raise ShapeError(
            f"the inputs {format_shape(first.shape)} and {format_shape(second.shape)} must be "
            f"[n, d] for a target [n], or [d] for [], and it is {format_shape(target.shape)}"
        )
    product = sum(first * second, -1)
    squares = [sum(x * x, -1) + COSINE_EPS for x in (first, second)]
    cosine = product / sqrt(squares[0] * squares[1])
    apart = where(target == -1, clip(cosine - _limit(margin), 0), 0)
    return reduce_loss(where(target == 1, 1 - cosine, apart), reduction)
