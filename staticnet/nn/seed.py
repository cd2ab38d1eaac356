"""Where layers get their randomness when nobody gives them a seed.

The one piece of global state of this room: a stream of seeds, from which each layer and each
initialiser takes the next. It starts from seed 0, so a program is reproducible without asking.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from staticnet.ops.random import mix


class _Stream:
    """Replaced as one tuple and advanced by `next`, so threads never draw the same number."""

    state: tuple[int, Iterator[int]] = (0, itertools.count(1))


def manual_seed(seed: int) -> None:
    """Start the stream again: what is created afterwards depends on `seed` and its order alone.

    Raises:
        ArgumentError: if the seed is no int in [0, 2**64).
    """
    mix(seed, 0)  # refuses a bad seed before anything changes
    _Stream.state = (int(seed), itertools.count(1))


def next_seed(seed: int | None = None) -> int:
    """A seed made of `seed` if it is given, else the next of the stream.

    Raises:
        ArgumentError: if the seed is no int in [0, 2**64).
    """
    if seed is not None:
        return mix(seed, 0)
    start, numbers = _Stream.state
    return mix(start, next(numbers))


def next_seeds(seed: int | None, count: int) -> list[int]:
    """`count` seeds made of one: a layer takes one place of the stream however many it needs."""
    base = next_seed(seed)
    return [mix(base, number) for number in range(1, count + 1)]
