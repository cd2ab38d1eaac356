"""Kernels compute again what is cheaper to compute than to keep and read.

A value that one kernel makes and a later one needs, with others between, is stored, read, and takes
memory all the while: in a training step what the backward pass needs of the forward pass. Where it
is elementwise in values that lie in memory anyway, the later kernel computes it from those. So a
gelu keeps the product that it is of and none of its own steps, and a layer norm its input and two
numbers a row. The same expressions of the same numbers give the same bits.

A value is dropped if the kernels that need it do not read more for it than storing and reading it
would move, if what has to be kept longer for it is no larger than it is, and if a point of those
kernels costs little. What a kernel makes alone and what costs next to nothing, as a cast behind a
product, the next kernel computes too, and that kernel is gone. After XLA, which fuses a producer
into all of its consumers, and Chen et al., "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from staticnet.ir.dtype import HALVES
from staticnet.ir.node import Node
from staticnet.ops.base import Elementwise
from staticnet.ops.indexing import Take
from staticnet.ops.movement import Concat
from staticnet.ops.selection import Cast
from staticnet.plan.roles import Role, base, is_behind_barrier, role

if TYPE_CHECKING:
    from staticnet.plan.fusion import Fusion, Group

MAX_COST = 40  # operations for an element that is computed again
SLACK = 8  # by the how many-th part what is kept longer may be larger: by the numbers of rows
CHEAP = 3  # what costs next to nothing: a cast, a sum
COSTLY = 10  # those of a function as exp, and of a division
_FUNCTION = re.compile(r"/|%|\b(?!relu|maximum|minimum|fabs)[a-z][a-z_0-9]*\(")


@dataclass
class _Again:
    """How a value is computed again: the nodes, what they read, and operations for an element.

    Of one that `is_widened` the narrower one is stored in its place.
    """

    nodes: set[Node] = field(default_factory=set)
    sources: set[Node] = field(default_factory=set)
    cost: int = 0
    is_widened: bool = False


class Recompute:
    """Finds, for the kernels of a partition, the values of others that they compute again."""

    def __init__(self, fusion: Fusion, max_nodes: int) -> None:
        self.fusion = fusion
        self.max_nodes = max_nodes
        self.place = {node: i for i, node in enumerate(fusion.graph.nodes)}
        self.updated = {target for target, value in fusion.graph.updates if value is not target}
        self.fixed = {fusion.memory(root, True) for root in fusion.graph.roots}
        self.readers: dict[Node, set[Group]] = defaultdict(set)
        for group in fusion.groups:
            for node in group.nodes:
                for operand in node.inputs:
                    read = fusion.memory(operand, not group.fused)
                    self.readers[read].add(group)
                    if not group.fused or is_behind_barrier(operand):
                        self.fixed.add(read)

    def run(self) -> None:
        """Let kernels compute values again, the earliest values first."""
        for node in self.fusion.graph.nodes:
            group = self.fusion.group_of.get(node)
            if group is None or not self._may_go(node, group):
                continue
            if not self.readers[node] - {group}:
                continue
            late = self._late_readers(node, group)
            ways = (
                self._widened(node, group), self._from_memory(node), self._from_memory(node, late)
            )  # fmt: skip
            found = [self._first_that_pays(node, group, way) for way in ways if way is not None]
            gain, way, readers = max(found, key=lambda each: each[0], default=(0, None, []))
            if way is not None and gain > 0:
                self._drop(node, readers, way)

    def _first_that_pays(
        self, node: Node, group: Group, again: _Again
    ) -> tuple[int, _Again, list[Group]]:
        """The bytes that computing a value again in this way saves, and by which kernels."""
        for readers in self._choices(node, group, again):
            gain = self._gain(node, readers, again) if readers else 0
            if gain > 0:
                return gain, again, readers
        return 0, again, []

    def _choices(self, node: Node, group: Group, again: _Again) -> list[list[Group]]:
        """The kernels that may compute a value again: all, if then nothing makes it; or the late.

        All do only what costs next to nothing, as a cast: some of them pass over it several times.
        What is gathered, only maps do, which check an index once a row.
        """
        late = self._late_readers(node, group)
        alone = not any(
            self.readers[n] - {group} or n in self.fixed for n in group.nodes if n is not node
        )
        cheap = group.kind == "map" and alone and again.cost <= CHEAP
        all_of_them = sorted(self.readers[node] - {group}, key=lambda g: g.number)
        if again.is_widened:
            return [all_of_them]
        if any(isinstance(n.op, Take) for n in again.nodes):
            return [all_of_them] if cheap and all(g.kind == "map" for g in all_of_them) else []
        return [all_of_them, late] if cheap else [late]

    def _late_readers(self, node: Node, group: Group) -> list[Group]:
        """The kernels for which a value lies idle while others run."""
        order = self.fusion.order
        readers = (g for g in self.readers[node] if order.between(group.number, g.number))
        return sorted(readers, key=lambda g: g.number)

    def _may_go(self, node: Node, group: Group) -> bool:
        """Whether a value is one that kernels may compute at any of their points."""
        op = node.op
        free = group.fused and node not in group.rows and node not in self.fixed
        if isinstance(op, Take):  # rows of a table
            return free and op.axis == 0 and node.ndim > 1
        return free and _is_elementwise(node)

    def _widened(self, node: Node, group: Group) -> _Again | None:
        """A value that was narrower in the same kernel, as that one; None if it was not."""
        if not isinstance(node.op, Cast):
            return None
        narrow = base(node.inputs[0])
        made_here = self.fusion.group_of.get(narrow) is group and _is_elementwise(narrow)
        if not made_here or narrow.dtype not in HALVES or _bytes(narrow) >= _bytes(node):
            return None
        return _Again({node}, {narrow}, _cost(node), is_widened=True)

    def _from_memory(self, node: Node, late: Sequence[Group] = ()) -> _Again | None:
        """How a value is made of what lies in memory; None if it is not by elementwise ops.

        For some late kernels: of what they read anyway, or lies there for others still, rather than
        of what would be kept for them.
        """
        again = _Again()
        stack = [node]
        while stack:
            current = stack.pop()
            if current in again.nodes:
                continue
            again.nodes.add(current)
            again.cost += _cost(current)
            if again.cost > MAX_COST:
                return None
            for operand in current.inputs:
                below = base(operand)
                if late and self._is_left(below, late):
                    stack.append(below)
                elif self._lies_in_memory(below) or self._is_of_row(below):
                    again.sources.add(below)
                elif role(below) is Role.INLINE:
                    continue
                elif self._can_repeat(below):
                    stack.append(below)
                else:
                    return None
        return again

    def _lies_in_memory(self, node: Node) -> bool:
        if role(node) is Role.LEAF:
            return True
        group = self.fusion.group_of.get(node)
        if group is None:
            return False
        return node in self.fixed or not group.fused or bool(self.readers[node] - {group})

    def _is_left(self, node: Node, late: Sequence[Group]) -> bool:
        """Whether a value in memory, which is elementwise, would be kept for some kernels alone."""
        group = self.fusion.group_of.get(node)
        if group is None or not group.fused or node in group.rows or not _is_elementwise(node):
            return False
        return self._is_over(node, late) and self.readers[node].isdisjoint(late)

    def _is_of_row(self, node: Node) -> bool:
        """Whether it is one number a row, which is cheap to keep."""
        group = self.fusion.group_of.get(node)
        return group is not None and node in group.rows

    def _can_repeat(self, node: Node) -> bool:
        group = self.fusion.group_of.get(node)
        return group is not None and self._may_go(node, group)

    def _gain(self, node: Node, readers: list[Group], again: _Again) -> int:
        """The bytes that are not moved if kernels compute a value again; 0 if they cannot."""
        size, moved = _bytes(node), 0
        if any(_bytes(x) * SLACK > size for x in self.updated & again.sources):
            return 0  # an update in place would have to wait for the kernels
        own = self.fusion.group_of[node]
        alone = self.readers[node] - {own} == set(readers)  # who else reads it has it stored
        saved = (len(readers) + alone) * size
        left = {n for n in own.nodes if n not in again.nodes or self._lies_in_memory(n)} - {node}
        if alone and not left:
            saved += sum(map(_bytes, again.sources))  # the kernel that made it is gone
        for group in readers:
            if self._points(node, group) > int(node.type.size):
                return 0  # it would be computed more than once
            if len(again.nodes.union(group.nodes, group.again)) > self.max_nodes:
                return 0
            if any(self._waits(source, group) for source in again.sources):
                return 0
            moved += sum(_bytes(x) for x in again.sources if group not in self.readers[x])
        if again.is_widened:
            moved += sum(_bytes(x) for x in again.sources if not self._lies_in_memory(x))
        kept = sum(_bytes(x) for x in again.sources if self._is_over(x, readers))
        return saved - moved if kept <= size + size // SLACK else 0

    def _points(self, node: Node, group: Group) -> int:
        """At how many points a kernel would compute a value; of a concatenation at those of it."""
        readers = [n for n in group.nodes if any(base(x) is node for x in n.inputs)]
        whole = all(isinstance(n.op, Concat) for n in readers)
        return int(node.type.size) if whole else math.prod(group.domain)

    def _waits(self, source: Node, group: Group) -> bool:
        """Whether a value is made by a group, or after it."""
        maker = self.fusion.group_of.get(source)
        if maker is None:
            return False
        return maker is group or self.fusion.order.waits(maker.number, group.number)

    def _is_over(self, node: Node, late: Sequence[Group]) -> bool:
        """Whether all that reads a value runs before one of some kernels; a leaf lies on."""
        if role(node) is Role.LEAF:
            return False
        order, readers = self.fusion.order, self.readers[node]
        return any(all(order.waits(g.number, x.number) for x in readers) for g in late)

    def _drop(self, node: Node, late: list[Group], again: _Again) -> None:
        made = {self.fusion.group_of[x].number for x in again.sources if x in self.fusion.group_of}
        for group in late:
            found = again.nodes.union(group.again).difference(group.nodes)
            group.again = dict.fromkeys(sorted(found, key=self.place.__getitem__))
            self.fusion.order.require(group.number, made)
            for source in again.sources:
                self.readers[source].add(group)
        self.readers[node] -= set(late)


def _is_elementwise(node: Node) -> bool:
    """Whether it is so, at all places, and does not fail."""
    return isinstance(node.op, Elementwise) and not (node.op.may_fail or node.op.where)


def _cost(node: Node) -> int:
    """Operations for an element."""
    costly = isinstance(node.op, Elementwise) and _FUNCTION.search(node.op.scalar)
    return COSTLY if costly else 1


def _bytes(node: Node) -> int:
    return int(node.type.nbytes)
