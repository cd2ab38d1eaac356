"""Made for large models and batches: Lion's sign and LAMB's trust ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.ops.arithmetic import sign
from staticnet.ops.selection import where
from staticnet.ops.shape import sum
from staticnet.ops.state import Variable
from staticnet.ops.transcendental import sqrt
from staticnet.optim.adam import bias_correction, moments
from staticnet.optim.base import State, UpdateRule, zeros
from staticnet.optim.numbers import Rate


@dataclass(frozen=True)
class Lion(UpdateRule):
    """w' = w - lr * (sign(b1 * m + (1 - b1) * g) + weight_decay * w),  m' = b2 * m + (1 - b2) * g.

    Chen et al., "Symbolic discovery of optimization algorithms", 2023; defaults as Optax's.
    """

    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-3

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"exp_avg": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        beta1, beta2 = self.betas
        m = s["exp_avg"]
        s["exp_avg"] = beta2 * m + (1 - beta2) * g
        return w - lr * (sign(beta1 * m + (1 - beta1) * g) + self.weight_decay * w)


@dataclass(frozen=True)
class LAMB(UpdateRule):
    """w' = w - lr * |w| / |u| * u,  u = m^ / (sqrt(v^ + eps_root) + eps) + weight_decay * w.

    m^ and v^ are Adam's; the norms are the whole parameter's, and their ratio is 1 if one is 0.
    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020;
    defaults as Optax's.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0
    eps_root: float = 0

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        return {"exp_avg": zeros(w), "exp_avg_sq": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        beta1, beta2 = self.betas
        m, v = moments(self.betas, g, s)
        root = sqrt(v / bias_correction(beta2, t) + self.eps_root)
        u = m / bias_correction(beta1, t) / (root + self.eps) + self.weight_decay * w
        size, length = sqrt(sum(w * w)), sqrt(sum(u * u))
        defined = (size > 0) & (length > 0)
        trust = where(defined, size / where(defined, length, 1.0), 1.0)
        return w - lr * trust * u
