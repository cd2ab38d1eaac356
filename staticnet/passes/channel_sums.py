"""`channel_sums`: statistics of channels are sums where kernels fuse those with what is summed.

`moments` and `centered_sums` are routines, whose operands lie in memory in float32: where those are
of 16 bits, or made elementwise, they are written first. As plain sums they are read where they were
made, by blocks that share the rows, and from memory in which channels lie last neighbours are read
together. That takes more launches, so it pays where a channel has many elements; sizes must be
known, and the pass comes after `infer_shape`. See docs/adr/0065.
"""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.base import Item
from staticnet.ops.moments import CenteredSums, Moments
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics

NAME = "channel_sums"
OFFER = "sums"  # of a backend's `products`
LEAST_ELEMENTS = 2048  # of a channel; fewer are a few turns of one block


def channel_sums(graph: Graph, context: Context) -> Graph:
    """The graph whose statistics of long channels are sums, if the backend fuses those."""
    found = {node for node in graph.nodes if _is_long(node)} if OFFER in context.products else ()
    if not found:
        return graph
    context.notes["statistics as sums"] += len(found)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not (isinstance(node.op, Item) and node.inputs[0] in found):
            return keep(node, inputs)
        (old,) = inputs
        assert isinstance(old.op, Moments | CenteredSums)
        made: Node = old.op.expand(*old.inputs)[node.op.index]
        return made

    return rebuild(graph, NAME, change)


def _is_long(node: Node) -> bool:
    if not isinstance(node.op, Moments | CenteredSums):
        return False
    count = node.op.count(node.inputs[0])
    return isinstance(count, int) and count >= LEAST_ELEMENTS


CHANNEL_SUMS = Pass(NAME, channel_sums, Numerics.REASSOCIATES)
