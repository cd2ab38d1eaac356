"""The models of `staticnet compare`: each is one definition for dynamic execution and compiling.

They are those of the checkout's `bench/`, which holds the peers' programs for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet import nn, optim
from staticnet.ops.shape import flatten

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


class CharacterModel(nn.Module):
    """The scores of the next character.  x: int [n, t] -> [n, t, 65]"""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(65, 128)
        self.lstm = nn.LSTM(128, 128, 2, batch_first=True)
        self.head = nn.Linear(128, 65)

    def forward(self, x: Any) -> Any:
        """The scores after each character."""
        return self.head(self.lstm(self.embedding(x))[0])


def char_lstm() -> tuple[Callable[..., Any], optim.Optimizer]:
    """Two LSTM layers of 128 units, cross entropy, Adam."""
    model = CharacterModel()

    def loss(x: Any, y: Any) -> Any:
        return nn.cross_entropy(flatten(model(x), 0, 1), flatten(y, 0))

    return loss, optim.Adam(lr=1e-3)


def char_lstm_feeds(
    batches: int = 10, size: int = 50, length: int = 50
) -> list[tuple[Array, Array]]:
    """Text in which one of four characters follows each.  x, y: int64 [50, 50]"""
    rng = np.random.default_rng(5)
    after, chosen = rng.integers(0, 65, (65, 4)), rng.integers(0, 4, (50, batches * size))
    text = [rng.integers(0, 65, batches * size)]
    for choice in chosen:
        text.append(after[text[-1], choice])
    rows = np.stack(text, 1)
    x, y = (np.split(np.ascontiguousarray(part), batches) for part in (rows[:, :-1], rows[:, 1:]))
    return list(zip(x, y, strict=True))


WORKLOADS = {
    "mlp": Workload("784-256-128-10 ReLU, batch 64, cross entropy, Adam", mlp, mlp_feeds),
    "playground": Workload(
        "2-4-2-1 tanh, batch 10, SGD, mean squared error", playground, playground_feeds
    ),
    "char_lstm": Workload(
        "2 LSTM layers of 128, 50 steps, batch 50, cross entropy, Adam", char_lstm, char_lstm_feeds
    ),
}
