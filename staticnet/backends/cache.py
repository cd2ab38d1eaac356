"""A store on disk of what was built: `<folder>/<2 digits>/<key>.<sha256 of the content><suffix>`.

The key is a hash of all that decides the content, and the name holds the content's own digest, so
one rename publishes an object whole: writers need no lock, and a truncated, damaged or foreign
file is seen before it is used. Code from the store runs with the user's rights; a folder in which
somebody else may write is refused.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from staticnet import flags
from staticnet.errors import CompileError

log = logging.getLogger("staticnet")

LIMIT = 512 * 2**20
_SWEEP_SECONDS = 3600.0
_STAMP = "swept"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def digest(*parts: str) -> str:
    """The sha256 of texts, in which where one ends and the next begins matters."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


@dataclass(frozen=True)
class Cache:
    """Built objects in one folder that only its owner may write."""

    folder: Path

    def find(self, key: str, suffix: str) -> Path | None:
        """The object of a key if it is there and whole; a damaged or foreign one is removed."""
        for file in sorted((self.folder / key[:2]).glob(f"{key}.*{suffix}")):
            try:
                if _whole(file, suffix):
                    os.utime(file)  # its time is that of its last use, by which `sweep` chooses
                    return file
                log.info("cache: %s is damaged; building it again", file)
                file.unlink()
            except OSError:  # another process removed it, or made it unreadable
                continue
        return None

    def build(self, key: str, suffix: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
        """The object of a key, and whether `make(path)` had to build it.

        What `make` leaves beside `path` stays for the reader if it raises, until a sweep.

        Raises:
            OSError: if the folder cannot be written.
        """
        if found := self.find(key, suffix):
            return found, False
        work = Path(tempfile.mkdtemp(prefix="build-", dir=self.folder))
        made = work / f"kernel{suffix}"
        make(made)
        shelf = self.folder / key[:2]
        shelf.mkdir(mode=0o700, exist_ok=True)
        final = shelf / f"{key}.{_seal(made)}{suffix}"
        os.replace(made, final)
        shutil.rmtree(work, ignore_errors=True)
        self._sweep_sometimes()
        return final, True

    def size(self) -> tuple[int, int]:
        """The number of objects in it, and their bytes."""
        files = [status.st_size for _, status in self._objects()]
        return len(files), sum(files)

    def sweep(self, limit: int = LIMIT) -> None:
        """Remove the least recently used objects beyond `limit` bytes, and abandoned builds."""
        for work in self.folder.glob("build-*"):
            if _age(work) > _SWEEP_SECONDS:
                shutil.rmtree(work, ignore_errors=True)
        total = 0
        files = sorted(self._objects(), key=lambda pair: pair[1].st_mtime_ns, reverse=True)
        for file, status in files:
            total += status.st_size
            if total > limit:
                file.unlink(missing_ok=True)

    def _objects(self) -> list[tuple[Path, os.stat_result]]:
        found = [(file, _status(file)) for file in self.folder.glob("??/*")]
        return [(file, status) for file, status in found if status is not None]

    def _sweep_sometimes(self) -> None:
        stamp = self.folder / _STAMP
        if _age(stamp) > _SWEEP_SECONDS:
            stamp.touch(mode=0o600)
            self.sweep()


def build(key: str, suffix: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """`Cache.build` in the user's cache, or in this process's own if that fails.

    Raises:
        CompileError: if there is no folder to build in.
    """
    try:
        return open_cache().build(key, suffix, make)
    except OSError as error:  # it is full, or was removed
        log.info("cache: %s; using a folder of this process", error)
    return private().build(key, suffix, make)


def content(key: str, suffix: str, make: Callable[[Path], None]) -> tuple[bytes, bool]:
    """What `build`'s object has in it, also if another process sweeps it before it is read.

    Raises:
        CompileError: if there is no folder to build in.
    """
    file, fresh = build(key, suffix, make)
    try:
        return file.read_bytes(), fresh
    except OSError as error:
        log.info("cache: %s; using a folder of this process", error)
    file, fresh = private().build(key, suffix, make)
    return file.read_bytes(), fresh


def open_cache() -> Cache:
    """The user's cache, or this process's own where that is unavailable or not private."""
    folder = flags.read().cache
    return (_open(folder) if folder else None) or private()


def private() -> Cache:
    """A cache in a temporary folder that goes with the process.

    Raises:
        CompileError: if there is no temporary folder either.
    """
    return _private(os.getpid())  # a forked child's folder is not its parent's


@functools.cache
def _private(process: int) -> Cache:
    try:
        folder = Path(tempfile.mkdtemp(prefix="staticnet-"))
    except OSError as error:
        raise CompileError(f"no folder to build in ({error}); set STATICNET_CACHE") from error
    atexit.register(_discard, folder, process)
    return Cache(folder)


@functools.cache
def _open(folder: Path) -> Cache | None:
    """The cache in a folder if it can be made, is private and writable; decided once."""
    try:
        return Cache(_prepared(folder))
    except _Refused as error:
        log.warning(
            "cache %s is refused: %s; correct that or set STATICNET_CACHE to a folder of your own. "
            "Nothing is kept after this process",
            folder,
            error,
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        log.info("cache %s is unavailable (%s); nothing is kept after this process", folder, error)
    return None


def problem(folder: Path) -> str | None:
    """Why nothing is kept in a folder, which is made if need be; None if it is."""
    try:
        _prepared(folder)
    except (OSError, RuntimeError) as error:
        return str(error)
    return None


class _Refused(RuntimeError):
    """A folder in which somebody else may put code."""


def _prepared(folder: Path) -> Path:
    """A folder that was made if need be, is private, and in which something was written.

    Raises:
        _Refused: if it is not private.
        OSError, RuntimeError: if it cannot be made or written.
    """
    folder = folder.resolve()  # so that nobody can turn a link after the check
    _make(folder)
    if reason := _unsafe(folder):
        raise _Refused(f"{reason}, who could put code in it")
    os.rmdir(tempfile.mkdtemp(prefix="build-", dir=folder))
    return folder


def _make(folder: Path) -> None:
    """Make a folder and the missing ones above it, for the user alone."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    for f in reversed(missing):
        f.mkdir(mode=0o700, exist_ok=True)


def _unsafe(folder: Path) -> str | None:
    """Who else may write in a folder or put another in its place; None if nobody."""
    if not hasattr(os, "geteuid"):  # Windows: the profile's access list guards it
        return None
    status = folder.stat()
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"its mode {stat.S_IMODE(status.st_mode):04o} lets it be written by others"
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"{parent} may be written by anyone"
    return None


def _whole(file: Path, suffix: str) -> bool:
    """Whether a file is the user's alone and its content has the digest in its name."""
    status = file.stat()
    if hasattr(os, "geteuid") and (
        status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS
    ):
        return False
    named = file.name.removesuffix(suffix).rpartition(".")[2]
    return hashlib.sha256(file.read_bytes()).hexdigest() == named


def _seal(file: Path) -> str:
    """Flush a file to the disk, take it from everyone else's reach, and give its digest."""
    file.chmod(0o700)
    with file.open("rb+") as handle:
        content = handle.read()
        os.fsync(handle.fileno())
    return hashlib.sha256(content).hexdigest()


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _age(file: Path) -> float:
    """Seconds since a file changed; endless if there is none."""
    status = _status(file)
    return float("inf") if status is None else time.time() - status.st_mtime


def _discard(folder: Path, process: int) -> None:
    """Remove a process's own folder, unless it holds a source that did not compile."""
    if os.getpid() == process and not any(folder.glob("build-*/*.c")):
        shutil.rmtree(folder, ignore_errors=True)
