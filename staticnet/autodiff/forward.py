"""Forward mode: tangents pushed from the inputs to the outputs.

An op's tangent is the op itself where it is linear, its own `jvp` rule where it has one, and
otherwise the transpose of its `vjp`, which is linear in the cotangent: d/du <vjp(u), t>.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.autodiff.reverse import as_nodes, unmatched, vjp
from staticnet.ir import location
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, newer, topological
from staticnet.ir.types import TupleType
from staticnet.ir.value import Value
from staticnet.ops.base import NONE, Item, apply
from staticnet.ops.creation import zeros_like
from staticnet.ops.own_rules import products_of, tangent_of
from staticnet.ops.selection import astype
from staticnet.ops.shape import sum_to_shape
from staticnet.ops.state import placeholder


def jvp(
    outputs: Sequence[Value] | Value,
    wrt: Sequence[Value] | Value,
    tangents: Sequence[Value] | Value,
) -> list[Value]:
    """For each output y, the sum over w of dy/dw * tangent(w): Jacobians times vectors.

    w: [*s], tangent: [*s], y: [*t] -> product: [*t]

    Raises:
        ShapeError: if tangents do not match `wrt`.
        DTypeError: if an output or a w is not floating-point.
    """
    ys, ws, ts = as_nodes(outputs, "jvp"), as_nodes(wrt, "jvp"), as_nodes(tangents, "jvp")
    if [w.type for w in ws] != [t.type for t in ts]:
        raise unmatched("jvp", "tangent", "w", ws, ts)
    pushed = push(ys, dict(zip(ws, ts, strict=True)))
    return [zeros_like(y) if t is None else t for y, t in zip(ys, pushed, strict=True)]


def push(ys: Sequence[Node], tangents: Mapping[Node, Value]) -> list[Any]:
    """The tangent of each y from those of some nodes; None where it is zero."""
    known: dict[Node, Any] = dict(tangents)  # several, of several results
    saved = location.attribution()
    try:
        for node in topological(ys, newer(known)):
            if node in known or not any(operand in known for operand in node.inputs):
                continue
            location.set_attribution(location.merge((node.provenance,), "tangent"))
            tangent = local_tangent(node, [known.get(operand) for operand in node.inputs])
            if tangent is not None:
                known[node] = tangent
    finally:
        location.set_attribution(saved)
    return [known.get(y) for y in ys]


def local_tangent(node: Node, tangents: list[Any]) -> Any:
    """A node's tangent from its operands'; of one of several results a sequence, None for zeros."""
    op = node.op
    if isinstance(op, Item):
        return tangents[0][op.index]
    if not op.differentiable:
        return None
    if isinstance(node.type, TupleType):
        moved = tangent_of(op, node, node.inputs, tangents)
        return _transpose_several(node, tangents) if moved is NotImplemented else moved
    if not is_floating(node.dtype):
        return None
    moving = range(len(tangents))[getattr(op, "linear", NONE)]
    if len(moving):
        if all(tangents[i] is None for i in moving):
            return None
        operands: list[Value] = list(node.inputs)
        for i in moving:
            tangent = tangents[i]
            operands[i] = zeros_like(node.inputs[i]) if tangent is None else tangent
        return apply(op, *operands)
    tangent = tangent_of(op, node, node.inputs, tangents)
    return _transpose(node, tangents) if tangent is NotImplemented else tangent


def _transpose(node: Node, tangents: list[Value | None]) -> Value | None:
    probe = placeholder(node.shape, node.dtype)  # vanishes: the product is linear in it
    return _transposed(products_of(node.op, node, probe, *node.inputs), probe, tangents)


def _transpose_several(node: Node, tangents: list[Value | None]) -> list[Value | None]:
    """For each result the tangent: its cotangent is the only one that is not zero."""
    assert isinstance(node.type, TupleType)
    moved: list[Value | None] = []
    for i, type_ in enumerate(node.type.types):
        probe = placeholder(type_.shape, type_.dtype)
        gs = [probe if i == j else None for j in range(len(node.type.types))]
        moves = is_floating(type_.dtype)
        products = products_of(node.op, node, gs, *node.inputs) if moves else ()
        moved.append(_transposed(products, probe, tangents) if products else None)
    return moved


def _transposed(products: Sequence[Any], probe: Node, tangents: list[Value | None]) -> Value | None:
    pairs = [
        (product, tangent)
        for product, tangent in zip(products, tangents, strict=True)
        if product is not None and tangent is not None
    ]
    if not pairs:
        return None
    rows = [astype(sum_to_shape(product, t.shape), t.dtype) for product, t in pairs]
    columns = [tangent for _, tangent in pairs]
    return vjp(rows, [probe], columns, allow_unused=True)[0]
