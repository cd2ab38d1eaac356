"""Fusion: which nodes share a kernel.

A group has one index space, its `domain`. Every node of it is either *full* (an element for each
point of the domain) or, in a group that reduces the domain's last `inner` axes, a *row* value (one
for each point of the axes before). A kernel keeps rows on chip: softmax, layer norm and their
gradients are one group. A group may also reduce leading axes (`columns`): sums for bias gradients
beside the map that feeds them.

Nodes join in the graph's order; a node joins the last group that makes one of its operands, if the
group then still is convex: nothing outside it stands between its nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from staticnet.ir.graph import Graph
from staticnet.ir.index import Index
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Elementwise, Reduction
from staticnet.plan.dependence import Dependences
from staticnet.plan.roles import (
    Role,
    axes_of,
    base,
    operand_index,
    resolve,
    role,
    shows_all_in_order,
)

MAX_NODES = 96
_ROUTINES = (Role.LIBRARY, Role.OPAQUE)


@dataclass(eq=False)
class Group:
    """Nodes of one kernel, operands first, over one index space."""

    number: int
    domain: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    inner: int = 0
    columns: int = 0
    rows: set[Node] = field(default_factory=set)
    fused: bool = True

    @property
    def kind(self) -> str:
        """`map`, `rows`, `columns`, or the op's name for a routine of its own."""
        if not self.fused:
            return self.nodes[0].op.name
        return "rows" if self.inner else "columns" if self.columns else "map"

    @property
    def outer(self) -> tuple[int, ...]:
        """The axes before the reduced ones."""
        return self.domain[: len(self.domain) - self.inner]

    def is_row_shape(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape is that of a row value, the reduced axes gone or of length 1."""
        return shape in (self.outer, (*self.outer, *(1,) * self.inner))


class Fusion:
    """The partition of a graph's nodes into groups, and the dependences between groups."""

    def __init__(self, graph: Graph, enabled: bool = True) -> None:
        self.graph = graph
        self.enabled = enabled
        self.groups: list[Group] = []
        self.group_of: dict[Node, Group] = {}
        self.order = Dependences()
        for node in graph.nodes:
            self._place(node)
        for node in graph.roots:
            self.materialize(node)

    def _place(self, node: Node) -> None:
        kind = role(node)
        if kind in _ROUTINES:
            for operand in node.inputs:
                if not self._direct(node, operand):
                    self.materialize(operand)
            self._start(node, fixed(node.shape), fused=False)
        elif kind in (Role.POINT, Role.REDUCE) and not self._join(node):
            self._open(node)

    def _direct(self, node: Node, operand: Node) -> bool:
        """Whether a routine can read a view from its base's memory."""
        if role(operand) is Role.INLINE:
            return False
        if not operand.op.moves:
            return True
        if role(node) is Role.LIBRARY:
            return matrix_layout(operand) is not None
        return role(base(operand)) is not Role.INLINE and shows_all_in_order(operand)

    def materialize(self, node: Node) -> None:
        """Give a view or an inlined value a group of its own, unless it lies in memory as it is."""
        if node in self.group_of or role(node) is Role.LEAF:
            return
        if node.op.moves and role(base(node)) is not Role.INLINE and shows_all_in_order(node):
            return
        self._start(node, fixed(node.shape))

    def _open(self, node: Node) -> None:
        if isinstance(node.op, Reduction):
            (x,) = node.inputs
            shape, axes = fixed(x.shape), node.op.axes
            kept = tuple(n for i, n in enumerate(shape) if i not in axes)
            group = self._start(node, (*kept, *(shape[i] for i in axes)))
            group.inner = len(axes)
            group.rows.add(node)
        else:
            self._start(node, fixed(node.shape))

    def _start(self, node: Node, domain: tuple[int, ...], fused: bool = True) -> Group:
        group = Group(self.order.add(), domain, fused=fused)
        self.groups.append(group)
        self._add(group, node)
        return group

    def _add(self, group: Group, node: Node) -> None:
        group.nodes.append(node)
        self.group_of[node] = group
        makers = {self.group_of[source].number for source in self._sources(node)}
        self.order.require(group.number, makers - {group.number})

    def _sources(self, node: Node) -> list[Node]:
        """The nodes of groups that a node's operands are or show.

        A kernel looks through every view, even one that lies in memory for a routine: so a group
        never waits for a copy of what it makes itself.
        """
        found = [self.memory(operand, role(node) in _ROUTINES) for operand in node.inputs]
        return [x for x in found if x in self.group_of]

    def memory(self, operand: Node, by_routine: bool) -> Node:
        """The node whose elements a use of `operand` reads."""
        return operand if by_routine and operand in self.group_of else base(operand)

    def _join(self, node: Node) -> bool:
        if not self.enabled:
            return False
        makers = {self.group_of[source] for source in self._sources(node)}
        for group in sorted(makers, key=lambda g: -g.number):
            if group.fused and len(group.nodes) < MAX_NODES and self._convex(node, group):
                if isinstance(node.op, Reduction):
                    fits = self._joins_reduction(node, group)
                else:
                    fits = self._joins_point(node, group)
                if fits:
                    self._add(group, node)
                    self._merge_makers(makers, group)
                    return True
        return False

    def _merge_makers(self, makers: set[Group], group: Group) -> None:
        """Draw other maps over the same space, which feed the group, into it."""
        for other in makers - {group}:
            same = other.fused and other.kind == "map" and other.domain == group.domain
            small = len(other.nodes) + len(group.nodes) <= MAX_NODES
            waits = self.order.waits(other.number, group.number)
            if same and small and not waits and not self.order.between(other.number, group.number):
                self._merge(other, group)

    def _merge(self, gone: Group, group: Group) -> None:
        group.nodes[:0] = gone.nodes
        for node in gone.nodes:
            self.group_of[node] = group
        gone.nodes = []
        self.order.merge(gone.number, group.number)

    def _convex(self, node: Node, group: Group) -> bool:
        """Whether no operand from outside depends on the group."""
        outside = {self.group_of[s].number for s in self._sources(node)} - {group.number}
        return not self.order.waits_for_any(outside, group.number)

    def _joins_point(self, node: Node, group: Group) -> bool:
        shape = fixed(node.shape)
        inside = [x for x in node.inputs if self._is_inside(x, group)]
        if not isinstance(node.op, Elementwise):
            return False  # its operands are read at other places than its own
        if group.columns and any(base(x).op.name == "sum" for x in inside):
            return False
        domain = axes_of(group.domain)
        if shape == group.domain:
            return all(self._at_home(x, operand_index(domain, x), group, domain) for x in inside)
        if not group.inner or not group.is_row_shape(shape):
            return False
        if not all(base(x) in group.rows for x in inside):
            return False
        index = tuple([*domain[: len(group.outer)], *[Index()] * group.inner][: len(shape)])
        if all(self._at_home(x, operand_index(index, x), group, domain) for x in inside):
            group.rows.add(node)
            return True
        return False

    def _is_inside(self, operand: Node, group: Group) -> bool:
        """Whether an operand, or what it shows, is made in the group."""
        return self.group_of.get(base(operand)) is group

    def _at_home(
        self, node: Node, index: tuple[Index, ...], group: Group, domain: tuple[Index, ...]
    ) -> bool:
        """Whether an operand made in the group is used at the point of the domain that makes it."""
        node, index = resolve(node, index)
        if node in group.rows:
            row = domain[: len(group.outer)]
            return index in (row, (*row, *[Index()] * group.inner))
        return index == domain

    def _joins_reduction(self, node: Node, group: Group) -> bool:
        assert isinstance(node.op, Reduction)
        (x,) = node.inputs
        shape, axes = fixed(x.shape), node.op.axes
        domain = axes_of(group.domain)
        if shape != group.domain or base(x) in group.rows:
            return False
        if not self._at_home(x, domain, group, domain):
            return False
        count = len(axes)
        if axes == tuple(range(len(shape) - count, len(shape))) and not group.columns:
            if group.inner in (0, count):
                group.inner = count
                group.rows.add(node)
                return True
            return False
        leading = axes == tuple(range(count)) and count < len(shape) and node.op.name == "sum"
        if leading and not group.inner and group.columns in (0, count) and not node.op.keepdims:
            group.columns = count
            return True
        return False


def matrix_layout(node: Node) -> tuple[Node, Index, bool, int] | None:
    """How BLAS reads a stack of matrices from the memory of what it shows, or None if it cannot.

    -> base, place of the matrix's first element as a function of the leading axes, whether it lies
    transposed, and the leading dimension.
    """
    shape = fixed(node.shape)
    index = axes_of(shape)
    below, at = resolve(node, index)
    if role(below) is Role.INLINE:
        return None
    total = Index()
    stride = 1
    for position, dim in zip(reversed(at), reversed(fixed(below.shape)), strict=True):
        total = total + position * stride
        stride *= dim
    steps = {symbol.text: coefficient for symbol, coefficient in total.terms}
    row, column = (steps.pop(f"i{len(shape) - k}", 0) for k in (2, 1))
    first = Index(tuple((s, c) for s, c in total.terms if s.text in steps), total.constant)
    if any(not name.startswith("i") for name in steps):
        return None
    rows, columns = shape[-2:]
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return below, first, False, max(row, columns, 1)
    if (row == 1 or rows == 1) and (column >= rows or columns == 1):
        return below, first, True, max(column, rows, 1)
    return None
