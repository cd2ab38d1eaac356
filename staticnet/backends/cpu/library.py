"""C source to a loaded library: built at most once per machine, loaded once per process."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.cpu.compiler import Compiler
from staticnet.backends.cpu.together import together
from staticnet.errors import CompileError

log = logging.getLogger("staticnet")

SUFFIX = ".so"
_loaded: dict[str, ctypes.CDLL] = {}
_locks: dict[str, threading.Lock] = {}
_forked = False  # whether this process is the child of one that had loaded libraries


def load(source: str, compiler: Compiler, pieces: Sequence[str] = ()) -> ctypes.CDLL:
    """The library of a C source; one object per source and compiler in a process.

    If it is to be built, and its pieces are given, these are compiled at the same time.

    Raises:
        CompileError: if it does not compile, or cannot be loaded from any folder.
    """
    key = cache.digest(compiler.identity(), source)
    with _locks.setdefault(key, threading.Lock()):  # another thread may have begun to build it
        return _loaded[key] if key in _loaded else _loaded_now(key, source, compiler, pieces)


def _loaded_now(key: str, source: str, compiler: Compiler, pieces: Sequence[str]) -> ctypes.CDLL:
    if not _loaded and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    start = time.perf_counter()
    library, fresh = _load(key, source, compiler, pieces)
    if "time" in flags.read().debug:
        milliseconds = (time.perf_counter() - start) * 1e3
        act = "compiled" if fresh else "loaded from the cache"
        log.info("cpu: library %s %s in %.1f ms", key[:12], act, milliseconds)
    if _forked:
        _run_alone(library)
    return _loaded.setdefault(key, library)


def is_loaded(source: str, compiler: Compiler) -> bool:
    """Whether this process has a source's library."""
    return cache.digest(compiler.identity(), source) in _loaded


def is_built(source: str, compiler: Compiler) -> bool:
    """Whether `load` has nothing to compile."""
    key = cache.digest(compiler.identity(), source)
    return is_loaded(source, compiler) or cache.open_cache().find(key, SUFFIX) is not None


def load_together(sources: Sequence[tuple[str, Compiler, Sequence[str]]]) -> None:
    """Build what of several C sources has to be built at the same time, on as many cores.

    What fails is for who loads it.
    """
    keys = {cache.digest(each[1].identity(), each[0]): each for each in sources}
    missing = [each for key, each in keys.items() if key not in _loaded]
    if len(missing) < 2:
        return
    together(_load_early, missing)


def _load_early(each: tuple[str, Compiler, Sequence[str]]) -> None:
    with contextlib.suppress(CompileError):
        load(*each)


def is_forked() -> bool:
    """Whether this process is the child of one that may have used threads: it has none."""
    return _forked


def _after_fork() -> None:
    """A child has none of OpenMP's threads, which its copy of OpenMP would wait for."""
    global _forked
    _forked = True
    _locks.clear()  # who holds one is not in the child
    for library in _loaded.values():
        _run_alone(library)


def _run_alone(library: ctypes.CDLL) -> None:
    if hasattr(library, "sn_after_fork"):
        library.sn_after_fork()


def _load(
    key: str, source: str, compiler: Compiler, pieces: Sequence[str]
) -> tuple[ctypes.CDLL, bool]:
    """The library, and whether it was compiled now."""

    def make(output: Path) -> None:
        compiler.compile(source, output, pieces)

    try:
        file, fresh = cache.build(key, SUFFIX, make)
        return ctypes.CDLL(str(file)), fresh
    except OSError as error:  # no code may be run from the cache's disk, or a sweep was faster
        log.info("cache: %s; using a folder of this process", error)
    try:
        file, fresh = cache.private().build(key, SUFFIX, make)
        return ctypes.CDLL(str(file)), fresh
    except OSError as error:
        raise CompileError(
            f"a built library cannot be loaded: {error}; set STATICNET_CACHE to a folder of your "
            "own from which code may run"
        ) from error
