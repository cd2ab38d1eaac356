"""`Updates`: the ordered mapping from each variable to the node of its next value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.node import Node, describe
from staticnet.ir.value import Value
from staticnet.ops.selection import where
from staticnet.ops.state import Variable
from staticnet.state_dict import Stateful


class Updates(dict[Variable, Value], Stateful):
    """{variable: node of its next value}: a dict to print, edit, chain and give to `sn.function`.

    `state_dict` has all that the step changes but the parameters: moments, counts, averages, the
    running statistics of the model.

    Beside the entries it knows what the variables are for, so that wrappers find them:

    state: for each parameter its optimizer state by name, as {"exp_avg": variable}
    step: how many updates the optimizer has made, an int64 variable
    shadows: for each parameter its average, where `ema` keeps one
    skipped: how many runs `skip_nonfinite` skipped, an int64 variable
    """

    def __init__(self, entries: Mapping[Variable, Value] | None = None) -> None:
        super().__init__(entries or {})
        self.state: dict[Variable, dict[str, Variable]] = {}
        self.step: Variable | None = None
        self.shadows: dict[Variable, Variable] = {}
        self.skipped: Variable | None = None

    @classmethod
    def of(cls, entries: Mapping[Variable, Value]) -> Updates:
        """A copy that the caller may extend. In a plain mapping what is trainable is a parameter.

        Raises:
            ArgumentError: if it is no mapping from variables to values.
        """
        if not isinstance(entries, Mapping):
            raise ArgumentError(f"updates are a mapping, not {entries!r:.60}")
        for target, value in entries.items():
            if not isinstance(target, Variable) or not isinstance(value, Value):
                raise ArgumentError(f"updates map variables to values, not {target!r} to {value!r}")
        copy = cls(entries)
        if isinstance(entries, Updates):
            copy.state = dict(entries.state)
            copy.step, copy.skipped = entries.step, entries.skipped
            copy.shadows = dict(entries.shadows)
        else:
            copy.state = {target: {} for target in entries if target.trainable}
        return copy

    @property
    def parameters(self) -> list[Variable]:
        """The variables that the optimizer was asked to update, its own state left out."""
        return [target for target in self.state if target in self]

    def _state_variables(self) -> list[Variable]:
        return [target for target in self if target not in self.state]

    def only_if(self, condition: Any) -> Updates:
        """next = next where condition, else the present value.  condition: bool []"""
        held = Updates.of(self)
        for target, value in self.items():
            held[target] = where(condition, value, target)
        return held

    def __str__(self) -> str:
        return "\n".join(f"{describe(t)} <- {_expression(v)}" for t, v in self.items())


def _expression(value: Value) -> str:
    if not isinstance(value, Node) or not value.inputs:
        return describe(value)
    operands = ", ".join(operand.name or operand.op.name for operand in value.inputs)
    return f"{value.op.name}({operands})"
