"""How large gradients are from layer to layer and from moment to moment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from staticnet.explain.diagnosis.finding import Finding
from staticnet.explain.diagnosis.measured import PRODUCTS, Measured, place, rms
from staticnet.ir.node import Node, describe

VANISHED, EXPLODED = 1e-4, 1e4  # a layer's gradient beside that of the last
LAYERS = 3  # of which fewer are no depth
LOST = float(np.finfo(np.float32).eps)  # what a sum of float32 numbers loses
MOMENTS = 8
_ADDED, _LAID_OUT = ("add", "subtract"), ("reshape", "broadcast_to", "transpose", "cast")


def not_finite(m: Measured) -> Iterator[Finding]:
    """The loss, or a value on the way to it, is no number: the first of them is told."""
    if np.isfinite(m.values[m.loss]).all():
        return
    for node in m.order:
        value = m.values[node]
        if not isinstance(value, tuple) and value.dtype.kind not in "biu":
            wide = value.astype(np.float64)
            if not np.isfinite(wide).all() and all(map(m.is_finite, node.inputs)):
                yield Finding(
                    "not finite", *place(node), f"{describe(node)} is NaN or infinite, and its "
                    "operands are not",
                    "keep log from 0, a quotient from 0 / 0, exp from large numbers: take "
                    "log_softmax, logsumexp or a loss of logits", node,
                )  # fmt: skip
                return


def no_gradient(m: Measured) -> Iterator[Finding]:
    """A parameter's gradient is exactly zero, everywhere."""
    for w in m.parameters:
        g = m.gradients[w]
        if g.size and not g.any() and np.isfinite(m.values[m.loss]).all() and not _cancels(m, w):
            yield Finding(
                "no gradient", *place(w), f"the gradient by {describe(w)} is exactly 0",
                "nothing of the loss comes back to it: look for stop_gradient, argmax, rounding, "
                "comparisons, or dead and saturated units on the way", w,
            )  # fmt: skip


def _cancels(m: Measured, w: Node) -> bool:
    """Whether gradients come to a parameter and their sum is 0: a bias that a difference drops."""
    return any(
        m.gradients[user].any() or (user.op.name in _LAID_OUT and _cancels(m, user))
        for user in m.users.get(w, ())
        if user in m.gradients and user.op.name in (*_ADDED, *_LAID_OUT)
    )


def depth(m: Measured) -> Iterator[Finding]:
    """The gradient shrinks or grows from the last layer to the first."""
    layers = [n for n in m.order if n.op.name in PRODUCTS and n in m.trained and n in m.fed]
    sizes = [m.rms(n) * float(np.sqrt(m.values[n].size)) for n in layers]
    if len(layers) < LAYERS or not all(map(np.isfinite, sizes)) or not sizes[-1]:
        return
    share = sizes[0] / sizes[-1]
    if VANISHED <= share <= EXPLODED:
        return
    worst = _worst(sizes, share < 1)
    seen = (
        f"the gradient by the first of {len(layers)} products is {share:.1e} times that by the "
        f"last; it changes most here, by a factor of {_ratio(sizes, worst):.1e}"
    )
    if share < 1:
        yield Finding(
            "vanishing gradient", *place(layers[worst]), seen,
            "begin with weights of deviation sqrt(2/inputs) (relu) or sqrt(1/inputs) (tanh), take "
            "relu for sigmoid, normalise between layers, or add x to a layer's result",
            layers[worst],
        )  # fmt: skip
    else:
        yield Finding(
            "exploding gradient", *place(layers[worst]), seen,
            "begin with smaller weights (deviation sqrt(2/inputs)), normalise between layers, or "
            "clip the gradient's norm: sn.optim.Clipped, Trainer(clip_norm=1.0)", layers[worst],
        )  # fmt: skip


def _ratio(sizes: list[float], i: int) -> float:
    return sizes[i] / sizes[i + 1] if sizes[i + 1] else 0.0


def _worst(sizes: list[float], shrinks: bool) -> int:
    """The layer whose gradient differs most from the next one's."""
    ratios = [_ratio(sizes, i) for i in range(len(sizes) - 1)]
    return int(np.argmin(ratios) if shrinks else np.argmax(ratios))


def time(m: Measured) -> Iterator[Finding]:
    """The gradient by a loop's state shrinks or grows from the last step to the first."""
    for loop in m.loops:
        found = [m.gradients[z] for z in loop.zeros if m.gradients[z].any()]
        steps = min((len(g) for g in found), default=0)
        if steps < MOMENTS:
            continue
        sizes = np.array([max(rms(g[t]) for g in found) for t in range(steps)])
        backwards = getattr(loop.node.op, "reverse", False)
        yield from _moments(loop.node, sizes[::-1] if backwards else sizes)


def _moments(node: Node, sizes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[Finding]:
    first, top = float(sizes[0]), float(np.max(sizes))
    if not np.isfinite(top) or first > EXPLODED * float(sizes[-1]) > 0:
        yield Finding(
            "exploding gradient in time", *place(node),
            f"the gradient by the state grows from {sizes[-1]:.1e} at the last of {len(sizes)} "
            f"steps to {top:.1e}",
            "begin with an orthogonal recurrent matrix (sn.nn.init.orthogonal), clip the "
            "gradient's norm, or go back over fewer steps", node,
        )  # fmt: skip
    elif first < LOST * top:
        near = int(np.argmax(sizes >= LOST * top))
        yield Finding(
            "vanishing gradient in time", *place(node),
            f"the gradient by the state falls from {top:.1e} to {first:.1e} over {len(sizes)} "
            f"steps; that of the first {near} is lost in float32 sums",
            "take an LSTM with forget biases of 1 or a GRU, an orthogonal recurrent matrix, fewer "
            "steps, or a loss at each step", node,
        )  # fmt: skip
