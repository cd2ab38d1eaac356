"""State that a graph changes because it was called, as the running statistics of a batch norm are.

Such a change stands in the graph that makes the loss, on a value which that needs. So whatever is
made of the graph, a gradient, a checkpoint, a compiled step, has the change or refuses it: nobody
can forget it. Where a graph is closed it becomes one of the graph's updates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.node import Node, describe
from staticnet.ir.types import TensorType
from staticnet.ir.value import Value
from staticnet.ops.base import TensorOp, apply
from staticnet.ops.state import Variable

REMEDY = (
    "call eval() on the layer first, make it with track_running_stats=False, or call it outside"
)


@dataclass(frozen=True)
class WithUpdate(TensorOp, name="with_update"):
    """y = x; a run also gives the variable `target` the value `next`, made of `observed`.

    x: [*s], target: [*t], observed: [*u], next: [*t] -> y: [*s]
    """

    arity = 4
    widens = False

    def infer(self, *operands: TensorType) -> TensorType:
        x, target, _, following = operands
        if target.dtype != following.dtype:
            raise DTypeError(f"{target} cannot become {following}")
        if target.shape != following.shape:
            raise ShapeError(f"{target} cannot become {following}")
        return x

    def eval(self, xp: Any, x: Any, target: Any, observed: Any, following: Any) -> Any:
        return x

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        """The cotangent, on which the update stands, too: a gradient may need no more than that."""
        return (apply(self, g, *operands[1:]), None, None, None)

    def jvp(self, y: Any, operands: Any, tangents: Any) -> Any:
        return apply(self, tangents[0], *operands[1:])

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        if any(batched[1:]):
            raise ArgumentError(
                f"vmap: {describe(operands[1])} would have a next value for each example; {REMEDY}"
            )
        return apply(self, *operands)


_OP = WithUpdate()
_pending: WeakValueDictionary[int, Node] = WeakValueDictionary()  # by their ids


def with_update(x: Any, target: Variable, observed: Any, following: Any) -> Any:
    """x, and `target` becomes `following`, which is made of `target` and `observed`.

    Of tensors at once; of nodes at each run of what is compiled of the graph that x is in.
    """
    if isinstance(x, Value) and not x.is_symbolic:
        target.value = x.lift(following).numpy()
        return x
    node = apply(_OP, x, target, observed, following)
    _pending[id(node)] = node
    return node


def pending(targets: Iterable[Variable]) -> list[Node]:
    """The updates of these variables that no graph was closed with, as they were made."""
    wanted = set(targets)
    found = [node for node in list(_pending.values()) if node.inputs[1] in wanted]
    return sorted(found, key=lambda node: node.number)


def settle(nodes: Iterable[Node]) -> None:
    """A graph was closed with these updates: they wait no longer."""
    for node in nodes:
        _pending.pop(id(node), None)
