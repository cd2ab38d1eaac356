"""The loop nest that every target prints: index spaces, statements, reductions, stores.

A kernel runs over `outer` and, for each point of it, over `loops`: index spaces of the axes that
the group reduces. Statements before a loop are row values, made from what the loops before it
reduced. A map has one loop over its last axis. `columns` kernels sum over leading axes. Threads
share the points of `outer`, of maps those of the whole space, or blocks of a reduction.
Expressions are text: C and CUDA spell scalar arithmetic alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from staticnet.codegen.regions import LINE
from staticnet.ir.dtype import DType
from staticnet.ir.index import Index, Symbol


@dataclass(frozen=True)
class Let:
    """`name` is the value of an expression."""

    name: str
    dtype: DType
    text: str


@dataclass(frozen=True)
class Load:
    """`name` is the element `at` of a buffer, in the dtype that the kernel computes in."""

    name: str
    buffer: str
    at: Index
    dtype: DType


@dataclass(frozen=True)
class At:
    """`name` is an index that is computed or read, as a signed 64-bit integer."""

    name: str
    text: str


@dataclass(frozen=True)
class Store:
    """The element `at` of a buffer gets a value."""

    buffer: str
    at: Index
    dtype: DType
    text: str


@dataclass(frozen=True)
class Keep:
    """A row's value in a local array, for a later loop: `name[at]`."""

    name: str
    at: Index
    dtype: DType
    text: str


@dataclass(frozen=True)
class Reduce:
    """A value is combined into the accumulator `name` by `combine` (an op's name)."""

    name: str
    dtype: DType
    combine: str
    text: str


Statement = Let | Load | At | Store | Keep | Reduce
Axes = tuple[Symbol, ...]


@dataclass(frozen=True)
class Loop:
    """Row statements, and then a loop nest with its body."""

    before: tuple[Statement, ...]
    symbols: tuple[Symbol, ...]
    body: tuple[Statement, ...]


def turned_loads(body: Sequence[Statement], outer: Sequence[Symbol], inner: Symbol) -> list[Load]:
    """The loads of a map that can go through tiles.

    They load neighbours along the last outer axis and stride along the inner one, and their places
    depend on loop variables alone, not on indices that are computed or read.
    """
    known = {symbol.text for symbol in (*outer, inner)}
    return [s for s in body if _runs_along(s, outer[-1], inner) and names_in(s.at) <= known]


def _runs_along(statement: Statement, along: Symbol, across: Symbol) -> TypeGuard[Load]:
    if not isinstance(statement, Load):
        return False
    steps = dict(statement.at.terms)
    return steps.get(along) == 1 and steps.get(across, 0) > 1


def may_fail(statement: Statement) -> bool:
    """Whether a statement notes an error: that of an index out of range."""
    return isinstance(statement, At) and statement.text.startswith("sn_index(")


def checked_in_row(
    body: tuple[Statement, ...], inner: Symbol
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """The indices that are checked once a row, with what they are read from; and what is left.

    Those of a table's rows depend on no place in the row, and a loop that checks none is vectors'.
    """
    fixed = _fixed(body, {inner.text}) if inner.extent > 1 else []
    wanted: set[str] = set()
    for s in reversed(fixed):
        if may_fail(s) or s.name in wanted:
            wanted |= {s.name, *_read_names(s)}
    checked = tuple(s for s in fixed if s.name in wanted)
    return checked, tuple(s for s in body if s not in checked)


def fixed_in(
    body: tuple[Statement, ...], varying: Collection[str]
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """What is the same at all points of a loop, whose variables are `varying`; and what is left.

    No compiler can tell that stores leave it as it is; and one that reads a byte for all points
    makes vectors of bytes. What may fail does so in the loop.
    """
    checked = (s.name for s in body if isinstance(s, At) and may_fail(s))
    fixed = tuple(_fixed(body, {*varying, *checked}))
    return fixed, tuple(s for s in body if s not in fixed)


def _fixed(body: tuple[Statement, ...], varying: set[str]) -> list[Let | Load | At]:
    fixed: list[Let | Load | At] = []
    for s in body:
        if isinstance(s, Let | Load | At):
            if not (_read_names(s) | {s.name}) & varying:
                fixed.append(s)
            else:
                varying.add(s.name)
    return fixed


def _read_names(statement: Let | Load | At) -> set[str]:
    return names_in(statement.at) if isinstance(statement, Load) else _names(statement.text)


def merged_axes(
    outer: Axes, inner: Axes, body: tuple[Statement, ...]
) -> tuple[Axes, Axes, tuple[Statement, ...]]:
    """A loop's last axes as one, as far as all that it reads and writes is in their order."""
    while outer and all(_in_order(s, outer[-1], inner[-1]) for s in body):
        u, v = outer[-1], inner[-1]
        both = Symbol(v.text, u.extent * v.extent)
        body = tuple(_along(s, u, v, both) for s in body)
        outer, inner = outer[:-1], (both,)
    return outer, inner, body


def _in_order(statement: Statement, u: Symbol, v: Symbol) -> bool:
    """Whether a step along u is as far as all along v, and no text has either."""
    texts = {getattr(statement, "text", "")}
    if isinstance(statement, Load | Store | Keep):
        steps = dict(statement.at.terms)
        if u.extent > 1 < v.extent and steps.get(u, 0) != v.extent * steps.get(v, 0):
            return False
        texts |= {symbol.text for symbol in steps if symbol not in (u, v)}
    return not {u.text, v.text} & {name for text in texts for name in _names(text)}


def _along(statement: Statement, u: Symbol, v: Symbol, both: Symbol) -> Statement:
    if not isinstance(statement, Load | Store | Keep):
        return statement
    kept, gone = (v, u) if v.extent > 1 else (u, v)
    terms = ((both if s == kept else s, step) for s, step in statement.at.terms if s != gone)
    return replace(statement, at=Index(tuple(terms), statement.at.constant))


def names_in(at: Index) -> set[str]:
    """The variables that a place depends on."""
    return _names(str(at))


def _names(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", text))


@dataclass(frozen=True)
class Parameter:
    """A buffer that a kernel reads or writes."""

    name: str
    dtype: DType
    written: bool


@dataclass(frozen=True)
class Kernel:
    """A loop nest over buffers. `keeps` are local arrays of a row: name, dtype, length.

    With `blocks`, threads share each reduction: of a row the first reduced axis is cut into so many
    blocks of `lines`, of columns the rows are. `streams` are buffers that are written around the
    caches. `tiled` maps read something along their last outer axis, so both axes go in tiles.
    Threads cut a map at multiples of `unit` points.
    """

    kind: str
    parameters: tuple[Parameter, ...]
    outer: tuple[Symbol, ...]
    loops: tuple[Loop, ...]
    after: tuple[Statement, ...]
    keeps: tuple[tuple[str, DType, int], ...] = ()
    may_fail: bool = False
    blocks: int = 0
    lines: int = 0
    streams: frozenset[str] = frozenset()
    tiled: bool = False
    unit: int = LINE

    @property
    def rows(self) -> int:
        """The number of points of `outer`."""
        return math.prod(symbol.extent for symbol in self.outer)

    @property
    def size(self) -> int:
        """Points of the whole index space."""
        return self.rows * (math.prod(s.extent for s in self.loops[0].symbols) if self.loops else 1)

    @property
    def empty(self) -> bool:
        """Whether it stores nothing."""
        return self.rows == 0 or (self.kind == "map" and self.size == 0)

    @property
    def work(self) -> int:
        """A measure of what a run costs: statements at all points, a function's call for eight."""
        bodies = [s for loop in self.loops for s in loop.body]
        calls = sum(getattr(s, "text", "").count("sn_") for s in bodies)
        return self.size * (len(bodies) + 7 * calls)

    @property
    def shared(self) -> bool:
        """Whether there is more than one piece of work for threads to share."""
        return (self.size if self.kind == "map" else self.rows) > 1 or self.blocks > 1
