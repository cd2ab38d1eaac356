"""`inline`: calls of graphs become the graphs' nodes, once derivatives have been taken."""

from __future__ import annotations

from staticnet.control.call import CallOp
from staticnet.control.parts import applied
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.base import Item
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild


def inline(graph: Graph, context: Context) -> Graph:
    """The graph with the body of each call in its place."""
    if not any(isinstance(node.op, CallOp) for node in graph.nodes):
        return graph
    results: dict[Node, list[Node]] = {}

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        location.set_attribution(node.provenance)  # it stays what it is, on operands put in place
        node = keep(node, inputs)
        if isinstance(node.op, CallOp):
            results[node] = applied(node.op.body, node.inputs)
            context.notes[f"inlined {node.op.name}"] += 1
        if isinstance(node.op, Item) and node.inputs[0] in results:
            return results[node.inputs[0]][node.op.index]
        return node

    return rebuild(graph, "inline", replace)


INLINE = Pass("inline", inline)
