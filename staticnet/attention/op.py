"""Attention as one op: nothing of [t, s] is kept for its gradient, which is another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from staticnet.attention import plain
from staticnet.attention.blocks import drop, flat, scores_by_rows, wide
from staticnet.attention.gradient import AttentionGradient, delta_of, of_scale_and_mask
from staticnet.attention.layout import LAYOUTS, back, in_layout
from staticnet.attention.operands import (
    check_types,
    factors_of_examples,
    merge,
    part,
    split_operands,
)
from staticnet.attention.scores import INFINITY
from staticnet.errors import ArgumentError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import compute_dtype
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.arguments import FLOATS
from staticnet.ops.base import TensorOp, apply, items
from staticnet.ops.creation import zeros_like
from staticnet.ops.movement import permute_dims


@dataclass(frozen=True)
class Attention(TensorOp, name="attention"):
    """(y, l): y = w v, w = softmax(scale q kᵀ + mask) along the keys, l = ln sum(e**scores).

    q: [n, h, t, d], k: [n, g, s, d], v: [n, g, s, e], scale: [], mask: [n, h, t, s] or 1 along
    any axis -> y: [n, h, t, e] or, where `layout` is "last", [n, t, h, e], and where it is "tokens"
    [t, n, h, e]; l: [n, h, t]

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
    names: ClassVar[tuple[str, ...]] = ("q", "k", "v", "scale")
    same_dtype: ClassVar[slice] = slice(0, 3)
    kinds: ClassVar[frozenset[str]] = FLOATS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout not in LAYOUTS:
            raise ArgumentError(f"{self.name}: layout must be one of {tuple(LAYOUTS)}")

    @property
    def rows(self) -> tuple[int, ...]:
        """Which operands are rows of features."""
        return (0, 1, 2)

    def infer(self, *operands: TensorType) -> TensorType:
        (q, k, v, scale), mask, drops = split_operands(self, operands)
        wide = check_types((q, k, v, scale), mask, drops)
        out = q.with_shape(in_layout(self.layout, (*q.shape[:3], v.shape[3])))
        return TupleType((out, q.with_shape(q.shape[:3]).with_dtype(wide)))

    def eval(self, xp: Any, *operands: Any) -> Any:
        (q, k, v, scale), mask, drops = split_operands(self, operands)
        out = xp.empty((*q.shape[:3], v.shape[3]), q.dtype)
        lse = xp.empty(q.shape[:3], compute_dtype(q.dtype))
        for at, s in scores_by_rows(xp, self.causal, q, k, scale, mask):
            top = xp.max(s, -1, keepdims=True, initial=-INFINITY)
            top = xp.where(top == -INFINITY, 0, top)
            powers = xp.exp(s - top)
            total = xp.sum(powers, -1, keepdims=True)
            empty = total == 0
            powers = drop(xp, powers, at, q, drops)
            y = xp.matmul(powers, wide(v)[:, :, None]) / xp.where(empty, 1, total)
            out[:, :, at] = flat(y)
            lse[:, :, at] = flat(xp.where(empty, INFINITY, xp.log(total) + top))[..., 0]
        return xp.transpose(out, LAYOUTS[self.layout]), lse

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        (out, lse), (g_out, g_lse) = items(y), g
        (q, k, v, scale), mask, drops = split_operands(self, operands)
        g_out = zeros_like(out) if g_out is None else g_out
        out, g_out = (permute_dims(x, back(self.layout)) for x in (out, g_out))
        delta = delta_of(g_out, out)
        delta = delta if g_lse is None else delta - g_lse
        given = (q, k, v, g_out, scale, lse, delta)
        gradient = AttentionGradient(self.causal, drops=self.drops)
        return (
            *items(apply(gradient, *given, *mask, *drops)),
            *of_scale_and_mask(self.causal, *given, mask, drops),
            *(None for _ in drops),
        )

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        count = len(operands) - 3 * self.drops
        (q, k, v, *mask), scale, _ = merge(size, batched[:count], operands[:count], 3)
        n = operands[0].shape[int(batched[0])]
        made: Sequence[Any]
        if self.drops:
            factors = factors_of_examples(size, n, batched[count:], q, k, operands[count:])
            made = plain.attention(self.causal, q, k, v, scale, mask, factors)
        else:
            made = items(apply(replace(self, layout="first"), q, k, v, scale, *mask))
        y, lse = (part(x, size, n) for x in made)
        return [permute_dims(y, (0, *(1 + i for i in LAYOUTS[self.layout]))), lse]

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        q, k, v = operands[:3]
        pairs = size_of((*q.shape[:3], k.shape[2]))
        return pairs * (2 * q.shape[3] + 2 * v.shape[3] + 4) // (2 if self.causal else 1)
