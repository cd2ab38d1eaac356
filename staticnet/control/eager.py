"""Derivative rules on the tape of dynamic execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from staticnet.autodiff.reverse import transpose
from staticnet.control.trace import parameters
from staticnet.control.traced import substitute
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType
from staticnet.ops.base import TensorOp, apply

Pull = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]


class _Result(TensorOp):
    """One result of a function that has run, with its rule; no op of any graph."""

    name = "custom"
    arity: ClassVar[int | None] = None
    widens = False

    def __init__(self, name: str, value: Any, at: int, count: int, pull: Pull) -> None:
        put = object.__setattr__
        put(self, "label", name)
        put(self, "value", value)
        put(self, "at", at)
        put(self, "count", count)
        put(self, "pull", pull)

    label: str
    value: Any
    at: int
    count: int
    pull: Pull

    def infer(self, *operands: TensorType) -> TensorType:
        return TensorType(self.value.dtype, self.value.shape)

    def eval(self, xp: Any, *operands: Any) -> Any:
        return self.value.data

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        gs = [g if i == self.at else None for i in range(self.count)]
        return tuple(self.pull(operands, gs))


def recorded(name: str, values: Sequence[Any], pull: Pull, operands: Sequence[Any]) -> list[Any]:
    """Tensors with these values, on the tape as made from the operands by what `pull` undoes."""
    count = len(values)
    return [apply(_Result(name, y, i, count, pull), *operands) for i, y in enumerate(values)]


def transposed(rule: Pull) -> Pull:
    """From a rule of tangents that of cotangents: its graph is made, and run on tensors."""

    def pull(operands: Sequence[Any], gs: Sequence[Any]) -> list[Any]:
        xs = parameters("x", (TensorType(x.dtype, x.shape) for x in operands))
        known = dict(zip(xs, operands, strict=True))
        cotangents: list[Any] = []
        for g in gs:
            if g is not None:
                (own,) = parameters("g", [TensorType(g.dtype, g.shape)])
                known[own] = g
            cotangents.append(None if g is None else own)
        probes = tangents_of(xs)
        products = transpose(rule(xs, probes), probes, cotangents, "custom_jvp")
        values = iter(substitute([node for node in products if node is not None], known))
        return [None if node is None else next(values) for node in products]

    return pull


def tangents_of(operands: Sequence[Node]) -> list[Node | None]:
    """For each operand a placeholder for its tangent, where it can have one."""
    made = parameters("tangent", (x.type for x in operands))
    return [tangent if is_floating(tangent.dtype) else None for tangent in made]
