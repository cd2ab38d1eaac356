"""Where a node comes from: the user's line and module, or the pass that made it and whose they are.

Provenance lies beside a node, never in its key: two lines that write one expression share a node,
which then remembers both, and the modules they were run in.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import takewhile
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_USER_ROOMS = (_PACKAGE + "cli" + os.sep,)
_WRITTEN = ("<string>", "__init__")
_BETWEEN = (functools.__file__, contextlib.__file__)  # cached properties, contexts: no one's own
MAX_LINES = 4  # that a node remembers, and as many modules


class Location(NamedTuple):
    """A line of a source file, printed `train.py:14`; of a notebook's cell, `In[3]:14`."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{_cell(self.file) or printable(_relative(self.file))}:{self.line}"


def _cell(file: str) -> str:
    """`In[3]`: the cell that a notebook compiled under this name; "" if none did."""
    if "ipykernel" not in file and not file.startswith("<ipython-input-"):
        return ""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    named = getattr(getattr(shell, "compile", None), "format_code_name", lambda name: None)(file)
    return str(named[1]) if named else ""


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
    """The user's lines that a node stands for and, unless the user wrote it, what made it.

    `modules` are the dotted paths of the modules in whose calls they ran, `encoder.layers.1`: none
    for what the outermost module makes itself, or what is made in no module.
    """

    lines: tuple[Location, ...]
    made_by: str = ""
    modules: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.origin + in_module(self.modules)

    @property
    def origin(self) -> str:
        """The lines and what made it, without the modules."""
        where = ", ".join(str(line) for line in self.lines) or "an unknown line"
        return f"{self.made_by} of {where}" if self.made_by else where

    @property
    def user(self) -> str:
        """The lines, and that it is a gradient of them; which pass made it is no user's concern."""
        return str(self if self.made_by == "gradient" else self._replace(made_by=""))


def in_module(modules: Iterable[str]) -> str:
    """`, in encoder.layers.1`, as it stands behind a line; "" for none."""
    name = common_module(modules)
    return f", in {name}" if name else ""


def common_module(modules: Iterable[str]) -> str:
    """One name for what several modules made: `encoder` or `fc1 + fc2`; "" for none.

    It is the one that holds the others, two by name, or what all of their paths begin with.
    """
    paths = sorted({path for path in modules if path}, key=_in_order)
    parts = [path.split(".") for path in paths]
    shared = ".".join(a for a, *rest in takewhile(_all_equal, zip(*parts, strict=False)))
    if shared in paths or (shared and len(paths) > 2):
        return shared
    more = [f"{len(paths) - 2} more"] if len(paths) > 3 else []
    return " + ".join([*paths[: 2 if more else 3], *more])


def _in_order(path: str) -> list[tuple[bool, int, str]]:
    """A key that sorts `layers.2` before `layers.10`."""
    parts = path.split(".")
    return [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]


def _all_equal(names: tuple[str, ...]) -> bool:
    return len(set(names)) == 1


class _Here(threading.local):
    provenance: Provenance | None = None
    line: Location | None = None
    module: str = ""


_here = _Here()


def current() -> Provenance:
    """The provenance of a node built now: the one being attributed, else the user's line."""
    provenance = _here.provenance
    if provenance is not None:
        return provenance
    module = _here.module
    return Provenance((_here.line or user_line(),), "", (module,) if module else ())


@contextlib.contextmanager
def at_user_line() -> Iterator[None]:
    """What is built inside is of the user's line that is running now: it is looked for once.

    For what calls no functions of the user's.
    """
    before = _here.line
    _here.line = before or user_line()
    try:
        yield
    finally:
        _here.line = before


def is_attributed() -> bool:
    """Whether a pass is building nodes on behalf of existing ones."""
    return _here.provenance is not None


def set_module(path: str) -> str:
    """Nodes are built by this module from now on; -> the one before, for the caller to restore."""
    before, _here.module = _here.module, path
    return before


def user_line() -> Location:
    """The innermost line on the stack that is not the library's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_passed(frame.f_code):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


def caller() -> Location:
    """The innermost line on the stack that is in no file of the package: a script's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


def is_own(file: str) -> bool:
    """Whether a file is the package's, of whatever room."""
    return file.startswith(_PACKAGE)


def _is_passed(code: types.CodeType) -> bool:
    """Whether code is the library's, or a constructor that `dataclass` wrote."""
    return _is_library(code.co_filename) or (code.co_filename, code.co_name) == _WRITTEN


@cache
def _is_library(file: str) -> bool:
    ours = file.startswith(_PACKAGE) and not file.startswith(_USER_ROOMS)
    return ours or file in _BETWEEN


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


@contextlib.contextmanager
def attributed(provenance: Provenance) -> Iterator[None]:
    """Nodes built inside get this provenance."""
    saved = _here.provenance
    _here.provenance = provenance
    try:
        yield
    finally:
        _here.provenance = saved


def set_attribution(provenance: Provenance | None) -> None:
    """`attributed` for hot loops: the caller restores what `attribution()` gave."""
    _here.provenance = provenance


def attribution() -> Provenance | None:
    """What `set_attribution` would have to restore."""
    return _here.provenance


def merge(provenances: Iterable[Provenance], made_by: str) -> Provenance:
    """The provenance of something that `made_by` made from several nodes."""
    found = tuple(provenances)
    lines = dict.fromkeys(line for each in found for line in each.lines)
    modules = dict.fromkeys(module for each in found for module in each.modules)
    return Provenance(tuple(lines)[:MAX_LINES], made_by, tuple(modules)[:MAX_LINES])


def followed(known: Provenance, here: Provenance) -> Provenance:
    """The provenance of what is written once more: of many lines the last are kept."""
    lines = dict.fromkeys((*known.lines, *here.lines))
    modules = dict.fromkeys((*known.modules, *here.modules))
    return Provenance(tuple(lines)[-MAX_LINES:], known.made_by, tuple(modules)[-MAX_LINES:])
