"""Checks of the loss at the start, and of what it expects of the outputs."""

from __future__ import annotations

import numpy as np

from staticnet.explain.diagnosis.measured import place
from staticnet.train.checks.least import Least, constant
from staticnet.train.checks.session import Array, Seen, Session

CONSTANTS = 1 << 18  # outputs for which the best constant ones are looked for
FREQUENT = 10.0  # of the most frequent class to the rarest, beyond which they are counts
NEAR = 2.5  # constant outputs so far from 0 are found in some steps
BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf)}


def initial_loss(s: Session) -> Seen | None:
    """The loss before training beside that of the best constant outputs."""
    if s.model is None or s.outputs is None or s.trainer.step:
        return None
    targets = s.sample[len(s.x) :]
    found, _ = s.model.loss(s.outputs, targets)
    best = constant(s, s.outputs, targets)
    if not np.isfinite(found):
        return Seen(
            "initial loss", f"the loss is {found}",
            "look at it with sn.diagnose: it names the first value that is no number",
        )  # fmt: skip
    saw = f"{found:.4g}; the best constant outputs have {best.loss:.4g}"
    many = s.targets(max(1, CONSTANTS // max(1, s.outputs[:1].size)))
    if len(many[0]) > len(targets[0]):
        whole = constant(s, s.outputs, many).loss
        saw += f" on {len(targets[0])} examples, and {whole:.4g} on {len(many[0]):,}"
    if not np.isfinite(best.loss) or best.loss <= 0 or _is_expected(s, found, best):
        return Seen("initial loss", saw)
    if found < best.loss:
        return Seen("initial loss", saw, "it is better than it can be: do inputs have the targets?")
    return Seen(
        "initial loss", saw,
        "begin with small weights in the last layer, and its bias at the mean of the targets (or "
        "the logarithms of the classes' shares)", *place(s.model.output),
    )  # fmt: skip


def _is_expected(s: Session, found: float, best: Least) -> bool:
    """Whether a loss is about that of constants, or of zeros if the constants are near them."""
    assert s.model is not None
    assert s.outputs is not None
    if 0.5 * best.loss <= found <= 2 * best.loss + 0.1:
        return True
    zeros, _ = s.model.loss(np.zeros_like(s.outputs), s.sample[len(s.x) :])
    near = float(np.max(np.abs(best.outputs), initial=0.0)) <= NEAR
    return found > best.loss and near and found <= 2 * zeros + 0.1


def loss_for_output(s: Session) -> Seen | None:
    """A loss of logits on probabilities, one of probabilities on logits, numbers as classes."""
    if s.model is None or s.outputs is None or len(s.y) != 1:
        return None
    for check in _WRONG:
        found = check(s, s.outputs, s.sample[-1])
        if found:
            saw, remedy = found
            return Seen("loss for the output", saw, remedy, *place(s.model.output))
    low, high = s.outputs.min(), s.outputs.max()
    return Seen("loss for the output", f"outputs are {low:.3g} to {high:.3g}, and it takes them")


def _loss(s: Session, outputs: Array) -> float:
    assert s.model is not None
    return s.model.loss(outputs.astype(s.outputs.dtype), [s.sample[-1]])[0]  # type: ignore[union-attr]


def _deaf(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """A loss that is the same for all outputs, or outputs that are all the same."""
    if o.ndim > 1 and o.size > 1 and np.all(o == 1):
        return (
            "all outputs are 1: a softmax along an axis of length 1",
            "take a sigmoid for one output, or give the model an output for each class",
        )
    other = o + np.random.default_rng(0).standard_normal(o.shape)
    values = [_loss(s, each) for each in (o, other, o + 1.0)]
    if len(set(values)) > 1 or not np.isfinite(values[0]):
        return None
    return (
        f"the loss is {values[0]:.3g} whatever the outputs are",
        "give the model an output for each class (a softmax of one is always 1), and look at what "
        "the loss makes of the outputs",
    )


def _softmax_twice(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """What is bounded in a loss of logits: a constant that is added does not change it."""
    assert s.model is not None
    last = s.model.last.op.name
    sums = any(np.allclose(o.sum(axis), 1, atol=1e-3) for axis in (1, -1)) if o.ndim > 1 else False
    bounded = last in BOUNDED and y.dtype.kind in "iu"
    if o.ndim < 2 or o.shape[1] < 2 or not (bounded or (o.min() >= 0 and sums)):
        return None
    if not np.allclose([_loss(s, o + 1.0), _loss(s, o + 3.0)], _loss(s, o), rtol=1e-4):
        return None
    if sums and o.min() >= 0:
        return (
            "outputs are probabilities (they sum to 1), and the loss takes their softmax again",
            "leave the model's softmax out: cross_entropy takes logits",
        )
    return (
        f"the model ends in {last}, and the loss takes a softmax of that",
        f"leave the {last} out: logits of any sign and size are asked for",
    )


def _likelihood(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """What are no logarithms of probabilities in a loss that only reads them: nll_loss."""
    if y.dtype.kind not in "iu" or o.ndim != y.ndim + 1 or o.shape[1] < 2:
        return None
    known = [_loss(s, o), _loss(s, o + 1.0), _loss(s, 2.0 * o)]
    moved = known[0] - known[1]
    if not (moved > 0 and np.allclose(known[2], 2 * known[0], rtol=1e-4, atol=1e-5)):
        return None
    with np.errstate(over="ignore"):
        sums = np.exp(o.astype(np.float64)).sum(1)
    if np.allclose(sums, 1, atol=1e-2):
        return None
    what = "probabilities" if np.allclose(o.sum(1), 1, atol=1e-3) and o.min() >= 0 else "logits"
    return (
        f"outputs are {what}, and the loss takes them for logarithms of probabilities: it falls "
        "without end",
        "end in log_softmax, or take cross_entropy of logits",
    )


def _signs(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Targets beyond 0 and 1 in a loss that asks for these: it has no least value."""
    if y.dtype.kind != "f" or y.shape != o.shape or np.all((y >= 0) & (y <= 1)):
        return None
    far = 1e4 * np.sign(y - 0.5)
    if not min(_loss(s, far), _loss(s, -far)) < -100:
        return None
    told = "(y + 1) / 2" if y.min() == -1 else "y - 1" if y.min() == 1 else "targets in [0, 1]"
    return (
        f"targets are {y.min():.3g} to {y.max():.3g}, and the loss asks for 0 to 1: it falls "
        "without end",
        f"give it {told}",
    )


def _sigmoid_twice(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Probabilities in a loss that is not 0 for right ones, and is for large numbers."""
    if o.min() < 0 or o.max() > 1 or y.shape != o.shape or not np.isin(y, (0, 1)).all():
        return None
    right, logits = _loss(s, y.astype(np.float64)), _loss(s, 20.0 * (2.0 * y - 1.0))
    if not (right > 0.1 and logits < 1e-3):
        return None
    return (
        f"outputs are probabilities, and right ones have the loss {right:.3g}: it takes their "
        "sigmoid again",
        "leave the model's sigmoid out: binary_cross_entropy_with_logits takes logits",
    )


def _logits_as_probabilities(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Outputs beyond 0 or 1 in a loss that is finite only between."""
    low, inside, above, high = (_loss(s, np.full(o.shape, x)) for x in (-0.5, 0.5, 1.5, 3.0))
    below = o.min() < 0 and not np.isfinite(low)
    if not np.isfinite(inside) or not (below or (o.max() > 1 and not np.isfinite(above))):
        return None
    seen = f"outputs are {o.min():.3g} to {o.max():.3g}, and the loss is of "
    if np.isfinite(high) and y.dtype.kind == "f" and not np.isin(y, (0, 1)).all():
        return f"{seen}positive numbers", "put an exp or a softplus behind the model"
    return (
        f"{seen}probabilities",
        "take the loss with logits (binary_cross_entropy_with_logits, cross_entropy), or put a "
        "sigmoid or softmax behind the model",
    )


def _numbers(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Class numbers, 0, 1, 2, … and all about as frequent, as targets of a distance."""
    if o.shape != y.shape or not bool(np.all(y == np.round(y))):
        return None
    values, counts = np.unique(y, return_counts=True)
    most = min(20, len(y) // 4)
    if not 2 < len(values) <= most or values[0] not in (0, 1) or np.ptp(values) != len(values) - 1:
        return None
    if counts.max() > FREQUENT * counts.min() or _are_ratings(values, counts):
        return None
    if not _is_least_at(s, y):
        return None
    return (
        f"targets are {len(values)} whole numbers, {values[0]:g} to {values[-1]:g}, and the loss "
        "measures how far outputs are from them",
        f"if they are classes, give the model {len(values)} outputs and take cross_entropy; if "
        "they are ordered, say so by bringing them to the mean 0 and the deviation 1",
    )


def _are_ratings(values: Array, counts: Array) -> bool:
    """Whether numbers from 1 on are most frequent in one place, and less to both sides of it."""
    mean, free = counts.mean(), len(counts) - 1
    even = np.sum((counts - mean) ** 2) / mean <= free + 3 * np.sqrt(2 * free)  # chi square
    steps = np.diff(counts)
    steps = np.sign(steps[np.abs(steps) > 2 * np.sqrt(counts[1:] + counts[:-1])])
    return bool(values[0] == 1 and not even and np.all(np.diff(steps) <= 0))


def _is_least_at(s: Session, y: Array) -> bool:
    """Whether the loss is least where outputs are the targets."""
    wide = y.astype(np.float64)
    return _loss(s, wide) <= min(_loss(s, wide + x) for x in (-0.25, 0.25))


def _reach(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Targets that the last function cannot give."""
    assert s.model is not None
    low, high = BOUNDED.get(s.model.last.op.name, (-np.inf, np.inf))
    if y.dtype.kind != "f" or y.shape != o.shape or (y.min() >= low and y.max() <= high):
        return None
    return (
        f"the model ends in {s.model.last.op.name}, which gives {low:g} to {high:g}, and "
        f"targets are {y.min():.3g} to {y.max():.3g}",
        "end in a linear layer, or scale the targets",
    )


_WRONG = (
    _deaf,
    _softmax_twice,
    _likelihood,
    _signs,
    _sigmoid_twice,
    _logits_as_probabilities,
    _numbers,
    _reach,
)
