"""`library`: what the backend's library computes in one call is one node; what it lacks is none.

A product whose only use is a bias along its last axis, an activation, or both in turn becomes a
`matmul_epilogue` if the backend offers that epilogue; one that it does not offer, or in float64 not
in float64's accuracy, is expanded. A
16-bit product that it does not offer becomes a float32 product between casts, which has the same
bits: 16-bit products sum in float32 in any case. See docs/adr/0009. Convolutions of 3 by 3 go by
Winograd's algorithm where the backend has it and compilation may approximate. A product is added
to what it takes the place of. Attention writes its heads where they are read next.
"""

from __future__ import annotations

from collections.abc import Iterator

from staticnet.ir import location
from staticnet.ir.dtype import FLOAT32, FLOAT64, HALVES, DType
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.op import Op
from staticnet.ops.arithmetic import Add
from staticnet.ops.base import Constant
from staticnet.ops.float8 import Float8Matmul
from staticnet.ops.library import ADDS, EPILOGUES, MatmulAdd, MatmulEpilogue, gelu_tanh
from staticnet.ops.linalg import Matmul
from staticnet.ops.selection import Cast, Relu
from staticnet.ops.shape import BroadcastTo, Reshape
from staticnet.passes.attention import hand_written
from staticnet.passes.attention_layout import heads_last
from staticnet.passes.float8 import expand as without_float8
from staticnet.passes.manager import Context, Pass
from staticnet.passes.precision import CASTS_TAKEN, cast, cast_below_views, holds
from staticnet.passes.sums_of_products import sums_of_products
from staticnet.passes.winograd import by_winograd
from staticnet.rewrite.driver import keep, rebuild, rewrite
from staticnet.rewrite.pattern import Numerics, Pattern

GELU = gelu_tanh(Pattern(None, (), "x"))


def library(graph: Graph, context: Context) -> Graph:
    """The graph in terms of what `context.epilogues` and `context.products` offer."""
    graph = without_float8(_expand(graph, context), context)
    if context.numerics == "fast":
        graph = by_winograd(hand_written(graph, context), context)
        if ADDS in context.epilogues:
            graph = sums_of_products(graph, context)
    if context.epilogues & EPILOGUES:
        graph = _Matcher(graph, context).run()
    return heads_last(_widen(graph, context), context)


def offers(context: Context, epilogue: str, dtype: DType) -> bool:
    """Whether the backend's library has an epilogue, as accurate as the dtype is."""
    if epilogue == ADDS and dtype in HALVES:
        return False
    narrow = dtype == FLOAT64 and epilogue in context.narrow_epilogues
    return epilogue in context.epilogues and not narrow


def _expand(graph: Graph, context: Context) -> Graph:
    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        op = node.op
        if not isinstance(op, MatmulEpilogue | MatmulAdd):
            return keep(node, inputs)
        epilogue = ADDS if isinstance(op, MatmulAdd) else op.epilogue(len(inputs))
        if offers(context, epilogue, node.dtype):
            return keep(node, inputs)
        context.notes[f"expanded {epilogue}"] += 1
        expanded = op.expand(*inputs)
        assert isinstance(expanded, Node)
        return expanded

    found = any(isinstance(node.op, MatmulEpilogue | MatmulAdd) for node in graph.nodes)
    return rebuild(graph, "library", replace) if found else graph


def _widen(graph: Graph, context: Context) -> Graph:
    """16-bit products that the library lacks, computed in float32 and rounded once."""

    def lacks(node: Node) -> bool:
        half = isinstance(node.op, Matmul) and node.dtype in HALVES
        return half and node.dtype.name not in context.products

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not lacks(node):
            return keep(node, inputs)
        context.notes[f"widened {node.dtype} matmul"] += 1
        wide = tuple([cast_below_views(operand, FLOAT32) for operand in inputs])
        return build(Cast(node.dtype), (build(node.op, wide),))

    if not any(map(lacks, graph.nodes)):
        return graph
    return rewrite(rebuild(graph, "library", replace), CASTS_TAKEN, "library", context.notes)


class _Matcher:
    """Finds products with what follows them, and makes each one node.

    A match covers the nodes from the product to its root. All but the root must be used by the
    match alone; who else needs them would have the product computed twice.
    """

    def __init__(self, graph: Graph, context: Context) -> None:
        self.graph = graph
        self.context = context
        self.new: dict[Node, Node] = {}
        self.users: dict[Node, set[Node]] = {}
        self.roots = set(graph.roots)
        for node in graph.nodes:
            for operand in node.inputs:
                self.users.setdefault(operand, set()).add(node)

    def run(self) -> Graph:
        """The graph with every match made one node."""
        return rebuild(self.graph, "library", self._replace)

    def _replace(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        result = self._fused(node)
        if result is None:
            result = keep(node, inputs)
            if isinstance(result.op, Cast):  # of a fused node, which was widened
                result = cast(result.inputs[0], result.dtype)
        self.new[node] = result
        return result

    def _fused(self, root: Node) -> Node | None:
        """The node that does all that leads to `root`, or None if the library cannot."""
        activation, before = _activation(root)
        product, bias = _product_and_bias(before)
        op: Op = MatmulEpilogue(activation)
        name = MatmulEpilogue(activation).epilogue(2 if bias is None else 3)
        if product is None or not offers(self.context, name, product.dtype):
            return None
        if isinstance(product.op, Float8Matmul):
            if name != "bias":  # what reads it is the kernel that rounds the next operand
                return None
            op = product.op
        if product.dtype in HALVES and self.context.numerics == "exact":
            return None  # it rounds once, and the ops that it stands for each
        selects = name == "relu"  # a number of the product, or 0
        if not selects and not holds(product.dtype, root, self.users.get(root, ()), self.roots):
            return None
        covered = _covered(root, product, bias)
        if not self._is_private(covered, root):
            return None
        self.context.notes[f"fused {name}"] += 1
        operands = [self.new[x] for x in product.inputs]
        maker = root.provenance.made_by or "library"
        lines = location.merge([x.provenance for x in covered], maker)
        with location.attributed(lines):
            if bias is not None:
                operands.append(_as_vector(self.new[bias], product))
            return _in_form_of(root, build(op, tuple(operands)))

    def _is_private(self, covered: list[Node], root: Node) -> bool:
        """Whether only the root of a match is used outside it."""
        inside = set(covered)
        return all(
            node is root or (node not in self.roots and self.users[node] <= inside)
            for node in covered
        )


def _activation(root: Node) -> tuple[str, Node]:
    """The activation that `root` is of, and its operand; "none" and itself if it is of none."""
    if isinstance(root.op, Relu):
        return "relu", root.inputs[0]
    found: dict[str, Node] = {}
    return ("gelu", found["x"]) if GELU.match(root, found) else ("none", root)


def _product_and_bias(node: Node) -> tuple[Node | None, Node | None]:
    """The product and the bias that `node` is the sum of; a bias of None if it adds none."""
    if not isinstance(node.op, Add):
        return _product(node), None
    for left, right in (node.inputs, node.inputs[::-1]):
        product = _product(left)
        if product is None or left.shape != node.shape:
            continue
        if _is_bias(right, product) and all(right is not x for x in _way(left, product)):
            return product, right
    return None, None


def _way(node: Node, product: Node) -> Iterator[Node]:
    """The nodes down to the product that one shows, both among them."""
    yield node
    while node is not product:
        (node,) = node.inputs
        yield node


def _product(node: Node) -> Node | None:
    """The product that `node` shows, widened or reshaped."""
    while True:
        if isinstance(node.op, Matmul | Float8Matmul):
            return node if node.dtype in (FLOAT32, *HALVES) else None
        widened = isinstance(node.op, Cast) and node.dtype == FLOAT32
        if not node.inputs or not (widened or isinstance(node.op, Reshape)):
            return None
        (x,) = node.inputs
        if widened and x.dtype not in HALVES:
            return None
        node = x


def _is_bias(x: Node, product: Node) -> bool:
    """Whether x is a vector of the product's last axis."""
    while isinstance(x.op, BroadcastTo):
        (x,) = x.inputs
    return x.shape[-1:] == product.shape[-1:] and all(d == 1 for d in x.shape[:-1])


def _as_vector(bias: Node, product: Node) -> Node:
    while isinstance(bias.op, BroadcastTo):
        (bias,) = bias.inputs
    if bias.ndim != 1:
        bias = build(Reshape(product.shape[-1:]), (bias,))
    return cast_below_views(bias, product.dtype)


def _covered(root: Node, product: Node, bias: Node | None) -> list[Node]:
    """The nodes from the product to the root, but for numbers."""
    covered: dict[Node, None] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node is bias or node in covered or isinstance(node.op, Constant | BroadcastTo):
            continue
        covered[node] = None
        if node is not product:
            stack.extend(node.inputs)
    return list(covered)[::-1]


def _in_form_of(root: Node, fused: Node) -> Node:
    """The fused node with the root's shape and dtype."""
    if fused.shape != root.shape:
        fused = build(Reshape(root.shape), (fused,))
    return fused if fused.dtype == root.dtype else build(Cast(root.dtype), (fused,))


LIBRARY = Pass("library", library, Numerics.APPROXIMATES, selects=True)
