"""Metrics of scores: how they rank, and how probable the targets are by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ShapeError
from staticnet.ir.dtype import FLOAT32, FLOAT64, INT64
from staticnet.ir.node import describe
from staticnet.ir.value import Value
from staticnet.nn.functional import cross_entropy, sigmoid, softmax
from staticnet.ops.arguments import as_size
from staticnet.ops.arithmetic import minimum
from staticnet.ops.creation import zeros
from staticnet.ops.indexing import scatter_add
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import reshape
from staticnet.train.metrics.base import Metric, Sums, ratio
from staticnet.train.metrics.classification import classes_of, count


@dataclass(frozen=True)
class AUROC(Metric):
    """The probability that one of class 1 scores higher than one of class 0; ties count half.

    outputs: logits [n] or [n, 1], or [n, 2] of both classes. Their probabilities are rounded down
    to `bins` equal steps, so that the sums stay small: what falls into one step is a tie.

    Raises:
        ArgumentError: if bins is no positive int.
    """

    bins: int = 4096

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", as_size(self.bins, "AUROC: bins"))

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """How many of each class fall into each bin."""
        given = classes_of(self.name, outputs, targets)
        if given.number != 2:
            raise ShapeError(
                f"metric auroc: outputs {describe(outputs)} have more than two classes"
            )
        if given.scores is None:
            p = sigmoid(astype(reshape(outputs, (-1,)), FLOAT32))
        else:
            p = softmax(astype(given.scores, FLOAT32), 1)[:, 1]
        at = astype(minimum(p * self.bins, self.bins - 1), INT64)
        place = where(given.counts, given.targets * self.bins + at, 0)
        cells = scatter_add(zeros(2 * self.bins, INT64), place, astype(given.counts, INT64))
        return {"bins": reshape(cells, (2, self.bins))}

    def value(self, sums: Sums) -> float:
        """The area: pairs in order, by all pairs."""
        negative, positive = sums["bins"].astype(float)
        below = np.cumsum(negative) - negative
        return ratio((positive * (below + negative / 2)).sum(), positive.sum() * negative.sum())


@dataclass(frozen=True)
class Perplexity(Metric):
    """exp of the mean cross entropy of the targets that count."""

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """The cross entropies, and their number."""
        given = classes_of(self.name, outputs, targets)
        if given.scores is None:
            raise ShapeError(
                f"metric perplexity: outputs {describe(outputs)} are no scores of classes"
            )
        truth = where(given.counts, given.targets, -100)
        total = cross_entropy(given.scores, truth, reduction="sum")
        return {"sum": astype(total, FLOAT64), "count": count(given.counts)}

    def value(self, sums: Sums) -> float:
        """exp(sum / count)"""
        with np.errstate(over="ignore"):
            return float(np.exp(ratio(sums["sum"], sums["count"])))
