"""The nodes of one example, made those of many: each op's own rule, operands first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.ir import location, modes
from staticnet.ir.dim import Dim
from staticnet.ir.node import Node, newer, topological
from staticnet.ir.op import Op
from staticnet.ir.value import Value
from staticnet.ops.base import Item
from staticnet.ops.own_op import one_by_one
from staticnet.ops.own_rules import examples_of


def batch_nodes(
    outputs: Sequence[Node], examples: Mapping[Node, Value], size: int | Dim
) -> list[Value | None]:
    """Each output for `size` examples, along its first axis; None where it is equal for all.

    `examples` are the values of some nodes for each example, along their first axis: node [*s],
    value [size, *s]. A new node has the lines, the name and the modes of the one that it is for.
    """
    known: dict[Node, Any] = dict(examples)
    saved = location.attribution()
    try:
        for node in topological(outputs, newer(known)):
            if node in known or not any(operand in known for operand in node.inputs):
                continue
            location.set_attribution(node.provenance)
            if isinstance(node.op, Item):
                known[node] = known[node.inputs[0]][node.op.index]
                continue
            batched = tuple(operand in known for operand in node.inputs)
            operands = [known.get(operand, operand) for operand in node.inputs]
            known[node] = new = _batched(node, size, batched, operands)
            modes.stand_for(new, node)
    finally:
        location.set_attribution(saved)
    return [known.get(node) for node in outputs]


def _batched(
    node: Node, size: int | Dim, batched: tuple[bool, ...], operands: Sequence[Value]
) -> Any:
    """A node's value for all examples; a user's op may have no rule for that."""
    op = node.op
    if op.where is not None and type(op).batch is Op.batch:
        return one_by_one(op, size, batched, operands)
    return examples_of(op, node, size, batched, operands)
