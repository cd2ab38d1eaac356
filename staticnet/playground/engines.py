"""Two ways to train a model: its compiled step, many in one call; or define-by-run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from staticnet import dynamic
from staticnet.function import Function
from staticnet.optim.updates import Updates
from staticnet.playground.data import Array
from staticnet.playground.model import Model, updates_of

ROUNDS, ROUND = 6, 0.01  # of measuring a step: how many, and seconds of each


class Engine(Protocol):
    """What trains a model."""

    function: Function | None
    next_batch: int  # of the epoch: where `advance` goes on

    def advance(self, points: Array, labels: Array, epochs: int, seconds: float) -> int:
        """Train for some epochs; one that is slow may end after so many seconds. -> the steps"""
        ...

    @property
    def updates(self) -> Updates:
        """What a step writes: parameters, and what the optimizer keeps."""
        ...


def seconds_per_step(engine: Engine, points: Array, labels: Array) -> float:
    """The shortest of some bursts of steps; variables and the place in the epoch stay as they were.

    On the host it is the time of this thread, whatever else the machine does; a GPU has no such.
    """
    on_gpu = engine.function is not None and engine.function.device == "cuda"
    clock = time.perf_counter if on_gpu else time.thread_time
    before = {variable: variable.value.copy() for variable in engine.updates}
    next_batch = engine.next_batch
    epochs, best = 1, math.inf
    for _ in range(ROUNDS):
        start = clock()
        steps = engine.advance(points, labels, epochs, ROUND)
        seconds = max(clock() - start, 1e-9)
        best = min(best, seconds / steps)
        epochs = max(epochs, min(10_000, round(epochs * ROUND / seconds)))
    for variable, value in before.items():
        variable.value = value
    engine.next_batch = next_batch
    return best


class Compiled:
    """The static step: an epoch, or a hundred, is one call into C."""

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.function: Function | None = model.compile(device)
        self._step = self.function
        self._model = model
        self.next_batch = 0

    def advance(self, points: Array, labels: Array, epochs: int, seconds: float) -> int:
        """Whole epochs, however long they take: a step takes a microsecond or a few."""
        batch = self._model.config.batch
        steps = epochs * (len(points) // batch)
        self._step.run(steps, points, labels, batch_size=batch)
        return steps

    @property
    def updates(self) -> Updates:
        """The model's."""
        return self._model.updates


class Dynamic:
    """The same network on tensors: each op runs as Python meets it, and a tape goes back."""

    function: Function | None = None

    def __init__(self, model: Model, device: str = "auto") -> None:
        self._model = model
        name, lr = model.config.optimizer, model.lr
        self._optimizer = dynamic.Optimizer(
            lambda grads: updates_of(name, grads, lr), model.parameters
        )
        self.next_batch = 0

    def advance(self, points: Array, labels: Array, epochs: int, seconds: float) -> int:
        """Steps until the epochs are over or the time is; the next call goes on from there."""
        model, batch = self._model, self._model.config.batch
        per_epoch = len(points) // batch
        until = time.perf_counter() + seconds
        steps = 0
        while steps < epochs * per_epoch and (not steps or time.perf_counter() < until):
            rows = slice(self.next_batch * batch, (self.next_batch + 1) * batch)
            batch_of = dynamic.as_tensor(points[rows]), dynamic.as_tensor(labels[rows])
            loss = model.objective(model.net.judged(*batch_of))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self.next_batch = (self.next_batch + 1) % per_epoch
            steps += 1
        return steps

    @property
    def updates(self) -> Updates:
        """The optimizer's own."""
        return self._optimizer.updates


ENGINES: dict[str, Callable[[Model, str], Engine]] = {"static": Compiled, "dynamic": Dynamic}
