"""Layers that drop elements or channels while training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.arguments import as_number
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seed
from staticnet.ops.arguments import as_bool
from staticnet.ops.random import Generator


class _Dropout(Module):
    """What the layers share: the probability, and where their random numbers come from.

    Each call in a graph and each run of the graph drops others. The buffer `counter` counts the
    runs; set back, it makes the same masks again. It is no part of `state_dict`, as PyTorch has
    none; to go on with the same masks, save it beside.

    Raises:
        ArgumentError: if p is not in [0, 1].
    """

    function: ClassVar[Callable[..., Value]]

    def __init__(self, p: float = 0.5, inplace: bool = False, *, seed: int | None = None) -> None:
        as_bool(inplace, f"{type(self).__name__}: inplace")
        self.p = as_number(p, f"{type(self).__name__}: p", 0, 1)
        self._generator = Generator(next_seed(seed))
        self._generator.counter.name = ""  # to be named after its place here
        self.register_buffer("counter", self._generator.counter, persistent=False)

    def forward(self, input: Any) -> Value:
        """The input with some dropped, as the mode is now."""
        if not self.training or self.p == 0:
            return input
        return type(self).function(input, self.p, True, key=self._generator.key(like=input))

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Dropout(_Dropout):
    """y = 0 with probability p, else x / (1 - p), while training; y = x otherwise.

    x: [*s] -> y: [*s]
    """

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """y = 0 for a channel with probability p, else x / (1 - p), while training; y = x otherwise.

    x: [n, c, l] or [c, l] -> y: as x
    """

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """y = 0 for a channel with probability p, else x / (1 - p), while training; y = x otherwise.

    x: [n, c, h, w] or [n, c, l] -> y: as x
    """

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """y = 0 for a channel with probability p, else x / (1 - p), while training; y = x otherwise.

    x: [n, c, d, h, w] or [c, d, h, w] -> y: as x
    """

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """y = a * (x, or with probability p selu's least value) + b, while training; else y = x.

    x: [*s] -> y: [*s]; a and b keep mean 0 and variance 1.
    """

    function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels.  x: [n, c, *s] -> y: as x"""

    function = staticmethod(F.feature_alpha_dropout)
