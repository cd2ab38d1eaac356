"""The Python array API standard, revision 2024.12, on tensors: `x.__array_namespace__()`.

The functions are staticnet's own; written here are those that make tensors, or take `copy` and
`device`. Without complex numbers, `linalg`, `fft`, and assignment to elements.
"""

from __future__ import annotations

import sys
from math import e, inf, nan, pi
from typing import Any

from staticnet import linalg
from staticnet.dynamic.exchange import device_number, gpus
from staticnet.dynamic.making import (
    arange,
    asarray,
    astype,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    reshape,
    zeros,
    zeros_like,
)
from staticnet.dynamic.sets import (
    nonzero,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from staticnet.dynamic.tensor import Tensor
from staticnet.errors import ArgumentError
from staticnet.ir.dtype import BOOL as bool
from staticnet.ir.dtype import FLOAT32 as float32
from staticnet.ir.dtype import FLOAT64 as float64
from staticnet.ir.dtype import INT8 as int8
from staticnet.ir.dtype import INT16 as int16
from staticnet.ir.dtype import INT32 as int32
from staticnet.ir.dtype import INT64 as int64
from staticnet.ir.dtype import UINT8 as uint8
from staticnet.ir.dtype import UINT16 as uint16
from staticnet.ir.dtype import UINT32 as uint32
from staticnet.ir.dtype import UINT64 as uint64
from staticnet.ir.types import MAX_RANK
from staticnet.ops.arithmetic import (
    abs,
    add,
    atan2,
    conj,
    copysign,
    divide,
    floor_divide,
    hypot,
    imag,
    logaddexp,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    positive,
    pow,
    real,
    reciprocal,
    remainder,
    sign,
    square,
    subtract,
)
from staticnet.ops.comparison import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    signbit,
)
from staticnet.ops.creation import tril, triu
from staticnet.ops.cumulative import diff
from staticnet.ops.data_type import (
    can_cast,
    finfo,
    iinfo,
    isdtype,
    result_type,
)
from staticnet.ops.indexing import (
    take,
    take_along_axis,
)
from staticnet.ops.linalg import (
    matmul,
    tensordot,
    vecdot,
)
from staticnet.ops.movement import (
    concat,
    matrix_transpose,
    moveaxis,
    permute_dims,
    stack,
    unstack,
)
from staticnet.ops.rearranging import flip, roll
from staticnet.ops.reduction import (
    all,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumulative_prod,
    cumulative_sum,
    max,
    mean,
    min,
    prod,
    std,
    var,
)
from staticnet.ops.rounding import ceil, floor, round, trunc
from staticnet.ops.selection import (
    clip,
    where,
)
from staticnet.ops.shape import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    squeeze,
    sum,
)
from staticnet.ops.sorting import (
    argsort,
    searchsorted,
    sort,
)
from staticnet.ops.tiling import (
    meshgrid,
    repeat,
    tile,
)
from staticnet.ops.transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cos,
    cosh,
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "broadcast_arrays",
    "broadcast_to",
    "can_cast",
    "ceil",
    "clip",
    "concat",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "divide",
    "e",
    "empty",
    "empty_like",
    "equal",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "finfo",
    "flip",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "from_dlpack",
    "full",
    "full_like",
    "greater",
    "greater_equal",
    "hypot",
    "iinfo",
    "imag",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "linalg",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "nan",
    "negative",
    "newaxis",
    "nextafter",
    "nonzero",
    "not_equal",
    "ones",
    "ones_like",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "prod",
    "real",
    "reciprocal",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "roll",
    "round",
    "searchsorted",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sort",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensordot",
    "tile",
    "tril",
    "triu",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unstack",
    "var",
    "vecdot",
    "where",
    "zeros",
    "zeros_like",
]

__array_api_version__ = "2024.12"
newaxis = None

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
_DTYPES = {
    "bool": bool,
    "int8": int8,
    "int16": int16,
    "int32": int32,
    "int64": int64,
    "uint8": uint8,
    "uint16": uint16,
    "uint32": uint32,
    "uint64": uint64,
    "float32": float32,
    "float64": float64,
}


class NamespaceInfo:
    """What `__array_namespace_info__()` gives: devices, dtypes and what they can do."""

    def capabilities(self) -> dict[str, Any]:
        """Bool masks and results of unknown length work; and so many axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MAX_RANK}

    def default_device(self) -> str:
        """Where tensors are made unless `device` says."""
        return "cpu"

    def devices(self) -> list[str]:
        """Where tensors can be made: the host, and with CuPy its GPUs."""
        return ["cpu", *gpus()]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of Python's numbers and of indices."""
        _check_device(device)
        return {"real floating": float32, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The standard's dtypes, or those of a kind, as `isdtype` knows them."""
        _check_device(device)
        return {
            name: dtype for name, dtype in _DTYPES.items() if kind is None or isdtype(dtype, kind)
        }


def _check_device(device: Any) -> None:
    if device is not None:
        device_number(device)


def __array_namespace_info__() -> NamespaceInfo:
    """What this namespace can do."""
    return NamespaceInfo()


def _namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The module of the array API standard's functions for tensors.

    Raises:
        ArgumentError: if the revision is none that it follows.
    """
    if api_version not in (None, *_VERSIONS):
        raise ArgumentError(
            f"__array_namespace__: no revision {api_version!r:.60}; there are {_VERSIONS}"
        )
    return sys.modules[__name__]


setattr(Tensor, "__array_namespace__", _namespace)  # noqa: B010 (this room stands above it)
