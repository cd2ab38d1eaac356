"""The verifier: what must hold of every graph between any two passes."""

from __future__ import annotations

from staticnet.errors import StaticnetError, VerifyError
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.op import infer
from staticnet.ir.text import format_graph


def verify(graph: Graph, after: str = "") -> None:
    """Check that operands come first, that types are what the ops infer, that lines are known.

    The graphs that ops hold are checked in turn, and need to hold no state.

    Raises:
        VerifyError: naming the pass (`after`), the node, and printing the IR around it.
    """
    seen: set[Node] = set()
    for node in graph.nodes:
        problem = _problem(node, seen)
        if problem:
            raise VerifyError(_report(graph, node, problem, after))
        for held in node.op.graphs.values():
            if held.variables:
                raise VerifyError(_report(graph, node, "a graph inside an op holds state", after))
            verify(held, after)
        seen.add(node)


def _problem(node: Node, seen: set[Node]) -> str:
    for operand in node.inputs:
        if operand not in seen:
            return "an operand comes after its user"
    if not node.provenance.lines:
        return "no source line: the node was built outside an attribution"
    try:
        inferred = infer(node.op, [operand.type for operand in node.inputs])
    except StaticnetError as error:
        return f"the op rejects its operands: {error}"
    return "" if inferred == node.type else f"the op infers {inferred}"


def _report(graph: Graph, node: Node, problem: str, after: str) -> str:
    lines = format_graph(graph).splitlines()
    body = [n for n in graph.nodes if n.op.name != "placeholder"]
    at = next((i for i, n in enumerate(body, 1) if n is node), 0)
    around = "\n".join(lines[max(0, at - 3) : at + 3])
    maker = f"after {after}: " if after else ""
    return f"{maker}{node!r}: {problem} (from {node.provenance})\n{around}"
