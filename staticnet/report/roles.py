"""What part a node plays: fed or kept, forward, backward, update.

Passes rebuild nodes, and a graph read from text has no history, so the parts are told apart by the
data flow; a node that still says "gradient" in its provenance is taken at its word.
"""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, topological
from staticnet.ops.base import Constant, Elementwise

ROLES = ("input", "forward", "backward", "update")


def roles(graph: Graph) -> dict[Node, str]:
    """The role of each node of a graph.

    input: placeholders and variables; forward: what the outputs need; update: the elementwise
    work that ends in a variable's next value; backward: all the rest.
    """
    forward = set(topological(graph.outputs))
    updating = _elementwise_tail(graph, forward)
    return {node: _role(node, forward, updating) for node in graph.nodes}


def _role(node: Node, forward: set[Node], updating: set[Node]) -> str:
    if node.op.name in ("placeholder", "variable"):
        return "input"
    if "gradient" in node.provenance.made_by:
        return "backward"
    if node in forward:
        return "forward"
    return "update" if node in updating else "backward"


def _elementwise_tail(graph: Graph, forward: set[Node]) -> set[Node]:
    """From the updates' values backwards, through elementwise ops only."""
    tail: set[Node] = set()
    stack = [value for _, value in graph.updates]
    while stack:
        node = stack.pop()
        if node in tail or node in forward or not isinstance(node.op, Elementwise | Constant):
            continue
        tail.add(node)
        stack.extend(node.inputs)
    return tail
