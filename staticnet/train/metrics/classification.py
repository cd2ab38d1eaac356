"""Metrics of classes: each counts in int64, so that no order of batches changes a bit.

outputs: [n, c, *s] or [n, *s, c] scores of c classes, with targets [n, *s] of classes; or logits of
one class against none, with targets of their shape. A target of scores, as a one-hot one, stands
for its largest. Negative targets, as PyTorch's ignore_index, do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dtype import BOOL, INT64, is_floating
from staticnet.ir.node import describe
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_size
from staticnet.ops.creation import one_hot, zeros
from staticnet.ops.indexing import scatter_add
from staticnet.ops.movement import moveaxis
from staticnet.ops.reduction import any, argmax
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.sorting import top_k
from staticnet.train.metrics.base import Array, Metric, Sums, flat, ratio


@dataclass(frozen=True)
class Classes:
    """A batch of classes, flat: the scores of each, what is right, and what counts.

    scores: [m, c], or None of logits of one class; predicted, targets: int64 [m]; counts: bool [m]
    """

    scores: Value | None
    predicted: Any
    targets: Any
    counts: Any
    number: int


def classes_of(what: str, outputs: Any, targets: Any) -> Classes:
    """The classes of a batch.

    Raises:
        ShapeError: if the shapes are none of those above.
    """
    for given in (outputs, targets):
        if not isinstance(given, Value):
            raise ArgumentError(f"metric {what}: takes one node each, not {given!r:.60}")
    out, aim = outputs.shape, targets.shape
    if out == aim and is_floating(targets.dtype) and len(out) > 1 and out[1] != 1:
        targets, aim = argmax(targets, axis=1), (out[0], *out[2:])
    if out == aim or (len(out) == len(aim) + 1 and out[:-1] == aim and out[-1] == 1):
        truth = reshape(_whole(targets), (-1,))
        predicted = astype(reshape(outputs, (-1,)) > 0, INT64)
        return Classes(None, predicted, truth, truth >= 0, 2)
    if len(out) != len(aim) + 1 or (out[0], *out[2:]) != aim != out[:-1]:
        raise ShapeError(
            f"metric {what}: outputs {describe(outputs)} do not fit targets {flat(aim)}: give "
            "scores [n,c] with classes [n], or logits and targets of one shape"
        )
    axis = 1 if (out[0], *out[2:]) == aim else -1
    scores, truth = moveaxis(outputs, axis, -1), reshape(_whole(targets), (-1,))
    number = out[axis]
    if not isinstance(number, int):
        raise ShapeError(f"metric {what}: the number of classes {number} is known only when fed")
    scores = reshape(scores, (-1, number))
    return Classes(scores, argmax(scores, axis=-1), truth, truth >= 0, number)


def _whole(targets: Any) -> Value:
    return astype(targets if targets.dtype != BOOL else astype(targets, INT64), INT64)


def count(mask: Any) -> Value:
    """How many are true.  mask: bool [*s] -> int64 []"""
    return sum(astype(mask, INT64))


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of examples whose largest score is that of their class."""

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """Right ones, and all."""
        given = classes_of("accuracy", outputs, targets)
        right = (given.predicted == given.targets) & given.counts
        return {"correct": count(right), "count": count(given.counts)}

    def value(self, sums: Sums) -> float:
        """correct / count"""
        return ratio(sums["correct"], sums["count"])


@dataclass(frozen=True)
class TopK(Metric):
    """The share of examples whose class is among the k with the largest scores.

    Raises:
        ArgumentError: if k is no positive int.
    """

    k: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", as_size(self.k, "TopK: k"))

    @property
    def name(self) -> str:
        """`top_5`."""
        return f"top_{self.k}"

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """Those among the k, and all."""
        given = classes_of(self.name, outputs, targets)
        if given.scores is None or given.number < self.k:
            raise ShapeError(
                f"metric {self.name}: outputs {describe(outputs)} have no {self.k} classes"
            )
        _, best = top_k(given.scores, self.k)
        among = any(best == expand_dims(given.targets, axis=-1), axis=-1) & given.counts
        return {"correct": count(among), "count": count(given.counts)}

    def value(self, sums: Sums) -> float:
        """correct / count"""
        return ratio(sums["correct"], sums["count"])


@dataclass(frozen=True)
class ConfusionMatrix(Metric):
    """y[i, j] = the examples of class i that were taken for class j.  -> int64 [c, c]"""

    @property
    def name(self) -> str:
        """`confusion_matrix`."""
        return "confusion_matrix"

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """The batch's matrix."""
        given = classes_of(self.name, outputs, targets)
        c = given.number
        known = given.counts & (given.targets < c)
        pairs = where(known, given.targets * c + given.predicted, 0)
        cells = scatter_add(zeros(c * c, INT64), pairs, astype(known, INT64))
        return {"matrix": reshape(cells, (c, c))}

    def value(self, sums: Sums) -> Array:
        """The matrix."""
        return np.array(sums["matrix"])


_AVERAGES = ("binary", "macro", "micro", "weighted", None)


@dataclass(frozen=True)
class _OfEachClass(Metric):
    """What is made of each class's right, taken and actual ones, and a mean over classes.

    `average` is "macro" (all classes alike), "weighted" (by how many there are), "micro" (all
    examples alike), "binary" (class 1 alone) or None (an array). By default "binary" for two
    classes by one logit, else "macro". A class without examples counts 0, as in scikit-learn.

    Raises:
        ArgumentError: if average is none of these.
    """

    average: str | None = "auto"

    def __post_init__(self) -> None:
        if self.average not in ("auto", *_AVERAGES):
            what = type(self).__name__
            raise ArgumentError(f"{what}: average is one of {_AVERAGES}, not {self.average!r:.60}")

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """Of each class: right ones, those taken for it, and those that are of it."""
        given = classes_of(self.name, outputs, targets)
        valid = expand_dims(astype(given.counts, INT64), axis=-1)
        taken = one_hot(given.predicted, given.number, INT64) * valid
        actual = one_hot(given.targets, given.number, INT64) * valid
        sums = {"right": taken * actual, "taken": taken, "actual": actual}
        found = {name: sum(each, axis=0) for name, each in sums.items()}
        if given.scores is None:
            found["one_logit"] = reshape(sum(valid), (1,))
        return found

    def value(self, sums: Sums) -> Any:
        """The mean of the classes, or each one's."""
        right, taken, actual = (sums[name].astype(float) for name in ("right", "taken", "actual"))
        average = self.average
        if average == "auto":
            average = "binary" if "one_logit" in sums else "macro"
        if average == "micro":
            return float(self.measure(right.sum(), taken.sum(), actual.sum()))
        each = self.measure(right, taken, actual)
        if average is None:
            return each
        if average == "binary":
            return float(each[1])
        there = (taken + actual > 0).astype(float)
        weights = actual if average == "weighted" else there
        return ratio((each * weights).sum(), weights.sum())

    def measure(self, right: Any, taken: Any, actual: Any) -> Any:
        """The measure of a class.  each: [c] -> [c]"""
        raise NotImplementedError


def _share(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.zeros_like(np.asarray(part)), where=np.asarray(whole) > 0)


@dataclass(frozen=True)
class Precision(_OfEachClass):
    """Of those taken for a class, the share that is of it."""

    def measure(self, right: Any, taken: Any, actual: Any) -> Any:
        """right / taken"""
        return _share(right, taken)


@dataclass(frozen=True)
class Recall(_OfEachClass):
    """Of those that are of a class, the share that is taken for it."""

    def measure(self, right: Any, taken: Any, actual: Any) -> Any:
        """right / actual"""
        return _share(right, actual)


@dataclass(frozen=True)
class F1(_OfEachClass):
    """The harmonic mean of precision and recall of a class."""

    def measure(self, right: Any, taken: Any, actual: Any) -> Any:
        """2 * right / (taken + actual)"""
        return _share(2 * right, taken + actual)
