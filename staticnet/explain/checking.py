"""A derivative held to numbers: finite differences, and the compiler's reverse mode.

The result of a derivation came by forward mode and by algebra; `grad` of `grad` comes by vjps, and
a difference quotient by no rule at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.autodiff import vjp
from staticnet.errors import ArgumentError, StaticnetError
from staticnet.explain.values import evaluated
from staticnet.explain.writing import number_text
from staticnet.ir.node import Node, topological
from staticnet.ir.shown import Shown, Table
from staticnet.ir.types import Shape
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.creation import ones_like

if TYPE_CHECKING:
    from staticnet.explain.derivation import Derivation

_LOST = (
    "nan or inf where differences are finite: a rule multiplies a slope of 0 by an infinite one, "
    "or divides 0 by 0, as that of sqrt(relu(x)) where relu(x) is 0"
)
_LOWS = (0.3, 0.9, 1.6)  # from which the numbers of a point are drawn


@dataclass(frozen=True)
class Point:
    """One point: the inputs, the value, and the derivative by three ways.

    Of a differential they are along one direction.
    """

    at: Mapping[str, Any]
    value: Any
    derived: Any
    differences: Any
    reverse: Any

    @property
    def apart(self) -> float:
        """By how much the derived one is off the others at most, beside its own size or 1."""
        if self.is_lost:
            return np.inf
        derived = np.asarray(self.derived, np.float64)
        others = [np.asarray(x, np.float64) for x in (self.differences, self.reverse)]
        near = max(1.0, float(np.max(np.abs(derived), initial=0.0)))
        apart = [float(np.max(np.abs(derived - x), initial=0.0)) / near for x in others]
        return max(apart)

    @property
    def is_lost(self) -> bool:
        """Whether the derived one is no number somewhere where the differences are one."""
        derived, differences = np.isfinite(self.derived), np.isfinite(self.differences)
        return bool(np.any(~derived & differences))

    @property
    def is_telling(self) -> bool:
        """Whether there is a number to compare: where y has no derivative there is none."""
        return bool(np.all(np.isfinite(self.derived))) or self.is_lost


@dataclass(frozen=True, repr=False)
class Checked(Shown):
    """The `points` at which a derivative was checked."""

    points: tuple[Point, ...]

    @property
    def agrees(self) -> bool:
        """Whether all three ways give one number, as far as difference quotients are that good."""
        return all(not point.apart > 1e-4 for point in self.points)

    @property
    def why(self) -> str:
        """Why a derivative is no number where there is one; nothing if none is."""
        return _LOST if any(point.is_lost for point in self.points) else ""

    def tables(self) -> list[Table]:
        """A row a point."""
        head = ("at", "value", "derivative", "finite differences", "sn.grad")
        rows = [
            (
                ", ".join(f"{name} = {number_text(x, 4)}" for name, x in point.at.items()),
                *map(number_text, (point.value, point.derived, point.differences, point.reverse)),
            )
            for point in self.points
        ]
        return [Table(self.why, head, rows)]

    def __str__(self) -> str:
        (table,) = self.tables()
        rows = [table.columns, *table.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self.why] if self.why else lines)


def check(derivation: Derivation, at: Mapping[str, Any]) -> Checked:
    """The derivation's result at a point, or at three of its own choice if `at` is empty.

    Raises:
        ArgumentError: if a name is none of the inputs, or an input has no value.
    """
    y, x = derivation.y, derivation.x
    inputs = [node for node in topological([y, x]) if node.op.is_input]
    if not x.op.is_input:
        return Checked(())  # of something that is computed: it cannot be moved alone
    if at:
        return Checked((_point(derivation, inputs, given_values(inputs, at)),))
    rng = np.random.default_rng(0)
    drawn = [{node: _drawn(rng, node, low) for node in inputs if _is_known(node)} for low in _LOWS]
    if any(len(values) < len(inputs) for values in drawn):
        return Checked(())
    points = [_point(derivation, inputs, values) for values in drawn]
    return Checked(tuple(point for point in points if point.is_telling))


def _is_known(node: Node) -> bool:
    return all(isinstance(n, int) for n in node.shape)


def _drawn(rng: np.random.Generator, node: Node, low: float) -> Any:
    return np.asarray(np.round(rng.uniform(low, low + 0.5, node.shape), 3), node.dtype)


def given_values(inputs: Sequence[Node], at: Mapping[str, Any]) -> dict[Node, Any]:
    """The inputs' values by their names.

    Raises:
        ArgumentError: if a name is none of theirs, one has no value, or it has another shape.
    """
    named = {node.name: node for node in inputs}
    if unknown := sorted(set(at) - set(named)):
        raise ArgumentError(
            f"at: there is no input {', '.join(unknown)}; there is {', '.join(named) or 'none'}"
        )
    if missing := [name for name in named if name not in at]:
        raise ArgumentError(f"at: give {', '.join(f'{name}=…' for name in missing)} a value, too")
    values = {}
    for name, value in at.items():
        node = named[name]
        try:
            values[node] = np.broadcast_to(np.asarray(value, node.dtype), _numbers(node.shape))
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"at: {name} is {node.type}, not {value!r:.60}") from error
    return values


def _numbers(shape: Shape) -> tuple[int, ...]:
    """A shape without symbolic dims."""
    return tuple(n for n in shape if isinstance(n, int))


def _point(derivation: Derivation, inputs: Sequence[Node], values: dict[Node, Any]) -> Point:
    x, direction = derivation.x, derivation.direction
    moved = dict(values)
    if direction is not None:
        rng = np.random.default_rng(1)
        moved[direction] = np.asarray(np.round(rng.uniform(0.5, 1.5, x.shape), 3), x.dtype)
    value, derived = evaluated([derivation.y, derivation.result], moved)
    at = {node.name: values[node] for node in inputs}
    if direction is not None:
        at |= {direction.name: moved[direction]}
    return Point(at, value, derived, _quotient(derivation, moved), _reverse(derivation, moved))


def _quotient(derivation: Derivation, values: dict[Node, Any]) -> Any:
    """Central differences of the derivative of one order less, extrapolated (Richardson)."""
    x, direction = derivation.x, derivation.direction
    last = derivation.results[-2] if derivation.order > 1 else derivation.y
    way = 1.0 if direction is None else values[direction]
    step = 1e-3 if x.dtype.itemsize == 8 else 3e-2

    def slope(h: float) -> Any:
        above, below = (
            evaluated([last], {**values, x: values[x] + s * h * way})[0] for s in (1, -1)
        )
        return (np.asarray(above, np.float64) - below) / (2 * h)

    with np.errstate(all="ignore"):
        found = [(4 * slope(h / 2) - slope(h)) / 3 for h in (step, step / 10, step / 100)]
        apart = [float(np.max(np.abs(a - b), initial=0.0)) for a, b in pairwise(found)]
    return found[1] if apart[0] <= apart[1] else found[2]


def _reverse(derivation: Derivation, values: dict[Node, Any]) -> Any:
    """The same by vjps alone: d <g, y> / dx along the direction, and again."""
    x, direction = derivation.x, derivation.direction
    y: Any = derivation.y
    try:
        for _ in range(derivation.order):
            if y.shape != () and x.shape == ():
                return _each(y, x, values, derivation.order)
            if y.shape != ():
                return _each(y, x, values, derivation.order, direction)
            (y,) = vjp([y], [x], [ones_like(y)], allow_unused=True)
            if direction is not None:
                y = FUNCTIONS["sum"](y * direction)
        return evaluated([y], values)[0]
    except StaticnetError:
        return np.nan


def _each(
    y: Node, x: Node, values: dict[Node, Any], order: int, direction: Node | None = None
) -> Any:
    """`_reverse` of each element of y."""
    found = []
    for index in np.ndindex(*_numbers(y.shape)):
        element: Any = y[index]
        for _ in range(order):
            (element,) = vjp([element], [x], [ones_like(element)], allow_unused=True)
            if direction is not None:
                element = FUNCTIONS["sum"](element * direction)
        found.append(element)
    return np.reshape(evaluated(found, values), _numbers(y.shape))
