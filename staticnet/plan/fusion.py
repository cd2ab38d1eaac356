"""Fusion: which nodes share a kernel.

A group has one index space, its `domain`. Every node of it is either *full* (an element for each
point of the domain) or, in a group that reduces the domain's last `inner` axes, a *row* value (one
for each point of the axes before). A kernel keeps rows on chip: softmax, layer norm and their
gradients are one group. A group may also reduce leading axes (`columns`): sums for bias gradients
beside the map that feeds them.

Nodes join in the graph's order; a node joins the last group that makes one of its operands, if the
group then still is convex: nothing outside it stands between its nodes. Where a node stays apart
from the maker of an operand, the reason is kept, in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from staticnet.ir.graph import Graph
from staticnet.ir.index import Index
from staticnet.ir.node import Node
from staticnet.ir.printer import value_names
from staticnet.ir.types import Shape, TupleType, fixed, format_shape
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import Elementwise, Item, Reduction
from staticnet.ops.float8 import MULTIPLE as FLOAT8_MULTIPLE
from staticnet.ops.float8 import Float8Matmul
from staticnet.ops.movement import Concat
from staticnet.plan import kept_views
from staticnet.plan.attention import ATTENTION, reads_in_place
from staticnet.plan.dependence import Dependences
from staticnet.plan.joins import Joins
from staticnet.plan.layouts import lies_in_rows, matrix_layout, part_layout
from staticnet.plan.recompute import Recompute
from staticnet.plan.roles import (
    Role,
    axes_of,
    base,
    is_behind_barrier,
    operand_index,
    resolve,
    role,
    shows_all_in_order,
)
from staticnet.plan.row_maps import RowMaps
from staticnet.plan.siblings import Siblings

if TYPE_CHECKING:
    from staticnet.plan.plan import Plan

MAX_NODES = 96
MIN_COLUMNS = 8  # below which a reduction of leading axes is a row of each column, read in strides
_ROUTINES = (Role.LIBRARY, Role.OPAQUE)
_AGAIN = "it is computed again, later, to save memory"
_GUIDED = "they share no kernel at other sizes of the symbolic dims, whose plan this one follows"


@dataclass(eq=False)
class Group:
    """Nodes of one kernel, operands first, over one index space.

    `again` are nodes of other groups that this one computes again, where it needs them. Of a
    routine that gives several results the nodes are its own and those items of it that somebody
    reads; `bodies` are the plans of the graphs that it holds, by their attributes.
    """

    number: int
    domain: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    inner: int = 0
    columns: int = 0
    rows: set[Node] = field(default_factory=set)
    again: dict[Node, None] = field(default_factory=dict)  # in order
    fused: bool = True
    bodies: dict[str, Plan] = field(default_factory=dict)

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
    """The partition of a graph's nodes into groups, and the dependences between groups.

    `apart` says, for a node and a user of it in another group, why they do not share a kernel.
    `guide`, if given, holds the nodes to make, each with its group in a plan for other sizes, and
    `of_rows` those that are values of rows there: here a row may have one element.
    """

    def __init__(
        self, graph: Graph, enabled: bool = True, guide: Mapping[Node, Group] | None = None,
        recompute: bool = True, of_rows: Set[Node] = frozenset(),
    ) -> None:  # fmt: skip
        self.graph = graph
        self.enabled = enabled
        self.guide = guide
        self.of_rows = of_rows
        self.groups: list[Group] = []
        self.group_of: dict[Node, Group] = {}
        self.apart: dict[tuple[Node, Node], str] = {}
        self.order = Dependences()
        self._position = {node: i for i, node in enumerate(graph.nodes)}
        self._looking: dict[Node, list[Group]] = {}  # routines that look through a view
        for node in graph.nodes:
            self._place(node)
        if enabled:
            kept_views.draw_in(self)
            RowMaps(self).draw_in()
            Joins(self, MAX_NODES).draw_in()
            Siblings(self).draw_in()
            if recompute and not any(isinstance(n.op, OptimizationBarrier) for n in graph.nodes):
                Recompute(self, MAX_NODES).run()
        for node in graph.roots:
            self.materialize(node, "what is returned or kept lies in memory in order")
        for node in guide or ():
            if node not in self.group_of:
                self._materialize(node, _GUIDED)

    def _place(self, node: Node) -> None:
        kind = role(node)
        if isinstance(node.op, Item):
            self._add(self.group_of[node.inputs[0]], node)
        elif kind in _ROUTINES:
            for operand in node.inputs:
                if not self._direct(node, operand):
                    self.materialize(operand, f"{node.op.name} cannot read it through the view")
            group = self._start(node, fixed(space_of(node)), fused=False)
            for operand in node.inputs:
                if operand not in self.group_of:
                    self._looking.setdefault(operand, []).append(group)
            self._keep_apart(node, _routine(node))
        elif kind in (Role.POINT, Role.REDUCE) and not self._join(node):
            self._open(node)

    def _direct(self, node: Node, operand: Node) -> bool:
        """Whether a routine can read a view from its base's memory."""
        if role(operand) is Role.INLINE:
            return False
        if not operand.op.moves:
            return True
        if isinstance(node.op, Float8Matmul) and any(operand is x for x in node.inputs[:2]):
            return lies_in_rows(operand, FLOAT8_MULTIPLE)
        if role(node) is Role.LIBRARY and all(operand is not x for x in node.inputs[2:]):
            return matrix_layout(operand) is not None
        if isinstance(node.op, ATTENTION) and reads_in_place(node, operand):
            return True
        if isinstance(node.op, Concat):
            return part_layout(operand, node.op.axis) is not None
        return role(base(operand)) is not Role.INLINE and shows_all_in_order(operand)

    def materialize(self, node: Node, why: str) -> None:
        """Give a view or an inlined value a group of its own, unless it lies in memory as it is."""
        if node in self.group_of or role(node) is Role.LEAF:
            return
        if node.op.moves and role(base(node)) is not Role.INLINE and shows_all_in_order(node):
            return
        self._materialize(node, why)

    def _materialize(self, node: Node, why: str) -> None:
        group = self._start(node, fixed(node.shape))
        self._keep_apart(node, why)
        for reader in self._looking.get(node, ()):  # from here on they read this copy
            self.order.require(reader.number, [group.number])
            self.apart[node, reader.nodes[0]] = _routine(reader.nodes[0])

    def may_share(self, view: Node, group: Group) -> bool:
        """Whether a map may write a view that it reads."""
        guided = self.guide is None or self.guide.get(view) is self.guide.get(group.nodes[0])
        return guided and view not in self._looking and len(group.nodes) < MAX_NODES

    def draw(self, view: Node, group: Group) -> None:
        """Have a map write a view that it reads."""
        self._add(group, view)
        group.nodes.sort(key=self._position.__getitem__)

    def _open(self, node: Node) -> None:
        if isinstance(node.op, Reduction):
            (x,) = node.inputs
            shape, axes = fixed(x.shape), node.op.axes
            kept = tuple(n for i, n in enumerate(shape) if i not in axes)
            if self._is_of_columns(node):
                self._start(node, shape).columns = len(axes)
                return
            group = self._start(node, (*kept, *(shape[i] for i in axes)))
            group.inner = len(axes)
            group.rows.add(node)
        else:
            self._start(node, fixed(node.shape))

    def _is_of_columns(self, node: Node) -> bool:
        """Whether a reduction runs down columns, not along rows: its shape alone decides.

        So the order of its sums is the same whatever shares its kernel.
        """
        assert isinstance(node.op, Reduction)
        shape, axes = fixed(node.inputs[0].shape), node.op.axes
        if axes != tuple(range(len(axes))) or len(axes) == len(shape):
            return False
        if self.guide is not None and node in self.guide:
            return self.guide[node].columns > 0
        return math.prod(shape[len(axes) :]) >= MIN_COLUMNS

    def _start(self, node: Node, domain: tuple[int, ...], fused: bool = True) -> Group:
        group = Group(self.order.add(), domain, fused=fused)
        self.groups.append(group)
        self._add(group, node)
        return group

    def _add(self, group: Group, node: Node) -> None:
        group.nodes.append(node)
        self.group_of[node] = group
        makers = {self.group_of[source].number for source in self.sources(node)}
        self.order.require(group.number, makers - {group.number})

    def sources(self, node: Node) -> list[Node]:
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
        latest_first = self._makers(node)
        for group in latest_first:
            why_not = self._why_not(node, group)
            if not why_not:
                self._add(group, node)
                self._merge_makers(node, latest_first, group)
                return True
            self._keep_apart(node, why_not, group)
        return False

    def _makers(self, node: Node) -> list[Group]:
        """The groups that make a node's operands, the latest first.

        But one that sums down columns goes before a map that it can take in: what it reads, too,
        would else be read by both.
        """
        makers = {self.group_of[source] for source in self.sources(node)}
        latest_first = sorted(makers, key=lambda g: -g.number)
        if len(latest_first) < 2 or latest_first[0].kind != "map" or not self.enabled:
            return latest_first
        takes = [
            g
            for g in latest_first
            if g.fused and g.columns and not self._why_not_merge(latest_first[0], g)
        ]
        return [*takes, *(g for g in latest_first if g not in takes)]

    def _keep_apart(self, node: Node, why: str, maker: Group | None = None) -> None:
        """Note why a node is in no kernel with its operands, those of one maker or all."""
        for source in self.sources(node):
            if maker in (None, self.group_of[source]):
                self.apart.setdefault((source, node), why)

    def _why_not(self, node: Node, group: Group) -> str:
        """Why a node cannot join a group, or nothing if it joins."""
        if not group.fused:
            return _routine(group.nodes[0])
        if not self.enabled:
            return "fusion is disabled"
        if len(group.nodes) >= MAX_NODES:
            return f"the kernel has {MAX_NODES} nodes already"
        if self.guide is not None and self.guide.get(node) is not self.guide.get(group.nodes[0]):
            return _GUIDED
        if self.is_behind_barrier([node], group):
            return _AGAIN
        for source in self.sources(node):
            if self.order.waits(self.group_of[source].number, group.number):
                return f"a cycle: it also needs {self._name(source)}, which waits for that kernel"
        if isinstance(node.op, Reduction):
            return self._why_not_reduction(node, group)
        return self._why_not_point(node, group)

    def is_behind_barrier(self, nodes: list[Node], maker: Group) -> bool:
        """Whether nodes read what a group makes from behind a barrier: so as to run later."""
        operands = (x for node in nodes for x in node.inputs)
        return any(self.is_inside(x, maker) and is_behind_barrier(x) for x in operands)

    def _merge_makers(self, node: Node, makers: list[Group], group: Group) -> None:
        """Draw other maps over the same space, which feed the group, into it."""
        for other in makers:
            if other is group:
                continue
            why_not = self._why_not_merge(other, group)
            if why_not:
                self._keep_apart(node, why_not, other)
            else:
                self.merge(other, group)

    def _why_not_merge(self, gone: Group, group: Group) -> str:
        """Why a group cannot be drawn into one that it feeds, or nothing if it can."""
        if not gone.fused:
            return _routine(gone.nodes[0])
        if gone.kind != "map" or gone.domain != group.domain:
            return f"it is with another operand; {_space(gone)} cannot join {_space(group)} there"
        if why_not := self.why_not_one(gone, group):
            return why_not
        if self.order.waits(gone.number, group.number):
            return "a cycle: each of the two kernels needs a value of the other"
        if self.order.between(gone.number, group.number):
            return "a cycle: another step runs between the two kernels"
        return ""

    def why_not_one(self, gone: Group, group: Group) -> str:
        """What keeps the nodes of two groups out of one kernel, whatever they are."""
        if self.guide is not None and self.guide[gone.nodes[0]] is not self.guide[group.nodes[0]]:
            return _GUIDED
        if self.is_behind_barrier(group.nodes, gone) or self.is_behind_barrier(gone.nodes, group):
            return _AGAIN
        if len(gone.nodes) + len(group.nodes) > MAX_NODES:
            return f"one kernel would have more than {MAX_NODES} nodes"
        return ""

    def merge(self, gone: Group, group: Group) -> None:
        """Make the nodes of a group those of another one, which takes its place."""
        group.nodes = sorted([*gone.nodes, *group.nodes], key=self._position.__getitem__)
        for node in gone.nodes:
            self.group_of[node] = group
        gone.nodes = []
        self.order.merge(gone.number, group.number)

    def _why_not_point(self, node: Node, group: Group) -> str:
        shape = fixed(node.shape)
        inside = [x for x in node.inputs if self.is_inside(x, group)]
        if not isinstance(node.op, Elementwise):
            return f"{node.op.name} reads elements at other places than its own"
        if group.columns and any(isinstance(base(x).op, Reduction) for x in inside):
            return "a reduction of leading axes is complete only when its kernel ends"
        domain = axes_of(group.domain)
        if shape == group.domain and node not in self.of_rows:
            return self.moved(inside, domain, group)
        if not group.inner or not group.is_row_shape(shape):
            return f"its shape is {format_shape(shape)}, the kernel is {_space(group)}"
        if not all(base(x) in group.rows for x in inside):
            return f"it has one element a row, and what it reads has {_space(group)}"
        index = tuple([*domain[: len(group.outer)], *[Index()] * group.inner][: len(shape)])
        moved = self.moved(inside, index, group)
        if not moved:
            group.rows.add(node)
        return moved

    def is_inside(self, operand: Node, group: Group) -> bool:
        """Whether an operand, or what it shows, is made in the group."""
        return self.group_of.get(base(operand)) is group

    def moved(self, operands: list[Node], index: tuple[Index, ...], group: Group) -> str:
        """Which operand is used elsewhere than at the point of the domain that makes it, if any."""
        for operand in operands:
            if operand.type.size == 0:
                continue
            node, at = resolve(operand, operand_index(index, operand))
            home = axes_of(group.domain)
            homes = [home]
            if node in group.rows:
                home = home[: len(group.outer)]
                homes = [home, (*home, *[Index()] * group.inner)]
            if at not in homes:
                return f"{self._name(node)} is made at {_point(home)} and read at {_point(at)}"
        return ""

    def _why_not_reduction(self, node: Node, group: Group) -> str:
        assert isinstance(node.op, Reduction)
        (x,) = node.inputs
        shape, axes = fixed(x.shape), node.op.axes
        if shape != group.domain or base(x) in group.rows:
            return f"it reduces {format_shape(shape)}, the kernel is {_space(group)}"
        moved = self.moved([x], axes_of(group.domain), group)
        if moved:
            return moved
        count, rank = len(axes), len(shape)
        clash = f"it reduces axes {_axes(axes)}, the kernel {_axes(_reduced(group))}"
        if self._is_of_columns(node):
            if group.inner or group.columns not in (0, count):
                return clash
            group.columns = count
            return ""
        if axes != tuple(range(rank - count, rank)):
            if axes == tuple(range(count)):
                return f"{node.op.name} down so few columns runs along each, as along a row"
            return f"{node.op.name} over axes {_axes(axes)} is neither over leading nor last axes"
        if group.columns or group.inner not in (0, count):
            return clash
        group.inner = count
        group.rows.add(node)
        return ""

    def _name(self, node: Node) -> str:
        return f"%{self._names[node]}"

    @cached_property
    def _names(self) -> dict[Node, str]:
        return value_names(self.graph)


def space_of(node: Node) -> Shape:
    """The index space of a routine: its result's shape, or the length of a scan."""
    if not isinstance(node.type, TupleType):
        return node.shape
    length: Shape = getattr(node.op, "length", ())
    return length


def _routine(node: Node) -> str:
    """What an op is that no kernel takes in."""
    return f"{node.op.name} is a {'library call' if role(node) is Role.LIBRARY else 'routine'}"


def _space(group: Group) -> str:
    return f"{group.kind} {format_shape(group.domain)}"


def _reduced(group: Group) -> tuple[int, ...]:
    rank = len(group.domain)
    return tuple(range(rank - group.inner, rank) if group.inner else range(group.columns))


def _axes(axes: tuple[int, ...]) -> str:
    return ",".join(map(str, axes))


def _point(index: tuple[Index, ...]) -> str:
    return f"[{','.join(map(str, index))}]"
