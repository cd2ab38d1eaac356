"""Which steps take turns: those of functions that share a variable, even by way of a third."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
_merging = threading.Lock()  # never held while a step is waited for


class Turns:
    """A lock for a set of variables; what `alone` runs is one step, or one look at a value.

    Sets that one function uses are merged. A merged set points to the other's, and merging waits
    for its step to end, so whoever holds the lock of a set that is not merged is alone with it.
    """

    __slots__ = ("_lock", "_merged")

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self._merged: Turns | None = None

    def alone(self, act: Callable[..., T], *arguments: Any) -> T:
        """What `act(*arguments)` gives, while nobody else is at these variables."""
        turns = self if self._merged is None else self._root()
        with turns._lock:  # not by acquire and try, between which a signal may come
            if turns._merged is None:
                return act(*arguments)
        return turns.alone(act, *arguments)  # merged while this waited

    def _root(self) -> Turns:
        """The set that this one is part of; from now on it points there."""
        root = self
        while root._merged is not None:
            root = root._merged
        if root is not self:
            self._merged = root
        return root

    @classmethod
    def merge(cls, several: Iterable[Turns]) -> Turns:
        """One set of all of them.

        Called within a step, as a signal's handler may, it makes that step's set the whole.
        """
        roots = list(dict.fromkeys(turns._root() for turns in several)) or [cls()]
        merged, *others = sorted(roots, key=lambda turns: not turns._lock._is_owned())
        for other in others:
            while (part := other._root()) is not (whole := merged._root()):
                with part._lock, _merging:
                    if part._merged is None and whole._merged is None:
                        part._merged = whole
        return merged._root()
