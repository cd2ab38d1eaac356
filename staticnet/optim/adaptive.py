"""Rates per element from the history of squared gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.ops.state import Variable
from staticnet.ops.transcendental import sqrt
from staticnet.optim.base import State, UpdateRule, full, l2, lerp, zeros
from staticnet.optim.numbers import Rate


@dataclass(frozen=True)
class Adagrad(UpdateRule):
    """w' = w - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(v') + eps),  v' = v + g*g.

    `weight_decay` adds weight_decay * w to g. v starts at `initial_accumulator_value`.
    Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011.
    """

    lr: Rate = 1e-2
    lr_decay: float = 0
    weight_decay: float = 0
    initial_accumulator_value: float = 0
    eps: float = 1e-10

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"sum": full(w, self.initial_accumulator_value)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        g = l2(g, w, self.weight_decay)
        s["sum"] = s["sum"] + g * g
        rate = lr / (1 + (t - 1) * self.lr_decay) if self.lr_decay else lr
        return w - rate * (g / (sqrt(s["sum"]) + self.eps))


@dataclass(frozen=True)
class Adadelta(UpdateRule):
    """w' = w - lr * d,  d = g * sqrt(u + eps) / sqrt(v' + eps).

    v' = rho * v + (1 - rho) * g*g,  u' = rho * u + (1 - rho) * d*d.
    `weight_decay` adds weight_decay * w to g.
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"square_avg": zeros(w), "acc_delta": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        g = l2(g, w, self.weight_decay)
        s["square_avg"] = v = self.rho * s["square_avg"] + (1 - self.rho) * (g * g)
        u = s["acc_delta"]
        d = sqrt(u + self.eps) / sqrt(v + self.eps) * g
        s["acc_delta"] = self.rho * u + (1 - self.rho) * (d * d)
        return w - lr * d


@dataclass(frozen=True)
class RMSprop(UpdateRule):
    """w' = w - lr * g / (sqrt(v') + eps),  v' = alpha * v + (1 - alpha) * g*g.

    `centered` subtracts the square of g's moving average from v'. `momentum` moves w by
    lr * b', b' = momentum * b + g / (sqrt(v') + eps). `weight_decay` adds weight_decay * w to g.
    Tieleman, Hinton, lecture 6.5 of "Neural networks for machine learning", 2012; centered as in
    Graves, "Generating sequences with recurrent neural networks", 2013.
    """

    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0
    momentum: float = 0
    centered: bool = False

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        names = ["square_avg"]
        names += ["momentum_buffer"] if self.momentum else []
        names += ["grad_avg"] if self.centered else []
        return {name: zeros(w) for name in names}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        g = l2(g, w, self.weight_decay)
        s["square_avg"] = v = self.alpha * s["square_avg"] + (1 - self.alpha) * (g * g)
        if self.centered:
            s["grad_avg"] = mean = lerp(s["grad_avg"], g, 1 - self.alpha)
            v = v - mean * mean
        d = g / (sqrt(v) + self.eps)
        if self.momentum:
            s["momentum_buffer"] = d = self.momentum * s["momentum_buffer"] + d
        return w - lr * d
