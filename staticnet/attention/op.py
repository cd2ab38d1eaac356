"""Attention as one op, and its gradient as another: nothing of [t, s] is kept between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from staticnet.attention import plain
from staticnet.attention.scores import (
    INFINITY,
    by_logsumexp,
    check_operands,
    grouped,
    products,
    scores,
    sharing,
    ungrouped,
)
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import BOOL, FLOAT32, UINT64, DType, compute_dtype
from staticnet.ir.types import TensorType, TupleType, format_shape
from staticnet.ops.arguments import FLOATS, check_kind
from staticnet.ops.base import TensorOp, apply, items
from staticnet.ops.batching import align
from staticnet.ops.creation import ones_like, zeros_like
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose, permute_dims
from staticnet.ops.random import Key, random_words_at, uniform
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, sum, sum_to_shape
from staticnet.ops.widening import widened

BLOCK = 1 << 22  # scores that `eval` has at a time
LAYOUTS = ("first", "last")
GIVEN = ("delta", "result")


@dataclass(frozen=True)
class Attention(TensorOp, name="attention"):
    """(y, l): y = w v, w = softmax(scale q kᵀ + mask) along the keys, l = ln sum(e**scores).

    q: [n, h, t, d], k: [n, g, s, d], v: [n, g, s, e], scale: [], mask: [n, h, t, s] or 1 along
    any axis -> y: [n, h, t, e] or, where `layout` is "last", [n, t, h, e]; l: [n, h, t]

    Head i of the queries has head i // (h / g) of keys and values. `causal`: query i has the keys
    0 … i alone. Where a bool mask is False a key is left out; a floating one is added. A query
    without keys gives y = 0 and l = inf, whereby e**(score - l) = 0 are its weights. scale and l
    have the dtype that is computed in; 16-bit results are rounded once.

    If it `drops` weights, three operands follow: key and counter, uint64 [], and kept: [] of the
    dtype that is computed in. Weight e of all in their order stays, divided by kept, where number e
    of those that key and counter name, even in [0, 1), is below it; it is 0 elsewhere.

    Rabe and Staats, "Self-attention does not need O(n²) memory", 2021; Dao, "FlashAttention-2:
    faster attention with better parallelism and work partitioning", 2023.
    """

    causal: bool
    layout: str = field(default="first", kw_only=True)  # of y's heads
    drops: bool = field(default=False, kw_only=True)
    arity = None
    same_dtype: ClassVar[slice] = slice(0, 3)
    kinds: ClassVar[frozenset[str]] = FLOATS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout not in LAYOUTS:
            raise ArgumentError(f"{self.name}: layout must be one of {LAYOUTS}")

    @property
    def rows(self) -> tuple[int, ...]:
        """Which operands are rows of features."""
        return (0, 1, 2)

    def infer(self, *operands: TensorType) -> TensorType:
        (q, k, v, scale), mask, drops = split_operands(self, operands)
        wide = _check((q, k, v, scale), mask, drops)
        n, h, t, _ = q.shape
        axes = (n, t, h) if self.layout == "last" else (n, h, t)
        out = q.with_shape((*axes, v.shape[3]))
        return TupleType((out, q.with_shape(q.shape[:3]).with_dtype(wide)))

    def eval(self, xp: Any, *operands: Any) -> Any:
        (q, k, v, scale), mask, drops = split_operands(self, operands)
        out = xp.empty((*q.shape[:3], v.shape[3]), q.dtype)
        lse = xp.empty(q.shape[:3], compute_dtype(q.dtype))
        for at, s in _scores_by_rows(xp, self.causal, q, k, scale, mask):
            top = xp.max(s, -1, keepdims=True, initial=-INFINITY)
            top = xp.where(top == -INFINITY, 0, top)
            powers = xp.exp(s - top)
            total = xp.sum(powers, -1, keepdims=True)
            empty = total == 0
            powers = _dropped(xp, powers, at, q, drops)
            y = xp.matmul(powers, _wide(v)[:, :, None]) / xp.where(empty, 1, total)
            out[:, :, at] = _flat(y)
            lse[:, :, at] = _flat(xp.where(empty, INFINITY, xp.log(total) + top))[..., 0]
        return (out.swapaxes(1, 2) if self.layout == "last" else out), lse

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        (out, lse), (g_out, g_lse) = items(y), g
        (q, k, v, scale), mask, drops = split_operands(self, operands)
        g_out = zeros_like(out) if g_out is None else g_out
        if self.layout == "last":
            out, g_out = (permute_dims(x, (0, 2, 1, 3)) for x in (out, g_out))
        delta = sum(widened(g_out) * widened(out), -1)
        delta = delta if g_lse is None else delta - g_lse
        given = (q, k, v, g_out, scale, lse, delta)
        gradient = AttentionGradient(self.causal, drops=self.drops)
        return (
            *items(apply(gradient, *given, *mask, *drops)),
            *_of_scale_and_mask(self.causal, *given, mask, drops),
            *(None for _ in drops),
        )

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        count = len(operands) - 3 * self.drops
        (q, k, v, *mask), scale, _ = _merged(size, batched[:count], operands[:count], 3)
        n = operands[0].shape[int(batched[0])]
        made: Sequence[Any]
        if self.drops:
            factors = _factors(size, n, batched[count:], q, k, operands[count:])
            y, lse = plain.attention(self.causal, q, k, v, scale, mask, factors)
            made = [permute_dims(y, (0, 2, 1, 3)) if self.layout == "last" else y, lse]
        else:
            made = items(apply(self, q, k, v, scale, *mask))
        return [_parted(x, size, n) for x in made]

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        q, k, v = operands[:3]
        pairs = size_of((*q.shape[:3], k.shape[2]))
        return pairs * (2 * q.shape[3] + 2 * v.shape[3] + 4) // (2 if self.causal else 1)


@dataclass(frozen=True)
class AttentionGradient(TensorOp, name="attention_gradient"):
    """(dq, dk, dv) of `attention`, whose weights w = e**(scores - l) are computed again.

    With a the cotangent of y, ds = w (a vᵀ - delta): dq = scale ds k, dk = scale dsᵀ q, dv = wᵀ a;
    dk and dv are summed over the heads that share them.

    q, k, v, scale, mask: as in `attention`, a: [n, h, t, e], l: [n, h, t], delta: [n, h, t], the
    sum of a y less l's cotangent; and what follows if it `drops` -> as q, k, v

    Where `given` is "result", y: [n, h, t, e] stands in delta's place, and l has no cotangent.
    """

    causal: bool
    drops: bool = field(default=False, kw_only=True)
    given: str = field(default="delta", kw_only=True)
    arity = None
    same_dtype: ClassVar[slice] = slice(0, 4)
    kinds: ClassVar[frozenset[str]] = FLOATS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.given not in GIVEN:
            raise ArgumentError(f"{self.name}: given must be one of {GIVEN}")

    @property
    def rows(self) -> tuple[int, ...]:
        """Which operands are rows of features."""
        return (0, 1, 2, 3, 6) if self.given == "result" else (0, 1, 2, 3)

    def infer(self, *operands: TensorType) -> TensorType:
        (q, k, v, a, scale, lse, delta), mask, drops = split_operands(self, operands)
        wide = _check((q, k, v, scale), mask, drops)
        if a != q.with_shape((*q.shape[:3], v.shape[3])):
            raise ShapeError(f"the cotangent {a} must have v's features for each query of {q}")
        last = delta if self.given == "delta" else lse
        if lse != q.with_shape(q.shape[:3]).with_dtype(wide) or last != lse:
            raise ShapeError(f"l and delta must have a number for each query of {q}")
        if self.given == "result" and delta != a:
            raise ShapeError(f"the result {delta} must be as its cotangent {a}")
        return TupleType((q, k, v))

    def by_delta(self, *operands: Any) -> Sequence[Any]:
        """The same given delta, which is computed here if the result is given."""
        own = list(operands)
        if self.given == "result":
            own[6] = sum(widened(own[3]) * widened(own[6]), -1)
        return items(apply(replace(self, given="delta"), *own))

    def eval(self, xp: Any, *operands: Any) -> Any:
        (q, k, v, a, scale, lse, delta), mask, drops = split_operands(self, operands)
        if self.given == "result":
            delta = xp.sum(_wide(a) * _wide(delta), -1)
        g = k.shape[1]
        dq = xp.empty(q.shape, q.dtype)
        dk, dv = (xp.zeros(x.shape, compute_dtype(q.dtype)) for x in (k, v))
        for at, s in _scores_by_rows(xp, self.causal, q, k, scale, mask):
            lse_at, delta_at = (_by_groups(x[:, :, at], g)[..., None] for x in (lse, delta))
            q_at, a_at = (_by_groups(_wide(x)[:, :, at], g) for x in (q, a))
            w = xp.exp(s - lse_at)
            to_w = _dropped(xp, xp.matmul(a_at, _turned(_wide(v)[:, :, None])), at, q, drops)
            ds = w * (to_w - delta_at) * scale
            dq[:, :, at] = _flat(xp.matmul(ds, _wide(k)[:, :, None]))
            dk += xp.sum(xp.matmul(_turned(ds), q_at), 2)
            dv += xp.sum(xp.matmul(_turned(_dropped(xp, w, at, q, drops)), a_at), 2)
        return dq, dk.astype(k.dtype), dv.astype(v.dtype)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        """In plain ops, which have derivatives of any order."""
        (q, k, v, a, scale, lse, delta), mask, drops = split_operands(self, operands)
        if self.given == "result":
            return self._vjp_by_result(g, *operands)
        groups, factors = k.shape[1], plain.factors_of(q, k, drops)
        to_q, to_k, to_v = (
            zeros_like(widened(x)) if c is None else widened(c)
            for c, x in zip(g, (q, k, v), strict=True)
        )
        to_q, to_k, to_v = grouped(to_q, groups), expand_dims(to_k, 2), expand_dims(to_v, 2)
        queries, keys = grouped(widened(q), groups), expand_dims(widened(k), 2)
        values, a5 = expand_dims(widened(v), 2), grouped(widened(a), groups)
        w = by_logsumexp(scores(self.causal, q, k, scale, mask), lse)
        to_w = plain.dropped(matmul(a5, _t(values)), factors)
        rest = to_w - expand_dims(grouped(delta, groups), -1)
        ds = w * rest
        unscaled = matmul(to_q, _t(keys)) + matmul(queries, _t(to_k))
        to_ds = unscaled * scale
        through = to_ds * w  # to the weights' cotangents, and negative to delta
        to_s = w * (to_ds * rest + plain.dropped(matmul(a5, _t(to_v)), factors))
        to_products = plain.dropped(through, factors)  # a vᵀ
        to_a = matmul(to_products, values) + matmul(plain.dropped(w, factors), to_v)
        to_queries = (matmul(to_s, keys) + matmul(ds, to_k)) * scale
        to_keys = sum((matmul(_t(to_s), queries) + matmul(_t(ds), to_q)) * scale, 2)
        dtypes = [x.dtype for x in operands]
        return (
            astype(ungrouped(to_queries), dtypes[0]),
            astype(to_keys, dtypes[1]),
            astype(sum(matmul(_t(to_products), a5), 2), dtypes[2]),
            astype(ungrouped(to_a), dtypes[3]),
            sum(to_s * products(q, k)) + sum(ds * unscaled),
            -ungrouped(sum(to_s, -1)),
            -ungrouped(sum(through, -1)),
            *(_of_mask(to_s, m) for m in mask),
            *(None for _ in drops),
        )

    def _vjp_by_result(self, g: Any, *operands: Any) -> tuple[Any, ...]:
        """Through delta, the sum of a y."""
        a, y = operands[3], operands[6]
        delta = sum(widened(a) * widened(y), -1)
        plain_op = replace(self, given="delta")
        made = list(plain_op.vjp(None, g, *operands[:6], delta, *operands[7:]))
        to_delta = expand_dims(made[6], -1)
        made[3] = astype(widened(made[3]) + to_delta * widened(y), a.dtype)
        made[6] = astype(to_delta * widened(a), y.dtype)
        return tuple(made)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        if self.given == "result":
            a, y = align((batched[3], batched[6]), (operands[3], operands[6]))
            delta = sum(widened(a) * widened(y), -1)
            own = (*batched[:6], batched[3] or batched[6], *batched[7:])
            plain_op = replace(self, given="delta")
            return plain_op.batch(size, own, *operands[:6], delta, *operands[7:])
        count = len(operands) - 3 * self.drops
        (q, k, v, a, lse, delta, *mask), scale, factor = _merged(
            size, batched[:count], operands[:count], 4
        )
        n = operands[0].shape[int(batched[0])]
        given: Sequence[Any] = (q, k, v, a, scale, lse, delta)
        made: Sequence[Any]
        if self.drops:
            factors = _factors(size, n, batched[count:], q, k, operands[count:])
            made = plain.attention_gradient(self.causal, given, mask, factors)
        else:
            made = items(apply(self, *given, *mask))
        dq, dk, dv = (_parted(x, size, n) for x in made)
        return [dq if factor is None else astype(dq * factor, dq.dtype), dk, dv]

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        q, k, v = operands[:3]
        pairs = size_of((*q.shape[:3], k.shape[2]))
        return pairs * (6 * q.shape[3] + 4 * v.shape[3] + 5) // (2 if self.causal else 1)


def split_operands(
    op: Attention | AttentionGradient, operands: Sequence[Any]
) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """The operands that there always are, the mask if there is one, and what names a dropout.

    Raises:
        ArgumentError: if they are too few or too many.
    """
    own = 4 if isinstance(op, Attention) else 7
    end = len(operands) - 3 * op.drops
    if end not in (own, own + 1):
        more = ", key, counter and kept" if op.drops else ""
        names = "q, k, v, scale" if own == 4 else "q, k, v, a, scale, l, delta"
        raise ArgumentError(f"takes {names}, maybe a mask{more}, not {len(operands)}")
    return operands[:own], operands[own:end], operands[end:]


def _check(
    operands: Sequence[TensorType], mask: Sequence[TensorType], drops: Sequence[TensorType]
) -> DType:
    """The dtype that is computed in.

    Raises:
        DTypeError: if the dtypes do not fit.
        ShapeError: if the shapes do not.
    """
    q, k, v, scale = operands
    check_kind(q.dtype, FLOATS)
    if k.dtype != q.dtype or v.dtype != q.dtype:
        raise DTypeError(f"q, k and v must have one dtype: {q.dtype}, {k.dtype}, {v.dtype}")
    wide = compute_dtype(q.dtype)
    if scale.dtype != wide or scale.shape:
        raise ShapeError(f"scale must be {wide}[], not {scale.dtype}{format_shape(scale.shape)}")
    for x, dtype in zip(drops, (UINT64, UINT64, wide), strict=False):
        if x.dtype != dtype or x.shape:
            raise ShapeError(f"key, counter and kept must be numbers, uint64 and {wide}: {x}")
    for m in mask:
        if m.dtype not in (BOOL, q.dtype, wide):
            raise DTypeError(f"a mask must be bool or {q.dtype}, not {m.dtype}")
    wrong = check_operands(q, k, v, mask)
    if wrong:
        raise ShapeError(wrong)
    return wide


def _t(x: Any) -> Any:
    return matrix_transpose(x)


def _of_scale_and_mask(
    causal: bool, q: Any, k: Any, v: Any, a: Any, scale: Any, lse: Any, delta: Any,
    mask: Sequence[Any], drops: Sequence[Any],
) -> tuple[Any, ...]:  # fmt: skip
    """The products with an attention's derivatives by scale and mask, which hold all scores."""
    if not (scale.requires_grad or any(m.requires_grad for m in mask)):
        return (None,) * (1 + len(mask))
    groups = k.shape[1]
    w = by_logsumexp(scores(causal, q, k, scale, mask), lse)
    to_w = matmul(grouped(widened(a), groups), _t(expand_dims(widened(v), 2)))
    to_w = plain.dropped(to_w, plain.factors_of(q, k, drops))
    ds = w * (to_w - expand_dims(grouped(delta, groups), -1))
    to_scale = sum(ds * products(q, k)) if scale.requires_grad else None
    return (to_scale, *(_of_mask(ds, m) for m in mask))


def _of_mask(ds: Any, mask: Any) -> Any:
    """The product for a mask that is added to the scores."""
    if mask.dtype == BOOL or not mask.requires_grad:
        return None
    return astype(sum_to_shape(ungrouped(ds), mask.shape), mask.dtype)


def _merged(
    size: int | Dim, batched: Sequence[bool], operands: Sequence[Any], scale_at: int
) -> tuple[list[Any], Any, Any]:
    """Operands whose first axis is the examples' and the batch in one; scale, and what is in q.

    A mask that is every example's, and has one batch, stays as it is. A scale for each example is
    multiplied into q: that factor, and 1 as scale.
    """
    own = [x.shape[1:] if b else x.shape for x, b in zip(operands, batched, strict=True)]
    n, merged, factor = own[0][0], list[Any](), None
    scale = operands[scale_at]
    if batched[scale_at]:
        factor, scale = reshape(scale, (size, 1, 1, 1, 1)), ones_like(scale[0])
    for i, (x, is_batched, shape) in enumerate(zip(operands, batched, own, strict=True)):
        if i == scale_at:
            continue
        if not is_batched and shape[0] == 1 and n != 1:
            merged.append(x)
            continue
        x = x if is_batched else broadcast_to(x, (size, *shape))
        if i == 0 and factor is not None:
            x = astype(x * factor, x.dtype)
        x = broadcast_to(x, (size, n, *shape[1:]))
        merged.append(reshape(x, (size * n, *shape[1:])))
    return merged, scale, factor


def _factors(
    size: int | Dim, n: int | Dim, batched: Sequence[bool], q: Any, k: Any, drops: Sequence[Any]
) -> Any:
    """The weights' factors for all examples' batches in one axis: where each has its own key."""
    key, counter, kept = drops
    key, counter = align((*batched[:2],), (key, counter))
    if not any(batched):
        key, counter = (broadcast_to(x, (size,)) for x in (key, counter))
    if batched[2]:
        kept = reshape(kept, (size, 1, 1, 1, 1))
    stays = uniform(Key(key, counter), (n, *q.shape[1:3], k.shape[2])) < astype(kept, FLOAT32)
    whole = where(stays, 1 / kept, 0)
    return grouped(reshape(whole, (size * n, *whole.shape[2:])), k.shape[1])


def _parted(x: Any, size: int | Dim, n: int | Dim) -> Any:
    """x: [size * n, *s] -> y: [size, n, *s]"""
    return reshape(x, (size, n, *x.shape[1:]))


def _wide(x: Any) -> Any:
    """An array in the dtype that is computed in."""
    return x.astype(compute_dtype(x.dtype))


def _turned(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _dropped(xp: Any, w: Any, at: slice, q: Any, drops: Sequence[Any]) -> Any:
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


def _by_groups(x: Any, g: int) -> Any:
    """x: [n, h, *s] -> y: [n, g, h / g, *s]; of an axis of 1 both are 1"""
    n, h, *rest = x.shape
    return x.reshape((n, 1, 1, *rest) if h == 1 else (n, g, sharing(h, g), *rest))


def _flat(x: Any) -> Any:
    """x: [n, g, r, *s] -> y: [n, g * r, *s]"""
    n, g, r, *rest = x.shape
    return x.reshape(n, g * r, *rest)


def _scores_by_rows(xp: Any, causal: bool, q: Any, k: Any, scale: Any, mask: Sequence[Any]) -> Any:
    """(queries, their scores [n, g, h / g, queries, s]) of some queries at a time."""
    n, h, t, _ = q.shape
    groups, length = k.shape[1:3]
    keys = _turned(_wide(k)[:, :, None])
    rows = max(1, BLOCK // max(1, n * h * length))
    for first in range(0, t, rows):
        at = slice(first, min(first + rows, t))
        s = xp.matmul(_by_groups(_wide(q[:, :, at]), groups), keys) * scale
        for m in mask:
            m = _by_groups(m if m.shape[2] == 1 else m[:, :, at], groups)
            s = xp.where(m, s, -INFINITY) if m.dtype == BOOL else s + _wide(m)
        if causal:
            later = xp.arange(length) > xp.arange(at.start, at.stop)[:, None]
            s = xp.where(later, -INFINITY, s)
        yield at, s
