"""`EarlyStopping`: the end of a training that no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.ops.arguments import as_int
from staticnet.train.callbacks.base import Best, Callback

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer


class EarlyStopping(Callback):
    """Stop after `patience` epochs in a row without a better value of `monitor`.

    Better is by more than `min_delta`; with mode "auto" an accuracy and its like rises, and all
    else falls. `restore_best_weights` ends with the weights of the best epoch. `stopped_epoch` is
    the number of the last epoch, 0 if it did not stop.

    Raises:
        ArgumentError: if an argument is out of its range, or an epoch has no such value.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 3,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        self._best = Best("EarlyStopping", monitor, mode, min_delta)
        self.monitor, self.restore_best_weights = monitor, restore_best_weights
        self.patience = as_int(patience, "EarlyStopping: patience", 0, 2**53, "an int >= 0")
        self.wait = self.stopped_epoch = 0
        self._weights: dict[str, np.ndarray[Any, Any]] = {}

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self._best.value

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Count the epochs that were no better."""
        if self._best.improves(self._best.value_of(trainer)):
            self.wait = 0
            if self.restore_best_weights:
                self._weights = {name: v.copied() for name, v in trainer.weights().items()}
            return
        self.wait += 1
        if self.wait >= max(self.patience, 1):
            trainer.should_stop, self.stopped_epoch = True, trainer.epoch

    def on_fit_end(self, trainer: Trainer) -> None:
        """Take the weights of the best epoch."""
        if self._weights and not trainer.history.interrupted:
            for name, variable in trainer.weights().items():
                variable.value = self._weights[name]

    def state_dict(self) -> dict[str, Any]:
        """The best value, the epochs since, and the weights that are kept."""
        weights = {f"weights.{name}": value for name, value in self._weights.items()}
        return {
            "best": self.best,
            "wait": self.wait,
            "stopped_epoch": self.stopped_epoch,
            **weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._best.value, self.wait = state["best"], state["wait"]
        self.stopped_epoch = state["stopped_epoch"]
        self._weights = {
            name.removeprefix("weights."): value
            for name, value in state.items()
            if name.startswith("weights.")
        }
