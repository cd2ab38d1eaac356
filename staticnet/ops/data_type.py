"""Questions about dtypes, with the array API standard's names: no op among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from staticnet.errors import ArgumentError, DTypeError
from staticnet.ir.dtype import DType, as_dtype, is_floating, is_integer, kind, promote
from staticnet.ir.value import Value
from staticnet.ops.promotion import common_dtype, is_scalar

_KINDS = {
    "bool": {"bool"},
    "signed integer": {"int"},
    "unsigned integer": {"uint"},
    "integral": {"int", "uint"},
    "real floating": {"float"},
    "complex floating": set[str](),
    "numeric": {"int", "uint", "float"},
}


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating-point dtype: bits, the step from 1, least, greatest, least normal."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IntegerInfo:
    """Limits of an integer dtype: bits, greatest and least."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype(x: Any) -> DType:
    return x.dtype if isinstance(x, Value | np.ndarray | np.generic) else as_dtype(x)


def finfo(type: Any) -> FloatInfo:
    """The limits of a floating-point dtype, given itself or an array of it.

    Raises:
        DTypeError: if it is not floating-point.
    """
    dtype = _dtype(type)
    if not is_floating(dtype):
        raise DTypeError(f"finfo: {dtype} is not floating-point")
    limits: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return FloatInfo(
        bits=int(limits.bits),
        eps=float(limits.eps),
        max=float(limits.max),
        min=float(limits.min),
        smallest_normal=float(limits.smallest_normal),
        dtype=dtype,
    )


def iinfo(type: Any) -> IntegerInfo:
    """The limits of an integer dtype, given itself or an array of it.

    Raises:
        DTypeError: if it is no integer.
    """
    dtype = _dtype(type)
    if not is_integer(dtype):
        raise DTypeError(f"iinfo: {dtype} is no integer")
    limits = np.iinfo(dtype)
    return IntegerInfo(limits.bits, int(limits.max), int(limits.min), dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, a name as "real floating", or a tuple of them.

    Raises:
        ArgumentError: if the kind is none of them.
    """
    own = as_dtype(dtype)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return any(_is_of(own, each) for each in kinds)


def _is_of(dtype: DType, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted in _KINDS:
        return kind(dtype) in _KINDS[wanted]
    try:
        return dtype == as_dtype(wanted)
    except DTypeError:
        listed = ", ".join(repr(name) for name in _KINDS)
        raise ArgumentError(
            f"isdtype: {wanted!r:.60} is no dtype and no kind; kinds are {listed}"
        ) from None


def can_cast(from_: Any, to: Any) -> bool:
    """Whether `from_`, a dtype or an array, promotes to the dtype `to`."""
    target = as_dtype(to)
    return promote(_dtype(from_), target) == target


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype to which arrays, dtypes and numbers promote.

    Raises:
        DTypeError: if no dtype holds them all.
        ArgumentError: if one is none of these.
    """
    if not arrays_and_dtypes:
        raise ArgumentError("result_type: takes at least one array or dtype")
    return common_dtype("result_type", [_as_operand(x) for x in arrays_and_dtypes])


def _as_operand(x: Any) -> Any:
    if isinstance(x, Value | np.ndarray | list | tuple) or is_scalar(x):
        return x
    return np.empty((0,), as_dtype(x))
