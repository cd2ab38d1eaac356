"""Points of the plane with labels, by the definitions of the well-known playground.

Smilkov et al., "Direct-manipulation visualization of deep networks", 2017;
github.com/tensorflow/playground, src/dataset.ts. `noise` is from 0 to 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Made = tuple[Array, Array]
EDGE = 6.0  # the plane is seen from -6 to 6
_BUMPS = ((-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1))


@dataclass(frozen=True)
class Dataset:
    """How points are drawn; their labels are the classes -1 and 1, or numbers between."""

    draw: Callable[[np.random.Generator, int, float], Made]
    classes: bool
    count: int


@dataclass(frozen=True)
class Points:
    """points: float32 [n, 2], labels: float32 [n, 1], for training and for tests."""

    train: Array
    train_labels: Array
    test: Array
    test_labels: Array


def sample(dataset: str, noise: int, split: int, seed: int) -> Points:
    """Points in random order, `split` percent of them for training."""
    rng = np.random.default_rng(seed)
    kind = DATASETS[dataset]
    points, labels = kind.draw(rng, kind.count, noise / 100)
    order = rng.permutation(len(points))
    points = points[order].astype(np.float32)
    labels = labels[order].astype(np.float32)[:, None]
    cut = len(points) * split // 100
    return Points(points[:cut], labels[:cut], points[cut:], labels[cut:])


def circle(rng: np.random.Generator, count: int, noise: float) -> Made:
    """A disc of radius 2.5 in a ring from 3.5 to 5."""
    radius = np.concatenate([rng.uniform(0, 2.5, count // 2), rng.uniform(3.5, 5, count // 2)])
    angle = rng.uniform(0, 2 * np.pi, len(radius))
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)
    seen = points + rng.uniform(-5, 5, points.shape) * noise
    return points, _sign(np.hypot(*seen.T) < 2.5)


def xor(rng: np.random.Generator, count: int, noise: float) -> Made:
    """Four squares, 0.3 off the axes: the sign of x y."""
    points = rng.uniform(-5, 5, (count, 2))
    points += np.where(points > 0, 0.3, -0.3)
    seen = points + rng.uniform(-5, 5, points.shape) * noise
    return points, _sign(seen[:, 0] * seen[:, 1] >= 0)


def gauss(rng: np.random.Generator, count: int, noise: float) -> Made:
    """Two normal clouds around (2, 2) and (-2, -2), of a variance from 0.5 to 4."""
    deviation = np.sqrt(0.5 + noise / 0.5 * 3.5)
    labels = np.repeat([1.0, -1.0], count // 2)
    return 2 * labels[:, None] + deviation * rng.standard_normal((len(labels), 2)), labels


def spiral(rng: np.random.Generator, count: int, noise: float) -> Made:
    """Two arms of 1.75 turns."""
    along = np.arange(count // 2) / (count // 2)
    angle = 1.75 * along * 2 * np.pi + np.array([[0.0], [np.pi]])
    points = 5 * along[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    points = points + rng.uniform(-1, 1, points.shape) * noise
    return points.reshape(-1, 2), np.repeat([1.0, -1.0], count // 2)


def plane(rng: np.random.Generator, count: int, noise: float) -> Made:
    """(x + y) / 10"""
    points = rng.uniform(-EDGE, EDGE, (count, 2))
    seen = points + rng.uniform(-EDGE, EDGE, points.shape) * noise
    return points, seen.sum(1) / 10


def bumps(rng: np.random.Generator, count: int, noise: float) -> Made:
    """Six cones of radius 2, up and down in turn."""
    points = rng.uniform(-EDGE, EDGE, (count, 2))
    seen = points + rng.uniform(-EDGE, EDGE, points.shape) * noise
    x, y, sign = np.array(_BUMPS, float).T
    far = np.hypot(seen[:, :1] - x, seen[:, 1:] - y)
    heights = sign * np.clip(1 - far / 2, 0, 1)
    highest = np.abs(heights).argmax(1)
    return points, heights[np.arange(count), highest]


def _sign(yes: Array) -> Array:
    return np.where(yes, 1.0, -1.0)


DATASETS = {
    "circle": Dataset(circle, True, 500),
    "xor": Dataset(xor, True, 500),
    "gauss": Dataset(gauss, True, 500),
    "spiral": Dataset(spiral, True, 500),
    "plane": Dataset(plane, False, 1200),
    "bumps": Dataset(bumps, False, 1200),
}


def grid(side: int) -> Array:
    """The middles of side × side cells of the plane, from its upper left along x: [side², 2]"""
    along = ((np.arange(side) + 0.5) / side * 2 - 1) * EDGE
    x, y = np.meshgrid(along, -along)
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
