"""Routines that give several results, and those that run graphs: what of it lies where.

A tuple has no memory; its items have. A result that nobody reads lies in the routine's scratch
memory, above it the arena of the graphs that the routine runs, of which no two run at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from staticnet.control.scan import Scan
from staticnet.control.while_loop import WhileLoop
from staticnet.ir import location
from staticnet.ir.node import Node
from staticnet.ir.op import Op
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.base import Item, items
from staticnet.plan.fusion import Group
from staticnet.plan.memory import padded

if TYPE_CHECKING:
    from staticnet.plan.plan import Plan


def results_of(node: Node) -> tuple[Node, ...]:
    """The results of a routine: itself, or its items, those that nobody reads too."""
    if not isinstance(node.type, TupleType):
        return (node,)
    with location.attributed(node.provenance):
        return items(node)


def in_memory(group: Group) -> Iterator[Node]:
    """The nodes of a routine that lie in memory."""
    return (node for node in group.nodes if not isinstance(node.type, TupleType))


def item_at(group: Group, index: int) -> Node | None:
    """A routine's result of this number, if somebody reads it."""
    return next((n for n in group.nodes[1:] if index == getattr(n.op, "index", None)), None)


def rooms(group: Group) -> dict[int, TensorType]:
    """The results of a routine that nobody reads, by number."""
    type_ = group.nodes[0].type
    if group.fused or not isinstance(type_, TupleType):
        return {}
    return {i: t for i, t in enumerate(type_.types) if item_at(group, i) is None}


def room_bytes(group: Group) -> int:
    """Bytes of the results that nobody reads, which lie one after the other."""
    return sum(int(padded(type_.nbytes)) for type_ in rooms(group).values())


def room_offset(plan: Plan, item: Node) -> int:
    """Where in its routine's scratch memory a result lies that nobody reads."""
    assert isinstance(item.op, Item), item
    group = plan.fusion.group_of[item.inputs[0]]
    before = (type_ for i, type_ in rooms(group).items() if i < item.op.index)
    return sum(int(padded(type_.nbytes)) for type_ in before)


def body_bytes(group: Group) -> int:
    """Bytes that the graphs of a routine work in."""
    return max((int(padded(plan.arena_bytes)) for plan in group.bodies.values()), default=0)


class Body(NamedTuple):
    """A graph that a routine runs: the attribute, its plan, and what its kernels are called.

    That is `inside`, which names the routine, and a number, counted from `first`.
    """

    name: str
    plan: Plan
    inside: str
    first: int


def bodies_of(group: Group, label: str) -> Iterator[Body]:
    """The graphs that a routine runs, whose kernels are 4.0, 4.1, … if its label is 4."""
    first = 0
    for name, plan in group.bodies.items():
        yield Body(name, plan, f"{label}.", first)
        first += len(plan.launched)


def carries_of(op: Op, name: str) -> int:
    """How many of a held graph's first inputs become its first outputs."""
    if isinstance(op, Scan):
        return op.carries
    if isinstance(op, WhileLoop) and name == "body":
        return len(op.body.outputs)
    return 0


def first_value(value: Node) -> Node | None:
    """The operand that a result begins as: of a carry its first value."""
    if value.op.begins_as is not None:
        return value.inputs[value.op.begins_as]
    if not isinstance(value.op, Item):
        return None
    (loop,) = value.inputs
    carry = value.op.index < carries_of(loop.op, "body")
    return loop.inputs[value.op.index] if carry else None
