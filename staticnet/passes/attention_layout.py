"""Attention whose heads lie behind its queries, where that is how they are read.

    permute_dims(y, [0,2,1,3]), y, _ = attention(…)    is    attention(…, layout="last")

So heads are joined to features by a reshape alone. Who else reads y looks through a permute.
"""

from __future__ import annotations

from dataclasses import replace

from staticnet.attention.op import Attention
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import Item
from staticnet.ops.movement import PermuteDims
from staticnet.passes.manager import Context
from staticnet.rewrite.driver import keep, rebuild

SWAP = PermuteDims((0, 2, 1, 3))


def heads_last(graph: Graph, context: Context) -> Graph:
    """The graph whose attentions write what is read next: bits stay."""
    roots = set(graph.roots)
    swapped = (x.inputs[0] for x in graph.nodes if x.op == SWAP)
    found = {y.inputs[0] for y in swapped if _is_result(y) and y not in roots}
    if not found:
        return graph
    context.notes["attention with heads last"] += len(found)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        op = node.op
        if isinstance(op, Attention) and node in found:
            return build(replace(op, layout="last"), inputs)
        if _is_result(node) and node.inputs[0] in found:
            return build(SWAP, (build(op, inputs),))
        if op == SWAP and inputs[0].op == SWAP:
            return inputs[0].inputs[0]
        return keep(node, inputs)

    return rebuild(graph, "library", change)


def _is_result(y: Node) -> bool:
    """Whether a node is what an attention gives, with heads first."""
    if not (isinstance(y.op, Item) and y.op.index == 0):
        return False
    op = y.inputs[0].op
    return isinstance(op, Attention) and op.layout == "first"
