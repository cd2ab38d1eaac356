"""One step of a recurrent layer: the next state from an input and the state before.

Gates are computed in float32 where the state has 16 bits; a state is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.control.scan import scan
from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating
from staticnet.nn.functional.linear import linear
from staticnet.ops.base import function, promoted
from staticnet.ops.creation import zeros_like
from staticnet.ops.movement import concat
from staticnet.ops.selection import astype, relu, where
from staticnet.ops.transcendental import sigmoid, tanh
from staticnet.ops.widening import widened

State = tuple[Value, ...]


@dataclass(frozen=True)
class Weights:
    """What a cell multiplies by and adds, its gates one after another along the first axis.

    input: [g * h, in], hidden: [out, g * h], biases: [g * h], projection: [h, out]; out is h
    without a projection. What a step multiplies by is as it reads it: a transpose within the loop
    would keep the products of its gradient there.
    """

    input: Value
    hidden: Value
    input_bias: Value | None = None
    hidden_bias: Value | None = None
    projection: Value | None = None


@dataclass(frozen=True)
class Cell:
    """A kind of recurrence: `gates` blocks of the weights, a state of `states` parts.

    `rows` is what depends on the input alone, to be made for all steps at once; `after` gives the
    next state from it and the state.
    """

    gates: int
    states: int
    rows: Callable[[Value, Weights], Value]
    after: Callable[[Value, State, Weights], State]


def _all_biases(x: Value, w: Weights) -> Value:
    """x @ w.input.T + both biases: neither depends on the state."""
    if w.input_bias is None or w.hidden_bias is None:
        return linear(x, w.input, w.input_bias if w.hidden_bias is None else w.hidden_bias)
    return linear(x, w.input, w.input_bias + w.hidden_bias)


def _gru_biases(x: Value, w: Weights) -> Value:
    """x @ w.input.T + the biases, but for the new gate's hidden one, which r multiplies."""
    bias = w.input_bias
    if w.hidden_bias is not None:
        size = w.hidden.shape[0]
        head, tail = w.hidden_bias[: 2 * size], w.hidden_bias[2 * size :]
        outside = concat([head, zeros_like(tail)])
        bias = outside if bias is None else bias + outside
    return linear(x, w.input, bias)


def _products(row: Value, h: Value, w: Weights) -> Value:
    return widened(row) + widened(h @ w.hidden)


def _gates(z: Value, count: int) -> list[Value]:
    size = z.shape[-1] // count
    return [z[..., k * size : (k + 1) * size] for k in range(count)]


def _elman(activation: Callable[[Value], Value]) -> Cell:
    def after(row: Value, state: State, w: Weights) -> State:
        (h,) = state
        return (astype(activation(_products(row, h, w)), h.dtype),)

    return Cell(1, 1, _all_biases, after)


def _after_lstm(row: Value, state: State, w: Weights) -> State:
    h, c = state
    i, f, g, o = _gates(_products(row, h, w), 4)
    memory = sigmoid(f) * widened(c) + sigmoid(i) * tanh(g)
    out = astype(sigmoid(o) * tanh(memory), h.dtype)
    if w.projection is not None:
        out = out @ w.projection
    return out, astype(memory, c.dtype)


def _after_gru(row: Value, state: State, w: Weights) -> State:
    (h,) = state
    outer, inner = _gates(widened(row), 3), _gates(widened(h @ w.hidden), 3)
    if w.hidden_bias is not None:
        inner[2] = inner[2] + widened(w.hidden_bias[2 * h.shape[-1] :])
    r, z = (sigmoid(x + y) for x, y in zip(outer[:2], inner[:2], strict=True))
    new = tanh(outer[2] + r * inner[2])
    return (astype((1 - z) * new + z * widened(h), h.dtype),)


CELLS = {
    "tanh": _elman(tanh),
    "relu": _elman(relu),
    "lstm": Cell(4, 2, _all_biases, _after_lstm),
    "gru": Cell(3, 1, _gru_biases, _after_gru),
}


@function
def rnn_tanh_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Value:
    """h' = tanh(w_ih @ x + b_ih + w_hh @ h + b_hh) (Elman, "Finding structure in time", 1990).

    input: x [n, in] or [in], hx: h [n, h] or [h], w_ih: [h, in], w_hh: [h, h], b_*: [h] -> as h

    Raises:
        ShapeError: if they do not fit.
    """
    return _step("tanh", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function
def rnn_relu_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Value:
    """h' = max(0, w_ih @ x + b_ih + w_hh @ h + b_hh); shapes and errors as in `rnn_tanh_cell`."""
    return _step("relu", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function
def gru_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> Value:
    """h' = (1 - z) * n + z * h with gates r, z, n (Cho et al., "Learning phrase representations",
    2014), r after the product: n = tanh(w_in @ x + b_in + r * (w_hn @ h + b_hn)).

    input: x [n, in] or [in], hx: h [n, h] or [h], w_ih: [3h, in], w_hh: [3h, h], b_*: [3h] -> as h

    Raises:
        ShapeError: if they do not fit.
    """
    return _step("gru", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function
def lstm_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Value, Value]:
    """c' = f * c + i * g, h' = o * tanh(c') with gates i, f, g, o (Hochreiter and Schmidhuber,
    "Long short-term memory", 1997; f by Gers et al., 1999).

    input: x [n, in] or [in], hx: (h, c) of [n, h] or [h], w_ih: [4h, in], w_hh: [4h, h],
    b_*: [4h] -> (h', c')

    Raises:
        ShapeError: if they do not fit.
        ArgumentError: if hx is no pair.
    """
    h, c = pair_of(hx)
    h, c = _step("lstm", input, (h, c), w_ih, w_hh, b_ih, b_hh)
    return h, c


def unroll(
    cell: Cell, x: Value, state: State, w: Weights, keep: Value | None, reverse: bool
) -> tuple[State, Value]:
    """The state after all steps, and the first part of it after each; products of x come first.

    x: [t, n, in], state: [n, out], keep: bool [t, n, 1] -> state: [n, out], y: [t, n, out]
    Where `keep` is not, the state stays and y is 0.
    """

    def step(state: State, row: Any) -> tuple[State, Value]:
        if keep is None:
            state = cell.after(row, state, w)
            return state, state[0]
        row, kept = row
        after = cell.after(row, state, w)
        state = tuple(where(kept, new, old) for new, old in zip(after, state, strict=True))
        return state, where(kept, after[0], 0)

    rows = cell.rows(x, w)
    return scan(step, state, rows if keep is None else (rows, keep), reverse=reverse)


def pair_of(hx: Any) -> tuple[Any, Any]:
    """(h, c); raises ArgumentError if it is none."""
    if not isinstance(hx, tuple | list) or len(hx) != 2:
        raise ArgumentError(f"an LSTM's state is a pair (h, c), not {hx!r:.60}")
    return hx[0], hx[1]


def _step(kind: str, input: Any, hx: Sequence[Any], *parameters: Any) -> State:
    cell = CELLS[kind]
    given = [p for p in parameters if p is not None]
    values = iter(promoted("a cell", input, *hx, *given))
    x = as_floating(next(values))
    state = tuple(as_floating(next(values)) for _ in hx)
    w = weights_of(cell, *(None if p is None else next(values) for p in parameters))
    check_input(x, w, (1, 2))
    for part in state:
        check_state(part, (*x.shape[:-1], w.hidden.shape[0]))
    return cell.after(cell.rows(x, w), state, w)


def weights_of(
    cell: Cell,
    w_ih: Value | None,
    w_hh: Value | None,
    b_ih: Value | None = None,
    b_hh: Value | None = None,
    w_hr: Value | None = None,
) -> Weights:
    """PyTorch's parameters as a cell's.  w_ih: [g * h, in], w_hh: [g * h, out], w_hr: [out, h]

    Raises:
        ArgumentError: if a weight is None.
        ShapeError: if they do not fit the cell and each other.
    """
    if w_ih is None or w_hh is None:
        raise ArgumentError("w_ih and w_hh must be arrays, not None; only biases may be left out")
    hidden = w_hh.shape
    if len(hidden) != 2 or w_ih.ndim != 2 or w_ih.shape[0] != hidden[0]:
        shapes = f"{format_shape(w_ih.shape)} and {format_shape(hidden)}"
        raise ShapeError(f"w_ih and w_hh must be [g, in] and [g, h], not {shapes}")
    if w_hr is None and hidden[0] != cell.gates * hidden[1]:
        raise ShapeError(f"w_hh must be [{cell.gates} * h, h], not {format_shape(hidden)}")
    for bias in (b_ih, b_hh):
        if bias is not None and bias.shape != hidden[:1]:
            raise ShapeError(
                f"a bias must be {format_shape(hidden[:1])}, not {format_shape(bias.shape)}"
            )
    return Weights(w_ih, w_hh.T, b_ih, b_hh, None if w_hr is None else w_hr.T)


def check_input(x: Value, w: Weights, ranks: tuple[int, int]) -> None:
    """Raise ShapeError unless an input has as many axes and features as the weights take."""
    size = w.input.shape[1]
    if x.ndim not in ranks or x.shape[-1] != size:
        raise ShapeError(
            f"the input {format_shape(x.shape)} must have {ranks[0]} axes, or {ranks[1]} with a "
            f"batch, the last of {size} features"
        )


def check_state(state: Value, shape: Sequence[Any]) -> None:
    """Raise ShapeError unless a state has a shape."""
    if state.shape != tuple(shape):
        raise ShapeError(
            f"the state {format_shape(state.shape)} must be {format_shape(tuple(shape))}"
        )
