"""Hyper-parameters: numbers in their ranges, and learning rates that may follow the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import DType, is_floating
from staticnet.ir.node import describe
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.promotion import is_scalar, python_number
from staticnet.ops.selection import astype

Rate: TypeAlias = float | Value | Callable[[Value], Any]

_NOT_NEGATIVE = (lambda x: 0 <= x < np.inf, "a number >= 0")
_LEAST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": _NOT_NEGATIVE,
    "lr_decay": _NOT_NEGATIVE,
    "momentum": _NOT_NEGATIVE,
    "momentum_decay": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "eps": _NOT_NEGATIVE,
    "eps_root": _NOT_NEGATIVE,
    "alpha": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE,
    "clip_value": _NOT_NEGATIVE,
    "max_norm": _NOT_NEGATIVE,
    "lambd": _NOT_NEGATIVE,
    "etas": _NOT_NEGATIVE,
    "step_sizes": _NOT_NEGATIVE,
    "t0": (lambda x: -np.inf < x < np.inf, "a number"),
    "init_scale": (lambda x: _LEAST <= x <= _LARGEST, "a float32 number > 0, not subnormal"),
    "growth_factor": (lambda x: 1 < x < np.inf, "a number > 1"),
    "backoff_factor": (lambda x: 0 < x < 1, "a number in (0, 1)"),
    "dampening": (lambda x: -np.inf < x < np.inf, "a number"),
    "decay": (lambda x: 0 <= x <= 1, "a number in [0, 1]"),
    "rho": (lambda x: 0 <= x <= 1, "a number in [0, 1]"),
    "betas": (lambda x: 0 <= x < 1, "two numbers in [0, 1)"),
}


def rate_at(what: str, lr: Rate, step: Any, dtype: DType) -> Any:
    """The learning rate of a step: a number, or a scalar of the given dtype.

    Raises:
        ArgumentError: if a schedule gives something else.
    """
    rate = guarded(f"{what}: lr", lr)(step) if callable(lr) else lr
    if not isinstance(rate, Value):
        return checked_number(what, "lr", rate)
    if rate.shape != () or not is_floating(rate.dtype):
        raise ArgumentError(f"{what}: lr must be a floating-point scalar, not {describe(rate)}")
    return astype(rate, dtype)


def checked_number(what: str, name: str, value: Any) -> float:
    """`value` as a Python float, which widens no dtype.

    Raises:
        ArgumentError: if it is no number, or out of the range of what is called `name`.
    """
    inside, legal = _RANGES[name]
    number = python_number(value) if is_scalar(value) else None
    if number is None or isinstance(number, bool) or not inside(number):
        raise ArgumentError(f"{what}: {name} must be {legal}, not {value!r:.60}")
    return float(number)


def checked_field(what: str, each: dataclasses.Field[Any], value: Any) -> Any:
    """The value of a rule's field, checked if its name is one that is known here.

    Raises:
        ArgumentError: if it is out of its range.
    """
    if isinstance(each.default, bool):
        if not isinstance(value, bool):
            raise ArgumentError(f"{what}: {each.name} must be True or False, not {value!r:.60}")
        return value
    if each.name == "lr" and (callable(value) or isinstance(value, Value)):
        return value
    pair = isinstance(each.default, tuple) and each.name != "betas"
    if each.name not in _RANGES or pair:
        return value  # a user's own, which knows what it may be
    if each.name != "betas":
        return checked_number(what, each.name, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentError(f"{what}: betas must be {_RANGES['betas'][1]}, not {value!r:.60}")
    return tuple(checked_number(what, "betas", beta) for beta in value)
