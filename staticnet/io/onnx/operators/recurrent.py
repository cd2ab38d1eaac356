"""RNN, GRU and LSTM: the products of all steps at once, then a scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.nn import functional as F

Step = Callable[[Any, Any], Any]
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "relu": sn.relu, "tanh": sn.tanh, "sigmoid": sn.sigmoid, "softsign": F.softsign,
    "softplus": F.softplus,
}  # fmt: skip
_SHAPED: dict[str, tuple[float, float, Callable[[Any, float, float], Any]]] = {
    "affine": (1.0, 0.0, lambda x, a, b: x * a + b),
    "leakyrelu": (0.01, 0.0, lambda x, a, b: F.leaky_relu(x, a)),
    "thresholdedrelu": (1.0, 0.0, lambda x, a, b: sn.where(x > a, x, sn.zeros_like(x))),
    "scaledtanh": (1.0, 1.0, lambda x, a, b: sn.tanh(x * b) * a),
    "hardsigmoid": (0.2, 0.5, lambda x, a, b: sn.clip(x * a + b, 0, 1)),
    "elu": (1.0, 0.0, lambda x, a, b: F.elu(x, a)),
}
"""Activations with the defaults of their alpha and beta."""
_BETA = ("affine", "scaledtanh", "hardsigmoid")
_ALPHA = (*_BETA, "leakyrelu", "thresholdedrelu", "elu")


@dataclass
class Layer:
    """One direction of a layer: transposed weights, biases, first states and activations."""

    w: Any
    r: Any
    wb: Any
    rb: Any
    peephole: Any
    states: list[Any]
    activations: list[Callable[[Any], Any]]
    size: int


@operator("RNN")
def rnn(call: Call, x: Any, w: Any, r: Any, b: Any = None, lens: Any = None, h: Any = None) -> Any:
    """h = f(x W' + h R' + b)."""
    return _run(call, x, w, r, b, lens, [h], None, 1, ["Tanh"], _rnn_step)


@operator("GRU")
def gru(call: Call, x: Any, w: Any, r: Any, b: Any = None, lens: Any = None, h: Any = None) -> Any:
    """Gates z, r and a candidate; h = (1 - z) * candidate + z * h."""
    return _run(call, x, w, r, b, lens, [h], None, 3, ["Sigmoid", "Tanh"], _gru_step)


@operator("LSTM")
def lstm(
    call: Call, x: Any, w: Any, r: Any, b: Any = None, lens: Any = None, h: Any = None,
    c: Any = None, p: Any = None,
) -> Any:  # fmt: skip
    """Gates i, o, f and a candidate; c = f * c + i * candidate, h = o * tanh(c)."""
    names = ["Sigmoid", "Tanh", "Tanh"]
    return _run(call, x, w, r, b, lens, [h, c], p, 4, names, _lstm_step)


def _run(
    call: Call, x: Any, w: Any, r: Any, b: Any, lens: Any, states: list[Any], peephole: Any,
    gates: int, names: list[str], make: Callable[[Call, Layer], Step],
) -> Any:  # fmt: skip
    direction = call.text("direction", "forward")
    counts = {"forward": 1, "reverse": 1, "bidirectional": 2}
    if direction not in counts:
        call.fail(f"the direction {direction!r:.40} is none of {', '.join(counts)}")
    count, is_batch_first = counts[direction], bool(call.attribute("layout"))
    if is_batch_first:
        x = sn.swapaxes(x, 0, 1)
        states = [None if s is None else sn.swapaxes(s, 0, 1) for s in states]
    size, functions = r.shape[-1], _activations(call, names, count)
    ys, lasts = [], []
    for i in range(count):
        bias = sn.zeros((2 * gates * size,), x.dtype) if b is None else b[i]
        first = [sn.zeros((x.shape[1], size), x.dtype) if s is None else s[i] for s in states]
        layer = Layer(
            sn.matrix_transpose(w[i]), sn.matrix_transpose(r[i]), bias[: gates * size],
            bias[gates * size :], None if peephole is None else peephole[i], first,
            functions[i], size,
        )  # fmt: skip
        y, last = _direction(x, lens, layer, make(call, layer), i == 1 or direction == "reverse")
        ys.append(y)
        lasts.append(last)
    y = sn.stack(ys, 1)
    ends = [sn.stack(list(column)) for column in zip(*lasts, strict=True)]
    if is_batch_first:
        return (sn.permute_dims(y, (2, 0, 1, 3)), *(sn.swapaxes(e, 0, 1) for e in ends))
    return (y, *ends)


def _direction(x: Any, lens: Any, layer: Layer, step: Step, is_reverse: bool) -> Any:
    """The states of all steps [t, n, h], and the last ones, in one direction."""
    time = sn.arange(x.shape[0])
    if is_reverse:
        x = _reversed(x, lens)
    product = sn.matmul(x, layer.w) + layer.wb

    def advance(carry: Any, row: Any) -> Any:
        t, gates = row
        new = step(carry, gates)
        if lens is None:
            return new, new[0]
        alive = sn.expand_dims(t < sn.astype(lens, sn.int64), -1)
        kept = [sn.where(alive, a, b) for a, b in zip(new, carry, strict=True)]
        return kept, sn.where(alive, new[0], sn.zeros_like(new[0]))

    last, y = sn.scan(advance, layer.states, (time, product))
    return (_reversed(y, lens) if is_reverse else y), last


def _reversed(x: Any, lens: Any) -> Any:
    """Each example's steps in the other order, those behind its length where they are."""
    if lens is None:
        return sn.flip(x, 0)
    time = sn.expand_dims(sn.arange(x.shape[0]), 1)
    ends = sn.expand_dims(sn.astype(lens, sn.int64), 0)
    index = sn.expand_dims(sn.where(time < ends, ends - 1 - time, time), -1)
    return sn.take_along_axis(x, sn.broadcast_to(index, x.shape), axis=0)


def _clipped(call: Call) -> Callable[[Any], Any]:
    limit = call.number("clip")
    return (lambda x: x) if limit is None else (lambda x: sn.clip(x, -limit, limit))


def _rnn_step(call: Call, layer: Layer) -> Step:
    (f,), cut = layer.activations, _clipped(call)
    return lambda states, gates: [f(cut(gates + sn.matmul(states[0], layer.r) + layer.rb))]


def _gru_step(call: Call, layer: Layer) -> Step:
    (f, g), n, cut = layer.activations, layer.size, _clipped(call)
    is_late = bool(call.integer("linear_before_reset"))
    r, rb = layer.r, layer.rb

    def step(states: Any, gates: Any) -> Any:
        (h,) = states
        both = gates[:, : 2 * n] + sn.matmul(h, r[:, : 2 * n]) + rb[: 2 * n]
        z, reset = f(cut(both[:, :n])), f(cut(both[:, n:]))
        if is_late:
            own = reset * (sn.matmul(h, r[:, 2 * n :]) + rb[2 * n :])
        else:
            own = sn.matmul(reset * h, r[:, 2 * n :]) + rb[2 * n :]
        candidate = g(cut(gates[:, 2 * n :] + own))
        return [(1 - z) * candidate + z * h]

    return step


def _lstm_step(call: Call, layer: Layer) -> Step:
    (f, g, h_), n, cut = layer.activations, layer.size, _clipped(call)
    is_coupled, p = bool(call.integer("input_forget")), layer.peephole
    pi, po, pf = (None,) * 3 if p is None else (p[:n], p[n : 2 * n], p[2 * n :])

    def peeped(x: Any, weight: Any, c: Any) -> Any:
        return x if weight is None else x + weight * c

    def step(states: Any, gates: Any) -> Any:
        h, c = states
        sums = gates + sn.matmul(h, layer.r) + layer.rb
        i, o, forget, new = (sums[:, k * n : (k + 1) * n] for k in range(4))
        i = f(cut(peeped(i, pi, c)))
        forget = 1 - i if is_coupled else f(cut(peeped(forget, pf, c)))
        c = forget * c + i * g(cut(new))
        return [f(cut(peeped(o, po, c))) * h_(c), c]

    return step


def _activations(call: Call, names: list[str], count: int) -> list[list[Callable[[Any], Any]]]:
    """The activations of each direction; alphas and betas go to those that have some."""
    given = call.attribute("activations") if call.has("activations") else names * count
    if len(given) != len(names) * count:
        call.fail(f"{len(given)} activations are given and {len(names) * count} needed")
    alphas, betas = (iter(call.floats(f"activation_{x}") or ()) for x in ("alpha", "beta"))
    made = [_activation(call, name.lower(), alphas, betas) for name in given]
    return [made[i * len(names) : (i + 1) * len(names)] for i in range(count)]


def _activation(call: Call, name: str, alphas: Any, betas: Any) -> Callable[[Any], Any]:
    if name in _PLAIN:
        return _PLAIN[name]
    if name not in _SHAPED:
        call.fail(f"there is no activation {name!r:.40}")
    alpha, beta, f = _SHAPED[name]
    alpha = next(alphas, alpha) if name in _ALPHA else alpha
    beta = next(betas, beta) if name in _BETA else beta
    return lambda x: f(x, alpha, beta)
