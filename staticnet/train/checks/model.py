"""Checks of the model: examples that see each other, gradients, and the mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.autodiff import vjp
from staticnet.explain.diagnosis import flow, shapes, units
from staticnet.explain.diagnosis.measured import place
from staticnet.function import function
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import topological
from staticnet.ops.shape import sum as total
from staticnet.train.checks.session import Seen, Session

STUCK = "dead and saturated units"
FEW = 6  # examples whose dependence is looked at


def dependence(s: Session) -> Seen | None:
    """The outputs of one example must not depend on the others: by gradient, and by a change."""
    if s.model is None or len(s.x[0]) < 2:
        return None
    inputs = [a[:FEW] for a in s.sample[: len(s.x)]]
    if s.model.run(inputs).shape[:2] == (len(inputs[0]),) * 2:
        return Seen("dependence across the batch", "outputs are of pairs of examples")
    one, others = next(
        (
            (at, found)
            for at in (0, len(inputs[0]) - 1)  # the first step of a wrong axis sees no other
            if (found := _by_gradient(s, inputs, at) or _by_change(s, inputs, at))
        ),
        (0, []),
    )
    saw = "the outputs of an example in evaluation depend on its own inputs alone"
    if not others:
        return Seen("dependence across the batch", saw)
    return Seen(
        "dependence across the batch",
        f"the outputs of example {one} depend on the inputs of {', '.join(map(str, others))}",
        "reshape keeps no axes apart: take permute_dims to exchange axes, batch_first=True for "
        "[batch, time, …], and reduce along axes other than the first; what is meant to compare "
        "examples belongs into the loss, or gives [batch, batch]", *place(s.model.output),
    )  # fmt: skip


def _by_gradient(s: Session, inputs: list[Any], at: int) -> list[int]:
    assert s.model is not None
    y: Any = s.model.output
    one = total(y[at] * y[at] + y[at])
    x = [node for node in s.model.graph.inputs if is_floating(node.dtype)]
    if not x or not is_floating(one.dtype):
        return []
    slopes = vjp([one], x, [1.0 + 0 * one], allow_unused=True)
    found = function(s.model.graph.inputs, slopes, device="numpy")(*inputs)
    others = [i for i in range(len(inputs[0])) if i != at]
    return [i for i in others if any(np.any(np.asarray(g)[i]) for g in found)]


def _by_change(s: Session, inputs: list[Any], at: int) -> list[int]:
    assert s.model is not None
    before, found = s.model.run(inputs)[at], []
    for i in range(len(inputs[0])):
        moved = [a.copy() for a in inputs]
        for a in moved:
            a[i] = a[at]
        if not np.allclose(s.model.run(moved)[at], before, rtol=1e-4, atol=1e-6):
            found.append(i)
    return found


def gradients(s: Session) -> Seen | None:
    """Parameters that get no gradient, and those that vanish or explode."""
    m = s.measured
    for check in (flow.no_gradient, flow.depth, flow.time, shapes.broadcast):
        for f in check(m):
            return Seen("gradients", f"{f.kind}: {f.seen}", f.remedy, f.line, f.module)
    known = set(topological([m.loss]))
    asked = None if s.trainer._parameters is None else known
    for name, w in s.trainer.model.named_parameters():
        if w.trainable and w not in known and asked is None:
            return Seen(
                "gradients", f"the loss does not depend on {name}",
                "use it in forward, or leave it out of the model", *place(w),
            )  # fmt: skip
    sizes = [m.rms(w) for w in m.parameters]
    told = f"{len(sizes)} parameters have gradients of {min(sizes):.1e} to {max(sizes):.1e}"
    return Seen("gradients", told if sizes else "nothing is trained")


def stuck(s: Session) -> Seen | None:
    """Dead and saturated units."""
    for check in (units.dead_relu, units.saturation):
        for f in check(s.measured):
            return Seen(STUCK, f"{f.kind}: {f.seen}", f.remedy, f.line, f.module)
    return Seen(STUCK, "most units of each layer are alive")


def mode(s: Session) -> Seen | None:
    """Training that is left on in evaluation, or off in training."""
    if s.model is None:
        return None
    off = [name for name, part in s.trainer.model.named_modules() if not part._training]
    if not s.trainer.model._training:
        return Seen(
            "mode", "the model is in evaluation and would be trained so: without dropout, with "
            "fixed statistics", "call model.train() before training",
        )  # fmt: skip
    drawn = [n for n in topological([s.model.output]) if n.op.name == "random_bits"]
    written = [n for n in topological([s.model.output]) if n.op.name == "with_update"]
    for node in (*drawn, *written):
        what = "draws random numbers" if drawn else "updates running statistics"
        return Seen(
            "mode", f"the model in evaluation {what}",
            "pass the mode on: dropout(x, p, training=self.training), batch_norm(…, "
            "training=self.training), or use the layers, and model.eval()", *place(node),
        )  # fmt: skip
    fixed = f"; {len(off)} parts stay in evaluation on purpose" if off else ""
    return Seen("mode", f"training trains, and evaluation draws nothing{fixed}")
