"""What a kernel becomes: one CUDA function, or several that run one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from staticnet.ir.index import Index

THREADS = 256  # of a block, where nothing asks for another number
MAX_BLOCKS = 2048  # of a map: enough for every multiprocessor, and each block then does more
SLOT = 8  # bytes for a partial result


@dataclass(frozen=True)
class Points:
    """What a map does at `width` points side by side, of which `variable` is the first, flattened.

    sizes: of its axes, outer ones first, `symbols` their variables; reads: places by buffer, whose
    numbers are those of arguments; extents: bytes of a buffer, from its beginning, that are written
    """

    variable: str
    width: int
    lines: tuple[str, ...]
    symbols: tuple[str, ...]
    sizes: tuple[int, ...]
    reads: tuple[tuple[int, Index], ...]
    extents: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Part:
    """A function's body, in which `block` of `blocks` blocks of `threads` threads works.

    It takes the kernel's buffers, then `scratch` if it has partial results to keep or combine,
    then a number `n` if the size is no part of the text, so that more kernels are equal. For
    `together` see `Call`. `points` are what a map computes, where its points may be taken in any
    order.
    """

    body: tuple[str, ...]
    blocks: int
    threads: int = THREADS
    scratch: bool = False
    n: int | None = None
    together: int = 0
    points: Points | None = None


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def power_of_2(n: int) -> int:
    """The least power of 2 that is not less than n, and 1 for 0."""
    return 1 << max(n - 1, 0).bit_length()
