"""A weight that stays as it is from step to step."""

from __future__ import annotations

from dataclasses import dataclass

from staticnet.ir.node import Node
from staticnet.ops.barrier import Unchanged
from staticnet.ops.movement import PermuteDims


@dataclass(frozen=True)
class Held(Unchanged, name="held"):
    """y = x, which a product may keep from step to step in the order that it reads it in.

    Made by the `held_weights` pass.
    x: [*s] -> y: [*s]
    """


def held_right(node: Node) -> tuple[Node, bool]:
    """What the right operand of a product shows, and whether transposed."""
    right = node.inputs[1]
    if right.op == PermuteDims((1, 0)):
        return right.inputs[0], True
    return right, False
