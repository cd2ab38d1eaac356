"""Layers that multiply by a weight, and dropout."""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.value import Value
from staticnet.nn import init
from staticnet.nn.arguments import as_number
from staticnet.nn.functional import bilinear, dropout, linear
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seed, next_seeds
from staticnet.ops.arguments import as_size
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


class Bilinear(Module):
    """y[o] = x1 . weight[o] . x2 + bias[o].  x1: [*b, in1], x2: [*b, in2] -> y: [*b, out]

    weight [out, in1, in2] and bias [out] start from U(-1 / sqrt(in1), 1 / sqrt(in1)).

    Raises:
        ArgumentError: if a size is not a positive int.
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        self.in1_features = as_size(in1_features, "Bilinear: in1_features")
        self.in2_features = as_size(in2_features, "Bilinear: in2_features")
        self.out_features = as_size(out_features, "Bilinear: out_features")
        bound = 1 / math.sqrt(in1_features)
        for_weight, for_bias = next_seeds(seed, 2)
        shape = (out_features, in1_features, in2_features)
        self.weight = variable(init.uniform(shape, -bound, bound, dtype, seed=for_weight))
        self.bias: Variable | None = None
        if bias:
            first = init.uniform((out_features,), -bound, bound, dtype, seed=for_bias)
            self.bias = variable(first)

    def forward(self, x1: Any, x2: Any) -> Value:
        """x1 . weight . x2 + bias"""
        return bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{sizes}, out_features={self.out_features}, bias={self.bias is not None}"


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
