"""Where values lie: offsets in one arena, by lifetime."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


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
        return -(-max(self.size, 1) // ALIGNMENT) * ALIGNMENT

    def meets(self, other: Lifetime) -> bool:
        """Whether some step needs both."""
        return self.first <= other.last and other.first <= self.last


def place(blocks: list[Lifetime]) -> int:
    """Give every block an offset, so that blocks alive together do not overlap; -> arena bytes.

    Greedy by size: the largest block first, each at the lowest free place (Pisarchyk and Lee,
    "Efficient memory management for deep neural net inference", 2020).
    """
    placed: list[Lifetime] = []
    for block in sorted(blocks, key=lambda b: (-b.padded, b.first)):
        offset = 0
        for other in sorted((b for b in placed if b.meets(block)), key=lambda b: b.offset):
            if other.offset - offset >= block.padded:
                break
            offset = max(offset, other.offset + other.padded)
        block.offset = offset
        placed.append(block)
    return max((b.offset + b.padded for b in placed), default=0)
