"""From a fused group to its kernel: which loop computes, keeps and stores what."""

from __future__ import annotations

import re
from collections.abc import Sequence

from staticnet.codegen.kernel import (
    Keep,
    Kernel,
    Load,
    Loop,
    Parameter,
    Reduce,
    Statement,
    Store,
    merged_axes,
    turned_loads,
)
from staticnet.codegen.regions import LINE, rows_of
from staticnet.codegen.scope import Scope
from staticnet.ir.dtype import HALVES, compute_dtype
from staticnet.ir.index import Index, Symbol, linear
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Elementwise, Reduction
from staticnet.ops.random import RandomBits
from staticnet.plan.fusion import Group
from staticnet.plan.partials import block_count, block_lines
from staticnet.plan.reads import loop_numbers
from staticnet.plan.roles import Role, base, is_join, role

MAX_KEPT = 4096  # elements of a row that is kept in a local array
LEAST_PART = 16  # elements of a part of a map's axis that is a loop of its own
_COSTLY = re.compile(r"/|%|\b(?!relu|maximum|minimum|fabs)[a-z][a-z_0-9]*\(")


class Builder:
    """Builds the kernel of one group; `stored` are the nodes that lie in memory."""

    def __init__(self, group: Group, stored: set[Node]) -> None:
        self.group = group
        self.stored = stored
        self.members = {*group.nodes, *group.again}
        self._numbers = {node: i for i, node in enumerate(group.nodes)}
        self._names: dict[Node, str] = {}
        self._written: set[Node] = set()
        self._keeps: dict[Node, str] = {}
        self.buffers: list[Node] = []
        self.may_fail = False

    def build(self) -> Kernel:
        """The kernel; `self.buffers` are the nodes whose memory its parameters are."""
        if self.group.inner:
            kernel = self._rows()
        elif self.group.columns:
            kernel = self._columns()
        else:
            kernel = self._map()
        return kernel

    def _parameter(self, node: Node, written: bool = False) -> str:
        if node not in self._names:
            self._names[node] = f"p{len(self._names)}"
            self.buffers.append(node)
        if written:
            self._written.add(node)
        return self._names[node]

    def _scope(self, prefix: str, parent: Scope | None = None) -> Scope:
        return Scope(self._parameter, self.members.__contains__, prefix, parent)

    def _kernel(
        self, outer: tuple[Symbol, ...], loops: list[Loop], after: list[Statement]
    ) -> Kernel:
        parameters = tuple(
            Parameter(name, node.dtype, node in self._written) for node, name in self._names.items()
        )
        keeps = tuple(
            (name, compute_dtype(node.dtype), _size(self.group.domain[len(self.group.outer) :]))
            for node, name in self._keeps.items()
        )
        blocks = block_count(self.group)
        tiled = _is_tiled(self.group, outer, loops)
        return Kernel(
            self.group.kind, parameters, outer, tuple(loops), tuple(after), keeps, self.may_fail,
            blocks, block_lines(self.group) if blocks else 0, tiled=tiled, unit=self._unit(),
        )  # fmt: skip

    def _unit(self) -> int:
        """The points of a map that one thread computes: of a row, or of a line in the cache."""
        rows = rows_of(self.group.domain) if self.group.kind == "map" else 0
        return _size(self.group.domain) // rows if rows else LINE

    def _store(self, scope: Scope, node: Node, index: tuple[Index, ...], text: str) -> None:
        buffer = self._parameter(node, written=True)
        at = linear(index, fixed(node.shape))
        scope.statements.append(Store(buffer, at, node.dtype, text))

    def _join(self, scope: Scope, node: Node, index: tuple[Index, ...]) -> None:
        """Store the parts of a concatenation, each where it begins in the whole."""
        axis, start = node.op.attributes()["axis"], 0
        for part in node.inputs:
            if part.type.size:
                at = (*index[:axis], index[axis] + start, *index[axis + 1 :])
                self._store(scope, node, at, scope.value(part, index))
            start += fixed(part.shape)[axis]

    def _map(self) -> Kernel:
        if self._collapses():
            size = _size(self.group.domain)
            place = Symbol("i", size)
            flat = _flat(Index.of(place), self.group.domain)
            return self._map_over((), (place,), flat)
        symbols = tuple(Symbol(f"i{k}", n) for k, n in enumerate(self.group.domain))
        *outer, last = symbols
        kernel = self._map_over(symbols[:-1], symbols[-1:], tuple(map(Index.of, symbols)))
        part = _part_of(kernel.loops[0].body, last)
        if part is None:
            return kernel
        Builder.__init__(self, self.group, self.stored)
        number, inner = Symbol(f"{last.text}_part", last.extent // part), Symbol(last.text, part)
        index = (*map(Index.of, outer), Index.of(number) * part + Index.of(inner))
        return self._map_over((*outer, number), (inner,), index)

    def _collapses(self) -> bool:
        """Whether each value is read and written in one order: then the space is one axis."""
        domain = self.group.domain
        if len(domain) < 2:
            return True
        for node in (*self.group.nodes, *self.group.again):
            counts = isinstance(node.op, RandomBits) and fixed(node.op.shape) == domain
            if not counts and not isinstance(node.op, Elementwise):
                return False
            for operand in node.inputs:
                if operand in self.members or base(operand).type.size == 1:
                    continue
                if role(operand) is Role.INLINE:
                    return False
                if operand.op.moves or fixed(operand.shape) != domain:
                    return False
        return True

    def _map_over(
        self, outer: tuple[Symbol, ...], inner: tuple[Symbol, ...], index: tuple[Index, ...]
    ) -> Kernel:
        scope = self._scope("t")
        for node in self.group.nodes:
            if is_join(node):
                self._join(scope, node, index)
            elif node in self.stored:
                self._store(scope, node, index, scope.value(node, index))
        self.may_fail = scope.may_fail
        body = tuple(_stores_last(scope.statements))
        if inner and not (outer and turned_loads(body, outer, inner[-1])):
            outer, inner, body = merged_axes(outer, inner, body)
        return self._kernel(outer, [Loop((), inner, body)], [])

    def _columns(self) -> Kernel:
        symbols = tuple(Symbol(f"i{k}", n) for k, n in enumerate(self.group.domain))
        index = tuple(map(Index.of, symbols))
        scope, after = self._scope("t"), self._scope("s")
        count = self.group.columns
        for number, node in enumerate(self.group.nodes):
            if isinstance(node.op, Reduction):
                text = scope.value(node.inputs[0], index)
                name = f"a{number}"
                dtype = compute_dtype(node.dtype)
                scope.statements.append(Reduce(name, dtype, node.op.combine, text))
                after.define(node, name)
                kept = (Index(),) * count if node.op.keepdims else ()
                self._store(after, node, (*kept, *index[count:]), after.let(node.dtype, name))
            elif node in self.stored:
                self._store(scope, node, index, scope.value(node, index))
        self.may_fail = scope.may_fail
        loop = Loop((), symbols[:count], tuple(scope.statements))
        return self._kernel(symbols[count:], [loop], after.statements)

    def _rows(self) -> Kernel:
        group = self.group
        symbols = tuple(Symbol(f"i{k}", n) for k, n in enumerate(group.domain))
        outer, inner = symbols[: len(group.outer)], symbols[len(group.outer) :]
        ready = loop_numbers(self.group)
        last = max(ready.values())
        row = self._scope("r")
        loops: list[Loop] = []
        for turn in range(last + 1):
            self._row_values(row, turn, ready, outer)
            before, row.statements = row.statements, []
            body = self._loop_body(row, turn, ready, symbols)
            if body:
                loops.append(Loop(tuple(before), inner, tuple(body)))
            else:
                row.statements = before
            row._prefix = f"r{turn}_"
        self.may_fail |= row.may_fail
        return self._kernel(outer, loops, row.statements)

    def _member(self, node: Node) -> Node | None:
        if node in self.members:
            return node
        below = base(node)
        return below if below in self.members else None

    def _row_values(
        self, row: Scope, turn: int, ready: dict[Node, int], outer: tuple[Symbol, ...]
    ) -> None:
        """The row values that the loops before `turn` make possible."""
        index = tuple(map(Index.of, outer))
        for node in self.group.nodes:
            if node not in self.group.rows or ready[node] != turn:
                continue
            at = self._row_index(node, index)
            if not isinstance(node.op, Reduction):
                row.define(node, row._compute(node, at))
            elif node.dtype in HALVES:  # it has been summed in float32, and rounds like any op
                row.define(node, row.let(node.dtype, row.value(node, at)))
            if node in self.stored:
                self._store(row, node, at, row.value(node, at))

    def _row_index(self, node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
        """The element of a row value at a point of the outer space; kept axes of length 1 are 0."""
        if node.ndim == len(index):
            return index
        if not isinstance(node.op, Reduction):
            return (*index, *[Index()] * self.group.inner)
        rest = iter(index)
        return tuple(Index() if i in node.op.axes else next(rest) for i in range(node.ndim))

    def _loop_body(
        self, row: Scope, turn: int, ready: dict[Node, int], symbols: tuple[Symbol, ...]
    ) -> list[Statement]:
        index = self._axes(symbols)
        scope = self._scope(f"t{turn}_", row)
        place = linear(index[len(self.group.outer) :], self.group.domain[len(self.group.outer) :])
        for node, name in self._keeps.items():
            if ready[node] < turn:
                scope.know(node, index, f"{name}[{place}]")
        for node in self.group.nodes:
            if ready[node] - isinstance(node.op, Reduction) != turn:
                continue
            if isinstance(node.op, Reduction):
                self._reduce(scope, row, node, symbols)
            elif node not in self.group.rows:
                self._full(scope, node, index, turn, ready, place)
        self.may_fail |= scope.may_fail
        return _stores_last(scope.statements)

    def _axes(self, symbols: tuple[Symbol, ...]) -> tuple[Index, ...]:
        return tuple(map(Index.of, symbols))

    def _reduce(self, scope: Scope, row: Scope, node: Node, symbols: tuple[Symbol, ...]) -> None:
        (x,) = node.inputs
        name = f"a{self._numbers[node]}"
        text = scope.value(x, self._operand_axes(node, symbols))
        assert isinstance(node.op, Reduction)
        dtype = compute_dtype(node.dtype)
        scope.statements.append(Reduce(name, dtype, node.op.combine, text))
        row.define(node, name)

    def _operand_axes(self, node: Node, symbols: tuple[Symbol, ...]) -> tuple[Index, ...]:
        """The operand's element at a point of the domain, whose reduced axes come last."""
        assert isinstance(node.op, Reduction)
        rank = node.inputs[0].ndim
        order = [i for i in range(rank) if i not in node.op.axes] + list(node.op.axes)
        index = self._axes(symbols)
        return tuple(index[order.index(i)] for i in range(rank))

    def _full(
        self, scope: Scope, node: Node, index: tuple[Index, ...], turn: int,
        ready: dict[Node, int], place: Index,
    ) -> None:  # fmt: skip
        later = any(
            any(self._member(x) is node for x in user.inputs)
            and ready[user] - isinstance(user.op, Reduction) > turn
            for user in self.group.nodes
        )
        size = _size(self.group.domain[len(self.group.outer) :])
        keep = later and bool(_COSTLY.search(node.op.scalar)) and size <= MAX_KEPT
        if node in self.stored or keep:
            text = scope.value(node, index)
            if node in self.stored:
                self._store(scope, node, index, text)
            if keep:
                name = self._keeps[node] = f"k{len(self._keeps)}"
                scope.statements.append(Keep(name, place, compute_dtype(node.dtype), text))


def _is_tiled(group: Group, outer: tuple[Symbol, ...], loops: list[Loop]) -> bool:
    """Whether a map reads along its last outer axis, and across its inner one."""
    if group.kind != "map" or not outer:
        return False
    return bool(turned_loads(loops[0].body, outer, loops[0].symbols[-1]))


def _part_of(body: Sequence[Statement], last: Symbol) -> int | None:
    """The length of parts of a map's last axis in each of which all is read in steps.

    None where nothing is read at places that are found by dividing, or parts would be short.
    """
    whole = Index.of(last)
    found = {
        symbol.divisor
        for statement in body
        if isinstance(statement, Load)
        for symbol, _ in statement.at.terms
        if symbol.whole == whole
    }
    if len(found) != 1:
        return None
    (part,) = found
    return part if part >= LEAST_PART and last.extent % part == 0 else None


def _stores_last(statements: list[Statement]) -> list[Statement]:
    """Statements in order, stores behind the rest: one may write over what another value reads."""
    return sorted(statements, key=lambda statement: isinstance(statement, Store))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _flat(place: Index, domain: tuple[int, ...]) -> tuple[Index, ...]:
    """An index whose last entry of an axis longer than 1 is the place itself, of stride 1."""
    last = max((i for i, n in enumerate(domain) if n != 1), default=len(domain) - 1)
    return tuple(place if i == last else Index() for i in range(len(domain)))
