"""The cross entropy of a linear map, whose logits need not all be in memory at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from staticnet.autodiff import vjp
from staticnet.control.custom_vjp import custom_vjp
from staticnet.control.scan import map, scan
from staticnet.control.trace import is_eager
from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import compute_dtype, is_floating
from staticnet.ir.node import Node
from staticnet.ir.types import Shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import (
    as_floating,
    as_parameter_dtype,
    check_choice,
    check_reduction,
    reduce_loss,
)
from staticnet.nn.functional.classification import IGNORE_INDEX, count_of_labels, cross_entropy
from staticnet.nn.functional.linear import linear
from staticnet.ops.arguments import as_size
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import apply, as_value, function, promoted
from staticnet.ops.creation import zeros
from staticnet.ops.movement import pad
from staticnet.ops.promotion import dtype_of
from staticnet.ops.selection import astype
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, squeeze, sum
from staticnet.ops.widening import widened

MOST_LOGITS = 1 << 26  # of a chunk, that "auto" has
ASPECT_RATIO = "aspect_ratio"


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` goes through the rows of its input, a chunk at a time.

    `batch_chunk_size` is the rows of a chunk. `chunking_method` chooses them: "auto", if no size is
    given, takes the largest power of two whose logits are at most 2**26; "aspect_ratio:n" as many
    that their logits are about as large as the input, divided by n; None takes all rows or, if it
    is given, the size. Sums are those of float32 or float64, and gradients may be had again:
    `allow_retain_graph`, `acc_policy` and `acc_dtype` are PyTorch's and change nothing.

    Raises:
        ArgumentError: if an option is none of PyTorch's.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        check_choice(self.acc_policy, "acc_policy", "auto", "accurate", "balanced", "compact")
        if self.acc_dtype is not None:
            as_parameter_dtype(self.acc_dtype)
        if self.batch_chunk_size is not None:
            as_size(self.batch_chunk_size, "batch_chunk_size")
        method = self.chunking_method
        if method not in (None, "auto") and _factor(method) is None:
            raise ArgumentError(
                f"chunking_method must be 'auto', 'aspect_ratio', 'aspect_ratio:n' or None, "
                f"not {method!r:.60}"
            )

    def rows(self, n: int, in_features: int, classes: int) -> int:
        """The rows of a chunk, of n rows.

        Raises:
            ArgumentError: if a size is given, and the method says another.
        """
        given, method = self.batch_chunk_size, self.chunking_method
        if method is None or (method == "auto" and given is not None):
            return min(given or n, n)
        if method == "auto":
            return min(1 << max(0, (MOST_LOGITS // max(1, classes)).bit_length() - 1), n)
        factor = _factor(method)
        assert factor is not None
        alike = -(-n // -(-classes // in_features))
        rows = max(1, min((1 << max(0, alike - 1).bit_length()) // factor, n))
        if given not in (None, rows):
            raise ArgumentError(
                f"batch_chunk_size={given} and chunking_method={method!r}, which says {rows}: "
                "give one of them"
            )
        return rows


def _factor(method: Any) -> int | None:
    """The n of "aspect_ratio:n", 1 if there is none; None of another method."""
    name, _, factor = str(method).partition(":")
    factor = factor if ":" in str(method) else "1"
    valid = name == ASPECT_RATIO and factor.isdigit() and int(factor) > 0
    return int(factor) if valid else None


@function
def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Value:
    """y = cross_entropy(linear(input, linear_weight, linear_bias), target, …).

    input: [n, in] or [in], linear_weight: [c, *d, in], linear_bias: [c, *d], weight: [c]
    target: labels, int [n, *d], or the distribution, floating [n, c, *d] -> y: [], or [n, *d] if
    not reduced; without n for one example.

    With options the rows are cut into chunks, and no more than the logits of one are in memory,
    on the way there and back. A training step makes both ways in one loop, with the products of
    one way and a sum of the weight's gradient for each chunk, if the loss is the last that depends
    on the logits; if not, logits are computed twice. Dynamic execution keeps them.
    Hsu et al., "Liger kernel: efficient Triton kernels for LLM training", 2024.

    Raises:
        ShapeError: if shapes do not fit, or chunks are asked of a symbolic number of rows.
        DTypeError: if input is not floating-point.
        ArgumentError: if an option is out of range.
    """
    check_reduction(reduction)
    if not isinstance(options, LinearCrossEntropyOptions | None):
        raise ArgumentError(
            f"options must be sn.nn.LinearCrossEntropyOptions or None, not {options!r:.60}"
        )
    x, w = (as_floating(v) for v in promoted("linear_cross_entropy", input, linear_weight))
    bias = None if linear_bias is None else as_floating(linear_bias, x)
    _check(x, w, bias)
    labels = not is_floating(dtype_of(target))
    target = as_value(target) if labels else as_floating(target, x)
    alone = x.ndim == 1
    if alone:
        x, target = expand_dims(x), expand_dims(target)
    ignored = IGNORE_INDEX if ignore_index is None else ignore_index
    loss = _Loss(w.shape[:-1], weight, ignored, label_smoothing)
    rows = None if options is None else _rows_of(options, x, w)
    given = [x, w, target] if bias is None else [x, w, target, bias]
    if rows is None or is_eager(given):
        y = loss.of(reduction, *given)
    else:
        y = loss.reduced(_by_chunks(loss, rows, given), reduction, target)
        y = astype(y, x.dtype)
    return squeeze(y, 0) if alone and reduction == "none" else y


def _check(x: Value, w: Value, bias: Value | None) -> None:
    """Raise ShapeError unless x are rows that w multiplies, and a bias is of its results."""
    if x.ndim not in (1, 2) or w.ndim < 2 or x.shape[-1] != w.shape[-1]:
        raise ShapeError(
            f"input {format_shape(x.shape)} must be [n, in] or [in] for a linear_weight [c, …, in] "
            f"of {format_shape(w.shape)}"
        )
    if bias is not None and bias.shape != w.shape[:-1]:
        raise ShapeError(
            f"linear_bias {format_shape(bias.shape)} must be {format_shape(w.shape[:-1])}"
        )


def _rows_of(options: LinearCrossEntropyOptions, x: Value, w: Value) -> int | None:
    """The rows of a chunk, None if one chunk has all.

    Raises:
        ShapeError: if the number of rows or of logits is symbolic.
    """
    n, classes = x.shape[0], size_of(w.shape[:-1])
    if not isinstance(n, int) or not isinstance(classes, int):
        raise ShapeError(
            f"chunks need a known number of rows and of classes, not {format_shape(x.shape)} and "
            f"{format_shape(w.shape)}; give sizes, or options=None"
        )
    rows = options.rows(n, int(x.shape[1]), classes)
    return rows if 0 < rows < n else None


@dataclass(frozen=True)
class _Loss:
    """The loss of rows x, given w, target and maybe a bias; `outputs` are a row's logits."""

    outputs: Shape
    weight: Any
    ignore_index: int
    label_smoothing: float

    def of(
        self, reduction: str, x: Any, w: Any, target: Any, *bias: Any, wide: bool = False
    ) -> Value:
        """By all logits at once; `wide` rounds no loss to 16 bits."""
        if w.ndim > 2:
            w = reshape(w, (size_of(self.outputs), w.shape[-1]))
            bias = tuple(reshape(b, w.shape[:1]) for b in bias)
        logits = reshape(linear(x, w, *bias), (x.shape[0], *self.outputs))
        logits = widened(logits) if wide else logits
        return cross_entropy(
            logits, target, self.weight, self.ignore_index, reduction, self.label_smoothing
        )

    def reduced(self, losses: Value, reduction: str, target: Value) -> Value:
        """The reduction of all rows' losses."""
        if reduction != "mean" or is_floating(target.dtype):
            return reduce_loss(losses, reduction)
        like = broadcast_to(as_floating(0.0, losses), (losses.shape[0], *self.outputs))
        return sum(losses) / count_of_labels(target, like, self.weight, self.ignore_index)


def _by_chunks(loss: _Loss, rows: int, operands: Sequence[Any]) -> Value:
    """The losses of all rows, so many at a time; their cotangents go the same way, forwards.

    So the two ways are loops that run alike, and one where nothing keeps them apart.
    """
    n = operands[0].shape[0]
    weighted = isinstance(loss.weight, Node)  # then it may depend on what is differentiated by
    if weighted:
        operands = [*operands, as_floating(loss.weight)]

    def of_chunk(x: Any, w: Any, target: Any, *more: Any) -> Any:
        alone = apply(OptimizationBarrier(0), x)  # or products of all steps would be made as one
        own, bias = (replace(loss, weight=more[-1]), more[:-1]) if weighted else (loss, more)
        return own.of("none", alone, w, target, *bias, wide=True)

    @custom_vjp
    def losses(x: Any, w: Any, target: Any, *more: Any) -> Any:
        def step(chunk: Any) -> Any:
            x_rows, target_rows = chunk
            own_w, *own = _apart(w, *more)
            return of_chunk(x_rows, own_w, target_rows, *own)

        return _joined(map(step, (_cut(x, rows), _cut(target, rows))), n)

    def forward(*given: Any) -> tuple[Any, Any]:
        return losses(*given), given

    def backward(given: Any, g: Any) -> tuple[Any, ...]:
        x, w, target, *more = given
        given_targets = is_floating(target.dtype)

        def step(sums: Any, chunk: Any) -> tuple[Any, Any]:
            x_rows, target_rows, g_rows = chunk
            own_w, *own = _apart(w, *more)
            y = of_chunk(x_rows, own_w, target_rows, *own)
            rows_of = [x_rows, target_rows] if given_targets else [x_rows]
            made = vjp([y], [*rows_of, own_w, *own], [g_rows])
            summed = zip(sums, made[len(rows_of) :], strict=True)
            return [s + widened(v) for s, v in summed], made[: len(rows_of)]

        first = [zeros(v.shape, compute_dtype(v.dtype)) for v in (w, *more)]
        sums, parts = scan(step, first, (_cut(x, rows), _cut(target, rows), _cut(g, rows)))
        to_w, *to_more = (astype(s, v.dtype) for s, v in zip(sums, (w, *more), strict=True))
        to_x, *to_target = (_joined(part, n) for part in parts)
        return (to_x, to_w, to_target[0] if to_target else None, *to_more)

    losses.defvjp(forward, backward)
    made: Value = losses(*operands)
    return made


def _apart(*values: Any) -> list[Any]:
    """The values, of which none is made of another: a bias may be computed from the weight."""
    return [apply(OptimizationBarrier(0), value) for value in values]


def _cut(x: Any, rows: int) -> Any:
    """x: [n, *s] -> y: [chunks, rows, *s], the last filled up with zeros"""
    n = x.shape[0]
    chunks = -(-n // rows)
    if chunks * rows > n:
        x = pad(x, [(0, chunks * rows - n), *[(0, 0)] * (x.ndim - 1)])
    return reshape(x, (chunks, rows, *x.shape[1:]))


def _joined(x: Any, n: int) -> Any:
    """x: [chunks, rows, *s] -> y: [n, *s]"""
    y = reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
    return y if y.shape[0] == n else y[:n]
