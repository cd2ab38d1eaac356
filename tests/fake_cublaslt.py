"""cuBLASLt's functions as ctypes calls them; products are column-major, computed by NumPy.

It refuses what the real one does: see `_unfit`, `_misaligned` and `_misplaced`.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

TYPES = {
    0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16,
    28: ml_dtypes.float8_e4m3fn, 29: ml_dtypes.float8_e5m2,
}  # fmt: skip
OF_8_BITS, E5M2 = (28, 29), 29
SUCCESS, INVALID_VALUE, NOT_SUPPORTED = 0, 7, 15
STATUSES = {
    SUCCESS: b"CUBLAS_STATUS_SUCCESS",
    INVALID_VALUE: b"CUBLAS_STATUS_INVALID_VALUE",
    NOT_SUPPORTED: b"CUBLAS_STATUS_NOT_SUPPORTED",
}
# compute type: type of alpha and beta, and types of the matrices
ARITHMETIC = {68: (0, {0, 2, 14}), 77: (0, {0}), 70: (1, {1})}
SCALARS = {0: ctypes.c_float, 1: ctypes.c_double}
BIAS, RELU, GELU, AUXILIARY = 4, 2, 32, 128
RELU_SLOPE, GELU_SLOPE, SUMS = 8, 64, 16
SUMS_OF_A, SUMS_OF_B = 256, 512
WORKSPACE_ALIGNMENT, BIAS_ALIGNMENT = 256, 16
GELU_ERROR_OF_FLOAT64 = 8e-9  # relative, as an H100 showed: the epilogue is not of double precision


class FakeCublasLt:
    """The library: objects are numbers, attributes the bytes that were written."""

    def __init__(self, gpu: Any) -> None:
        self.gpu = gpu
        self.objects: dict[int, dict[int, bytes]] = {}
        self.made = 0
        self.asked: list[dict[int, bytes]] = []
        self.version = 131000
        self.algorithms = 1
        self.workspaces: Iterator[int] = itertools.repeat(0)  # of the algorithms, as they are asked
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
        return STATUSES[status]

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
        wanted = self.objects[preference.value]
        self.asked.append(wanted)
        layouts = [self.objects[x.value] for x in (a, b, c, d)]
        if status := _unfit(self.objects[desc.value], *layouts):
            return status
        n = min(count, self.algorithms)
        for i in range(n):
            found[i].workspace = next(self.workspaces)
            promised = [_number(wanted, attribute) for attribute in (5, 6, 7, 8)]
            found[i].algorithm.data[:6] = [i + 1, found[i].workspace, *promised]
        number._obj.value = n
        return SUCCESS if n else NOT_SUPPORTED

    def cublasLtMatmul(
        self, handle: Any, desc: Any, alpha: Any, a: Any, a_layout: Any, b: Any, b_layout: Any,
        beta: Any, c: Any, c_layout: Any, d: Any, d_layout: Any, algorithm: Any, workspace: Any,
        size: Any, stream: Any,
    ) -> int:  # fmt: skip
        assert (alpha._obj.value, beta._obj.value) == (1, 0)
        op = self.objects[desc.value]
        layouts = [self.objects[x.value] for x in (a_layout, b_layout, c_layout, d_layout)]
        pointers = [x.value or 0 for x in (a, b, c, d)]
        scalar = SCALARS[op[-2]]
        if not isinstance(alpha._obj, scalar) or not isinstance(beta._obj, scalar):
            return INVALID_VALUE
        if status := _unfit(op, *layouts):
            return status
        number, needed, *promised = algorithm._obj.data[:6]
        if _misaligned(pointers, promised, layouts) or _misplaced(workspace, size, needed):
            return INVALID_VALUE
        beside = {BIAS | SUMS | SUMS_OF_A | SUMS_OF_B: 8, AUXILIARY: 11}
        for flags, pointer in beside.items():
            at = _number(op, pointer)
            if _number(op, 7) & flags and (not at or at % BIAS_ALIGNMENT):
                return INVALID_VALUE
        self.gpu.log.append(("product", number))
        told = {k: int.from_bytes(x, "little") for k, x in op.items() if k >= 0}
        x, y, _, z = map(_column_major, layouts, pointers)
        self.gpu.streams[stream.value or 0].put(lambda: _multiply(told, x, y, z))
        return SUCCESS


def _number(attributes: dict[int, Any], name: int, default: int = 0) -> int:
    return int.from_bytes(attributes.get(name, default.to_bytes(8, "little")), "little")


def _unfit(op: dict[int, Any], *layouts: dict[int, Any]) -> int:
    """The status for a descriptor and layouts of A, B, C and D that make no product."""
    compute, scale = op[-1], op[-2]
    types = {layout[-1] for layout in layouts}
    if layouts[0][-1] in OF_8_BITS:
        if not _takes_8_bits(op, *layouts):
            return NOT_SUPPORTED
        types = {layouts[3][-1]}
    if scale != ARITHMETIC[compute][0] or not types <= ARITHMETIC[compute][1] or len(types) > 1:
        return NOT_SUPPORTED
    for layout in layouts:
        rows, columns, leading = (layout[-2 - i] for i in range(3))
        if min(rows, columns) < 1 or leading < rows:
            return INVALID_VALUE
    (m, k), (inner, n) = (
        (x[-3], x[-2]) if _number(op, transposed) else (x[-2], x[-3])
        for x, transposed in zip(layouts[:2], (3, 4), strict=True)
    )
    batches = {_number(layout, 5, 1) for layout in layouts}
    fits = k == inner and all((x[-2], x[-3]) == (m, n) for x in layouts[2:]) and len(batches) == 1
    result = layouts[3]
    if _number(op, 7) & (AUXILIARY):
        unit = 128 if _is_mask(_number(op, 7)) else 8
        leading = _number(op, 12)
        if leading % unit or leading < m:
            return INVALID_VALUE
    apart = _number(result, 5, 1) == 1 or _number(result, 6) >= (n - 1) * result[-4] + m
    return SUCCESS if fits and apart else INVALID_VALUE


def _takes_8_bits(op: dict[int, Any], *layouts: dict[int, Any]) -> bool:
    """What cublasLtMatmul asks of 8-bit floats on compute capabilities 8.9 and 9.0.

    A is transposed and B is not, one is e5m2 at most, C and D are of one wider type, a factor comes
    with each of both, and sizes, rows and addresses are multiples of 16 bytes.
    """
    a, b, c, d = (layout[-1] for layout in layouts)
    types = b in OF_8_BITS and (a, b) != (E5M2, E5M2) and c == d and d in (0, 2, 14)
    turned = (_number(op, 3), _number(op, 4)) == (1, 0)
    sizes = [layout[-2 - i] for layout in layouts for i in range(3)]
    factors = (_number(op, 17), _number(op, 18))
    plain = _number(op, 7) in (1, BIAS, BIAS | RELU, RELU, GELU, BIAS | GELU)
    fits = all(n % 16 == 0 for n in sizes) and all(at and at % 4 == 0 for at in factors)
    return types and turned and plain and fits


def _misaligned(pointers: list[int], promised: list[int], layouts: list[dict[int, Any]]) -> bool:
    """Whether an operand does not lie as the algorithm was promised, or as its type must."""
    sizes = [
        16 if layout[-1] in OF_8_BITS else np.dtype(TYPES[layout[-1]]).itemsize
        for layout in layouts
    ]
    return any(
        not pointer or pointer % bound or pointer % size
        for pointer, bound, size in zip(pointers, promised, sizes, strict=True)
    )


def _misplaced(workspace: Any, size: Any, needed: int) -> bool:
    """Whether a workspace is too small, or lies badly, which is refused even of one of no size."""
    pointer = workspace.value or 0
    missing = size.value > 0 and not pointer
    return size.value < needed or missing or pointer % WORKSPACE_ALIGNMENT != 0


class _Callable:
    """A function on which `restype` can be set."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


def _column_major(layout: dict[int, Any], address: int) -> np.ndarray[Any, Any]:
    """[batch, rows, columns] in memory."""
    dtype, rows, columns, leading = (layout[-1 - i] for i in range(4))
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
    with np.errstate(all="ignore"):
        z = x.astype(wide) @ y.astype(wide) * _factor(op, 17) * _factor(op, 18)
    if op[7] & BIAS:
        z = z + _vector(op, d.shape[1]).astype(wide)[:, None]
    with np.errstate(all="ignore"):
        d[...] = _beside(op, z, x, y, d).astype(d.dtype)


def _factor(op: dict[int, int], name: int) -> np.float32:
    """What an operand is multiplied by: a number on the device."""
    return np.float32(ctypes.c_float.from_address(op[name]).value if op.get(name) else 1)


def _beside(op: dict[int, int], z: Any, x: Any, y: Any, d: Any) -> Any:
    """A product's result, with what its epilogue reads and writes beside it."""
    flags, wide = op[7], z.dtype
    if flags & (AUXILIARY):
        saved = _auxiliary(op, d)
    if flags & RELU:
        if flags & AUXILIARY:
            saved[...] = np.packbits(_filled((z > 0)[0].T, saved.shape[1] * 8), axis=1)
        z = np.maximum(z, 0)
    elif flags & RELU_SLOPE:
        z = np.where(np.unpackbits(saved, axis=1)[:, : z.shape[1]].T, z, 0)
    elif flags & GELU_SLOPE:
        z = z * _gelu_slope(saved[:, : z.shape[1]].T.astype(wide))
    elif flags & GELU:
        if flags & AUXILIARY:
            saved[:, : z.shape[1]] = z[0].T.astype(d.dtype)
        z = z / (1 + np.exp(-np.sqrt(8 / np.pi) * (z + 0.044715 * z**3)))
        z = z * (1 + GELU_ERROR_OF_FLOAT64) if wide == np.float64 else z
    for flag, summed in ((SUMS, z[0]), (SUMS_OF_A, x[0]), (SUMS_OF_B, y[0].T)):
        if flags & flag:
            _vector(op, len(summed))[...] = summed.astype(wide).sum(1).astype(TYPES[op[26]])
    return z


def _is_mask(flags: int) -> bool:
    return bool(flags & (RELU | RELU_SLOPE))


def _filled(mask: Any, n: int) -> Any:
    return np.pad(mask, [(0, 0), (0, n - mask.shape[1])])


def _gelu_slope(x: Any) -> Any:
    """By PyTorch's formula, of tanh."""
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * (1 + np.tanh(u)) + 0.5 * x * (1 - np.tanh(u) ** 2) * slope


def _vector(op: dict[int, int], n: int) -> Any:
    dtype = np.dtype(TYPES[op[26]])
    buffer = (ctypes.c_char * (n * dtype.itemsize)).from_address(op[8])
    return np.frombuffer(buffer, dtype)


def _auxiliary(op: dict[int, int], d: Any) -> Any:
    """What lies beside D, a row for each column of it; bits of a mask the highest first.

    The manual leaves their order open, and nothing must depend on it.
    """
    bits = _is_mask(op[7])
    dtype = np.dtype(np.uint8) if bits else d.dtype
    shape = (d.shape[2], op[12] // 8 if bits else op[12])
    buffer = (ctypes.c_char * (shape[0] * shape[1] * dtype.itemsize)).from_address(op[11])
    return np.frombuffer(buffer, dtype).reshape(shape)
