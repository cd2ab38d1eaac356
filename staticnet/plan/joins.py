"""Concatenations whose parts maps make are written by those maps, as one.

A concatenation of many parts, or along the last axis, is a routine that copies them: the gradient
of what was cut into the gates of an LSTM, or into queries, keys and values. Where maps over one
space make all parts, and nobody else reads them, one map stores them where they lie in the whole:
no part is written and read again. So it is with views that the routine could not read, whose
copies are such maps, and with several concatenations that share parts, as the gradients of a GRU's
two products do.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.movement import Concat
from staticnet.plan.roles import axes_of

if TYPE_CHECKING:
    from staticnet.plan.fusion import Fusion, Group


class Joins:
    """The routines of a partition that concatenate, and the maps that make what they read."""

    def __init__(self, fusion: Fusion, max_nodes: int) -> None:
        self.fusion = fusion
        self.max_nodes = max_nodes
        self.roots = {fusion.memory(root, True) for root in fusion.graph.roots}
        self.readers: dict[Node, set[Group]] = defaultdict(set)
        for group in fusion.groups:
            for node in group.nodes:
                for operand in node.inputs:
                    self.readers[fusion.memory(operand, not group.fused)].add(group)

    def draw_in(self) -> None:
        """Let maps write all concatenations that they can."""
        seen: set[Group] = set()
        for group in self.fusion.groups:
            if _concatenates(group) and group not in seen:
                wholes = self._company(group)
                seen |= wholes
                self._draw(wholes)

    def _company(self, group: Group) -> set[Group]:
        """The concatenations that share parts with one, or with one of those."""
        found, todo = {group}, [group]
        while todo:
            (whole,) = todo.pop().nodes
            for part in whole.inputs:
                readers = self.readers[self.fusion.memory(part, by_routine=True)]
                more = {reader for reader in readers if _concatenates(reader)} - found
                found |= more
                todo += more
        return found

    def _draw(self, wholes: set[Group]) -> None:
        makers: set[Group] = set()
        for group in wholes:
            found = self._makers(group, wholes)
            if not found:
                return
            makers |= found
        if len({maker.domain for maker in makers}) > 1 or not self._fit(wholes, makers):
            return
        latest, *others = sorted(makers, key=lambda maker: -maker.number)
        for gone in (*others, *sorted(wholes, key=lambda group: group.number)):
            self.fusion.merge(gone, latest)

    def _makers(self, group: Group, wholes: set[Group]) -> set[Group]:
        """The maps that make all parts, for these readers alone; else none."""
        (whole,) = group.nodes
        parts = [x for x in whole.inputs if x.type.size]
        makers = set()
        for part in parts:
            made = self.fusion.memory(part, by_routine=True)
            maker = self.fusion.group_of.get(made)
            if maker is None or maker.kind != "map" or maker.domain != fixed(part.shape):
                return set()
            if made in self.roots or self.readers[made] - {maker} - wholes:
                return set()
            inside = [part] if self.fusion.is_inside(part, maker) else []
            if self.fusion.moved(inside, axes_of(maker.domain), maker):
                return set()
            makers.add(maker)
        return makers if len(parts) > 1 else set()

    def _fit(self, wholes: set[Group], makers: set[Group]) -> bool:
        """Whether the maps, none of which needs another, can be one kernel that concatenates."""
        fusion, order = self.fusion, self.fusion.order
        latest = max(makers, key=lambda maker: maker.number)
        rest = [*(makers - {latest}), *wholes]
        for alike in (makers, wholes):
            if any(order.waits(a.number, b.number) for a in alike for b in alike):
                return False
        if any(order.between(a.number, b.number) for a in makers for b in wholes):
            return False
        nodes = sum(len(maker.nodes) for maker in makers) + len(wholes)
        return nodes <= self.max_nodes and not any(fusion.why_not_one(x, latest) for x in rest)


def _concatenates(group: Group) -> bool:
    """Whether it is a routine that concatenates."""
    return not group.fused and bool(group.nodes) and isinstance(group.nodes[0].op, Concat)
