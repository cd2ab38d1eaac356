"""The least loss that outputs can have: the same ones for all examples, or each its own.

Outputs of a model that ends in a softmax, log-softmax, sigmoid or tanh stay what such a function
gives: a likelihood of anything else has no least value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.train.checks.session import Array, Session

SEARCHED = 60  # evaluations of a loss
_NEAR = 1e-3


@dataclass(frozen=True)
class Least:
    """The least loss found, and the outputs that have it, their repeated axes of length 1."""

    loss: float
    outputs: Array


@dataclass(frozen=True)
class _Link:
    """The outputs of free numbers, those numbers of outputs, and the product with the Jacobian."""

    outputs: Callable[[Array], Array]
    numbers: Callable[[Array], Array]
    pulled: Callable[[Array, Array], Array]  # of the outputs and the loss's gradient by them


_PLAIN = _Link(lambda c: c, lambda o: o, lambda o, g: g)
_SIGMOID = _Link(
    lambda c: _special().expit(c),
    lambda o: np.log(_inner(o)) - np.log1p(-_inner(o)),
    lambda o, g: g * o * (1 - o),
)
_TANH = _Link(np.tanh, lambda o: np.arctanh(np.clip(o, -0.999, 0.999)), lambda o, g: g * (1 - o**2))


def _special() -> Any:
    import scipy.special  # slow to import

    return scipy.special


def _inner(o: Array) -> Array:
    return np.clip(o, _NEAR, 1 - _NEAR)


def _softmax(axis: int) -> _Link:
    return _Link(
        lambda c: _special().softmax(c, axis),
        lambda o: np.log(np.maximum(o, 1e-9)),
        lambda o, g: o * (g - np.sum(g * o, axis, keepdims=True)),
    )


def _log_softmax(axis: int) -> _Link:
    return _Link(
        lambda c: _special().log_softmax(c, axis),
        lambda o: o,
        lambda o, g: g - np.exp(o) * np.sum(g, axis, keepdims=True),
    )


def constant(s: Session, outputs: Array, targets: list[Array]) -> Least:
    """The least loss of outputs that are the same for all examples: like these, for the targets."""
    return _least(s, outputs, targets, _repeated(outputs, targets))


def free(s: Session, outputs: Array, targets: list[Array]) -> Least:
    """The least loss of any outputs: what is left of it is in the targets, or in the loss."""
    return _least(s, outputs, targets, ())


def _least(s: Session, outputs: Array, targets: list[Array], axes: tuple[int, ...]) -> Least:
    from scipy.optimize import minimize

    assert s.model is not None
    model, link = s.model, _link(s, outputs)
    wide = np.asarray(outputs, np.float64)
    begin = link.numbers(wide.mean(axes, keepdims=True) if axes else wide)
    shape = (len(targets[0]), *outputs.shape[1:])
    best = Least(np.inf, wide)

    def loss(numbers: Any) -> tuple[float, Any]:
        nonlocal best
        made = link.outputs(numbers.reshape(begin.shape))
        value, slope = model.loss(np.broadcast_to(made, shape), targets)
        if not np.isfinite(value):
            return 1e30, np.zeros_like(numbers)
        if value < best.loss:
            best = Least(value, made)
        slopes = np.nan_to_num(slope.astype(np.float64))
        whole = slopes.sum(axes, keepdims=True) if axes else slopes
        return value, link.pulled(made, whole).reshape(-1)

    with np.errstate(all="ignore"):
        minimize(loss, begin.reshape(-1), jac=True, method="L-BFGS-B", options={"maxfun": SEARCHED})
    return best


def _link(s: Session, outputs: Array) -> _Link:
    """What the model's last function is, by its outputs: rows that sum to 1, or in [0, 1]."""
    assert s.model is not None
    wide = np.asarray(outputs, np.float64)
    for axis in {1, wide.ndim - 1} if wide.ndim > 1 and np.isfinite(wide).all() else ():
        if wide.shape[axis] < 2:
            continue
        if wide.min() >= 0 and np.allclose(wide.sum(axis), 1, atol=_NEAR):
            return _softmax(axis)
        if wide.max() <= _NEAR and np.allclose(_special().logsumexp(wide, axis), 0, atol=_NEAR):
            return _log_softmax(axis)
    return {"sigmoid": _SIGMOID, "tanh": _TANH}.get(s.model.last.op.name, _PLAIN)


def _repeated(outputs: Array, targets: list[Array]) -> tuple[int, ...]:
    """The axes along which constant outputs are repeated: all but that of classes or features."""
    if outputs.ndim < 3:
        return (0,)
    y = targets[0] if len(targets) == 1 else outputs
    if y.shape == outputs.shape[:1] + outputs.shape[2:]:
        return (0, *range(2, outputs.ndim))
    return tuple(range(outputs.ndim - 1)) if y.shape == outputs.shape[:-1] else (0,)
