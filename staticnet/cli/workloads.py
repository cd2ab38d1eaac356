"""The models of `staticnet compare`: each is one definition for dynamic execution and compiling.

They are those of the checkout's `bench/`, which holds the peers' programs for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet import nn, optim
from staticnet.cli.networks import NETWORKS, network
from staticnet.cli.text_networks import CHARACTERS, character_gpt, character_lstm
from staticnet.ops.shape import flatten

Array = np.ndarray[Any, Any]
Build = Callable[[], tuple[Callable[..., Any], optim.Optimizer]]


@dataclass(frozen=True)
class Workload:
    """A model, the batches that it is trained on, and how many losses are checked by default."""

    about: str
    build: Build
    feeds: Callable[[], list[tuple[Array, Array]]]
    steps: int = 100


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


def text_model(network: Callable[[Any], Any], rule: optim.Optimizer) -> Any:
    """The cross entropy of each next character, and the optimizer."""
    model = network(nn)

    def loss(x: Any, y: Any) -> Any:
        return nn.cross_entropy(flatten(model(x), 0, 1), flatten(y, 0))

    return loss, rule


def char_lstm() -> tuple[Callable[..., Any], optim.Optimizer]:
    """Two LSTM layers of 128 units, cross entropy, Adam."""
    return text_model(character_lstm, optim.Adam(lr=1e-3))


def char_gpt() -> tuple[Callable[..., Any], optim.Optimizer]:
    """GPT-2's model with 4 layers of 4 heads and 128 units, cross entropy, AdamW."""
    return text_model(character_gpt, optim.AdamW(lr=1e-3, weight_decay=1e-2))


def text_feeds(batches: int, size: int, length: int) -> list[tuple[Array, Array]]:
    """Text in which one of four characters follows each.  x, y: int64 [size, length]"""
    rng = np.random.default_rng(5)
    after, chosen = (
        rng.integers(0, CHARACTERS, (CHARACTERS, 4)),
        rng.integers(0, 4, (length, batches * size)),
    )
    text = [rng.integers(0, CHARACTERS, batches * size)]
    for choice in chosen:
        text.append(after[text[-1], choice])
    rows = np.stack(text, 1)
    x, y = (np.split(np.ascontiguousarray(part), batches) for part in (rows[:, :-1], rows[:, 1:]))
    return list(zip(x, y, strict=True))


def image_model(name: str, rate: float) -> tuple[Callable[..., Any], optim.Optimizer]:
    """The cross entropy of a network of images, and SGD with momentum."""
    model = network(nn, NETWORKS[name])

    def loss(x: Any, y: Any) -> Any:
        return nn.cross_entropy(model(x), y)

    return loss, optim.SGD(lr=rate, momentum=0.9)


def cifar_lenet() -> tuple[Callable[..., Any], optim.Optimizer]:
    """Two convolutions of 5 x 5 and three linear layers."""
    return image_model("cifar_lenet", 0.001)


def cifar_bn() -> tuple[Callable[..., Any], optim.Optimizer]:
    """Six convolutions of 3 x 3 with batch norm."""
    return image_model("cifar_bn", 0.01)


def resnet18() -> tuple[Callable[..., Any], optim.Optimizer]:
    """ResNet-18 for images of 32 x 32."""
    return image_model("resnet18", 0.001)


def drawn_images(examples: int) -> dict[str, Array]:
    """Noisy prototypes of ten classes.  x: float32 [n, 3, 32, 32] in [-1, 1], y: int64 [n]"""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 10, examples)
    prototypes = rng.uniform(-1, 1, (10, 3, 32, 32))
    noise = rng.uniform(-1, 1, (examples, 3, 32, 32))
    return {"x": (0.3 * prototypes[y] + 0.7 * noise).astype(np.float32), "y": y}


def image_feeds(batches: int, size: int) -> list[tuple[Array, Array]]:
    """Batches of drawn images and their classes.  x: [size, 3, 32, 32], y: int64 [size]"""
    parts = (np.split(part, batches) for part in drawn_images(batches * size).values())
    return list(zip(*parts, strict=True))


WORKLOADS = {
    "mlp": Workload("784-256-128-10 ReLU, batch 64, cross entropy, Adam", mlp, mlp_feeds),
    "playground": Workload(
        "2-4-2-1 tanh, batch 10, SGD, mean squared error", playground, playground_feeds
    ),
    "cifar_lenet": Workload(
        "2 convolutions of 5 x 5, 3 linear layers, batch 64, SGD with momentum",
        cifar_lenet,
        lambda: image_feeds(10, 64),
        steps=20,
    ),
    "cifar_bn": Workload(
        "6 convolutions of 3 x 3 with batch norm, batch 64, SGD with momentum",
        cifar_bn,
        lambda: image_feeds(10, 64),
        steps=6,
    ),
    "resnet18": Workload(
        "ResNet-18 for images of 32 x 32, batch 32, SGD with momentum",
        resnet18,
        lambda: image_feeds(4, 32),
        steps=2,
    ),
    "char_lstm": Workload(
        "2 LSTM layers of 128, 50 steps, batch 50, cross entropy, Adam",
        char_lstm,
        lambda: text_feeds(10, 50, 50),
        steps=10,
    ),
    "char_gpt": Workload(
        "GPT of 4 layers, 4 heads, 128, 64 tokens, batch 12, cross entropy, AdamW",
        char_gpt,
        lambda: text_feeds(10, 12, 64),
        steps=10,
    ),
}
