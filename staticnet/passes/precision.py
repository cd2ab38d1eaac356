"""`precision`: products and convolutions take 16-bit operands; everything else stays float32.

A float32 product becomes a product in the compute type, which sums in float32 and rounds once, and
a cast back. The casts are elementwise: they join the kernels on both sides, and 16-bit values are
what lies in memory between. So do attentions, but for their scores and row sums. Variables and
their updates stay float32. An operand is cast below the
views through which products see it: so it is cast once for all of them, and a transpose stays one
that the library reads in place. A concatenation of 16-bit results stays one of 16 bits.

float16 has 5 exponent bits: gradients below 6e-8 become zero, values above 65504 infinity. This
pass scales no loss: `sn.optim.LossScaling` does, and bfloat16 needs none.

After PyTorch's autocast, https://docs.pytorch.org/docs/stable/amp.html: its 16-bit list is the
products and convolutions, float64 is never touched. See docs/adr/0008.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Set

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.op import Attention
from staticnet.ir.dtype import BFLOAT16, FLOAT16, FLOAT32, DType, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import Constant, Item
from staticnet.ops.float8 import Float8Matmul
from staticnet.ops.library import MatmulAdd, MatmulEpilogue
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import Concat, Slice
from staticnet.ops.selection import Cast
from staticnet.ops.state import Placeholder, VariableOp
from staticnet.passes.attention import hand_written
from staticnet.passes.hoist import hoist_invariants
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild, rewrite
from staticnet.rewrite.one_index import take_of_elementwise
from staticnet.rewrite.pattern import Numerics
from staticnet.spatial.convolution import ConvolutionOp

COMPUTE_TYPES: dict[str, DType] = {"bfloat16": BFLOAT16, "float16": FLOAT16, "float8": BFLOAT16}
PRODUCTS = (Matmul, MatmulAdd, MatmulEpilogue, ConvolutionOp)
ATTENTIONS = (Attention, AttentionGradient)  # whose results are items
CASTS_TAKEN = (take_of_elementwise,)  # an element of a product is cast, and not the product for it


def precision(graph: Graph, context: Context) -> Graph:
    """The graph with float32 products computed in `context.precision`.

    tf32 is a mode of the device's matrix units, not a type: the graph stays as it is.
    """
    compute = COMPUTE_TYPES.get(context.precision)
    if compute is None:
        return graph
    made = sum(isinstance(node.op, Float8Matmul) for node in graph.nodes)
    context.notes += Counter({"matmul in float8": made})  # when the graph was declared
    if context.numerics == "fast":
        graph = hand_written(graph, context)  # casts would hide it

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, ATTENTIONS) and node.inputs[0].dtype == FLOAT32:
            context.notes[f"{node.op.name} in {compute}"] += 1
            narrow = list(inputs)
            for i in node.op.rows:
                narrow[i] = cast_below_views(narrow[i], compute)
            return build(node.op, tuple(narrow))
        if isinstance(node.op, Item):
            return cast(keep(node, inputs), node.dtype)
        if isinstance(node.op, Concat) and all(_was(operand, compute) for operand in inputs):
            parts = tuple([cast_below_views(operand, compute) for operand in inputs])
            return build(Cast(node.dtype), (build(node.op, parts),))
        if node.op.moves and _is_joined(inputs[0], compute):
            view = build(node.op, inputs[0].inputs)  # who reads it reads 16 bits
            return build(Cast(node.dtype), (view,))
        if not isinstance(node.op, PRODUCTS) or node.dtype != FLOAT32:
            return keep(node, inputs)
        context.notes[f"{node.op.name} in {compute}"] += 1
        operands = tuple([cast_below_views(operand, compute) for operand in inputs])
        return build(Cast(FLOAT32), (build(node.op, operands),))

    graph = rebuild(graph, "precision", replace)
    graph = rewrite(graph, CASTS_TAKEN, "precision", context.notes)
    return hoist_invariants(graph, context)  # such as casts of weights that loops read


def cast_below_views(x: Node, dtype: DType) -> Node:
    """x in another floating dtype, cast where its elements are made and not where they are viewed.

    A slice of what lies in memory already is cast itself: the rest may not be needed.
    """
    views: list[Node] = []
    while x.op.moves and not _is_slice_of_leaf(x):
        views.append(x)
        (x,) = x.inputs
    result = cast(x, dtype)
    for view in reversed(views):
        result = build(view.op, (result,))
    return result


def _was(x: Node, dtype: DType) -> bool:
    """Whether x is a view of what was widened from a dtype."""
    while x.op.moves:
        (x,) = x.inputs
    return isinstance(x.op, Cast) and x.dtype == FLOAT32 and x.inputs[0].dtype == dtype


def _is_joined(x: Node, dtype: DType) -> bool:
    """Whether x is what was widened from a view of a concatenation in a dtype."""
    if not (isinstance(x.op, Cast) and x.dtype == FLOAT32 and x.inputs[0].dtype == dtype):
        return False
    (x,) = x.inputs
    while x.op.moves:
        (x,) = x.inputs
    return isinstance(x.op, Concat)


def _is_slice_of_leaf(x: Node) -> bool:
    return isinstance(x.op, Slice) and isinstance(
        x.inputs[0].op, Constant | Placeholder | VariableOp
    )


def cast(x: Node, dtype: DType) -> Node:
    """x in another dtype; what was widened from a floating one comes back as it was."""
    if x.dtype == dtype:
        return x
    if isinstance(x.op, Cast) and is_floating(x.dtype) and x.dtype.itemsize > dtype.itemsize:
        (origin,) = x.inputs
        if origin.dtype == dtype:
            return origin
    return build(Cast(dtype), (x,))


def holds(dtype: DType, node: Node, users: Collection[Node], roots: Set[Node]) -> bool:
    """Whether a node of what was summed in float32 may be a 16-bit float instead.

    One of bfloat16 has float32's range, and is what the sum is, as under autocast. float16 has not:
    there no one may ask for more than that.
    """
    if dtype != FLOAT16 or node.dtype == dtype:
        return True
    narrowed = all(isinstance(x.op, Cast) and x.dtype == dtype for x in users)
    return narrowed and node not in roots


PRECISION = Pass("precision", precision, Numerics.APPROXIMATES)
