"""A GPU that is not there: what stands for CuPy and cuBLASLt does nothing and is done at once.

So the host's own part of compiling and calling can be timed on any machine. Kernels are compiled,
by NVRTC; addresses are numbers at which nothing lies, and results are of no use.
"""

from __future__ import annotations

import ctypes
import math
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

import staticnet.backends.cuda as backend
from staticnet.backends.cuda.cublaslt import Algorithm
from staticnet.backends.cuda.device import Device
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.errors import DeviceError

ALIGNMENT = 512
PROPERTIES = {
    "name": b"no GPU", "major": 9, "minor": 0, "multiProcessorCount": 132,
    "sharedMemPerBlockOptin": 227 << 10,
}  # fmt: skip


def nothing(*arguments: Any) -> None:
    """What any call does."""


class Error(Exception):
    """What CuPy raises; nothing does here."""


class Function:
    """A kernel that does nothing."""

    ptr = 0

    def __call__(self, *arguments: Any) -> None:
        """Its launch."""


class Stream:
    """A stream on which all is done."""

    ptr, done = 0, True

    def __init__(self, non_blocking: bool = False) -> None:
        self.synchronize = self.wait_event = self.begin_capture = nothing

    def end_capture(self) -> Any:
        """A graph whose launch does nothing."""
        return types.SimpleNamespace(upload=nothing, launch=nothing)


class Pinned(bytearray):
    """Pinned memory, which is the host's."""

    @property
    def ptr(self) -> int:
        """Its address."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self))


class Blas:
    """cuBLASLt, which knows one algorithm."""

    version = 0

    def make(self, kind: str, *arguments: Any) -> ctypes.c_void_p:
        """One of the library's objects."""
        return ctypes.c_void_p(1)

    def set(self, *arguments: Any) -> None:
        """An attribute of it."""

    def destroy(self, *arguments: Any) -> None:
        """Free it."""

    def algorithms(self, *arguments: Any) -> list[Algorithm]:
        """The one."""
        return [Algorithm(bytes(64), 0)]

    def multiply(self, *arguments: Any) -> None:
        """No product."""


def cupy() -> Any:
    """The module that stands for CuPy."""
    space = types.SimpleNamespace
    stream, place = Stream(), iter(range(1 << 20, 1 << 62, ALIGNMENT))

    class Array:
        def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
            self.shape, self.dtype = shape, np.dtype(dtype)
            self.nbytes = self.dtype.itemsize * math.prod(shape)
            self.data = space(ptr=next(place))
            self.flags = space(c_contiguous=True)

    module = space(load=nothing, get_function=lambda name: Function())
    runtime = space(
        CUDARuntimeError=Error, getDevice=lambda: 0, getDeviceProperties=lambda n: PROPERTIES,
        memcpyAsync=nothing, memsetAsync=nothing, memGetInfo=lambda: (1 << 38, 1 << 38),
        memcpyHostToDevice=1, memcpyDeviceToHost=2, memcpyDeviceToDevice=3,
    )  # fmt: skip
    cuda = space(
        runtime=runtime, driver=space(CUDADriverError=Error, funcSetAttribute=nothing),
        alloc=lambda nbytes: space(ptr=next(place)), memory=space(OutOfMemoryError=Error),
        alloc_pinned_memory=Pinned, Stream=Stream, get_current_stream=lambda: stream,
        Event=lambda disable_timing=False: space(record=nothing, synchronize=nothing),
        function=space(Module=lambda: module),
    )  # fmt: skip
    pool = space(free_bytes=lambda: 0, free_all_blocks=nothing)
    return space(cuda=cuda, ndarray=Array, get_default_memory_pool=lambda: pool)


@contextmanager
def no_gpu() -> Iterator[Any]:
    """`device="cuda"` runs on it. -> what stands for CuPy

    Raises:
        DeviceError: if there is no NVRTC.
    """
    nvrtc, module = find_nvrtc(), cupy()
    if nvrtc is None:
        raise DeviceError("there is no NVRTC; run: pip install nvidia-cuda-nvrtc")
    device = Device(module, nvrtc, Blas())  # type: ignore[arg-type]
    with (
        mock.patch.dict(sys.modules, cupy=module),
        mock.patch.object(backend, "open_device", return_value=device),
        mock.patch.object(backend.CudaBackend, "missing", return_value=""),
    ):
        yield module
