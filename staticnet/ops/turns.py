"""Which steps take turns: those of functions that share a variable, even by way of a third."""

from __future__ import annotations

import threading
from collections.abc import Iterable

_merging = threading.Lock()


class Turns:
    """A lock for a set of variables; `with turns:` is one step, or one look at a value.

    Sets that one function uses are merged. A merged set points to the other's lock, and merging
    waits for its step to end, so whoever holds a set's lock is alone with its variables.
    """

    __slots__ = ("_lock", "_merged")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._merged: Turns | None = None

    def _root(self) -> Turns:
        turns = self
        while turns._merged is not None:
            turns = turns._merged
        return turns

    def acquire(self) -> threading.RLock:
        """Wait for the turn: the lock that is now held, to be released when it ends."""
        turns = self
        while True:
            while turns._merged is not None:
                turns = turns._merged
            lock = turns._lock
            lock.acquire()
            if turns._merged is None:
                return lock
            lock.release()  # merged while this waited

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self._root()._lock.release()

    @classmethod
    def merge(cls, several: Iterable[Turns]) -> Turns:
        """One set of all of them."""
        with _merging:
            merged, *others = dict.fromkeys(turns._root() for turns in several) or (cls(),)
            for other in others:
                with other._lock:
                    other._merged = merged
        return merged
