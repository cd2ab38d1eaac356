"""Distances, similarities and lengths of vectors.

Where a distance is 0 its derivative is given as 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticnet.errors import ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.linalg.norms import vector_norm
from staticnet.nn.arguments import as_floating, as_number, check_choice
from staticnet.ops.arguments import MAX_PLACES, as_bool, broadcast_shapes, normalize_axis
from staticnet.ops.base import function, promoted
from staticnet.ops.indexing import take
from staticnet.ops.selection import clip
from staticnet.ops.shape import broadcast_to, expand_dims, sum
from staticnet.ops.widening import rounded_once


@function
@rounded_once()
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Value:
    """y = x / max(|x|, eps), |x| the p-norm along `dim`, an axis or several.

    input x: [*s] -> y: [*s]

    Raises:
        ArgumentError: if p or eps is no number.
        OutOfRangeError: if an axis is out of range.
    """
    x = as_floating(input)
    least = as_number(eps, "eps", 0, math.inf)
    length = vector_norm(x, axis=dim, keepdims=True, ord=_order(p))
    return x / clip(length, least)


def _order(p: Any, least: float = -math.inf) -> float:
    return as_number(p, "p", least, math.inf)


def _both(x1: Any, x2: Any) -> tuple[Value, Value]:
    first, second = (as_floating(x) for x in promoted("distances", x1, x2))
    return first, second


@function
@rounded_once(2)
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Value:
    """y = x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along `dim`.

    x1, x2: broadcastable to [*a, d, *b], d at `dim` -> y: [*a, *b]

    Raises:
        ShapeError: if the shapes do not broadcast.
        OutOfRangeError: if the axis is out of range.
    """
    first, second = _both(x1, x2)
    shape = broadcast_shapes(first.shape, second.shape)
    axis = normalize_axis(dim, len(shape), "dim")
    least = as_number(eps, "eps", 0, math.inf)
    first, second = broadcast_to(first, shape), broadcast_to(second, shape)
    lengths = (vector_norm(x, axis=axis, keepdims=True) for x in (first, second))
    units = [x / clip(n, least) for x, n in zip((first, second), lengths, strict=True)]
    return sum(units[0] * units[1], axis)


@function
@rounded_once(2)
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Value:
    """y = the p-norm of x1 - x2 + eps along the last axis.

    x1, x2: broadcastable to [*s, d] -> y: [*s], or [*s, 1] if keepdim

    Raises:
        ShapeError: if the shapes do not broadcast, or have no axis.
    """
    first, second = _both(x1, x2)
    shape = broadcast_shapes(first.shape, second.shape)
    if not shape:
        raise ShapeError("distances are of vectors, and both operands are scalars")
    apart = first - second + as_number(eps, "eps", -math.inf, math.inf)
    return vector_norm(apart, axis=-1, keepdims=as_bool(keepdim, "keepdim"), ord=_order(p))


@function
@rounded_once(2)
def cdist(
    x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Value:
    """y[i, j] = the p-norm of x1[i] - x2[j]; for p = 0, the number of elements that differ.

    x1: [*b, m, d], x2: [*b, n, d], their batches broadcast -> y: [*b, m, n]. Always computed from
    the differences, which does not cancel; `compute_mode` is PyTorch's, and checked.

    Raises:
        ShapeError: if the operands are no matrices whose rows are of one length.
        ArgumentError: if p is negative.
    """
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist")
    check_choice(compute_mode, "compute_mode", *modes, "donot_use_mm_for_euclid_dist")
    first, second = _both(x1, x2)
    if min(first.ndim, second.ndim) < 2 or first.shape[-1] != second.shape[-1]:
        raise ShapeError(
            f"rows of one length are compared, not {format_shape(first.shape)} and "
            f"{format_shape(second.shape)}"
        )
    apart = expand_dims(first, -2) - expand_dims(second, -3)
    if apart.shape[-1] == 0:
        return sum(apart, -1)
    return vector_norm(apart, axis=-1, ord=_order(p, 0))


@function
@rounded_once()
def pdist(input: Any, p: float = 2.0) -> Value:
    """y = the p-norms of x[i] - x[j] for all i < j, in the order of (0, 1), (0, 2), …, (1, 2), ….

    input x: [n, d] -> y: [n * (n - 1) / 2]

    Raises:
        ShapeError: if x is no matrix, or n symbolic.
        ArgumentError: if p is negative.
    """
    x = as_floating(input)
    rows = x.shape[0] if x.ndim == 2 else None
    if not isinstance(rows, int):
        raise ShapeError(f"x {format_shape(x.shape)} must be a matrix of a fixed number of rows")
    order = _order(p, 0)
    if rows**2 > MAX_PLACES:
        raise ShapeError(
            f"{rows} rows have too many pairs for the table that the graph would hold; cdist(x, x) "
            "compares them without one"
        )
    first, second = np.triu_indices(rows, 1)
    apart = take(x, first, 0) - take(x, second, 0)
    return sum(apart, -1) if x.shape[-1] == 0 else vector_norm(apart, axis=-1, ord=order)
