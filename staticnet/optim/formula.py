"""An optimizer's formula for one parameter, which may be a user's own, and what it may give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from staticnet.errors import ArgumentError, StaticnetError
from staticnet.ir.dtype import is_floating
from staticnet.ir.location import current, written_at
from staticnet.ir.node import describe
from staticnet.ir.types import format_shape
from staticnet.ir.user_functions import guarded
from staticnet.ops.base import as_value
from staticnet.ops.promotion import as_array, is_weak


class Formula(Protocol):
    """What `UpdateRule` asks of its classes."""

    def initial_state(self, w: Any) -> Any:
        """What is kept for a parameter."""

    def update(self, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
        """The next value of a parameter."""


def first_state(rule: Formula, w: Any) -> dict[str, Any]:
    """The names and first values of what a rule keeps for a parameter.

    Raises:
        ArgumentError: if its `initial_state` fails, or gives no mapping of names to arrays.
    """
    given = _called(rule, "initial_state", w)
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        _refuse(rule, "initial_state", f"gives {given!r:.60}, and must give a dict of arrays")
    for name, value in given.items():
        try:
            as_array(value)
        except (StaticnetError, TypeError, ValueError):
            _refuse(rule, "initial_state", f"gives {value!r:.60} for {name!r}, which is no array")
    return dict(given)


def next_value(rule: Formula, w: Any, g: Any, s: dict[str, Any], lr: Any, t: Any) -> Any:
    """The next value of w; that of the state is in s.

    Raises:
        ArgumentError: if its `update` fails, gives something that is not as w, or writes a state
            that is not as the one before, or that `initial_state` does not name.
    """
    before = dict(s)
    new = _fitting(rule, _called(rule, "update", w, g, s, lr, t), w, describe(w))
    for name in s.keys() ^ before.keys():
        what = "takes away" if name in before else "writes"
        names = ", ".join(before) or "nothing"
        _refuse(rule, "update", f"{what} s[{name!r}], and initial_state names {names}")
    for name, old in before.items():
        s[name] = _fitting(rule, s[name], old, f"s[{name!r}] {format_shape(old.shape)}")
    return new


def _called(rule: Formula, name: str, *args: Any) -> Any:
    return guarded(f"{type(rule).__name__}: its {name}", getattr(rule, name))(*args)


def _fitting(rule: Formula, given: Any, like: Any, what: str) -> Any:
    try:
        value = as_value(given)
        whole = is_floating(like.dtype) and not is_floating(value.dtype) and not is_weak(given)
        fits = value.shape == like.shape and not whole
    except (StaticnetError, TypeError, ValueError):
        fits = False
    if not fits:
        _refuse(
            rule, "update", f"gives {describe(given)} for {what}; it must keep its shape and kind"
        )
    return value


def _refuse(rule: Formula, name: str, what: str) -> NoReturn:
    where = written_at(getattr(type(rule), name))
    place = f" ({where})" if where else ""
    raise ArgumentError(f"{type(rule).__name__}: its {name}{place} {what} ({current()})")
