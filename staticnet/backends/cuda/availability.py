"""What CUDA needs and this machine lacks. Nothing here imports CuPy unless it is installed."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from staticnet.backends.cuda.cublaslt import find_library
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.ir import hints

DRIVERS = ("libcuda.so.1", "nvcuda.dll")
CUDA_13 = 13000  # the driver's version from which wheels for CUDA 13 run
INSTALL_DRIVER = "install NVIDIA's driver: https://www.nvidia.com/drivers"


@dataclass(frozen=True)
class Missing:
    """A part that is missing or broken, and what to do about it."""

    what: str
    remedy: str
    broken: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver: its version as 1000 major + 10 minor, the devices' names, and any fault."""

    version: int | None
    devices: tuple[str, ...]
    missing: Missing | None


def install(version: int | None) -> str:
    """The command that installs what runs under a driver of this version."""
    extra = "cuda13" if version is None or version >= CUDA_13 else "cuda12"
    return hints.install(extra)


def ask_driver() -> Driver:
    """The driver, asked for its devices; no context is made."""
    library = next(filter(None, map(_library, DRIVERS)), None)
    if library is None:
        return Driver(None, (), Missing("no libcuda on this machine", INSTALL_DRIVER))
    version, count = ctypes.c_int(), ctypes.c_int()
    steps: list[tuple[str, tuple[Any, ...]]] = [
        ("cuInit", (0,)),
        ("cuDriverGetVersion", (ctypes.byref(version),)),
        ("cuDeviceGetCount", (ctypes.byref(count),)),
    ]
    for name, arguments in steps:
        if status := getattr(library, name)(*arguments):
            remedy = "run: nvidia-smi; if it fails too, install the driver again"
            what = f"{name} failed with CUDA error {status}"
            return Driver(None, (), Missing(what, remedy, broken=True))
    if count.value == 0:
        remedy = "see what nvidia-smi -L lists, and unset CUDA_VISIBLE_DEVICES"
        what = f"{version_text(version.value)}, no device"
        return Driver(version.value, (), Missing(what, remedy))
    names = tuple(_device_name(library, i) for i in range(count.value))
    return Driver(version.value, names, None)


def version_text(version: int) -> str:
    """A version of CUDA as people write it: 13020 is CUDA 13.2."""
    return f"CUDA {version // 1000}.{version % 1000 // 10}"


@functools.cache
def find_missing() -> Missing | None:
    """The first thing that keeps CUDA from running here; None if nothing does."""
    if importlib.util.find_spec("cupy") is None:
        return Missing("CuPy is not installed", install(None))
    driver = ask_driver()
    if driver.missing is not None:
        return driver.missing
    assert driver.version is not None
    for check in (_cupy_fault, nvrtc_fault, cublaslt_fault):
        if missing := check(driver.version):
            return missing
    return None


def _cupy_fault(version: int) -> Missing | None:
    """Why CuPy does not run under this driver."""
    try:
        cupy = importlib.import_module("cupy")
        needed = int(cupy.cuda.runtime.runtimeGetVersion())
        if needed // 1000 > version // 1000:
            return Missing(
                f"the driver is for {version_text(version)}, CuPy for {version_text(needed)}",
                f"{install(version)} after pip uninstall of CuPy, or install a newer driver",
                broken=True,
            )
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # whatever a half-installed CuPy does
        what = f"CuPy does not work: {' '.join(str(error).split())}"
        return Missing(what, install(version), broken=True)
    return None


def nvrtc_fault(version: int | None) -> Missing | None:
    """Why kernels cannot be compiled for this driver."""
    nvrtc = find_nvrtc()
    if nvrtc is None:
        return Missing("NVRTC, NVIDIA's run-time compiler, was not found", install(version))
    if version is not None and nvrtc.version[0] > version // 1000:
        found = f"NVRTC is of CUDA {nvrtc.version[0]}.{nvrtc.version[1]}"
        return Missing(
            f"{found}, the driver of {version_text(version)}: it cannot load what that compiles",
            f"install a newer driver, or {install(version)}",
            broken=True,
        )
    return None


def cublaslt_fault(version: int | None) -> Missing | None:
    """Why matrices cannot be multiplied."""
    if find_library() is None:
        return Missing("cuBLASLt was not found", install(version))
    return None


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _device_name(library: ctypes.CDLL, number: int) -> str:
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, len(name), number)
    return name.value.decode(errors="replace")
