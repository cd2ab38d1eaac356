"""What the numbers of Python and NumPy become beside arrays, and to what arrays promote.

Kinds are ordered: bools, integers, floats. Arrays with axes, and Values, promote within their kind
by the array API standard, and beside a greater kind take its dtype, as in PyTorch and JAX. Python's
numbers and lists, symbolic dims, NumPy's scalars and its arrays without axes are weak: they take
the dtype of the arrays that they meet, straight from their own digits; where they are of a greater
kind, both become what Python's numbers of that kind are alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from staticnet.errors import DTypeError
from staticnet.ir.dim import Dim
from staticnet.ir.dlpack import from_dlpack
from staticnet.ir.dtype import (
    BOOL,
    DTYPES,
    FLOAT32,
    INT64,
    DType,
    as_dtype,
    is_floating,
    is_integer,
    kind,
    kind_or_none,
    promote,
)
from staticnet.ir.value import Value
from staticnet.ops.arguments import BOOLS, FLOATS, check_unmasked

Array = np.ndarray[Any, Any]

_PYTHON = {"f": FLOAT32, "i": INT64, "b": BOOL}  # of Python's numbers where nothing else decides
_RANKS = {"bool": 0, "uint": 1, "int": 1, "float": 2}
_KINDS = {bool: "bool", int: "int", float: "float"}
_WEAK = (bool, int, float, list, tuple, Dim)


def _limits_of(dtype: DType) -> tuple[DType, Any, Any]:
    if is_integer(dtype):
        return dtype, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    largest = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    return dtype, -largest, largest


def is_scalar(x: Any) -> bool:
    """Whether `x` is a number on the host: Python's, NumPy's, or a NumPy array without axes."""
    if isinstance(x, np.generic | np.ndarray):
        return x.ndim == 0 and x.dtype.kind in "biuf"
    return isinstance(x, (bool, int, float))


def python_number(x: Any) -> Any:
    """A scalar as a Python number, which has no dtype of its own; anything else as it is."""
    return x.item() if isinstance(x, np.generic | np.ndarray) and is_scalar(x) else x


_LIMITS = {dtype: _limits_of(dtype) for dtype in DTYPES.values() if dtype != BOOL}


def is_weak(x: Any) -> bool:
    """Whether `x` takes the dtype of what it meets: a number, a list, an array without axes."""
    if isinstance(x, _WEAK):
        return True
    if isinstance(x, Value) or getattr(x, "ndim", None) != 0:
        return False
    return not hasattr(x, "__cuda_array_interface__")


def as_array(value: Any, dtype: DType | None = None) -> Array:
    """A dense host array of `value` in a supported dtype.

    Without a `dtype`, Python floats become float32, ints int64; arrays keep theirs.

    Raises:
        DTypeError: if it is no array of a supported dtype, or `dtype` is of integers and one of a
            weak value's numbers out of its range.
    """
    if dtype is not None and type(value) in _KINDS and dtype in _LIMITS:
        own, least, most = _LIMITS[dtype]
        if least <= value <= most:
            return np.asarray(value).astype(own)
    if dtype is not None and is_weak(value):
        return in_range(value, _dense(value), dtype)
    array = _dense(value)
    named = hasattr(value, "dtype") or hasattr(value, "__dlpack__")
    by_kind = {} if named else _PYTHON
    own = by_kind.get(array.dtype.kind) or array.dtype
    if own not in DTYPES.values():
        raise DTypeError(f"an array of dtype {array.dtype} is not supported")
    return _cast(array, own if dtype is None else dtype)


def adapted(value: Any, dtype: DType) -> Array:
    """A dense host array of `value`: a weak one in the dtype if it fits, any other in its own.

    Raises:
        DTypeError: as `as_array`.
    """
    own = _KINDS.get(type(value), "bool")
    if own != "bool" and dtype in _LIMITS and _RANKS[own] <= _RANKS[kind(dtype)]:
        return as_array(value, dtype)
    if not is_weak(value) or isinstance(value, Dim):
        return as_array(value)
    array = _dense(value)
    return in_range(value, array, dtype) if _fits(value, array, dtype) else as_array(value)


def _dense(value: Any) -> Array:
    if isinstance(value, Value) and value.is_symbolic:
        raise DTypeError(f"{value!r} is a symbolic value, not an array")
    if isinstance(value, Dim):
        raise DTypeError(f"the dimension {value} is symbolic; it is a number beside graph nodes")
    check_unmasked(value)
    try:
        if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic | Value):
            value = from_dlpack(value)
        array = np.asarray(value)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        raise DTypeError(f"{type(value).__name__} does not convert to an array: {error}") from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _cast(array: Array, dtype: DType) -> Array:
    own = as_dtype(dtype)
    with np.errstate(all="ignore"):  # a number too large for a float is infinite
        array = array.astype(own, copy=False)
    return array if array.dtype is own else array.view(own)  # a pickled dtype is equal, not own


def in_range(value: Any, array: Array, dtype: DType) -> Array:
    """`array`, which `value` was, in another dtype.

    Raises:
        DTypeError: if the dtype is of integers, and a number out of its range.
    """
    if array.dtype is dtype:
        return array
    if array.dtype.kind == "O" and _are_ints(array):
        if is_floating(dtype):
            array = np.vectorize(_as_float, otypes=[np.float64])(array)
    elif array.dtype.kind not in "biuf" and array.dtype not in DTYPES.values():
        raise DTypeError(f"an array of dtype {array.dtype} is not supported")
    if is_integer(dtype) and array.size:
        limits = np.iinfo(dtype)
        least, most = python_number(array.min()), python_number(array.max())
        if not (limits.min <= least and most <= limits.max):
            raise DTypeError(f"{_show(value)} is out of the range of {dtype}")
    return _cast(array, dtype)


def _are_ints(array: Array) -> bool:
    return all(isinstance(x, int) for x in array.flat)


def _as_float(x: int) -> float:
    try:
        return float(x)
    except OverflowError:
        raise DTypeError(f"the int of {x.bit_length()} bits is too large for a float") from None


def _show(value: Any) -> str:
    if isinstance(value, Dim):
        return f"the dimension {value}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"the Python int of {value.bit_length()} bits"
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        return f"the Python {type(value).__name__} {value}"
    return f"the {type(value).__name__} {value!r:.40}"


def common_dtype(what: str, operands: Sequence[Any]) -> DType:
    """The dtype that operands promote to; weak ones adapt to the others.

    Of weak ones alone, NumPy's numbers decide, and else Python's kind of number.

    Raises:
        DTypeError: if no dtype holds both, as of int64 and uint64.
    """
    strong = [x for x in operands if not is_weak(x)]
    strong = strong or [x for x in operands if hasattr(x, "dtype")]
    dtypes = [dtype_of(x) for x in strong] or [_widest(operands)]
    result = dtypes[0]
    for dtype in dtypes[1:]:
        promoted = promote(result, dtype)
        if promoted is None:
            raise DTypeError(
                f"{what}: {result} and {dtype} do not promote; cast one with sn.astype(x, dtype)"
            )
        result = promoted
    for x in operands:
        if is_weak(x):
            result = _beside(x, result)
    return result


def _beside(x: Any, dtype: DType) -> DType:
    """The dtype of a weak value and arrays of `dtype`: theirs, unless its kind is greater."""
    own = "int" if isinstance(x, Dim) else _KINDS.get(type(x)) or _kind_of(x, _dense(x))
    if _RANKS[own] <= _RANKS[kind(dtype)]:
        return dtype
    return FLOAT32 if own == "float" else INT64


def operand_dtype(what: str, kinds: frozenset[str], operands: Sequence[Any]) -> DType | None:
    """The dtype in which an op that takes these kinds has operands of one dtype; None: their own.

    Functions of real numbers take others as float32, logical ones as whether they are not 0.

    Raises:
        DTypeError: as `common_dtype`.
    """
    dtypes = {getattr(x, "dtype", None) for x in operands}
    if len(dtypes) == 1 and kind_or_none(*dtypes) in kinds:
        return None
    if not operands or kinds == BOOLS:
        return BOOL if operands else None
    dtype = common_dtype(what, operands)
    return FLOAT32 if kinds == FLOATS and not is_floating(dtype) else dtype


def _widest(operands: Sequence[Any]) -> DType:
    return max((dtype_of(x) for x in operands), key=lambda dtype: _RANKS[kind(dtype)])


def dtype_of(x: Any) -> DType:
    """The dtype of a Value or of what `as_array` would make of `x`."""
    if isinstance(x, Dim):
        return INT64
    return x.dtype if isinstance(x, Value) else as_array(x).dtype


def _fits(x: Any, array: Array, dtype: DType) -> bool:
    """Whether what `array` was made of is of the kind of `dtype` or, if of numbers, a lesser."""
    if array.size == 0 and not hasattr(x, "dtype"):
        return True
    own = _kind_of(x, array)
    return _RANKS[own] <= _RANKS[kind(dtype)] and (own == "bool") == (dtype == BOOL)


def _kind_of(x: Any, array: Array) -> str:
    """The kind of what `array` was made of; an empty list is of the least."""
    if array.size == 0 and not hasattr(x, "dtype"):
        return "bool"
    if array.dtype.kind == "O" and _are_ints(array):
        return "int"
    return kind(array.dtype if array.dtype in _LIMITS else as_array(array).dtype)


def is_lesser(dtype: DType, than: DType) -> bool:
    """Whether a dtype is of the kind of another one or a lesser: bool, integers, floats."""
    return _RANKS[kind(dtype)] <= _RANKS[kind(than)]
