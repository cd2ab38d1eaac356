"""Explanations of derivatives: worked out on paper, swept backward, and found wanting."""

from staticnet.explain.derivation import Derivation, Step, derive

__all__ = ["Derivation", "Step", "derive"]
