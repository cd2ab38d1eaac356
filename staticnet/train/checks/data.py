"""Checks of the inputs: look at the data first."""

from __future__ import annotations

from collections import Counter

import numpy as np

from staticnet.train.checks.session import Array, Seen, Session

SHARE = 0.01
FEW = 4  # numbers of an example below which equal ones are no sign


def duplicates(s: Session) -> Seen | None:
    """Examples that are there twice."""
    keys = _keys(s.x)
    if keys is None:
        return None
    counts = Counter(keys)
    again = len(keys) - len(counts)
    labels: dict[bytes, set[bytes]] = {}
    for key, target in zip(keys, zip(*s.y, strict=True) if s.y else (), strict=False):
        labels.setdefault(key, set()).add(b"".join(np.asarray(t).tobytes() for t in target))
    torn = sum(len(found) > 1 for found in labels.values())
    saw = f"{again:,} of {len(keys):,} examples are there before"
    if torn:
        saw += f", {torn:,} of them with other targets"
    if again <= SHARE * len(keys):
        return Seen("duplicates", saw)
    return Seen("duplicates", saw, "drop them: np.unique(x, axis=0), before the split into parts")


def leakage(s: Session) -> Seen | None:
    """Examples that are held out and trained on."""
    own, held = _keys(s.x), _keys(s.held_x) if s.held_x else None
    if own is None or held is None:
        return None
    known = set(own)
    both = sum(key in known for key in held)
    saw = f"{both:,} of {len(held):,} validation examples are in the training data"
    if both <= SHARE * len(held):
        return Seen("leakage", saw)
    return Seen("leakage", saw, "split before copies and augmentations are made, by source")


def _keys(arrays: list[Array]) -> list[bytes] | None:
    """Each example's bytes; None where few values repeat by nature."""
    if not arrays or sum(a[:1].size for a in arrays) < FEW:
        return None
    if all(a.dtype.kind in "iub" and a.dtype.itemsize > 1 for a in arrays):
        return None  # tokens: windows of a text may be equal
    return [b"".join(row.tobytes() for row in rows) for rows in zip(*arrays, strict=True)]


def ranges(s: Session) -> Seen | None:
    """Inputs and targets that are no numbers."""
    names = s.layout.names
    for name, a in zip(names, (*s.x, *s.y), strict=True):
        if a.dtype.kind in "iub":
            continue
        wrong = ~np.isfinite(a.astype(np.float64)).reshape(len(a), -1).all(1)
        if wrong.any():
            at = ", ".join(map(str, np.flatnonzero(wrong)[:5]))
            saw = f"{np.count_nonzero(wrong):,} examples of {name} are NaN or infinite: {at}"
            remedy = "drop them, or fill them in, before they reach a loss"
            return Seen("ranges", saw, remedy, is_fatal=True)
    named = zip(names, (*s.x, *s.y), strict=True)
    told = [f"{name} {a.min():.3g} to {a.max():.3g}" for name, a in named if a.size]
    return Seen("ranges", ", ".join(told))


def images(s: Session) -> Seen | None:
    """Images of one colour: files that were cut, or masked."""
    pictures = [a for a in s.x if a.ndim >= 4 or (a.ndim == 3 and min(a.shape[1:]) >= 8)]
    if not pictures or pictures[0].dtype.kind not in "fu":
        return None
    flat = pictures[0].reshape(len(pictures[0]), -1)
    blank = np.flatnonzero(flat.max(1) == flat.min(1))
    saw = f"{len(blank):,} of {len(flat):,} images are of one colour"
    if not len(blank):
        return Seen("corrupt images", saw)
    at = ", ".join(map(str, blank[:5]))
    return Seen(
        "corrupt images", f"{saw}: {at}", "look at these files; read them again or drop them"
    )


def normalisation(s: Session) -> Seen | None:
    """What reaches the first product is far from the deviation 1 that weights begin for."""
    from staticnet.explain.diagnosis.measured import PRODUCTS, place

    m = s.measured
    for node in m.order:
        if node.op.name not in PRODUCTS or node not in m.trained:
            continue
        x = next((x for x in node.inputs if x in m.fed and x not in m.trained), None)
        if x is None:
            return None
        value = np.asarray(m.values[x], np.float64)
        columns = value.reshape(-1, value.shape[-1])
        size = float(np.sqrt(np.mean(value**2)))
        spread = columns.std(0)
        ragged = spread.max() > 100 * max(float(np.median(spread)), 1e-12) and value.ndim == 2
        saw = f"inputs have the mean {value.mean():.3g} and the deviation {value.std():.3g}"
        if 0.05 <= size <= 8 and not (ragged and np.median(spread) > 0):
            return _like(s, saw)
        more = ", and columns of very different sizes" if ragged else ""
        return Seen(
            "normalisation", saw + more,
            "subtract the training data's mean and divide by their deviation: weights begin for "
            "inputs of about 1", *place(node),
        )  # fmt: skip
    return None


def _like(s: Session, saw: str) -> Seen:
    """Whether what is held out is on the scale of what is trained on."""
    for own, held in zip(s.x, s.held_x, strict=False):
        if own.dtype.kind != "f":
            continue
        a, b = own.astype(np.float64), held.astype(np.float64)
        if abs(b.mean() - a.mean()) > a.std() or not 1 / 3 < b.std() / max(a.std(), 1e-12) < 3:
            return Seen(
                "normalisation",
                f"training inputs have the mean {a.mean():.3g} and the deviation {a.std():.3g}, "
                f"validation {b.mean():.3g} and {b.std():.3g}",
                "normalise both by the training data's mean and deviation",
            )
    return Seen("normalisation", saw)
