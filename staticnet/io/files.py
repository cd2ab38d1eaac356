"""Files that are complete or, if anything fails, as they were before: also after a power cut."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write(file: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file beside its place, bring it to the disk, and rename it.

    Raises:
        OSError: if it cannot be written; what was there is there.
    """
    target = Path(file)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


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
