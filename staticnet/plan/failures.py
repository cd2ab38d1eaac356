"""Which groups may fail while they run: nothing is written to state before they have."""

from __future__ import annotations

from staticnet.ir.dtype import INT64
from staticnet.ir.node import Node
from staticnet.ops.creation import Iota
from staticnet.ops.indexing import ScatterAdd, Take
from staticnet.plan.fusion import Group


def may_fail(group: Group) -> bool:
    """Whether a value that a group reads can be wrong, as an index out of range."""
    made = (*group.nodes, *group.again)
    return any(node.op.may_fail and not _adds_at_known_places(node) for node in made)


def _adds_at_known_places(node: Node) -> bool:
    """Whether a scatter's indices are read from an iota of its axis: none of them is wrong."""
    if not isinstance(node.op, ScatterAdd):
        return False
    places, axis = node.inputs[-1], node.op.axis
    return places.op == Take(0) and places.inputs[0].op == Iota((node.shape[axis],), 0, INT64)
