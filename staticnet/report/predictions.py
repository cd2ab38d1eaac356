"""The page of a classifier: accuracy by class, what is taken for what, right and wrong answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.report import article
from staticnet.report.pixels import as_pixels

Array = np.ndarray[Any, Any]
SHOWN = 20  # images of a row


def predictions_page(
    title: str, images: Array, labels: Array, scores: Array, classes: Sequence[str]
) -> str:
    """One HTML page of how images were classified.

    images: floats in [0, 1] [n, h, w], or [n, c, h, w] of 1 or 3 channels; labels: int [n];
    scores: [n, classes], as before a softmax
    """
    chances = _softmax(scores)
    taken, sure = chances.argmax(axis=1), chances.max(axis=1)
    right = taken == labels
    told = f"{right.sum():,} of {len(labels):,} images are right: {right.mean():.2%}."
    surest = np.argsort(-sure, kind="stable")
    doubtful = surest[::-1]
    rows = (
        ("Wrong, and sure of it", surest[~right[surest]], "wrong"),
        ("Right, and sure of it", surest[right[surest]], "right"),
        ("Right, and in doubt", doubtful[right[doubtful]], "right"),
    )
    parts = [
        article.paragraph(told),
        article.heading("By class"),
        _by_class(labels, taken, classes),
    ]
    for name, chosen, kind in rows:
        figures = (
            _figure(images[i], classes[labels[i]], classes[taken[i]], sure[i])
            for i in chosen[:SHOWN]
        )
        parts += [article.heading(name), f'<div class="{kind}">{article.row(figures)}</div>']
    return article.page(title, parts)


def class_accuracy(labels: Array, taken: Array, classes: int) -> Array:
    """The share of each class's images that were taken for it; NaN of a class without any.

    labels, taken: int [n] -> float64 [classes]
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    right = np.bincount(labels[labels == taken], minlength=classes)
    return np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0)


def shown_share(share: float) -> str:
    """`71.3%`; of NaN, which is a class without images, that there are none."""
    return "no images" if np.isnan(share) else f"{share:.1%}"


def _by_class(labels: Array, taken: Array, classes: Sequence[str]) -> article.Part:
    shares = class_accuracy(labels, taken, len(classes))
    rows = [
        (
            name,
            int((labels == i).sum()),
            shown_share(shares[i]),
            _mistakes(labels, taken, i, classes),
        )
        for i, name in enumerate(classes)
    ]
    return article.table(("class", "images", "right", "most often taken for"), rows)


def _mistakes(labels: Array, taken: Array, number: int, classes: Sequence[str]) -> str:
    counts = np.bincount(taken[labels == number], minlength=len(classes))
    counts[number] = 0
    most = np.argsort(-counts, kind="stable")[:2]
    return ", ".join(f"{classes[i]} ({counts[i]})" for i in most if counts[i])


def _figure(image: Array, label: str, taken: str, sure: float) -> article.Part:
    caption = taken if taken == label else f"{taken}, is {label}"
    pixels = as_pixels(image)
    scale = max(1, 96 // max(pixels.shape[:2]))
    return article.figure(
        article.image(pixels, f"an image of {label}", scale), f"{caption} {sure:.0%}"
    )


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
