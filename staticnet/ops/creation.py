"""Arrays from nothing: iota (the one primitive) and the array API's creation functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import (
    FLOAT32,
    FLOAT64,
    INT64,
    UINT64,
    DType,
    as_dtype,
    is_floating,
    kind,
)
from staticnet.ir.types import Shape, TensorType, as_shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    as_int,
    check_axes,
    check_holds,
    check_kind,
)
from staticnet.ops.base import (
    TensorOp,
    apply,
    as_value,
    as_values,
    constant,
    function,
)
from staticnet.ops.promotion import as_array, is_scalar, is_weak, python_number
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, expand_dims


@dataclass(frozen=True)
class Iota(TensorOp, name="iota"):
    """y[i0, i1, …] = i_axis.  -> y: [*shape]"""

    shape: Shape
    axis: int
    dtype: DType
    differentiable = False
    arity = 0

    def infer(self) -> TensorType:
        check_axes((self.axis,), len(self.shape))
        check_kind(self.dtype, NUMBERS)
        length = self.shape[self.axis]
        if isinstance(length, int) and not is_floating(self.dtype):
            check_holds(self.name, self.dtype, max(length - 1, 0))
        return TensorType(self.dtype, self.shape)

    def eval(self, xp: Any) -> Any:
        column = [-1 if i == self.axis else 1 for i in range(len(self.shape))]
        ramp = xp.arange(self.shape[self.axis]).astype(self.dtype).reshape(column)
        return xp.broadcast_to(ramp, self.shape)


def iota(shape: Any, axis: int = 0, dtype: Any = INT64) -> Value:
    """y[i0, i1, …] = i_axis.  -> y: [*shape]"""
    return apply(Iota(as_shape(shape), axis, as_dtype(dtype)))


def dim_value(dim: int | Dim, like: Value) -> Value:
    """A dimension as a scalar of `like`'s dtype; a symbolic one has a value once specialised."""
    if isinstance(dim, int):
        return as_values(like, as_array(float(dim), like.dtype))[1]
    return constant(dim, like.dtype)


@function
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Value:
    """y = fill_value everywhere; the dtype is the value's unless given.  -> y: [*shape]"""
    value = as_value(fill_value) if dtype is None else astype(fill_value, dtype)
    return broadcast_to(value, shape)


@function
def zeros(shape: Any, dtype: Any = FLOAT32) -> Value:
    """y = 0 everywhere.  -> y: [*shape]"""
    return full(shape, 0, dtype)


@function
def ones(shape: Any, dtype: Any = FLOAT32) -> Value:
    """y = 1 everywhere.  -> y: [*shape]"""
    return full(shape, 1, dtype)


@function
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Value:
    """y = fill_value everywhere, with x's shape and, unless given, dtype."""
    x = as_value(x)
    target = x.dtype if dtype is None else as_dtype(dtype)
    if is_weak(fill_value) and not isinstance(fill_value, Dim):
        fill_value = as_values(x, as_array(fill_value, target))[1]
    return full(x.shape, fill_value, target)


@function
def zeros_like(x: Any, dtype: Any = None) -> Value:
    """y = 0 everywhere, with x's shape and, unless given, dtype."""
    return full_like(x, 0, dtype)


@function
def ones_like(x: Any, dtype: Any = None) -> Value:
    """y = 1 everywhere, with x's shape and, unless given, dtype."""
    return full_like(x, 1, dtype)


@function
def empty(shape: Any, dtype: Any = FLOAT32) -> Value:
    """y, whose values mean nothing: zeros, as no memory is shown that was never written."""
    return zeros(shape, dtype)


@function
def empty_like(x: Any, dtype: Any = None) -> Value:
    """y, whose values mean nothing, with x's shape and, unless given, dtype."""
    return zeros_like(x, dtype)


@function
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Value:
    """y[i] = start + i * step, as long as it is before stop.  -> y: [ceil((stop - start) / step)]

    One argument is `stop`. A symbolic `stop` needs start and step to be ints.

    Raises:
        ArgumentError: if step is 0 or an argument is no number.
        DTypeError: if the numbers do not fit an integer dtype.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (python_number(x) for x in (start, stop, step))
    if isinstance(start, Dim):
        raise ArgumentError(f"a symbolic start ({start}) is not supported; slice a longer arange")
    if isinstance(stop, Dim):
        length: Any = (stop - as_int(start, "start") + as_int(step, "step") - 1) // step
        return _symbolic_ramp(length, start, step, INT64 if dtype is None else as_dtype(dtype))
    if not all(is_scalar(x) for x in (start, stop, step)) or step == 0:
        raise ArgumentError(
            f"start, stop, step = {start!r}, {stop!r}, {step!r}: step 0 or no number"
        )
    floating = any(isinstance(x, float) for x in (start, stop, step))
    target = as_dtype(dtype) if dtype is not None else FLOAT32 if floating else INT64
    try:
        length = max(
            0, int(np.ceil((stop - start) / step)) if floating else -((start - stop) // step)
        )
    except (OverflowError, ValueError) as error:
        raise ArgumentError(f"start, stop, step = {start}, {stop}, {step}: {error}") from None
    return _ramp(as_shape(length), start, step, target)


def _symbolic_ramp(length: Dim, start: int, step: int, dtype: DType) -> Value:
    if dtype.kind in "iu" and dtype.itemsize < 8 and (start, step) != (0, 1):
        raise DTypeError(
            f"whether {length} numbers from {start} in steps of {step} fit {dtype} is not known; "
            f'use sn.astype(sn.arange(...), "{dtype}")'
        )
    return _ramp(as_shape(length), start, step, dtype)


def _ramp(shape: Shape, start: Any, step: Any, dtype: DType) -> Value:
    """start + i * step, computed in 64 bits and rounded once; raises if an end does not fit."""
    check_kind(dtype, NUMBERS)
    if (start, step) == (0, 1) or shape == (0,):
        return iota(shape, 0, dtype)
    if is_floating(dtype):
        return astype(iota(shape, 0, FLOAT64) * step + start, dtype)
    ends = [start]
    if isinstance(shape[0], int):
        ends.append(start + (shape[0] - 1) * step)
    check_holds("arange", dtype, *ends)
    ramp = iota(shape, 0, UINT64 if max(ends) >= 2**63 else INT64)
    return astype(start + ramp * step if step > 0 else start - ramp * -step, dtype)


@function
def linspace(
    start: float, stop: float, num: int, dtype: Any = FLOAT32, endpoint: bool = True
) -> Value:
    """y[i] = start + i * (stop - start) / (num - 1): `num` even steps, to stop or before it.

    -> y: [num], computed in float64 and rounded once

    Raises:
        DTypeError: if the dtype is not floating-point.
    """
    count, target = as_int(num, "num"), as_dtype(dtype)
    check_kind(target, FLOATS)
    if not is_scalar(start) or not is_scalar(stop):
        raise ArgumentError(f"start and stop must be numbers, not {start!r:.40} and {stop!r:.40}")
    start, stop = python_number(start), python_number(stop)
    intervals = count - 1 if endpoint else count
    index = iota(as_shape(count, "num"), 0, FLOAT64)
    if intervals < 1:
        return astype(index * 0 + start, target)
    ramp = index * ((stop - start) / intervals) + start
    return astype(where(index == count - 1, stop, ramp) if endpoint else ramp, target)


@function
def logspace(
    start: float, stop: float, num: int, dtype: Any = FLOAT32, endpoint: bool = True,
    base: float = 10.0,
) -> Value:  # fmt: skip
    """y[i] = base ** x[i], where x are `num` even steps from start to stop, or before it.

    -> y: [num], computed in float64 and rounded once

    Raises:
        DTypeError: if the dtype is not floating-point.
    """
    target = as_dtype(dtype)
    check_kind(target, FLOATS)
    return astype(python_number(base) ** linspace(start, stop, num, FLOAT64, endpoint), target)


@function
def geomspace(
    start: float, stop: float, num: int, dtype: Any = FLOAT32, endpoint: bool = True
) -> Value:
    """`num` values from start to stop, or before it, each the same multiple of the one before.

    -> y: [num], computed in float64 and rounded once; both of one sign, and not 0

    Raises:
        DTypeError: if the dtype is not floating-point.
        ArgumentError: if start or stop is 0, or their signs differ.
    """
    target = as_dtype(dtype)
    check_kind(target, FLOATS)
    if not is_scalar(start) or not is_scalar(stop):
        raise ArgumentError(f"start and stop must be numbers, not {start!r:.40} and {stop!r:.40}")
    start, stop = python_number(start), python_number(stop)
    if 0 in (start, stop) or (start > 0) != (stop > 0):
        raise ArgumentError(f"start and stop must have one sign and not be 0: {start}, {stop}")
    sign = math.copysign(1.0, start)
    low, high = math.log10(abs(start)), math.log10(abs(stop))
    x = sign * logspace(low, high, num, FLOAT64, endpoint)
    index = iota(x.shape, 0)
    x = where(index == 0, start, x)
    last = index == as_int(num, "num") - 1
    return astype(where(last, stop, x) if endpoint and num > 1 else x, target)


@function
def eye(n_rows: Any, n_cols: Any = None, k: int = 0, dtype: Any = FLOAT32) -> Value:
    """y[i, j] = 1 where j - i == k, else 0.  -> y: [n_rows, n_cols]"""
    shape = as_shape((n_rows, n_rows if n_cols is None else n_cols))
    return astype(iota(shape, 1) - iota(shape, 0) == as_int(k, "k"), dtype)


def _triangle(x: Any, k: int, lower: bool) -> Value:
    x = as_value(x)
    if x.ndim < 2:
        raise ArgumentError(f"takes at least 2 axes, not {x.ndim}")
    shape = x.shape[-2:]
    offset = iota(shape, 1) - iota(shape, 0)
    return where(offset <= k if lower else offset >= k, x, constant(0, x.dtype))


@function
def tril(x: Any, k: int = 0) -> Value:
    """y[.., i, j] = x where j - i <= k, else 0.  x: [*b, m, n] -> y: [*b, m, n]"""
    return _triangle(x, as_int(k, "k"), True)


@function
def triu(x: Any, k: int = 0) -> Value:
    """y[.., i, j] = x where j - i >= k, else 0.  x: [*b, m, n] -> y: [*b, m, n]"""
    return _triangle(x, as_int(k, "k"), False)


@function
def one_hot(indices: Any, num_classes: int, dtype: Any = FLOAT32) -> Value:
    """y[.., c] = 1 where indices[..] == c, else 0.  indices: int [*s] -> y: [*s, num_classes]

    An index outside [0, num_classes) gives a row of zeros.
    """
    indices = as_value(indices)
    check_kind(indices.dtype, INTEGERS)
    wide = UINT64 if kind(indices.dtype) == "uint" else INT64  # it holds each class
    indices = astype(indices, wide)
    number = num_classes if isinstance(num_classes, Dim) else as_int(num_classes, "num_classes")
    classes = iota(as_shape(number, "num_classes"), 0, wide)
    return astype(expand_dims(indices, -1) == classes, dtype)
