"""What chains around an optimizer's updates: accumulation, averages, decay, guards.

updates = ema(skip_nonfinite(Accumulate(AdamW(lr=schedule), steps=4).minimize(loss)))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import compute_dtype, is_floating
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_size
from staticnet.ops.comparison import isfinite
from staticnet.ops.reduction import all
from staticnet.ops.selection import astype, where
from staticnet.ops.state import Variable, variable
from staticnet.optim.base import Optimizer, check_inner, lerp
from staticnet.optim.clip import clip_by_global_norm, clip_by_value, values_of
from staticnet.optim.numbers import Rate, checked_number, rate_at
from staticnet.optim.parameters import Parameters, check_gradients
from staticnet.optim.updates import Updates


@dataclass(frozen=True)
class Accumulate(Optimizer):
    """Every `steps`-th run updates with the mean gradient of `steps` runs; the others only sum.

    With equal batches and a mean loss that equals one step on the batch of them all. In between
    parameters, state and step count of the inner optimizer stay as they are.

    Raises:
        ArgumentError: if `optimizer` is none, or `steps` is not a positive int.
    """

    optimizer: Optimizer
    steps: int

    def __post_init__(self) -> None:
        check_inner("Accumulate", self.optimizer)
        object.__setattr__(self, "steps", as_size(self.steps, "Accumulate: steps"))

    def gradients(self, loss: Value, wrt: Sequence[Variable]) -> dict[Variable, Value]:
        """The gradients as the inner optimizer takes them.  loss: [] -> each as its variable"""
        return self.optimizer.gradients(loss, wrt)

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """The inner optimizer's updates, made where the last gradient of a round has come."""
        check_gradients(grads, wrt)
        count = variable(0, "accumulate.count", trainable=False)
        sums = {w: _accumulator(w, g) for w, g in grads.items()}
        totals = {w: sums[w] + g for w, g in grads.items()}
        last = count == self.steps - 1
        means = {w: total / self.steps for w, total in totals.items()}
        updates = self.optimizer.apply(means, wrt).only_if(last)
        updates |= {sums[w]: where(last, 0, total) for w, total in totals.items()}
        updates[count] = where(last, 0, count + 1)
        return updates


@dataclass(frozen=True)
class Clipped(Optimizer):
    """The inner optimizer's updates for gradients clipped to a norm of all, or element by element.

    Inside `Accumulate` it is the mean of a round that is clipped; around it, each gradient is.

    Raises:
        ArgumentError: if `optimizer` is none, or a limit no number >= 0.
    """

    optimizer: Optimizer
    max_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        check_inner("Clipped", self.optimizer)
        for name in ("max_norm", "clip_value"):
            if getattr(self, name) is not None:
                checked_number("Clipped", name, getattr(self, name))

    def gradients(self, loss: Value, wrt: Sequence[Variable]) -> dict[Variable, Value]:
        """The gradients as the inner optimizer takes them.  loss: [] -> each as its variable"""
        return self.optimizer.gradients(loss, wrt)

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """The inner optimizer's updates for what is left of the gradients."""
        check_gradients(grads, wrt)
        if self.max_norm is not None:
            grads = clip_by_global_norm(grads, self.max_norm)
        if self.clip_value is not None:
            grads = clip_by_value(grads, self.clip_value)
        return self.optimizer.apply(grads, wrt)


@dataclass(frozen=True)
class Averaged(Optimizer):
    """The inner optimizer's updates, and `ema` of its parameters beside them.

    Inside `Accumulate` the averages move with each update, around it with each run.

    Raises:
        ArgumentError: if `optimizer` is none, or `decay` not in [0, 1].
    """

    optimizer: Optimizer
    decay: float = 0.999

    def __post_init__(self) -> None:
        check_inner("Averaged", self.optimizer)
        checked_number("Averaged", "decay", self.decay)

    def gradients(self, loss: Value, wrt: Sequence[Variable]) -> dict[Variable, Value]:
        """The gradients as the inner optimizer takes them.  loss: [] -> each as its variable"""
        return self.optimizer.gradients(loss, wrt)

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """The inner optimizer's updates and those of the averages."""
        return ema(self.optimizer.apply(grads, wrt), self.decay)


def _accumulator(w: Variable, g: Value) -> Variable:
    zero = np.zeros(w.shape, g.dtype)
    return variable(zero, _derived_name(w, "grad_sum"), trainable=False)


def _derived_name(w: Variable, suffix: str) -> str:
    return f"{w.name}.{suffix}" if w.name else suffix


def ema(updates: Mapping[Variable, Value], decay: float = 0.999) -> Updates:
    """shadow' = decay * shadow + (1 - decay) * w': the updates, and averages of the parameters.

    `.shadows` of the result maps each parameter to its shadow, which starts as the parameter is
    and is at least float32.
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Raises:
        ArgumentError: if decay is not in [0, 1], or updates is no mapping.
    """
    decay = checked_number("ema", "decay", decay)
    extended = Updates.of(updates)
    for w in extended.parameters:
        wide = compute_dtype(w.dtype)
        shadow = variable(w.value.astype(wide), _derived_name(w, "ema"), trainable=False)
        extended[shadow] = lerp(shadow, astype(extended[w], wide), 1 - decay)
        extended.shadows[w] = shadow
    return extended


def skip_nonfinite(
    updates: Mapping[Variable, Value],
    watch: Value | Sequence[Value] | Mapping[Any, Value] | None = None,
) -> Updates:
    """next = next if everything watched is finite, else the present value, for all variables.

    `watch` is the loss, gradients or other values; None is all that the updates would write.
    `.skipped` of the result is the variable that counts the skipped runs.

    Raises:
        ArgumentError: if updates is no mapping, or a watched thing is no value.
        DTypeError: if a watched value is not floating-point.
    """
    updates = Updates.of(updates)
    if watch is None:
        watch = [value for value in updates.values() if is_floating(value.dtype)]
    finite = all_finite("skip_nonfinite", watch)
    guarded = updates.only_if(finite)
    guarded.skipped = variable(0, "skipped", trainable=False)
    guarded[guarded.skipped] = where(finite, guarded.skipped, guarded.skipped + 1)
    return guarded


def all_finite(what: str, values: Value | Sequence[Value] | Mapping[Any, Value]) -> Any:
    """Whether no element of any value is NaN or infinite; True of no values.  -> bool []

    Raises:
        ArgumentError, DTypeError: naming `what`, if one is no floating-point value.
    """
    finite: Any = True
    for value in values_of(what, values):
        finite = all(isfinite(value)) & finite
    return finite


def decoupled_weight_decay(
    updates: Mapping[Variable, Value], weight_decay: float, lr: Rate
) -> Updates:
    """w' = w' - lr * weight_decay * w: decay of the parameters beside any optimizer's step.

    It decays at every run; inside `Accumulate` take an optimizer with a decay of its own.
    Loshchilov, Hutter, "Decoupled weight decay regularization", 2019.

    Raises:
        ArgumentError: if a number is out of range, or lr is a schedule and updates count no steps.
    """
    weight_decay = checked_number("decoupled_weight_decay", "weight_decay", weight_decay)
    decayed = Updates.of(updates)
    if callable(lr) and decayed.step is None:
        raise ArgumentError("decoupled_weight_decay: lr is a schedule and updates count no steps")
    for w in decayed.parameters:
        rate = rate_at("decoupled_weight_decay", lr, decayed.step, compute_dtype(w.dtype))
        decayed[w] = decayed[w] - astype(rate * weight_decay, w.dtype) * w
    return decayed
