"""`ProgressBar`: a live bar on a terminal, and a line an epoch anywhere else."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.report.units import format_seconds, two_digits
from staticnet.train.callbacks.base import Callback

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer

WEIGHT = 0.98  # of the loss so far in what the bar shows


class ProgressBar(Callback):
    """Show each epoch's steps, time left, loss and examples a second, and a line when it ends.

    `live` says whether the output is a terminal on which lines can be written over; None looks.
    """

    def __init__(self, live: bool | None = None) -> None:
        self._wants_live = live
        self._bar: Any = None
        self._task: Any = None
        self._loss = float("nan")
        self._begin = 0.0
        self._examples = 0

    def on_epoch_start(self, trainer: Trainer) -> None:
        """A bar of the epoch's steps."""
        self._begin, self._examples, self._loss = time.perf_counter(), 0, float("nan")
        live = sys.stdout.isatty() if self._wants_live is None else self._wants_live
        if live:
            self._open(trainer)

    def _open(self, trainer: Trainer) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn(f"epoch {trainer.epoch + 1}/{trainer.epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, transient=True)
        self._task = self._bar.add_task("", total=trainer.steps_in_epoch, completed=trainer.batch)
        self._bar.start()

    def on_steps(self, trainer: Trainer) -> None:
        """How far it is."""
        self._examples += trainer.latest_examples
        if self._bar is None:
            return
        mean = float(np.mean(trainer.latest_losses))
        kept = WEIGHT ** len(trainer.latest_losses)
        self._loss = mean if np.isnan(self._loss) else kept * self._loss + (1 - kept) * mean
        shown = f"loss {self._loss:.4g}  {self._rate():,.0f} examples/s"
        self._bar.update(self._task, completed=trainer.batch, description=shown)

    def _rate(self) -> float:
        return self._examples / max(time.perf_counter() - self._begin, 1e-9)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """The epoch in one line."""
        seconds, rate = time.perf_counter() - self._begin, self._rate()
        self._close()
        row = trainer.history.epochs[-1]
        values = "  ".join(f"{name} {x:.4g}" for name, x in row.items() if np.ndim(x) == 0)
        number = f"{trainer.epoch:>{len(str(trainer.epochs))}}/{trainer.epochs}"
        took = f"{format_seconds(seconds)}, {two_digits(rate)} examples/s"
        print(f"epoch {number}  {values}  {took}", flush=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Leave the terminal as it was, and say what Ctrl-C ended."""
        self._close()
        if trainer.history.interrupted:
            kept = f"; resume=True goes on from {trainer.out}" if trainer.out else ""
            print(
                f"interrupted in epoch {trainer.epoch + 1} at step {trainer.step}{kept}", flush=True
            )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
