"""Checks of the loss at the start, and of what it expects of the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.explain.diagnosis.measured import place
from staticnet.ir.node import Node
from staticnet.train.checks.session import Array, Seen, Session

CONSTANTS = 1 << 18  # outputs for which the best constant ones are looked for
BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf)}


def initial_loss(s: Session) -> Seen | None:
    """The loss before training beside that of the best constant outputs."""
    if s.model is None or s.outputs is None or s.trainer.step:
        return None
    targets = s.sample[len(s.x) :]
    found, _ = s.model.loss(s.outputs, targets)
    best = constant_loss(s, s.outputs, targets)
    if not np.isfinite(found):
        return Seen(
            "initial loss", f"the loss is {found}",
            "look at it with sn.diagnose: it names the first value that is no number",
        )  # fmt: skip
    saw = f"{found:.4g}; the best constant outputs have {best:.4g}"
    many = s.batch(max(1, CONSTANTS // max(1, s.outputs[:1].size)))[len(s.x) :]
    if len(many[0]) > len(targets[0]):
        whole = constant_loss(s, s.outputs, many)
        saw += f" on {len(targets[0])} examples, and {whole:.4g} on {len(many[0]):,}"
    if not np.isfinite(best) or best <= 0 or 0.5 * best <= found <= 2 * best + 0.1:
        return Seen("initial loss", saw)
    if found < best:
        return Seen("initial loss", saw, "it is better than it can be: do inputs have the targets?")
    return Seen(
        "initial loss", saw,
        "begin with small weights in the last layer, and its bias at the mean of the targets (or "
        "the logarithms of the classes' shares)", *place(s.model.output),
    )  # fmt: skip


def constant_loss(s: Session, outputs: Array, targets: list[Array]) -> float:
    """The least loss of outputs that are the same for all examples: like these, for the targets."""
    from scipy.optimize import minimize

    assert s.model is not None
    model, axes = s.model, _repeated(outputs, targets)
    begin = np.asarray(outputs, np.float64).mean(axes, keepdims=True)
    shape = (len(targets[0]), *outputs.shape[1:])
    best = [np.inf]

    def loss(c: Any) -> tuple[float, Any]:
        whole = np.broadcast_to(c.reshape(begin.shape), shape).astype(outputs.dtype)
        value, slope = model.loss(whole, targets)
        if np.isfinite(value):
            best[0] = min(best[0], value)
        slopes = np.nan_to_num(slope.astype(np.float64)).sum(axes).reshape(-1)
        return (value if np.isfinite(value) else 1e30), slopes

    with np.errstate(all="ignore"):
        minimize(loss, begin.reshape(-1), jac=True, method="L-BFGS-B", options={"maxfun": 60})
    return best[0]


def _repeated(outputs: Array, targets: list[Array]) -> tuple[int, ...]:
    """The axes along which constant outputs are repeated: all but that of classes or features."""
    if outputs.ndim < 3:
        return (0,)
    y = targets[0] if len(targets) == 1 else outputs
    if y.shape == outputs.shape[:1] + outputs.shape[2:]:
        return (0, *range(2, outputs.ndim))
    return tuple(range(outputs.ndim - 1)) if y.shape == outputs.shape[:-1] else (0,)


def loss_for_output(s: Session) -> Seen | None:
    """A loss of logits on probabilities, one of probabilities on logits, numbers as classes."""
    if s.model is None or s.outputs is None or len(s.y) != 1:
        return None
    for check in (_softmax_twice, _sigmoid_twice, _logits_as_probabilities, _numbers, _reach):
        found = check(s, s.outputs, s.sample[-1])
        if found:
            saw, remedy = found
            return Seen("loss for the output", saw, remedy, *place(s.model.output))
    low, high = s.outputs.min(), s.outputs.max()
    return Seen("loss for the output", f"outputs are {low:.3g} to {high:.3g}, and it takes them")


def _loss(s: Session, outputs: Array) -> float:
    assert s.model is not None
    return s.model.loss(outputs.astype(s.outputs.dtype), [s.sample[-1]])[0]  # type: ignore[union-attr]


def _softmax_twice(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Rows that sum to 1 in a loss that a constant added to them does not change."""
    if o.ndim < 2 or o.shape[-1] < 2 or o.min() < 0 or not np.allclose(o.sum(-1), 1, atol=1e-3):
        return None
    moved = _loss(s, o + 1.0)
    if not np.isclose(moved, _loss(s, o), rtol=1e-4) or not np.isclose(moved, _loss(s, o + 3.0)):
        return None
    return (
        "outputs are probabilities (each row sums to 1), and the loss takes their softmax again",
        "leave the model's softmax out: cross_entropy takes logits",
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
    """Outputs outside of [0, 1] in a loss that is finite only there."""
    if o.min() >= 0 and o.max() <= 1:
        return None
    inside, beyond = _loss(s, np.full(o.shape, 0.5)), _loss(s, np.full(o.shape, -0.5))
    if not np.isfinite(inside) or np.isfinite(beyond):
        return None
    return (
        f"outputs are {o.min():.3g} to {o.max():.3g}, and the loss is of probabilities",
        "take the loss with logits (binary_cross_entropy_with_logits, cross_entropy), or put a "
        "sigmoid or softmax behind the model",
    )


def _numbers(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Class numbers as targets of a regression."""
    whole = y.dtype.kind in "iu" or bool(np.all(y == np.round(y)))
    values = np.unique(y)
    if not whole or o.shape != y.shape or not 2 < len(values) <= min(20, len(y) // 4):
        return None
    return (
        f"targets are {len(values)} whole numbers, {values[0]:g} to {values[-1]:g}, and the loss "
        "measures how far outputs are from them",
        f"if they are classes, give the model {len(values)} outputs and take cross_entropy",
    )


def _reach(s: Session, o: Array, y: Array) -> tuple[str, str] | None:
    """Targets that the last function cannot give."""
    assert s.model is not None
    low, high = BOUNDED.get(_last(s.model.output).op.name, (-np.inf, np.inf))
    if y.dtype.kind != "f" or y.shape != o.shape or (y.min() >= low and y.max() <= high):
        return None
    return (
        f"the model ends in {_last(s.model.output).op.name}, which gives {low:g} to {high:g}, and "
        f"targets are {y.min():.3g} to {y.max():.3g}",
        "end in a linear layer, or scale the targets",
    )


def _last(node: Node) -> Node:
    """The last op that computes."""
    while node.op.name in ("reshape", "cast", "squeeze", "slice", "gather") and node.inputs:
        node = node.inputs[0]
    return node
