"""Forward mode: tangents pushed from the inputs to the outputs.

An op's tangent is the op itself where it is linear, its own `jvp` rule where it has one, and
otherwise the transpose of its `vjp`, which is linear in the cotangent: d/du <vjp(u), t>.
"""

from __future__ import annotations

from collections.abc import Sequence

from staticnet.autodiff.reverse import as_nodes, vjp
from staticnet.errors import ShapeError
from staticnet.ir import location
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, topological
from staticnet.ir.value import Value
from staticnet.ops.base import NONE, apply
from staticnet.ops.creation import zeros_like
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
        raise ShapeError("jvp: there must be one tangent for each w, of its type")
    known: dict[Node, Value] = dict(zip(ws, ts, strict=True))
    saved = location.attribution()
    try:
        for node in topological(ys):
            if node in known or not any(operand in known for operand in node.inputs):
                continue
            location.set_attribution(location.merge((node.provenance,), "tangent"))
            tangent = _push(node, [known.get(operand) for operand in node.inputs])
            if tangent is not None:
                known[node] = tangent
    finally:
        location.set_attribution(saved)
    return [known.get(y, zeros_like(y)) for y in ys]


def _push(node: Node, tangents: list[Value | None]) -> Value | None:
    op = node.op
    if not op.differentiable or not is_floating(node.dtype):
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
    tangent = op.jvp(node, node.inputs, tangents)
    return _transpose(node, tangents) if tangent is NotImplemented else tangent


def _transpose(node: Node, tangents: list[Value | None]) -> Value | None:
    probe = placeholder(node.shape, node.dtype)  # vanishes: the product is linear in it
    products = node.op.vjp(node, probe, *node.inputs)
    pairs = [
        (product, tangent)
        for product, tangent in zip(products, tangents, strict=True)
        if product is not None and tangent is not None
    ]
    if not pairs:
        return None
    rows, columns = zip(*pairs, strict=True)
    return vjp(rows, [probe], columns, allow_unused=True)[0]
