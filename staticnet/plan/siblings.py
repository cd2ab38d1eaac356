"""Sums down the columns of one array are one kernel, which reads it once; so are those of its rows.

A layer norm's two gradients, of its weight and of its bias, sum the same cotangent over all rows.
Neither needs the other, so no node of one joins the kernel of the other; they are put together
where they read an array of all their points from memory and nothing else is between them.

A kernel that keeps nothing but numbers of rows, as a weight's greatest magnitudes, is made where
another one reads the same array at the same points, and all else that it reads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Elementwise, Reduction
from staticnet.plan.roles import Role, axes_of, base, is_behind_barrier, place, role
from staticnet.plan.row_maps import is_of_rows

if TYPE_CHECKING:
    from staticnet.plan.fusion import Fusion, Group

MOST = 4  # sums of a kernel, each of which every thread has in a register
MIN_ROWS = 128  # of a map that becomes a kernel of rows, each of which few threads share


class Siblings:
    """The kernels of a partition that sum down columns, by what they read."""

    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.columns = [group for group in fusion.groups if group.columns and group.nodes]
        self.roots = {fusion.memory(root, True) for root in fusion.graph.roots}
        self.updates = {fusion.memory(value, True) for _, value in fusion.graph.updates}

    def draw_in(self) -> None:
        """Put kernels together until none can be."""
        for first, last in combinations(self.columns, 2):
            if first.nodes and last.nodes and self._fit(first, last):
                self.fusion.merge(first, last)
        numbers = [group for group in self.fusion.groups if self._is_of_numbers(group)]
        if numbers:
            self._draw_numbers_in(numbers)

    def _draw_numbers_in(self, numbers: list[Group]) -> None:
        """Have numbers of rows made where the same array is read for something else."""
        reading: dict[Node, dict[Group, None]] = defaultdict(dict)
        for group in self.fusion.groups:
            for x in self._operands(group) if group.fused and not group.columns else ():
                reading[x][group] = None
        for gone in numbers:
            points = math.prod(gone.domain)
            whole = [x for x in self._operands(gone) if x.type.size == points]
            for group in dict.fromkeys(group for x in whole for group in reading[x]):
                if self._fit_in_rows(gone, group):
                    group.inner = gone.inner
                    group.rows |= gone.rows
                    self.fusion.merge(gone, group)
                    break

    def _is_of_numbers(self, group: Group) -> bool:
        """Whether it keeps nothing but numbers of rows."""
        if not group.inner:
            return False
        full = [x for x in group.nodes if x not in group.rows]
        return all(x not in self.roots and self._readers(x) <= {group} for x in full)

    def _readers(self, made: Node) -> set[Group | None]:
        return {self.fusion.group_of.get(user) for user in self._users[made]}

    @cached_property
    def _users(self) -> dict[Node, list[Node]]:
        users: dict[Node, list[Node]] = defaultdict(list)
        for node in self.fusion.graph.nodes:
            for x in node.inputs if not node.op.moves else ():
                users[base(x)].append(node)
        return users

    def _fit_in_rows(self, gone: Group, group: Group) -> bool:
        """Whether numbers of rows are made where another kernel reads all that they are of."""
        if group is gone or not group.nodes or group.domain != gone.domain:
            return False
        if group.inner not in (0, gone.inner):
            return False
        few = math.prod(gone.outer) < MIN_ROWS and self.fusion.guide is None
        if few and group.kind == "map":
            return False
        nodes = [*gone.nodes, *group.nodes]
        if not all(isinstance(node.op, Elementwise | Reduction) for node in nodes):
            return False
        if not all(is_of_rows(x, gone) for x in nodes if isinstance(x.op, Reduction)):
            return False
        inputs = {x for node in nodes for x in node.inputs}
        if any(is_behind_barrier(x) or _is_turned(x, group) for x in inputs):
            return False
        more = self._operands(gone).keys() - self._operands(group).keys()
        if any(role(base(x)) not in (Role.LEAF, Role.INLINE) for x in more):
            return False
        return self.updates.isdisjoint(nodes) and self._are_apart(gone, group)

    def _fit(self, first: Group, last: Group) -> bool:
        """Whether one kernel may make what both make, and reads less for it."""
        if (first.domain, first.columns) != (last.domain, last.columns):
            return False
        if self._sums(first) + self._sums(last) > MOST:
            return False
        if not self._whole(first) & self._whole(last):
            return False
        return self._are_apart(first, last)

    def _are_apart(self, first: Group, last: Group) -> bool:
        """Whether neither kernel waits for the other, and nothing else keeps them two."""
        order = self.fusion.order
        waits = order.waits(first.number, last.number) or order.waits(last.number, first.number)
        return not waits and not self.fusion.why_not_one(first, last)

    def _sums(self, group: Group) -> int:
        return sum(isinstance(node.op, Reduction) for node in group.nodes)

    def _whole(self, group: Group) -> set[Node]:
        """What it reads of as many elements as it has points."""
        points = math.prod(group.domain)
        return {base(x) for x in self._operands(group) if base(x).type.size == points}

    def _operands(self, group: Group) -> dict[Node, None]:
        """What it reads of memory, in order, views as they are."""
        inputs = dict.fromkeys(x for node in group.nodes for x in node.inputs)
        return {x: None for x in inputs if not self.fusion.is_inside(x, group)}


def _is_turned(x: Node, group: Group) -> bool:
    """Whether it is a view of all of a kernel's points whose rows lie in strides."""
    if not (x.op.moves and x.ndim) or base(x).type.size != math.prod(group.domain):
        return False
    index = axes_of(fixed(x.shape))
    return (
        dict(place(x, index)[1].terms).get(index[-1].terms[0][0]) != 1 if index[-1].terms else True
    )
