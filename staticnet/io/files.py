"""Files that are complete or, if anything fails, as they were before: also after a power cut."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write(file: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file beside its place, bring it to the disk, and rename it.

    A link is followed; what is no file, such as /dev/stdout, is written to.

    Raises:
        OSError: if it cannot be written, naming it; what was there is there.
    """
    content = data.encode() if isinstance(data, str) else data
    target = Path(os.path.realpath(file))
    if target.exists() and not target.is_file():
        with open(file, "wb") as stream:
            stream.write(content)
        return
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    except OSError as error:  # a full disk names no file, and others the one beside it
        raise _named(error, target) from error
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
