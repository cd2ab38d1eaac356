"""Attention by blocks of queries on arrays, as the reference computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.attention.scores import INFINITY, sharing
from staticnet.ir.dtype import BOOL, compute_dtype
from staticnet.ops.random import random_words_at

BLOCK = 1 << 22  # scores that are there at a time


def scores_by_rows(xp: Any, causal: bool, q: Any, k: Any, scale: Any, mask: Sequence[Any]) -> Any:
    """(queries, their scores [n, g, h / g, queries, s]) of some queries at a time."""
    n, h, t, _ = q.shape
    groups, length = k.shape[1:3]
    keys = turned(wide(k)[:, :, None])
    rows = max(1, BLOCK // max(1, n * h * length))
    for first in range(0, t, rows):
        at = slice(first, min(first + rows, t))
        s = xp.matmul(by_groups(wide(q[:, :, at]), groups), keys) * scale
        for m in mask:
            m = by_groups(m if m.shape[2] == 1 else m[:, :, at], groups)
            s = xp.where(m, s, -INFINITY) if m.dtype == BOOL else s + wide(m)
        if causal:
            later = xp.arange(length) > xp.arange(at.start, at.stop)[:, None]
            s = xp.where(later, -INFINITY, s)
        yield at, s


def drop(xp: Any, w: Any, at: slice, q: Any, drops: Sequence[Any]) -> Any:
    """Weights [n, g, h / g, queries, s] of the queries `at` times a dropout's factors."""
    if not drops:
        return w
    key, counter, kept = drops
    n, heads, t, _ = q.shape
    length = w.shape[-1]
    rows = xp.arange(n * heads)[:, None] * t + xp.arange(at.start, at.stop)
    places = rows[..., None] * length + xp.arange(length)
    words = random_words_at(key, counter, places, xp)
    even = (words >> 8).astype(np.float32) * np.float32(2.0**-24)
    return w * xp.where(even < np.float32(kept), 1 / kept, 0).astype(w.dtype).reshape(w.shape)


def by_groups(x: Any, g: int) -> Any:
    """x: [n, h, *s] -> y: [n, g, h / g, *s]; of an axis of 1 both are 1"""
    n, h, *rest = x.shape
    return x.reshape((n, 1, 1, *rest) if h == 1 else (n, g, sharing(h, g), *rest))


def flat(x: Any) -> Any:
    """x: [n, g, r, *s] -> y: [n, g * r, *s]"""
    n, g, r, *rest = x.shape
    return x.reshape(n, g * r, *rest)


def wide(x: Any) -> Any:
    """An array in the dtype that is computed in."""
    return x.astype(compute_dtype(x.dtype))


def turned(x: Any) -> Any:
    """x: [.., a, b] -> y: [.., b, a]"""
    return x.swapaxes(-1, -2)
