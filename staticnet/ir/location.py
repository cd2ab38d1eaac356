"""Where a node comes from: the user's line, or the pass that made it and the lines it stands for.

Provenance lies beside a node, never in its key: two lines that write one expression share a node,
which then remembers both.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_USER_ROOMS = tuple(_PACKAGE + room + os.sep for room in ("cli", "train"))
MAX_LINES = 4


class Location(NamedTuple):
    """A line of a source file, printed `train.py:14`."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{printable(_relative(self.file))}:{self.line}"


def _relative(file: str) -> str:
    """The path from the working directory, for what lies in it."""
    try:
        relative = os.path.relpath(file) if os.path.isabs(file) else file
    except (OSError, ValueError):  # the working directory is gone, or on another drive
        return file
    return file if relative.startswith("..") else relative


def printable(text: str) -> str:
    """A text on one line, in any encoding: what does not print is escaped, as Python spells it.

    File names are bytes to the system; they may hold line breaks and need be no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Provenance(NamedTuple):
    """The user's lines that a node stands for and, unless the user wrote it, what made it."""

    lines: tuple[Location, ...]
    made_by: str = ""

    def __str__(self) -> str:
        where = ", ".join(str(line) for line in self.lines) or "an unknown line"
        return f"{self.made_by} of {where}" if self.made_by else where

    @property
    def user(self) -> str:
        """The lines, and that it is a gradient of them; which pass made it is no user's concern."""
        return str(self if self.made_by == "gradient" else self._replace(made_by=""))


class _Override(threading.local):
    provenance: Provenance | None = None


_override = _Override()


def current() -> Provenance:
    """The provenance of a node built now: the one being attributed, else the user's line."""
    provenance = _override.provenance
    return provenance if provenance is not None else Provenance((user_line(),))


def is_attributed() -> bool:
    """Whether a pass is building nodes on behalf of existing ones."""
    return _override.provenance is not None


def user_line() -> Location:
    """The innermost line on the stack that is not the library's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


@cache
def _is_library(file: str) -> bool:
    return file.startswith(_PACKAGE) and not file.startswith(_USER_ROOMS)


def written_at(f: Callable[..., object]) -> Location | None:
    """The line on which a function is defined; None for the library's own, and where it is unknown.

    Of an object with `__call__` it is that method's line.
    """
    while isinstance(f, functools.partial):
        f = f.func
    function: object = inspect.unwrap(f)
    if not hasattr(function, "__code__"):
        function = type(function).__call__ if callable(function) else None
    code = getattr(function, "__code__", None)
    if code is None or _is_library(code.co_filename):
        return None
    return Location(code.co_filename, code.co_firstlineno)


@contextmanager
def attributed(provenance: Provenance) -> Iterator[None]:
    """Nodes built inside get this provenance."""
    saved = _override.provenance
    _override.provenance = provenance
    try:
        yield
    finally:
        _override.provenance = saved


def set_attribution(provenance: Provenance | None) -> None:
    """`attributed` for hot loops: the caller restores what `attribution()` gave."""
    _override.provenance = provenance


def attribution() -> Provenance | None:
    """What `set_attribution` would have to restore."""
    return _override.provenance


def merge(provenances: Iterable[Provenance], made_by: str) -> Provenance:
    """The provenance of something that `made_by` made from several nodes."""
    lines = dict.fromkeys(line for p in provenances for line in p.lines)
    return Provenance(tuple(lines)[:MAX_LINES], made_by)
