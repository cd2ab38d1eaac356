"""A rate per element from the signs of gradients: Rprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops.arithmetic import maximum, minimum, sign
from staticnet.ops.selection import where
from staticnet.ops.state import Variable
from staticnet.optim.base import State, UpdateRule, zeros
from staticnet.optim.numbers import Rate, checked_number


@dataclass(frozen=True)
class Rprop(UpdateRule):
    """w' = w - sign(g) * d',  d' = d * etas[1] where g keeps its sign, d * etas[0] where it turns.

    d begins at lr and stays within `step_sizes`. Where g turns, w waits for a step, and the next g
    counts as neither. It is for gradients of all data: of small batches signs turn by chance.
    Riedmiller, Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
    algorithm", 1993, without its step back, as PyTorch's.

    Raises:
        ArgumentError: if a hyper-parameter is out of its range.
    """

    lr: Rate = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50)

    def __post_init__(self) -> None:
        super().__post_init__()
        less, more = _two("etas", self.etas)
        if not 0 < less < 1 < more:
            raise ArgumentError(f"Rprop: etas must be in (0, 1) and above 1, not {self.etas!r:.60}")
        least, most = _two("step_sizes", self.step_sizes)
        if least > most:
            raise ArgumentError(f"Rprop: step_sizes must be in order, not {self.step_sizes!r:.60}")
        object.__setattr__(self, "etas", (less, more))
        object.__setattr__(self, "step_sizes", (least, most))

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"prev": zeros(w), "step_size": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        turn = g * s["prev"]
        (less, more), (least, most) = self.etas, self.step_sizes
        d = where(t == 1, lr, s["step_size"])
        d = where(turn > 0, more * d, where(turn < 0, less * d, d))
        s["step_size"] = d = minimum(maximum(d, least), most)
        s["prev"] = g = where(turn < 0, 0.0, g)
        return w - sign(g) * d


def _two(name: str, given: Any) -> tuple[float, float]:
    """Two numbers >= 0."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ArgumentError(f"Rprop: {name} must be two numbers, not {given!r:.60}")
    a, b = (checked_number("Rprop", name, value) for value in given)
    return a, b
