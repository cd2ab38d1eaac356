"""Checks of the inputs: look at the data first."""

from __future__ import annotations

import numpy as np

from staticnet.train.checks.session import VALUES, Array, Seen, Session, in_parts

LARGE = 8.0  # root of the mean square
MANY = 30  # examples of which columns are compared
OUTSIDE = 10.0  # times the width of the middle 80 %
LIKE = "normalise both by the training data's mean and deviation"


def ranges(s: Session) -> Seen | None:
    """Inputs and targets that are no numbers, or so far from the others that they are no data."""
    names = s.layout.names
    for part, arrays in (("", (*s.x, *s.y)), ("validation ", (*s.held_x, *s.held_y))):
        for name, a in zip(names, arrays, strict=False):
            found = _not_numbers(a)
            if len(found):
                at = ", ".join(map(str, found[:5]))
                saw = f"{len(found):,} examples of {part}{name} are NaN or infinite: {at}"
                remedy = "drop them, or fill them in, before they reach a loss"
                return Seen("ranges", saw, remedy, is_fatal=not part)
    told = [
        f"{name} {a.min():.3g} to {a.max():.3g}"
        for name, a in zip(names, (*s.x, *s.y), strict=True)
        if a.size
    ]
    for name, a in zip(names, s.x, strict=False):
        if far := _far(a):
            return Seen(
                "ranges", f"{', '.join(told)}; {name} is {far}",
                "if that stands for a missing value, fill in another or drop these examples; "
                "clip what is an error of measurement",
            )  # fmt: skip
    return Seen("ranges", ", ".join(told))


def _not_numbers(a: Array) -> Array:
    """The examples that are not finite."""
    if a.dtype.kind in "iub" or not a.size:
        return np.zeros(0, np.int64)
    finite = [np.isfinite(part).reshape(len(part), -1).all(1) for part in in_parts(a)]
    return np.flatnonzero(~np.concatenate(finite))


def _far(a: Array) -> str:
    """What a column of few values far from all others has; "" if there is none."""
    if a.ndim != 2 or a.dtype.kind != "f" or len(a) < MANY:
        return ""
    some = max(1, VALUES // len(a))
    for begin in range(0, a.shape[1], some):
        columns = a[:, begin : begin + some].astype(np.float64)
        low, middle, high = np.percentile(columns, (10, 50, 90), axis=0)
        away = np.abs(columns - middle) > OUTSIDE * (high - low)
        for column in np.flatnonzero((high > low) & away.any(0)):
            values = columns[away[:, column], column]
            if len(values) > 1 and np.ptp(values) <= 1e-6 * np.abs(values).max():
                return f"{values[0]:.6g} in column {begin + column} of {len(values):,} examples"
    return ""


def images(s: Session) -> Seen | None:
    """Images of one colour, or that end in one: files that were cut, or masked."""
    told: list[str] = []
    for part, arrays in (("", s.x), ("validation ", s.held_x)):
        pictures = [a for a in arrays if a.ndim >= 4 or (a.ndim == 3 and min(a.shape[1:]) >= 8)]
        if not pictures or pictures[0].dtype.kind not in "fu":
            break
        same = np.concatenate([_last_colour(_rows(some)) for some in in_parts(pictures[0])])
        plain: Array = np.logical_and.reduce(same, axis=1)
        saw = f"{np.count_nonzero(plain):,} of {len(plain):,} {part}images are of one colour"
        if plain.any():
            return _corrupt(saw, plain)
        ends = np.argmin(same[:, ::-1], axis=1)  # so many rows at the bottom
        cut = ends > max(len(same[0]) / 4, 3 * float(np.percentile(ends, 90)))
        if cut.any():
            count = f"{np.count_nonzero(cut):,} {part}images"
            return _corrupt(f"{saw}, and {count} end in rows of one colour, unlike others", cut)
        told.append(saw)
    return Seen("corrupt images", ", and ".join(told)) if told else None


def _rows(a: Array) -> Array:
    """Images as [examples, rows, columns, channels]."""
    if a.ndim == 3:
        return a[..., None]
    if a.ndim == 4 and a.shape[-1] <= min(4, a.shape[1]):
        return a
    return np.moveaxis(a.reshape(len(a), a.shape[1], -1, a.shape[-1]), 1, -1)


def _last_colour(rows: Array) -> Array:
    """Which rows of images are wholly of the last row's first colour."""
    return np.logical_and.reduce(rows == rows[:, -1:, :1], axis=(2, 3))


def _corrupt(saw: str, wrong: Array) -> Seen:
    at = ", ".join(map(str, np.flatnonzero(wrong)[:5]))
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
        size = float(np.sqrt(np.mean(value**2)))
        columns = np.moveaxis(value, 1 if node.op.name == "convolution" else -1, -1)
        sizes = np.sqrt(np.mean(columns.reshape(-1, columns.shape[-1]) ** 2, 0))
        ragged = np.flatnonzero(sizes > max(LARGE, 10 * float(np.median(sizes))))
        saw = f"inputs have the mean {value.mean():.3g} and the deviation {value.std():.3g}"
        if 0.05 <= size <= LARGE and not len(ragged):
            return _like(s, saw)
        at = ", ".join(map(str, ragged[:5]))
        more = f", and other sizes in column {at}: {sizes[ragged[0]]:.3g}" if len(ragged) else ""
        return Seen(
            "normalisation", saw + more,
            "subtract the training data's mean and divide by their deviation: weights begin for "
            "inputs of about 1", *place(node),
        )  # fmt: skip
    return None


def _like(s: Session, saw: str) -> Seen:
    """Whether what is held out is on the scale of what is trained on."""
    for own, held in zip(s.x, s.held_x, strict=False):
        if own.dtype.kind != "f" and own.dtype != np.uint8:
            continue
        a, b = (x[:: -(-x.size // VALUES)].astype(np.float64) for x in (own, held))
        if not np.isfinite(b).all():
            continue  # that is told already
        if abs(b.mean() - a.mean()) > a.std() or not 1 / 3 < b.std() / max(a.std(), 1e-12) < 3:
            return Seen(
                "normalisation",
                f"training inputs have the mean {a.mean():.3g} and the deviation {a.std():.3g}, "
                f"validation {b.mean():.3g} and {b.std():.3g}", LIKE,
            )  # fmt: skip
        if a.ndim == 2 and (column := _other_column(a, b)) is not None:
            told = [f"{x[:, column].mean():.3g} and {x[:, column].std():.3g}" for x in (a, b)]
            return Seen(
                "normalisation",
                f"column {column} has the mean and deviation {told[0]} in the training inputs, and "
                f"{told[1]} in validation", LIKE,
            )  # fmt: skip
    return Seen("normalisation", saw)


def _other_column(a: Array, b: Array) -> int | None:
    """A column that is on another scale in what is held out."""
    if len(b) < MANY:
        return None
    spread = a.std(0)
    moved = np.abs(b.mean(0) - a.mean(0)) > 3 * spread
    found = np.flatnonzero((spread > 0) & (moved | (b.std(0) > 10 * spread)))
    return int(found[0]) if len(found) else None
