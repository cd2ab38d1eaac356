"""What attention is made of, in plain ops: scores, weights, and the parts of their derivatives.

The axes of heads are two here, groups and the queries' heads that share one head of keys and
values. All is computed in float32 where the operands have 16 bits.

    q: [n, h, t, d], k: [n, g, s, d], v: [n, g, s, e], scale: [], mask: bool or floating,
    [n, h, t, s] or 1 along any of them -> scores, weights: [n, g, h / g, t, s]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL
from staticnet.ir.types import Shape, TensorType
from staticnet.ops.creation import iota
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.reduction import max
from staticnet.ops.selection import stop_gradient, where
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.transcendental import exp
from staticnet.ops.widening import widened

INFINITY = float("inf")


def sharing(h: int | Dim, g: int | Dim) -> int | Dim | None:
    """How many heads of queries share one head of keys; None if g does not divide h."""
    if h == g:
        return 1
    if g == 1:
        return h
    if not (isinstance(h, int) and isinstance(g, int)):
        return None
    return h // g if g and h % g == 0 else None


def grouped(x: Any, g: int | Dim) -> Any:
    """x: [n, h, *s] -> y: [n, g, h / g, *s]; of an axis of 1 both are 1"""
    n, h, *rest = x.shape
    return reshape(x, (n, 1, 1, *rest) if h == 1 else (n, g, sharing(h, g), *rest))


def ungrouped(x: Any) -> Any:
    """x: [n, g, r, *s] -> y: [n, g * r, *s]"""
    n, g, r, *rest = x.shape
    return reshape(x, (n, g * r, *rest))


def products(q: Any, k: Any) -> Any:
    """q kᵀ.  -> y: [n, g, h / g, t, s]"""
    keys = matrix_transpose(expand_dims(widened(k), 2))
    return matmul(grouped(widened(q), k.shape[1]), keys)


def scores(causal: bool, q: Any, k: Any, scale: Any, mask: Sequence[Any]) -> Any:
    """scale q kᵀ, -inf where the mask is False or, if causal, a key is later; or plus the mask."""
    s = products(q, k) * scale
    if mask:
        (m,) = mask
        m = grouped(widened(m) if m.dtype != BOOL else m, k.shape[1])
        s = where(m, s, -INFINITY) if m.dtype == BOOL else s + m
    if causal:
        square = s.shape[-2:]
        s = where(iota(square, 0) >= iota(square, 1), s, -INFINITY)
    return s


def weights(s: Any) -> Any:
    """e**s / sum(e**s) along the last axis; zeros where every score is -inf.

    s: [*b, t, s] -> y: [*b, t, s]
    """
    if 0 in s.shape:
        return s
    top = stop_gradient(max(s, -1, keepdims=True))
    powers = exp(s - where(top == -INFINITY, 0, top))
    total = sum(powers, -1, keepdims=True)
    return powers * (1 / where(total == 0, 1, total))


def by_logsumexp(s: Any, lse: Any) -> Any:
    """e**(s - lse): the weights again.  lse: [n, h, t], inf where every score is -inf"""
    return exp(s - expand_dims(grouped(lse, s.shape[1]), -1))


def check_operands(q: TensorType, k: TensorType, v: TensorType, mask: Sequence[TensorType]) -> str:
    """What is wrong with the shapes of an attention's operands, or nothing."""
    for x, what in ((q, "q"), (k, "k"), (v, "v")):
        if x.ndim != 4:
            return f"{what} must have 4 axes, batch, heads, length and features: {x}"
    if k.shape[:3] != v.shape[:3]:
        return f"k and v must agree in batch, heads and length: {k} and {v}"
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        return f"q and k must agree in batch and features: {q} and {k}"
    if sharing(q.shape[1], k.shape[1]) is None:
        return f"the {q.shape[1]} heads of q must be a multiple of k's {k.shape[1]}"
    whole: Shape = (*q.shape[:3], k.shape[2])
    for m in mask:
        if m.ndim != 4 or any(d not in (1, w) for d, w in zip(m.shape, whole, strict=True)):
            return f"the mask {m} must have the axes {whole}, or 1"
    return ""
