"""Concatenations whose parts maps make are written by those maps, as one.

A concatenation of many parts, or along the last axis, is a routine that copies them: the gradient
of what was cut into the gates of an LSTM, or into queries, keys and values. Where maps over one
space make all parts, and nobody else reads them, one map stores them where they lie in the whole:
no part is written and read again. So it is with views that the routine could not read, whose
copies are such maps.
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
        for group in self.fusion.groups:
            if not group.fused and isinstance(group.nodes[0].op, Concat):
                self._draw(group)

    def _draw(self, group: Group) -> None:
        makers = self._makers(group)
        if not makers or not self._fit(group, makers):
            return
        latest, *others = sorted(makers, key=lambda maker: -maker.number)
        for gone in (*others, group):
            self.fusion.merge(gone, latest)

    def _makers(self, group: Group) -> set[Group]:
        """The maps over one space that make all parts, for this reader alone; else none."""
        (whole,) = group.nodes
        parts = [x for x in whole.inputs if x.type.size]
        makers = set()
        for part in parts:
            made = self.fusion.memory(part, by_routine=True)
            maker = self.fusion.group_of.get(made)
            if maker is None or maker.kind != "map" or maker.domain != fixed(part.shape):
                return set()
            if made in self.roots or self.readers[made] - {maker, group}:
                return set()
            inside = [part] if self.fusion.is_inside(part, maker) else []
            if self.fusion.moved(inside, axes_of(maker.domain), maker):
                return set()
            makers.add(maker)
        same = len({maker.domain for maker in makers}) == 1
        return makers if same and len(parts) > 1 else set()

    def _fit(self, group: Group, makers: set[Group]) -> bool:
        """Whether the maps, none of which needs another, can be one kernel that concatenates."""
        fusion = self.fusion
        latest = max(makers, key=lambda maker: maker.number)
        rest = [*(makers - {latest}), group]
        if any(fusion.order.waits(a.number, b.number) for a in makers for b in makers):
            return False
        if any(fusion.order.between(maker.number, group.number) for maker in makers):
            return False
        nodes = sum(len(maker.nodes) for maker in makers)
        return nodes < self.max_nodes and not any(fusion.why_not_one(x, latest) for x in rest)
