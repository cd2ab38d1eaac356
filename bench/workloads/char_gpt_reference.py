"""A GPT's loss and its gradients by hand, in NumPy.

A layer's function gives its value and the function from the value's gradient to the operand's,
which adds the gradients of the weights into `grads`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.program import Array, Arrays

Backward = Callable[[Array], Array]
Layer = tuple[Array, Backward]
SLOPE, CUBIC = np.sqrt(2 / np.pi), 0.044715


def gradients(p: Arrays, layers: int, heads: int, x: Array, y: Array) -> tuple[float, Arrays]:
    """The loss and the gradients of all weights.  x, y: [n, t]"""
    grads = {name: np.zeros_like(value) for name, value in p.items()}
    h, way = p["wte.weight"][x] + p["wpe.weight"][: x.shape[1]], []
    for i in range(layers):
        for part in (_attention, _network):
            change, back = part(p, grads, f"blocks.{i}", heads, h)
            h = h + change
            way.append(back)
    h, norm_back = _norm(p, grads, "ln_f", h)
    logits = h @ p["wte.weight"].T
    g = np.exp(logits - logits.max(2, keepdims=True))
    g /= g.sum(2, keepdims=True)
    chosen = np.take_along_axis(g, y[..., None], 2)
    np.put_along_axis(g, y[..., None], chosen - 1, 2)
    g /= y.size
    grads["wte.weight"] += np.einsum("nto,nti->oi", g, h, optimize=True)
    g = norm_back(g @ p["wte.weight"])
    for back in reversed(way):
        g = g + back(g)
    np.add.at(grads["wte.weight"], x, g)
    grads["wpe.weight"][: x.shape[1]] += g.sum(0)
    return -float(np.mean(np.log(chosen))), grads


def _linear(p: Arrays, grads: Arrays, name: str, x: Array) -> Layer:
    w = p[f"{name}.weight"]

    def back(g: Array) -> Array:
        grads[f"{name}.weight"] += np.einsum("nto,nti->oi", g, x, optimize=True)
        grads[f"{name}.bias"] += g.sum((0, 1))
        return g @ w

    return x @ w.T + p[f"{name}.bias"], back


def _norm(p: Arrays, grads: Arrays, name: str, x: Array) -> Layer:
    root = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    scaled = (x - x.mean(-1, keepdims=True)) / root
    w = p[f"{name}.weight"]

    def back(g: Array) -> Array:
        grads[f"{name}.weight"] += (g * scaled).sum((0, 1))
        grads[f"{name}.bias"] += g.sum((0, 1))
        g = g * w
        along = scaled * (g * scaled).mean(-1, keepdims=True)
        return (g - g.mean(-1, keepdims=True) - along) / root

    return scaled * w + p[f"{name}.bias"], back


def _network(p: Arrays, grads: Arrays, name: str, heads: int, x: Array) -> Layer:
    x, norm_back = _norm(p, grads, f"{name}.ln_2", x)
    z, up_back = _linear(p, grads, f"{name}.up", x)
    bent = np.tanh(SLOPE * (z + CUBIC * z**3))
    y, down_back = _linear(p, grads, f"{name}.down", 0.5 * z * (1 + bent))

    def back(g: Array) -> Array:
        inner = SLOPE * (1 + 3 * CUBIC * z**2)
        slope = 0.5 * (1 + bent) + 0.5 * z * (1 - bent**2) * inner
        return norm_back(up_back(down_back(g) * slope))

    return y, back


def _attention(p: Arrays, grads: Arrays, name: str, heads: int, x: Array) -> Layer:
    n, t, d = x.shape
    x, norm_back = _norm(p, grads, f"{name}.ln_1", x)
    parts, qkv_back = _linear(p, grads, f"{name}.qkv", x)
    q, k, v = parts.reshape(n, t, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
    scale = (d // heads) ** -0.5
    scores = np.where(np.tri(t, dtype=bool), scale * q @ k.swapaxes(2, 3), -np.inf)
    share = np.exp(scores - scores.max(3, keepdims=True))
    share /= share.sum(3, keepdims=True)
    y = (share @ v).swapaxes(1, 2).reshape(n, t, d)
    y, projection_back = _linear(p, grads, f"{name}.projection", y)

    def back(g: Array) -> Array:
        g = projection_back(g).reshape(n, t, heads, d // heads).swapaxes(1, 2)
        by_share = g @ v.swapaxes(2, 3)
        by_score = share * (by_share - (by_share * share).sum(3, keepdims=True)) * scale
        parts = np.stack([by_score @ k, by_score.swapaxes(2, 3) @ q, share.swapaxes(2, 3) @ g])
        return norm_back(qkv_back(parts.transpose(1, 3, 0, 2, 4).reshape(n, t, 3 * d)))

    return y, back
