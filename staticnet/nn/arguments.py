"""Checks that functions and layers share: floating-point operands, numbers, sizes, reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dtype import FLOAT32, DType, as_dtype, is_floating
from staticnet.ir.node import Node
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS, as_int, as_tuple, check_kind
from staticnet.ops.base import Constant, as_value, promoted
from staticnet.ops.comparison import isinf
from staticnet.ops.promotion import is_scalar, python_number
from staticnet.ops.reduction import mean
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, sum


def as_floating(x: Any, like: Value | None = None) -> Value:
    """`x` as a Value; numbers and lists take the dtype of `like`.

    Raises:
        DTypeError: if it is not floating-point.
    """
    x = as_value(x) if like is None else promoted("floating-point operands", like, x)[1]
    check_kind(x.dtype, FLOATS)
    return x


def as_number(value: Any, what: str, least: float, most: float) -> float:
    """A number in [least, most].

    Raises:
        ArgumentError: if it is none.
    """
    number = python_number(value) if is_scalar(value) else None
    if number is None or isinstance(number, bool) or not least <= number <= most:
        raise ArgumentError(f"{what} must be a number in [{least}, {most}], not {value!r:.60}")
    return float(number)


def check_ndim(x: Any, spatial: int, what: str = "x") -> Value:
    """x with `spatial` axes after its channels: [c, *s] or [n, c, *s].

    Raises:
        ShapeError: if it has another number of axes.
    """
    x = as_value(x)
    if x.ndim not in (spatial + 1, spatial + 2):
        raise ShapeError(
            f"{what} must have {spatial} axes after [n, c] or [c], not be {format_shape(x.shape)}"
        )
    return x


def as_axes(value: Any, count: int, what: str, least: int) -> tuple[int, ...]:
    """An int for each of `count` axes, given so, or as one for all of them.

    Raises:
        ArgumentError: if it is neither, or one is less than `least`.
    """
    entries = as_tuple(value)
    each = entries * count if len(entries) == 1 else entries
    if len(each) != count:
        raise ArgumentError(f"{what} must be an int or {count} ints, not {value!r:.60}")
    kind = f"an int or {count} ints of at least {least}"
    return tuple(as_int(entry, what, least, kind=kind) for entry in each)


def with_examples(x: Any, spatial: int) -> tuple[Value, bool]:
    """x as [n, c, *s], and whether it was [c, *s], a single example.

    Raises:
        ShapeError: if it is neither.
    """
    x = check_ndim(x, spatial)
    single = x.ndim == spatial + 1
    return (expand_dims(x, 0) if single else x), single


def as_parameter_dtype(dtype: Any) -> DType:
    """The dtype of a layer's parameters; None is float32.

    Raises:
        DTypeError: if it is no floating-point one.
    """
    found = FLOAT32 if dtype is None else as_dtype(dtype)
    check_kind(found, FLOATS)
    return found


def check_same_shape(input: Value, target: Value, what: str = "target") -> None:
    """Raise ShapeError unless the two have one shape: broadcasting here is mostly a mistake."""
    if input.shape != target.shape:
        raise ShapeError(
            f"{what} {format_shape(target.shape)} must have the input's shape "
            f"{format_shape(input.shape)}; reshape or broadcast one of them"
        )


def pair(input: Any, target: Any) -> tuple[Value, Value]:
    """Prediction and target as Values of one shape.

    Raises:
        ShapeError: if their shapes differ.
        DTypeError: if the prediction is not floating-point.
    """
    input, target = promoted("losses", input, target)
    input = as_floating(input)
    check_same_shape(input, target)
    return input, target


def signs_of(target: Any, input: Any) -> Value:
    """A target of -1, 0 and 1 beside an input: integers and bools in the input's dtype."""
    target, input = promoted("losses", target, input)
    return target if is_floating(target.dtype) else astype(target, input.dtype)


def weighted(loss: Value, weight: Any) -> Value:
    """A loss times its weight, if there is one, which broadcasts to it.

    Raises:
        ShapeError: if the weight does not.
    """
    if weight is None:
        return loss
    product = loss * astype(as_floating(weight, loss), loss.dtype)
    check_same_shape(loss, product, "the weighted loss")
    return product


def times_log(weight: Any, log: Value) -> Value:
    """weight * log, and 0 where the weight is 0 and the logarithm infinite: w ln w in the limit."""
    return weight * where((weight == 0) & isinf(log), 0, log)


def reduce_loss(loss: Value, reduction: str) -> Value:
    """The mean or the sum of a loss's elements, or the loss itself for "none".

    Raises:
        ArgumentError: if the reduction is none of the three.
    """
    check_reduction(reduction)
    if reduction == "none":
        return loss
    return mean(loss) if reduction == "mean" else sum(loss)


def check_reduction(reduction: Any, *others: str) -> None:
    """Raise ArgumentError unless `reduction` is "mean", "sum", "none" or one of `others`."""
    known = ("mean", "sum", "none", *others)
    check_choice(reduction, "reduction", *known)


def check_choice(value: Any, what: str, *known: str) -> None:
    """Raise ArgumentError unless `value` is one of the names `known`."""
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(repr(name) for name in known)
        raise ArgumentError(f"{what} must be one of {listed}, not {value!r:.60}")


def known_values(x: Value) -> np.ndarray[Any, Any] | None:
    """The elements of a constant, or of a tensor of dynamic execution; None if a run gives them."""
    if not isinstance(x, Node):
        return np.asarray(x)
    return x.op.value.array if isinstance(x.op, Constant) else None
