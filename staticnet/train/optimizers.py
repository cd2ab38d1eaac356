"""An optimizer as a trainer needs it: wrapped by its options, looked into, its rate exchanged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.function import Function, function
from staticnet.ir.dtype import FLOAT64
from staticnet.ir.value import Value
from staticnet.ops.state import placeholder
from staticnet.optim.base import Optimizer, UpdateRule
from staticnet.optim.numbers import rate_at
from staticnet.optim.plateau import ReduceLROnPlateau
from staticnet.optim.scaling import LossScaling
from staticnet.optim.schedule import SequentialLR
from staticnet.optim.wrappers import Accumulate, Averaged, Clipped


def check_optimizer(optimizer: Any) -> None:
    """Raise ArgumentError unless it is an optimizer of `sn.optim`."""
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"Trainer: optimizer must be one of sn.optim, as sn.optim.Adam(1e-3), not "
            f"{optimizer!r:.60}"
        )


def composed(
    optimizer: Optimizer,
    *,
    precision: str,
    clip_norm: float | None,
    clip_value: float | None,
    ema: float | None,
    accumulate: int,
) -> Optimizer:
    """The optimizer with what is around it: the mean of a round is clipped, and averaged once."""
    if clip_norm is not None or clip_value is not None:
        optimizer = Clipped(optimizer, clip_norm, clip_value)
    if ema is not None:
        optimizer = Averaged(optimizer, ema)
    if precision == "float16" and not any(isinstance(x, LossScaling) for x in chain(optimizer)):
        optimizer = LossScaling(optimizer)
    return Accumulate(optimizer, accumulate) if accumulate > 1 else optimizer


def chain(optimizer: Any) -> Iterator[Any]:
    """An optimizer and those that it wraps, from outside in."""
    while optimizer is not None:
        yield optimizer
        optimizer = vars(optimizer).get("optimizer")


def inner_rule(optimizer: Any) -> UpdateRule:
    """The rule in an optimizer's wrappers.

    Raises:
        ArgumentError: if there is none that has an lr.
    """
    *_, last = chain(optimizer)
    if not isinstance(last, UpdateRule):
        raise ArgumentError(f"Trainer: {type(last).__name__} has no learning rate")
    return last


def with_lr(optimizer: Any, lr: Any) -> Any:
    """The optimizer with another rate in its innermost rule."""
    if "optimizer" in vars(optimizer):
        return dataclasses.replace(optimizer, optimizer=with_lr(optimizer.optimizer, lr))
    return dataclasses.replace(inner_rule(optimizer), lr=lr)


def plateaus(optimizer: Any, groups: Any) -> list[ReduceLROnPlateau]:
    """The schedules of an optimizer, and of its groups of parameters, that need measured values."""
    rates = [vars(each).get("lr") for each in chain(optimizer)]
    listed = groups if isinstance(groups, list | tuple) else ()
    for group in (group for group in listed if isinstance(group, dict)):
        rates += [
            group.get("lr"),
            *(vars(each).get("lr") for each in chain(group.get("optimizer"))),
        ]
    found: dict[int, ReduceLROnPlateau] = {}
    while rates:
        rate = rates.pop()
        if isinstance(rate, SequentialLR):
            rates += rate.schedules
        elif isinstance(rate, ReduceLROnPlateau):
            found.setdefault(id(rate), rate)
    return list(found.values())


def rate_of(optimizer: Any) -> Function | float | None:
    """The rate of an optimizer: a number, or what gives it for the count of updates before."""
    lr = next((vars(each)["lr"] for each in chain(optimizer) if "lr" in vars(each)), None)
    if lr is None or not (callable(lr) or isinstance(lr, Value)):
        return lr
    count = placeholder((), "int64", "step")
    return function([count], rate_at("lr", lr, count, FLOAT64), name="rate", device="numpy")
