"""The models of `staticnet compare`: each is one definition for dynamic execution and compiling.

They are those of the checkout's `bench/`, which holds the peers' programs for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet import nn, optim

Array = np.ndarray[Any, Any]
Build = Callable[[], tuple[Callable[..., Any], optim.Optimizer]]


@dataclass(frozen=True)
class Workload:
    """A model, and the batches that it is trained on."""

    about: str
    build: Build
    feeds: Callable[[], list[tuple[Array, Array]]]


def mlp() -> tuple[Callable[..., Any], optim.Optimizer]:
    """784-256-128-10, ReLU, cross entropy, Adam."""
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )

    def loss(x: Any, y: Any) -> Any:
        return nn.cross_entropy(model(x), y)

    return loss, optim.Adam(lr=1e-3)


def mlp_feeds(batches: int = 50, size: int = 64) -> list[tuple[Array, Array]]:
    """Noisy prototypes of ten classes in [0, 1].  x: [64, 784], y: int64 [64]"""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 10, batches * size)
    prototypes = rng.random((10, 784), np.float32)
    x = 0.3 * prototypes[y] + 0.7 * rng.random((len(y), 784), np.float32)
    return list(zip(np.split(x, batches), np.split(y, batches), strict=True))


def playground() -> tuple[Callable[..., Any], optim.Optimizer]:
    """2-4-2-1, tanh, mean squared error, SGD: little arithmetic, so what a step costs beside it."""
    model = nn.Sequential(
        nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1), nn.Tanh()
    )

    def loss(x: Any, y: Any) -> Any:
        return nn.mse_loss(model(x), y)

    return loss, optim.SGD(lr=0.03)


def playground_feeds(batches: int = 200, size: int = 10) -> list[tuple[Array, Array]]:
    """Points of a square, labelled by the signs' product.  x: [10, 2], y: [10, 1]"""
    x = np.random.default_rng(1).uniform(-1, 1, (batches * size, 2)).astype(np.float32)
    y = np.sign(x[:, :1] * x[:, 1:])
    return list(zip(np.split(x, batches), np.split(y, batches), strict=True))


WORKLOADS = {
    "mlp": Workload("784-256-128-10 ReLU, batch 64, cross entropy, Adam", mlp, mlp_feeds),
    "playground": Workload(
        "2-4-2-1 tanh, batch 10, SGD, mean squared error", playground, playground_feeds
    ),
}
