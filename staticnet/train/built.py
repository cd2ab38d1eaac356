"""What a trainer is made of: the recipe, the programs that are built of it, their variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.function import Function
from staticnet.nn.module import Module
from staticnet.ops.state import Variable
from staticnet.optim.base import Optimizer
from staticnet.optim.parameters import Parameters
from staticnet.optim.plateau import ReduceLROnPlateau
from staticnet.optim.wrappers import Averaged
from staticnet.train.data.source import Layout
from staticnet.train.loaded import description
from staticnet.train.metrics.base import Metric
from staticnet.train.optimizers import chain, composed, plateaus, rate_of
from staticnet.train.programs import Evaluation, Prediction, Recipe, Step
from staticnet.train.state import named_state


class Built:
    """A model with its loss and optimizer, and what is compiled of them when it is needed."""

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Any],
        optimizer: Optimizer | None,
        metrics: tuple[Metric, ...],
        parameters: Parameters | None,
        around: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics, self.options = metrics, options
        self._parameters, self._around = parameters, around
        self._layout: Layout | None = None
        self._programs: dict[str, Any] = {}
        self._schedules: list[ReduceLROnPlateau] | None = None
        self._named: dict[str, Variable] | None = None

    def recipe(self) -> Recipe:
        """What the programs are made of."""
        optimizer = None if self.optimizer is None else self.composed()
        return Recipe(
            self.model, self.loss, optimizer, self.metrics, self._parameters, self.options
        )

    def composed(self) -> Optimizer:
        """The optimizer with what the options put around it."""
        if self.optimizer is None:
            raise ArgumentError("fit: the trainer has no optimizer; give Trainer(..., optimizer=…)")
        return composed(self.optimizer, **self._around)

    def training_step(self) -> Step:
        """The compiled step."""
        return self._program("step", Step.of)

    def evaluation(self) -> Evaluation:
        """The compiled evaluation."""
        shadows = self.shadows()
        return self._program(f"evaluate {len(shadows)}", Evaluation.of, shadows)

    def prediction(self, layout: Layout | None = None) -> Prediction:
        """The compiled prediction, of inputs of a layout or of those that were trained on."""
        shadows, layout = self.shadows(), self.layout.of_inputs() if layout is None else layout
        key = f"predict {layout} {len(shadows)}"
        if key not in self._programs:
            self._programs[key] = Prediction.of(self.recipe(), layout, shadows)
        return self._programs[key]

    @property
    def layout(self) -> Layout:
        """What a batch is.

        Raises:
            ArgumentError: if no data were seen yet.
        """
        if self._layout is None:
            raise ArgumentError(
                "Trainer: nothing is built before data are seen; call fit or evaluate first"
            )
        return self._layout

    def _program(self, name: str, make: Callable[..., Any], *more: Any) -> Any:
        if name not in self._programs:
            self._programs[name] = make(self.recipe(), self.layout, *more)
        return self._programs[name]

    def _take_layout(self, layout: Layout, what: str) -> None:
        if self._layout is not None and layout != self._layout:
            raise ArgumentError(
                f"{what}: data are {layout}, and this trainer was built for {self._layout}; "
                "convert them, or make another trainer"
            )
        self._layout = layout

    @property
    def learning_rate(self) -> float | None:
        """The rate of the next update; None before the first step is built."""
        if "step" not in self._programs:
            return None
        if "rate" not in self._programs:
            self._programs["rate"] = rate_of(self.optimizer)
        rate, made = self._programs["rate"], self.training_step().updates.step
        if not isinstance(rate, Function):
            return None if rate is None else float(rate)
        return float(rate(np.int64(0) if made is None else made.value[()]))

    def schedules(self) -> list[ReduceLROnPlateau]:
        """The schedules that need measured values."""
        if self._schedules is not None:
            return self._schedules
        return plateaus(self.optimizer, self._parameters)

    def note_plateaus(self, row: dict[str, Any]) -> None:
        """Tell the schedules that need it how the epoch went.

        Raises:
            ArgumentError: if the epoch has no such value.
        """
        for schedule in self.schedules():
            if schedule.monitor not in row:
                raise ArgumentError(
                    f"ReduceLROnPlateau: an epoch has no {schedule.monitor!r}, but "
                    f"{', '.join(row)}; give fit(validation=…), or monitor one of those"
                )
            schedule.step(row[schedule.monitor])

    def shadows(self) -> dict[Variable, Variable]:
        """Each parameter's average, once a step with `ema` is built."""
        step: Step | None = self._programs.get("step")
        if step is None and self.optimizer is not None and self._layout is not None:
            averages = any(isinstance(each, Averaged) for each in chain(self.composed()))
            step = self.training_step() if averages else None
        return {} if step is None else step.updates.shadows

    def weights(self) -> dict[str, Variable]:
        """What the model predicts with, by name: its state, and the averages of its parameters."""
        named = self.named_state()
        shadows = set(self.shadows().values())
        return {k: v for k, v in named.items() if k.startswith("model.") or v in shadows}

    def model_state(self) -> Iterator[tuple[str, Variable]]:
        """Each dotted name of the model, with its variable."""
        return ((name, variable) for name, variable, _ in self.model._all_state())

    def step_variables(self) -> Sequence[Variable]:
        """What the step reads and writes."""
        return self.training_step().function._state_variables()

    def named_state(self) -> dict[str, Variable]:
        """Every variable of the run, by its name in a checkpoint."""
        return named_state(self) if self._named is None else self._named

    def description(self) -> dict[str, Any]:
        """What a checkpoint tells beside the state: the graphs, and what their parts are."""
        if "description" not in self._programs:
            self._programs["description"] = description(self)
        return self._programs["description"]
