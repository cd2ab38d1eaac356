"""Layers that multiply by a weight."""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.value import Value
from staticnet.nn import init
from staticnet.nn.arguments import as_parameter_dtype
from staticnet.nn.functional import bilinear, linear
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seeds
from staticnet.ops.arguments import as_size
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
        dtype = as_parameter_dtype(dtype)
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

    def forward(self, input: Any) -> Value:
        """input @ weight.T + bias"""
        return linear(input, self.weight, self.bias)

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
        dtype = as_parameter_dtype(dtype)
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

    def forward(self, input1: Any, input2: Any) -> Value:
        """input1 . weight . input2 + bias"""
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{sizes}, out_features={self.out_features}, bias={self.bias is not None}"
