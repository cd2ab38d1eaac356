"""Rows of a table by their numbers, alone and in bags."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import INT64, is_integer
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.linalg.norms import vector_norm
from staticnet.nn.arguments import as_floating, as_number, check_choice
from staticnet.ops.arguments import as_bool, as_int
from staticnet.ops.arithmetic import maximum
from staticnet.ops.base import as_value, function
from staticnet.ops.creation import arange, full, zeros
from staticnet.ops.creation import one_hot as float_one_hot
from staticnet.ops.indexing import as_index, scatter_add, take
from staticnet.ops.placing import index_reduce
from staticnet.ops.reduction import max
from staticnet.ops.selection import astype, stop_gradient, where
from staticnet.ops.shape import expand_dims, flatten, sum
from staticnet.ops.sorting import searchsorted
from staticnet.ops.widening import widened

MODES = ("sum", "mean", "max")
LEAST_LENGTH = 1e-7


def _table(input: Any, weight: Any) -> tuple[Value, Value]:
    """The numbers of rows, and the table.

    Raises:
        DTypeError: if the numbers are no integers.
        ShapeError: if the table is no matrix.
    """
    index, table = as_value(as_index(input)), as_floating(weight)
    if not is_integer(index.dtype):
        raise DTypeError(f"rows are named by integers, not {index.dtype}")
    if table.ndim != 2:
        raise ShapeError(f"weight {format_shape(table.shape)} must be [rows, columns]")
    return index, table


@dataclass(frozen=True)
class _Options:
    """How a row is looked up: what PyTorch's `embedding` and `embedding_bag` share."""

    padding_idx: Any
    max_norm: Any
    norm_type: Any
    scale_grad_by_freq: Any

    def rows(self, index: Value, table: Value) -> Value:
        """The rows that the index names, with their limits and derivatives.  -> [*s, columns]"""
        rows = take(table, index, 0)
        if self.max_norm is not None:
            rows = self._limited(rows)
        if as_bool(self.scale_grad_by_freq, "scale_grad_by_freq"):
            flat = astype(flatten(index), INT64)
            ones = full(flat.shape, 1, INT64)
            counts = scatter_add(zeros((table.shape[0],), INT64), flat, ones, 0)
            often = astype(expand_dims(take(counts, index, 0), -1), table.dtype)
            rows = stop_gradient(rows) + (rows - stop_gradient(rows)) / often
        padding = self.is_padding(index, table)
        return rows if padding is None else where(padding, stop_gradient(rows), rows)

    def is_padding(self, index: Value, table: Value) -> Value | None:
        """Which rows are padding, of which the table gets no gradient.  -> bool [*s, 1]"""
        if self.padding_idx is None:
            return None
        number = padding_row(self.padding_idx, table.shape[0])
        index = astype(index, INT64)
        return expand_dims(where(index < 0, index + table.shape[0], index) == number, -1)

    def _limited(self, rows: Value) -> Value:
        """Rows no longer than max_norm, with the derivatives of rows that were so already."""
        most = as_number(self.max_norm, "max_norm", 0, math.inf)
        order = as_number(self.norm_type, "norm_type", -math.inf, math.inf)
        length = vector_norm(rows, axis=-1, keepdims=True, ord=order)
        short = where(length > most, rows * (most / (length + LEAST_LENGTH)), rows)
        return stop_gradient(short) + (rows - stop_gradient(rows))


def padding_row(padding_idx: Any, rows: int | Dim) -> int | Dim:
    """The number of the row of padding; a negative one counts from the end.

    Raises:
        ArgumentError: if there is no such row.
    """
    number = as_int(padding_idx, "padding_idx")
    if isinstance(rows, int) and not -rows <= number < rows:
        raise ArgumentError(f"padding_idx must be a row of the {rows}, not {number}")
    return number + rows if number < 0 else number


@function
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    """y[s] = weight[input[s]].  input: int [*s], weight: [n, d] -> y: [*s, d]

    padding_idx: a row that gets no gradient. max_norm: rows whose norm of order norm_type is
    greater are scaled to it where they are looked up; the weight itself, which PyTorch overwrites,
    stays. scale_grad_by_freq: the gradient of a row is divided by how often input names it.
    sparse: taken for PyTorch's sake. A negative index counts from the end; one out of range fails
    the run.

    Raises:
        DTypeError: if input is no array of integers.
        ShapeError: if weight is no matrix.
        ArgumentError: if an option is out of range.
    """
    as_bool(sparse, "sparse")
    index, table = _table(input, weight)
    return _Options(padding_idx, max_norm, norm_type, scale_grad_by_freq).rows(index, table)


@function
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Value:
    """y[b] = the sum, mean or max of the rows of weight that bag b names; 0 of an empty one.

    input: int [b, n], a bag a row, or [m] with offsets, int [b], where each bag begins; weight:
    [n, d], per_sample_weights: input's shape, for "sum" -> y: [b, d]. With include_last_offset the
    last offset is where the last bag ends. Rows of padding_idx are in no bag. Other options are
    those of `embedding`.

    Raises:
        DTypeError: if input or offsets is no array of integers.
        ShapeError: if the shapes do not fit.
        ArgumentError: if an option is out of range, or weights of samples meet another mode.
    """
    check_choice(mode, "mode", *MODES)
    as_bool(sparse, "sparse")
    index, table = _table(input, weight)
    options = _Options(padding_idx, max_norm, norm_type, scale_grad_by_freq)
    rows = widened(options.rows(index, table))
    if per_sample_weights is not None:
        rows = rows * expand_dims(_sample_weights(per_sample_weights, index, mode, rows), -1)
    padding = options.is_padding(index, table)
    kept = None if padding is None else ~padding
    if offsets is None:
        y = _of_rows(rows, kept, mode)
    else:
        bags = _bags(index, offsets, as_bool(include_last_offset, "include_last_offset"))
        y = _of_bags(rows, kept, bags, mode)
    return astype(y, table.dtype)


def _sample_weights(weights: Any, index: Value, mode: str, rows: Value) -> Value:
    weights = astype(as_floating(weights, rows), rows.dtype)
    if mode != "sum":
        raise ArgumentError(f"per_sample_weights are for mode 'sum', not {mode!r}")
    if weights.shape != index.shape:
        raise ShapeError(
            f"per_sample_weights {format_shape(weights.shape)} must have the input's shape "
            f"{format_shape(index.shape)}"
        )
    return weights


def _of_rows(rows: Value, kept: Value | None, mode: str) -> Value:
    """rows: [b, n, d], kept: bool [b, n, 1] -> [b, d]"""
    if rows.ndim != 3:
        raise ShapeError(f"input of {rows.ndim - 1} axes must be [b, n], or [m] with offsets")
    if mode == "max":
        if rows.shape[1] == 0:
            return sum(rows, 1)
        most = max(rows if kept is None else where(kept, rows, -math.inf), 1)
        return most if kept is None else where(most == -math.inf, 0, most)
    total = sum(rows if kept is None else where(kept, rows, 0), 1)
    if mode == "sum":
        return total
    ones = full((*rows.shape[:2], 1), 1, rows.dtype)
    return total / maximum(sum(ones if kept is None else astype(kept, rows.dtype), 1), 1)


def _bags(index: Value, offsets: Any, ends: bool) -> tuple[Value, int | Dim]:
    """The bag of each entry of the input, and how many bags there are."""
    starts = as_value(as_index(offsets))
    if not is_integer(starts.dtype):
        raise DTypeError(f"offsets must be integers, not {starts.dtype}")
    if index.ndim != 1 or starts.ndim != 1:
        raise ShapeError("with offsets [b] the input must be [m]")
    if ends and starts.shape[0] == 0:
        raise ShapeError("with include_last_offset there must be an offset at least")
    place = arange(index.shape[0])
    bag = searchsorted(astype(starts, INT64), place, side="right") - 1
    return bag, starts.shape[0] - 1 if ends else starts.shape[0]


def _of_bags(rows: Value, kept: Value | None, bags: tuple[Value, int | Dim], mode: str) -> Value:
    """rows: [m, d], kept: bool [m, 1] -> [b, d]"""
    bag, count = bags
    shape = (count, rows.shape[1])
    if mode == "max":
        given = rows if kept is None else where(kept, rows, -math.inf)
        most = index_reduce(full(shape, -math.inf, rows.dtype), 0, bag, given, "amax")
        return where(most == -math.inf, 0, most)
    given = rows if kept is None else where(kept, rows, 0)
    total = scatter_add(zeros(shape, rows.dtype), bag, given, 0)
    if mode == "sum":
        return total
    ones = full((rows.shape[0], 1), 1, rows.dtype) if kept is None else astype(kept, rows.dtype)
    return total / maximum(scatter_add(zeros((count, 1), rows.dtype), bag, ones, 0), 1)


def one_hot(tensor: Any, num_classes: int = -1) -> Value:
    """y[.., c] = 1 where tensor[..] == c, else 0.  tensor: int [*s] -> y: int64 [*s, num_classes]

    An index outside [0, num_classes) gives a row of zeros. `sn.one_hot` gives floats.

    Raises:
        ArgumentError: if num_classes is left to be found, which no graph can do.
    """
    if isinstance(num_classes, int) and num_classes == -1:
        raise ArgumentError("one_hot: no graph knows the greatest class; pass num_classes")
    return float_one_hot(tensor, num_classes, INT64)
