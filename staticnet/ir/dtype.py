"""Data types: NumPy's own `dtype` objects, with ml_dtypes' bfloat16, and the standard's promotion.

Two arrays promote within their kind (Python array API, "Type Promotion Rules"), and of two kinds
the greater decides: bools, integers, floats.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from staticnet.errors import DTypeError

DType = np.dtype[Any]

_SHORT = {
    "bool": "bool",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
}
DTYPES: dict[str, DType] = {
    name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name) for name in _SHORT
}
_SHORT_NAME = {DTYPES[name]: short for name, short in _SHORT.items()}
_OWN = {dtype: dtype for dtype in DTYPES.values()}
_BY_NAME = DTYPES | {short: DTYPES[name] for name, short in _SHORT.items()}

BOOL, INT8, INT16 = DTYPES["bool"], DTYPES["int8"], DTYPES["int16"]
INT32, INT64 = DTYPES["int32"], DTYPES["int64"]
UINT8, UINT16 = DTYPES["uint8"], DTYPES["uint16"]
UINT32, UINT64 = DTYPES["uint32"], DTYPES["uint64"]
FLOAT16, BFLOAT16 = DTYPES["float16"], DTYPES["bfloat16"]
FLOAT32, FLOAT64 = DTYPES["float32"], DTYPES["float64"]

HALVES = (FLOAT16, BFLOAT16)
DIGITS = {FLOAT16: 11, BFLOAT16: 8, FLOAT32: 24, FLOAT64: 53}  # bits of a float's significand

_KIND = {d: {"b": "bool", "i": "int", "u": "uint"}.get(d.kind, "float") for d in DTYPES.values()}
_SIGNED = {8: DTYPES["int16"], 16: DTYPES["int32"], 32: DTYPES["int64"]}


def as_dtype(value: Any) -> DType:
    """The supported dtype that `value` names: a name (`"float32"`, `"f32"`), dtype or scalar type.

    Python's `int` and `float` are int64 and float64, as for NumPy and PyTorch.

    Raises:
        DTypeError: if `value` names none of them; the message lists them.
    """
    if isinstance(value, np.dtype) and value in _OWN:
        return _OWN[value]
    if isinstance(value, str):
        found = _BY_NAME.get(value)
    elif isinstance(value, np.dtype | type):
        try:
            found = DTYPES.get(np.dtype(value).name)
        except TypeError:
            found = None
    else:
        found = None
    if found is None:
        raise DTypeError(f"dtype {_show(value)} is not supported; use one of {', '.join(_SHORT)}")
    return found


def _show(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)[:60]


def short_name(dtype: DType) -> str:
    """`f32` for float32, as the text form prints it."""
    return _SHORT_NAME[dtype]


def kind(dtype: DType) -> str:
    """`"bool"`, `"int"`, `"uint"` or `"float"`."""
    return _KIND[dtype]


def kind_or_none(dtype: Any) -> str | None:
    """The kind of a supported dtype; None of anything else."""
    return _KIND.get(dtype)


def is_floating(dtype: DType) -> bool:
    """Whether the dtype is a floating-point type: the only ones with derivatives."""
    return _KIND[dtype] == "float"


def is_integer(dtype: DType) -> bool:
    """Whether the dtype is a signed or unsigned integer."""
    return _KIND[dtype] in ("int", "uint")


def compute_dtype(dtype: DType) -> DType:
    """The dtype that elements are computed in: 16-bit floats in float32, all others as they are."""
    return FLOAT32 if dtype in HALVES else dtype


def promote(a: DType, b: DType) -> DType | None:
    """The dtype of a binary operation on two arrays, or None of uint64 beside signed integers.

    The standard leaves two kinds open: the array of the greater kind decides, as in PyTorch and
    JAX, so that int64 and float32 give float32, and bools become numbers.
    """
    if a == b:
        return a
    kinds = {_KIND[a], _KIND[b]}
    for least in ("bool", "float"):
        if least in kinds and len(kinds) > 1:
            return a if (_KIND[a] == least) == (least == "float") else b
    if kinds == {"float"} and {a, b} == {FLOAT16, BFLOAT16}:
        return FLOAT32
    if len(kinds) == 1:
        return a if a.itemsize > b.itemsize else b
    if kinds == {"int", "uint"}:
        signed, unsigned = (a, b) if _KIND[a] == "int" else (b, a)
        if signed.itemsize > unsigned.itemsize:
            return signed
        return _SIGNED.get(unsigned.itemsize * 8)
    return None
