"""`Callback`: what a trainer calls while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from staticnet.errors import ArgumentError
from staticnet.ir.hints import missing_name

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer

HOOKS = (
    "on_fit_start",
    "on_epoch_start",
    "on_steps",
    "on_epoch_end",
    "on_checkpoint",
    "on_fit_end",
)
_RISING = ("accuracy", "top_", "precision", "recall", "f1", "auroc", "r2")


class Callback:
    """Methods that a trainer calls, each with itself; a subclass defines those that it needs.

    `trainer` has the `step` and the `epoch` made so far, the `history` with the epoch's values last
    in `history.epochs`, `latest_losses` of the steps since the last call, `should_stop` to set, and
    `save` and `evaluate`. What `state_dict` gives, numbers and arrays, lies in each checkpoint.
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step, and before anything is compiled or resumed."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first step of an epoch, or of what is left of one."""

    def on_steps(self, trainer: Trainer) -> None:
        """After some steps: as many as take a twentieth of a second, or `steps_until` allows."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the epoch's validation; its values are the history's last."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """After a checkpoint was written."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, also where an error or Ctrl-C ended the run."""

    def steps_until(self, trainer: Trainer) -> int | None:
        """How many steps may be made before `on_steps` is called; None is as many as suit."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what `state_dict` gave."""


def as_callbacks(given: Any) -> list[Any]:
    """Callbacks in the order in which they are called.

    Raises:
        ArgumentError: if one has no `on_…` method, or one that no trainer calls.
    """
    single = isinstance(given, Callback) or not isinstance(given, Iterable)
    listed = [given] if single else list(given)
    for each in listed:
        hooks = [
            name for name in dir(each) if name.startswith("on_") and callable(getattr(each, name))
        ]
        if isinstance(each, type) or not hooks:
            made = isinstance(each, type) and hooks
            hint = f"give {each.__name__}()" if made else f"one has methods {', '.join(HOOKS)}"
            raise ArgumentError(f"callbacks: {each!r:.80} is no callback; {hint}")
        for name in hooks:
            if name not in HOOKS:
                hint = str(missing_name(type(each).__name__, name, HOOKS)).partition("; ")[2]
                raise ArgumentError(
                    f"callbacks: {type(each).__name__}.{name} would never be called; "
                    f"{hint or 'use'} one of {', '.join(HOOKS)}"
                )
    return listed


class Best:
    """The best value so far of one that falls, or of one that rises."""

    def __init__(self, what: str, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(f"{what}: mode must be 'auto', 'min' or 'max', not {mode!r:.60}")
        self.what, self.monitor = what, monitor
        rises = any(monitor.removeprefix("val_").startswith(name) for name in _RISING)
        self.sign = -1 if mode == "max" or (mode == "auto" and rises) else 1
        self.min_delta = abs(min_delta)
        self.value: float | None = None

    def value_of(self, trainer: Trainer) -> float:
        """The epoch's value.

        Raises:
            ArgumentError: if there is none; says which there are.
        """
        row = trainer.history.epochs[-1]
        if self.monitor not in row:
            unmeasured = self.monitor.startswith("val_") and "val_loss" not in row
            hint = "; give fit(validation=...)" if unmeasured else ""
            raise ArgumentError(
                f"{self.what}: an epoch has no {self.monitor!r}, but {', '.join(row)}{hint}"
            )
        return float(row[self.monitor])

    def improves(self, value: float) -> bool:
        """Whether a value is better than the best; it is the best then."""
        if math.isnan(value):
            return False
        if self.value is None or self.sign * value < self.sign * self.value - self.min_delta:
            self.value = value
            return True
        return False
