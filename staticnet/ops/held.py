"""A weight that stays as it is from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from staticnet.ir.dim import Dim
from staticnet.ir.index import Index
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType
from staticnet.ops.base import ALL, TensorOp, apply
from staticnet.ops.movement import PermuteDims


@dataclass(frozen=True)
class Held(TensorOp, name="held"):
    """y = x, which a product may keep from step to step in the order that it reads it in.

    It moves nothing. Made by the `held_weights` pass.
    x: [*s] -> y: [*s]
    """

    linear = ALL
    moves = True

    def infer(self, *operands: TensorType) -> TensorType:
        return operands[0]

    def eval(self, xp: Any, x: Any) -> Any:
        return x[...]

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        return (g,)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(self, *operands)

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        return index


def held_right(node: Node) -> tuple[Node, bool]:
    """What the right operand of a product shows, and whether transposed."""
    right = node.inputs[1]
    if right.op == PermuteDims((1, 0)):
        return right.inputs[0], True
    return right, False
