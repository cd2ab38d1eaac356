"""Feeds that are read where they lie: graphs captured for arrays that are fed again and again.

Copying a feed reads and writes it once more. A loop that feeds the same CuPy arrays, as a benchmark
or a solver does, gets a graph of its own that reads them in place from the second time on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticnet.codegen.commands import ALIGNMENT

LEAST_BYTES = 1 << 20  # of all feeds, below which copying costs less than it takes to say
MOST_GRAPHS = 8
Key = tuple[int, ...]


class DirectFeeds:
    """Graphs by the addresses of the feeds; the least recently used one goes first.

    `capture(addresses, stream)` gives the graph of a step that reads its feeds there, or None.
    """

    def __init__(self, nbytes: int, capture: Callable[[Key, Any], Any]) -> None:
        self._worthwhile = nbytes >= LEAST_BYTES
        self._capture = capture
        self._graphs: OrderedDict[Key, Any] = OrderedDict()
        self._last: Key | None = None

    def graph(self, feeds: Sequence[Any], stream: Any) -> Any:
        """The graph that reads these feeds in place; None if they have to be copied."""
        if not self._worthwhile:
            return None
        key = _addresses(feeds)
        seen, self._last = key == self._last, key
        if key is None:
            return None
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        if not seen:
            return None
        if len(self._graphs) == MOST_GRAPHS:
            self._graphs.popitem(last=False)
        self._graphs[key] = made = self._capture(key, stream)
        return made


def _addresses(feeds: Sequence[Any]) -> Key | None:
    """Where the feeds lie, if all are whole arrays on the device, aligned as kernels rely on."""
    if any(isinstance(feed, np.ndarray) or not feed.flags.c_contiguous for feed in feeds):
        return None
    addresses = tuple(int(feed.data.ptr) for feed in feeds)
    return None if any(address % ALIGNMENT for address in addresses) else addresses
