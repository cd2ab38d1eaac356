"""L-BFGS: steps by a curvature that is estimated from the last gradients, all of it in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from staticnet.autodiff import grad
from staticnet.control.scan import scan
from staticnet.control.state_updates import updates_in
from staticnet.control.traced import substitute
from staticnet.control.while_loop import while_loop
from staticnet.errors import ArgumentError
from staticnet.ir.dtype import FLOAT32, FLOAT64
from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_size
from staticnet.ops.arithmetic import abs, minimum
from staticnet.ops.base import constant
from staticnet.ops.movement import concat
from staticnet.ops.reduction import max
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.state import Variable, variable
from staticnet.optim.base import Optimizer, takes_the_loss
from staticnet.optim.line_search import StrongWolfe
from staticnet.optim.numbers import checked_number
from staticnet.optim.parameters import Parameters, check_used, parameters_of, trainable_of
from staticnet.optim.updates import Updates

Carry = dict[str, Any]


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """w' = w - lr * H g, up to `max_iter` times a run, each with a gradient at the new place.

    H is the inverse Hessian that the last `history_size` changes of parameters and gradients tell.
    A run ends before where no element of the gradient exceeds `tolerance_grad`, or a step or the
    change of the loss is below `tolerance_change`; it evaluates the loss `max_eval` times at most,
    by default 5/4 of `max_iter`, but ends a search that it has begun. The batch, and what is drawn
    at random, are those of the run.
    With `line_search_fn="strong_wolfe"` a search along the direction, from lr on, finds the step.
    Nocedal, Wright, "Numerical optimization", 2006, algorithm 7.4; names, defaults and rule are
    PyTorch's. It takes a loss, not gradients: nothing wraps it.

    Raises:
        ArgumentError: if an argument is out of its range.
    """

    wrappable: ClassVar[bool] = False

    lr: float = 1.0
    max_iter: int = 20
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 100
    line_search_fn: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_iter", "history_size"):
            as_size(getattr(self, name), f"LBFGS: {name}")
        if self.max_eval is not None:
            as_size(self.max_eval, "LBFGS: max_eval")
        for name in ("lr", "tolerance_grad", "tolerance_change"):
            checked_number("LBFGS", "eps" if name != "lr" else name, getattr(self, name))
        if self.line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(
                f"LBFGS: line_search_fn must be None or 'strong_wolfe', not "
                f"{self.line_search_fn!r:.60}"
            )

    def minimize(self, loss: Value, wrt: Parameters | None = None) -> Updates:
        """The updates of one run; runs nothing.

        loss: []

        Raises:
            GradientError: if the loss is no value, or does not depend on a parameter.
            ShapeError, DTypeError: if the loss is no floating-point scalar.
        """
        ws = parameters_of(trainable_of(loss) if wrt is None else wrt)
        check_used(loss, ws)
        roots, standing = updates_in([loss, *grad(loss, ws)])  # type: ignore[list-item]
        dtype = FLOAT64 if any(w.dtype == FLOAT64 for w in ws) else FLOAT32
        problem = _Problem(self, ws, roots, dtype)
        state = problem.variables()
        final = problem.solved(state)
        updates = Updates(dict(zip(ws, problem.parts(final["x"]), strict=True)))
        updates |= {each: final[name] for name, each in state.items()}
        updates.state = {w: {} for w in ws}
        for target, value in standing.items():
            updates.setdefault(target, value)
        return updates

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """It needs the loss, for it looks at several places.

        Raises:
            ArgumentError: always.
        """
        raise takes_the_loss("LBFGS")


class _Problem:
    """A loss as a function of all parameters in one vector."""

    def __init__(
        self, rule: LBFGS, ws: Sequence[Variable], roots: Sequence[Node], dtype: Any
    ) -> None:
        self.rule, self.ws, self.roots, self.dtype = rule, ws, roots, dtype
        self.sizes = [int(np.prod(w.shape)) for w in ws]  # type: ignore[arg-type]

    def variables(self) -> dict[str, Variable]:
        """What is kept between runs; the history's newest is its last row."""
        n, m = int(np.sum(self.sizes)), self.rule.history_size
        shapes = {"d": (n,), "t": (), "steps": (m, n), "changes": (m, n), "ro": (m,), "scale": ()}
        first = {name: np.zeros(shape, self.dtype) for name, shape in shapes.items()}
        first |= {"gradient_before": np.zeros(n, self.dtype), "iterations": np.array(0, np.int64)}
        return {name: variable(v, f"lbfgs.{name}", trainable=False) for name, v in first.items()}

    def parts(self, x: Any) -> list[Any]:
        """The parameters in a vector.  x: [n] -> each as its variable"""
        ends = np.cumsum([0, *self.sizes])
        cuts = zip(self.ws, ends, ends[1:], strict=False)
        return [astype(reshape(x[int(a) : int(b)], w.shape), w.dtype) for w, a, b in cuts]

    def flat(self, values: Sequence[Any]) -> Any:
        """Values as one vector."""
        return concat([reshape(astype(each, self.dtype), (-1,)) for each in values], axis=0)

    def at(self, x: Any) -> tuple[Any, Any]:
        """The loss and its gradient.  x: [n] -> [], [n]"""
        values: dict[Node, Value] = dict(zip(self.ws, self.parts(x), strict=True))
        loss, *grads = substitute(self.roots, values)
        return astype(loss, self.dtype), self.flat(grads)

    def solved(self, state: Mapping[str, Variable]) -> Carry:
        """The loop's last carry."""
        loss, g = astype(self.roots[0], self.dtype), self.flat(self.roots[1:])
        carry: Carry = {
            "x": self.flat(self.ws),
            "loss": loss,
            "g": g,
            "i": constant(0),
            "evaluations": constant(1),
            "go": max(abs(g)) > self.rule.tolerance_grad,
            **state,
        }
        final: Carry = while_loop(lambda c: c["go"], self.iteration, carry)
        return final

    def iteration(self, c: Carry) -> Carry:
        """One step, and the gradient where it leads."""
        rule, first = self.rule, c["iterations"] == 0
        kept = self._remembered(c, first)
        d = where(first, -c["g"], self._direction(kept, c["g"]))
        t = where(first, minimum(1.0, 1 / sum(abs(c["g"]))) * rule.lr, rule.lr)
        slope = sum(c["g"] * d)
        falls = ~(slope > -rule.tolerance_change)
        t = astype(t, self.dtype)
        loss, g, t, evaluated = self._moved(c, d, t, slope, falls)
        i, evaluations = c["i"] + 1, c["evaluations"] + evaluated
        small = max(abs(d * t)) <= rule.tolerance_change
        small = small | (abs(loss - c["loss"]) < rule.tolerance_change)
        flat = max(abs(g)) <= rule.tolerance_grad
        go = falls & (i < rule.max_iter) & (evaluations < self.limit) & ~flat & ~small
        x = where(falls, c["x"] + t * d, c["x"])
        new = {"x": x, "loss": loss, "g": g, "i": i, "evaluations": evaluations, "go": go}
        more = {"d": d, "t": t, "gradient_before": c["g"], "iterations": c["iterations"] + 1}
        return {**kept, **new, **more}

    @property
    def limit(self) -> int:
        """How often a run evaluates the loss, unless its last search does once more."""
        rule = self.rule
        return rule.max_iter * 5 // 4 if rule.max_eval is None else rule.max_eval

    def _moved(self, c: Carry, d: Any, t: Any, slope: Any, falls: Any) -> tuple[Any, ...]:
        """Loss, gradient and step where d leads, and how many evaluations found it."""
        if self.rule.line_search_fn is None:
            loss, g = self.at(where(falls, c["x"] + t * d, c["x"]))
            return loss, g, t, 1
        most = self.limit - c["evaluations"]
        search = StrongWolfe(self.at, c["x"], d, most, self.rule.tolerance_change)
        point, evaluated = search.solved(t, c["loss"], c["g"], slope, falls)
        return point["loss"], point["g"], where(falls, point["t"], t), evaluated

    def _remembered(self, c: Carry, first: Any) -> Carry:
        """The history with the last step, where the curvature along it is positive."""
        y, s = c["g"] - c["gradient_before"], c["d"] * c["t"]
        curvature = sum(y * s)
        bends = (curvature > 1e-10) & ~first

        def pushed(rows: Any, row: Any) -> Any:
            return where(bends, concat([rows[1:], expand_dims(row)], axis=0), rows)

        safe = where(bends, curvature, 1.0)
        scale = where(bends, safe / where(bends, sum(y * y), 1.0), c["scale"])
        return {
            "steps": pushed(c["steps"], s),
            "changes": pushed(c["changes"], y),
            "ro": pushed(c["ro"], 1 / safe),
            "scale": where(first, constant(1.0, self.dtype), scale),
        }

    def _direction(self, kept: Carry, g: Any) -> Any:
        """-H g, by two passes over the history; rows that are not there yet have ro = 0."""
        rows = (kept["steps"], kept["changes"], kept["ro"])

        def back(q: Any, row: Any) -> Any:
            s, y, ro = row
            weight = sum(s * q) * ro
            return q - weight * y, weight

        def forth(r: Any, row: Any) -> Any:
            s, y, ro, weight = row
            other = sum(y * r) * ro
            return r + s * (weight - other), other

        q, weights = scan(back, -g, rows, reverse=True)
        return scan(forth, q * kept["scale"], (*rows, weights))[0]
