"""`cse`: equal expressions are one node by construction; this finds those equal but for the order
of a commutative op's operands, `x * y` and `y * x`."""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import COMMUTATIVE


def cse(graph: Graph, context: Context) -> Graph:
    """The graph with commuted duplicates merged into the first of them."""
    seen: dict[tuple[str, Node, Node], Node] = {}

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = keep(node, inputs)
        if node.op.name not in COMMUTATIVE:
            return node
        left, right = node.inputs
        twin = seen.get((node.op.name, right, left))
        if twin is not None and twin is not node:
            context.notes[f"merged {node.op.name}"] += 1
            return twin
        seen[(node.op.name, left, right)] = node
        return node

    return rebuild(graph, "cse", replace)


CSE = Pass("cse", cse)
