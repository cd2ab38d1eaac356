"""Six models that are well, with losses and data that can be learned: nothing is found in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import staticnet as sn
from staticnet import nn

Array = np.ndarray[Any, Any]


class Case(NamedTuple):
    """A model, its loss, inputs and targets."""

    model: nn.Module
    loss: Any
    x: Array
    y: Array


def clusters(
    count: int, classes: int, shape: tuple[int, ...], seed: int = 0
) -> tuple[Array, Array]:
    """Examples around a centre for each class: deviation 1 in all."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, *shape))
    labels = rng.permutation(np.arange(count) % classes)
    x = 0.8 * centres[labels] + 0.6 * rng.standard_normal((count, *shape))
    return x.astype(np.float32), labels.astype(np.int64)


def mlp() -> Case:
    nn.manual_seed(0)
    layers = [nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)]
    return Case(nn.Sequential(*layers), nn.cross_entropy, *clusters(256, 4, (12,)))


def regression() -> Case:
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 6)).astype(np.float32)
    y = np.sin(x[:, :1]) + 0.5 * x[:, 1:2] + 0.05 * rng.standard_normal((256, 1))
    return Case(model, nn.mse_loss, x, y.astype(np.float32))


def convolutional() -> Case:
    nn.manual_seed(0)
    first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)]
    return Case(nn.Sequential(*first, *second), nn.cross_entropy, *clusters(160, 5, (1, 8, 8)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        self.lstm = nn.LSTM(6, 24, batch_first=True)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


def recurrent() -> Case:
    nn.manual_seed(0)
    return Case(Recurrent(), nn.cross_entropy, *clusters(192, 3, (12, 6)))


class Attentive(nn.Module):
    def __init__(self) -> None:
        self.embedding = nn.Linear(6, 16)
        self.place = sn.variable(
            0.1 * np.random.default_rng(0).standard_normal((10, 16)).astype("f")
        )
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        return self.head(sn.mean(self.layer(self.embedding(x) + self.place), 1))


def attentive() -> Case:
    nn.manual_seed(0)
    return Case(Attentive(), nn.cross_entropy, *clusters(192, 4, (10, 6)))


class Residual(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(12, 32)
        self.blocks = [
            nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU()) for _ in range(6)
        ]
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(32, 1)

    def forward(self, x: Any) -> Any:
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(self.dropout(h))[:, 0]


def binary() -> Case:
    """A deep residual net, a binary cross-entropy of logits."""
    nn.manual_seed(0)
    x, y = clusters(256, 2, (12,))
    loss = nn.functional.binary_cross_entropy_with_logits
    return Case(Residual(), loss, x, y.astype(np.float32))


HEALTHY: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (mlp, regression, convolutional, recurrent, attentive, binary)
}


def step_of(case: Case, **options: Any) -> Any:
    """The training step of a case."""
    x = sn.placeholder(("batch", *case.x.shape[1:]), case.x.dtype.name, "x")
    y = sn.placeholder(("batch", *case.y.shape[1:]), case.y.dtype.name, "y")
    loss = case.loss(case.model(x), y)
    updates = sn.optim.Adam(1e-3).minimize(loss)
    return sn.function([x, y], loss, updates, device="numpy", **options)
