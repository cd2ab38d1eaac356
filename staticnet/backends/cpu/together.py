"""Acts on several things at the same time, while there may be threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def may_start_threads() -> bool:
    """Whether the process is not at its end, where Python starts no threads or waits for none."""
    return threading.main_thread().is_alive()


def together(act: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
    """What an act makes of each item: all at once, or at the process's end one after the other."""
    if not items or not may_start_threads():
        return [act(item) for item in items]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(act, items))
