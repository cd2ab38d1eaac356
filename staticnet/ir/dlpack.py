"""Arrays of other libraries by DLPack, bfloat16 too, which NumPy's own `from_dlpack` refuses.

The structs are those of dmlc/dlpack, `include/dlpack/dlpack.h`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from staticnet.ir.dtype import BFLOAT16

_ON_HOST, _BFLOAT = 1, 4  # kDLCPU, kDLBfloat


class _DLTensor(ctypes.Structure):
    """The head of a DLManagedTensor, which a capsule named `dltensor` points to."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Shared:
    """Another library's memory as NumPy's array interface has it; its capsule keeps it alive."""

    def __init__(self, capsule: Any, interface: dict[str, Any]) -> None:
        self.capsule = capsule
        self.__array_interface__ = interface


def from_dlpack(value: Any) -> np.ndarray[Any, Any]:
    """The array that shares the memory of a value with `__dlpack__`, uncopied.

    Raises:
        BufferError, RuntimeError, TypeError, ValueError: if NumPy and the value's library do not
            agree on device or dtype; of its own dtype names what they say.
    """
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError):  # which of them depends on NumPy's version
        shared = _bfloat16(value)
        if shared is None:
            raise
        return shared


def _bfloat16(value: Any) -> np.ndarray[Any, Any] | None:
    """A value's bfloat16 elements on the host, not to be written to; None if they are others."""
    capsule = value.__dlpack__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _DLTensor.from_address(pointer(capsule, b"dltensor"))
    kind = tensor.code, tensor.bits, tensor.lanes, tensor.device_type
    if kind != (_BFLOAT, 16, 1, _ON_HOST):
        return None
    axes = range(tensor.ndim)
    interface = {
        "version": 3,
        "typestr": "<u2",
        "shape": tuple(tensor.shape[i] for i in axes),
        "strides": tuple(2 * tensor.strides[i] for i in axes) if tensor.strides else None,
        "data": ((tensor.data or 0) + tensor.byte_offset, True),
    }
    return np.asarray(_Shared(capsule, interface)).view(BFLOAT16)
