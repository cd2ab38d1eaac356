"""Values that are what they are made from, and that no pass takes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from staticnet.ir.dim import Dim
from staticnet.ir.index import Index
from staticnet.ir.types import TensorType
from staticnet.ops.base import ALL, TensorOp, apply


class Unchanged(TensorOp):
    """y = x, for whoever looks at the op.  x: [*s] -> y: [*s]

    It moves nothing: kernels and routines read x itself.
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


@dataclass(frozen=True)
class OptimizationBarrier(Unchanged, name="optimization_barrier"):
    """y = x, told apart by `number`: what is computed from y is computed again, and later.

    Made by the `remat` pass.
    x: [*s] -> y: [*s]
    """

    number: int
