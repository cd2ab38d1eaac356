"""The methods of values: functions that NumPy's arrays and PyTorch's tensors have as methods, both.

A method is the function of its name, with the value as first operand: `x.mean(axis=0)` is
`sn.mean(x, axis=0)`. Written here are those whose arguments differ from the function's. What the
two libraries disagree on (`repeat`, `sort`, `take`, the `ddof` of `std`) is no method, or the
array API standard's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from staticnet.errors import ShapeError, StaticnetError
from staticnet.ir.dim import integer
from staticnet.ir.hints import check_call
from staticnet.ir.node import values_in, with_context
from staticnet.ir.value import Value
from staticnet.ops import (
    arithmetic,
    diagonals,
    linalg,
    movement,
    products,
    reduction,
    rounding,
    selection,
    shape,
    sorting,
)
from staticnet.ops.arguments import normalize_axis
from staticnet.ops.movement import permute_dims

F = TypeVar("F", bound=Callable[..., Any])

METHODS = (
    *(arithmetic.conj, rounding.round, linalg.matmul, movement.swapaxes, selection.astype),
    *(selection.clip, shape.flatten, shape.squeeze, shape.sum, sorting.argsort),
    *(reduction.all, reduction.any, reduction.argmax, reduction.argmin, reduction.max),
    *(reduction.mean, reduction.min, reduction.prod, reduction.std, reduction.var),
    *(diagonals.diagonal, diagonals.trace, products.dot),
)
"""The functions that are methods as they are."""


def method(f: F) -> F:
    """Make a function a method of values; its errors name it, its operands and the user's line."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except StaticnetError as error:
            raise with_context(error, f.__name__, values_in(args)) from error.__cause__
        except TypeError:
            check_call(f.__name__, f, args, kwargs)
            raise

    setattr(Value, f.__name__, call)
    return call  # type: ignore[return-value]


for _function in METHODS:
    setattr(Value, _function.__name__, _function)


@method
def reshape(x: Value, *dims: Any) -> Value:
    """y = x's elements in C order in another shape, given as one sequence or dim by dim.

    x: [*s] -> y: [*dims], of which one may be -1
    """
    return shape.reshape(x, dims[0] if len(dims) == 1 else dims)


@method
def ravel(x: Value) -> Value:
    """y = x's elements in C order along one axis.  x: [*s] -> y: [size]"""
    return shape.reshape(x, -1)


@method
def transpose(x: Value, *axes: Any) -> Value:
    """y = x with its axes reversed, or in the order given as one sequence or one by one.

    Of two axes alone PyTorch exchanges them, where NumPy orders the axes of a matrix by them: x has
    the two exchanged unless that would not be NumPy's.

    Raises:
        ShapeError: of `x.transpose(0, 1)` of a matrix, which NumPy leaves as it is.
    """
    if not axes or axes == (None,):
        return permute_dims(x, tuple(range(x.ndim))[::-1])
    if len(axes) == 1 and integer(axes[0]) is None:
        return permute_dims(x, axes[0])
    if len(axes) != 2:
        return permute_dims(x, axes)
    first, second = (normalize_axis(axis, x.ndim) for axis in axes)
    if x.ndim == 2 and (first, second) != (1, 0):
        raise ShapeError(
            f"{axes} leaves a matrix as it is in NumPy and exchanges its axes in PyTorch; take x.T "
            "or sn.permute_dims(x, axes)"
        )
    return movement.swapaxes(x, first, second)


@method
def cumsum(x: Value, axis: int | None = None, dtype: Any = None) -> Value:
    """y[i] = x[0] + … + x[i] along `axis`; None flattens first.  x: [*s] -> y: [*s]"""
    return reduction.cumulative_sum(x.ravel() if axis is None else x, axis, dtype=dtype)


@method
def cumprod(x: Value, axis: int | None = None, dtype: Any = None) -> Value:
    """y[i] = x[0] * … * x[i] along `axis`; None flattens first.  x: [*s] -> y: [*s]"""
    return reduction.cumulative_prod(x.ravel() if axis is None else x, axis, dtype=dtype)
