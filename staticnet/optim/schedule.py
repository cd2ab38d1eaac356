"""Learning rates as functions of the step: PyTorch's schedulers, in closed form, as graph nodes.

A schedule is called on the int64 node that counts the updates made so far, and gives a float64
scalar, which the optimizer casts to the dtype it computes in. Any function of that node will do:
`Adam(lr=lambda step: 1e-3 / sn.sqrt(sn.astype(step + 1, "float32")))`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, fields
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import FLOAT64, INT64
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_int, as_size, as_tuple
from staticnet.ops.arithmetic import floor_divide, minimum
from staticnet.ops.base import as_value, constant
from staticnet.ops.indexing import take
from staticnet.ops.promotion import is_scalar, python_number
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import cos


@dataclass(frozen=True)
class Schedule:
    """lr = f(t), t the number of updates made before.  step: int64 [] -> lr: float64 []

    Raises:
        ArgumentError: if a count of steps is not a positive int, or a rate or factor no number.
    """

    def __post_init__(self) -> None:
        what = type(self).__name__
        for name in ("step_size", "T_max", "total_iters", "total_steps", "T_0", "T_mult"):
            if hasattr(self, name):
                object.__setattr__(self, name, as_size(getattr(self, name), f"{what}: {name}"))
        for each in fields(self):
            if each.type in ("float", float):
                number = as_factor(getattr(self, each.name), f"{what}: {each.name}")
                object.__setattr__(self, each.name, number)

    def __call__(self, step: Any) -> Any:
        """The rate of the update after `step` others.  step: int64 [] -> lr: float64 []"""
        return as_rate(self.rate(astype(as_value(step), FLOAT64)))

    def rate(self, t: Any) -> Any:
        """The formula.  t: float64 [] -> lr: float64 []"""
        raise NotImplementedError


def as_factor(value: Any, what: str) -> Any:
    """A number as a float; a node as it is.

    Raises:
        ArgumentError: if it is neither.
    """
    if isinstance(value, Value):
        return value
    number = python_number(value) if is_scalar(value) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ArgumentError(f"{what} must be a number, not {value!r:.60}")
    return float(number)


def as_rate(rate: Any) -> Any:
    """What a schedule gives, a number or a node, as a node.  -> float64 []"""
    return astype(rate if isinstance(rate, Value) else constant(rate, FLOAT64), FLOAT64)


@dataclass(frozen=True)
class Constant(Schedule):
    """lr(t) = lr."""

    lr: float

    def rate(self, t: Any) -> Any:
        return as_rate(self.lr)


@dataclass(frozen=True)
class StepLR(Schedule):
    """lr(t) = lr * gamma**floor(t / step_size)."""

    lr: float
    step_size: int
    gamma: float = 0.1

    def rate(self, t: Any) -> Any:
        return self.lr * self.gamma ** floor_divide(t, self.step_size)


@dataclass(frozen=True)
class MultiStepLR(Schedule):
    """lr(t) = lr * gamma**n, n the number of milestones m <= t; one named twice counts twice.

    Raises:
        ArgumentError: if a milestone is no int.
    """

    lr: float
    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = [as_int(m, "MultiStepLR: a milestone") for m in as_tuple(self.milestones)]
        object.__setattr__(self, "milestones", tuple(sorted(steps)))

    def rate(self, t: Any) -> Any:
        passed: Any = constant(0.0, FLOAT64)
        for milestone in self.milestones:
            passed = passed + astype(t >= milestone, FLOAT64)
        return self.lr * self.gamma**passed


@dataclass(frozen=True)
class ExponentialLR(Schedule):
    """lr(t) = lr * gamma**t."""

    lr: float
    gamma: float

    def rate(self, t: Any) -> Any:
        return self.lr * self.gamma**t


@dataclass(frozen=True)
class LinearLR(Schedule):
    """lr(t) = lr * (start_factor + (end_factor - start_factor) * min(t / total_iters, 1)).

    The usual warm-up.
    """

    lr: float
    start_factor: float = 1 / 3
    end_factor: float = 1.0
    total_iters: int = 5

    def rate(self, t: Any) -> Any:
        progress = minimum(t / self.total_iters, 1.0)
        return self.lr * (self.start_factor + (self.end_factor - self.start_factor) * progress)


@dataclass(frozen=True)
class ConstantLR(Schedule):
    """lr(t) = lr * factor for t < total_iters, then lr.

    Raises:
        ArgumentError: if factor is not in [0, 1], or total_iters no positive int.
    """

    lr: float
    factor: float = 1 / 3
    total_iters: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.factor, Value) and not 0 <= self.factor <= 1:
            raise ArgumentError(f"ConstantLR: factor must be in [0, 1], not {self.factor!r:.60}")

    def rate(self, t: Any) -> Any:
        return where(t < self.total_iters, as_rate(self.lr * self.factor), self.lr)


@dataclass(frozen=True)
class LambdaLR(Schedule):
    """lr(t) = lr * lr_lambda(t): any function of the step's node.

    Raises:
        ArgumentError: if lr_lambda is no function.
    """

    lr: float
    lr_lambda: Callable[[Any], Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.lr_lambda):
            raise ArgumentError(f"LambdaLR: lr_lambda is a function, not {self.lr_lambda!r:.60}")

    def rate(self, t: Any) -> Any:
        return self.lr * as_rate(guarded("LambdaLR: lr_lambda", self.lr_lambda)(t))


@dataclass(frozen=True)
class PolynomialLR(Schedule):
    """lr(t) = lr * (1 - min(t / total_iters, 1))**power."""

    lr: float
    total_iters: int = 5
    power: float = 1.0

    def rate(self, t: Any) -> Any:
        return self.lr * (1 - minimum(t / self.total_iters, 1.0)) ** self.power


@dataclass(frozen=True)
class CosineAnnealingLR(Schedule):
    """lr(t) = eta_min + (lr - eta_min) * (1 + cos(pi * t / T_max)) / 2; past T_max it rises again.

    Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    lr: float
    T_max: int
    eta_min: float = 0.0

    def rate(self, t: Any) -> Any:
        return cosine(self.lr, self.eta_min, t / self.T_max)


@dataclass(frozen=True)
class CosineAnnealingWarmRestarts(Schedule):
    """lr(t) = eta_min + (lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2, T_cur = t - start of i.

    The first period has T_0 steps, each later one T_mult times as many as the one before.
    Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    Raises:
        ArgumentError: if T_0 or T_mult is no positive int.
    """

    lr: float
    T_0: int
    T_mult: int = 1
    eta_min: float = 0.0

    def rate(self, t: Any) -> Any:
        if self.T_mult == 1:
            progress = (t - self.T_0 * floor_divide(t, self.T_0)) / self.T_0
            return cosine(self.lr, self.eta_min, progress)
        starts, lengths = [0], [self.T_0]
        while starts[-1] < 2**53:  # beyond that a float64 counts no single steps
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.T_mult)
        firsts, sizes = (constant(np.array(x, FLOAT64)) for x in (starts, lengths))
        period = sum(astype(t >= firsts, INT64)) - 1
        progress = (t - take(firsts, period)) / take(sizes, period)
        return cosine(self.lr, self.eta_min, progress)


def cosine(start: float, end: float, progress: Any) -> Any:
    """From start to end along half a period.  progress: [] in [0, 1] -> []"""
    return end + (start - end) / 2 * (1 + cos(math.pi * progress))


@dataclass(frozen=True)
class SequentialLR:
    """lr(t) = schedules[i](t - milestones[i-1]) for milestones[i-1] <= t < milestones[i].

    Warm-up, then another: `SequentialLR([LinearLR(lr, total_iters=100), cosine], [100])`. They may
    be called `schedulers`, as in PyTorch.

    Raises:
        ArgumentError: if the milestones do not rise or are not one fewer than the schedules.
    """

    schedules: Sequence[Callable[[Any], Any]] = ()
    milestones: Sequence[int] = ()
    schedulers: InitVar[Sequence[Callable[[Any], Any]] | None] = None

    def __post_init__(self, schedulers: Sequence[Callable[[Any], Any]] | None) -> None:
        if schedulers is not None:
            if self.schedules:
                raise ArgumentError("SequentialLR: schedules and schedulers are one; give either")
            object.__setattr__(self, "schedules", schedulers)
        if not self.schedules:
            raise ArgumentError("SequentialLR: give schedules, and where each but the first begins")
        ends = [as_int(end, "SequentialLR: a milestone") for end in as_tuple(self.milestones)]
        if len(ends) != len(self.schedules) - 1 or ends != sorted(set(ends)):
            raise ArgumentError(
                f"SequentialLR: {len(self.schedules)} schedules need {len(self.schedules) - 1} "
                f"rising milestones, not {ends}"
            )
        object.__setattr__(self, "milestones", ends)

    def __call__(self, step: Any) -> Any:
        """The rate of the update after `step` others.  step: int64 [] -> lr: float64 []"""
        step = as_value(step)
        first, *later = (guarded("SequentialLR: a schedule", each) for each in self.schedules)
        rate = as_rate(first(step))
        for start, schedule in zip(self.milestones, later, strict=True):
            rate = where(step < start, rate, as_rate(schedule(step - start)))
        return rate
