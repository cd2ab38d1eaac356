"""One step of a recurrent layer as a layer, for loops of one's own."""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.value import Value
from staticnet.nn import init
from staticnet.nn.arguments import check_choice
from staticnet.nn.functional.recurrent import (
    CELLS,
    gru_cell,
    lstm_cell,
    rnn_relu_cell,
    rnn_tanh_cell,
)
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seeds
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.base import as_values
from staticnet.ops.creation import zeros
from staticnet.ops.state import Variable, variable


class _RecurrentCell(Module):
    """What the cells share: weights [g * h, in] and [g * h, h], and biases."""

    def __init__(
        self, kind: str, input_size: int, hidden_size: int, bias: bool, dtype: Any, seed: int | None
    ) -> None:
        name = type(self).__name__
        self.input_size = as_size(input_size, f"{name}: input_size")
        self.hidden_size = as_size(hidden_size, f"{name}: hidden_size")
        self.bias = as_bool(bias, f"{name}: bias")
        rows, bound = CELLS[kind].gates * hidden_size, 1 / math.sqrt(hidden_size)
        seeds = iter(next_seeds(seed, 4))

        def first(*shape: int) -> Variable:
            return variable(init.uniform(shape, -bound, bound, dtype, seed=next(seeds)))

        self.weight_ih = first(rows, input_size)
        self.weight_hh = first(rows, hidden_size)
        self.bias_ih = first(rows) if bias else None
        self.bias_hh = first(rows) if bias else None

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _zero(self, input: Any) -> tuple[Value, Value]:
        """The input, and a state of zeros that goes with it."""
        x, *_ = as_values(input, self.weight_ih)
        state = zeros((*x.shape[:-1], self.hidden_size), self.weight_ih.dtype)
        return x, as_values(x, state)[1]

    def extra_repr(self) -> str:
        """The sizes, and whether there is no bias."""
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(_RecurrentCell):
    """h' = tanh(w_ih @ x + b_ih + w_hh @ h + b_hh), or relu.

    x: [n, input_size] or [input_size], h: [n, hidden_size] or [hidden_size], 0 where it is not
    given -> as h. Weights start from U(-1, 1) / sqrt(hidden_size).

    Raises:
        ArgumentError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        check_choice(nonlinearity, "RNNCell: nonlinearity", "tanh", "relu")
        self.nonlinearity = nonlinearity
        super().__init__(nonlinearity, input_size, hidden_size, bias, dtype, seed)

    def forward(self, input: Any, hx: Any = None) -> Value:
        """h after the step."""
        if hx is None:
            input, hx = self._zero(input)
        cell = rnn_tanh_cell if self.nonlinearity == "tanh" else rnn_relu_cell
        return cell(input, hx, *self._weights())

    def extra_repr(self) -> str:
        """The sizes, and what is not as usual."""
        other = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + other


class LSTMCell(_RecurrentCell):
    """c' = f * c + i * g, h' = o * tanh(c'), with gates i, f, g, o.

    x: [n, input_size] or [input_size], (h, c): [n, hidden_size] or [hidden_size] each, 0 where
    they are not given -> (h', c'). Weights start from U(-1, 1) / sqrt(hidden_size).

    Raises:
        ArgumentError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__("lstm", input_size, hidden_size, bias, dtype, seed)

    def forward(self, input: Any, hx: Any = None) -> tuple[Value, Value]:
        """(h, c) after the step."""
        if hx is None:
            input, zero = self._zero(input)
            hx = zero, zero
        return lstm_cell(input, hx, *self._weights())


class GRUCell(_RecurrentCell):
    """h' = (1 - z) * n + z * h, n = tanh(w_in @ x + b_in + r * (w_hn @ h + b_hn)), gates r, z.

    x: [n, input_size] or [input_size], h: [n, hidden_size] or [hidden_size], 0 where it is not
    given -> as h. Weights start from U(-1, 1) / sqrt(hidden_size).

    Raises:
        ArgumentError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__("gru", input_size, hidden_size, bias, dtype, seed)

    def forward(self, input: Any, hx: Any = None) -> Value:
        """h after the step."""
        if hx is None:
            input, hx = self._zero(input)
        return gru_cell(input, hx, *self._weights())
