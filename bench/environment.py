"""What a measurement was made on: the first line of every file of results; who can take part."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bench import copies
from bench.program import COPIES
from staticnet.compare.environment import BUSY, as_text, describe, memory

__all__ = ["BUSY", "REQUIRES", "ROOT", "as_text", "describe", "memory", "missing"]

REQUIRES = {
    "torch": ("torch", "pip install torch"),
    "torch.compile": ("torch", "pip install torch"),
    "torch.graph": ("torch", "pip install torch"),
    "jax": ("jax", "pip install jax"),
}
ROOT = Path(__file__).resolve().parents[1]


def missing(contender: str) -> str | None:
    """Why a contender cannot run here, with the remedy; None if it can. Imports no framework."""
    if contender in COPIES:
        return copies.missing(contender)
    module, remedy = REQUIRES.get(contender, ("numpy", ""))
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed: {remedy}"
    return None
