"""Reading ahead in a thread, with as many batches in memory as are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

_END = object()


class Prefetch(Iterator[Any]):
    """An iterator's items, made in a thread ahead of their use; at most `depth` wait.

    What the iterator raises is raised where its item would have come. `close` ends the thread.
    """

    def __init__(self, items: Iterator[Any], depth: int = 2) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(max(depth, 1))
        self._stopped = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def _fill(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((_END, None))
        except BaseException as error:  # is raised again where the item is asked for
            self._put((_END, error))

    def _put(self, entry: Any) -> bool:
        """Wait for room; False once nobody asks any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
                return True
            except queue.Full:
                pass
        return False

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        item, error = self._queue.get()
        if item is _END:
            self._ended = True
            if error is not None:
                raise error
            raise StopIteration
        return item

    def close(self) -> None:
        """End the thread after the item that it is making."""
        self._ended = True
        self._stopped.set()
        self._thread.join(timeout=5)
