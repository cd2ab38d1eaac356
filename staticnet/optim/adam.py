"""Adam and its kin: moving averages of the gradient and of its square, bias-corrected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.ir.dtype import FLOAT64
from staticnet.ops.arithmetic import abs, maximum
from staticnet.ops.selection import astype, where
from staticnet.ops.state import Variable
from staticnet.ops.transcendental import expm1, sqrt
from staticnet.optim.base import State, UpdateRule, l2, lerp, with_rate, zeros
from staticnet.optim.numbers import Rate


def bias_correction(beta: float, t: Any) -> Any:
    """1 - beta**t: the share of a moving average, begun at 0, that t values make up.  t: [] -> []

    By way of expm1, since beta rounded to float32 leaves few digits of 1 - 0.999.
    """
    return 1.0 if beta == 0 else -expm1(t * math.log(beta))


def moments(betas: tuple[float, float], g: Any, s: State) -> tuple[Any, Any]:
    """m' = b1 * m + (1 - b1) * g,  v' = b2 * v + (1 - b2) * g*g, kept in `s`.  g: [*s]"""
    beta1, beta2 = betas
    s["exp_avg"] = lerp(s["exp_avg"], g, 1 - beta1)
    s["exp_avg_sq"] = beta2 * s["exp_avg_sq"] + (1 - beta2) * (g * g)
    return s["exp_avg"], s["exp_avg_sq"]


def decay(w: Any, g: Any, lr: Any, weight_decay: float, decoupled: bool) -> tuple[Any, Any]:
    """The parameter shrunk by lr * weight_decay of it, or the gradient with the L2 penalty's.

    w: [*s], g: [*s] -> w: [*s], g: [*s]
    """
    if decoupled and weight_decay:
        return w * (1 - lr * weight_decay), g
    return w, l2(g, w, weight_decay)


def _adam(rule: Adam | AdamW, decoupled: bool, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
    w, g = decay(w, g, lr, rule.weight_decay, decoupled)
    m, v = moments(rule.betas, g, s)
    if rule.amsgrad:
        s["max_exp_avg_sq"] = v = maximum(s["max_exp_avg_sq"], v)
    beta1, beta2 = rule.betas
    # numerator and denominator times the root of v's correction: one division for each element
    scale = sqrt(bias_correction(beta2, t))
    return w - lr * scale / bias_correction(beta1, t) * (m / (sqrt(v) + rule.eps * scale))


def _adam_state(rule: Adam | AdamW, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
    names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if rule.amsgrad else [])]
    return {name: zeros(w) for name in names}


@dataclass(frozen=True)
class Adam(UpdateRule):
    """w' = w - lr * m^ / (sqrt(v^) + eps),  m^ = m' / (1 - b1**t),  v^ = v' / (1 - b2**t).

    m' = b1 * m + (1 - b1) * g,  v' = b2 * v + (1 - b2) * g*g.
    `weight_decay` adds weight_decay * w to g, unless it is decoupled. `amsgrad` takes the
    greatest v' so far for v'.
    Kingma, Ba, "Adam: a method for stochastic optimization", 2015; Reddi, Kale, Kumar, "On the
    convergence of Adam and beyond", 2018.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    amsgrad: bool = False
    decoupled_weight_decay: bool = False

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return _adam_state(self, w)

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        return _adam(self, self.decoupled_weight_decay, w, g, s, lr, t)


@dataclass(frozen=True)
class AdamW(UpdateRule):
    """w' = w * (1 - lr * weight_decay) - lr * m^ / (sqrt(v^) + eps): `Adam`, the decay decoupled.

    Loshchilov, Hutter, "Decoupled weight decay regularization", 2019.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    amsgrad: bool = False

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return _adam_state(self, w)

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        return _adam(self, True, w, g, s, lr, t)


def AMSGrad(lr: Rate | None = None, **options: Any) -> Adam:
    """`Adam` that divides by the greatest second moment so far."""
    return Adam(amsgrad=True, **with_rate(lr, options))


@dataclass(frozen=True)
class Adamax(UpdateRule):
    """w' = w - lr / (1 - b1**t) * m' / u',  u' = max(b2 * u, |g| + eps).

    m' = b1 * m + (1 - b1) * g. `weight_decay` adds weight_decay * w to g.
    Kingma, Ba, "Adam: a method for stochastic optimization", 2015, section 7.
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"exp_avg": zeros(w), "exp_inf": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        beta1, beta2 = self.betas
        g = l2(g, w, self.weight_decay)
        s["exp_avg"] = lerp(s["exp_avg"], g, 1 - beta1)
        s["exp_inf"] = maximum(beta2 * s["exp_inf"], abs(g) + self.eps)
        return w - lr / bias_correction(beta1, t) * (s["exp_avg"] / s["exp_inf"])


@dataclass(frozen=True)
class NAdam(UpdateRule):
    """w' = w - lr * (c * g + d * m') / (sqrt(v^) + eps): Adam with Nesterov's momentum.

    c = (1 - mu) / (1 - M'),  d = mu+ / (1 - M' * mu+),  M' = M * mu, where mu and mu+ are this
    step's and the next's momentum, b1 * (1 - 0.96**(t * momentum_decay) / 2).
    `weight_decay` adds weight_decay * w to g, or if decoupled shrinks w by lr * weight_decay.
    Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"exp_avg": zeros(w), "exp_avg_sq": zeros(w), "mu_product": np.ones((), w.dtype)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        w, g = decay(w, g, lr, self.weight_decay, self.decoupled_weight_decay)
        m, v = moments(self.betas, g, s)
        mu, mu_next = self._momentum(t), self._momentum(t + 1)
        s["mu_product"] = product = s["mu_product"] * mu
        denominator = sqrt(v / bias_correction(self.betas[1], t)) + self.eps
        w = w - lr * (1 - mu) / (1 - product) * (g / denominator)
        return w - lr * mu_next / (1 - product * mu_next) * (m / denominator)

    def _momentum(self, t: Any) -> Any:
        return self.betas[0] * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))


@dataclass(frozen=True)
class RAdam(UpdateRule):
    """w' = w - lr * m^ * r / (sqrt(v^) + eps) where rho > 5, else w - lr * m^.

    r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)),
    rho = rho_inf - 2 * t * b2**t / (1 - b2**t),  rho_inf = 2 / (1 - b2) - 1.
    `weight_decay` adds weight_decay * w to g, or if decoupled shrinks w by lr * weight_decay.
    eps is added before the bias correction of v, as PyTorch has it.
    Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    decoupled_weight_decay: bool = False

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"exp_avg": zeros(w), "exp_avg_sq": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        w, g = decay(w, g, lr, self.weight_decay, self.decoupled_weight_decay)
        m, v = moments(self.betas, g, s)
        direction = m / bias_correction(self.betas[0], t)
        # rho is the difference of two numbers near 2000: float32 could miss the threshold
        certain, rectification = self._rectify(astype(t, FLOAT64))
        scale = astype(rectification, w.dtype) * sqrt(bias_correction(self.betas[1], t))
        return w - lr * direction * where(certain, scale / (sqrt(v) + self.eps), 1.0)

    def _rectify(self, t: Any) -> tuple[Any, Any]:
        """Whether rho > 5, and r there.  t: [] -> bool [], []"""
        beta2 = self.betas[1]
        limit = 2 / (1 - beta2) - 1
        rho = limit - 2 * t * beta2**t / bias_correction(beta2, t)
        certain = rho > 5.0
        rho = where(certain, rho, 5.0)
        share = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        return certain, sqrt(where(certain, share, 1.0))
