"""Files that are complete or, if anything fails, as they were before: also after a power cut."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write(file: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file beside its place, bring it to the disk, and rename it; it keeps its mode.

    A link is followed. A descriptor's name, such as /dev/stdout, is written to where it is, and so
    is a device.

    Raises:
        OSError: if it cannot be written, naming it; what was there is there.
    """
    content = data.encode() if isinstance(data, str) else data
    with written(file) as stream:
        stream.write(content)


@contextlib.contextmanager
def written(file: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream to write all of a file to, as `write` does: it is the file once the block ends.

    Raises:
        OSError: if it cannot be written, naming it; what was there is there.
    """
    target, descriptor = Path(os.path.realpath(file)), _descriptor(file)
    try:
        if descriptor is not None:
            opened = _stream(os.dup(descriptor))
        elif target.exists() and not target.is_file():
            opened = _stream(target)
        else:
            opened = _replacement(target)
        with opened as stream:
            yield stream
    except OSError as error:  # a full disk names no file, and others the one beside it
        raise _named(error, Path(file) if descriptor is not None else target) from error


def _descriptor(file: str | os.PathLike[str]) -> int | None:
    """The number of the descriptor that a path names: other writers have its place in the file."""
    name = os.path.abspath(file)
    number = re.fullmatch(rf"(?:/dev|/proc/(?:self|{os.getpid()}))/fd/(\d+)", name)
    return int(number[1]) if number else {"/dev/stdout": 1, "/dev/stderr": 2}.get(name)


@contextlib.contextmanager
def _stream(to: int | Path) -> Iterator[BinaryIO]:
    for buffered in (sys.stdout, sys.stderr):  # what was printed before stands before it
        buffered.flush()
    with open(to, "wb") as stream:
        yield stream


@contextlib.contextmanager
def _replacement(target: Path) -> Iterator[BinaryIO]:
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")  # no longer than a name may be
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        os.replace(partial, target)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def append(file: Path, data: bytes) -> None:
    """Write behind what a file has.

    Raises:
        OSError: if it cannot be written, naming it.
    """
    try:
        with file.open("ab") as stream:
            stream.write(data)
    except OSError as error:
        raise _named(error, file) from error


def _named(error: OSError, file: Path) -> OSError:
    return OSError(error.errno, error.strerror or str(error), str(file))


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems sync no folders
        pass
    finally:
        os.close(descriptor)


def remove_partial(folder: Path) -> None:
    """Remove what a writer that was killed left beside its files."""
    for partial in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            partial.unlink()
