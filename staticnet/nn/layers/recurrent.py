"""Recurrent layers: Elman's, LSTM and GRU, stacked and in both directions."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn import init
from staticnet.nn.arguments import as_floating, as_number, check_choice
from staticnet.nn.functional.dropout import dropout
from staticnet.nn.functional.recurrent import (
    CELLS,
    Cell,
    State,
    Weights,
    check_state,
    pair_of,
    unroll,
    weights_of,
)
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seeds
from staticnet.nn.utils.rnn import PackedSequence, mask_of, pack_padded_sequence
from staticnet.ops.arguments import as_bool, as_int, as_size
from staticnet.ops.base import as_values, promoted
from staticnet.ops.creation import zeros
from staticnet.ops.movement import concat, stack, swapaxes
from staticnet.ops.random import Generator
from staticnet.ops.shape import expand_dims, squeeze
from staticnet.ops.state import Variable, variable

log = logging.getLogger("staticnet")


class _Recurrent(Module):
    """What the recurrent layers share; a subclass says of which kind its cell is."""

    _kind: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        dtype: Any,
        seed: int | None,
    ) -> None:
        name = type(self).__name__
        self.input_size = as_size(input_size, f"{name}: input_size")
        self.hidden_size = as_size(hidden_size, f"{name}: hidden_size")
        self.num_layers = as_size(num_layers, f"{name}: num_layers")
        self.bias = as_bool(bias, f"{name}: bias")
        self.batch_first = as_bool(batch_first, f"{name}: batch_first")
        self.bidirectional = as_bool(bidirectional, f"{name}: bidirectional")
        self.dropout = as_number(dropout, f"{name}: dropout", 0, 1)
        below = f"an int >= 0 and below hidden_size = {hidden_size}"
        self.proj_size = as_int(proj_size, f"{name}: proj_size", 0, hidden_size - 1, below)
        if self.dropout and num_layers == 1:
            log.warning("%s: dropout is between layers, and num_layers is 1: nothing drops", name)
        *seeds, for_dropout = next_seeds(seed, 5 * num_layers * (1 + bidirectional) + 1)
        bound = 1 / math.sqrt(hidden_size)
        for name, shape in self._shapes():
            first = init.uniform(shape, -bound, bound, dtype, seed=seeds.pop())
            setattr(self, name, variable(first))
        if self.dropout:
            self._generator = Generator(for_dropout)
            self._generator.counter.name = ""  # to be named after its place here
            self.register_buffer("counter", self._generator.counter, persistent=False)

    @property
    def _cell(self) -> Cell:
        return CELLS[self._kind]

    def _places(self) -> Iterator[tuple[int, str]]:
        """(layer, ending of its weights' names), in the order of the states."""
        for layer in range(self.num_layers):
            yield from ((layer, suffix) for suffix in ("", "_reverse")[: 1 + self.bidirectional])

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(name, shape) of each weight, in PyTorch's order."""
        rows, out = self._cell.gates * self.hidden_size, self.proj_size or self.hidden_size
        for layer, suffix in self._places():
            below = out * (1 + self.bidirectional) if layer else self.input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, below),
                "weight_hh": (rows, out),
            }
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if self.proj_size:
                shapes["weight_hr"] = (out, self.hidden_size)
            yield from ((f"{name}_l{layer}{suffix}", shape) for name, shape in shapes.items())

    @property
    def all_weights(self) -> list[list[Variable]]:
        """The weights of each layer and direction, in the order of their names."""
        names = [name for name, _ in self._shapes()]
        each = len(names) // (self.num_layers * (1 + self.bidirectional))
        weights = [getattr(self, name) for name in names]
        return [weights[i : i + each] for i in range(0, len(weights), each)]

    def flatten_parameters(self) -> None:
        """Nothing: weights need not lie in one piece here."""

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """(y, state) of a sequence, or of a batch of them; of a PackedSequence (packed y, state).

        Raises:
            ShapeError: if shapes do not fit, or the sequence has no steps.
            ArgumentError: if lengths are given for one sequence, or twice.
        """
        if not isinstance(input, PackedSequence):
            return self._padded(input, hx, lengths)
        if lengths is not None:
            raise ArgumentError("a PackedSequence has lengths already")
        y, state = self._padded(input.padded, hx, input.lengths, steps_first=True)
        return PackedSequence(y, input.lengths), state

    def _padded(
        self, input: Any, hx: Any, lengths: Any, steps_first: bool = False
    ) -> tuple[Value, Any]:
        x, state, weights = self._operands(input, hx)
        if x.ndim == 2:
            if lengths is not None:
                raise ArgumentError("one sequence is as long as it is; lengths are for a batch")
            x, state = expand_dims(x, 1), tuple(expand_dims(part, 1) for part in state)
            y, state = self._layers(x, state, weights, None)
            return squeeze(y, 1), self._whole([squeeze(part, 1) for part in state])
        turned = self.batch_first and not steps_first
        x = swapaxes(x, 0, 1) if turned else x
        keep = None
        if lengths is not None:
            keep = mask_of(pack_padded_sequence(x, lengths).lengths, x)
        y, state = self._layers(x, state, weights, keep)
        return swapaxes(y, 0, 1) if turned else y, self._whole(state)

    def _operands(self, input: Any, hx: Any) -> tuple[Value, State, list[Weights]]:
        """The input, the first state if it is given, and the weights, as Values of one kind."""
        parts = () if hx is None else self._states(hx)
        own = [w for each in self.all_weights for w in each]
        x, *rest = map(as_floating, promoted(type(self).__name__, input, *parts, *own))
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"the input {format_shape(x.shape)} must be [t, n, {self.input_size}], "
                f"or [t, {self.input_size}]"
            )
        values = iter(rest[len(parts) :])
        weights = []
        for _ in self._places():
            w_ih, w_hh = next(values), next(values)
            b_ih, b_hh = (next(values) if self.bias else None for _ in range(2))
            weights.append(
                weights_of(
                    self._cell, w_ih, w_hh, b_ih, b_hh, next(values) if self.proj_size else None
                )
            )
        return x, tuple(rest[: len(parts)]), weights

    def _states(self, hx: Any) -> tuple[Any, ...]:
        return pair_of(hx) if self._cell.states == 2 else (hx,)

    def _whole(self, state: Sequence[Value]) -> Any:
        return tuple(state) if self._cell.states == 2 else state[0]

    def _layers(
        self, x: Value, given: State, weights: Sequence[Weights], keep: Value | None
    ) -> tuple[Value, State]:
        """(y, state) of all layers.  x: [t, n, in] -> y: [t, n, d * out]"""
        if x.shape[0] == 0:
            raise ShapeError("the sequence has no steps")
        directions = 1 + self.bidirectional
        first = self._first(x, given, len(weights))
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = dropout(x, self.dropout, key=self._generator.key(like=x))
            rows = []
            for direction in range(directions):
                place = layer * directions + direction
                state, y = unroll(
                    self._cell, x, first[place], weights[place], keep, reverse=bool(direction)
                )
                rows.append(y)
                last.append(state)
            x = concat(rows, -1) if self.bidirectional else rows[0]
        return x, tuple(stack(parts) for parts in zip(*last, strict=True))

    def _first(self, x: Value, given: State, count: int) -> list[State]:
        """The first state of each layer and direction."""
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: self._cell.states]
        if not given:
            shapes = [(x.shape[1], size) for size in sizes]
            zero = as_values(x, *(zeros(shape, x.dtype) for shape in shapes))[1:]
            return [tuple(zero)] * count
        for part, size in zip(given, sizes, strict=True):
            check_state(part, (count, x.shape[1], size))
        return [tuple(part[i] for part in given) for i in range(count)]

    def extra_repr(self) -> str:
        """The sizes, and what is not as usual."""
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        other = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *other])


class RNN(_Recurrent):
    """h' = tanh(w_ih @ x + b_ih + w_hh @ h + b_hh), or relu: Elman's network.

    x: [t, n, input_size], with `batch_first` [n, t, input_size], or [t, input_size]
    -> y: the last layer's h after each step, [t, n, d * hidden_size], and h after the last step,
    [num_layers * d, n, hidden_size]; d is 2 if `bidirectional`, else 1. Called as (x, hx=None,
    lengths=None): `hx` is the first h, 0 where it is not given, and `lengths`, int [n], end
    sequences sooner: y is 0 after the end, and the h that of the end. `dropout` is the probability
    between layers. Weights start from U(-1, 1) / sqrt(hidden_size). Elman, "Finding structure in
    time", 1990.

    Raises:
        ArgumentError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        check_choice(nonlinearity, "RNN: nonlinearity", "tanh", "relu")
        self.nonlinearity = self._kind = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            seed,
        )


class LSTM(_Recurrent):
    """c' = f * c + i * g, h' = o * tanh(c'), with gates i, f, g, o of w_ih @ x + w_hh @ h + b.

    x, y and `lengths` as in RNN; the state is a pair (h, c). With `proj_size` h is w_hr @ (o *
    tanh(c')) of so many units (Sak et al., "Long short-term memory based recurrent neural network
    architectures", 2014). Hochreiter and Schmidhuber, "Long short-term memory", 1997.

    Raises:
        ArgumentError: if an argument is out of range.
    """

    _kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype,
            seed,
        )


class GRU(_Recurrent):
    """h' = (1 - z) * n + z * h, n = tanh(w_in @ x + b_in + r * (w_hn @ h + b_hn)), gates r, z.

    x, y, state and `lengths` as in RNN. Cho et al., "Learning phrase representations using RNN
    encoder-decoder", 2014.

    Raises:
        ArgumentError: if an argument is out of range.
    """

    _kind = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            seed,
        )
