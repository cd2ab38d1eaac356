"""Learning rates that rise and fall: once, or again and again.  PyTorch's, as graph nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.user_functions import guarded
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.arithmetic import floor_divide, minimum
from staticnet.ops.selection import where
from staticnet.optim.schedule import Schedule, as_rate, cosine


def _linear(start: float, end: float, progress: Any) -> Any:
    return start + (end - start) * progress


def _check_name(what: str, name: Any, legal: Sequence[str]) -> None:
    if not isinstance(name, str) or name not in legal:
        raise ArgumentError(f"{what} is one of {', '.join(legal)}, not {name!r:.60}")


_ANNEALING: dict[str, Callable[[float, float, Any], Any]] = {"cos": cosine, "linear": _linear}


@dataclass(frozen=True)
class OneCycleLR(Schedule):
    """lr(t) rises from max_lr / div_factor to max_lr, then falls to that / final_div_factor.

    The top is at t = pct_start * total_steps - 1, the end at total_steps - 1, where it stays. With
    `three_phase` it falls as it has risen, and only then on. Where total_steps is None it is
    epochs * steps_per_epoch.
    Smith, Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018.

    Raises:
        ArgumentError: if anneal_strategy is unknown, pct_start leaves one of the phases empty, or
            the number of steps is not given.
    """

    max_lr: float
    total_steps: int | None = None
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    epochs: int | None = None
    steps_per_epoch: int | None = None

    def __post_init__(self) -> None:
        if self.total_steps is None:
            if self.epochs is None or self.steps_per_epoch is None:
                raise ArgumentError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            epochs = as_size(self.epochs, "OneCycleLR: epochs")
            steps = as_size(self.steps_per_epoch, "OneCycleLR: steps_per_epoch")
            object.__setattr__(self, "total_steps", epochs * steps)
        super().__post_init__()
        as_bool(self.three_phase, "OneCycleLR: three_phase")
        _check_name("OneCycleLR: anneal_strategy", self.anneal_strategy, sorted(_ANNEALING))
        ends = [0, *self._ends()]
        if ends != sorted(set(ends)):
            count = "three" if self.three_phase else "both"
            raise ArgumentError(f"OneCycleLR: pct_start must leave steps for {count} phases")

    def _ends(self) -> list[float]:
        steps = self.total_steps or 0
        top, end = self.pct_start * steps - 1, steps - 1
        return [top, 2 * top, end] if self.three_phase else [top, end]

    def rate(self, t: Any) -> Any:
        anneal, ends = _ANNEALING[self.anneal_strategy], self._ends()
        initial = self.max_lr / self.div_factor
        rates = [initial, self.max_lr, *[initial] * self.three_phase]
        rates.append(initial / self.final_div_factor)
        begun = [0.0, *ends]
        lr = anneal(rates[-2], rates[-1], minimum((t - begun[-2]) / (ends[-1] - begun[-2]), 1.0))
        for i in reversed(range(len(ends) - 1)):
            rising = anneal(rates[i], rates[i + 1], (t - begun[i]) / (ends[i] - begun[i]))
            lr = where(t <= ends[i], rising, lr)
        return lr


_MODES = ("triangular", "triangular2", "exp_range")


@dataclass(frozen=True)
class CyclicLR(Schedule):
    """lr(t) = base_lr + (max_lr - base_lr) * h * s, h up and down between 0 and 1 in a cycle.

    It rises for `step_size_up` steps and falls for `step_size_down`, or as many. s is 1, halved
    with each cycle in the mode "triangular2", gamma**t in "exp_range", or `scale_fn` of the cycle's
    number, from 1, or, as `scale_mode` says, of t.
    Smith, "Cyclical learning rates for training neural networks", 2017.

    Raises:
        ArgumentError: if a count of steps is no positive int, a rate no number, a mode unknown, or
            scale_fn no function.
    """

    base_lr: float
    max_lr: float
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: str = "triangular"
    gamma: float = 1.0
    scale_fn: Callable[[Any], Any] | None = None
    scale_mode: str = "cycle"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("step_size_up", "step_size_down"):
            if getattr(self, name) is not None:
                steps = as_size(getattr(self, name), f"CyclicLR: {name}")
                object.__setattr__(self, name, steps)
        if self.scale_fn is None:
            _check_name("CyclicLR: mode", self.mode, _MODES)
        elif not callable(self.scale_fn):
            raise ArgumentError(f"CyclicLR: scale_fn is a function, not {self.scale_fn!r:.60}")
        _check_name("CyclicLR: scale_mode", self.scale_mode, ("cycle", "iterations"))

    def rate(self, t: Any) -> Any:
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        passed = floor_divide(t, up + down)
        at = t - passed * (up + down)
        height = where(at <= up, at / up, (up + down - at) / down)
        return self.base_lr + (self.max_lr - self.base_lr) * height * self._scale(passed + 1, t)

    def _scale(self, cycle: Any, t: Any) -> Any:
        if self.scale_fn is not None:
            scale = guarded("CyclicLR: scale_fn", self.scale_fn)
            return as_rate(scale(cycle if self.scale_mode == "cycle" else t))
        if self.mode == "triangular2":
            return 0.5 ** (cycle - 1)
        return 1.0 if self.mode == "triangular" else self.gamma**t
