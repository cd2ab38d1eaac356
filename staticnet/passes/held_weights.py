"""`held_weights`: weights that a step does not update stay packed for its convolutions.

The CPU copies weights into the order that its kernels read them in, or transforms them for
Winograd's algorithm. Of one image that takes as long as the convolution. Where the weight is a
variable that the step leaves as it is, as in inference, the executable keeps the copy, and makes it
anew in the step after the variable was set from the host or updated by another function.

That is memory for time: not within a `memory_limit`. The order of sums is another where otherwise
weights would have been read where they lie. See docs/adr/0052.
"""

from __future__ import annotations

from dataclasses import replace

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.state import Variable
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics
from staticnet.spatial.convolution import ConvolutionOp, ConvolutionWeight

NAME = "held_weights"
OFFER = "held"  # of a backend's `products`


def held_weights(graph: Graph, context: Context) -> Graph:
    """The graph whose convolutions say that their weights stay."""
    if OFFER not in context.products or context.memory_limit is not None:
        return graph
    updated = {target for target, value in graph.updates if value is not target}
    staying = {node for node in graph.nodes if _may_hold(node) and node.inputs[1] not in updated}
    if staying:
        context.notes["convolutions with held weights"] += len(staying)
    return _with_weights(graph, staying, "held")


def released(graph: Graph) -> Graph:
    """The graph whose steps pack all weights themselves, for a program that keeps no memory."""
    held = {node for node in graph.nodes if getattr(node.op, "weights", "") == "held"}
    return _with_weights(graph, held, "plain")


def _with_weights(graph: Graph, chosen: set[Node], weights: str) -> Graph:
    def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in chosen:
            return keep(node, inputs)
        assert isinstance(node.op, ConvolutionOp)
        return build(replace(node.op, weights=weights), inputs)

    return rebuild(graph, NAME, replaced) if chosen else graph


def _may_hold(node: Node) -> bool:
    """Whether it takes a variable's weights, and all sizes but the number of examples are known."""
    op = node.op
    if not isinstance(op, ConvolutionOp) or isinstance(op, ConvolutionWeight):
        return False
    if op.weights != "plain":
        return False
    x, w = node.inputs
    sizes = (*x.shape[1:], *node.shape[1:], *op.groups)
    return isinstance(w, Variable) and all(isinstance(size, int) for size in sizes)


HELD_WEIGHTS = Pass(NAME, held_weights, Numerics.REASSOCIATES, inside=False)
