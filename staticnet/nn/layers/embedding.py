"""Layers that look rows of a weight up."""

from __future__ import annotations

from typing import Any, Self

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import as_dtype, is_floating
from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn import init
from staticnet.nn.functional.embedding import padding_row
from staticnet.nn.module import Module
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.promotion import as_array
from staticnet.ops.state import variable


class _Lookup(Module):
    """The weight and the options that the two layers share."""

    def _start(
        self, sizes: tuple[Any, Any], options: dict[str, Any], seed: int | None, dtype: Any
    ) -> None:
        name = type(self).__name__
        self.num_embeddings = as_size(sizes[0], f"{name}: num_embeddings")
        self.embedding_dim = as_size(sizes[1], f"{name}: embedding_dim")
        shape = (self.num_embeddings, self.embedding_dim)
        padding = options.pop("padding_idx")
        self.padding_idx: Any = None if padding is None else padding_row(padding, shape[0])
        for key, value in options.items():
            setattr(self, key, value)
        first = init.normal(shape, dtype=dtype, seed=seed)
        if self.padding_idx is not None:
            first[self.padding_idx] = 0
        self.weight = variable(first)

    def extra_repr(self) -> str:
        """The sizes, and the options that are not PyTorch's defaults."""
        defaults = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "mode": "mean"}
        defaults |= {"scale_grad_by_freq": False, "include_last_offset": False}
        held = [(key, getattr(self, key, value), value) for key, value in defaults.items()]
        more = [f"{key}={value!r}" for key, value, usual in held if value != usual]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *more])


def _weights(embeddings: Any, what: str) -> Any:
    array = as_array(embeddings)
    if array.ndim != 2 or not is_floating(array.dtype):
        raise ArgumentError(f"{what}: the weight must be a matrix of floats, not {array!r:.60}")
    return array


class Embedding(_Lookup):
    """y[i] = weight[x[i]].  x: int [*s] -> y: [*s, embedding_dim]

    weight [num_embeddings, embedding_dim] starts from N(0, 1), and from 0 in the row padding_idx,
    which gets no gradient. The options are those of `nn.functional.embedding`. A negative index
    counts from the end; one outside [-num_embeddings, num_embeddings) fails the run.

    Raises:
        ArgumentError: if a size is not a positive int, or there is no row padding_idx.
    """

    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        as_bool(sparse, "Embedding: sparse")
        options = {
            "padding_idx": padding_idx,
            "max_norm": max_norm,
            "norm_type": norm_type,
            "scale_grad_by_freq": scale_grad_by_freq,
        }
        self._start((num_embeddings, embedding_dim), options, seed, as_dtype(dtype))

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer of a given weight, not trained if `freeze`.  embeddings: [n, d]

        Raises:
            ArgumentError: if the weight is no matrix of floats.
        """
        array = _weights(embeddings, "from_pretrained")
        rows, columns = array.shape
        layer = cls(
            rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            array.dtype, seed=0,
        )  # fmt: skip
        layer.weight.value = array
        layer.weight.trainable = not as_bool(freeze, "freeze")
        return layer

    def forward(self, input: Any) -> Value:
        """The rows of weight that the input names."""
        options = self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        return F.embedding(input, self.weight, *options)


class EmbeddingBag(_Lookup):
    """y[b] = the sum, mean or max of the rows of weight in bag b.

    x: int [b, n], or [m] with offsets [b] -> y: [b, embedding_dim]. The options are those of
    `nn.functional.embedding_bag`.

    Raises:
        ArgumentError: if a size is not a positive int, or there is no row padding_idx.
    """

    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    mode: str
    include_last_offset: bool

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        as_bool(sparse, "EmbeddingBag: sparse")
        options = {
            "padding_idx": padding_idx,
            "max_norm": max_norm,
            "norm_type": norm_type,
            "scale_grad_by_freq": scale_grad_by_freq,
            "mode": mode,
            "include_last_offset": include_last_offset,
        }
        self._start((num_embeddings, embedding_dim), options, seed, as_dtype(dtype))

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Self:
        """A layer of a given weight, not trained if `freeze`.  embeddings: [n, d]

        Raises:
            ArgumentError: if the weight is no matrix of floats.
        """
        array = _weights(embeddings, "from_pretrained")
        rows, columns = array.shape
        layer = cls(rows, columns, dtype=array.dtype, seed=0, **options)
        layer.weight.value = array
        layer.weight.trainable = not as_bool(freeze, "freeze")
        return layer

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Value:
        """What each bag gives."""
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.mode, False, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip
