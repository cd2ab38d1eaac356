"""Units that are stuck: saturated sigmoids and tanhs, ReLUs that are zero for every example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from staticnet.control.scan import Scan
from staticnet.explain.diagnosis.finding import Finding
from staticnet.explain.diagnosis.measured import ACTIVATIONS, Measured, activations, place
from staticnet.ir.node import Node, build
from staticnet.ops.base import Item

EDGE = 0.01  # beyond which a sigmoid counts as saturated; of a tanh, 2 * EDGE from ±1
SHARE, SHARE_DEAD = 0.5, 0.25  # of elements that are saturated, of units that are dead
SHARP = 0.9  # of softmaxes that are saturated
FAR = 5.0  # times as far below 0 as living units are from it
_CUTS = ("maximum", "minimum", "where")
EXAMPLES = 8  # fewer do not show that a unit is dead


def saturation(m: Measured) -> Iterator[Finding]:
    """Most elements of a hidden sigmoid, tanh, softmax or bounded unit lie where it is flat."""
    for node, y, hidden in _shown(m):
        if node.op.name not in ("tanh", "sigmoid") or not y.size:
            continue
        low = -1.0 if node.op.name == "tanh" else 0.0
        width = EDGE * (1.0 - low)
        share = float(np.mean((y < low + width) | (y > 1 - width)))
        if share > SHARE and (hidden or _is_wrong(m, node)):
            seen = f"{share:.0%} of {y.size:,} elements are within {width:.2g} of {low:g} or 1"
            yield _saturated(node, seen, f"{node.op.name} is flat there and lets less than 4 %")
    for node in m.order:
        if node in m.hidden and node in m.trained:
            yield from (*_sharp(m, node), *_bounded(m, node))


def _saturated(node: Node, seen: str, flat: str) -> Finding:
    return Finding(
        "saturation", *place(node), seen,
        f"{flat} of a gradient through: scale weights by 1/sqrt(inputs), bring inputs to mean 0 "
        "and deviation 1, or normalise before it", node,
    )  # fmt: skip


def _sharp(m: Measured, node: Node) -> Iterator[Finding]:
    """A softmax, exp(x) times the inverse of its sum, that gives one number nearly all."""
    powers = next((x for x in node.inputs if x.op.name == "exp"), None)
    y = m.values[node]
    if node.op.name not in ("multiply", "divide") or powers is None or not y.size:
        return
    wide = y.astype(np.float64)
    axis = next((i for i in range(y.ndim) if np.allclose(wide.sum(i), 1, atol=1e-3)), None)
    if axis is None or y.shape[axis] < 3:
        return
    share = float(np.mean(wide.max(axis) > 1 - EDGE))
    if share > SHARP:
        seen = f"{share:.0%} of {wide.max(axis).size:,} softmaxes give one of {y.shape[axis]} all"
        yield _saturated(node, seen, "softmax is flat there and lets less than 4 %")


def _bounded(m: Measured, node: Node) -> Iterator[Finding]:
    """A unit that is cut at a bound other than 0, as a hardtanh: most elements lie there."""
    bounds = [b for b in (_bound(m, node), *(_bound(m, x) for x in node.inputs)) if b is not None]
    y = m.values[node]
    if _bound(m, node) is None or any(_bound(m, u) for u in m.users[node]):
        return
    share = float(np.mean(np.isin(y, [b for b in bounds if b])))
    if share > SHARE:
        seen = f"{share:.0%} of {y.size:,} elements are at {' or '.join(f'{b:g}' for b in bounds)}"
        yield _saturated(node, seen, f"{node.op.name} is constant there and lets nothing")


def _bound(m: Measured, node: Node) -> float | None:
    """The number that a node cuts at; None of another node, and of a mask."""
    if node.op.name not in _CUTS:
        return None
    if node.op.name == "where" and node.inputs[0] not in m.trained:
        return None
    of = [m.values[x] for x in node.inputs if x not in m.trained and x not in m.fed]
    return float(np.ravel(of[0])[0]) if len(of) == 1 and np.ptp(of[0]) == 0 else None


def _is_wrong(m: Measured, node: Node) -> bool:
    """Whether an output's loss still asks for another value: confident and right is no fault."""
    g = m.gradients.get(node)
    return g is not None and bool(np.max(np.abs(g), initial=0.0) * m.batch > 0.1)


def dead_relu(m: Measured) -> Iterator[Finding]:
    """Many units of a ReLU are zero for all examples, and far from being anything else."""
    for node, y, _ in _shown(m):
        if not _is_relu(m, node) or y.ndim < 2 or y.size // y.shape[_unit(y)] < EXAMPLES:
            continue
        dead = np.all(y == 0, axis=_others(y))
        if np.mean(dead) > SHARE_DEAD and _is_far(_before(m, node, y), dead):
            seen = f"{np.count_nonzero(dead):,} of {dead.size:,} units are 0 for all examples"
            yield Finding(
                "dead ReLU", *place(node), seen,
                "they get no gradient and stay so: lower the learning rate, begin with biases of 0 "
                "and weights of deviation sqrt(2/inputs), or take leaky_relu", node,
            )  # fmt: skip


def _is_relu(m: Measured, node: Node) -> bool:
    """Whether a node is a ReLU, also one that is written maximum(x, 0)."""
    return node.op.name == "relu" or (node.op.name in _CUTS and _bound(m, node) == 0)


def _before(m: Measured, node: Node, y: Any) -> Any:
    """What a ReLU is of; None in a loop."""
    found = (m.values[x] for x in node.inputs if x in m.trained and x in m.values)
    return next((x for x in found if np.shape(x) == y.shape and x.dtype != bool), None)


def _is_far(x: Any, dead: Any) -> bool:
    """Whether dead units are so by more than the signs of random weights.

    Of inputs that vary little about half of the units are zero for all of them, as far below 0 as
    the others are above. These are farther, or there are too many of them for chance.
    """
    if x is None or dead.all():
        return True
    means = np.asarray(x, np.float64).mean(_others(x))
    chance = float(np.mean(dead)) - 0.5 > 1.5 / np.sqrt(dead.size)
    return chance or -float(np.median(means[dead])) > FAR * float(np.median(np.abs(means[~dead])))


def _unit(y: Any) -> int:
    """The axis of units: the channels of images, else the last."""
    return 1 if y.ndim >= 4 else y.ndim - 1


def _others(y: Any) -> tuple[int, ...]:
    """All axes but that of units."""
    return tuple(i for i in range(y.ndim) if i != _unit(y))


def _shown(m: Measured) -> Iterator[tuple[Node, Any, bool]]:
    """Activations, those in loops too, with their values, and whether they are hidden."""
    for node in m.order:
        if node.op.name in (*ACTIVATIONS, *_CUTS) and node in m.trained and node.shape:
            yield node, m.values[node], node in m.hidden
        if isinstance(node.op, Scan):
            inside = activations(node.op.body)
            first = len(m.values[node]) - len(inside)
            for i, each in enumerate(inside, first):
                yield each, m.values[build(Item(i), (node,))], True
