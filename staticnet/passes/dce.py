"""`dce`: a graph holds only what its outputs and updates reach, so the only dead code that can be
left is an update that gives a variable its own value back."""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.passes.manager import Context, Pass


def dce(graph: Graph, context: Context) -> Graph:
    """The graph without updates `w <- w`."""
    live = tuple((target, value) for target, value in graph.updates if target is not value)
    dropped = len(graph.updates) - len(live)
    if not dropped:
        return graph
    context.notes["dropped identity update"] += dropped
    return Graph(graph.name, graph.inputs, graph.outputs, live)


DCE = Pass("dce", dce)
