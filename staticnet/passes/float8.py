"""`precision="float8"`: the products of linear layers take operands of 8 bits, with delayed scales.

A linear layer's product is one of matrices of which one is a variable's, or a view of it. It, and
the two that differentiation makes of it, take activations and weights in e4m3 and cotangents in
e5m2, as Micikevicius et al., "FP8 formats for deep learning", 2022, have it. Each operand is scaled
by a power of 2 to the range of its format. In a function that updates such weights the scale is
that of the greatest magnitudes of the last `HISTORY` steps: what makes an operand can round it at
once, and nothing has to be read twice. The magnitudes are a variable of the function, a row for
each operand, which every step moves on. The scale of an operand of which nothing is known is 1.
A function that updates none of the weights keeps nothing, and scales by the magnitudes it finds.

All else is as under `precision="bfloat16"`, products in the bodies of loops and choices too. After
NVIDIA's Transformer Engine, `DelayedScaling(fp8_format=HYBRID, amax_compute_algo="max")`, whose
history has 1,024 steps if nothing else is asked for, and 16 in its examples. See docs/adr/0069.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from staticnet.ir import location
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import BFLOAT16, FLOAT32
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.types import Shape
from staticnet.ops.arithmetic import abs as absolute
from staticnet.ops.barrier import Unchanged
from staticnet.ops.base import Elementwise, Item, Reduction, apply, constant
from staticnet.ops.comparison import isfinite
from staticnet.ops.float8 import (
    GREATEST,
    MULTIPLE,
    Float8,
    Float8Amax,
    Float8Matmul,
    Float8Scale,
)
from staticnet.ops.indexing import take
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import PermuteDims, Slice, concat, matrix_transpose, stack
from staticnet.ops.selection import Cast, where
from staticnet.ops.shape import BroadcastTo, Reshape, Sum, expand_dims, reshape
from staticnet.ops.state import Variable, variable
from staticnet.passes.inline import inline
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild

NAME = "float8"
HISTORY = 16  # steps whose magnitudes are kept
MARGIN = 0  # binades that a scale leaves free above them
NEAR = 64  # nodes
STATE = "float8.amax_history"


class Part(NamedTuple):
    """What has one scale: the values that views show, and their format."""

    base: Node
    e5m2: bool


@dataclass
class _Weight:
    """A variable that products take: which axes forward ones contract, and how they see it."""

    contracted: set[int] = field(default_factory=set)
    shapes: set[Shape] = field(default_factory=set)


class Linear(NamedTuple):
    """A product of a matrix and a weight, which is operand `side`, contracted along `axis`."""

    node: Node
    weight: Variable
    side: int
    axis: int


def linear_products(graph: Graph) -> dict[Node, tuple[Part, Part]]:
    """The products of linear layers and of their gradients, with what their operands are.

    A product with a weight that differentiation did not make is a layer's own. Of the others, those
    that contract another axis of the weight have a cotangent for their other operand; those that
    contract the same one compute the layer again. A graph that was read from text does not say
    what differentiation made: there the first product with a weight is the layer's.
    """
    products = [n for n in graph.nodes if isinstance(n.op, Matmul) and n.dtype == FLOAT32]
    products = [n for n in products if all(x.ndim == 2 for x in n.inputs)]
    linear = list(_with_weights(products))
    made = {n for n in products if "gradient" in n.provenance.made_by}
    weights: defaultdict[Variable, _Weight] = defaultdict(_Weight)
    for node, weight, side, axis in linear:
        if node not in made and (made or not weights[weight].contracted):
            weights[weight].contracted.add(axis)
            weights[weight].shapes.add(node.inputs[side].shape)
    found: dict[Node, tuple[Part, Part]] = {}
    seen: tuple[dict[Node, set[Shape]], ...] = (defaultdict(set), defaultdict(set))
    for node, weight, side, axis in linear:
        known = weights[weight]
        if not known.contracted:
            continue
        is_cotangent = (not made or node in made) and known.contracted != {axis}
        other = Part(_base(node.inputs[1 - side]), is_cotangent)
        own = Part(weight, False)
        seen[is_cotangent][other.base] |= known.shapes
        found[node] = (own, other) if side == 0 else (other, own)
    for node in products:
        if node not in found and (not made or node in made):
            parts = _of_weights_gradient(node, *seen)
            found |= {} if parts is None else {node: parts}
    return found


def _with_weights(products: list[Node]) -> Iterator[Linear]:
    """The products of which one operand, and not both, is a weight."""
    for node in products:
        found = [(side, _weight(node.inputs[side], 1 - side)) for side in (0, 1)]
        sides = [(side, weight) for side, weight in found if weight is not None]
        if len(sides) == 1:
            ((side, (weight, axis)),) = sides
            yield Linear(node, weight, side, axis)


def _weight(x: Node, axis: int) -> tuple[Variable, int] | None:
    """The weight that x is a view of, and which of its axes is this one of x's."""
    while isinstance(x.op, PermuteDims | Slice | Unchanged):
        axis = x.op.axes[axis] if isinstance(x.op, PermuteDims) else axis
        (x,) = x.inputs
    is_weight = isinstance(x, Variable) and x.ndim == 2 and x.dtype == FLOAT32 and not x.buffer
    return (x, axis) if is_weight and isinstance(x, Variable) else None


def _of_weights_gradient(
    node: Node, activations: dict[Node, set[Shape]], cotangents: dict[Node, set[Shape]]
) -> tuple[Part, Part] | None:
    """What the operands of a product are if it is the gradient by a weight."""
    bases = tuple(map(_base, node.inputs))
    like = {node.shape, node.shape[::-1]}
    for side in (0, 1):
        x, g = bases[side], bases[1 - side]
        by_x = like & activations.get(x, set()) and (g not in activations or g in cotangents)
        by_g = like & cotangents.get(g, set()) and (x not in cotangents or x in activations)
        if by_x or by_g:
            parts = Part(x, False), Part(g, True)
            return parts if side == 0 else parts[::-1]
    return None


def _base(x: Node) -> Node:
    """What x shows all elements of."""
    while isinstance(x.op, PermuteDims | Reshape | Unchanged):
        (x,) = x.inputs
    return x


def in_precision(
    graph: Graph, precision: str, pipeline: Collection[Pass], disabled: Collection[str]
) -> Graph:
    """The graph that a function of this precision has: where that is "float8", `with_float8`."""
    wanted = precision == NAME and FLOAT8 in pipeline and NAME not in disabled
    return with_float8(graph) if wanted else graph


def with_float8(graph: Graph) -> Graph:
    """The graph whose linear layers' products take 8 bits, and which keeps what scales need."""
    inlined = inline(graph, Context())
    products = linear_products(inlined)
    if not products:
        return graph
    parts = list(dict.fromkeys(part for pair in products.values() for part in pair))
    columns = _summed_down(inlined)
    updated = {target for target, value in inlined.updates if value is not target}
    trains = any(part.base in updated for part in parts)
    down = {n for n in inlined.nodes if _is_down(n) and _base(n.inputs[0]) in columns}
    lines = location.merge([node.provenance for node in products], NAME)
    with location.attributed(lines):
        scales = _Delayed(parts, columns) if trains else _Current(columns)

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in products:
            return _sum_where_made(node, inputs[0]) if node in down else keep(node, inputs)
        left, right = products[node]
        x, a, i = _rounded(inputs[0], left, scales)
        y, b, j = _rounded(matrix_transpose(inputs[1]), right, scales)
        made = build(Float8Matmul(left.e5m2, right.e5m2, i, j), (x, y, a, b))
        return build(Cast(FLOAT32), (made,))

    rebuilt = rebuild(inlined, NAME, replace)
    with location.attributed(lines):
        updates = (*rebuilt.updates, *scales.updates())
    return Graph(rebuilt.name, list(rebuilt.inputs), list(rebuilt.outputs), updates)


def _rounded(x: Any, part: Part, scales: _Delayed | _Current) -> tuple[Node, Node, int]:
    """x in 8 bits, and what undoes its scale: a vector and the place in it.

    It is rounded where its elements are made, not where they are viewed. A weight's slices are
    views of all of it; of others no more may be needed. What a routine makes, as attention, lies in
    memory, and is rounded as products read it.
    """
    views = []
    moving = (PermuteDims, Unchanged, Slice if isinstance(part.base, Variable) else Reshape)
    while isinstance(x.op, moving) and not _is_turned_result(x):
        views.append(x.op)
        (x,) = x.inputs
    scale, factors, at = scales.of(part, x)
    q: Node = apply(Float8(part.e5m2), x, scale)
    for op in reversed(views):
        q = build(op, (q,))
    return q, factors, at


def _is_turned_result(x: Node) -> bool:
    return isinstance(x.op, PermuteDims) and isinstance(x.inputs[0].op, Item)


def _summed_down(graph: Graph) -> dict[Node, int]:
    """What is summed over all axes but the last, as a cotangent is for a bias, and along how many.

    It may have been reshaped for it. Not what is made of sums along rows, as behind a norm: a
    kernel of rows makes it.
    """
    found: dict[Node, int] = {}
    for node in filter(_is_down, graph.nodes):
        (x,) = node.inputs
        made, count = _base(x), x.ndim - 1
        alike = made.ndim > count and made.shape[:count] == x.shape[:count]
        found[made] = count if alike else made.ndim - 1
    return {x: count for x, count in found.items() if not _is_made_of_rows(x)}


def _is_down(node: Node) -> bool:
    """Whether it is a sum over all axes but the last."""
    return isinstance(node.op, Sum) and node.op.axes == tuple(range(node.inputs[0].ndim - 1))


def _sum_where_made(node: Node, x: Node) -> Any:
    """A sum down columns, of what is reshaped as it was before: the kernel that makes it sums it.

    x: [*rows, n], of [*rows, *columns] -> [n]
    """
    assert isinstance(node.op, Sum)
    made: Any = x
    while isinstance(made.op, Reshape | Unchanged):
        (made,) = made.inputs
    count = len(node.op.axes)
    if made is x or made.ndim <= count or made.shape[:count] != x.shape[:count]:
        return build(node.op, (x,))
    total: Any = reshape(build(Sum(node.op.axes, False), (made,)), node.shape)
    return total


def _is_made_of_rows(x: Node) -> bool:
    """Whether a reduction along rows is near among what elementwise ops make x of."""
    seen, pending = {x}, [x]
    while pending and len(seen) < NEAR:
        node = pending.pop()
        if isinstance(node.op, Reduction) and node.inputs[0].ndim - 1 in node.op.axes:
            return True
        if isinstance(node.op, Elementwise | BroadcastTo | Reshape):
            pending += [operand for operand in node.inputs if operand not in seen]
            seen.update(node.inputs)
    return False


def _magnitudes(x: Any, down: int) -> Any:
    """The greatest magnitudes along rows, or `down` so many axes of columns.  x: [*s] -> [n]

    The kernel that makes x, or that sums it so, finds them.
    """
    found = absolute(x)
    if x.ndim > 1:
        found = _greatest(found, *(range(down) if down else [x.ndim - 1]))
    return reshape(found, (size_of(found.shape),))


def _greatest(x: Any, *axes: int) -> Any:
    """The greatest of magnitudes along axes, of which a batch of no rows has none."""
    return apply(Float8Amax(axes, False), x)


def _finite(amax: Any) -> Any:
    """Magnitudes, with 0 for those that are infinite or NaN, or of nothing."""
    return where(isfinite(amax), amax, 0.0)


def _limit(e5m2: bool) -> float:
    return GREATEST[e5m2] * 2.0**-MARGIN


class _Delayed:
    """Scales from the magnitudes of past steps, of which there is a row for each part."""

    def __init__(self, parts: list[Part], columns: dict[Node, int]) -> None:
        self.columns = columns
        self.rows = {part: i for i, part in enumerate(parts)}
        zeros = np.zeros((len(parts), HISTORY), np.float32)
        self.history = variable(zeros, STATE, trainable=False)
        limits = np.array([_limit(part.e5m2) for part in parts], np.float32)
        self.scales = apply(Float8Scale(), _greatest(self.history, 1), constant(limits))
        self.factors = 1 / self.scales
        self.found: dict[Part, Any] = {}

    def of(self, part: Part, x: Any) -> tuple[Any, Any, int]:
        """The scale of x, and what undoes it: a vector, and the place in it."""
        if part not in self.found:
            self.found[part] = _magnitudes(x, self.columns.get(part.base, 0))
        row = self.rows[part]
        return self.scales[row], self.factors, row

    def updates(self) -> tuple[tuple[Any, Any], ...]:
        """The history with this step's magnitudes before, and without the oldest."""
        alike: defaultdict[Any, list[Part]] = defaultdict(list)  # many small launches are few
        for part in self.rows:
            alike[self.found[part].shape].append(part)
        made = [_greatest(stack([self.found[p] for p in ps]), 1) for ps in alike.values()]
        order = [self.rows[part] for parts in alike.values() for part in parts]
        latest = take(concat(made), constant(np.argsort(order)), 0)
        row = expand_dims(_finite(latest), 1)
        return ((self.history, concat([row, self.history[:, :-1]], 1)),)


class _Current:
    """Scales from the magnitudes as they are."""

    def __init__(self, columns: dict[Node, int]) -> None:
        self.columns = columns

    def of(self, part: Part, x: Any) -> tuple[Any, Any, int]:
        """The scale of x, and what undoes it: a vector, and the place in it."""
        amax = _finite(_greatest(_magnitudes(x, self.columns.get(part.base, 0)), 0))
        limit = np.float32(_limit(part.e5m2))
        scale = apply(Float8Scale(), amax, constant(limit))
        return scale, reshape(1 / scale, (1,)), 0

    def updates(self) -> tuple[tuple[Any, Any], ...]:
        """There is nothing to keep."""
        return ()


def expand(graph: Graph, context: Context) -> Graph:
    """The graph with plain ops for products of 8 bits that the backend lacks.

    They multiply the same numbers: in bfloat16, or in float32 where that is lacking, too.
    """
    own = context.products
    dtype = BFLOAT16 if "bfloat16" in own else FLOAT32

    def lacks(node: Node) -> bool:
        if not isinstance(node.op, Float8Matmul):
            return False
        m, k = node.inputs[0].shape
        sizes = (m, node.inputs[1].shape[0], k)
        return NAME not in own or any(isinstance(n, int) and n % MULTIPLE for n in sizes)

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not lacks(node):
            return keep(node, inputs)
        assert isinstance(node.op, Float8Matmul)
        context.notes["expanded float8_matmul"] += 1
        made: Node = node.op.expand(*inputs, dtype=dtype)
        return made

    return rebuild(graph, NAME, replace) if any(map(lacks, graph.nodes)) else graph


FLOAT8 = Pass(NAME, expand)
