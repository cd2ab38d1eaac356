"""The parts of a module: what its attributes hold, in lists, tuples and dicts of any nesting."""

from __future__ import annotations

from collections import UserDict, UserList, deque
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ops.state import Variable


class Holder:
    """What has parts and may be one: a Module."""


_SEQUENCES = (list, tuple, deque, UserList)
_MAPPINGS = (dict, MappingProxyType, UserDict)
_UNORDERED = (set, frozenset)
_HOLDERS = (Holder, Variable, *_SEQUENCES, *_MAPPINGS, *_UNORDERED)


def parts(name: str, value: Any, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The modules and Variables of an attribute, with their names; `above` are its containers.

    Raises:
        ArgumentError: if one has no name that tells it apart.
    """
    if isinstance(value, Holder | Variable):
        yield name, value
    elif id(value) in above or not _may_hold_parts(value):
        return
    elif isinstance(value, _SEQUENCES):
        for i, item in enumerate(value):
            yield from parts(f"{name}.{i}", item, (*above, id(value)))
    elif isinstance(value, _MAPPINGS):
        for key, item in value.items():
            for part in parts(f"{name}.{key}", item, (*above, id(value))):
                check_key(key, name)
                yield part
    elif isinstance(value, _UNORDERED) and any(isinstance(x, Holder | Variable) for x in value):
        raise ArgumentError(f"{name}: a set has no order to name its parts by; make it a list")


def _may_hold_parts(container: Any) -> bool:
    """Whether an item of a list or dict is a part or may hold some, told by the items' types."""
    if not isinstance(container, (*_SEQUENCES, *_MAPPINGS)):
        return isinstance(container, _UNORDERED)
    items = container.values() if isinstance(container, _MAPPINGS) else container
    return any(issubclass(kind, _HOLDERS) for kind in set(map(type, items)))


def check_key(key: Any, what: str) -> None:
    """Raise ArgumentError unless a part can be named by its key."""
    if not isinstance(key, str) or not key or "." in key:
        raise ArgumentError(
            f"{what}: the key {key!r:.60} of a part is no name; use a string without a dot"
        )


def join(path: str, name: str) -> str:
    """The dotted name of a part below a path."""
    return f"{path}.{name}" if path else name
