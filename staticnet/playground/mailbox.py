"""What is asked of a session's thread: in order, bounded, the newest state instead of all."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from staticnet.playground.messages import Configure

MOST = 64


class Mailbox:
    """A bounded queue of messages that one thread takes all at once."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Any) -> bool:
        """Leave a message; whether there was room. A state takes the place of one before it."""
        with self._changed:
            if self._closed:
                return False
            newest = self._items[-1] if self._items else None
            if isinstance(item, Configure) and isinstance(newest, Configure):
                self._items[-1] = item
            elif len(self._items) >= MOST:
                return False
            else:
                self._items.append(item)
            self._changed.notify()
            return True

    def take(self, timeout: float | None) -> list[Any] | None:
        """All messages, after at most `timeout` seconds; None once it is closed."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout)
            if self._closed:
                return None
            items = list(self._items)
            self._items.clear()
            return items

    def close(self) -> list[Any]:
        """Wake the thread for the last time. -> what it will not take any more"""
        with self._changed:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return left
