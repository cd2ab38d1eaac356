"""Checks of the targets and of their order."""

from __future__ import annotations

import numpy as np

from staticnet.train.checks.session import Array, Seen, Session

RATIO = 10.0  # of the most frequent class to the rarest


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
    if ratio <= RATIO:
        return Seen("label balance", saw)
    return Seen(
        "label balance", f"{saw}; the rarest is {rare}",
        "weigh classes (cross_entropy(weight=…)), draw rare ones more often, and measure recall "
        "beside accuracy",
    )  # fmt: skip


def _classes(s: Session) -> Array | None:
    """Labels of whole examples, or binary targets."""
    labels = s.labels
    if labels is None and len(s.y) == 1 and np.isin(s.y[0], (0.0, 1.0)).all():
        labels = s.y[0].astype(np.int64)
    return labels.reshape(-1) if labels is not None and labels.size == len(labels) else None


def off_by_one(s: Session) -> Seen | None:
    """Classes counted from 1, or tokens that are not moved by one."""
    labels = s.labels
    if labels is None or not labels.size:
        return None
    if labels.ndim == 2 and len(s.x) == 1 and s.x[0].shape == labels.shape:
        return _tokens(s.x[0], labels)
    low, high = int(labels.min()), int(labels.max())
    count = _count(s)
    saw = (
        f"labels are {low} to {high}, of {count} classes"
        if count
        else f"labels are {low} to {high}"
    )
    if count is not None and (low < 0 or high >= count):
        return Seen(
            "labels off by one", saw,
            f"they must be 0 to {count - 1}: " + ("subtract 1" if low == 1 else "count them anew"),
            is_fatal=True,
        )  # fmt: skip
    if count is not None and low == 1 and count > 2 and labels.size > 10 * count:
        return Seen("labels off by one", f"{saw}: there is no 0", "count from 0: subtract 1")
    return Seen("labels off by one", saw)


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
    best = max(shares, key=lambda k: shares[k])
    saw = f"{shares[best]:.0%} of targets are the token {best} ahead"
    if best == 1 or shares[best] < 0.99:
        return Seen("labels off by one", saw)
    return Seen("labels off by one", saw, "a model of the next token has y[:, :-1] = x[:, 1:]")


def shuffling(s: Session) -> Seen | None:
    """Examples in the order of their classes, trained on in that order."""
    labels = _classes(s)
    if labels is None or len(labels) < 4 * s.size or len(np.unique(labels)) < 2:
        return None
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    expected = float(1 - np.sum(share**2))
    changes = float(np.mean(labels[1:] != labels[:-1]))
    saw = f"the label changes from one example to the next {changes:.0%} of the time"
    sorts = changes < 0.3 * expected
    if s.shuffle and not s.loaders:
        return Seen("shuffling", f"{saw}, and each epoch has an order of its own")
    if not sorts:
        return Seen("shuffling", saw)
    return Seen(
        "shuffling", f"{saw}, and {expected:.0%} of the time in a random order",
        "a batch has few classes, and steps forget the others: shuffle=True, or shuffle the source",
    )  # fmt: skip
