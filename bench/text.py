"""Text as numbers: tinyshakespeare where STATICNET_DATA has it, else characters drawn here."""

from __future__ import annotations

import numpy as np

from bench.program import Array
from staticnet.cli.text_networks import CHARACTERS
from staticnet.errors import DataError
from staticnet.io.datasets import tinyshakespeare


def windows(examples: int, length: int) -> dict[str, Array]:
    """Pieces of the text and, for each of their characters, the one that follows.

    x, y: int64 [examples, length], numbers below CHARACTERS
    """
    text = _text()
    starts = np.random.default_rng(5).integers(0, len(text) - length, examples)
    rows = text[starts[:, None] + np.arange(length + 1)]
    return {"x": np.ascontiguousarray(rows[:, :-1]), "y": np.ascontiguousarray(rows[:, 1:])}


def _text() -> Array:
    try:
        text = tinyshakespeare()
    except DataError:
        return _drawn(100_000)
    known = {character: number for number, character in enumerate(sorted(set(text)))}
    return np.array([known[character] for character in text])


def _drawn(count: int) -> Array:
    """A chain in which one of four characters follows each."""
    rng = np.random.default_rng(6)
    after = rng.integers(0, CHARACTERS, (CHARACTERS, 4))
    chosen = rng.integers(0, 4, count)
    text = np.zeros(count, np.int64)
    for i in range(1, count):
        text[i] = after[text[i - 1], chosen[i]]
    return text
