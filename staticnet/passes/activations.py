"""`activations`: what autocast keeps in 16 bits has one value, of 16 bits, for all who read it.

    y = relu(norm(conv(x)) + r) is read as cast(cast(y, bf16), f32), where a product casts it anyway

`precision` casts at products, so an activation between two convolutions lay in memory twice: in
float32 for a shortcut, a pool or the mask of its gradient, and in 16 bits for the product.
PyTorch's autocast has it in 16 bits alone: what products give stays of 16 bits through norms of
channels, max pools, and elementwise ops that are not in its float32 list. Where such a value is
cast for a product, or its windows or pixels are pooled, that cast is what all others read, widened
again. What a kernel has in registers keeps float32, and so do residual streams that begin in
float32, as GPT-2's.

float16 holds less than float32. There only a relu's mask asks the cast: an activation below 6e-8 is
0 for the product, and then for the gradient, too. See docs/adr/0072.
"""

from __future__ import annotations

from collections import defaultdict

from staticnet.ir.dtype import BFLOAT16, FLOAT32, DType, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.types import TupleType
from staticnet.ops.arithmetic import (
    Abs,
    Add,
    Divide,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    Subtract,
)
from staticnet.ops.base import Constant, Item
from staticnet.ops.comparison import Greater
from staticnet.ops.moments import Normalize
from staticnet.ops.movement import Concat
from staticnet.ops.selection import Cast, Relu, StopGradient, Where
from staticnet.ops.shape import Reshape, Sum
from staticnet.ops.state import Placeholder
from staticnet.ops.transcendental import Sigmoid, Tanh
from staticnet.passes.manager import Context, Pass
from staticnet.passes.precision import COMPUTE_TYPES, PRODUCTS, cast
from staticnet.rewrite.driver import keep, rebuild, rewrite
from staticnet.rewrite.pattern import Numerics
from staticnet.rewrite.structure import cast_there_and_back
from staticnet.spatial.convolution import ConvolutionOp
from staticnet.spatial.pooling import MaxPool, MaxPoolGradient

NAME = "activations"
WIDEST = (
    Abs, Add, Divide, Maximum, Minimum, Multiply, Negative, Relu, Sigmoid, StopGradient, Subtract,
    Tanh, Where,
)  # fmt: skip
"""Those that autocast leaves in the widest dtype of their operands."""


def activations(graph: Graph, context: Context) -> Graph:
    """The graph in which 16-bit activations are read in 16 bits."""
    compute = COMPUTE_TYPES.get(context.precision)
    if compute is None:
        return graph
    finder = _Finder(graph, compute)
    shared, pools = finder.shared(), finder.pools()
    gradients = finder.gradients(pools)
    if not (shared or pools):
        return graph
    context.notes[f"activations in {compute}"] += len(shared)
    if pools:
        context.notes[f"maxima of windows in {compute}"] += len(pools)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node in pools:
            return build(node.op, (cast(inputs[0], compute),))
        if isinstance(node.op, Item) and node.inputs[0] in pools:
            return cast(keep(node, inputs), node.dtype)
        if node in gradients:
            return cast(build(node.op, (cast(inputs[0], compute), inputs[1])), FLOAT32)
        if isinstance(node.op, Cast) and node.dtype == compute:
            return keep(node, inputs)
        pairs = zip(node.inputs, inputs, strict=True)
        read = [cast(cast(new, compute), FLOAT32) if x in shared else new for x, new in pairs]
        return keep(node, tuple(read))

    changed = rebuild(graph, NAME, change)
    return rewrite(changed, (cast_there_and_back,), NAME, context.notes)


class _Finder:
    """Finds what autocast has in 16 bits, and of that what lies in memory so in any case."""

    def __init__(self, graph: Graph, compute: DType) -> None:
        self.graph, self.compute = graph, compute
        self.roots = set(graph.roots)
        self.users: dict[Node, list[Node]] = defaultdict(list)
        self.narrow: set[Node] = set()
        self.images: set[Node] = set()
        self.reads = _inputs_below(graph)
        for node in graph.nodes:
            for x in dict.fromkeys(node.inputs):
                self.users[x].append(node)
            if not isinstance(node.type, TupleType) and self._is_narrow(node):
                self.narrow.add(node)
                if self._is_image(node):
                    self.images.add(node)

    def shared(self) -> set[Node]:
        """Activations that are cast for a product or a pool, and read by others, too."""
        return {node for node in self.narrow if self._is_shared(node)}

    def pools(self) -> set[Node]:
        """Maxima of windows of what has 16 bits: in float16 of what float16 has rounded."""
        return {
            node for node in self.graph.nodes
            if isinstance(node.op, MaxPool) and node.inputs[0] in self.narrow
            and (self.compute == BFLOAT16 or self._was(node.inputs[0]))
        }  # fmt: skip

    def gradients(self, pools: set[Node]) -> set[Node]:
        """Those of such pools, whose sums float32 holds and float16 may not."""
        return {
            node for node in self.graph.nodes
            if isinstance(node.op, MaxPoolGradient) and self.compute == BFLOAT16
            and node.inputs[0] in self.narrow and isinstance(node.inputs[1].op, Item)
            and node.inputs[1].inputs[0] in pools
        }  # fmt: skip

    def _is_narrow(self, node: Node) -> bool:
        """Whether autocast has a float32 node in 16 bits."""
        if self._was(node):
            return True
        op = node.op
        if node.dtype != FLOAT32:
            return False
        if op.moves or isinstance(op, Concat | Normalize):
            wide = node.inputs[: 1 if isinstance(op, Normalize) else None]
            return all(x in self.narrow for x in wide)
        if isinstance(op, Item) and isinstance(node.inputs[0].op, MaxPool):
            return op.index == 0 and node.inputs[0].inputs[0] in self.narrow
        if isinstance(op, MaxPoolGradient):
            return node.inputs[0] in self.narrow
        if not isinstance(op, WIDEST) or self._is_power(node):
            return False
        floats = [x for x in node.inputs if is_floating(x.dtype)]
        if isinstance(op, Add) and any(self._is_biased(*pair) for pair in (floats, floats[::-1])):
            return True
        arrays = [x for x in floats if not (isinstance(x.op, Constant) and x.type.size == 1)]
        return bool(arrays) and all(x in self.narrow for x in arrays)

    def _was(self, node: Node) -> bool:
        """Whether it was widened from 16 bits."""
        widened = isinstance(node.op, Cast) and node.dtype == FLOAT32
        return widened and node.inputs[0].dtype == self.compute

    def _is_power(self, node: Node) -> bool:
        """Whether it is c / x or x * x, which autocast has in float32, as powers."""
        if isinstance(node.op, Divide):
            return node.inputs[0] not in self.narrow
        return isinstance(node.op, Multiply) and node.inputs[0] is node.inputs[1]

    def _is_biased(self, product: Node, bias: Node) -> bool:
        """Whether to a product's result a vector is added that is no activation.

        It depends on no input of several axes, nor on a vector that the product depends on.
        """
        while isinstance(product.op, Reshape):
            (product,) = product.inputs
        if not (self._was(product) and isinstance(product.inputs[0].op, PRODUCTS)):
            return False
        bias = _below(bias)
        return bias.ndim <= 1 and not self.reads[bias] & (_ARRAYS | self.reads[product])

    def _is_image(self, node: Node) -> bool:
        """Whether a value of 16 bits has the pixels of a convolution's result, on axes 2 and on."""
        if self._was(node):
            below = _below(node.inputs[0])
            return isinstance(below.op, ConvolutionOp) and below.ndim == node.ndim
        return any(x in self.images and x.ndim == node.ndim for x in node.inputs)

    def _is_shared(self, node: Node) -> bool:
        if not isinstance(node.op, (Normalize, *WIDEST)) or node in self.roots:
            return False
        users = self.users[node]
        casts = {x for x in users if isinstance(x.op, Cast) and x.dtype == self.compute}
        others = set(users) - casts
        if self.compute != BFLOAT16:
            masks = all(isinstance(x.op, Greater) and _is_zero(x.inputs[1]) for x in others)
            return isinstance(node.op, Relu) and bool(casts and others) and masks
        pooled = any(isinstance(x.op, MaxPool) or self._is_mean_of_pixels(x) for x in others)
        return bool(casts and others) or (pooled and len(others) > 1)

    def _is_mean_of_pixels(self, x: Node) -> bool:
        """Whether it sums the pixels of images, as a pool of all of them does."""
        if not isinstance(x.op, Sum) or x.inputs[0] not in self.images:
            return False
        return x.op.axes == tuple(range(2, x.inputs[0].ndim))


_ARRAYS = 1  # the bit of all inputs of several axes; each other input has its own


def _inputs_below(graph: Graph) -> dict[Node, int]:
    """Of each node, as bits, which inputs it depends on; of variables none, which are weights."""
    reads: dict[Node, int] = {}
    vectors = 0
    for node in graph.nodes:
        bits = 0
        for x in node.inputs:
            bits |= reads[x]
        if isinstance(node.op, Placeholder):
            vectors += node.ndim <= 1
            bits = 1 << vectors if node.ndim <= 1 else _ARRAYS
        reads[node] = bits
    return reads


def _below(node: Node) -> Node:
    """What a chain of views shows."""
    while node.op.moves:
        (node,) = node.inputs
    return node


def _is_zero(x: Node) -> bool:
    return isinstance(x.op, Constant) and x.type.size == 1 and x.op.value.scalar == 0


ACTIVATIONS = Pass(NAME, activations, Numerics.APPROXIMATES)
