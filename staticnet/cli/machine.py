"""What this machine offers staticnet and what is missing: tried, and told with its remedy.

A check gives records and never raises: what goes wrong is what it is there to tell.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.base import DEVICES
from staticnet.backends.cpu import blas
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cuda import availability
from staticnet.backends.cuda.cublaslt import find_library
from staticnet.backends.cuda.cudnn import find_cudnn
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.errors import CompileError, FlagError, StaticnetError
from staticnet.function import BACKENDS
from staticnet.ir.hints import install

OK, FOUND, MISSING, BROKEN = "ok", "found", "missing", "broken"
REQUIRED = ("numpy", "scipy", "networkx", "ml_dtypes", "safetensors", "rich")
EXTRAS = {
    "cc": ("ziglang",),
    "examples": ("matplotlib", "pillow", "scikit-learn"),
    "dev": (
        "build",
        "httpx2",
        "hypothesis",
        "mypy",
        "onnx",
        "playwright",
        "pytest",
        "pytest-xdist",
        "ruff",
        "setuptools",
    ),
    "docs": ("furo", "myst-parser", "sphinx"),
    "data": ("pandas",),
    "playground": ("starlette", "uvicorn", "websockets"),
    "oracle": ("cma", "cmaes", "jax", "onnxruntime", "optax", "torch"),
}
"""What `pip install -e ".[extra]"` brings, CUDA's apart, each in the first that has it."""
NO_COMPILER = f"install gcc or clang, or {install('cc')}"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    `state` is `ok` (it was tried and works), `found` (it is there and was not tried), `missing` or
    `broken`. `asked` says that the user named it, or that staticnet cannot do without.
    """

    section: str
    name: str
    state: str
    detail: str
    remedy: str = ""
    asked: bool = False


def examine() -> list[Check]:
    """All checks; they take a second or two."""
    checks = [*packages(), blas_library(), *environment(), compiler(), kept_objects()]
    checks += [*cuda(), *extras()]
    return [*checks, *(device(name) for name in DEVICES)]


def is_usable(checks: list[Check]) -> bool:
    """Whether some device works and nothing that was asked for is broken or missing."""
    works = any(check.section == "devices" and check.state == OK for check in checks)
    return works and all(check.state in (OK, FOUND) for check in checks if check.asked)


def packages() -> list[Check]:
    """This package, Python, and what staticnet requires: imported, with versions."""
    python = f"{platform.python_version()} ({sys.executable})"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return [
        Check("packages", "staticnet", OK, f"{sn.__version__} ({sn.__path__[0]})"),
        Check("packages", "python", OK, f"{python} on {system}"),
        *map(_required, REQUIRED),
    ]


def _required(name: str) -> Check:
    remedy = f"run: pip install {name}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        return Check("packages", name, MISSING, _line(error), remedy, asked=True)
    except Exception as error:
        again = f"run: pip install --force-reinstall {name}"
        return Check("packages", name, BROKEN, _line(error), again, asked=True)
    version = getattr(module, "__version__", None) or _version(name) or "of no known version"
    return Check("packages", name, OK, version, asked=True)


def environment() -> list[Check]:
    """The variables that staticnet reads, parsed."""
    try:
        flags.read()
    except FlagError as error:
        remedy = "correct or unset it"
        return [Check("environment", "variables", BROKEN, _line(error), remedy, asked=True)]
    return [
        Check("environment", name, OK, "not set" if value is None else value)
        for name, value in flags.environment().items()
    ]


def compiler() -> Check:
    """The C compiler; finding it compiled, loaded and ran a probe."""
    try:
        found = find_compiler()
    except FlagError as error:
        return Check("compiler", "cc", BROKEN, _line(error), "correct or unset it", asked=True)
    except CompileError as error:  # only if CC names it
        remedy = "correct CC or unset it"
        return Check("compiler", "cc", BROKEN, _line(error), remedy, asked=True)
    if found is None:
        return Check("compiler", "cc", MISSING, "no C compiler works", NO_COMPILER)
    threads = "OpenMP" if found.openmp else "no OpenMP: one thread"
    detail = f"{' '.join(found.command)}: {found.version}; {threads}; {' '.join(found.flags)}"
    return Check("compiler", "cc", OK, detail)


def blas_library() -> Check:
    """SciPy's BLAS, called through the pointer that generated code calls."""
    remedy = "run: pip install --force-reinstall scipy"
    try:
        (address,) = blas.pointers(["ddot"]).values()
        if not _dot_is_right(address):
            return Check("packages", "BLAS", BROKEN, "ddot gave a wrong result", remedy, asked=True)
        return Check("packages", "BLAS", OK, blas.describe(), asked=True)
    except Exception as error:
        return Check("packages", "BLAS", BROKEN, _line(error), remedy, asked=True)


def _dot_is_right(address: int) -> bool:
    """Whether BLAS' ddot gives (1, 2, 3) · (4, 5, 6) = 32."""
    pointer = ctypes.c_void_p
    dot = ctypes.CFUNCTYPE(ctypes.c_double, *[pointer] * 5)(address)
    count, step = ctypes.c_int(3), ctypes.c_int(1)
    x, y = (ctypes.c_double * 3)(1, 2, 3), (ctypes.c_double * 3)(4, 5, 6)
    at = ctypes.addressof
    return bool(dot(at(count), at(x), at(step), at(y), at(step)) == 32)


def kept_objects() -> Check:
    """The cache of built C: whether it can be made, is private and was written."""
    try:
        folder = flags.read().cache
    except FlagError as error:
        return Check("cache", "objects", BROKEN, _line(error), "correct or unset it", asked=True)
    asked = bool(flags.environment()["STATICNET_CACHE"])
    if folder is None:
        remedy = "set STATICNET_CACHE to a folder of your own"
        return Check("cache", "objects", MISSING, "this user has no home folder", remedy)
    if reason := cache.problem(folder):
        remedy = f"run: chmod 700 {folder}, or set STATICNET_CACHE to a folder of your own"
        return Check("cache", "objects", BROKEN, f"{folder}: {reason}", remedy, asked)
    count, size = cache.Cache(folder).size()
    text = f"{folder}: private and writable; {count} objects, {size:,} bytes"
    return Check("cache", "objects", OK, text, asked=asked)


def cuda() -> list[Check]:
    """NVIDIA's driver and devices, CuPy, NVRTC, cuBLASLt, and cuDNN's front end."""
    driver, version = cuda_driver()
    remedy = availability.install(version)
    frontend = _version("nvidia-cudnn-frontend")
    if frontend is None:
        cudnn = Check("cuda", "nvidia-cudnn-frontend", MISSING, "not installed", remedy)
    else:
        found = find_cudnn()
        library = f"cuDNN {found.version}" if found else "its library, nvidia-cudnn, does not load"
        cudnn = Check("cuda", "nvidia-cudnn-frontend", FOUND, f"{frontend}; {library}")
    return [driver, cupy(remedy, driver.remedy), nvrtc(version), cublaslt(version), cudnn]


def cuda_driver() -> tuple[Check, int | None]:
    """The driver, asked for its devices, and its version as 1000 major + 10 minor."""
    driver = availability.ask_driver()
    if driver.missing is not None:
        return _fault("driver", driver.missing), driver.version
    assert driver.version is not None
    names = ", ".join(driver.devices)
    detail = f"{availability.version_text(driver.version)}: {names}"
    return Check("cuda", "driver", OK, detail), driver.version


def nvrtc(version: int | None) -> Check:
    """The compiler of kernels, made to compile one, which needs no GPU."""
    missing = availability.nvrtc_fault(version)
    found = find_nvrtc()
    if missing is not None or found is None:
        return _fault("NVRTC", missing)
    number = ".".join(map(str, found.version))
    try:
        found.compile('extern "C" __global__ void k(float *x) { *x = 1; }', "sm_80")
    except CompileError as error:
        remedy = availability.install(version)
        return Check("cuda", "NVRTC", BROKEN, f"{number}: {_line(error)}", remedy)
    return Check("cuda", "NVRTC", OK, f"{number}: compiled a kernel")


def cublaslt(version: int | None) -> Check:
    """The library of matrix products; its first product would need a GPU."""
    missing = availability.cublaslt_fault(version)
    found = find_library()
    if missing is not None or found is None:
        return _fault("cuBLASLt", missing)
    return Check("cuda", "cuBLASLt", FOUND, f"{found.version}")


def _fault(name: str, missing: availability.Missing | None) -> Check:
    assert missing is not None
    state = BROKEN if missing.broken else MISSING
    return Check("cuda", name, state, missing.what, missing.remedy)


def cupy(installs: str, first: str) -> Check:
    """CuPy, imported only if it is installed, and made to add numbers on the device.

    `installs` is the command that installs it, `first` what the driver needs before.
    """
    if importlib.util.find_spec("cupy") is None:
        return Check("cuda", "cupy", MISSING, "not installed", installs)
    remedy = first or installs
    try:
        module = importlib.import_module("cupy")
        total = float(module.arange(5).sum())
    except Exception as error:
        return Check("cuda", "cupy", BROKEN, _line(error), remedy)
    if total != 10:
        return Check("cuda", "cupy", BROKEN, f"the sum of 0 to 4 came out as {total}", remedy)
    return Check("cuda", "cupy", OK, f"{module.__version__}")


def extras() -> list[Check]:
    """What is installed of the optional packages; they are not imported, which takes seconds."""
    checks = []
    for extra, names in EXTRAS.items():
        for name in names:
            version = _version(name)
            remedy = "" if version else install(extra)
            state = FOUND if version else MISSING
            checks.append(Check("extras", name, state, version or "not installed", remedy))
    return checks


def device(name: str) -> Check:
    """A device made to take one training step, whose result is compared with NumPy's."""
    if name not in BACKENDS:
        detail = f"this version of staticnet has no such backend; it has {', '.join(BACKENDS)}"
        return Check("devices", name, MISSING, detail, f"use device={next(iter(BACKENDS))!r}")
    if missing := BACKENDS[name].missing():
        what, _, remedy = missing.partition("; ")
        return Check("devices", name, MISSING, what, remedy)
    if name == "cpu" and compiler().state == MISSING:  # NumPy would stand in for it
        return Check("devices", name, MISSING, "no C compiler works", NO_COMPILER)
    start = time.perf_counter()
    remedy = "use another device, and report this with what staticnet doctor --json prints"
    try:
        got, wanted = _training_step(name)
    except StaticnetError as error:
        return Check("devices", name, BROKEN, _line(error), "see what is broken above")
    except Exception as error:
        return Check("devices", name, BROKEN, _line(error), remedy)
    milliseconds = (time.perf_counter() - start) * 1e3
    if not np.allclose(got, wanted, rtol=1e-4, atol=1e-6):
        off = np.max(np.abs(got - wanted))
        return Check("devices", name, BROKEN, f"a training step's result is off by {off}", remedy)
    detail = f"a training step gave the right result; built and run in {milliseconds:.0f} ms"
    return Check("devices", name, OK, detail)


def _training_step(device: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The loss and new weights of tanh(x w)² under one step of SGD, and what they must be."""
    rng = np.random.default_rng(0)
    feed, start = (rng.standard_normal((32, 32)).astype(np.float32) for _ in range(2))
    x, w = sn.placeholder((32, 32), name="x"), sn.variable(start, "w")
    y = sn.tanh(x @ w)
    loss = sn.mean(y * y)
    (gradient,) = sn.grad(loss, [w])
    step = sn.function(x, loss, updates={w: w - 0.5 * gradient}, name="doctor", device=device)
    got = np.append(step(feed), w.value)
    z = np.tanh(feed.astype(np.float64) @ start)
    new = start - 0.5 * (feed.T @ (2 * z * (1 - z * z) / z.size))
    return got, np.append(np.mean(z * z), new)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
