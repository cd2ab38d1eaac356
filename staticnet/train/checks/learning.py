"""Checks that train for a moment: whether the model can learn, and at which rate."""

from __future__ import annotations

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.explain.diagnosis.measured import place
from staticnet.train.callbacks.rates import LearningRateFinder
from staticnet.train.checks.least import constant, free
from staticnet.train.checks.session import Array, Seen, Session, is_falling

EXAMPLES = 16
LOWEST, HIGHEST, RATES = 1e-6, 10.0, 60
SLOW = 300.0  # times below the rate at which the loss begins to fall
UNBOUNDED = 1e3


def one_batch(s: Session) -> Seen | None:
    """One small batch must be learned by heart: what is left is in the targets."""
    if s.trainer.optimizer is None or s.trainer.step:
        return None
    batch = s.batch(EXAMPLES)
    best, floor = _least(s, batch)
    losses = s.trained(batch, floor + 0.1 * (best - floor))
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
    if np.isfinite(floor) and floor > 0.01 * best:
        saw += f"; no outputs have less than {floor:.4g}"
    if np.isfinite(last) and (
        _is_learned(first, last, best, floor) or (last < 0.9 * best and is_falling(losses, floor))
    ):
        return Seen("overfit one batch", saw)
    return Seen(
        "overfit one batch", saw,
        "a model that learns gets far below that: look at the learning rate, at dropout, at the "
        "loss's sign, at what sn.diagnose says, and take a larger model",
    )  # fmt: skip


def _is_learned(first: float, last: float, best: float, floor: float) -> bool:
    """Whether the loss is nearer to its least than to that of constants, and to its first."""
    if np.isfinite(best) and np.isfinite(floor):
        gone = last - floor
        return gone < 0.5 * (min(first, best) - floor) or gone < 0.02 * (first - floor)
    return last < min(first - 0.05 * abs(first), best)


def _least(s: Session, batch: list[Array]) -> tuple[float, float]:
    """The least loss of a batch with constant outputs, and with any; infinite if not known."""
    if s.model is None:
        return np.inf, -np.inf
    outputs, targets = s.model.run(batch[: len(s.x)]), batch[len(s.x) :]
    best, floor = (least(s, outputs, targets).loss for least in (constant, free))
    return best, floor if floor > -UNBOUNDED else -np.inf


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
    falls = smooth < smooth[0] - 0.1 * (smooth[0] - smooth.min())
    if own < rates[int(np.argmax(falls))] / SLOW:
        return Seen("learning rate", saw, f"steps are too small: try {best / 10:.1g}")
    return Seen("learning rate", saw)
