"""Another dtype for a model's floating variables: each place that holds one gets a new one."""

from __future__ import annotations

from collections import UserDict, UserList, deque
from collections.abc import Iterable, MutableMapping, MutableSequence
from types import MappingProxyType
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError
from staticnet.ir.dtype import DType, as_dtype, is_floating
from staticnet.ir.node import describe
from staticnet.ops.state import Variable, variable

DEVICE = "arrays move by themselves: a function runs on its own device, sn.function(..., device=)"
_LISTS = (list, deque, UserList)
_DICTS = (dict, UserDict)


def as_target(dtype: Any) -> DType:
    """The floating-point dtype that a model is to have.

    Raises:
        ArgumentError: if it is a device.
        DTypeError: if it is no such dtype.
    """
    name = str(dtype).partition(":")[0]
    if name in ("cpu", "cuda", "numpy", "mps", "auto"):
        raise ArgumentError(f"to: {DEVICE}")
    found = as_dtype(dtype)
    if not is_floating(found):
        raise DTypeError(f"to: a model's dtype is a floating-point one, not {found}")
    return found


def convert_variables(modules: Iterable[Any], dtype: DType) -> dict[Variable, Variable]:
    """Replace the modules' floating variables of another dtype; -> what stands for which.

    Raises:
        ArgumentError: if one has an update of its own, which is in its dtype; nothing changes.
    """
    held = list(modules)
    found = dict.fromkeys(v for module in held for _, v in module._variables())
    old = [v for v in found if is_floating(v.dtype) and v.dtype != dtype]
    for each in old:
        if each.default_update is not None:
            raise ArgumentError(
                f"to: {describe(each)} updates itself, in its dtype; make it anew in {dtype}"
            )
    new = {each: _converted(each, dtype) for each in old}
    for module in held:
        for name, value in list(vars(module).items()):
            swapped = _swapped(value, new, set())
            if swapped is not value:
                object.__setattr__(module, name, swapped)
    return new


def _converted(old: Variable, dtype: DType) -> Variable:
    with np.errstate(all="ignore"):  # a number too large for a float is infinite
        new = variable(old.copied().astype(dtype), old.name, old.trainable)
    new.buffer = old.buffer
    return new


def _swapped(value: Any, new: dict[Variable, Variable], seen: set[int]) -> Any:
    """A value with variables replaced: lists and dicts in place, what is frozen made anew."""
    if isinstance(value, Variable):
        return new.get(value, value)
    if id(value) in seen:
        return value
    if isinstance(value, (*_LISTS, *_DICTS)):
        seen.add(id(value))
        _swap_items(value, new, seen)
    elif isinstance(value, tuple):
        items = [_swapped(item, new, seen) for item in value]
        if any(a is not b for a, b in zip(items, value, strict=True)):
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    elif isinstance(value, MappingProxyType):
        return MappingProxyType({k: _swapped(item, new, seen) for k, item in value.items()})
    return value


def _swap_items(
    held: MutableSequence[Any] | MutableMapping[Any, Any],
    new: dict[Variable, Variable],
    seen: set[int],
) -> None:
    pairs = held.items() if isinstance(held, MutableMapping) else enumerate(held)
    for key, item in list(pairs):
        swapped = _swapped(item, new, seen)
        if swapped is not item:
            held[key] = swapped
