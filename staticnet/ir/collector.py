"""Python's cyclic collector, paused while much is made that stays.

A large graph, its passes and its plan are many objects a node, and nearly all of them stay until
the end. The collector would look for dead circles among them again and again: to import a chain of
100,000 nodes took four tenths longer. Objects outside of circles are freed as ever.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0
_collects = False  # before the first of the pauses that last


@contextmanager
def paused() -> Iterator[None]:
    """No collection until all pauses are over, of all threads; then it is as before the first.

    A child forked meanwhile collects as the process did before. What the process itself enables or
    disables during a pause does not outlast it.
    """
    global _pauses, _collects
    with _lock:
        if _pauses == 0:
            _collects = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses = max(0, _pauses - 1)  # none where a fork has ended them
            if _pauses == 0 and _collects:
                gc.enable()


def _end_pauses() -> None:
    """In a forked child the other threads, which would end theirs, are not there."""
    global _pauses, _lock
    _lock = threading.Lock()
    if _pauses and _collects:
        gc.enable()
    _pauses = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_pauses)
