"""How much memory of this process is resident, and was at most."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
FORGET = "5"  # what /proc/self/clear_refs takes to begin a new greatest size


def max_rss() -> int:
    """The greatest resident size of this process so far, in bytes.

    From /proc where there is one: what getrusage says begins with the parent's size.
    """
    if STATUS.exists():
        return _told("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def rss() -> int:
    """The resident size in bytes; the greatest so far where the system tells no other."""
    return _told("VmRSS") if STATUS.exists() else max_rss()


def _told(name: str) -> int:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> None:
    """Begin anew with the greatest size, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(FORGET, encoding="ascii")


def give_back() -> None:
    """Give the system what is garbage and what the allocator keeps; glibc keeps up to 64 MiB."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Growth:
    """How far the resident size has grown since this was made, at most.

    `built` is how far it had when `mark` was called.
    """

    def __init__(self) -> None:
        give_back()
        forget_peak()
        self._base = rss()
        self._before = self.built = 0

    def mark(self) -> None:
        """What follows is `steps`."""
        self._before, self.built = max_rss() - self._base, rss() - self._base
        forget_peak()

    def told(self) -> dict[str, int]:
        """All growth at its most, what was `built` of it, and what the rest grew above that."""
        now = max_rss() - self._base
        return {
            "rss_growth": max(self._before, now),
            "built": self.built,
            "steps": now - self.built,
        }
