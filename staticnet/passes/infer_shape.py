"""`infer_shape`: replace symbolic dims by the numbers they are bound to, and infer types anew.

It runs last, so that one graph serves every binding: each of its nodes becomes one node, and only a
dim's own value, as the divisor of a mean, is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping

from staticnet.errors import ExecutionError, ShapeError, StaticnetError
from staticnet.ir import location
from staticnet.ir.dtype import DType
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build, with_context
from staticnet.ir.op import Op, symbols_of_op
from staticnet.ir.types import TupleType
from staticnet.ops.base import Constant, Size, constant
from staticnet.ops.evaluate import evaluate
from staticnet.ops.selection import Cast
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
        twin = build(_substituted(node, dims), inputs)
        if isinstance(node.op, Size) or not sizes.isdisjoint(inputs):
            twin = _number(node, twin)
            sizes.update([twin] if isinstance(twin.op, Constant) else [])
        twins[node] = twin
        return twin

    specialized = rebuild(graph, "infer_shape", replace)
    for target, _ in graph.updates:
        twins.setdefault(target, target)  # a variable that is written and never read
    return specialized, twins


def _substituted(node: Node, dims: Mapping[str, int]) -> Op:
    try:
        op = node.op.with_graphs(lambda held: specialize(held, dims)[0])
        return op.substitute(dict(dims))
    except StaticnetError as error:
        sizes = ", ".join(f"{name} = {size}" for name, size in dims.items())
        at = ShapeError(f"does not allow {sizes}: {error}")
        raise with_context(at, node.op.name, node.inputs) from error.__cause__


def _number(node: Node, twin: Node) -> Node:
    """A scalar of constants as a constant; any other twin of a node as it is."""
    numbers = [x.op.value.array for x in twin.inputs if isinstance(x.op, Constant)]
    several = isinstance(twin.type, TupleType)
    if several or twin.shape or symbols_of_op(twin.op) or len(numbers) != len(twin.inputs):
        return twin
    if isinstance(node.op, Cast) and isinstance(node.inputs[0].op, Size):
        return _dim_in(twin.dtype, int(numbers[0]))
    try:
        return constant(evaluate(twin, numbers))
    except ExecutionError:
        return twin  # it fails when it runs, with the user's line


def _dim_in(dtype: DType, size: int) -> Node:
    """A dim beside values of a dtype: an error where a Python int of that size would be one."""
    try:
        return constant(size, dtype)
    except StaticnetError as error:
        raise with_context(error, "astype", []) from error.__cause__


INFER_SHAPE = Pass("infer_shape", infer_shape, inside=False)
