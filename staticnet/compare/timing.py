"""Warming up, and samples of a loop: seconds a step, the garbage collector at rest."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Repeat: TypeAlias = Callable[[int], Any]
SAMPLES = 32  # in a round
BLOCKS, AGREE = 3, 0.05
COLD = 4  # rounds, of which one call that takes as long is no warm-up


def timed(repeat: Repeat, n: int) -> float:
    """The seconds that `repeat(n)` takes."""
    start = time.perf_counter()
    repeat(n)
    return time.perf_counter() - start


def settled(blocks: Sequence[float]) -> bool:
    """Whether the last BLOCKS medians lie within AGREE of the least of them."""
    last = blocks[-BLOCKS:]
    return len(last) == BLOCKS and max(last) <= (1 + AGREE) * min(last)


def warm_up(repeat: Repeat, seconds: float, limit: float) -> dict[str, Any]:
    """Repeat until the medians of BLOCKS blocks agree, or `limit` seconds have passed.

    -> `calls` of a sample, so that SAMPLES of them take `seconds`, and how it warmed up
    """
    end, took, done = time.perf_counter() + limit, timed(repeat, 1), 1
    calls = max(1, math.ceil(seconds / 4 / max(took, 1e-9)))
    blocks: list[float] = []
    while not settled(blocks) and time.perf_counter() < end:
        each = max(1, calls // 4)
        block = _block(repeat, each, end)
        done += len(block) * each
        blocks.append(statistics.median(block))
        calls = max(1, round(seconds / 4 / max(blocks[-1], 1e-9)))
    last = blocks[-1] if blocks else took
    return {
        "calls": max(1, round(seconds / SAMPLES / max(last, 1e-9))),
        "warm_up": {"calls": done, "blocks": len(blocks), "settled": settled(blocks)},
    }


def _block(repeat: Repeat, calls: int, end: float) -> list[float]:
    """Four times that so many calls took, for each; fewer, but one, if the time is over."""
    found = [timed(repeat, calls) / calls]
    while len(found) < 4 and time.perf_counter() < end:
        found.append(timed(repeat, calls) / calls)
    return found


def round_of(repeat: Repeat, seconds: float, calls: int, steps: int = 1) -> list[float]:
    """A round's samples of `calls` calls each; one before them is not recorded.

    Unless it takes as long as COLD rounds: what others left in the caches does not matter then.
    """
    took = timed(repeat, calls)
    if took > COLD * seconds:
        return [float(f"{took / (calls * steps):.5g}")]
    return samples(repeat, seconds, calls, 2 * SAMPLES, steps)


def samples(repeat: Repeat, seconds: float, calls: int, most: int, steps: int = 1) -> list[float]:
    """As many samples as fit in `seconds`, of `calls` calls each, at least one; five digits.

    A call makes `steps` steps.
    """
    enabled = gc.isenabled()
    gc.disable()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while not found or (time.perf_counter() < end and len(found) < most):
        found.append(timed(repeat, calls) / (calls * steps))
    if enabled:
        gc.enable()
    return [float(f"{s:.5g}") for s in found]
