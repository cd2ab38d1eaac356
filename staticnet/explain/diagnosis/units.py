"""Units that are stuck: saturated sigmoids and tanhs, ReLUs that are zero for every example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from staticnet.control.scan import Scan
from staticnet.explain.diagnosis.finding import Finding
from staticnet.explain.diagnosis.measured import Measured, activations, place
from staticnet.ir.node import Node, build
from staticnet.ops.base import Item

EDGE = 0.01  # beyond which a sigmoid counts as saturated; of a tanh, 2 * EDGE from ±1
SHARE = 0.5  # of elements that are saturated, or of units that are dead
EXAMPLES = 8  # fewer do not show that a unit is dead


def saturation(m: Measured) -> Iterator[Finding]:
    """Most elements of a hidden sigmoid or tanh lie where it is flat."""
    for node, y, hidden in _shown(m):
        if node.op.name == "relu" or not y.size:
            continue
        low = -1.0 if node.op.name == "tanh" else 0.0
        width = EDGE * (1.0 - low)
        share = float(np.mean((y < low + width) | (y > 1 - width)))
        if share > SHARE and (hidden or _is_wrong(m, node)):
            seen = f"{share:.0%} of {y.size:,} elements are within {width:.2g} of {low:g} or 1"
            yield Finding(
                "saturation", *place(node), seen,
                f"{node.op.name} is flat there and lets less than 4 % of a gradient through: scale "
                "weights by 1/sqrt(inputs), bring inputs to mean 0 and deviation 1, or normalise "
                "before it", node,
            )  # fmt: skip


def _is_wrong(m: Measured, node: Node) -> bool:
    """Whether an output's loss still asks for another value: confident and right is no fault."""
    g = m.gradients.get(node)
    return g is not None and bool(np.max(np.abs(g), initial=0.0) * m.batch > 0.1)


def dead_relu(m: Measured) -> Iterator[Finding]:
    """Most units of a ReLU are zero for all examples."""
    for node, y, _ in _shown(m):
        if node.op.name != "relu" or y.ndim < 2 or y.size // y.shape[_unit(y)] < EXAMPLES:
            continue
        others = tuple(i for i in range(y.ndim) if i != _unit(y))
        dead = np.all(y == 0, axis=others)
        if np.mean(dead) > SHARE:
            seen = f"{np.count_nonzero(dead):,} of {dead.size:,} units are 0 for all examples"
            yield Finding(
                "dead ReLU", *place(node), seen,
                "they get no gradient and stay so: lower the learning rate, begin with biases of 0 "
                "and weights of deviation sqrt(2/inputs), or take leaky_relu", node,
            )  # fmt: skip


def _unit(y: Any) -> int:
    """The axis of units: the channels of images, else the last."""
    return 1 if y.ndim >= 4 else y.ndim - 1


def _shown(m: Measured) -> Iterator[tuple[Node, Any, bool]]:
    """Activations, those in loops too, with their values, and whether they are hidden."""
    for node in m.order:
        if node.op.name in ("tanh", "sigmoid", "relu") and node in m.trained and node.shape:
            yield node, m.values[node], node in m.hidden
        if isinstance(node.op, Scan):
            inside = activations(node.op.body)
            first = len(m.values[node]) - len(inside)
            for i, each in enumerate(inside, first):
                yield each, m.values[build(Item(i), (node,))], True
