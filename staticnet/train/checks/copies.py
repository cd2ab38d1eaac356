"""Checks for examples that are there twice: equal, nearly equal, mirrored, or windows that overlap.

What repeats by nature is no fault: rows of few values, padded texts, points of few dimensions.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from staticnet.train.checks.session import MOST, Array, Seen, Session

SHARE, OF_TOKENS = 0.01, 0.05
NATURAL = 0.01  # of the equal pairs, expected of numbers drawn apart; those of a row are not
FEW = 4  # numbers of an example below which equal ones are no sign
ROWS, COMPARED = 4000, 500  # of which nearly equal ones are looked for, among the first
DRAWN, WIDTH = 2048, 128  # numbers taken of larger examples, and to which they are projected
GAP, COPIES, NEIGHBOURS = 0.1, 3, 20
SHORTEST, WINDOWS, OVERLAP = 8, 1_000_000, 0.9


def duplicates(s: Session) -> Seen | None:
    """Examples that are there twice."""
    whole = s.whole()
    all_of = whole if len(whole[0]) <= MOST else [*s.x, *s.y]
    inputs, others = all_of[: len(s.x)], all_of[len(s.x) :]
    kept = _telling(inputs)
    if kept is None:
        return None
    keys, targets = _keys(inputs), _keys(others) if others else []
    counts = Counter(keys[i] for i in kept)
    again = len(kept) - len(counts)
    labels: dict[int, set[int]] = {}
    for key, target in zip(keys, targets, strict=False):
        labels.setdefault(key, set()).add(target)
    torn = sum(len(found) > 1 for found in labels.values())
    saw = f"{again:,} of {len(keys):,} examples are there before"
    if torn:
        saw += f", {torn:,} of them with other targets"
    pairs = sum(n * (n - 1) // 2 for n in counts.values())
    if again > _share(s.x) * len(keys) and not _chance(s.x, len(kept) ** 2 / 2) > NATURAL * pairs:
        return Seen(
            "duplicates", saw, "drop them: np.unique(x, axis=0), before the split into parts"
        )
    near, looked = _near(s.x, s.x)
    if near:
        return Seen(
            "duplicates", f"{saw}; {near:,} of {looked:,} are another one with a little noise",
            "drop them, or make such copies of training examples alone, after the split",
        )  # fmt: skip
    return Seen("duplicates", saw)


def leakage(s: Session) -> Seen | None:
    """Examples that are held out and trained on."""
    kept = _telling(s.held_x) if s.held_x and _telling(s.x) is not None else None
    if kept is None:
        return None
    every = s.whole()[: len(s.x)]
    known, held = set(_keys(every)), _keys(s.held_x)
    remedy = "split before copies and augmentations are made, by source"
    both = sum(held[i] in known for i in kept)
    saw = f"{both:,} of {len(held):,} validation examples are in the training data"
    chance = _chance(s.x, float(len(every[0]) * len(held)))
    if both > _share(s.x) * len(held) and not chance > NATURAL * both:
        return Seen("leakage", saw, remedy)
    mirrored = sum(any(key in known for key in row) for row in _mirrored(s.held_x))
    if mirrored > SHARE * len(held):
        return Seen("leakage", f"{saw}, {mirrored:,} of them mirrored", remedy)
    near, looked = _near(s.held_x, s.x)
    if near:
        return Seen("leakage", f"{saw}, {near:,} of {looked:,} but for a little noise", remedy)
    share = _overlapping(s.held_x, s.x)
    if share > OVERLAP:
        return Seen(
            "leakage", f"{saw}, but {share:.0%} of the windows overlap with one of them",
            "cut the sequence into parts first, and the parts into windows",
        )  # fmt: skip
    return Seen("leakage", saw)


def _keys(arrays: list[Array]) -> list[int]:
    """A number for each example's bytes, of 64 bits: Python's own is the fastest at hand."""
    return [hash(tuple(row.tobytes() for row in rows)) for rows in zip(*arrays, strict=True)]


def _is_text(arrays: list[Array]) -> bool:
    return all(a.dtype.kind in "iub" and a.dtype.itemsize > 1 for a in arrays)


def _share(arrays: list[Array]) -> float:
    return OF_TOKENS if _is_text(arrays) else SHARE


def _telling(arrays: list[Array]) -> list[int] | None:
    """The examples whose equals are no accident; None where few values repeat by nature.

    Of texts those that are not mostly padding.
    """
    if not arrays or not len(arrays[0]) or sum(a[:1].size for a in arrays) < FEW:
        return None
    if not _is_text(arrays):
        return list(range(len(arrays[0])))
    flat = np.concatenate([a.reshape(len(a), -1) for a in arrays], 1)
    found = []
    for i, row in enumerate(flat):
        counts = np.unique(row, return_counts=True)[1]
        if len(counts) >= FEW and counts.max() <= len(row) / 2:
            found.append(i)
    return found


def _chance(arrays: list[Array], pairs: float) -> float:
    """How many of so many pairs would be equal if an example's numbers were drawn apart."""
    for a in arrays:
        columns = a[:ROWS].reshape(min(len(a), ROWS), -1).T
        for i in np.random.default_rng(0).permutation(len(columns)):  # borders tell nothing
            column = columns[i]
            counts = np.unique(column, return_counts=True)[1]
            pairs *= float(np.sum((counts / len(column)) ** 2))
            if pairs < 1e-3:
                return 0.0
    return pairs


def _mirrored(arrays: list[Array]) -> list[list[int]]:
    """The keys of each image's mirror images, and of its turns; none of what is no image."""
    a = arrays[0]
    if len(arrays) > 1 or a.ndim < 3 or min(a.shape[-2:]) < SHORTEST:
        return []
    turned = [a[..., ::-1], a[..., ::-1, :], a[..., ::-1, ::-1]]
    if a.shape[-1] == a.shape[-2]:
        turned += [np.rot90(a, k, (-2, -1)) for k in (1, 3)]
    keys = [_keys([t]) for t in turned]
    return [list(each) for each in zip(*keys, strict=True)]


def _near(arrays: list[Array], others: list[Array]) -> tuple[int, int]:
    """How many examples are one of the others with a little noise, and of how many looked at.

    Such a one is far nearer than all but the other copies. In k dimensions that happens to a share
    of about GAP^k by chance.
    """
    if any(a.dtype.kind != "f" and a.dtype != np.uint8 for a in arrays):
        return 0, 0
    rows, of = _projected(arrays, others)
    if len(of) < 2 * NEIGHBOURS or not len(rows):
        return 0, 0
    squares = (rows**2).sum(1)[:, None] + (of**2).sum(1) - 2 * rows @ of.T
    squares[squares < 1e-10 * float(np.mean(squares))] = np.inf  # equal ones are counted elsewhere
    nearest = np.sqrt(np.sort(np.partition(squares, NEIGHBOURS, 1)[:, :NEIGHBOURS], 1))
    nearest = nearest[np.isfinite(nearest).all(1) & (nearest[:, 0] > 0)]
    if not len(nearest):
        return 0, 0
    gaps = nearest[:, :COPIES] < GAP * nearest[:, 1 : COPIES + 1]
    logs = np.log(nearest[:, -1:] / nearest[:, NEIGHBOURS // 2 : -1])
    dimensions = 1 / max(float(np.median(np.mean(logs, 1))), 1e-3)
    near = int(np.count_nonzero(gaps.any(1)))
    share = near / len(rows)
    return (near if share > SHARE + 3 * GAP**dimensions else 0), len(rows)


def _projected(arrays: list[Array], others: list[Array]) -> tuple[Array, Array]:
    """The first examples of both with their numbers on one scale, and no more than WIDTH."""
    rows, of = _drawn(arrays, COMPARED), _drawn(others, ROWS)
    rows = rows[np.isfinite(rows).all(1)]
    middle, spread = of.mean(0), of.std(0)
    spread[spread <= 1e-9 * np.abs(middle)] = 0  # of equal numbers that is rounding
    least = 0.1 * float(np.median(spread[spread > 0])) if spread.any() else 1.0
    scale = np.maximum(spread, least)
    rows, of = (rows - middle) / scale, (of - middle) / scale
    if of.shape[1] > WIDTH:
        onto = np.random.default_rng(0).standard_normal((of.shape[1], WIDTH))
        rows, of = rows @ onto, of @ onto
    return rows, of


def _drawn(arrays: list[Array], most: int) -> Array:
    """The first examples, and of their numbers DRAWN ones: the same for all of a shape."""
    ends = np.cumsum([a[:1].size for a in arrays])
    chosen = np.arange(ends[-1])
    if len(chosen) > DRAWN:
        chosen = np.sort(np.random.default_rng(1).choice(ends[-1], DRAWN, replace=False))
    parts = []
    for a, end in zip(arrays, ends, strict=True):
        flat = a[:most].reshape(min(most, len(a)), -1)
        own = chosen[(chosen >= end - flat.shape[1]) & (chosen < end)] - (end - flat.shape[1])
        parts.append(flat[:, own].astype(np.float64))
    return np.concatenate(parts, 1)


def _overlapping(arrays: list[Array], others: list[Array]) -> float:
    """The share of windows of a sequence whose beginning or end is a part of another's."""
    held, own = arrays[0], others[0]
    if len(arrays) > 1 or held.ndim != 2 or held.shape[1] < 2 * SHORTEST:
        return 0.0
    length = held.shape[1]
    part = max(SHORTEST, length // 2)
    if len(own) * (length - part + 1) > WINDOWS or _by_chance(own, part):
        return 0.0
    size = part * own.dtype.itemsize
    known = {
        row[i : i + size]
        for row in (r.tobytes() for r in own)
        for i in range(0, len(row) - size + 1, own.dtype.itemsize)
    }
    found = [row[:size] in known or row[-size:] in known for row in (r.tobytes() for r in held)]
    return float(np.mean(found))


def _by_chance(rows: Array, part: int) -> bool:
    """Whether parts of so many numbers are often equal where numbers are drawn from all."""
    counts = np.unique(rows, return_counts=True)[1]
    log = part * float(np.log(np.sum((counts / rows.size) ** 2)))
    return bool(log + np.log(rows.size) > np.log(0.01))
