"""What is known of a node's values without running it."""

from __future__ import annotations

from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.arithmetic import Subtract
from staticnet.ops.reduction import Max
from staticnet.plan.roles import axes_of, operand_index, resolve


def never_positive(node: Node) -> bool:
    """Whether no element is above 0: each is an element of x less the maximum of its own row."""
    if not isinstance(node.op, Subtract):
        return False
    x, greatest = node.inputs
    index = axes_of(fixed(node.shape))
    top, at = resolve(greatest, operand_index(index, greatest))
    if not isinstance(top.op, Max) or top.inputs[0] is not x:
        return False
    own = list(enumerate(operand_index(index, x)))
    if top.op.keepdims:
        at = tuple(place for axis, place in enumerate(at) if axis not in top.op.axes)
    return at == tuple(place for axis, place in own if axis not in top.op.axes)
