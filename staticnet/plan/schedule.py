"""The order of groups, and which of them run side by side as one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from staticnet.ir.node import Node
from staticnet.plan.dependence import Dependences
from staticnet.plan.fusion import Group


@dataclass(frozen=True, eq=False)
class Step:
    """One launch: kernels of which none waits for another, or one routine."""

    groups: tuple[Group, ...]

    @property
    def fused(self) -> bool:
        """Whether it runs kernels."""
        return self.groups[0].fused

    @property
    def nodes(self) -> list[Node]:
        """The nodes of all its groups."""
        return [node for group in self.groups for node in group.nodes]


def schedule(groups: Sequence[Group], order: Dependences) -> list[Step]:
    """Steps in an order that runs each group after those that it waits for."""
    steps: list[Step] = []
    side_by_side: list[Group] = []
    for group in _sorted(groups, order):
        waits = any(order.waits(group.number, other.number) for other in side_by_side)
        if side_by_side and (waits or not group.fused or not side_by_side[0].fused):
            steps.append(Step(tuple(side_by_side)))
            side_by_side = []
        side_by_side.append(group)
    return [*steps, Step(tuple(side_by_side))] if side_by_side else steps


def _sorted(groups: Sequence[Group], order: Dependences) -> list[Group]:
    """Groups by what they wait for, and else by number."""
    done: list[Group] = []
    waiting = sorted(groups, key=lambda group: group.number)
    numbers = sum(1 << group.number for group in groups)
    while waiting:
        left = []
        for group in waiting:
            if order.waits_for(group.number) & numbers:
                left.append(group)
            else:
                done.append(group)
                numbers ^= 1 << group.number
        waiting = left
    return done
