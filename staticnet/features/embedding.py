"""Where examples lie beside each other: nearest ones, and maps of two axes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import ArgumentError, DependencyError, ShapeError
from staticnet.ir.hints import install
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.linalg.decompositions import svd
from staticnet.ops.arguments import as_size
from staticnet.ops.arithmetic import maximum
from staticnet.ops.base import as_value, named
from staticnet.ops.indexing import take_along_axis
from staticnet.ops.reduction import mean
from staticnet.ops.selection import where
from staticnet.ops.shape import flatten, sum
from staticnet.ops.sorting import top_k
from staticnet.ops.transcendental import sqrt

Array = np.ndarray[Any, Any]
LEAST = 1e-12  # of a length, so that none is divided by 0


class PCAResult(NamedTuple):
    """Coordinates [n, k], axes [k, d], and the share of the variance that each axis has [k]."""

    coordinates: Value
    axes: Value
    shares: Value


@named
def nearest(queries: Any, known: Any, k: int) -> tuple[Value, Value]:
    """The k of the known examples whose direction is nearest to each query's, nearest first.

    queries: [m, *s], known: [n, *s] -> cosines [m, k], indices int64 [m, k]

    Raises:
        ShapeError: if k is more than n, or examples are of different sizes.
    """
    a, b = (_directions(each) for each in (queries, known))
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"examples must be of one size, not {format_shape(a.shape)} and {format_shape(b.shape)}"
        )
    return top_k(a @ b.mT, k, axis=1)


@named
def pca(x: Any, k: int = 2) -> PCAResult:
    """The k directions in which examples differ most, by the singular values of x - mean(x).

    Each axis points to where the element that is greatest in size is positive.

    x: [n, *s] -> coordinates [n, k], axes [k, d], shares [k], d the elements of an example

    Raises:
        ShapeError: if there are fewer than k examples, or elements of one.
    """
    rows, count = _rows(x), as_size(k, "k")
    if count > min(d for d in rows.shape if isinstance(d, int)):
        raise ShapeError(f"k = {count} is more than {format_shape(rows.shape)} has")
    centred = rows - mean(rows, axis=0, keepdims=True)
    _, s, vt = svd(centred, full_matrices=False)
    axes = vt[:count]
    greatest = take_along_axis(axes, top_k(axes * axes, 1, axis=1)[1], axis=1)
    axes = where(greatest < 0, -axes, axes)
    return PCAResult(centred @ axes.mT, axes, (s * s)[:count] / maximum(sum(s * s), LEAST))


def tsne(x: Any, k: int = 2, *, perplexity: float = 30.0, seed: int = 0) -> Array:
    """A map on which neighbours stay neighbours (van der Maaten and Hinton, "Visualizing data using
    t-SNE", 2008), by scikit-learn, on the host.

    x: array [n, *s] -> float32 [n, k]

    Raises:
        ArgumentError: if x is no array of at least three examples, or the perplexity out of range.
        DependencyError: if scikit-learn is not installed.
    """
    rows = np.asarray(x)
    if rows.ndim < 2 or rows.dtype.kind not in "iuf" or len(rows) < 3:
        raise ArgumentError(f"tsne: x must be an array of examples, not {type(x).__name__}")
    if not 1 <= as_size(k, "tsne: k") <= 3:
        raise ArgumentError(f"tsne: a map has one to three axes, not {k}")
    if not 0 < perplexity < len(rows):
        raise ArgumentError(f"tsne: perplexity must be in (0, {len(rows)}), not {perplexity!r:.60}")
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        hint = install("examples")
        raise DependencyError(f"tsne: scikit-learn not found; {hint}") from None
    made = TSNE(k, perplexity=perplexity, random_state=seed, init="pca")
    return np.asarray(made.fit_transform(rows.reshape(len(rows), -1)), np.float32)


def _rows(x: Any) -> Value:
    x = as_value(x)
    if x.ndim < 2:
        raise ShapeError(f"examples must be [n, *s], not {format_shape(x.shape)}")
    return flatten(x, 1) if x.ndim > 2 else x


def _directions(x: Any) -> Value:
    """Examples as rows of length 1."""
    rows = _rows(x)
    return rows / maximum(sqrt(sum(rows * rows, axis=1, keepdims=True)), LEAST)
