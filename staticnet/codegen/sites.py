"""Where a program may fail: its nodes whose operands' values can be wrong, by number."""

from __future__ import annotations

from staticnet.ir.node import Node
from staticnet.plan.fusion import Group


def site_of(group: Group, sites: list[Node]) -> int:
    """What tells a failure in a group: the number of its failing node, from 1; 0 if none.

    The node is added to the `sites` of the program.
    """
    failing = [node for node in (*group.nodes, *group.again) if node.op.may_fail]
    if not failing:
        return 0
    sites.append(failing[0])
    return len(sites)
