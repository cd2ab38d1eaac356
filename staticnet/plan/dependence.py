"""Which groups wait for which, directly or through others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Dependences:
    """A transitively closed order of numbered items, as one set of bits an item each way."""

    def __init__(self) -> None:
        self._above: list[int] = []  # what an item waits for
        self._below: list[int] = []  # what waits for it

    def add(self) -> int:
        """The number of a new item that waits for nothing."""
        self._above.append(0)
        self._below.append(0)
        return len(self._above) - 1

    def waits_for(self, item: int) -> int:
        """The items that run before `item`, as bits."""
        return self._above[item]

    def waits(self, item: int, other: int) -> bool:
        """Whether `item` runs after `other`."""
        return bool(self._above[item] >> other & 1)

    def waits_for_any(self, items: Iterable[int], other: int) -> bool:
        """Whether one of `items` runs after `other`."""
        below = self._below[other]
        return any(below >> item & 1 for item in items)

    def between(self, first: int, last: int) -> bool:
        """Whether a third item runs after `first` and before `last`."""
        return bool(self._above[last] & self._below[first])

    def require(self, item: int, others: Iterable[int]) -> None:
        """From here on `item` runs after `others`, which must not run after it."""
        above = 0
        for other in others:
            above |= 1 << other | self._above[other]
        new = above & ~self._above[item]
        if not new:
            return
        below = 1 << item | self._below[item]
        for number in _bits(below):
            self._above[number] |= new
        for number in _bits(new):
            self._below[number] |= below

    def merge(self, gone: int, kept: int) -> None:
        """`kept` takes the place of `gone`, between which there is no third item."""
        both = 1 << gone | 1 << kept
        above = (self._above[gone] | self._above[kept]) & ~both
        below = (self._below[gone] | self._below[kept]) & ~both
        for number in _bits(above):
            self._below[number] = (self._below[number] & ~both) | 1 << kept | below
        for number in _bits(below):
            self._above[number] = (self._above[number] & ~both) | 1 << kept | above
        self._above[gone] = self._below[gone] = 0
        self._above[kept], self._below[kept] = above, below


def _bits(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, ascending."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
