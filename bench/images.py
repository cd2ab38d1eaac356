"""Images as arrays: CIFAR-10 where STATICNET_DATA has it, else images drawn here."""

from __future__ import annotations

from bench.program import Array
from staticnet.cli.workloads import drawn_images
from staticnet.errors import DataError
from staticnet.io.datasets import cifar10


def images(examples: int) -> dict[str, Array]:
    """The first images and their classes.  x: float32 [n, 3, 32, 32] in [-1, 1], y: int64 [n]"""
    try:
        data = cifar10()
    except DataError:
        return drawn_images(examples)
    return {"x": 2 * data.train_images[:examples] - 1, "y": data.train_labels[:examples]}
