"""Losses that are clipped where they are wrong: what lies beyond a bound gets no gradient.

`clip(prediction - target, -1, 1) ** 2` looks robust and is deaf: an error above 1 has the
derivative 0. Karpathy, "Yes you should understand backprop", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from staticnet.explain.diagnosis.finding import Finding
from staticnet.explain.diagnosis.measured import Measured, place
from staticnet.ir.node import Node

SHARE = 0.005
_BOUNDS = ("maximum", "minimum")


def clipped(m: Measured) -> Iterator[Finding]:
    """Elements of a loss beyond a bound, whose gradient would bring them back and is 0."""
    seen: set[str] = set()
    for node in m.order:
        if node.op.name not in _BOUNDS or node not in m.trained or node in m.hidden:
            continue
        blocked = _blocked(m, node)
        line, module = place(node)
        if blocked > SHARE and line not in seen:
            seen.add(line)
            yield Finding(
                "clipped gradient", line, module,
                f"{blocked:.0%} of the elements are beyond a bound, and the loss would fall if "
                "they came back",
                "beyond a bound the derivative is 0, so the worst errors teach nothing: take a "
                "loss that is linear there (huber_loss), or clip the gradient, not the error", node,
            )  # fmt: skip


def _blocked(m: Measured, node: Node) -> float:
    """The share of elements that a constant bound holds against what the loss wants."""
    x, bound = node.inputs if node.inputs[0] in m.trained else node.inputs[::-1]
    g = m.gradients.get(node)
    if bound in m.trained or g is None or not g.size:
        return 0.0
    below = node.op.name == "maximum"
    value, limit = np.asarray(m.values[x], np.float64), np.asarray(m.values[bound], np.float64)
    beyond = value < limit if below else value > limit
    wrong = beyond & ((g < 0) if below else (g > 0))
    return float(np.mean(wrong))
