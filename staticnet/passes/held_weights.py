"""`held_weights`: weights that a step does not update stay packed for what multiplies by them.

The CPU copies weights into the order that its kernels read them in, or transforms them for
Winograd's algorithm. Of one image or few rows that takes as long as the product. Where the weight
is a variable that the step leaves as it is, as in inference, the executable keeps the copy, and
makes it anew in the step after the variable was set from the host or updated by another function.

That is memory for time: not within a `memory_limit`. The order of sums is another where otherwise
weights would have been read where they lie. See docs/adr/0052.
"""

from __future__ import annotations

from dataclasses import replace

from staticnet.ir.dtype import FLOAT32
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.held import Held, held_right
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.ops.state import Variable
from staticnet.passes.manager import Context, Pass
from staticnet.passes.winograd import FEW_HELD, fewer_tiles
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics
from staticnet.spatial.convolution import ConvolutionOp, ConvolutionWeight

NAME = "held_weights"
OFFER = "held"  # of a backend's `products`
LEAST_ROWS, MOST_ROWS = 3, 1 << 12  # of a product, beyond which packing takes little of its time
LEAST_COLUMNS, LEAST_ELEMENTS = 32, 1 << 12  # of a matrix that takes long to pack


def held_weights(graph: Graph, context: Context) -> Graph:
    """The graph whose convolutions and products say that their weights stay."""
    if OFFER not in context.products or context.memory_limit is not None:
        return graph
    updated = {target for target, value in graph.updates if value is not target}
    staying = {node for node in graph.nodes if _may_hold(node) and _weight(node) not in updated}
    if not staying:
        return graph
    context.notes["products with held weights"] += len(staying)

    def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in staying:
            return keep(node, inputs)
        if isinstance(node.op, ConvolutionOp):
            return build(_held(node.op, node), inputs)
        return build(node.op, (inputs[0], build(Held(), inputs[1:2]), *inputs[2:]))

    return rebuild(graph, NAME, replaced)


def released(graph: Graph) -> Graph:
    """The graph whose steps pack all weights themselves, for a program that keeps no memory."""

    def replaced(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Held):
            return inputs[0]
        if isinstance(node.op, ConvolutionOp) and node.op.weights == "held":
            return build(replace(node.op, weights="plain"), inputs)
        return keep(node, inputs)

    return rebuild(graph, NAME, replaced)


def _held(op: ConvolutionOp, node: Node) -> ConvolutionOp:
    """The convolution by weights that stay, which are not read at all points for few tiles."""
    if op.algorithm == "winograd" and fewer_tiles(op, node, FEW_HELD):
        op = replace(op, algorithm="direct")
    return replace(op, weights="held")


def _weight(node: Node) -> Node:
    """What a convolution or product takes second, before it is transposed."""
    return node.inputs[1] if isinstance(node.op, ConvolutionOp) else held_right(node)[0]


def _may_hold(node: Node) -> bool:
    """Whether it takes a variable's weights, of sizes that are known and worth it."""
    if isinstance(node.op, Matmul | MatmulAdd):
        return _may_hold_panels(node)
    op = node.op
    if not isinstance(op, ConvolutionOp) or isinstance(op, ConvolutionWeight):
        return False
    if op.weights != "plain":
        return False
    x, w = node.inputs
    sizes = (*x.shape[1:], *node.shape[1:], *op.groups)
    return isinstance(w, Variable) and all(isinstance(size, int) for size in sizes)


def _may_hold_panels(node: Node) -> bool:
    if node.ndim != 2 or node.dtype != FLOAT32 or not isinstance(_weight(node), Variable):
        return False
    rows, (depth, columns) = node.shape[0], node.inputs[1].shape
    few = not isinstance(rows, int) or LEAST_ROWS <= rows <= MOST_ROWS
    return few and columns >= LEAST_COLUMNS and depth * columns >= LEAST_ELEMENTS


HELD_WEIGHTS = Pass(NAME, held_weights, Numerics.REASSOCIATES, inside=False)
