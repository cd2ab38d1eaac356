"""`infer_shape`: replace symbolic dims by the numbers they are bound to, and infer types anew.

It runs last, so that one graph serves every binding: each of its nodes becomes one node, and only a
dim's own value, as the divisor of a mean, is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping

from staticnet.errors import ExecutionError
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.op import symbols_of_op
from staticnet.ops.base import Constant, constant
from staticnet.ops.creation import Size
from staticnet.ops.evaluate import evaluate
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import rebuild


def infer_shape(graph: Graph, context: Context) -> Graph:
    """The graph with `context.dims` put in; the ops check their operands at the new sizes.

    Raises:
        ShapeError: naming the user's line, if an op does not allow these sizes.
    """
    return specialize(graph, context.dims)[0] if context.dims else graph


def specialize(graph: Graph, dims: Mapping[str, int]) -> tuple[Graph, dict[Node, Node]]:
    """The graph with numbers for symbolic dims, and what each node of the old one became.

    Raises:
        ShapeError: naming the user's line, if an op does not allow these sizes.
    """
    twins: dict[Node, Node] = {}
    sizes: set[Node] = set()  # numbers that depend on dims alone

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        location.set_attribution(node.provenance)
        twin = build(node.op.substitute(dict(dims)), inputs)
        if isinstance(twin.op, Size) or not sizes.isdisjoint(inputs):
            twin = _number(twin)
            sizes.update([twin] if isinstance(twin.op, Constant) else [])
        twins[node] = twin
        return twin

    specialized = rebuild(graph, "infer_shape", replace)
    for target, _ in graph.updates:
        twins.setdefault(target, target)  # a variable that is written and never read
    return specialized, twins


def _number(node: Node) -> Node:
    """A scalar of constants as a constant; any other node as it is."""
    numbers = [x.op.value.array for x in node.inputs if isinstance(x.op, Constant)]
    if node.shape or symbols_of_op(node.op) or len(numbers) != len(node.inputs):
        return node
    try:
        return constant(evaluate(node, numbers))
    except ExecutionError:
        return node  # it fails when it runs, with the user's line


INFER_SHAPE = Pass("infer_shape", infer_shape)
