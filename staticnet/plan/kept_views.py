"""A part of a value that is returned, or kept for the way back, is written by a map that reads it.

Of a GRU's product the new gate's columns are kept. A copy of them would be a kernel of its own, and
have all of the value lie in memory that the map before it could make on the way.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Elementwise
from staticnet.plan.roles import base, shows_all_in_order

if TYPE_CHECKING:
    from staticnet.plan.fusion import Fusion, Group


def draw_in(fusion: Fusion) -> None:
    """Let maps write what they read at their own points, where it has to be copied."""
    readers: dict[Node, list[Group]] = defaultdict(list)
    views = dict.fromkeys(root for root in fusion.graph.roots if _is_copied(root, fusion))
    for group in fusion.groups if views else ():
        if group.fused and group.kind == "map":
            for operand in _read_in_place(group):
                readers[operand].append(group)
    for view in views:
        for group in readers[view]:
            if fusion.may_share(view, group):
                fusion.draw(view, group)
                break


def _is_copied(root: Node, fusion: Fusion) -> bool:
    """Whether it is a view of what is made here that does not lie in memory as it is."""
    made = root.op.moves and root not in fusion.group_of and base(root) in fusion.group_of
    return made and not shows_all_in_order(root)


def _read_in_place(group: Group) -> set[Node]:
    """What elementwise nodes of a map read at the points of its space."""
    nodes = (node for node in group.nodes if isinstance(node.op, Elementwise))
    return {x for node in nodes for x in node.inputs if fixed(x.shape) == group.domain}
