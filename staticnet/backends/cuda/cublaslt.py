"""cuBLASLt by ctypes: matrix products that a stream can capture. It loads without a GPU.

Attributes' numbers are those of cublasLt.h.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staticnet.backends.cuda.descriptor import MatmulDescriptor, MatrixLayout
from staticnet.errors import DeviceError, ExecutionError

WORKSPACE = 32 << 20  # bytes that an algorithm may ask for
_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS, _BIAS_TYPE = 3, 4, 7, 8, 26
_AUXILIARY, _AUXILIARY_LEADING = 11, 12
_FACTORS = (17, 18)  # where what A and B are multiplied by lies on the device
_BATCH, _STRIDE = 5, 6
_MAX_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)  # of a preference; alignments of A, B, C, D
_MAJORS = ("13", "12")
_R_64F = 1
_HAS_BIAS = 4 | 16 | 256 | 512  # one that is added, or sums that are written where it would lie


_AUXILIARY_EPILOGUES = 128 | 16 | 256 | 512


class _Algorithm(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64 * 8)]


class _Heuristic(ctypes.Structure):
    _fields_ = [
        ("algorithm", _Algorithm),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


@dataclass(frozen=True)
class Algorithm:
    """How to compute a product: 64 bytes for this version of cuBLAS, and the workspace it needs."""

    data: bytes
    workspace: int


class Operation:
    """The library's objects for a descriptor; they are destroyed with this one."""

    def __init__(
        self, blas: CublasLt, descriptor: MatmulDescriptor, bias: int = 0, auxiliary: int = 0,
        factors: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self.blas = blas
        self.descriptor = descriptor
        self._made: list[tuple[str, ctypes.c_void_p]] = []
        self.a, self.b, self.d = map(self._layout, (descriptor.a, descriptor.b, descriptor.d))
        self.handle = self._make("MatmulDesc", descriptor.compute, descriptor.scale)
        self._set_int(_TRANSPOSE_A, descriptor.transpose_a)
        self._set_int(_TRANSPOSE_B, descriptor.transpose_b)
        self._set_int(_EPILOGUE, descriptor.epilogue)
        if descriptor.epilogue & _HAS_BIAS:
            blas.set("MatmulDesc", self.handle, _BIAS, ctypes.c_void_p(bias))
            self._set_int(_BIAS_TYPE, descriptor.d.dtype)
        if descriptor.auxiliary:
            leading = ctypes.c_int64(descriptor.auxiliary)
            blas.set("MatmulDesc", self.handle, _AUXILIARY, ctypes.c_void_p(auxiliary))
            blas.set("MatmulDesc", self.handle, _AUXILIARY_LEADING, leading)
        for attribute, factor in zip(_FACTORS, factors, strict=bool(factors)):
            blas.set("MatmulDesc", self.handle, attribute, ctypes.c_void_p(factor))
        number = ctypes.c_double if descriptor.scale == _R_64F else ctypes.c_float
        self.one, self.zero = number(1), number(0)

    def _layout(self, layout: MatrixLayout) -> ctypes.c_void_p:
        sizes = (ctypes.c_uint64(layout.rows), ctypes.c_uint64(layout.columns))
        made = self._make("MatrixLayout", layout.dtype, *sizes, ctypes.c_int64(layout.leading))
        if layout.batch != 1:
            self.blas.set("MatrixLayout", made, _BATCH, ctypes.c_int32(layout.batch))
            self.blas.set("MatrixLayout", made, _STRIDE, ctypes.c_int64(layout.stride))
        return made

    def _make(self, kind: str, *arguments: Any) -> ctypes.c_void_p:
        made = self.blas.make(kind, *arguments)
        self._made.append((kind, made))
        return made

    def _set_int(self, attribute: int, value: int) -> None:
        self.blas.set("MatmulDesc", self.handle, attribute, ctypes.c_int32(value))

    def __del__(self) -> None:
        for kind, made in self.__dict__.get("_made", ()):
            self.blas.destroy(kind, made)


class CublasLt:
    """A loaded cuBLASLt. Its handle, which needs a device, is made at the first product."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.cublasLtGetVersion.restype = ctypes.c_size_t
        library.cublasLtGetStatusName.restype = ctypes.c_char_p
        self.version = int(library.cublasLtGetVersion())

    @functools.cached_property
    def _handle(self) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        status = self._library.cublasLtCreate(ctypes.byref(handle))
        if status:
            raise DeviceError(
                f"cuBLASLt {self.version} does not start: {self._name(status)}; "
                "run: staticnet doctor"
            )
        return handle

    def algorithms(
        self, operation: Operation, alignments: tuple[int, int, int], count: int = 1
    ) -> list[Algorithm]:
        """Up to `count` ways to compute a product, the one expected to be fastest first.

        `alignments` are those of the addresses of A, B and D, in bytes.

        Raises:
            ExecutionError: if cuBLASLt knows none.
        """
        preference = self.make("MatmulPreference")
        try:
            limit = ctypes.c_uint64(WORKSPACE)
            self.set("MatmulPreference", preference, _MAX_WORKSPACE, limit)
            a, b, d = alignments
            for attribute, value in zip(_ALIGNMENTS, (a, b, d, d), strict=True):
                self.set("MatmulPreference", preference, attribute, ctypes.c_uint32(value))
            found, number = (_Heuristic * count)(), ctypes.c_int()
            x = operation
            status = self._library.cublasLtMatmulAlgoGetHeuristic(
                self._handle, x.handle, x.a, x.b, x.d, x.d, preference, count, found,
                ctypes.byref(number),
            )  # fmt: skip
        finally:
            self.destroy("MatmulPreference", preference)
        good = [found[i] for i in range(number.value) if status == 0 and found[i].state == 0]
        if not good:
            raise ExecutionError(
                f"cuBLASLt {self.version} has no algorithm for {operation.descriptor} "
                f"({self._name(status)}); please report this{_without(operation)}"
            )
        return [Algorithm(bytes(x.algorithm), int(x.workspace)) for x in good]

    def multiply(
        self, operation: Operation, algorithm: Algorithm, a: int, b: int, d: int,
        workspace: int, stream: int,
    ) -> None:  # fmt: skip
        """Enqueue a product on a stream; all but `operation` and `algorithm` are addresses.

        Raises:
            ExecutionError: if cuBLASLt refuses it.
        """
        pointer, x = ctypes.c_void_p, operation
        status = self._library.cublasLtMatmul(
            self._handle, x.handle, ctypes.byref(x.one), pointer(a), x.a, pointer(b), x.b,
            ctypes.byref(x.zero), pointer(d), x.d, pointer(d), x.d,
            ctypes.byref(_Algorithm.from_buffer_copy(algorithm.data)), pointer(workspace),
            ctypes.c_size_t(algorithm.workspace), pointer(stream),
        )  # fmt: skip
        if status:
            raise ExecutionError(f"cuBLASLt {self.version}: {self._name(status)}")

    def make(self, kind: str, *arguments: Any) -> ctypes.c_void_p:
        """An object of the library: a MatmulDesc, a MatrixLayout or a MatmulPreference."""
        made = ctypes.c_void_p()
        create = getattr(self._library, f"cublasLt{kind}Create")
        self._check(create(ctypes.byref(made), *arguments))
        return made

    def set(self, kind: str, made: ctypes.c_void_p, attribute: int, value: Any) -> None:
        """Set an attribute of such an object."""
        write = getattr(self._library, f"cublasLt{kind}SetAttribute")
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self._check(write(made, attribute, ctypes.byref(value), size))

    def destroy(self, kind: str, made: ctypes.c_void_p) -> None:
        """Free such an object."""
        getattr(self._library, f"cublasLt{kind}Destroy")(made)

    def _check(self, status: int) -> None:
        if status:
            raise DeviceError(f"cuBLASLt {self.version}: {self._name(status)}; please report this")

    def _name(self, status: int) -> str:
        return str(self._library.cublasLtGetStatusName(status).decode())


def _without(operation: Operation) -> str:
    """How to do without an epilogue that a library may lack."""
    auxiliary = operation.descriptor.epilogue & _AUXILIARY_EPILOGUES
    return ", and compile with disabled_passes=('auxiliary',)" if auxiliary else ""


@functools.cache
def find_library() -> CublasLt | None:
    """cuBLASLt from the loader's path, a wheel or the toolkit's folder; None if there is none."""
    for name in _candidates():
        try:
            return CublasLt(ctypes.CDLL(name))
        except OSError:
            continue
    return None


def _candidates() -> Iterator[str]:
    wheels = importlib.util.find_spec("nvidia")
    folders = [Path(x) for x in (wheels and wheels.submodule_search_locations) or ()]
    for folder in folders:
        yield from map(str, sorted(folder.rglob("libcublasLt.so.*"), reverse=True))
    for major in _MAJORS:
        yield f"libcublasLt.so.{major}"
    yield from map(str, sorted(Path("/usr/local/cuda").rglob("libcublasLt.so.*"), reverse=True))
