"""Sums down the columns of one array are one kernel, which reads it once.

A layer norm's two gradients, of its weight and of its bias, sum the same cotangent over all rows.
Neither needs the other, so no node of one joins the kernel of the other; they are put together
where they read an array of all their points from memory and nothing else is between them.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

from staticnet.ir.node import Node
from staticnet.ops.base import Reduction
from staticnet.plan.roles import base

if TYPE_CHECKING:
    from staticnet.plan.fusion import Fusion, Group

MOST = 4  # sums of a kernel, each of which every thread has in a register


class Siblings:
    """The kernels of a partition that sum down columns, by what they read."""

    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.columns = [group for group in fusion.groups if group.columns and group.nodes]

    def draw_in(self) -> None:
        """Put kernels together until none can be."""
        for first, last in combinations(self.columns, 2):
            if first.nodes and last.nodes and self._fit(first, last):
                self.fusion.merge(first, last)

    def _fit(self, first: Group, last: Group) -> bool:
        """Whether one kernel may make what both make, and reads less for it."""
        if (first.domain, first.columns) != (last.domain, last.columns):
            return False
        if self._sums(first) + self._sums(last) > MOST:
            return False
        if not self._whole(first) & self._whole(last):
            return False
        order = self.fusion.order
        apart = order.waits(first.number, last.number) or order.waits(last.number, first.number)
        return not apart and not self.fusion.why_not_one(first, last)

    def _sums(self, group: Group) -> int:
        return sum(isinstance(node.op, Reduction) for node in group.nodes)

    def _whole(self, group: Group) -> set[Node]:
        """What it reads of as many elements as it has points."""
        points, made = math.prod(group.domain), self.fusion.group_of.get
        read = {base(x) for node in group.nodes for x in node.inputs}
        return {x for x in read if x.type.size == points and made(x) is not group}
