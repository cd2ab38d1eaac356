"""Shapes that broadcast where they should match, and gradients written by hand that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from staticnet.explain.diagnosis.finding import Finding
from staticnet.explain.diagnosis.measured import Measured, place
from staticnet.ir.node import Node, describe, topological
from staticnet.ops.base import Elementwise

_SAME = 0.99  # the least cosine of a gradient by hand and the loss's own


def broadcast(m: Measured) -> Iterator[Finding]:
    """A prediction and a target that are repeated along each other's axes."""
    for node in m.order:
        if not isinstance(node.op, Elementwise) or len(node.inputs) != 2 or node in m.hidden:
            continue
        x, y = node.inputs
        pair = {a in m.trained for a in (x, y)} == {True, False} and x in m.fed and y in m.fed
        size = int(np.prod(np.shape(m.values[node])))
        if pair and size > max(np.size(m.values[x]), np.size(m.values[y])) > 1:
            yield Finding(
                "wrong broadcast", *place(node),
                f"{describe(x)} with {describe(y)} gives {node.type}: each prediction meets each "
                "target",
                "give both one shape before they meet: squeeze the prediction's last axis, or "
                "reshape the target", node,
            )  # fmt: skip


def bias(m: Measured) -> Iterator[Finding]:
    """A parameter with an element for each example: [n, 1], whose gradient is not summed, or [n].

    [n, 1] + [n] is [n, n], and its gradient a sum over the wrong axis.
    """
    for node in m.order:
        if node.op.name not in ("add", "subtract", "multiply") or m.batch < 2:
            continue
        for w, x in (node.inputs, node.inputs[::-1]):
            own = w in m.trained and w not in m.fed and x in m.fed
            shape = np.shape(m.values[w])
            if own and shape == (m.batch,) and np.shape(m.values[x]) == (m.batch, 1):
                yield Finding(
                    "wrong broadcast", *place(node),
                    f"{describe(w)} with {describe(x)} gives {node.type}: each of its elements "
                    "meets each example, and its gradient is a sum over all of them",
                    "give it the shape of one example, [1], so that it broadcasts along the batch",
                    node,
                )  # fmt: skip
            elif own and len(shape) == len(np.shape(m.values[node])) > 1 and shape[0] == m.batch:
                yield Finding(
                    "wrong broadcast", *place(node),
                    f"{describe(w)} has an element for each of the {m.batch} examples: its "
                    "gradient is not summed over the batch",
                    f"give it the shape of one example, {list(shape[1:])}, so that it broadcasts "
                    "along the batch", node,
                )  # fmt: skip


def by_hand(m: Measured) -> Iterator[Finding]:
    """A parameter's update, written without sn.grad, that does not go down the loss's gradient."""
    for w, following in m.updates.items():
        if w not in m.gradients or _is_derived(following):
            continue
        moved = np.asarray(m.values[following], np.float64) - np.asarray(m.values[w], np.float64)
        g = np.asarray(m.gradients[w], np.float64)
        if not moved.any() or not g.any() or not np.isfinite(moved).all():
            continue
        cosine = float(-np.vdot(moved, g) / (np.linalg.norm(moved) * np.linalg.norm(g)))
        if cosine < _SAME:
            axes = [i for i in range(g.ndim) if _is_repeated(moved, i) and not _is_repeated(g, i)]
            told = (
                f"; it is one number along axis {axes[0]}, a sum that was broadcast" if axes else ""
            )
            yield Finding(
                "wrong broadcast" if axes else "wrong gradient", *place(following),
                f"the update of {describe(w)} has the cosine {cosine:.2f} with the loss's negative "
                f"gradient{told}",
                "sum the gradient over the axes along which the parameter was repeated, and no "
                "others, or take sn.grad(loss, [w])", following,
            )  # fmt: skip


def _is_repeated(x: np.ndarray[Any, Any], axis: int) -> bool:
    return x.shape[axis] > 1 and bool(np.ptp(x, axis=axis).max() <= 1e-6 * np.abs(x).max())


def _is_derived(node: Node) -> bool:
    made = (each for each in topological([node]) if not each.is_constant)
    return any(each.provenance.made_by == "gradient" for each in made)
