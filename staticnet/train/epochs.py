"""`fit`: epochs of a compiled training step over a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.function import Function
from staticnet.ops.arguments import as_size
from staticnet.ops.random import as_seed

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Epoch:
    """One epoch: its number from 1 on, the loss of each step, and its seconds."""

    number: int
    losses: Array
    seconds: float

    @property
    def loss(self) -> float:
        """The mean of the steps' losses."""
        return float(np.mean(self.losses))

    @property
    def steps_per_second(self) -> float:
        """Training steps a second."""
        return len(self.losses) / self.seconds


def fit(
    step: Function, data: Sequence[Array], *, epochs: int, batch_size: int, seed: int = 0
) -> Iterator[Epoch]:
    """Train epoch by epoch; the caller looks on, and stops by no longer asking.

    `step` gives the loss of a batch and updates the model. Each epoch visits the examples in an
    order of its own under `seed`; a last batch that is not full is left out.

    data: one array [n, *s] for each placeholder [batch, *s], in the function's order

    Raises:
        ArgumentError: if `step` gives no single scalar, `data` is no list of arrays, a count is no
            positive int, the seed is none, or the batch is larger than the data set.
    """
    _check(step, data)
    epochs, size = as_size(epochs, "fit: epochs"), as_size(batch_size, "fit: batch_size")
    steps = len(data[0]) // size
    if steps < 1:
        raise ArgumentError(f"fit: a batch of {size} does not fit {len(data[0])} examples")
    seeds = np.random.SeedSequence(as_seed(seed)).generate_state(epochs)
    return _epochs(step, data, steps, size, [int(each) for each in seeds])


def _check(step: Any, data: Any) -> None:
    if not isinstance(step, Function):
        raise ArgumentError(f"fit: the step is a compiled sn.function, not {step!r:.60}")
    outputs = step.graph.outputs
    if len(outputs) != 1 or outputs[0].shape != ():
        given = ", ".join(str(node.type) for node in outputs)
        raise ArgumentError(f"fit: the step gives one scalar, its loss, and not ({given})")
    if not isinstance(data, tuple | list) or not data or not all(map(np.ndim, data)):
        raise ArgumentError(
            "fit: data is a list of arrays, one for each placeholder, each with all examples along "
            f"its first axis; not {data!r:.60}"
        )


def _epochs(
    step: Function, data: Sequence[Array], steps: int, size: int, seeds: Sequence[int]
) -> Iterator[Epoch]:
    for number, seed in enumerate(seeds, 1):
        start = time.perf_counter()
        losses = step.run(steps, *data, batch_size=size, shuffle=True, seed=seed)
        losses = losses[0] if isinstance(losses, list) else losses
        yield Epoch(number, losses, time.perf_counter() - start)
