"""The loop nest that every target prints: index spaces, statements, reductions, stores.

A kernel runs over `outer` (split among threads) and, for each point of it, over `loops`: index
spaces of the axes that the group reduces. Statements before a loop are row values, made from what
the loops before it reduced. A map has one loop over its last axis. `columns` kernels sum over
leading axes. Expressions are text: C and CUDA spell scalar arithmetic alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from staticnet.ir.dtype import DType
from staticnet.ir.index import Index, Symbol


@dataclass(frozen=True)
class Let:
    """`name` is the value of an expression."""

    name: str
    dtype: DType
    text: str


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


Statement = Let | At | Store | Keep | Reduce


@dataclass(frozen=True)
class Loop:
    """Row statements, and then a loop nest with its body."""

    before: tuple[Statement, ...]
    symbols: tuple[Symbol, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Parameter:
    """A buffer that a kernel reads or writes."""

    name: str
    dtype: DType
    written: bool


@dataclass(frozen=True)
class Kernel:
    """A loop nest over buffers. `keeps` are local arrays of a row: name, dtype, length."""

    kind: str
    parameters: tuple[Parameter, ...]
    outer: tuple[Symbol, ...]
    loops: tuple[Loop, ...]
    after: tuple[Statement, ...]
    keeps: tuple[tuple[str, DType, int], ...] = ()
    may_fail: bool = False

    @property
    def extent(self) -> int:
        """The number of points that threads share: of `outer`, or of a column kernel's columns."""
        size = 1
        for symbol in self.outer:
            size *= symbol.extent
        return size

    @property
    def work(self) -> int:
        """Points of the whole index space."""
        inner = 1
        for loop in self.loops:
            for symbol in loop.symbols:
                inner *= symbol.extent
            break
        return self.extent * inner
