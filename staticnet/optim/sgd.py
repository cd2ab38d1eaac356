"""Gradient descent: plain, with momentum, with Nesterov's momentum, averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops.arithmetic import maximum
from staticnet.ops.selection import where
from staticnet.ops.state import Variable
from staticnet.optim.base import State, UpdateRule, l2, with_rate, zeros
from staticnet.optim.numbers import Rate


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


@dataclass(frozen=True)
class ASGD(UpdateRule):
    """w' = w * (1 - lambd * eta) - eta * g,  eta = lr / (1 + lambd * lr * t)**alpha after t steps.

    The state `ax` is what it is for: the mean of w' from step t0 on, ax' = ax + mu * (w' - ax) with
    mu = 1 / max(1, t - t0); before, w' itself. `weight_decay` adds weight_decay * w to g.
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the rates are
    those of Bottou, "Stochastic gradient descent tricks", 2012. A rate that changes is that of the
    step before, as PyTorch has it.
    """

    lr: Rate = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"ax": zeros(w), "eta": np.zeros((), w.dtype), "mu": np.ones((), w.dtype)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        g = l2(g, w, self.weight_decay)
        eta, mu = where(t == 1, lr, s["eta"]), s["mu"]
        w = w * (1 - self.lambd * eta) - eta * g
        s["ax"] = where(mu == 1, w, s["ax"] + mu * (w - s["ax"]))
        s["eta"] = lr / (1 + self.lambd * lr * t) ** self.alpha
        s["mu"] = 1 / maximum(t - self.t0, 1.0)
        return w
