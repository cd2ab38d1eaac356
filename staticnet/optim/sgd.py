"""Gradient descent: plain, with momentum, with Nesterov's momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops.selection import where
from staticnet.ops.state import Variable
from staticnet.optim.base import Rate, State, UpdateRule, l2, with_rate, zeros


@dataclass(frozen=True)
class SGD(UpdateRule):
    """w' = w - lr * b',  b' = momentum * b + (1 - dampening) * g; the first b' is g itself.

    `nesterov` takes g + momentum * b' for b'. `weight_decay` adds weight_decay * w to g.
    Momentum is Polyak 1964's, Nesterov's in the form of Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013.

    Raises:
        ArgumentError: if a hyper-parameter is out of range, or `nesterov` has no momentum or has
            dampening.
    """

    momentum: float = 0
    dampening: float = 0
    weight_decay: float = 0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ArgumentError("SGD: nesterov needs momentum > 0 and dampening = 0")

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"momentum_buffer": zeros(w)} if self.momentum else {}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        g = l2(g, w, self.weight_decay)
        if self.momentum == 0:
            return w - lr * g
        b = self.momentum * s["momentum_buffer"] + (1 - self.dampening) * g
        if self.dampening != 0:
            b = where(t == 1, g, b)
        s["momentum_buffer"] = b
        return w - lr * (g + self.momentum * b if self.nesterov else b)


def Momentum(lr: Rate | None = None, momentum: float = 0.9, **options: Any) -> SGD:
    """`SGD` with momentum: w' = w - lr * b', b' = momentum * b + g."""
    return SGD(momentum=momentum, **with_rate(lr, options))


def Nesterov(lr: Rate | None = None, momentum: float = 0.9, **options: Any) -> SGD:
    """`SGD` with Nesterov's momentum: w' = w - lr * (g + momentum * b'), b' = momentum * b + g."""
    return Momentum(lr, momentum, nesterov=True, **options)
