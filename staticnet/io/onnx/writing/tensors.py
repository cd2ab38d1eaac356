"""Arrays and types as ONNX has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.errors import OnnxError
from staticnet.io.onnx.library import onnx
from staticnet.io.onnx.tensors import NAMES
from staticnet.ir.dtype import DType
from staticnet.ir.types import TensorType

Array = np.ndarray[Any, Any]
NUMBERS = {name: number for number, name in NAMES.items()}
SMALL = 1 << 10  # bytes of a constant that is told only once


class Tensors:
    """The initialisers of a model: constants and weights, by name."""

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self._fresh = fresh
        self._known: dict[tuple[Any, ...], str] = {}
        self.arrays: dict[str, Array] = {}

    def number(self, dtype: DType) -> int:
        """ONNX's number of a dtype."""
        return number(dtype)

    def add(self, array: Any, name: str = "") -> str:
        """The name of a constant; small ones of equal bits are one."""
        array = np.asarray(array)
        key = None
        if array.nbytes <= SMALL:
            key = (array.dtype, array.shape, array.tobytes())
            if key in self._known:
                return self._known[key]
        found = self._fresh(name or "constant")
        self.arrays[found] = array
        if key is not None:
            self._known[key] = found
        return found

    def add_named(self, name: str, array: Any) -> str:
        """The name of a weight: one of its own, whatever its bits."""
        found = self._fresh(name)
        self.arrays[found] = np.asarray(array)
        return found


def number(dtype: DType) -> int:
    """ONNX's number of a dtype."""
    return NUMBERS[str(dtype)]


def numbers(*values: Any) -> Array:
    """int64 [n]"""
    return np.array(values, np.int64)


def value_info(name: str, type_: TensorType) -> Any:
    """The description of a value; symbolic dims are told by name."""
    shape = [d if isinstance(d, int) else str(d) for d in type_.shape]
    return onnx().helper.make_tensor_value_info(name, number(type_.dtype), shape)


def tensor(name: str, array: Array) -> Any:
    """The TensorProto of an array, which holds its bytes.

    Raises:
        OnnxError: if they are more than a file of the format can hold.
    """
    if array.nbytes >= 2**31:
        raise OnnxError(f"save: {name} has {array.nbytes} bytes; pass external=True")
    proto = described(name, array)
    proto.raw_data = little(array)
    return proto


def described(name: str, array: Array) -> Any:
    """The TensorProto of an array, without its bytes."""
    return onnx().TensorProto(name=name, data_type=number(array.dtype), dims=array.shape)


def little(array: Array) -> bytes:
    """The bytes of an array as the format has them, least significant ones first."""
    order = array.dtype.newbyteorder("<") if array.dtype.kind != "V" else array.dtype
    return np.ascontiguousarray(array, order).tobytes()
