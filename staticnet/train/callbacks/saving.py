"""What a run leaves on the disk: checkpoints, and a table of its epochs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet import files
from staticnet.errors import ArgumentError
from staticnet.ops.arguments import as_size
from staticnet.train import checkpoint
from staticnet.train.callbacks.base import Best, Callback

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer


class Checkpoint(Callback):
    """Write a checkpoint every so many steps, or with every="epoch" after each epoch.

    The newest `keep` are kept, all with None, and beside them the one of the best `best`, a column
    of the history; `best=True` is "val_loss", or "loss" without validation. A run with `out` has
    one without asking.

    Raises:
        ArgumentError: if an argument is out of its range.
        StateError: if one cannot be written; those before are as they were.
    """

    def __init__(
        self,
        every: int | str = "epoch",
        keep: int | None = 3,
        best: str | bool | None = None,
        mode: str = "auto",
    ) -> None:
        self.every = every if every == "epoch" else as_size(every, "Checkpoint: every")
        self.keep = None if keep is None else as_size(keep, "Checkpoint: keep")
        self._monitor, self._mode = best, mode
        self._best: Best | None = Best("Checkpoint", "", mode)
        self.best_step: int | None = None

    @property
    def best_value(self) -> float | None:
        """The best value so far of what is looked at."""
        return self._best.value if self._best else None

    def on_fit_start(self, trainer: Trainer) -> None:
        """A place is needed."""
        if trainer.out is None:
            raise ArgumentError("Checkpoint: where? give fit(..., out='runs/name')")

    def steps_until(self, trainer: Trainer) -> int | None:
        """Up to the next one."""
        return None if self.every == "epoch" else int(self.every) - trainer.step % int(self.every)

    def on_steps(self, trainer: Trainer) -> None:
        """One within an epoch."""
        if self.every != "epoch" and trainer.step % int(self.every) == 0:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """One after an epoch; the best of them is kept."""
        improved = self._monitor and self._improves(trainer)
        if improved:
            self.best_step = trainer.step
        if improved or self.every == "epoch" or trainer.should_stop:
            self._write(trainer)
        if improved and trainer.out is not None:
            files.write(trainer.out / "best", f"checkpoints/step_{trainer.step}.safetensors\n")

    def on_fit_end(self, trainer: Trainer) -> None:
        """One where Ctrl-C ended the run, or the last epoch did."""
        if trainer.failed is None and trainer.saved_step != trainer.step:
            self._write(trainer)

    def _improves(self, trainer: Trainer) -> bool:
        assert self._best is not None
        if not self._best.monitor:
            row = trainer.history.epochs[-1]
            default = "val_loss" if "val_loss" in row else "loss"
            name = default if self._monitor is True else str(self._monitor)
            value = self._best.value
            self._best = Best("Checkpoint", name, self._mode)
            self._best.value = value
        return self._best.improves(self._best.value_of(trainer))

    def _write(self, trainer: Trainer) -> None:
        trainer.save_checkpoint()
        assert trainer.out is not None
        kept = set() if self.best_step is None else {self.best_step}
        checkpoint.retain(trainer.out, self.keep, kept)

    def state_dict(self) -> dict[str, Any]:
        """The best value and its step."""
        return {"best": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        assert self._best is not None
        self._best.value, self.best_step = state["best"], state["best_step"]


class CSVLogger(Callback):
    """Write the history as a table, `metrics.csv` of the run's folder, after each epoch.

    It is written as a whole, so a resumed run has no row twice.

    Raises:
        ArgumentError: if there is no file, and the run has no `out`.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None) -> None:
        self.file = None if file is None else Path(file)

    def on_fit_start(self, trainer: Trainer) -> None:
        """A place is needed."""
        if self.file is None and trainer.out is None:
            raise ArgumentError("CSVLogger: where? give a file, or fit(..., out='runs/name')")

    def on_epoch_end(self, trainer: Trainer) -> None:
        """All epochs so far."""
        history, text = trainer.history, io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *history])
        for number, row in enumerate(history.epochs, 1):
            writer.writerow([number, *(_cell(row.get(name)) for name in history)])
        file = self.file or (trainer.out or Path()) / "metrics.csv"
        files.write(file, text.getvalue())


def _cell(value: Any) -> Any:
    return json.dumps(value.tolist()) if isinstance(value, np.ndarray) else value
