"""`auxiliary`: what a library has beside a product, in training, is had in the product's call.

A product whose activation and whose own value are needed leaves both. A product that an
activation's gradient multiplies is multiplied in its call, which sums the rows for a bias'
gradient, too; and the product that is a weight's gradient sums the operand whose sums are that of
the bias. Each saves reading what was just written. It pays where that is much; where it is little
a step may be one kernel, which computes products itself. So sizes must be known, and the pass
comes after `infer_shape`.

What the backend's library lacks is expanded. See docs/adr/0053.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from staticnet.autodiff import vjp
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import FLOAT32, HALVES, DType, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.types import Shape
from staticnet.ops.auxiliary import (
    AuxiliaryProduct,
    MatmulActivationGradient,
    MatmulAuxiliary,
    MatmulBiasGradient,
)
from staticnet.ops.base import Constant, Item, apply, items
from staticnet.ops.library import MatmulEpilogue, gelu_tanh
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import PermuteDims
from staticnet.ops.selection import Cast, where
from staticnet.ops.shape import Reshape, Sum
from staticnet.ops.state import placeholder
from staticnet.passes.algebraic_simplify import algebraic_simplify
from staticnet.passes.library import GELU, offers
from staticnet.passes.manager import Context, Pass
from staticnet.passes.precision import cast_below_views, holds
from staticnet.rewrite.driver import keep, rebuild, rewrite
from staticnet.rewrite.pattern import Numerics, Pattern
from staticnet.rewrite.replacement import Plan, Replacement, feasible, resolved, with_replaced
from staticnet.rewrite.structure import cast_there_and_back

NAME = "auxiliary"
LEAST_ELEMENTS = 1 << 20  # that one is not written and read again: about what a launch takes
MULTIPLE = 8  # of elements, that a library asks rows of what is auxiliary to be
DTYPES = (FLOAT32, *HALVES)
Make = Callable[[list[Any], int, Node], Any]
Rows = tuple[Node, int | Dim]  # a node's elements, cut into rows of a length
RELU_GRADIENT: Any = where(Pattern(None, (), "y") > 0, Pattern(None, (), "g"), 0)


def _is_large(node: Node) -> bool:
    """Whether it pays; of a plan for all sizes that is not known, and a plan for one size says."""
    size = node.type.size
    return isinstance(size, int) and size >= LEAST_ELEMENTS


def auxiliary(graph: Graph, context: Context) -> Graph:
    """The graph in terms of the auxiliary epilogues of `context.epilogues`."""
    graph = _expand(graph, context)
    if context.numerics == "exact" or not any("aux" in name for name in context.epilogues):
        return graph
    return _Matcher(graph, context).run()


def _expand(graph: Graph, context: Context) -> Graph:
    """The graph in whose place of products that the library lacks there are plain ops."""

    def lacks(node: Node) -> bool:
        op = node.op
        if not isinstance(op, AuxiliaryProduct):
            return False
        if getattr(op, "activation", "") == "relu":
            return True  # a library's masks have an order of bits of their own
        shape = (*node.inputs[0].shape, node.inputs[1].shape[1])
        fits = all(isinstance(n, int) and n > 0 and n % MULTIPLE == 0 for n in shape)
        dtype = node.inputs[0].dtype
        name = op.epilogue(len(node.inputs))
        return not (fits and dtype in DTYPES and offers(context, name, dtype))

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if isinstance(node.op, Item) and lacks(node.inputs[0]):
            (product,) = inputs
            assert isinstance(product.op, AuxiliaryProduct)
            context.notes[f"expanded {product.op.name}"] += 1
            made: Node = product.op.expand(*product.inputs)[node.op.index]
            return made
        return keep(node, inputs)

    return rebuild(graph, NAME, replace) if any(map(lacks, graph.nodes)) else graph


@functools.cache
def gelu_gradient() -> Pattern:
    """What differentiation and simplification make of gelu's gradient, of x and of g."""
    x, g = placeholder((2,), "float32", "x"), placeholder((2,), "float32", "g")
    gradient: Any = vjp([gelu_tanh(x)], [x], [g])
    graph = Graph("gelu", [x, g], gradient)
    graph = algebraic_simplify(graph, Context())
    patterns: dict[Node, Any] = {v: Pattern(None, (), v.name) for v in graph.inputs}
    for node in graph.nodes:
        if node in patterns:
            continue
        if isinstance(node.op, Constant):
            patterns[node] = float(node.op.value.scalar)
        else:
            patterns[node] = Pattern(node.op, [patterns[operand] for operand in node.inputs])
    made: Pattern = patterns[graph.outputs[0]]
    return made


@dataclass
class _Matcher:
    """Finds what the library can do, and replaces it where nothing has to be computed twice."""

    graph: Graph
    context: Context
    plans: list[Plan] = field(default_factory=list)
    planned: set[Node] = field(default_factory=set)
    users: dict[Node, set[Node]] = field(default_factory=dict)
    sums: dict[Rows, list[Node]] = field(default_factory=dict)

    def run(self) -> Graph:
        """The graph with all that is found, but for what would have a node need itself."""
        for node in self.graph.nodes:
            for operand in node.inputs:
                self.users.setdefault(operand, set()).add(node)
            if (summed := _summed_rows(node)) is not None:
                self.sums.setdefault(summed, []).append(node)
        for node in self.graph.nodes:
            self._activation_gradient(node)
        for node in self.graph.nodes:
            self._bias_gradient(node)
        plans = feasible(self.graph, [plan for plan in self.plans if plan.nodes])
        if not plans:
            return self.graph
        for plan in plans:
            self.context.notes.update(plan.notes)
        changed = with_replaced(self.graph, resolved(self.graph, plans, NAME), NAME)
        return rewrite(changed, (cast_there_and_back,), NAME, self.context.notes)

    def _offers(self, name: str, product: Node) -> bool:
        """Whether the library has an epilogue for a product of two matrices, of such sizes."""
        if product.ndim != 2 or product.dtype not in DTYPES:
            return False
        if not offers(self.context, name, product.dtype):
            return False
        sizes = (*product.shape, product.inputs[0].shape[1])
        return all(isinstance(n, int) and n > 0 and n % MULTIPLE == 0 for n in sizes)

    # activations

    def _activation_gradient(self, root: Node) -> None:
        """The gradient of an activation, at `root`, as part of the product that it multiplies."""
        activation, found = _gradient_of_activation(root)
        if not found:
            return
        product = _product(found["g"], Matmul)
        if product is None or not _is_large(product):
            return
        name = MatmulActivationGradient(activation).epilogue(3)
        if not self._offers(name, product) or not self._is_private(product, root, found):
            return
        self.plans.append(Plan())
        saved = self._saved(activation, found, product)
        if saved is None:
            return
        self._count(name)
        needs = [*product.inputs, saved]
        item = _item_of(MatmulActivationGradient(activation))

        def make(new: list[Any], index: int, like: Node) -> Any:
            x, w, a = new
            mask = activation == "relu"
            a = items(a.inputs[0])[1] if mask else _as_matrix(a, product.shape, product.dtype)
            return item([x, w, a], index, like)

        self._plan(root, needs, make, 0)
        for total in self._sums_of(_rows(root), product):
            self._plan(total, needs, make, 1)

    def _saved(self, activation: str, found: dict[str, Node], product: Node) -> Node | None:
        """What the gradient needs of the activation's operand, or the product that leaves it."""
        if activation == "gelu":
            z = found["x"]
            self._activation(z)
            return z if z.type.size == product.type.size else None
        y = _product(found["y"], MatmulEpilogue)
        if y is None or y.op != MatmulEpilogue("relu") or y.shape != product.shape:
            return None
        op = MatmulAuxiliary("relu")
        if y.dtype != product.dtype or not self._offers(op.epilogue(len(y.inputs)), y):
            return None
        self._plan(y, list(y.inputs), _item_of(op), 0)
        return y

    def _activation(self, z: Node) -> None:
        """The gelu of what a product makes, left by the product beside it."""
        product = _product(z, Matmul | MatmulEpilogue)
        if product is None or product in self.planned:
            return
        if isinstance(product.op, MatmulEpilogue) and product.op.activation != "none":
            return
        roots = [y for y in self.users.get(z, ()) if _is_gelu(y, z)]
        op = MatmulAuxiliary("gelu")
        name = op.epilogue(len(product.inputs))
        if not roots or not self._offers(name, product):
            return
        self._count(name)
        self._plan(product, list(product.inputs), _item_of(op), 1)
        for root in roots:
            self._plan(root, list(product.inputs), _item_of(op), 0)

    def _is_private(self, product: Node, root: Node, found: dict[str, Node]) -> bool:
        """Whether a product is used on the way to a root alone."""
        leaves = {node for name, node in found.items() if name != "g"}
        if product in leaves:  # it is multiplied by what is made of itself
            return False
        between = {product: True}

        def leads(node: Node) -> bool:
            if node not in between:
                between[node] = False
                if node not in leaves:
                    between[node] = any([leads(x) for x in node.inputs])
            return between[node]

        leads(root)
        inside = {node for node, does in between.items() if does}
        roots = set(self.graph.roots)
        return all(
            node is root or (node not in roots and self.users[node] <= inside) for node in inside
        )

    # sums of rows

    def _bias_gradient(self, product: Node) -> None:
        """A product, with the sums of one of its operands that are needed, too."""
        if not isinstance(product.op, Matmul) or product in self.planned:
            return
        for of, operand in zip(("left", "right"), product.inputs, strict=True):
            matrix = _turned(operand) if of == "left" else operand
            if matrix is None or not _is_large(matrix):
                continue
            rows, op = _rows(matrix), MatmulBiasGradient(of)
            name = op.epilogue(2)
            totals = self._offers(name, product) and self._sums_of(rows, product)
            if not totals:
                continue
            self.plans.append(Plan())
            self._count(name)
            self._plan(product, list(product.inputs), _item_of(op), 0)
            for total in totals:
                self._plan(total, list(product.inputs), _item_of(op), 1)
            return

    def _sums_of(self, rows: Rows, product: Node) -> list[Node]:
        """The sums of rows, which are no one else's then; none if a product's dtype has no room."""
        roots, totals = set(self.graph.roots), self.sums.get(rows, [])
        if not all(holds(product.dtype, x, self.users.get(x, ()), roots) for x in totals):
            return []
        return self.sums.pop(rows, [])

    def _plan(self, node: Node, needs: list[Node], make: Make, index: int) -> None:
        self.plans[-1].nodes[node] = Replacement(needs, lambda new: make(new, index, node))
        self.planned.add(node)

    def _count(self, name: str) -> None:
        self.plans[-1].notes[f"fused {name}"] += 1


def _item_of(op: AuxiliaryProduct) -> Make:
    """What makes of operands the result of a number, in the form of a node."""
    return lambda new, index, like: _in_form_of(like, items(apply(op, *new))[index])


def _is_gelu(y: Node, z: Node) -> bool:
    found: dict[str, Node] = {}
    return GELU.match(y, found) and found["x"] is z


def _gradient_of_activation(root: Node) -> tuple[str, dict[str, Node]]:
    """The activation whose gradient a node is, and what it is made of; nothing if it is none."""
    for activation, pattern in (("gelu", gelu_gradient()), ("relu", RELU_GRADIENT)):
        found: dict[str, Node] = {}
        if root.op == pattern.op and root.dtype == FLOAT32 and pattern.match(root, found):
            return activation, found
    return "", {}


def _product(node: Node, kind: Any) -> Node | None:
    """The product that a node shows, widened or reshaped."""
    below = _below(node)
    return below if isinstance(below.op, kind) and below.ndim == 2 else None


def _below(node: Node) -> Node:
    """What a node is, before it was widened and its rows were cut."""
    while True:
        widened = isinstance(node.op, Cast) and _widens(node)
        if not widened and not (isinstance(node.op, Reshape) and _keeps_rows(node)):
            return node
        (node,) = node.inputs


def _rows(node: Node) -> Rows:
    """The rows along a node's last axis, by what it is, before it was cast and reshaped, cut so."""
    length = node.shape[-1]
    while isinstance(node.op, Reshape) or (
        isinstance(node.op, Cast) and is_floating(node.inputs[0].dtype)
    ):
        (node,) = node.inputs
    return node, length


def _widens(node: Node) -> bool:
    return node.dtype == FLOAT32 and node.inputs[0].dtype in HALVES


def _keeps_rows(node: Node) -> bool:
    (x,) = node.inputs
    return bool(x.shape) and x.shape[-1:] == node.shape[-1:]


def _summed_rows(node: Node) -> Rows | None:
    """What a node is the sum of over all axes but the last."""
    if not isinstance(node.op, Sum):
        return None
    (x,) = node.inputs
    rows = x.ndim > 1 and node.op.axes == tuple(range(x.ndim - 1))
    return _rows(x) if rows and is_floating(x.dtype) else None


def _turned(x: Node) -> Node | None:
    """What a matrix is the transpose of."""
    return x.inputs[0] if isinstance(x.op, PermuteDims) and x.op.axes == (1, 0) else None


def _as_matrix(x: Node, shape: Shape, dtype: DType) -> Node:
    """x as a matrix in a dtype, from as far below as that is what it is."""
    below = _below(x)
    if below.shape == shape and below.dtype == dtype:
        return below
    x = cast_below_views(x, dtype)
    return x if x.shape == shape else build(Reshape(shape), (x,))


def _in_form_of(like: Node, made: Node) -> Node:
    """A result with a node's shape and dtype."""
    if made.shape != like.shape:
        made = build(Reshape(like.shape), (made,))
    return made if made.dtype == like.dtype else build(Cast(like.dtype), (made,))


AUXILIARY = Pass(NAME, auxiliary, Numerics.APPROXIMATES, selects=True)
