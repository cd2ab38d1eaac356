"""The line search of L-BFGS: a step that fulfils the strong Wolfe conditions, in one loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from staticnet.control.while_loop import while_loop
from staticnet.ir.dtype import INT64
from staticnet.ops.arithmetic import abs, maximum, minimum
from staticnet.ops.base import constant
from staticnet.ops.reduction import max
from staticnet.ops.selection import where
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import sqrt

Point = dict[str, Any]  # t: [], loss: [], g: [n] and slope: [], the derivative by t
Carry = dict[str, Any]
FALL, FLAT = 1e-4, 0.9  # what the conditions ask of the loss and of the slope


@dataclass(frozen=True)
class StrongWolfe:
    """t with loss(t) <= loss(0) + 1e-4 t slope(0) and |slope(t)| <= 0.9 |slope(0)|.

    Steps grow until a pair of them has such a t between them, which then closes in on it; each is
    the minimum of a cubic through the pair. `low` and `high` are the pair; before there is one,
    `low` is the step before. It ends, too, after `most` steps beside the first, or where the pair
    is nearer than `tolerance`.
    Nocedal, Wright, "Numerical optimization", 2006, algorithms 3.5 and 3.6; the steps are those of
    PyTorch's `strong_wolfe`.

    loss: x: [n] -> [], [n], the loss and its gradient; x: [n], d: [n]; most: []
    """

    loss: Callable[[Any], tuple[Any, Any]]
    x: Any
    d: Any
    most: Any
    tolerance: float

    def solved(self, t: Any, loss: Any, g: Any, slope: Any, go: Any) -> tuple[Point, Any]:
        """The point found from a first t on, and how often the loss was asked for.

        Without `go` it is the point of t = 0. t: [], loss: [], g: [n], slope: [], go: bool []
        """
        zero = constant(0.0, slope.dtype)
        start: Point = {"t": zero, "loss": loss, "g": g, "slope": slope}
        carry: Carry = {
            "t": t, "low": start, "high": start, "low_first": constant(True),
            "paired": constant(False), "slow": constant(False),
            "count": constant(0, INT64), "go": go,
        }  # fmt: skip
        final: Carry = while_loop(lambda c: c["go"], lambda c: self._step(c, start), carry)
        return final["low"], final["count"]

    def _step(self, c: Carry, start: Point) -> Carry:
        """One evaluation, and the pair and the next t that follow from it."""
        loss, g = self.loss(self.x + c["t"] * self.d)
        new: Point = {"t": c["t"], "loss": loss, "g": g, "slope": sum(g * self.d)}
        paired, count, low = c["paired"], c["count"], c["low"]
        ends = ~paired & (count >= self.most)
        rises = ~(loss <= start["loss"] + FALL * c["t"] * start["slope"])  # so does NaN
        worse = rises | ((paired | (count > 1)) & ~(loss < low["loss"]))
        found = ~ends & ~worse & (abs(new["slope"]) <= -FLAT * start["slope"])
        meets = ends | (~found & (worse | (~paired & (new["slope"] >= 0))))
        met = _ordered(_chosen(ends, start, low), new, c["low_first"])
        turned = new["slope"] * (c["high"]["t"] - low["t"]) >= 0
        after = {
            "low": _chosen(meets, met["low"], new),
            "high": _chosen(
                meets, met["high"], _chosen(turned & paired & ~found, low, c["high"])
            ),
            "low_first": where(meets, met["low_first"], c["low_first"]),
            "paired": paired | meets,
        }  # fmt: skip
        between, slow = _between(after["low"], after["high"], paired & c["slow"])
        width = abs(after["high"]["t"] - after["low"]["t"]) * max(abs(self.d))
        wide = (count < self.most) & ~(width < self.tolerance)
        return {
            **after,
            "t": where(after["paired"], between, _beyond(low, new)),
            "slow": slow & after["paired"],
            "count": count + 1,
            "go": ~found & ~ends & (wide | ~after["paired"]),
        }


def _chosen(condition: Any, a: Point, b: Point) -> Point:
    return {name: where(condition, value, b[name]) for name, value in a.items()}


def _ordered(low: Point, high: Point, low_first: Any) -> Carry:
    """A pair whose lower one is `low`; of equal ones the first, and which that is. NaN is high."""
    stays = where(low_first, ~(low["loss"] > high["loss"]), ~(low["loss"] >= high["loss"]))
    ordered = {"low": _chosen(stays, low, high), "high": _chosen(stays, high, low)}
    return {**ordered, "low_first": low_first == stays}


def _cubic(a: Point, b: Point, lowest: Any, highest: Any) -> Any:
    """Where the cubic through two points with their slopes is least, within bounds."""
    up = a["t"] <= b["t"]
    left, right = _chosen(up, a, b), _chosen(up, b, a)
    span = right["t"] - left["t"]
    p = left["slope"] + right["slope"] - 3 * (right["loss"] - left["loss"]) / span
    square = p * p - left["slope"] * right["slope"]
    root = sqrt(where(square >= 0, square, 0.0))
    share = (right["slope"] + root - p) / (right["slope"] - left["slope"] + 2 * root)
    inside = minimum(maximum(right["t"] - span * share, lowest), highest)
    return where(square >= 0, inside, (lowest + highest) / 2)


def _beyond(before: Point, new: Point) -> Any:
    """The next t where the loss still falls."""
    t = new["t"]
    return _cubic(before, new, t + 0.01 * (t - before["t"]), t * 10)


def _between(low: Point, high: Point, slow: Any) -> tuple[Any, Any]:
    """The next t within a pair, and whether it is near one of them: not twice in turn."""
    left, right = minimum(low["t"], high["t"]), maximum(low["t"], high["t"])
    t = _cubic(low, high, left, right)
    margin = 0.1 * (right - left)
    near = minimum(right - t, t - left) < margin
    moves = near & (slow | (t >= right) | (t <= left))
    away = where(abs(t - right) < abs(t - left), right - margin, left + margin)
    return where(moves, away, t), near & ~moves
