"""What a loop stacks for another is computed again by that, from the carries: for `remat`.

A scan that reads ys of an earlier one of equal length, as the way back reads what the way there
kept, can make an element of a y itself from that step's carries, xs and what is captured. Then only
the carries are stacked.
"""

from __future__ import annotations

from staticnet.control.parts import Given, Parts, remade
from staticnet.control.scan import Scan
from staticnet.control.trace import parameters
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.base import Item
from staticnet.passes.manager import Context
from staticnet.passes.merge_loops import merge_loops
from staticnet.rewrite.driver import keep, rebuild


def stack_carries_alone(graph: Graph) -> Graph:
    """The graph in which no scan stacks what another can make of its carries."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not isinstance(node.op, Scan):
            return keep(node, inputs)
        parts = Parts.of(node.op, inputs)
        made = {x.own: value for x in list(parts.xs) if (value := _again(x, parts)) is not None}
        if not made:
            return keep(node, inputs)
        afters = remade([carry.after for carry in parts.carries], made)
        pairs = zip(parts.carries, afters, strict=True)
        parts.carries = [carry._replace(after=after) for carry, after in pairs]
        parts.ys = remade(parts.ys, made)
        carries, ys = parts.build()
        return (carries or ys)[0].inputs[0]

    after = rebuild(graph, "remat", replace)
    return after if after is graph else merge_loops(after, Context())


def _again(x: Given, reader: Parts) -> Node | None:
    """An element of a y that another scan stacked, as the reader makes it; None if it is no such.

    What that takes is handed to the reader.
    """
    item = x.operand
    if not isinstance(item.op, Item) or not isinstance(item.inputs[0].op, Scan):
        return None
    (loop,) = item.inputs
    op = loop.op
    assert isinstance(op, Scan)
    place = item.op.index - op.carries
    parts = Parts.of(op, loop.inputs)
    if op.length != reader.op.length or place < 0 or not parts.ys[place].inputs:  # type: ignore[union-attr]
        return None
    y = parts.ys[place]
    parts.ys = [carry.own for carry in parts.carries]
    _, stacks = parts.build()
    rows = [Given(stack, carry.own) for stack, carry in zip(stacks, parts.carries, strict=True)]
    given = [*rows, *parts.xs, *parts.captured]
    stand_ins = parameters("again", (each.own.type for each in given))
    own = dict(zip((each.own for each in given), stand_ins, strict=True))
    reader.xs += [Given(row.operand, own[row.own]) for row in (*rows, *parts.xs)]
    reader.captured += [Given(k.operand, own[k.own]) for k in parts.captured]
    return remade([y], own)[0]
