"""`fit`: epochs of a compiled training step over a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.function import Function

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
        ArgumentError: if a count is no positive int, or the batch is larger than the data set.
    """
    for what, number in (("epochs", epochs), ("batch_size", batch_size)):
        if type(number) is not int or number < 1:
            raise ArgumentError(f"fit: {what} must be a positive int, not {number!r}")
    steps = len(data[0]) // batch_size
    if steps < 1:
        raise ArgumentError(f"fit: a batch of {batch_size} does not fit {len(data[0])} examples")
    seeds = np.random.SeedSequence(seed).generate_state(epochs)
    for number, epoch_seed in enumerate(seeds, 1):
        start = time.perf_counter()
        losses = step.run(steps, *data, batch_size=batch_size, shuffle=True, seed=int(epoch_seed))
        yield Epoch(number, losses, time.perf_counter() - start)
