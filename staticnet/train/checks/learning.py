"""Checks that train for a moment: whether the model can learn, and at which rate."""

from __future__ import annotations

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.explain.diagnosis.measured import place
from staticnet.train.callbacks.rates import LearningRateFinder
from staticnet.train.checks.session import Seen, Session
from staticnet.train.checks.start import constant_loss

EXAMPLES, STEPS = 16, 300
LOWEST, HIGHEST, RATES = 1e-6, 10.0, 60
SLOW = 1e4  # times below the best rate
UNBOUNDED = 1e3


def one_batch(s: Session) -> Seen | None:
    """One small batch must be learned by heart."""
    if s.trainer.optimizer is None or s.trainer.step:
        return None
    batch = s.batch(EXAMPLES)
    best = _constant(s)
    losses = s.trained(batch, STEPS, 0.1 * best if np.isfinite(best) and best > 0 else -np.inf)
    first, last = losses[0], losses[-1]
    saw = (
        f"the loss of {len(batch[0])} examples goes from {first:.4g} to {last:.4g} in "
        f"{len(losses)} steps"
    )
    if best < -UNBOUNDED * max(1.0, abs(first)):
        return Seen(
            "overfit one batch", f"{saw}; constant outputs reach {best:.3g}",
            "the loss falls without end: look at its sign",
        )  # fmt: skip
    if np.isfinite(last) and last < 0.5 * min(first, best if best > 0 else first):
        return Seen("overfit one batch", saw)
    return Seen(
        "overfit one batch", saw,
        "a model that learns gets far below that: look at the learning rate, at dropout, at the "
        "loss's sign, at what sn.diagnose says, and take a larger model",
    )  # fmt: skip


def _constant(s: Session) -> float:
    """The loss of the best constant outputs for the batch that is learned by heart."""
    if s.model is None:
        return np.inf
    batch = s.batch(EXAMPLES)
    outputs = s.model.run(batch[: len(s.x)])
    return constant_loss(s, outputs, batch[len(s.x) :])


def baseline(s: Session) -> Seen | None:
    """A model without its inputs cannot do better than constant outputs; this one must."""
    if s.trainer.optimizer is None or s.model is None:
        return None
    batch = s.batch(EXAMPLES)
    inputs = batch[: len(s.x)]
    with s.unchanged():
        for _ in range(5):
            s.step(*batch)
        real = s.model.run(inputs).astype(np.float64)
        other = s.model.run([np.roll(a, 1, axis=0) for a in inputs]).astype(np.float64)
    moved = float(np.max(np.abs(real - other), initial=0.0))
    size = float(np.max(np.abs(real), initial=0.0))
    saw = f"other inputs change outputs of size {size:.3g} by {moved:.3g}"
    if not np.isfinite(moved) or moved > 1e-6 * max(size, 1e-3):
        return Seen("input-independent baseline", saw)
    return Seen(
        "input-independent baseline", saw,
        "the model does not look at its inputs, and learns no more than the targets' mean: look "
        "for a slice, a mask, a mean or dead units that take them away", *place(s.model.output),
    )  # fmt: skip


def rate(s: Session) -> Seen | None:
    """The learning rate beside those of a range test."""
    trainer = s.trainer
    own = trainer.learning_rate if trainer.optimizer is not None else None
    if trainer.step or own is None:
        return None
    finder = LearningRateFinder(LOWEST, HIGHEST, RATES, update=False)
    before = trainer.source, trainer.batch_size
    trainer.source, trainer.batch_size = s.source, min(s.size, len(s.x[0]))
    try:
        finder.on_fit_start(trainer)
    except ArgumentError:
        return None  # the optimizer's rate cannot be exchanged
    finally:
        trainer.source, trainer.batch_size = before
    rates, losses = np.array(finder.rates), np.array(finder.losses)
    ends = len(losses) < RATES
    if not np.isfinite(losses[:-1]).all() or len(losses) < 3:
        return None
    smooth = np.convolve(np.pad(losses, 2, "edge"), np.full(5, 0.2), "valid")
    best = float(rates[int(np.nanargmin(smooth))])
    saw = f"{own:.3g}; in a range test the loss is least at {best:.3g}"
    if ends:
        saw += f" and breaks out at {rates[-1]:.3g}"
    if ends and own >= rates[-1]:
        return Seen("learning rate", saw, f"steps are too large: try {best / 10:.1g}")
    if own < best / SLOW:
        return Seen("learning rate", saw, f"steps are too small: try {best / 10:.1g}")
    return Seen("learning rate", saw)
