"""Images as arrays: CIFAR-10 where STATICNET_DATA has it, else images drawn here."""

from __future__ import annotations

import numpy as np

from bench.program import Array
from staticnet.errors import DataError
from staticnet.io.datasets import cifar10


def images(examples: int) -> dict[str, Array]:
    """The first images and their classes.  x: float32 [n, 3, 32, 32] in [-1, 1], y: int64 [n]"""
    try:
        data = cifar10()
    except DataError:
        return _drawn(examples)
    return {"x": 2 * data.train_images[:examples] - 1, "y": data.train_labels[:examples]}


def _drawn(examples: int) -> dict[str, Array]:
    """Noisy prototypes of ten classes."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 10, examples)
    prototypes = rng.uniform(-1, 1, (10, 3, 32, 32))
    noise = rng.uniform(-1, 1, (examples, 3, 32, 32))
    return {"x": (0.3 * prototypes[y] + 0.7 * noise).astype(np.float32), "y": y}
