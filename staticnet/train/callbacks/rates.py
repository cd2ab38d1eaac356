"""`LearningRateFinder`: a search for a learning rate before the training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops.arguments import as_size
from staticnet.optim.numbers import checked_number
from staticnet.optim.schedule import ExponentialLR
from staticnet.train.callbacks.base import Callback
from staticnet.train.data.source import Plan
from staticnet.train.optimizers import inner_rule, with_lr
from staticnet.train.programs import Step

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer


class LearningRateFinder(Callback):
    """Try rates from min_lr to max_lr, each a step, and train with the one of the steepest descent.

    `rates` and `losses` are what was tried, `suggestion` is what was chosen; `update=False` only
    looks. The model is as it was before. The search ends where the loss is
    `early_stop_threshold` times its best.
    Smith, "Cyclical learning rates for training neural networks", 2017; rule and defaults are
    PyTorch Lightning's.

    Raises:
        ArgumentError: if an argument is out of its range, or the optimizer's rate is a schedule,
            which a number cannot take the place of.
    """

    def __init__(
        self,
        min_lr: float = 1e-8,
        max_lr: float = 1.0,
        num_training_steps: int = 100,
        early_stop_threshold: float | None = 4.0,
        update: bool = True,
    ) -> None:
        what = type(self).__name__
        self.min_lr = checked_number(what, "lr", min_lr)
        self.max_lr = checked_number(what, "lr", max_lr)
        if not 0 < self.min_lr < self.max_lr:
            raise ArgumentError(f"{what}: needs 0 < min_lr < max_lr, not {min_lr!r} and {max_lr!r}")
        self.steps = as_size(num_training_steps, f"{what}: num_training_steps")
        self.threshold, self.update = early_stop_threshold, update
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.suggestion: float | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Search, unless the run goes on from a checkpoint."""
        if trainer.step or trainer.resumes:
            return
        rule = inner_rule(trainer.optimizer)
        if self.update and not isinstance(rule.lr, float | int):
            raise ArgumentError(
                f"LearningRateFinder: {type(rule).__name__}'s lr is {type(rule.lr).__name__}, "
                "which stays; give a number as lr, or update=False to look"
            )
        before = {variable: variable.value for _, variable in trainer.model_state()}
        try:
            self._search(trainer)
        finally:
            for variable, value in before.items():
                variable.value = value
        self.suggestion = self._suggest()
        if self.update and self.suggestion is not None:
            trainer.optimizer = with_lr(trainer.optimizer, self.suggestion)

    def _search(self, trainer: Trainer) -> None:
        growth = (self.max_lr / self.min_lr) ** (1 / max(self.steps - 1, 1))
        schedule = ExponentialLR(self.min_lr, growth)
        recipe = replace(trainer.recipe(), optimizer=with_lr(trainer.composed(), schedule))
        assert trainer.source is not None
        step = Step.of(recipe, trainer.source.layout)
        best, number = np.inf, 0
        while len(self.losses) < self.steps:
            epoch = trainer.source.epoch(Plan(number, trainer.batch_size, drop_last=True))
            while (
                len(self.losses) < self.steps and (made := epoch.run(step.function, 1)) is not None
            ):
                loss = float(made[0][0][0])
                self.rates.append(self.min_lr * growth ** len(self.losses))
                self.losses.append(loss)
                best = min(best, loss)
                if self.threshold is not None and not loss <= self.threshold * abs(best):
                    epoch.close()
                    return
            epoch.close()
            number += 1

    def _suggest(self, skip_begin: int = 10, skip_end: int = 1) -> float | None:
        """The rate where the loss falls most steeply, the first and last ones left out."""
        losses = np.array(self.losses[skip_begin : len(self.losses) - skip_end])
        if len(losses) < 2 or not np.isfinite(losses).all():
            return None
        return self.rates[int(np.gradient(losses).argmin()) + skip_begin]
