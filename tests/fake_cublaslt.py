"""cuBLASLt's functions as ctypes calls them; products are column-major, computed by NumPy."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}


class FakeCublasLt:
    """The library: objects are numbers, attributes the bytes that were written."""

    def __init__(self, gpu: Any) -> None:
        self.gpu = gpu
        self.objects: dict[int, dict[int, bytes]] = {}
        self.made = 0
        self.asked: list[dict[int, bytes]] = []
        self.version = 131000
        self.algorithms = 1
        self.workspace = 0
        for name in ("cublasLtGetVersion", "cublasLtGetStatusName"):
            setattr(self, name, _Callable(getattr(self, f"_{name}")))

    def __getattr__(self, name: str) -> Any:
        match = re.fullmatch(r"cublasLt(\w+?)(Create|SetAttribute|Destroy)", name)
        if not match:
            raise AttributeError(name)
        return {"Create": self._create, "SetAttribute": self._set, "Destroy": self._destroy}[
            match[2]
        ]

    def _cublasLtGetVersion(self) -> int:
        return self.version

    def _cublasLtGetStatusName(self, status: int) -> bytes:
        return b"CUBLAS_STATUS_NOT_SUPPORTED" if status else b"CUBLAS_STATUS_SUCCESS"

    def cublasLtCreate(self, handle: Any) -> int:
        return 0

    def _create(self, made: Any, *arguments: Any) -> int:
        self.made += 1
        made._obj.value = self.made
        values = [x if isinstance(x, int) else x.value for x in arguments]
        self.objects[self.made] = {-1 - i: x for i, x in enumerate(values)}
        return 0

    def _set(self, made: Any, attribute: int, value: Any, size: Any) -> int:
        assert size.value == ctypes.sizeof(value._obj)
        self.objects[made.value][attribute] = bytes(value._obj)
        return 0

    def _destroy(self, made: Any) -> int:
        del self.objects[made.value]
        return 0

    def cublasLtMatmulAlgoGetHeuristic(
        self, handle: Any, desc: Any, a: Any, b: Any, c: Any, d: Any, preference: Any,
        count: int, found: Any, number: Any,
    ) -> int:  # fmt: skip
        self.asked.append(self.objects[preference.value])
        n = min(count, self.algorithms)
        for i in range(n):
            found[i].algorithm.data[0] = i + 1
            found[i].workspace = self.workspace
        number._obj.value = n
        return 0 if n else 15

    def cublasLtMatmul(
        self, handle: Any, desc: Any, alpha: Any, a: Any, a_layout: Any, b: Any, b_layout: Any,
        beta: Any, c: Any, c_layout: Any, d: Any, d_layout: Any, algorithm: Any, workspace: Any,
        size: Any, stream: Any,
    ) -> int:  # fmt: skip
        assert (alpha._obj.value, beta._obj.value) == (1, 0)
        assert bool(workspace.value) or size.value == 0
        number = algorithm._obj.data[0]
        self.gpu.log.append(("product", number))
        op = {k: int.from_bytes(x, "little") for k, x in self.objects[desc.value].items() if k >= 0}
        x, y, z = (
            _column_major(self.objects[layout.value], pointer.value)
            for layout, pointer in ((a_layout, a), (b_layout, b), (d_layout, d))
        )
        self.gpu.streams[stream.value or 0].put(lambda: _multiply(op, x, y, z))
        return 0


class _Callable:
    """A function on which `restype` can be set."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


def _column_major(layout: dict[int, Any], address: int) -> np.ndarray[Any, Any]:
    """[batch, rows, columns] in memory."""
    dtype, rows, columns, leading = (layout[-1 - i] for i in range(4))
    assert leading >= rows, "a leading dimension is at least the number of rows"
    batch = int.from_bytes(layout.get(5, b"\1"), "little")
    stride = int.from_bytes(layout.get(6, b"\0"), "little")
    size = np.dtype(TYPES[dtype]).itemsize
    span = ((batch - 1) * stride + (columns - 1) * leading + rows) * size
    buffer = (ctypes.c_char * span).from_address(address)
    strides = (stride * size, size, leading * size)
    return np.ndarray((batch, rows, columns), TYPES[dtype], buffer, 0, strides)


def _multiply(op: dict[int, int], a: Any, b: Any, d: Any) -> None:
    wide = np.float64 if d.dtype == np.float64 else np.float32
    x = a.swapaxes(1, 2) if op[3] else a
    y = b.swapaxes(1, 2) if op[4] else b
    assert (x.shape[1], x.shape[2], y.shape[2]) == (d.shape[1], y.shape[1], d.shape[2])
    with np.errstate(all="ignore"):
        z = x.astype(wide) @ y.astype(wide)
    if op[7] & 4:
        buffer = (ctypes.c_char * (d.shape[1] * d.itemsize)).from_address(op[8])
        z = z + np.frombuffer(buffer, TYPES[op[26]]).astype(wide)[:, None]
    if op[7] & 2:
        z = np.maximum(z, 0)
    if op[7] & 32:
        z = z / (1 + np.exp(-np.sqrt(8 / np.pi) * (z + 0.044715 * z**3)))
    with np.errstate(all="ignore"):
        d[...] = z.astype(d.dtype)
