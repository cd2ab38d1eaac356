"""`Metric`: sums of batches as graph nodes, and what they make over a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dtype import FLOAT64
from staticnet.ir.node import describe
from staticnet.ir.tree import flatten
from staticnet.ir.types import Shape
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.base import constant
from staticnet.ops.creation import dim_value
from staticnet.ops.selection import astype

Array = np.ndarray[Any, Any]
Sums = Mapping[str, Array]


@dataclass(frozen=True)
class Metric:
    """A measure of a whole data set, made of sums over batches of whatever size.

    A `Trainer` adds up what `update` gives, in variables of the step, and calls `value` at the end
    of an epoch. A metric of your own defines both, and may have a `name`.
    """

    @property
    def name(self) -> str:
        """What the history calls it."""
        return type(self).__name__.lower()

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """What a batch adds, by name; runs nothing.

        outputs, targets: a batch of what the model gives and of what it should
        """
        raise ArgumentError(
            f"{type(self).__name__}: its class has no update(self, outputs, targets)"
        )

    def value(self, sums: Sums) -> Any:
        """The measure: a number, or an array, of what all batches added."""
        raise ArgumentError(f"{type(self).__name__}: its class has no value(self, sums)")


@dataclass(frozen=True)
class Mean(Metric):
    """The mean over examples of a function of outputs and targets that is a mean over its batch.

    function: (outputs, targets) -> []
    """

    function: Callable[[Any, Any], Any]

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def update(self, outputs: Any, targets: Any) -> dict[str, Value]:
        """The batch's mean times its examples, and their number."""
        mean = guarded(f"metric {self.name}", self.function)(outputs, targets)
        if not isinstance(mean, Value) or mean.shape != ():
            raise ShapeError(
                f"metric {self.name}: gives {describe(mean)}, and must give a scalar node, the "
                "mean of a batch; derive from sn.train.metrics.Metric for other sums"
            )
        examples = batch_size((outputs, targets))
        return {"sum": astype(mean, FLOAT64) * examples, "examples": examples}

    def value(self, sums: Sums) -> float:
        """The sum by the number of examples."""
        return ratio(sums["sum"], sums["examples"])


def batch_size(batch: Any) -> Any:
    """How many examples a batch has: its first leaf's.  each: [batch, *s] -> float64 []"""
    first = next(leaf for leaf in flatten(batch)[0] if leaf.ndim)
    return dim_value(first.shape[0], constant(0.0, FLOAT64))


def ratio(part: Any, whole: Any) -> float:
    """part / whole, NaN of nothing."""
    return float(part) / float(whole) if whole else float("nan")


def flat(shape: Shape) -> str:
    """`[batch,3]`."""
    return f"[{','.join(map(str, shape))}]"
