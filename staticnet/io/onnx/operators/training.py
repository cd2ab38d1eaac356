"""Training operators: gradients of values of the graph, and optimizers' updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import TRAINING, operator
from staticnet.ir.dtype import is_integer


@operator("Gradient", domain=TRAINING)
def gradient(call: Call, *operands: Any) -> Any:
    """dy / dx for each x of `xs`, where `y` is a value of the graph."""
    xs = [call.scope[name] for name in call.texts("xs") or ()]
    y = call.scope[call.text("y")]
    return tuple(sn.grad(sn.sum(y), xs))


def _each(call: Call, operands: tuple[Any, ...], states: int, f: Callable[..., Any]) -> Any:
    """The updates of all tensors; each kind lies together: xs, gradients, states."""
    rate, step, *rest = operands
    kinds = 2 + states
    if len(rest) % kinds:
        call.fail(f"{len(rest)} tensors are not {kinds} of each kind")
    n = len(rest) // kinds
    rows = [f(rate, step, *rest[i::n]) for i in range(n)]
    return tuple(row[k] for k in range(1 + states) for row in rows)


@operator("Adagrad", domain=TRAINING)
def adagrad(call: Call, *operands: Any) -> Any:
    """x - rate * g / (sqrt(the sum of g**2) + epsilon)."""
    decay, eps = call.number("decay_factor"), call.number("epsilon")
    norm = call.number("norm_coefficient")

    def update(rate: Any, step: Any, x: Any, g: Any, total: Any) -> Any:
        rate = rate / (1 + sn.astype(step, x.dtype) * decay)
        g = x * norm + g
        total = total + g * g
        return x - rate * g / (sn.sqrt(total) + eps), total

    return _each(call, operands, 1, update)


@operator("Momentum", domain=TRAINING)
def momentum(call: Call, *operands: Any) -> Any:
    """x - rate * (a running sum of gradients), or Nesterov's."""
    alpha, beta, norm = (call.number(n) for n in ("alpha", "beta", "norm_coefficient"))
    mode = call.text("mode")
    if mode not in ("standard", "nesterov"):
        call.fail(f"the mode {mode!r:.40} is none of standard, nesterov")

    def update(rate: Any, step: Any, x: Any, g: Any, v: Any) -> Any:
        g = x * norm + g
        own = sn.where(step > 0, beta, 1.0) if is_integer(step.dtype) else beta
        v = v * alpha + g * sn.astype(own, x.dtype)
        return x - rate * (g + v * alpha if mode == "nesterov" else v), v

    return _each(call, operands, 1, update)


@operator("Adam", domain=TRAINING)
def adam(call: Call, *operands: Any) -> Any:
    """x - rate * m / (sqrt(v) + epsilon), of running means m of g and v of g**2."""
    alpha, beta, eps = (call.number(n) for n in ("alpha", "beta", "epsilon"))
    norm, after = call.number("norm_coefficient"), call.number("norm_coefficient_post")

    def update(rate: Any, step: Any, x: Any, g: Any, m: Any, v: Any) -> Any:
        g = x * norm + g
        m, v = m * alpha + g * (1 - alpha), v * beta + g * g * (1 - beta)
        t = sn.astype(step, x.dtype)
        corrected = sn.sqrt(1 - sn.pow(beta, t)) / (1 - sn.pow(alpha, t))
        used = sn.where(t > 0, rate * corrected, rate)
        new = x - used * m / (sn.sqrt(v) + eps)
        return new * (1 - after), m, v

    return _each(call, operands, 2, update)
