"""Connectionist temporal classification: the loss of labels whose places are not known."""

from __future__ import annotations

import functools
from operator import add
from typing import Any

import numpy as np

from staticnet.control.scan import scan
from staticnet.errors import DTypeError, OutOfRangeError, ShapeError
from staticnet.ir.dtype import INT64, is_integer
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, check_reduction, known_values, reduce_loss
from staticnet.ops.arguments import as_bool, as_int
from staticnet.ops.arithmetic import maximum, minimum
from staticnet.ops.base import as_values, function
from staticnet.ops.creation import arange, full_like, zeros
from staticnet.ops.indexing import take, take_along_axis
from staticnet.ops.movement import pad, stack
from staticnet.ops.reduction import cumulative_sum
from staticnet.ops.selection import astype, stop_gradient, where
from staticnet.ops.shape import broadcast_to, expand_dims, reshape
from staticnet.ops.transcendental import exp, log
from staticnet.ops.widening import rounded_once

_NEVER = -np.inf  # ln 0


@function
@rounded_once()
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Value:
    """y = -ln of the probability of all ways to write the targets into the steps.

    A way writes each label at one step or at several in a row, and `blank` at the others; between
    equal labels there is a blank. Graves et al., "Connectionist temporal classification", 2006.

    log_probs: ln of probabilities [t, n, c] or [t, c]; targets: int [n, s], or those of all
    examples one after another [sum of target_lengths], without blanks; input_lengths and
    target_lengths: int [n] or [] -> y: [], or [n] if not reduced. "mean" divides each loss by its
    target's length, and is the mean of that. What lies behind a length has no meaning. Targets
    that do not fit into the steps have an infinite loss, or 0 with `zero_infinity`, and no
    gradient. A label out of range fails the run.

    Raises:
        ShapeError: if shapes do not fit.
        DTypeError: if log_probs is no float, or the others are no integers.
        OutOfRangeError: if lengths are known, and one is out of range.
        ArgumentError: if an option is out of range.
    """
    check_reduction(reduction)
    log_probs = as_floating(log_probs)
    if log_probs.ndim not in (2, 3):
        raise ShapeError(f"log_probs {format_shape(log_probs.shape)} must be [t, n, c] or [t, c]")
    one = log_probs.ndim == 2
    x = expand_dims(log_probs, 1) if one else log_probs
    x, targets, steps, labels = as_values(x, targets, input_lengths, target_lengths)
    steps = _lengths(steps, x, "input_lengths", x.shape[0])
    labels = _lengths(labels, x, "target_lengths", "the targets' length")
    blank = as_int(blank, "blank", 0, x.shape[2] - 1 if isinstance(x.shape[2], int) else 2**31)
    loss = _negative_log(x, _padded(targets, labels, x, one, blank), steps, labels, blank)
    if as_bool(zero_infinity, "zero_infinity"):
        loss = where(loss == np.inf, 0, loss)
    if reduction == "mean":
        loss = loss / astype(maximum(labels, 1), loss.dtype)
    return reshape(loss, ()) if one and reduction == "none" else reduce_loss(loss, reduction)


def _lengths(lengths: Value, x: Value, what: str, most: Any) -> Value:
    """Lengths of the examples, int64 [n]; known ones are in [0, most]."""
    if not is_integer(lengths.dtype):
        raise DTypeError(f"{what} must be integers, not {lengths.dtype}")
    n = x.shape[1:2]
    if lengths.shape not in ((), n):
        raise ShapeError(f"{what} {format_shape(lengths.shape)} must be {format_shape(n)}")
    known = known_values(lengths)
    if known is None:
        return broadcast_to(astype(lengths, INT64), n)
    if np.any(known < 0) or (isinstance(most, int) and np.any(known > most)):
        raise OutOfRangeError(f"{what} must lie in [0, {most}], not {known.tolist()!r:.60}")
    return broadcast_to(as_values(x, known.astype(np.int64))[1], n)


def _padded(targets: Value, lengths: Value, x: Value, one: bool, blank: int) -> Value:
    """Targets as int64 [n, s], blank after the end of each."""
    if not is_integer(targets.dtype):
        raise DTypeError(f"targets must be integers, not {targets.dtype}")
    n = x.shape[1]
    if targets.ndim == 1:
        targets = expand_dims(targets, 0) if one else _rows(targets, lengths)
    if targets.ndim != 2 or targets.shape[0] != n:
        raise ShapeError(
            f"targets {format_shape(targets.shape)} must be [{n}, s], or those of all examples "
            "one after another"
        )
    width, known = targets.shape[1], known_values(lengths)
    if known is not None and isinstance(width, int) and np.any(known > width):
        raise OutOfRangeError(
            f"target_lengths must lie in [0, {width}], not {known.tolist()!r:.60}"
        )
    place, lengths = as_values(arange(width), expand_dims(lengths, 1))
    return where(place < lengths, astype(targets, INT64), blank)


def _rows(targets: Value, lengths: Value) -> Value:
    """Targets that lie one after another, as rows; what lies behind a length has no meaning."""
    known, total = known_values(lengths), targets.shape[0]
    if known is not None and isinstance(total, int) and known.sum() != total:
        raise ShapeError(
            f"targets {format_shape(targets.shape)} must have as many elements as target_lengths "
            f"sum up to, {known.sum()}"
        )
    width = total if known is None else int(known.max(initial=0))
    begins = expand_dims(cumulative_sum(lengths) - lengths, 1)
    begins, place = as_values(begins, arange(width))
    return take(pad(targets, [(0, 1)]), minimum(begins + place, total), axis=0)


def _negative_log(x: Value, targets: Value, steps: Value, labels: Value, blank: int) -> Value:
    """-ln of the probability of each example's targets, by the forward recursion.

    x: [t, n, c], targets: [n, s], steps, labels: [n] -> [n]
    """
    written = _with_blanks(targets, blank)
    before = pad(written, [(0, 0), (2, 0)], blank)[:, :-2]
    skips = (written != blank) & (written != before)
    place, steps = as_values(arange(x.shape[0]), steps)
    counted = expand_dims(expand_dims(place, 1) < steps, 2)
    emitted = take_along_axis(x, expand_dims(written, 0), 2)

    def step(alpha: Value, row: tuple[Value, Value]) -> tuple[Value, None]:
        emitted, counted = row
        wide = pad(alpha, [(0, 0), (2, 0)], _NEVER)
        reached = _log_sum(alpha, wide[:, 1:-1], where(skips, wide[:, :-2], _NEVER))
        return where(counted, emitted + reached, alpha), None

    first = zeros((x.shape[1], 1), x.dtype)
    first = pad(as_values(x, first)[1], [(0, 0), (0, written.shape[1] - 1)], _NEVER)
    alpha, _ = scan(step, first, (emitted, counted))
    end, last = (
        take_along_axis(alpha, expand_dims(place, 1), 1)[:, 0]
        for place in (2 * labels, maximum(2 * labels - 1, 0))
    )
    return -_log_sum(end, where(labels > 0, last, _NEVER))


def _with_blanks(targets: Value, blank: int) -> Value:
    """A blank before each label, and one after the last.  [n, s] -> [n, 2 s + 1]"""
    n, s = targets.shape
    blanks = full_like(targets, blank)
    pairs = reshape(stack([blanks, targets], 2), (n, 2 * s))
    return pad(pairs, [(0, 0), (0, 1)], blank)


def _log_sum(*terms: Value) -> Value:
    """ln(e**a + e**b + …), with no derivative where all are -infinity."""
    top = stop_gradient(functools.reduce(maximum, terms))
    shift = where(top == _NEVER, 0, top)
    total = functools.reduce(add, (exp(term - shift) for term in terms))
    none = total == 0
    return where(none, _NEVER, log(where(none, 1, total)) + shift)
