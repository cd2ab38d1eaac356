"""Reverse mode: one sweep from the outputs to what they are differentiated by.

Every node between the two is visited once, after all its users, so a shared subexpression is
differentiated once. Cotangents of zero are never built: None stands for them. The nodes of the
derivative say whose gradient they are: "gradient of train.py:14".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.errors import DTypeError, GradientError, ShapeError
from staticnet.ir import location
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, dependents, describe, newer, topological
from staticnet.ir.types import TupleType
from staticnet.ir.value import Value
from staticnet.ops.base import Item
from staticnet.ops.creation import ones_like, zeros_like
from staticnet.ops.own_rules import products_of, tangent_of
from staticnet.ops.selection import astype
from staticnet.ops.shape import sum_to_shape
from staticnet.ops.state import placeholder
from staticnet.ops.widening import widened


@dataclass(frozen=True)
class NoDerivative:
    """Stands for a product that there is not: where it is asked for, the error is raised."""

    error: GradientError


def grad(loss: Value, wrt: Sequence[Value] | Value, *, allow_unused: bool = False) -> list[Value]:
    """d loss / d w for each w of `wrt`, as nodes: printable, and differentiable again.

    loss: [], w: [*s] -> gradient: [*s]

    Raises:
        ShapeError: if the loss is not a scalar.
        DTypeError: if the loss or a w is not floating-point.
        GradientError: if the loss does not depend on a w, unless `allow_unused` gives zeros then.
    """
    return gradient("grad", loss, wrt, allow_unused)


def gradient(
    what: str, loss: Value, wrt: Sequence[Value] | Value, allow_unused: bool
) -> list[Value]:
    """`grad`, for the function that the user called: its errors name `what`."""
    node = _as_node(loss, what)
    if node.shape != ():
        raise ShapeError(
            f"{what}: the loss must be a scalar, not {describe(node)} ({node.provenance}); "
            "reduce it with sn.sum or sn.mean, or give cotangents to sn.vjp"
        )
    return vjp([loss], wrt, [ones_like(loss)], allow_unused=allow_unused)


def vjp(
    outputs: Sequence[Value] | Value,
    wrt: Sequence[Value] | Value,
    cotangents: Sequence[Value] | Value,
    *,
    allow_unused: bool = False,
) -> list[Value]:
    """For each w of `wrt`, the sum over outputs y of cotangent(y) * dy/dw: transposed Jacobians.

    y: [*t], cotangent: [*t], w: [*s] -> product: [*s]

    Raises:
        ShapeError: if cotangents do not match the outputs.
        DTypeError: if an output or a w is not floating-point.
        GradientError: if no output depends on a w, unless `allow_unused` gives zeros then.
    """
    ys, ws = as_nodes(outputs, "vjp"), as_nodes(wrt, "vjp")
    gs = as_nodes(cotangents, "vjp")
    if [y.type for y in ys] != [g.type for g in gs]:
        raise unmatched("vjp", "cotangent", "output", ys, gs)
    order = topological(ys, newer(ws))
    dependent = dependents(order, ws)
    if not allow_unused:
        check_reached(ys, ws, set(order))
    sums = _sweep(order, dependent, ys, gs, {})
    return [astype(sums[w], w.dtype) if w in sums else zeros_like(w) for w in ws]


def pull(
    ys: Sequence[Node],
    gs: Sequence[Value],
    ws: Sequence[Node],
    begun: Mapping[Node, Value] | None = None,
) -> list[Value | None]:
    """The cotangent of each w from those of each y; None where it is zero.

    It is a sum in the dtype that its elements are computed in, not yet rounded to w's. `begun` are
    the sums of some w before the sweep, to which its products are added.
    """
    order = topological(ys, newer(ws))
    sums = _sweep(order, dependents(order, ws), ys, gs, begun or {})
    return [sums.get(w) for w in ws]


def unmatched(
    what: str, kind: str, of: str, values: Sequence[Node], given: Sequence[Node]
) -> ShapeError:
    """The error for tangents or cotangents that are not of the types of what they belong to."""
    shown, told = (", ".join(map(describe, nodes)) or "none" for nodes in (given, values))
    return ShapeError(
        f"{what}: there must be one {kind} for each {of}, of its type, not {shown} for {told} "
        f"({location.current()})"
    )


def as_nodes(values: Sequence[Value] | Value, what: str) -> list[Node]:
    """Floating-point nodes from one Value or several; raises as `grad` says."""
    if not isinstance(values, Iterable):
        raise GradientError(
            f"{what}: expected graph nodes, got {values!r:.60} ({location.current()})"
        )
    listed = [values] if isinstance(values, Value) else list(values)
    return [_as_node(value, what) for value in listed]


def _as_node(value: Any, what: str) -> Node:
    if not isinstance(value, Node):
        raise GradientError(
            f"{what}: expected graph nodes, got {value!r:.60} ({location.current()})"
        )
    if not is_floating(value.dtype):
        raise DTypeError(
            f"{what}: {describe(value)} ({value.provenance}) is not floating-point and has no "
            "derivative; cast it with sn.astype"
        )
    return value


def check_reached(ys: list[Node], ws: list[Node], reached: set[Node]) -> None:
    """Raise GradientError unless each w is among the nodes that the ys reach."""
    for w in ws:
        if w not in reached:
            raise GradientError(
                f"grad: {describe(ys[0])} ({ys[0].provenance}) does not depend on {describe(w)} "
                f"({w.provenance}); leave it out of wrt, or pass allow_unused=True for zeros"
            )


def _sweep(
    order: list[Node],
    dependent: set[Node],
    ys: Sequence[Node],
    gs: Sequence[Value],
    begun: Mapping[Node, Value],
) -> dict[Node, Value]:
    sums: dict[Node, Value] = dict(begun)
    parts: dict[Node, list[Value | None]] = {}  # of the cotangents of nodes of several results
    for y, g in zip(ys, gs, strict=True):
        _accumulate(sums, y, g)
    saved = location.attribution()
    try:
        for node in reversed(order):
            g_node: Any = sums.get(node, parts.get(node))
            if g_node is None or node not in dependent or not node.op.differentiable:
                continue
            location.set_attribution(location.merge((node.provenance,), "gradient"))
            if node in sums:
                g_node = astype(g_node, node.dtype)
            if isinstance(node.op, Item):
                _put(parts, node, g_node)
                continue
            products = local_products(node, g_node, dependent)
            for operand, product in zip(node.inputs, products, strict=True):
                if product is not None and operand in dependent:
                    if isinstance(product, NoDerivative):
                        raise product.error
                    _accumulate(sums, operand, sum_to_shape(product, operand.shape))
    finally:
        location.set_attribution(saved)
    return sums


def local_products(node: Node, g: Any, dependent: set[Node]) -> Sequence[Any]:
    """The products of a cotangent of a node: for each operand that somebody asks for, or all."""
    if node.op.graphs:
        asked = [operand in dependent for operand in node.inputs]
        return node.op.vjp_for(asked, node, g, *node.inputs)
    if node.op.transposes:
        return _transposed(node, g, *node.inputs)
    products: Sequence[Any] = products_of(node.op, node, g, *node.inputs)
    return products


def _put(parts: dict[Node, list[Value | None]], item: Node, g: Value) -> None:
    """The cotangent of an item, as a part of that of the node whose result it is."""
    (several,) = item.inputs
    assert isinstance(item.op, Item)
    assert isinstance(several.type, TupleType)
    parts.setdefault(several, [None] * len(several.type.types))[item.op.index] = g


def _transposed(y: Node, g: Any, *operands: Node) -> list[Value | None]:
    """The products with g of an op that has a jvp alone: that is linear, and its vjp known."""
    probes = [placeholder(x.shape, x.dtype) if is_floating(x.dtype) else None for x in operands]
    tangents = tangent_of(y.op, y, operands, probes)
    if isinstance(tangents, Value):
        tangents, g = [tangents], [g]
    where = f" ({y.op.where})" if y.op.where else ""
    return transpose(tangents or [], probes, g, f"{y.op.name}{where}")


def transpose(
    tangents: Sequence[Any], probes: Sequence[Node | None], gs: Sequence[Any], what: str
) -> list[Any]:
    """For each probe the product of cotangents gs with tangents that are linear in the probes.

    Raises:
        GradientError: if they are not linear.
    """
    moving = [probe for probe in probes if probe is not None]
    told = [i for i, t in enumerate(tangents) if t is not None and gs[i] is not None]
    found = pull([tangents[i] for i in told], [gs[i] for i in told], moving)
    made: list[Any] = [product for product in found if product is not None]
    if not set(moving).isdisjoint(topological(made)):
        raise GradientError(f"{what}: its jvp is not linear in the tangents ({location.current()})")
    products = iter(found)
    return [None if probe is None else next(products) for probe in probes]


def _accumulate(sums: dict[Node, Value], node: Node, product: Value) -> None:
    """Add a product to the others of a node: those of 16 bits in float32, rounded once at last."""
    known = sums.get(node)
    sums[node] = product if known is None else widened(known) + widened(product)
