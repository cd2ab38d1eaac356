"""Rules that see a parameter as a matrix: Adafactor's factored moments, Muon's orthogonal steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.node import describe
from staticnet.ops.arguments import as_int
from staticnet.ops.arithmetic import maximum, minimum
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.reduction import mean
from staticnet.ops.shape import sum
from staticnet.ops.state import Variable
from staticnet.ops.transcendental import rsqrt, sqrt
from staticnet.optim.base import State, UpdateRule, lerp, zeros
from staticnet.optim.numbers import Rate, checked_number


@dataclass(frozen=True)
class Adafactor(UpdateRule):
    """w' = (1 - lr * weight_decay) * w - a * u / max(1, rms(u) / d),  u = g / sqrt(v).

    Of a matrix v = r c / mean(r) is kept as the moving means r, c of the squared rows and columns,
    of a vector as itself; the weight of the newest is t**beta2_decay. a = max(eps[1], rms(w)) *
    min(lr, 1 / sqrt(t)), and v is at least eps[0]**2, by default the dtype's epsilon squared.
    Shazeer, Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018; names,
    defaults and rule are PyTorch's.

    Raises:
        ArgumentError: if a hyper-parameter is out of its range.
    """

    lr: Rate = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.eps, tuple | list) or len(self.eps) != 2:
            raise ArgumentError(f"Adafactor: eps must be two numbers, not {self.eps!r:.60}")
        for value in self.eps:
            if value is not None:
                checked_number("Adafactor", "eps", value)
        if not self.beta2_decay <= 0:
            raise ArgumentError(
                f"Adafactor: beta2_decay must be <= 0, not {self.beta2_decay!r:.60}"
            )
        if not self.d >= 1:
            raise ArgumentError(f"Adafactor: d must be >= 1, not {self.d!r:.60}")

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        if w.ndim < 2:
            return {"variance": zeros(w)}
        *above, n, m = (int(length) for length in w.shape)
        return {
            "row_var": np.zeros((*above, n, 1), w.dtype),
            "col_var": np.zeros((*above, 1, m), w.dtype),
        }

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        newest = t**self.beta2_decay
        least = float(np.finfo(w.dtype).eps) if self.eps[0] is None else float(self.eps[0])
        if w.ndim < 2:
            s["variance"] = v = lerp(s["variance"], g * g, newest)
        else:
            s["row_var"] = row = lerp(s["row_var"], mean(g * g, -1, keepdims=True), newest)
            s["col_var"] = col = lerp(s["col_var"], mean(g * g, -2, keepdims=True), newest)
            v = row * col / maximum(mean(row, -2, keepdims=True), least)
        u = g * rsqrt(maximum(v, least * least))
        rate = maximum(_rms(w), self.eps[1]) * minimum(lr, 1 / sqrt(t))
        w = w if self.weight_decay == 0 else w * (1 - lr * self.weight_decay)
        return w - rate / maximum(_rms(u) / self.d, 1.0) * u


def _rms(x: Any) -> Any:
    """The root of the mean square.  x: [*s] -> []"""
    return sqrt(mean(x * x))


@dataclass(frozen=True)
class Muon(UpdateRule):
    """w' = (1 - lr * weight_decay) * w - lr * k * O(u): momentum, made an orthogonal matrix.

    O is `ns_steps` iterations x <- a x + (b A + c A A) x, A = x x^T, from x of norm 1, with (a, b,
    c) `ns_coefficients`. k is sqrt(max(1, n / m)), or with adjust_lr_fn="match_rms_adamw"
    0.2 * sqrt(max(n, m)). It is for matrices [n, m]; give biases and embeddings to another rule:

        groups = [{"params": matrices}, {"params": others, "optimizer": sn.optim.AdamW(1e-3)}]
        updates = sn.optim.Muon(0.02).minimize(loss, groups)

    The iterations are in at least float32, where PyTorch takes bfloat16.
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; names and
    defaults are PyTorch's.

    Raises:
        ArgumentError: if a hyper-parameter is out of its range.
        ShapeError: if a parameter is no matrix.
    """

    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        as_int(self.ns_steps, "Muon: ns_steps", 0, 99, "an int in [0, 100)")
        if not isinstance(self.ns_coefficients, tuple | list) or len(self.ns_coefficients) != 3:
            raise ArgumentError(
                f"Muon: ns_coefficients must be three numbers, not {self.ns_coefficients!r:.60}"
            )
        if self.adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ArgumentError(
                "Muon: adjust_lr_fn must be None, 'original' or 'match_rms_adamw', not "
                f"{self.adjust_lr_fn!r:.60}"
            )

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        if w.ndim != 2:
            raise ShapeError(
                f"Muon: takes matrices, and {describe(w)} is none; give those a rule of their own, "
                "as minimize(loss, [{'params': matrices}, {'params': others, 'optimizer': Adam()}])"
            )
        return {"momentum_buffer": zeros(w)}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        s["momentum_buffer"] = b = lerp(s["momentum_buffer"], g, 1 - self.momentum)
        u = self._orthogonal(lerp(g, b, self.momentum) if self.nesterov else b)
        n, m = (int(length) for length in w.shape)
        factor = math.sqrt(max(1, n / m))
        if self.adjust_lr_fn == "match_rms_adamw":
            factor = 0.2 * math.sqrt(max(n, m))
        return w * (1 - lr * self.weight_decay) - lr * factor * u

    def _orthogonal(self, x: Any) -> Any:
        """Newton's and Schulz' iterations.  x: [n, m] -> [n, m]"""
        a, b, c = (float(each) for each in self.ns_coefficients)
        tall = x.shape[0] > x.shape[1]
        x = matrix_transpose(x) if tall else x
        x = x / maximum(sqrt(sum(x * x)), self.eps)
        for _ in range(self.ns_steps):
            gram = matmul(x, matrix_transpose(x))
            x = a * x + matmul(b * gram + c * matmul(gram, gram), x)
        return matrix_transpose(x) if tall else x
