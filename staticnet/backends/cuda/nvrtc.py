"""NVRTC by ctypes: CUDA C++ to device code. It needs NVIDIA's library, and no GPU."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from staticnet.errors import CompileError

OPTIONS = ("--std=c++17", "--fmad=false")  # what is contracted would depend on its neighbours
ON_ALL_CORES = "--split-compile=0"
STAGE = "__noinline__ void"  # which kernels of many stages call, and others have none of
ERROR_LINES = 8
_MAJORS = ("13", "12")


class Nvrtc:
    """A loaded NVRTC. Calls release the GIL, so threads may compile side by side."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = (major.value, minor.value)

    def compile(self, source: str, architecture: str, options: tuple[str, ...] = OPTIONS) -> bytes:
        """The cubin of a CUDA source for an architecture such as "sm_90".

        It is made on all cores, unless kernels call functions that are not inlined: in parts the
        compiler does not see what memory these are given, and reads it as if it might be any. Else
        the kernels' code is that of one core; the rest of the file may lie in another order.

        Raises:
            CompileError: with the compiler's first errors.
        """
        split = () if STAGE in source else (ON_ALL_CORES,)
        return self._result("CUBIN", source, architecture, (*options, *split))

    def ptx(self, source: str, architecture: str, options: tuple[str, ...] = OPTIONS) -> str:
        """The PTX of a CUDA source for a virtual architecture such as "compute_90".

        Raises:
            CompileError: with the compiler's first errors.
        """
        return self._result("PTX", source, architecture, options).decode()

    def _result(self, kind: str, source: str, architecture: str, options: tuple[str, ...]) -> bytes:
        library, program = self._library, ctypes.c_void_p()
        create = library.nvrtcCreateProgram
        text = source.encode()
        self._check(create(ctypes.byref(program), text, b"staticnet.cu", 0, None, None))
        try:
            given = [f"--gpu-architecture={architecture}", *options]
            words = (ctypes.c_char_p * len(given))(*(word.encode() for word in given))
            if library.nvrtcCompileProgram(program, len(given), words) != 0:
                raise CompileError(f"NVRTC for {architecture}: {_first_errors(self._log(program))}")
            size = ctypes.c_size_t()
            self._check(library[f"nvrtcGet{kind}Size"](program, ctypes.byref(size)))
            code = ctypes.create_string_buffer(size.value)
            self._check(library[f"nvrtcGet{kind}"](program, code))
            return code.raw
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    def _log(self, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self._check(self._library.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        self._check(self._library.nvrtcGetProgramLog(program, log))
        return log.value.decode(errors="replace")

    def _check(self, status: int) -> None:
        if status != 0:
            message = self._library.nvrtcGetErrorString
            message.restype = ctypes.c_char_p
            raise CompileError(f"NVRTC: {message(status).decode()}")


@functools.cache
def find_nvrtc() -> Nvrtc | None:
    """NVRTC from the loader's path, a wheel or the toolkit's folder; None if there is none."""
    for name in _candidates():
        try:
            return Nvrtc(ctypes.CDLL(name))
        except OSError:
            continue
    return None


def _candidates() -> Iterator[str]:
    for major in _MAJORS:
        yield f"libnvrtc.so.{major}"
    wheels = importlib.util.find_spec("nvidia")
    folders = [Path(x) for x in (wheels and wheels.submodule_search_locations) or ()]
    for folder in (*folders, Path("/usr/local/cuda")):
        for file in sorted(folder.rglob("libnvrtc.so.*"), reverse=True):
            yield str(file)


def _first_errors(log: str) -> str:
    lines = [line for line in log.splitlines() if "error" in line] or log.splitlines()
    return "\n".join(lines[:ERROR_LINES])
