"""Functions and graphs that the tests of documents and pages show."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn


def training_step(device: str = "numpy", batch: int | str = 4, **options: Any) -> Any:
    """tanh(x w)² under SGD."""
    x = sn.placeholder((batch, 3), name="x")
    w = sn.variable(np.ones((3, 2), np.float32), name="w")
    loss = sn.mean(sn.square(sn.tanh(x @ w)))
    (g,) = sn.grad(loss, [w])
    updates = {w: w - 0.1 * g}
    return sn.function([x], loss, updates=updates, name="step", device=device, **options)


def classifier(device: str, batch: int | str = 16) -> Any:
    """A training step with matrix products, softmax, sums of columns and Adam."""
    sn.manual_seed(0)
    x = sn.placeholder((batch, 32), name="x")
    y = sn.placeholder((batch,), "int64", name="labels")
    model = sn.nn.Sequential(sn.nn.Linear(32, 24), sn.nn.ReLU(), sn.nn.Linear(24, 10))
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.Adam(lr=1e-3).minimize(loss)
    return sn.function([x, y], loss, updates=updates, name="classifier", device=device)


def batch_of(n: int) -> tuple[Any, Any]:
    """Feeds of the classifier."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 32)).astype(np.float32), rng.integers(0, 10, n)


def random_graph(size: int, seed: int = 0) -> sn.Graph:
    """A graph of elementwise nodes that read others not far above them."""
    rng = np.random.default_rng(seed)
    nodes = [sn.placeholder((2,), name="x")]
    makers = [sn.add, sn.multiply, sn.subtract, sn.maximum]
    while len(nodes) < size:
        a, b = (nodes[-1 - rng.integers(min(len(nodes), 40))] for _ in range(2))
        node = makers[rng.integers(len(makers))](a, b)
        if not any(node is other for other in nodes[-50:]):
            nodes.append(node)
    return sn.Graph("big", nodes[:1], nodes[1:])
