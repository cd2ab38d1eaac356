"""`infer_shape`: replace symbolic dims by the numbers they are bound to, and infer types anew."""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import rebuild


def infer_shape(graph: Graph, context: Context) -> Graph:
    """The graph with `context.dims` put in; the ops check their operands at the new sizes.

    Raises:
        ShapeError: naming the user's line, if an op does not allow these sizes.
    """
    dims = dict(context.dims)
    if not dims:
        return graph

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        return build(node.op.substitute(dims), inputs)

    return rebuild(graph, "infer_shape", replace)


INFER_SHAPE = Pass("infer_shape", infer_shape)
