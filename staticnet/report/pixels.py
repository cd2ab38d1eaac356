"""Arrays as pixels: images, maps of numbers in colours, and sheets of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BLUE, ORANGE = np.array([0, 114, 178]) / 255, np.array([213, 94, 0]) / 255
GLOW = np.array([[0, 0, 0], [70, 20, 100], [200, 60, 70], [250, 160, 60], [255, 255, 220]]) / 255


def as_pixels(image: Array) -> Array:
    """An image of 1 or 3 channels, or none.  [h, w] or [c, h, w] -> [h, w] or [h, w, 3]"""
    if image.ndim == 2:
        return image
    return image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, -1)


def stretched(x: Array) -> Array:
    """Numbers of any range in [0, 1]; equal ones are 0.5."""
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else np.full(x.shape, 0.5)


def glowing(x: Array) -> Array:
    """Numbers in [0, 1] from black over violet and orange to white.  [h, w] -> [h, w, 3]"""
    places = np.linspace(0, 1, len(GLOW))
    return np.stack([np.interp(x, places, GLOW[:, c]) for c in range(3)], axis=-1)


def signed(x: Array) -> Array:
    """Negative numbers in blue, positive ones in orange, 0 white.  [h, w] -> [h, w, 3]

    The 99th percentile of their sizes and what is beyond it has the full colour.
    """
    most = np.quantile(np.abs(x), 0.99)
    share = np.clip(np.abs(x) / most if most else np.zeros(x.shape), 0, 1)[..., None]
    return 1 + (np.where(x[..., None] < 0, BLUE, ORANGE) - 1) * share


def coloured(pixels: Array) -> Array:
    """Pixels with three channels.  [h, w] or [h, w, 3] -> [h, w, 3]"""
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def sheet(images: Sequence[Array], columns: int, scale: int = 1, gap: int = 2) -> Array:
    """Images of one size in rows, white between them, each pixel a square of `scale` dots.

    images: of [h, w] or [h, w, 3], floats in [0, 1] -> [rows, columns, 3]
    """
    large = [np.kron(coloured(image), np.ones((scale, scale, 1))) for image in images]
    height, width = large[0].shape[:2]
    rows = -(-len(large) // columns)
    whole = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, image in enumerate(large):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        whole[top : top + height, left : left + width] = image
    return whole
