"""Checks of the targets and of their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.train.checks.session import Array, Seen, Session

RATIO = 10.0  # of the most frequent class to the rarest
WEIGHED = 2.0  # times more for the rarest class
SORTED = 0.03  # of the distance of two targets: that from one to the next, where they are sorted


def balance(s: Session) -> Seen | None:
    """Classes of which there are few or none."""
    labels = _classes(s)
    if labels is None:
        return None
    values, counts = np.unique(labels, return_counts=True)
    if len(values) < 2:
        return Seen(
            "label balance", f"all {labels.size:,} labels are {values[0]}",
            "there is nothing to tell apart: look at how the targets were made",
        )  # fmt: skip
    ratio = counts.max() / counts.min()
    rare = values[counts.argmin()]
    saw = f"{len(values)} classes, of {counts.min():,} to {counts.max():,} examples"
    if missing := _missing(s, values):
        return Seen(
            "label balance",
            f"{saw}, and none of class {', '.join(map(str, missing[:5]))}",
            "a class without examples is never learned: look at how the data were read, or give "
            "the model fewer outputs",
        )
    if ratio <= RATIO:
        return Seen("label balance", saw)
    if (weight := _weight(s, labels, values[counts.argmax()], rare)) > WEIGHED:
        return Seen("label balance", f"{saw}; the loss weighs the rarest {weight:.3g} times")
    return Seen(
        "label balance", f"{saw}; the rarest is {rare}",
        "weigh classes (cross_entropy(weight=…)), draw rare ones more often, and measure recall "
        "beside accuracy",
    )  # fmt: skip


def _missing(s: Session, values: Array) -> list[int]:
    """Classes that the model has outputs for, and the data no examples: not more than half."""
    count = _count(s) if s.labels is not None else _columns(s.y[0])
    if count is None or values[0] not in (0, 1):
        return []
    found = sorted(set(range(count)) - set(values.tolist()))
    return found if len(found) <= count / 2 and found != [0] else []


def _weight(s: Session, labels: Array, often: Any, rare: Any) -> float:
    """How much more of the loss's gradient an example of a rare class has; 1 if not known."""
    if s.model is None or s.outputs is None or len(s.y) != 1:
        return 1.0
    rows = [int(np.flatnonzero(labels == value)[0]) for value in (often, rare)]
    same = np.repeat(s.outputs.mean(0, keepdims=True), 2, 0)
    _, slope = s.model.loss(same, [s.y[0][rows]])
    first, second = (float(np.linalg.norm(row)) for row in slope.reshape(2, -1))
    return second / first if np.isfinite(second) and first > 0 else 1.0


def _classes(s: Session) -> Array | None:
    """The classes of whole examples: labels, binary targets, signs, or rows with a single 1."""
    labels = s.labels
    if labels is None and len(s.y) == 1:
        labels = _coded(s.y[0])
    return labels.reshape(-1) if labels is not None and labels.size == len(labels) else None


def _coded(y: Array) -> Array | None:
    """The classes that floats stand for."""
    if _columns(y):
        return y.reshape(len(y), -1).argmax(1)
    if np.isin(y, (0.0, 1.0)).all() or np.isin(y, (-1.0, 1.0)).all():
        return y.astype(np.int64)
    return None


def _columns(y: Array) -> int | None:
    """The number of classes of rows with a single 1, else 0; None of what is not of such rows."""
    is_of_rows = y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all()
    return y.shape[1] if is_of_rows and np.all(y.sum(1) == 1) else None


def off_by_one(s: Session) -> Seen | None:
    """Classes counted from 1, or tokens that are not moved by one."""
    labels = s.labels
    if labels is None or not labels.size:
        return _coded_from_one(s)
    if labels.ndim == 2 and len(s.x) == 1 and s.x[0].shape == labels.shape:
        return _tokens(s.x[0], labels)
    low, high = int(labels.min()), int(labels.max())
    count = _count(s)
    of = f", of {count} classes" if count else ""
    saw = f"labels are {low} to {high}{of}"
    if count is not None and (low < 0 or high >= count) and not _takes(s, count):
        return Seen(
            "labels off by one", saw,
            f"they must be 0 to {count - 1}: " + ("subtract 1" if low == 1 else "count them anew"),
            is_fatal=True,
        )  # fmt: skip
    if low == 1 and high in (count, (count or 0) - 1) and high > 1 and labels.size > 10 * high:
        return Seen("labels off by one", f"{saw}: there is no 0", "count from 0: subtract 1")
    return Seen("labels off by one", saw)


def _coded_from_one(s: Session) -> Seen | None:
    """Rows with a single 1 that is never in the first column; 1 and 2 for two classes."""
    y = s.y[0] if len(s.y) == 1 else np.zeros(0)
    columns = _columns(y) if y.size else None
    if columns and columns > 2 and not y[:, 0].any() and y[:, 1:].any(0).all():
        return Seen(
            "labels off by one", f"the first of the {columns} columns is 0 for all examples",
            "classes were counted from 1: subtract 1 before they are made columns",
        )  # fmt: skip
    if y.size == len(y) > 10 and set(np.unique(y)[:3].tolist()) == {1, 2}:
        return Seen("labels off by one", "targets are 1 and 2", "count from 0: subtract 1")
    return None


def _takes(s: Session, count: int) -> bool:
    """Whether the loss has a value for all labels, as for those of classes: it may be another's."""
    if s.model is None or s.outputs is None:
        return True
    flat = s.y[0].reshape(len(s.y[0]), -1)
    targets = s.y[0][[int(flat.min(1).argmin()), int(flat.max(1).argmax())]]
    given, classes = (
        s.model.loss(s.outputs[:2], [y])[0] for y in (targets, np.clip(targets, 0, count - 1))
    )
    return bool(np.isfinite(given) or not np.isfinite(classes))


def _count(s: Session) -> int | None:
    """The number of classes that the model has outputs for."""
    if s.model is None or s.labels is None:
        return None
    shape = s.model.output.shape
    if len(shape) < s.labels.ndim + 1:
        return None
    size = shape[1] if len(shape) > 2 and shape[-1] == s.labels.shape[-1] else shape[-1]
    return size if isinstance(size, int) and size > 1 else None


def _tokens(x: Array, y: Array) -> Seen | None:
    """Whether the target of each token is the next one."""
    if x.shape[1] < 4 or len(np.unique(x[:64])) < 3:
        return None
    shares = {k: float(np.mean(y[:, : -k or None] == x[:, k:])) for k in (0, 1, 2)}
    shares[-1] = float(np.mean(y[:, 1:] == x[:, :-1]))
    best = max(shares, key=lambda k: shares[k])
    saw = f"{shares[best]:.0%} of targets are the token {best} ahead"
    if best == 1 or shares[best] < 0.99:
        return Seen("labels off by one", saw)
    return Seen("labels off by one", saw, "a model of the next token has y[:, :-1] = x[:, 1:]")


def shuffling(s: Session) -> Seen | None:
    """Examples in the order of their classes, or of their targets, trained on in that order."""
    labels = _classes(s)
    if labels is None:
        return _sorted_targets(s)
    if len(labels) < 4 * s.size or len(np.unique(labels)) < 2:
        return None
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    expected = float(1 - np.sum(share**2))
    changes = float(np.mean(labels[1:] != labels[:-1]))
    saw = f"the label changes from one example to the next {changes:.0%} of the time"
    if s.is_shuffled:
        return Seen("shuffling", f"{saw}, and each epoch has an order of its own")
    if changes >= 0.3 * expected:
        return Seen("shuffling", saw)
    return Seen(
        "shuffling", f"{saw}, and {expected:.0%} of the time in a random order",
        "a batch has few classes, and steps forget the others: shuffle=True, or shuffle the source",
    )  # fmt: skip


def _sorted_targets(s: Session) -> Seen | None:
    """Whether numbers go up or down from one example to the next."""
    if len(s.y) != 1 or s.y[0].dtype.kind != "f" or s.y[0].size != len(s.y[0]) < 4 * s.size:
        return None
    y = s.y[0].reshape(-1).astype(np.float64)
    near, far = np.mean(np.abs(np.diff(y))), np.mean(np.abs(y - np.roll(y, len(y) // 2)))
    saw = f"targets are {near:.3g} from one example to the next, and {far:.3g} farther apart"
    if s.is_shuffled or near > SORTED * far:
        return Seen("shuffling", saw)
    return Seen(
        "shuffling", saw,
        "a batch has targets of about one size, and steps forget the others: shuffle=True, or "
        "shuffle the source",
    )  # fmt: skip
