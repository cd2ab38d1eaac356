"""Transformers (Vaswani et al., "Attention is all you need", 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_parameter_dtype, check_choice
from staticnet.nn.functional.activation import gelu
from staticnet.nn.init import xavier_uniform
from staticnet.nn.layers.attention import MultiheadAttention
from staticnet.nn.layers.container import ModuleList
from staticnet.nn.layers.dropout import Dropout
from staticnet.nn.layers.linear import Linear
from staticnet.nn.layers.normalization import LayerNorm
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seed, next_seeds
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.random import Generator
from staticnet.ops.selection import relu

ACTIVATIONS: dict[str, Callable[[Any], Value]] = {"relu": relu, "gelu": gelu}
_STOPS = 9  # seeds of a layer


class _Layer(Module):
    """What the layers of encoder and decoder share: self-attention, and two linear maps.

    Each part's result is dropped from and added to its input, and this normalised; if `norm_first`
    the part's input is normalised instead.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Value] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        if isinstance(activation, str):
            check_choice(activation, "activation", *ACTIVATIONS)
            activation = ACTIVATIONS[activation]
        elif not callable(activation):
            raise ArgumentError(f"activation must be a name or a function, not {activation!r:.60}")
        seeds = next_seeds(seed, _STOPS)
        self.norm_first = as_bool(norm_first, "norm_first")

        def attention(seed: int) -> MultiheadAttention:
            return MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, seed=seed
            )

        self.self_attn = attention(seeds[0])
        parts = 2
        if self._crosses():
            self.multihead_attn = attention(seeds[1])
            parts = 3
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype, seed=seeds[2])
        self.dropout = Dropout(dropout, seed=seeds[3])
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, seed=seeds[4])
        for i in range(1, parts + 1):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            setattr(self, f"norm{i}", norm)
        for i in range(1, parts + 1):
            setattr(self, f"dropout{i}", Dropout(dropout, seed=seeds[4 + i]))
        self.activation = activation

    def _crosses(self) -> bool:
        """Whether there is attention to a memory between the two parts."""
        return False

    def _add(self, x: Value, number: int, part: Callable[[Value], Value]) -> Value:
        """x with what a part makes of it; the part's norm and dropout have its number."""
        norm, drop = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + drop(part(norm(x)))
        result: Value = norm(x + drop(part(x)))
        return result

    def _attend(self, attention: Any, memory: Any, mask: Any, padding: Any, causal: bool) -> Any:
        """The part that attends to a memory or, without one, to its input."""

        def part(x: Value) -> Value:
            keys = x if memory is None else memory
            y, _ = attention(
                x, keys, keys, key_padding_mask=padding, need_weights=False, attn_mask=mask,
                is_causal=causal,
            )  # fmt: skip
            result: Value = y
            return result

        return part

    def _feed_forward(self, x: Value) -> Value:
        activation = guarded(f"{type(self).__name__}: activation", self.activation)
        y: Value = self.linear2(self.dropout(activation(self.linear1(x))))
        return y


class TransformerEncoderLayer(_Layer):
    """y = x + attention(x), then y + linear2(activation(linear1(y))), each normalised.

    src: [t, n, d_model], or with n first if `batch_first`, or without -> y: as src. Masks are those
    of `MultiheadAttention`.

    Raises:
        ArgumentError: if an argument is out of its range.
    """

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Value:
        """The layer of src."""
        attend = self._attend(self.self_attn, None, src_mask, src_key_padding_mask, is_causal)
        return self._add(self._add(src, 1, attend), 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """As an encoder's layer, with attention to a memory, an encoder's result, between its parts.

    tgt: [t, n, d_model], memory: [s, n, d_model], or with n first if `batch_first`, or without
    -> y: as tgt

    Raises:
        ArgumentError: if an argument is out of its range.
    """

    def _crosses(self) -> bool:
        return True

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Value:
        """The layer of tgt and memory."""
        own = self._attend(self.self_attn, None, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        cross = self._attend(
            self.multihead_attn, memory, memory_mask, memory_key_padding_mask, memory_is_causal
        )
        return self._add(self._add(self._add(tgt, 1, own), 2, cross), 3, self._feed_forward)


class _Stack(Module):
    """Copies of a layer one after the other, and a norm; each copy drops by keys of its own."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        count = as_size(num_layers, f"{type(self).__name__}: num_layers")
        copies = [copy.deepcopy(layer) for _ in range(count)]
        for made in copies:
            for module in made.modules():
                generator = getattr(module, "_generator", None) if _drops(module) else None
                if isinstance(generator, Generator):
                    generator.restart(next_seed())
        self.layers = ModuleList(copies)
        self.num_layers = count
        self.norm = norm

    def _run(self, x: Value, *args: Any) -> Value:
        for layer in self.layers:
            x = layer(x, *args)
        return x if self.norm is None else self.norm(x)


def _drops(module: Module) -> bool:
    return "_generator" in vars(module)


class TransformerEncoder(_Stack):
    """num_layers copies of an encoder's layer, and a norm.  src: [t, n, d] -> y: [t, n, d]

    `enable_nested_tensor` and `mask_check` are PyTorch's hints, and change nothing.

    Raises:
        ArgumentError: if num_layers is not a positive int.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Value:
        """The layers of src, one after the other."""
        return self._run(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """num_layers copies of a decoder's layer, and a norm.

    tgt: [t, n, d], memory: [s, n, d] -> y: [t, n, d]

    Raises:
        ArgumentError: if num_layers is not a positive int.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Value:
        """The layers of tgt and memory, one after the other."""
        return self._run(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            bool(tgt_is_causal), memory_is_causal,
        )  # fmt: skip


class Transformer(Module):
    """An encoder of `src`, whose result a decoder of `tgt` attends to; each ends in a LayerNorm.

    Matrices begin as `init.xavier_uniform` has them. `custom_encoder` and `custom_decoder` replace
    the two. The masks are those of encoder and decoder.

    src: [s, n, d_model], tgt: [t, n, d_model], or with n first if `batch_first`, or without
    -> y: as tgt

    Raises:
        ArgumentError: if an argument is out of its range.
        ShapeError: if src or tgt is not of d_model features.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Value] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        own = next_seeds(seed, 3)
        sizes = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first)

        def made(
            layer: type[_Layer], stack: Callable[..., Module], count: int, seed: int
        ) -> Module:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            return stack(layer(*sizes, norm_first, bias, dtype, seed=seed), count, norm)

        self.encoder = custom_encoder or made(
            TransformerEncoderLayer, TransformerEncoder, num_encoder_layers, own[0]
        )
        self.decoder = custom_decoder or made(
            TransformerDecoderLayer, TransformerDecoder, num_decoder_layers, own[1]
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, bool(batch_first)
        matrices = [p for p in self.parameters() if p.ndim > 1]
        for p, start in zip(matrices, next_seeds(own[2], len(matrices)), strict=True):
            p.value = xavier_uniform(p.shape, dtype=p.dtype, seed=start)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Value:
        """The decoder of tgt and the encoder of src."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        y: Value = self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            tgt_is_causal, memory_is_causal,
        )  # fmt: skip
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = "float32") -> Any:
        """y[i, j] = 0 where j <= i, else -inf: what may not be attended to.  -> y: [sz, sz]"""
        later = np.triu(np.ones((as_size(sz, "sz"),) * 2, bool), 1)
        return np.where(later, -np.inf, 0).astype(as_parameter_dtype(dtype))
