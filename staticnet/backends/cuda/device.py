"""One GPU through CuPy: modules, arrays that hold variables, and the order of streams."""

from __future__ import annotations

import functools
import importlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.cuda.availability import find_missing
from staticnet.backends.cuda.conditional import Conditionals, Driver, DriverError, find_driver
from staticnet.backends.cuda.cublaslt import CublasLt, find_library
from staticnet.backends.cuda.cudnn import Cudnn, find_cudnn
from staticnet.backends.cuda.faults import translate
from staticnet.backends.cuda.nvrtc import OPTIONS, Nvrtc, find_nvrtc
from staticnet.codegen.cuda.parts import Chip
from staticnet.errors import DeviceError
from staticnet.ir.types import fixed
from staticnet.ops.state import Variable

log = logging.getLogger("staticnet")
SUFFIX = ".cubin"
_MOST_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
POLL_SECONDS = 1e-4  # between two looks whether the device has got so far


class Writer:
    """Whoever updates a set of variables. Programs hold it, and with it their variables."""


def _nobody() -> None:
    return None


class Device:
    """The current GPU. `cupy` is the module; all that runs goes through it or NVIDIA's libraries.

    `cudnn` may be None: then kernels of our own compute what it would. So may `driver`: then no
    graph asks the device whether a part of it runs.
    """

    def __init__(
        self, cupy: Any, nvrtc: Nvrtc, blas: CublasLt, cudnn: Cudnn | None = None,
        driver: Driver | None = None,
    ) -> None:  # fmt: skip
        self.cupy = cupy
        self.runtime = cupy.cuda.runtime
        self.blas = blas
        self.cudnn = cudnn
        self.conditionals = Conditionals(cupy, driver) if driver is not None else None
        runtime, driven = cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError
        self.errors = (runtime, driven, DriverError)
        self.lock = threading.RLock()
        self._nvrtc = nvrtc
        self.id = int(self.runtime.getDevice())
        properties = self.runtime.getDeviceProperties(self.id)
        self.name = properties["name"].decode()
        self.capability = int(properties["major"]), int(properties["minor"])
        self.architecture = "sm_{}{}".format(*self.capability)
        self.chip = Chip(
            int(properties["multiProcessorCount"]), int(properties["sharedMemPerBlockOptin"])
        )
        self._modules: dict[str, Any] = {}
        self._homes: dict[int, Any] = {}  # by id: nodes compare into nodes
        self._last: Any = None
        self.writers: weakref.WeakValueDictionary[frozenset[int], Writer] = (
            weakref.WeakValueDictionary()  # by the ids of the variables that they write
        )
        self.last_writer: Callable[[], Writer | None] = _nobody
        self.origins: set[int] = set()  # ids of variables of which there are copies
        self._event = cupy.cuda.Event(disable_timing=True)
        self.capture_stream = cupy.cuda.Stream(non_blocking=True)
        self._side_streams: list[Any] = []
        self._kept: list[Any] = []
        self.seconds_tuned = 0.0  # that this process has timed algorithms of products

    def load(self, source: str) -> Any:
        """The module of a CUDA source, compiled at most once a machine and loaded once a process.

        Raises:
            CompileError: if NVRTC refuses it.
            DeviceError: if the driver does not load what NVRTC made.
        """
        key = module_key(source, self.architecture, self._nvrtc.version)
        if key in self._modules:
            return self._modules[key]
        start = time.perf_counter()

        def make(output: Path) -> None:
            output.write_bytes(self._nvrtc.compile(source, self.architecture, OPTIONS))

        binary, fresh = cache.content(key, SUFFIX, make)
        module = self.cupy.cuda.function.Module()
        try:
            module.load(binary)
        except self.errors as error:
            raise translate(error, f"loading kernels for {self.architecture}") from error
        if "time" in flags.read().debug:
            act = "compiled" if fresh else "loaded from the cache"
            milliseconds = (time.perf_counter() - start) * 1e3
            log.info("cuda: module %s %s in %.1f ms", key[:12], act, milliseconds)
        return self._modules.setdefault(key, module)

    def allow_shared(self, function: Any, nbytes: int) -> None:
        """Let a kernel's blocks have so much shared memory."""
        self.cupy.cuda.driver.funcSetAttribute(function.ptr, _MOST_SHARED, nbytes)

    def stream(self) -> Any:
        """CuPy's current stream, made to wait for what this package put on another one before.

        Raises:
            DeviceError: if another device is current.
        """
        if self.runtime.getDevice() != self.id:
            raise DeviceError(
                f"device {self.runtime.getDevice()} is current, and this was compiled for device "
                f"{self.id}; run it in `with cupy.cuda.Device({self.id}):`"
            )
        stream = self.cupy.cuda.get_current_stream()
        if self._last is None or stream.ptr != self._last.ptr:
            if self._last is not None:
                self.order(self._last, stream)
            self._last = stream
        return stream

    def order(self, first: Any, then: Any) -> None:
        """Have a stream wait for all that is on another one by now."""
        self._event.record(first)
        then.wait_event(self._event)

    def side_streams(self, count: int) -> list[Any]:
        """So many streams that nothing but steps in progress uses, always the same ones."""
        while len(self._side_streams) < count:
            self._side_streams.append(self.cupy.cuda.Stream(non_blocking=True))
        return self._side_streams[:count]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new CuPy array."""
        return self.cupy.ndarray(shape, dtype)

    def upload(self, array: np.ndarray[Any, Any], stream: Any) -> Any:
        """A copy of a host array as a CuPy array; the host array may be changed afterwards."""
        made = self.empty(array.shape, array.dtype)
        self.write(made.data.ptr, array, stream)
        return made

    def write(self, address: int, array: np.ndarray[Any, Any], stream: Any) -> None:
        """Copy a host array to an address on the device."""
        if array.nbytes:
            array = np.ascontiguousarray(array)
            kind = self.runtime.memcpyHostToDevice
            self.runtime.memcpyAsync(address, array.ctypes.data, array.nbytes, kind, stream.ptr)
            stream.synchronize()  # pageable memory may be read late, and `array` may be a copy

    def copy(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        """Copy bytes on the device."""
        if nbytes:
            kind = self.runtime.memcpyDeviceToDevice
            self.runtime.memcpyAsync(target, source, nbytes, kind, stream.ptr)

    def keep(self, ring: Any) -> None:
        """Hold pinned memory whose owner is gone for as long as steps on the device may read it."""
        self._kept = [x for x in (*self._kept, ring) if x.busy()]

    def has_home(self, variable: Variable) -> bool:
        """Whether there is memory for a variable already."""
        return id(variable) in self._homes

    def home(self, variable: Variable) -> Any:
        """The CuPy array that holds a variable while it lives; `settle` brings its value there."""
        home = self._homes.get(id(variable))
        if home is None:
            home = self.empty(fixed(variable.shape), variable.dtype)
            self._homes[id(variable)] = home
            weakref.finalize(variable, self._homes.pop, id(variable), None).atexit = False
        return home

    def settle(self, variable: Variable, stream: Any) -> None:
        """Copy a variable's present value to its home, if it lies elsewhere.

        Raises:
            StateError: if it was read from text and never set.
        """
        home, array = self.home(variable), variable.device_array()
        if array is home:
            return
        if id(variable) in self.origins:
            self.last_writer = _nobody
        if isinstance(array, np.ndarray):
            self.write(home.data.ptr, array, stream)
        else:  # a CuPy array that somebody put there
            same = self.cupy.ascontiguousarray(array.astype(variable.dtype, copy=False))
            self.copy(home.data.ptr, same.data.ptr, same.nbytes, stream)
        variable.array = home

    def free_bytes(self) -> int:
        """Bytes that can be allocated: those of the driver and those CuPy keeps for later."""
        free, _ = self.runtime.memGetInfo()
        return int(free) + int(self.cupy.get_default_memory_pool().free_bytes())


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for the device in short sleeps, between which signals are heard."""
    while not done():
        time.sleep(POLL_SECONDS)


def module_key(source: str, architecture: str, version: tuple[int, int]) -> str:
    """What tells one cubin from another."""
    return cache.digest(source, architecture, f"nvrtc {version[0]}.{version[1]}", *OPTIONS)


def open_device() -> Device:
    """The current GPU.

    Raises:
        DeviceError: naming what is missing, and the command that installs it.
    """
    if missing := find_missing():
        raise DeviceError(f"device 'cuda': {missing}")
    cupy = importlib.import_module("cupy")
    return _open(int(cupy.cuda.runtime.getDevice()))


@functools.cache
def _open(number: int) -> Device:
    nvrtc, blas, found = find_nvrtc(), find_library(), find_cudnn()
    assert nvrtc is not None
    assert blas is not None
    cupy = importlib.import_module("cupy")
    try:
        cudnn = found and Cudnn(found.module)  # a handle is a device's
        return Device(cupy, nvrtc, blas, cudnn, find_driver())
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        raise translate(error, f"opening CUDA device {number}") from error
