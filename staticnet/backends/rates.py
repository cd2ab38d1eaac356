"""What a machine reaches, to compare kernels with: copies of several sizes and large products."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

SIZES = tuple(1 << power for power in range(14, 27, 2))  # bytes read and written by a copy
REPEATED = 1 << 20  # bytes that one try of a copy moves at least
PRODUCT = 640  # rows, columns and inner length
TRIES, BUDGET = 3, 0.01  # of one measurement: at least so many, for so many seconds
PRODUCTS = ("float32", "float64")  # dtypes whose products are measured


@dataclass(frozen=True)
class Rates:
    """What the machine reaches: copies by size, and products of large matrices by dtype.

    copies: (bytes read and written, bytes a second), ascending; products: FLOP/s by dtype name
    """

    copies: tuple[tuple[int, float], ...]
    products: dict[str, float]

    def copy(self, size: int) -> float:
        """Bytes a second of a copy that reads and writes `size` bytes together."""
        return next((rate for least, rate in self.copies if size <= least), self.copies[-1][1])

    def __str__(self) -> str:
        size, rate = self.copies[-1]
        parts = [f"copy {rate / 1e9:.1f} GB/s ({size >> 20} MiB)"]
        parts += [f"{dtype} products {n / 1e9:.1f} GFLOP/s" for dtype, n in self.products.items()]
        return ", ".join(parts)


def numpy_rates(dtypes: Collection[str]) -> Rates:
    """What NumPy's copies and products reach, measured once a process."""
    return Rates(_copies(), {dtype: _product(dtype) for dtype in sorted(dtypes)})


def random_numbers(count: int, dtype: Any) -> np.ndarray[Any, Any]:
    """`count` normal numbers, for rates to be measured on.

    Zeros would flatter them: multipliers that toggle no bits keep a higher clock, and pages that
    nothing has written are one page of zeros, which caches hold.
    """
    wide = np.float64 if dtype == np.float64 else np.float32
    return np.random.default_rng(0).standard_normal(count, wide).astype(dtype)


@functools.cache
def _copies() -> tuple[tuple[int, float], ...]:
    source = random_numbers(SIZES[-1] // 2 // 4, np.float32).view(np.uint8)
    to = np.zeros_like(source)

    def copy(size: int, times: int) -> None:
        for _ in range(times):
            np.copyto(to[: size // 2], source[: size // 2])

    counts = {size: max(1, REPEATED // size) for size in SIZES}
    return tuple(
        (size, best_rate(functools.partial(copy, size, n), size * n)) for size, n in counts.items()
    )


@functools.cache
def _product(dtype: str) -> float:
    a, b = random_numbers(2 * PRODUCT**2, dtype).reshape(2, PRODUCT, PRODUCT)
    return best_rate(functools.partial(np.matmul, a, b), 2.0 * PRODUCT**3)


def best_rate(act: Callable[[], Any], amount: float) -> float:
    """`amount` a second, in the fastest of the tries that fit some milliseconds, three at least."""
    act()
    times: list[float] = []
    while len(times) < TRIES or sum(times) < BUDGET:
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return amount / max(min(times), 1e-9)
