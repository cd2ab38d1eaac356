"""Attention (Vaswani et al., "Attention is all you need", 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from staticnet.attention.op import Attention
from staticnet.attention.scores import scores, sharing, ungrouped, weights
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import BOOL, compute_dtype, is_floating
from staticnet.ir.types import Shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.nn.functional.dropout import key_for, none_of
from staticnet.ops.arguments import broadcast_shapes
from staticnet.ops.base import apply, as_values, constant, function, items, promoted
from staticnet.ops.creation import dim_value
from staticnet.ops.promotion import dtype_of, is_scalar
from staticnet.ops.random import Key
from staticnet.ops.selection import astype
from staticnet.ops.shape import broadcast_to, expand_dims, reshape
from staticnet.ops.transcendental import sqrt
from staticnet.ops.widening import widened


@function
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
    *,
    dropout_key: Key | None = None,
) -> Value:
    """y = softmax(query keyᵀ * scale + mask) value, the softmax along the keys.

    query: [*b, t, d], key: [*b, s, d], value: [*b, s, e], attn_mask: broadcasts to [*b, t, s]
    -> y: [*b, t, e]. Leading axes broadcast; with `enable_gqa` the last of them is of heads, and
    each head of keys and values is shared by as many heads of queries as there are more of these
    (Ainslie et al., "GQA", 2023).

    A bool mask is True where a key takes part, a floating one is added. is_causal: query i has the
    keys 0 … i. A query without keys gives zeros. scale: 1 / sqrt(d) if it is not given. dropout_p:
    weights are dropped with that probability, by `dropout_key` or, without one, others each run.

    It is one op that keeps nothing of [t, s], nor does its gradient, which draws the same numbers
    again; for derivatives of a mask or of higher order, all weights are in memory.

    Raises:
        ShapeError: if the shapes do not fit.
        DTypeError: if the operands are not floating-point, or the mask is neither that nor bool.
        ArgumentError: if there are both a mask and is_causal, or dropout_p is not in [0, 1].
    """
    p = as_number(dropout_p, "dropout_p", 0, 1)
    if is_causal and attn_mask is not None:
        raise ArgumentError("takes attn_mask or is_causal=True, not both; put the two in one mask")
    q, k, v = promoted("attention", query, key, value)
    q, k, v = (as_floating(x) for x in as_values(q, k, v))
    lead = _lead(q, k, v, enable_gqa)
    heads, t, s, e = lead[-1] if lead else 1, q.shape[-2], k.shape[-2], v.shape[-1]
    mask = [] if attn_mask is None else [_as_mask(attn_mask, q, lead, (t, s))]
    q, k, v = (_with_two_leads(x, lead) for x in (q, k, v))
    k, v = _of_equal_heads(k, v, heads)
    q, k, v = as_values(q, k, v)
    factor = _scale(scale, q)
    drops = _drops(p, q, dropout_key)
    op = Attention(bool(is_causal), drops=bool(drops))
    y = items(apply(op, q, k, v, factor, *mask, *drops))[0]
    y = none_of(y) if p == 1 else y
    return reshape(y, (*lead, t, e))


def attention_weights(query: Value, key: Value, attn_mask: Any, is_causal: bool) -> Value:
    """softmax(query keyᵀ / sqrt(d) + mask) as such.  [n, h, t, d], [n, h, s, d] -> [n, h, t, s]

    Of a query without keys they are zeros.
    """
    square = (query.shape[2], key.shape[2])
    mask = [] if attn_mask is None else [_as_mask(attn_mask, query, query.shape[:2], square)]
    w = weights(scores(is_causal, query, key, _scale(None, query), mask))
    return astype(ungrouped(w), query.dtype)


def _lead(q: Value, k: Value, v: Value, enable_gqa: bool) -> Shape:
    """The result's leading axes.

    Raises:
        ShapeError: if the operands' shapes do not fit.
    """
    fits = min(q.ndim, k.ndim, v.ndim) >= (3 if enable_gqa else 2)
    fits = fits and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]
    if not fits:
        raise ShapeError(
            f"query, key and value must be [..., {'heads, ' if enable_gqa else ''}t, d], [..., s, "
            f"d] and [..., s, e], not {', '.join(format_shape(x.shape) for x in (q, k, v))}"
        )
    if not enable_gqa:
        return broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    h = q.shape[-3]
    for x, what in ((k, "key"), (v, "value")):
        if sharing(h, x.shape[-3]) is None:
            raise ShapeError(
                f"the query's {h} heads must be a multiple of the {what}'s {x.shape[-3]}"
            )
    return (*broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3]), h)


def _with_two_leads(x: Value, lead: Shape) -> Value:
    """x: [*b, m, n] -> y: [prod of the lead but its last, heads of x, m, n]"""
    heads = x.shape[-3] if x.ndim > 2 else 1
    if not lead:
        return reshape(x, (1, 1, *x.shape))
    batch = size_of(lead[:-1])
    whole = (*lead[:-1], heads, *x.shape[-2:])
    if x.shape != whole:
        x = broadcast_to(x, whole)
    return reshape(x, (batch, *whole[-3:])) if len(lead) != 2 else x


def _of_equal_heads(k: Value, v: Value, heads: int | Dim) -> tuple[Value, Value]:
    """Keys and values of as many heads: those of fewer are repeated."""
    if k.shape[1] == v.shape[1]:
        return k, v
    return _repeated(k, heads), _repeated(v, heads)


def _repeated(x: Value, heads: int | Dim) -> Value:
    n, g, *rest = x.shape
    times = sharing(heads, g)
    assert times is not None
    return reshape(broadcast_to(expand_dims(x, 2), (n, g, times, *rest)), (n, heads, *rest))


def _as_mask(mask: Any, q: Value, lead: Shape, square: Shape) -> Value:
    """The mask with the four axes of the op, each whole or 1.

    Raises:
        DTypeError: if it is neither bool nor floating-point.
        ShapeError: if it does not broadcast to the scores.
    """
    pair = promoted("attn_mask", mask, q) if is_floating(dtype_of(mask)) else as_values(mask, q)
    mask = pair[0]
    if mask.dtype != BOOL and not is_floating(mask.dtype):
        raise DTypeError(f"attn_mask must be bool or floating-point, not {mask.dtype}")
    if mask.dtype not in (BOOL, q.dtype):
        mask = astype(mask, compute_dtype(q.dtype))
    whole = (*lead, *square)
    own = (*(1,) * (len(whole) - mask.ndim), *mask.shape)
    if len(own) != len(whole) or any(d not in (1, w) for d, w in zip(own, whole, strict=True)):
        raise ShapeError(
            f"attn_mask {format_shape(mask.shape)} must broadcast to {format_shape(whole)}"
        )
    if not lead:
        return reshape(mask, (1, 1, *own))
    *batch, heads, rows, columns = own
    if all(d == 1 for d in batch):
        return reshape(mask, (1, heads, rows, columns))
    mask = broadcast_to(reshape(mask, own), (*lead[:-1], heads, rows, columns))
    return reshape(mask, (size_of(lead[:-1]), heads, rows, columns))


def _drops(p: float, q: Value, key: Key | None) -> Sequence[Value]:
    """What names the weights that are dropped: key, counter, and the probability that one stays."""
    if p in (0, 1):
        return ()
    key = key_for(q, key)
    return as_values(key.key, key.counter, constant(1 - p, compute_dtype(q.dtype)), q)[:3]


def _scale(scale: Any, q: Value) -> Value:
    """The factor of the scores, a scalar of the dtype that is computed in."""
    dtype = compute_dtype(q.dtype)
    d = q.shape[-1]
    if scale is None:
        if isinstance(d, Dim):
            return 1 / sqrt(dim_value(d, widened(q)))
        scale = 1 / math.sqrt(d) if d else 1.0
    if is_scalar(scale):
        scale = as_number(scale, "scale", -math.inf, math.inf)
        return as_values(constant(scale, dtype), q)[0]
    factor = as_floating(scale, q)
    if factor.shape:
        raise ShapeError(f"scale must be a number, not {format_shape(factor.shape)}")
    return astype(factor, dtype)
