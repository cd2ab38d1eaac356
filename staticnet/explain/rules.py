"""What a rule of differentiation is called and says: read from the op that has it.

`sin` has a vjp; what that makes of symbols is the sentence `d sin(u) = cos(u) * du`.
"""

from __future__ import annotations

from typing import Any

from staticnet.autodiff.forward import local_tangent, push
from staticnet.errors import StaticnetError
from staticnet.explain.simplify import computed, simplified
from staticnet.explain.writing import text_of
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, build, topological
from staticnet.ir.types import TupleType
from staticnet.ops.base import NONE, Constant, Item
from staticnet.ops.creation import ones_like
from staticnet.ops.state import placeholder

_LETTERS = "uvwpqrst"


def operation(node: Node) -> Node:
    """The node whose op computes a value: of one of several results, that which has them all."""
    return node.inputs[0] if isinstance(node.op, Item) else node


def rule_of(node: Node) -> str:
    """The name of the rule by which a node is differentiated: `product rule`."""
    op = node.op
    named = getattr(op, "derivative_rule", "")
    if named:
        return str(named)
    if not op.differentiable:
        return "constant almost everywhere"
    return "linearity" if range(len(node.inputs))[getattr(op, "linear", NONE)] else "chain rule"


def statement(node: Node) -> str:
    """`d (u * v) = v * du + u * dv`: what a node's rule says of any operands; "" if it is long."""
    found = stated(node)
    if found is None:
        return ""
    whole, tangent = found
    text = f"d({text_of(whole)}) = {text_of(tangent)}"
    return text if len(text) <= 120 else ""


def stated(node: Node) -> tuple[Node, Node] | None:
    """A node's op on symbols, and its tangent in terms of theirs; None if it has none."""
    inner = operation(node)
    symbols = [x if _is_fixed(x) else _symbol(x, i) for i, x in enumerate(inner.inputs)]
    if inner.op.graphs or any(symbol is None for symbol in symbols):
        return None
    given: Any = symbols
    try:
        applied = build(inner.op, tuple(given))
        if applied is not inner and isinstance(node.op, Item):
            applied = build(node.op, (applied,))
        moving = {
            x: placeholder(x.shape, x.dtype, f"d{x.name}")
            for x in given
            if x.op.is_input and is_floating(x.dtype)
        }
        tangent = push([applied], moving)[0]
    except StaticnetError:
        return None
    return None if tangent is None else (applied, simplified(tangent, [applied]))


def _is_fixed(node: Node) -> bool:
    return isinstance(node.op, Constant) or (node.is_constant and node.shape == ())


def _symbol(node: Node, position: int) -> Node | None:
    if isinstance(node.type, TupleType) or position >= len(_LETTERS):
        return None
    return placeholder(node.shape, node.dtype, _LETTERS[position])


def local(node: Node) -> list[tuple[Node, Node]]:
    """For each operand of a node that can move, d node / d operand, simplified; [] if none can.

    Of one that is no scalar it is what each of its elements is multiplied by, or their sum.
    """
    inner = operation(node)
    found = []
    for x in dict.fromkeys(inner.inputs):
        if x.is_constant or isinstance(x.type, TupleType) or not is_floating(x.dtype):
            continue
        tangents: Any = [ones_like(x) if operand is x else None for operand in inner.inputs]
        try:
            slope = local_tangent(inner, tangents)
        except StaticnetError:
            return []
        if isinstance(node.op, Item) and slope is not None:
            slope = slope[node.op.index]
        if slope is not None:
            found.append((x, simplified(computed(slope, set(topological([node]))), [node])))
    return found
