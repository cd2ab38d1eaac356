"""Attention and its gradient in plain ops, with the weights' factors of a dropout, if there is one.

The operands are those of the ops in `op.py` and `gradient.py`; factors: [n, g, h / g, t, s]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.attention.scores import INFINITY, by_logsumexp, grouped, scores, ungrouped
from staticnet.ir.dtype import FLOAT32
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.random import Key, bernoulli
from staticnet.ops.reduction import max
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, sum
from staticnet.ops.transcendental import exp, log
from staticnet.ops.widening import widened


def attention(
    causal: bool, q: Any, k: Any, v: Any, scale: Any, mask: Sequence[Any], factors: Any = None
) -> tuple[Any, Any]:
    """(y, l) of `Attention`, with heads first."""
    w, lse = weights_and_logsumexp(scores(causal, q, k, scale, mask))
    values = expand_dims(widened(v), 2)
    return astype(ungrouped(matmul(dropped(w, factors), values)), q.dtype), lse


def weights_and_logsumexp(s: Any) -> tuple[Any, Any]:
    """(w, l): softmax along the keys, and ln sum(e**s); 0 and inf of a query without keys.

    s, w: [n, g, h / g, t, s] -> l: [n, h, t]
    """
    top = max(s, -1, keepdims=True)
    top = where(top == -INFINITY, 0, top)
    powers = exp(s - top)
    total = sum(powers, -1, keepdims=True)
    empty = total == 0
    lse = where(empty, INFINITY, log(total) + top)
    return powers / where(empty, 1, total), ungrouped(lse)[..., 0]


def attention_gradient(
    causal: bool, given: Sequence[Any], mask: Sequence[Any], factors: Any = None
) -> tuple[Any, Any, Any]:
    """(dq, dk, dv) of `AttentionGradient`.  given: its q, k, v, a, scale, l and delta"""
    q, k, v, a, scale, lse, delta = given
    groups = k.shape[1]
    queries, keys = grouped(widened(q), groups), expand_dims(widened(k), 2)
    values, cotangent = expand_dims(widened(v), 2), grouped(widened(a), groups)
    w = by_logsumexp(scores(causal, q, k, scale, mask), lse)
    to_w = dropped(matmul(cotangent, matrix_transpose(values)), factors)
    ds = w * (to_w - expand_dims(grouped(delta, groups), -1)) * scale
    dq = ungrouped(matmul(ds, keys))
    dk = sum(matmul(matrix_transpose(ds), queries), 2)
    dv = sum(matmul(matrix_transpose(dropped(w, factors)), cotangent), 2)
    return astype(dq, q.dtype), astype(dk, k.dtype), astype(dv, v.dtype)


def factors_of(q: Any, k: Any, drops: Sequence[Any]) -> Any:
    """What a dropout multiplies each weight by: 1 / kept with the probability kept, else 0.

    drops: key and counter, uint64 [], and kept: []; or nothing
    """
    if not drops:
        return None
    key, counter, kept = drops
    stays = bernoulli(Key(key, counter), astype(kept, FLOAT32), (*q.shape[:3], k.shape[2]))
    return grouped(where(stays, 1 / kept, 0), k.shape[1])


def dropped(w: Any, factors: Any) -> Any:
    """Weights times their factors, if there are any."""
    return w if factors is None else w * factors
