"""Metrics of numbers; their sums are float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dtype import FLOAT64
from staticnet.ir.node import describe
from staticnet.ir.value import Value
from staticnet.ops.arithmetic import abs
from staticnet.ops.base import constant
from staticnet.ops.creation import dim_value
from staticnet.ops.selection import astype
from staticnet.ops.shape import reshape, sum
from staticnet.train.metrics.base import Metric, Sums, flat, ratio


def pairs_of(what: str, outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Outputs and targets in float64, of one shape [n, d]; a column [n, 1] may stand for [n].

    Raises:
        ShapeError: if their shapes differ otherwise.
    """
    for given in (outputs, targets):
        if not isinstance(given, Value):
            raise ArgumentError(f"metric {what}: takes one node each, not {given!r:.60}")
    shapes = {tuple(x.shape[:-1] if x.shape[1:] == (1,) else x.shape) for x in (outputs, targets)}
    if len(shapes) != 1:
        raise ShapeError(
            f"metric {what}: outputs {describe(outputs)} and targets {flat(targets.shape)} must "
            "have one shape; reshape one"
        )
    first = outputs.shape[0]
    wide = (astype(x, FLOAT64) for x in (outputs, targets))
    if len(outputs.shape) == 1 or outputs.shape[1:] == (1,):
        found = [reshape(x, (first, 1)) for x in wide]
    else:
        found = [reshape(x, (first, -1)) for x in wide]
    return found[0], found[1]


@dataclass(frozen=True)
class MAE(Metric):
    """mean |output - target|, over all elements."""

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """The absolute errors, and the number of elements."""
        y, t = pairs_of(self.name, outputs, targets)
        elements = dim_value(y.shape[0], constant(0.0, FLOAT64)) * dim_value(y.shape[1], y)
        return {"sum": sum(abs(y - t)), "count": elements}

    def value(self, sums: Sums) -> float:
        """sum / count"""
        return ratio(sums["sum"], sums["count"])


@dataclass(frozen=True)
class R2(Metric):
    """1 - sum (output - target)**2 / sum (target - mean)**2, the mean over columns.

    A column whose targets are all equal counts 1 if it is met exactly, else 0, as in scikit-learn.
    """

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """Of each column the squared errors, and the targets' first two moments."""
        y, t = pairs_of(self.name, outputs, targets)
        examples = dim_value(y.shape[0], constant(0.0, FLOAT64))
        sums = {"errors": (y - t) * (y - t), "targets": t, "squares": t * t}
        return {name: sum(x, axis=0) for name, x in sums.items()} | {"examples": examples}

    def value(self, sums: Sums) -> float:
        """The mean of the columns."""
        n, errors = sums["examples"], sums["errors"]
        if not n:
            return float("nan")
        total = sums["squares"] - sums["targets"] ** 2 / n
        varies = total > 1e-12 * sums["squares"]
        shares = np.divide(errors, total, out=(errors > 0).astype(float), where=varies)
        return float(np.mean(1 - shares))
