"""Which module's `forward` runs, and its dotted path: the nodes that it makes carry it.

A module called in another's forward has the caller's path and its name there, as `named_modules`
gives names, so one that is shared has the path of each call. The outermost has the name under which
it was attached: `model.encoder(x)` makes nodes of `encoder`, and `model(x)` of no path.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from staticnet.ir import location


class _Running(threading.local):
    innermost: Call | None = None


_running = _Running()


class Call:
    """A module's forward under way: `with Call(module): …` gives what it makes its path."""

    __slots__ = ("_above", "_all", "_before", "_near", "module", "path")

    def __init__(self, module: Any) -> None:
        self.module = module
        self._near: dict[int, str] | None = None
        self._all: dict[int, str] | None = None

    def __enter__(self) -> None:
        self._above = _running.innermost
        self.path = self._find_path()
        self._before = location.set_module(self.path)
        _running.innermost = self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        location.set_module(self._before)
        _running.innermost = self._above

    def _find_path(self) -> str:
        """The path from the nearest caller that holds the module; one that none holds has its own.

        What a forward makes for itself, as `Dropout(0.5)(x)`, belongs to that forward.
        """
        own: str = self.module._path
        caller = self._above
        otherwise = own or (caller.path if caller is not None else "")
        while caller is not None:
            name = caller._name_of(self.module)
            if name is not None:
                return f"{caller.path}.{name}" if caller.path and name else caller.path or name
            caller = caller._above
        return otherwise

    def _name_of(self, module: Any) -> str | None:
        """A module's dotted name in this one; None if it is no part of it."""
        if module is self.module:
            return ""
        last: str = module._path.rpartition(".")[2]
        if last and vars(self.module).get(last) is module:  # as nearly all are found
            return last
        if self._near is None:
            self._near = _first(self.module._paths(near=True))
        if id(module) in self._near:
            return self._near[id(module)]
        if self._all is None:
            self._all = _first(self.module._paths())
        return self._all.get(id(module))


def _first(named: Iterator[tuple[str, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, module in named:
        names.setdefault(id(module), name)
    return names
