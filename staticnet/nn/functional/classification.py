"""Losses of class scores: the classes lie on axis 1, or on axis 0 of a single example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import INT64, is_floating, is_integer
from staticnet.ir.types import Shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import (
    as_floating,
    as_number,
    check_reduction,
    check_same_shape,
    reduce_loss,
    times_log,
)
from staticnet.nn.functional.activation import log_softmax
from staticnet.ops.arguments import as_int
from staticnet.ops.base import as_value, function, promoted
from staticnet.ops.creation import dim_value
from staticnet.ops.indexing import as_index, take, take_along_axis
from staticnet.ops.promotion import dtype_of
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, reshape, squeeze, sum
from staticnet.ops.widening import rounded_once

IGNORE_INDEX = -100


@dataclass(frozen=True)
class _Scores:
    """ln of the classes' probabilities, the axis of the classes, and their weights if any."""

    log_probability: Value
    axis: int
    weight: Value | None

    def classes(self, like: Value) -> Value:
        """The number of classes, as a scalar of `like`'s dtype."""
        return dim_value(self.log_probability.shape[self.axis], like)

    @property
    def example_shape(self) -> Shape:
        """The shape without the axis of the classes."""
        shape = self.log_probability.shape
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def weighted_sum(self, target: Any) -> Value:
        """-sum over classes of weight * target * ln p.  -> [*example_shape]"""
        terms = -self.log_probability
        terms = terms if target is None else times_log(target, terms)
        if self.weight is not None:
            column = [-1 if i == self.axis else 1 for i in range(terms.ndim)]
            terms = terms * reshape(self.weight, column)
        return sum(terms, self.axis)


@dataclass(frozen=True)
class _Labels:
    """Class labels: in range where `counted`, and 0 elsewhere; None if all of them count."""

    index: Value
    counted: Value | None

    def where_counted(self, x: Value) -> Value:
        """x, and 0 for the labels that do not count.  x: [*s] -> [*s]"""
        return x if self.counted is None else where(self.counted, x, 0)


def _class_axis(x: Value) -> int:
    if x.ndim == 0:
        raise ShapeError("the input needs an axis of classes")
    return 1 if x.ndim > 1 else 0


def _scores(log_probability: Value, weight: Any) -> _Scores:
    axis = _class_axis(log_probability)
    if weight is not None:
        weight = astype(as_floating(weight, log_probability), log_probability.dtype)
        classes = log_probability.shape[axis : axis + 1]
        if weight.shape != classes:
            raise ShapeError(
                f"weight {format_shape(weight.shape)} must have an entry a class: "
                f"{format_shape(classes)}"
            )
    return _Scores(log_probability, axis, weight)


def _labels(target: Value, scores: _Scores, ignore_index: int) -> _Labels:
    if not is_integer(target.dtype):
        raise DTypeError(f"class labels must be integers, not {target.dtype}")
    if target.shape != scores.example_shape:
        raise ShapeError(
            f"target {format_shape(target.shape)} must be the input's shape without the axis of "
            f"classes: {format_shape(scores.example_shape)}"
        )
    ignore_index = as_int(ignore_index, "ignore_index")
    limits = np.iinfo(target.dtype)
    can_be_ignored = limits.min <= ignore_index <= limits.max
    target = astype(as_index(target), INT64)
    # An index counts from the end where it is negative; a label never does, and fails the run.
    index = target if limits.min == 0 else where(target < 0, scores.classes(target), target)
    if not can_be_ignored:
        return _Labels(index, None)
    counted = target != ignore_index
    return _Labels(where(counted, index, 0), counted)


def _weights(scores: _Scores, labels: _Labels) -> Value | None:
    """How much each label counts; None if all count alike."""
    dtype = scores.log_probability.dtype
    weight = None if labels.counted is None else astype(labels.counted, dtype)
    if scores.weight is None:
        return weight
    own = take(scores.weight, labels.index, 0)
    return own if weight is None else weight * own


def count_of_labels(target: Value, like: Value, weight: Any, ignore_index: int) -> Value:
    """How many labels count, or the sum of their weights: what "mean" divides by.

    target: int [n, *d], like: of the scores' type [n, c, *d] -> y: []
    """
    scores = _scores(like, weight)
    labels = _labels(target, scores, ignore_index)
    counts = _weights(scores, labels)
    return dim_value(size_of(target.shape), like) if counts is None else sum(counts)


def _label_loss(scores: _Scores, labels: _Labels, reduction: str, smoothing: float) -> Value:
    """-weight * ln p of the labels, `smoothing` of it spread over all classes."""
    index = expand_dims(labels.index, scores.axis)
    loss = -squeeze(take_along_axis(scores.log_probability, index, scores.axis), scores.axis)
    weight = _weights(scores, labels)
    loss = labels.where_counted(loss if weight is None else loss * weight)
    if smoothing:
        spread = labels.where_counted(scores.weighted_sum(None))
        loss = (1 - smoothing) * loss + spread * (smoothing / scores.classes(loss))
    if reduction == "mean" and weight is not None:
        return sum(loss) / sum(weight)
    return reduce_loss(loss, reduction)


@function
@rounded_once(2)
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: str = "mean",
) -> Value:
    """y = -weight[target] * input[target]: the negative log-likelihood of the labels.

    input: ln of probabilities [n, c, *d] or [c], target: int [n, *d] or [], weight: [c]
    -> y: [], or target's shape if not reduced. "mean" divides by the sum of the labels' weights;
    labels equal to `ignore_index` count nothing. A label outside [0, c) fails the run. Where the
    labels' dtype does not hold `ignore_index`, as an unsigned one does not hold -100, all count.

    Raises:
        ShapeError: if target or weight does not fit the input.
        DTypeError: if target is no integer or input no float.
        ArgumentError: if the reduction is unknown.
    """
    check_reduction(reduction)
    scores = _scores(as_floating(input), weight)
    return _label_loss(scores, _labels(as_value(target), scores, ignore_index), reduction, 0.0)


@function
@rounded_once(2)
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Value:
    """y = -sum over classes of weight * t * ln softmax(input), t the target distribution.

    input: [n, c, *d] or [c], weight: [c] -> y: [], or [n, *d] if not reduced
    target: labels, int [n, *d] or []; or the distribution t itself, floating, of input's shape.
    Labels count as in `nll_loss`; with a distribution, "mean" divides by the number of examples.
    label_smoothing: the part of t that is taken away and spread evenly over the classes (Szegedy
    et al., "Rethinking the Inception architecture", 2016).

    Raises:
        ShapeError: if target or weight does not fit input.
        DTypeError: if input is not floating-point.
        ArgumentError: if an option is out of range, or ignore_index is given with a distribution.
    """
    check_reduction(reduction)
    smoothing = as_number(label_smoothing, "label_smoothing", 0, 1)
    if is_floating(dtype_of(target)):
        input, target = promoted("cross_entropy", input, target)
    logits, target = as_floating(input), as_value(target)
    axis = _class_axis(logits)
    if not is_floating(target.dtype):
        scores = _scores(log_softmax(logits, axis), weight)
        return _label_loss(scores, _labels(target, scores, ignore_index), reduction, smoothing)
    if ignore_index != IGNORE_INDEX:
        raise ArgumentError("ignore_index is for labels; a distribution has no class to ignore")
    check_same_shape(logits, target)
    scores = _scores(log_softmax(logits, axis), weight)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / scores.classes(logits)
    return reduce_loss(scores.weighted_sum(target), reduction)
