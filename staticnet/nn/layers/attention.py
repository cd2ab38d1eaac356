"""Attention with several heads (Vaswani et al., "Attention is all you need", 2017)."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL, is_floating
from staticnet.ir.types import Shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn import init
from staticnet.nn.arguments import as_floating, as_number
from staticnet.nn.functional.attention import attention_weights, scaled_dot_product_attention
from staticnet.nn.functional.dropout import dropout as drop
from staticnet.nn.functional.linear import linear
from staticnet.nn.layers.linear import Linear
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seeds
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.base import as_value, promoted
from staticnet.ops.creation import iota, zeros
from staticnet.ops.movement import concat, pad, permute_dims, split, swapaxes
from staticnet.ops.random import Generator, Key
from staticnet.ops.reduction import mean
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, squeeze
from staticnet.ops.state import Variable, variable


class MultiheadAttention(Module):
    """(y, w): heads of softmax(q kᵀ / sqrt(d)) v side by side, projected; w their weights.

    query: [t, n, embed_dim], key: [s, n, kdim], value: [s, n, vdim] -> y: [t, n, embed_dim],
    w: [n, t, s], the mean over the heads, or [n, num_heads, t, s]; n comes first if `batch_first`,
    and may be missing. q, k and v are query, key and value projected to num_heads of d =
    embed_dim / num_heads each.

    `in_proj_weight` [3 * embed_dim, embed_dim] or, where kdim or vdim differ, `q_proj_weight`,
    `k_proj_weight`, `v_proj_weight` start as Glorot's uniform, biases from 0. add_bias_kv: a learnt
    key and value after the others; add_zero_attn: zeros after them. dropout: of the weights, while
    training.

    Raises:
        ArgumentError: if a size is not a positive int, num_heads does not divide embed_dim, or
            dropout is not in [0, 1].
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        name = "MultiheadAttention"
        self.embed_dim = as_size(embed_dim, f"{name}: embed_dim")
        self.num_heads = as_size(num_heads, f"{name}: num_heads")
        self.kdim = as_size(embed_dim if kdim is None else kdim, f"{name}: kdim")
        self.vdim = as_size(embed_dim if vdim is None else vdim, f"{name}: vdim")
        self.dropout = as_number(dropout, f"{name}: dropout", 0, 1)
        self.add_zero_attn = as_bool(add_zero_attn, f"{name}: add_zero_attn")
        self.batch_first = as_bool(batch_first, f"{name}: batch_first")
        if self.embed_dim % self.num_heads:
            raise ArgumentError(f"{name}: {num_heads} heads must divide embed_dim {embed_dim}")
        self.head_dim = self.embed_dim // self.num_heads
        seeds = next_seeds(seed, 7)
        self._make_projections(dtype, seeds[:3])
        self.in_proj_bias = variable(init.zeros((3 * embed_dim,), dtype)) if bias else None
        self.bias_k: Variable | None = None
        self.bias_v: Variable | None = None
        if add_bias_kv:
            shape = (1, 1, embed_dim)
            self.bias_k = variable(init.xavier_normal(shape, dtype=dtype, seed=seeds[3]))
            self.bias_v = variable(init.xavier_normal(shape, dtype=dtype, seed=seeds[4]))
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype, seed=seeds[5])
        if self.out_proj.bias is not None:
            self.out_proj.bias.value = init.zeros((embed_dim,), dtype)
        if self.dropout:
            self._generator = Generator(seeds[6])
            self._generator.counter.name = ""  # to be named after its place here
            self.register_buffer("counter", self._generator.counter, persistent=False)

    def _make_projections(self, dtype: Any, seeds: list[int]) -> None:
        """One weight of all three projections, or three where keys or values have other sizes."""
        size = self.embed_dim

        def made(rows: int, columns: int, seed: int) -> Variable:
            return variable(init.xavier_uniform((rows, columns), dtype=dtype, seed=seed))

        self.in_proj_weight: Variable | None = None
        if self.kdim == self.vdim == size:
            self.in_proj_weight = made(3 * size, size, seeds[0])
            return
        self.q_proj_weight = made(size, size, seeds[0])
        self.k_proj_weight = made(size, self.kdim, seeds[1])
        self.v_proj_weight = made(size, self.vdim, seeds[2])

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Value, Value | None]:
        """(y, w); w is None unless `need_weights`, without which no weights are in memory.

        attn_mask: [t, s] or [n * num_heads, t, s], key_padding_mask: [n, s]; where a bool mask is
        True a key is left out, a floating one is added. is_causal: query i has the keys 0 … i, as
        a mask that is then given says, too. Of a query without keys w and the heads are zeros.

        Raises:
            ShapeError: if the shapes do not fit.
            DTypeError: if a mask is neither bool nor floating-point.
        """
        batched, query, key, value = self._batch_first(query, key, value)
        q, k, v = self._projected(query, key, value)
        k, v = self._with_more_keys(k, v)
        q, k, v = (self._heads(x) for x in (q, k, v))
        masks = [self._padding_mask(key_padding_mask, k.shape)]
        if is_causal and key_padding_mask is not None:
            masks.append(_earlier(q.shape[2], k.shape[2]))
        if not is_causal:
            masks.append(self._attn_mask(attn_mask, (*q.shape[:3], k.shape[2])))
        mask = _both([m for m in masks if m is not None], q)
        y, w = self._attend(q, k, v, mask, is_causal and mask is None, need_weights)
        y = self.out_proj(reshape(permute_dims(y, (0, 2, 1, 3)), query.shape))
        if w is not None and average_attn_weights:
            w = mean(w, 1)
        if not batched:
            return squeeze(y, 0), None if w is None else squeeze(w, 0)
        return y if self.batch_first else swapaxes(y, 0, 1), w

    def _attend(
        self, q: Value, k: Value, v: Value, mask: Any, causal: bool, need_weights: bool
    ) -> tuple[Value, Value | None]:
        p = self.dropout if self.training else 0.0
        drawn: Key | None = self._generator.key(like=q) if p else None
        if not need_weights:
            y = scaled_dot_product_attention(q, k, v, mask, p, causal, dropout_key=drawn)
            return y, None
        w = attention_weights(q, k, mask, causal)
        w = w if drawn is None else drop(w, p, drawn)
        return w @ v, w

    def _batch_first(self, *given: Any) -> tuple[bool, Value, Value, Value]:
        """Whether there is a batch; query, key and value as [n, t, features].

        Raises:
            ShapeError: if their axes do not fit.
        """
        same = all(x is given[0] for x in given)
        values = [as_floating(x) for x in promoted("attention", *(given[:1] if same else given))]
        ndim = values[0].ndim
        if ndim not in (2, 3) or any(x.ndim != ndim for x in values):
            raise ShapeError(
                "query, key and value must all have 3 axes, or 2 without a batch: "
                f"{', '.join(format_shape(x.shape) for x in values)}"
            )
        if ndim == 2:
            values = [expand_dims(x, 0) for x in values]
        elif not self.batch_first:
            values = [swapaxes(x, 0, 1) for x in values]
        query, key, value = values * 3 if same else values
        sizes = (self.embed_dim, self.kdim, self.vdim)
        fits = all(x.shape[2] == n for x, n in zip((query, key, value), sizes, strict=True))
        if not fits or key.shape[:2] != value.shape[:2] or query.shape[0] != key.shape[0]:
            raise ShapeError(
                f"query, key and value must have {sizes} features, one batch, key and value one "
                f"length: {', '.join(format_shape(x.shape) for x in (query, key, value))}"
            )
        return ndim == 3, query, key, value

    def _projected(self, query: Value, key: Value, value: Value) -> list[Value]:
        """q, k and v; of one and the same input by one product."""
        bias = self.in_proj_bias
        if self.in_proj_weight is None:
            weights: list[Any] = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif query is key and key is value:
            return split(linear(query, self.in_proj_weight, bias), 3, -1)
        else:
            weights = list(split(self.in_proj_weight, 3, 0))
        biases = [None] * 3 if bias is None else split(bias, 3)
        inputs = (query, key, value)
        return [linear(*x) for x in zip(inputs, weights, biases, strict=True)]

    def _with_more_keys(self, k: Value, v: Value) -> tuple[Value, Value]:
        """The learnt key and value, and zeros, after the others."""
        shape = (k.shape[0], 1, self.embed_dim)
        if self.bias_k is not None and self.bias_v is not None:
            k = concat([k, broadcast_to(self.bias_k, shape)], 1)
            v = concat([v, broadcast_to(self.bias_v, shape)], 1)
        if self.add_zero_attn:
            k, v = (concat([x, zeros(shape, x.dtype)], 1) for x in (k, v))
        return k, v

    def _heads(self, x: Value) -> Value:
        """x: [n, t, embed_dim] -> y: [n, num_heads, t, head_dim]"""
        n, t, _ = x.shape
        return permute_dims(reshape(x, (n, t, self.num_heads, self.head_dim)), (0, 2, 1, 3))

    def _more(self) -> int:
        """How many keys there are after the given ones."""
        return (self.bias_k is not None) + self.add_zero_attn

    def _padding_mask(self, mask: Any, keys: Shape) -> Value | None:
        """What a bool mask leaves, or a floating one adds: [n, 1, 1, s]."""
        if mask is None:
            return None
        mask = _kept(mask, "key_padding_mask")
        n, s = keys[0], keys[2] - self._more()
        if mask.shape != (n, s) and not (n == 1 and mask.shape == (s,)):
            raise ShapeError(
                f"key_padding_mask {format_shape(mask.shape)} must be {format_shape((n, s))}"
            )
        return _longer(reshape(mask, (n, 1, 1, s)), self._more())

    def _attn_mask(self, mask: Any, whole: Shape) -> Value | None:
        """What a bool mask leaves, or a floating one adds: [1, 1, t, s] or [n, num_heads, t, s]."""
        if mask is None:
            return None
        mask = _kept(mask, "attn_mask")
        n, h, t, s = whole
        square = (t, s - self._more())
        if mask.shape == square:
            return _longer(reshape(mask, (1, 1, *square)), self._more())
        if mask.shape != (n * h, *square):
            raise ShapeError(
                f"attn_mask {format_shape(mask.shape)} must be {format_shape(square)} or "
                f"{format_shape((n * h, *square))}"
            )
        return _longer(reshape(mask, (n, h, *square)), self._more())

    def extra_repr(self) -> str:
        """The sizes."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _kept(mask: Any, what: str) -> Value:
    """A bool mask of what is left out as one of what is kept; a floating one as it is.

    Raises:
        DTypeError: if it is neither.
    """
    mask = as_value(mask)
    if mask.dtype != BOOL and not is_floating(mask.dtype):
        raise DTypeError(f"{what} must be bool or floating-point, not {mask.dtype}")
    return ~mask if mask.dtype == BOOL else mask


def _longer(mask: Value, more: int) -> Value:
    """The mask with `more` keys at its end, which it keeps."""
    if not more:
        return mask
    widths = ((0, 0), (0, 0), (0, 0), (0, more))
    return pad(mask, widths, constant_values=mask.dtype == BOOL)


def _earlier(queries: int | Dim, keys: int | Dim) -> Value:
    """Whether a key is no later than a query.  -> [1, 1, queries, keys]"""
    square = (1, 1, queries, keys)
    return iota(square, 2) >= iota(square, 3)


def _both(masks: list[Value], like: Value) -> Value | None:
    """One mask that does what all do."""
    if not masks:
        return None
    if all(m.dtype == BOOL for m in masks):
        kept = masks[0]
        for m in masks[1:]:
            kept = kept & m
        return kept
    added = [
        where(m, 0.0, -float("inf")) if m.dtype == BOOL else m for m in masks
    ]  # fmt: skip
    total = astype(added[0], like.dtype)
    for m in added[1:]:
        total = total + astype(m, like.dtype)
    return total
