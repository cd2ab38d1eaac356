"""Which buffers a map reads only at the element that it makes: it may write over no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from staticnet.ir.index import Index, linear
from staticnet.ir.node import Node
from staticnet.ops.base import Elementwise
from staticnet.plan.fusion import Group
from staticnet.plan.roles import axes_of, base, operand_index, place, resolve

At = tuple[Index, ...] | None  # the element of a node; None where it is computed


def read_in_place(group: Group, stored: Iterable[Node]) -> frozenset[Node]:
    """The buffers of which a map reads, at each point of its domain, that point's element alone.

    A kernel computes what it stores at the point that it is at, and what that is made of at the
    index that leads there, which a view between two nodes of the group changes. Index maps of views
    and of elementwise ops are followed; what any other op reads may lie anywhere. A map stores
    after all that it reads of an element; other kernels read a row again after a store.
    """
    if group.kind != "map":
        return frozenset()
    members = set(group.nodes)
    domain = axes_of(group.domain)
    own = linear(domain, group.domain)
    found: dict[Node, bool] = {}
    waiting: list[tuple[Node, At]] = [(node, domain) for node in stored if node in members]
    seen = set(waiting)
    while waiting:
        for operand, index in _operands(*waiting.pop()):
            below, at = (base(operand), None) if index is None else resolve(operand, index)
            if below not in members:
                here = index is not None and place(operand, index)[1].is_same(own)
                found[below] = found.get(below, True) and here
            elif (below, at) not in seen:
                seen.add((below, at))
                waiting.append((below, at))
    return frozenset(node for node, here in found.items() if here)


def _operands(node: Node, index: At) -> Iterator[tuple[Node, At]]:
    """What a node's element is made of, and at which index of each operand."""
    if node.op.moves:  # a view that lies in memory for others
        yield node.inputs[0], None if index is None else _source(node, index)
        return
    known = index if isinstance(node.op, Elementwise) else None
    for operand in node.inputs:
        yield operand, None if known is None else operand_index(known, operand)


def _source(node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
    return node.op.source(index, tuple(map(int, node.inputs[0].shape)))
