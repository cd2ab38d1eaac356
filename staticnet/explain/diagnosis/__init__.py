"""`sn.diagnose`: what is wrong with the gradients of a training step, on one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.explain.diagnosis import bounds, flow, shapes, units
from staticnet.explain.diagnosis.finding import Finding
from staticnet.explain.diagnosis.measured import Measured, measure
from staticnet.function import Function
from staticnet.ir.node import Node
from staticnet.ir.shown import Shown, Table

CHECKS: tuple[Callable[[Measured], Iterator[Finding]], ...] = (
    flow.not_finite,
    units.saturation,
    units.dead_relu,
    flow.depth,
    flow.time,
    flow.no_gradient,
    bounds.clipped,
    shapes.broadcast,
    shapes.bias,
    shapes.by_hand,
)


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Shown):
    """What was found, and the loss that it was found at."""

    name: str
    loss: float
    findings: tuple[Finding, ...]
    looked_at: str

    @property
    def kinds(self) -> list[str]:
        """The kinds of what was found, each once."""
        return list(dict.fromkeys(finding.kind for finding in self.findings))

    def tables(self) -> list[Table]:
        """A row for each finding."""
        head = ("what", "where", "seen", "remedy")
        rows = [(f.kind, f.where, f.seen, f.remedy) for f in self.findings]
        return [Table(self._head(), head, rows)]

    def _head(self) -> str:
        count = len(self.findings) or "nothing"
        return f"{self.name}: {count} found at the loss {self.loss:.6g}; {self.looked_at}"

    def __str__(self) -> str:
        return "\n".join([self._head(), *(f"- {finding}" for finding in self.findings)])


def diagnose(step: Function, /, *feeds: Any, loss: Node | None = None, **named: Any) -> Diagnosis:
    """Look at each node's value and gradient in a training step, on one batch; nothing is updated.

    Found are saturated and dead units, gradients that vanish or explode in depth and in time, that
    a bound of the loss blocks, or that never come; shapes that broadcast by mistake; updates by
    hand that do not follow the gradient; and the first value that is not finite. Each comes with
    the user's line, the module's path and the remedy. `loss` is the first output that depends on a
    trainable variable, unless it is given. What is inside `sn.cond`, `sn.while_loop` and functions
    with derivatives of their own is not looked into.

    Raises:
        ArgumentError: if `step` is no compiled function, or has no such output.
        FeedError: if the feeds do not fit; names the placeholder and its line.
        ExecutionError: if an op fails.
    """
    if not isinstance(step, Function):
        raise ArgumentError(
            f"diagnose: takes a compiled step and feeds, diagnose(step, x, y), not {step!r:.60}"
        )
    measured = measure(step, step._feeds(feeds, named), loss)
    found = tuple(finding for check in CHECKS for finding in check(measured))
    looked = (
        f"{len(measured.order):,} nodes and {len(measured.parameters):,} parameters looked at, "
        f"{measured.batch:,} examples"
    )
    return Diagnosis(step.graph.name, float(measured.values[measured.loss]), found, looked)
