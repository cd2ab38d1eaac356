"""A learning rate that falls where a measured value no longer improves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops.arguments import as_int
from staticnet.ops.state import Variable, variable
from staticnet.optim.numbers import checked_number
from staticnet.optim.schedule import as_factor


@dataclass(frozen=True)
class ReduceLROnPlateau:
    """lr' = max(lr * factor, min_lr) after `patience` values in a row that are no better.

    A schedule whose rate is state: `step(value)` says how good the model is now. A `Trainer` calls
    it after each epoch with its history's `monitor`; elsewhere the caller does. Names, defaults
    and rule are PyTorch's. `state` is a variable [rate, best value, bad values in a row, values of
    the cooldown to come], so it is saved and resumed with the step.

    Raises:
        ArgumentError: if an argument is out of its range.
    """

    lr: float
    mode: str = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    monitor: str = "val_loss"
    state: Variable = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        what = type(self).__name__
        if self.mode not in ("min", "max"):
            raise ArgumentError(f"{what}: mode must be 'min' or 'max', not {self.mode!r:.60}")
        if self.threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"{what}: threshold_mode must be 'rel' or 'abs', not {self.threshold_mode!r:.60}"
            )
        for name in ("factor", "threshold", "min_lr", "eps"):
            as_factor(getattr(self, name), f"{what}: {name}")
        if not 0 < self.factor < 1:
            raise ArgumentError(f"{what}: factor must be a number in (0, 1), not {self.factor!r}")
        for name in ("patience", "cooldown"):
            as_int(getattr(self, name), f"{what}: {name}", 0, 2**53, "an int >= 0")
        lr = checked_number(what, "lr", self.lr)
        first = variable(np.array([lr, self._worst, 0, 0], np.float64), "plateau", trainable=False)
        object.__setattr__(self, "state", first)

    @property
    def _worst(self) -> float:
        return math.inf if self.mode == "min" else -math.inf

    def __call__(self, step: Any) -> Any:
        """The rate as it is now, whatever the step.  step: int64 [] -> lr: float64 []"""
        return self.state[0]

    @property
    def rate(self) -> float:
        """The rate of the next step."""
        return float(self.state.value[0])

    def step(self, metrics: Any) -> None:
        """Note a measured value, and lower the rate if it is time to.

        Raises:
            ArgumentError: if it is no number.
        """
        try:
            value = float(metrics)
        except (TypeError, ValueError):
            raise ArgumentError(
                f"ReduceLROnPlateau: step takes a number, as the loss of a validation, not "
                f"{metrics!r:.60}"
            ) from None
        rate, best, bad, rest = (float(x) for x in self.state.value)
        if self._better(value, best):
            best, bad = value, 0.0
        else:
            bad += 1
        if rest > 0:
            rest, bad = rest - 1, 0.0
        if bad > self.patience:
            lower = max(rate * self.factor, self.min_lr)
            rate = lower if rate - lower > self.eps else rate
            rest, bad = float(self.cooldown), 0.0
        self.state.value = np.array([rate, best, bad, rest])

    def _better(self, value: float, best: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * value < sign * best * (1 - sign * self.threshold)
        return sign * value < sign * best - self.threshold
