"""Where values lie: offsets in one arena, by lifetime."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_ROUNDS, _TRIES, _WORK = 4, 300, 2_000_000
Row = tuple[int, int, int]
Integers = np.ndarray[Any, np.dtype[np.int64]]


def padded(size: Any) -> Any:
    """Bytes, or a formula of bytes, up to the next aligned place."""
    return (size + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


@dataclass
class Lifetime:
    """A block of memory: its bytes, and the first and last step that touch it."""

    size: int
    first: int
    last: int
    offset: int = -1

    @property
    def padded(self) -> int:
        """Bytes, up to the next aligned place."""
        return int(padded(self.size))

    def meets(self, other: Lifetime) -> bool:
        """Whether some step needs both."""
        return self.first <= other.last and other.first <= self.last


def stack(blocks: Sequence[Lifetime]) -> int:
    """Put each block, in the order given, on top of those before it that it meets; -> bytes.

    So no two blocks that some step needs together overlap, whatever the order.
    """
    first, last, size = _columns(blocks)
    end = np.zeros(len(blocks), np.int64)
    for i, block in enumerate(blocks):
        below = end[:i][(first[:i] <= last[i]) & (last[:i] >= first[i])]
        block.offset = int(below.max(initial=0))
        end[i] = block.offset + size[i]
    return int(end.max(initial=0))


def most_alive(blocks: Sequence[Lifetime]) -> int:
    """The bytes alive at the fullest step: no arena is smaller."""
    first, last, size = _columns(blocks)
    change = np.zeros(int(last.max(initial=0)) + 2, np.int64)
    np.add.at(change, first, size)
    np.add.at(change, last + 1, -size)
    return int(np.cumsum(change).max(initial=0))


def arrange(blocks: Sequence[Lifetime]) -> list[Lifetime]:
    """The blocks in an order to stack them in.

    Each in turn goes to the lowest free place, largest first, then in other orders (Pisarchyk and
    Lee, "Efficient memory management for deep neural net inference", 2020). While none gives an
    arena as small as the fullest step, blocks that lie above its bytes go to earlier turns.
    """
    rows = [(block.first, block.last, block.padded) for block in blocks]
    search = _Search(rows, most_alive(blocks))
    if rows:
        search.run()
    return [blocks[i] for i in sorted(range(len(blocks)), key=lambda i: search.offsets[i])]


_KEYS: tuple[Callable[[int, int, int], Any], ...] = (
    lambda first, last, size: (-size, first, last),
    lambda first, last, size: (size * (first - last - 1), first),
    lambda first, last, size: (first - last, -size),
    lambda first, last, size: (first, -last, -size),
)


class _Search:
    """Tries orders of blocks, each given as (first step, last step, bytes), and keeps the best."""

    def __init__(self, rows: Sequence[Row], least: int) -> None:
        self.rows = rows
        self.least = least
        self.arena = -1
        self.order: list[int] = []
        self.offsets: list[int] = []
        self.above: set[int] = set()  # of those tried last, what lay above `least` bytes

    def run(self) -> None:
        """Look until the arena is as small as it can be, or long enough."""
        for tried, offsets in enumerate(map(self._try, self._orders())):
            self.above = {i for i, row in enumerate(self.rows) if offsets[i] + row[2] > self.least}
            if self.arena <= self.least or tried >= min(_TRIES, _WORK // len(self.rows) ** 2):
                return

    def _orders(self) -> Iterator[list[int]]:
        """By each key, then with those that lay too high in front; then the best with one moved."""
        for key in _KEYS:
            order = sorted(range(len(self.rows)), key=lambda i: key(*self.rows[i]))
            for _ in range(_ROUNDS):
                yield order
                order = sorted(order, key=lambda i: i not in self.above)
        random = Random(0)
        while True:
            yield self._moved(random)

    def _try(self, order: list[int]) -> list[int]:
        offsets = _first_fit(self.rows, order)
        ends = (offset + row[2] for offset, row in zip(offsets, self.rows, strict=True))
        arena = max(ends, default=0)
        if self.arena < 0 or arena <= self.arena:
            self.arena, self.order, self.offsets = arena, order, offsets
        return offsets

    def _moved(self, random: Random) -> list[int]:
        """The best order with one block, or one that lay too high, in an earlier turn."""
        order = list(self.order)
        places = [place for place, i in enumerate(order) if i in self.above]
        if random.random() < 0.5:
            places = list(range(len(order)))
        place = places[int(random.random() * len(places))]
        order.insert(int(random.random() * (place + 1)), order.pop(place))
        return order


def _first_fit(rows: Sequence[Row], order: Sequence[int]) -> list[int]:
    """The offset of each block (first step, last step, bytes), placed in turn as low as it fits."""
    offsets = [0] * len(rows)
    placed: list[tuple[int, int, int, int]] = []
    for i in order:
        first, last, size = rows[i]
        low = 0
        for start, end, begins, ends in placed:
            if begins <= last and first <= ends:
                if start - low >= size:
                    break
                low = max(low, end)
        offsets[i] = low
        insort(placed, (low, low + size, first, last))
    return offsets


def _columns(blocks: Sequence[Lifetime]) -> tuple[Integers, Integers, Integers]:
    """First steps, last steps and padded bytes. -> each [blocks]"""
    rows = [(block.first, block.last, block.padded) for block in blocks]
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]
