"""Plain copies: what the memory can do, for kernels to be compared with.

A copy moves as many bytes as the kernel, half of them read and half written, in as much memory as
the kernel touches, at most COPY_MEMORY, on as many threads. It goes through that memory more than
once if the kernel does: Adam reads and writes p, m and v. All pages are touched before anything is
timed.

- `copy.numpy`: `np.copyto`, a part for each thread.
- `copy.c`: `memcpy`, a part for each of OpenMP's threads.
- `copy.stream`: stores around the caches. The first two mostly read the lines that they write: on
  memory larger than the caches they move half as much again as is counted, which a kernel that
  updates in place does not. Such a kernel may still be up to a tenth above `copy.stream`: writing
  back a line that was read costs less than going around the caches.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.kernels import ITEM, WIDTH, kernel_mode, rows, uniform
from bench.program import Array, Program

THREAD_FROM = 512 << 10
ALIGNMENT = 16
FUNCTIONS = {"copy.c": "copy_plain", "copy.stream": "copy_stream"}
Call = Callable[[], Any]
# of a target and a source, so many whole passes, and the items of one more
Made = Callable[[Array, Array, int, int], Call]


def copy_program(contender: str, moved: int, held: int) -> Program:
    """A copy of `moved` bytes a call, read and written, within `held` bytes of memory.

    Raises:
        RuntimeError: if what is copied is not what was there.
    """
    source = uniform(1, max(held // 2 // ITEM, 1))
    target = np.zeros_like(source)
    passes, rest = divmod(max(moved // 2 // ITEM, 1), source.size)
    made = _foreign(FUNCTIONS[contender]) if contender in FUNCTIONS else _numpy()
    copy = made(target, source, passes, rest)

    def call() -> Array:
        copy()
        return target

    call()
    copied = source.size if passes else rest
    if not np.array_equal(rows(target[:copied], WIDTH), rows(source[:copied], WIDTH)):
        raise RuntimeError(f"{contender} gives something else than it was given")
    return Program({"into": kernel_mode(call, WIDTH)})


def missing(contender: str) -> str | None:
    """Why a copy cannot run here; None if it can."""
    if contender == "copy.numpy":
        return None
    from staticnet.backends.cpu.compiler import find_compiler
    from staticnet.errors import CompileError

    try:
        compiler = find_compiler()
    except CompileError as error:
        return str(error)
    if compiler is None or not compiler.openmp:
        return "there is no C compiler with OpenMP: apt install gcc"
    if contender == "copy.stream" and platform.machine() not in ("x86_64", "AMD64"):
        return f"streaming stores are not written for {platform.machine()}"
    return None


def _numpy() -> Made:
    """np.copyto, from THREAD_FROM bytes on in as many parts as there are threads."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    pool = ThreadPoolExecutor(max(threads - 1, 1))

    def copy(parts: list[tuple[Array, Array]]) -> None:
        for target, source in parts:
            np.copyto(target, source)

    def prepare(target: Array, source: Array, passes: int, rest: int) -> Call:
        all_passes = [(target, source)] * passes + [(target[:rest], source[:rest])] * (rest > 0)
        if sum(s.nbytes for _, s in all_passes) < THREAD_FROM or threads == 1:
            return functools.partial(copy, all_passes)
        split = [[np.array_split(x, threads) for x in pair] for pair in all_passes]
        first, *others = ([(t[i], s[i]) for t, s in split] for i in range(threads))

        def copy_in_threads() -> None:
            waiting = [pool.submit(copy, part) for part in others]
            copy(first)
            for part in waiting:
                part.result()

        return copy_in_threads

    return prepare


def _foreign(name: str) -> Made:
    """A function of copy.c."""
    from staticnet.backends.cpu.compiler import find_compiler
    from staticnet.backends.cpu.library import load

    compiler = find_compiler()
    assert compiler is not None, "missing() comes first"
    function = getattr(load(Path(__file__).with_name("copy.c").read_text(), compiler), name)
    function.argtypes, function.restype = [ctypes.c_void_p] * 2 + [ctypes.c_size_t] * 3, None

    def prepare(target: Array, source: Array, passes: int, rest: int) -> Call:
        # data_as, unlike data, keeps the array alive
        pointers = [x.ctypes.data_as(ctypes.c_void_p) for x in (target, source)]
        assert all(x.ctypes.data % ALIGNMENT == 0 for x in (target, source))
        sizes = [ctypes.c_size_t(n) for n in (source.nbytes, passes, rest * ITEM)]
        return functools.partial(function, *pointers, *sizes)

    return prepare
