"""Layers that multiply by a weight or look rows of it up, and dropout."""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.value import Value
from staticnet.nn import init
from staticnet.nn.arguments import as_number
from staticnet.nn.functional import dropout, linear
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seed, next_seeds
from staticnet.ops.arguments import as_size
from staticnet.ops.indexing import take
from staticnet.ops.random import Generator
from staticnet.ops.state import Variable, variable


class Linear(Module):
    """y = x @ weight.T + bias.  x: [*b, in_features] -> y: [*b, out_features]

    weight [out_features, in_features] and bias [out_features] start from
    U(-1 / sqrt(in_features), 1 / sqrt(in_features)).

    Raises:
        ArgumentError: if a size is not a positive int.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        self.in_features = as_size(in_features, "Linear: in_features")
        self.out_features = as_size(out_features, "Linear: out_features")
        bound = 1 / math.sqrt(in_features)
        for_weight, for_bias = next_seeds(seed, 2)
        shape = (out_features, in_features)
        self.weight = variable(init.uniform(shape, -bound, bound, dtype, seed=for_weight))
        self.bias: Variable | None = None
        if bias:
            first = init.uniform((out_features,), -bound, bound, dtype, seed=for_bias)
            self.bias = variable(first)

    def forward(self, x: Any) -> Value:
        """x @ weight.T + bias"""
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Embedding(Module):
    """y[i] = weight[x[i]].  x: int [*s] -> y: [*s, embedding_dim]

    weight [num_embeddings, embedding_dim] starts from N(0, 1). A negative index counts from the
    end; one outside [-num_embeddings, num_embeddings) fails the run.

    Raises:
        ArgumentError: if a size is not a positive int.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        self.num_embeddings = as_size(num_embeddings, "Embedding: num_embeddings")
        self.embedding_dim = as_size(embedding_dim, "Embedding: embedding_dim")
        shape = (num_embeddings, embedding_dim)
        self.weight = variable(init.normal(shape, dtype=dtype, seed=seed))

    def forward(self, x: Any) -> Value:
        """The rows of weight that x names."""
        return take(self.weight, x, axis=0)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Dropout(Module):
    """y = 0 with probability p, else x / (1 - p), while training; y = x otherwise.

    x: [*s] -> y: [*s]. Each call in a graph and each run of the graph drops other elements. The
    buffer `counter` counts the runs; set back, it makes the same masks again. It is no part of
    `state_dict`, as PyTorch has none; to go on with the same masks, save it beside.

    Raises:
        ArgumentError: if p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        self.p = as_number(p, "Dropout: p", 0, 1)
        self._generator = Generator(next_seed(seed))
        self._generator.counter.name = ""  # to be named after its place here
        self.register_buffer("counter", self._generator.counter, persistent=False)

    def forward(self, x: Any) -> Value:
        """x with elements dropped, as the mode is now."""
        if not self.training or self.p == 0:
            return x
        return dropout(x, self.p, self._generator.key(like=x))

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
