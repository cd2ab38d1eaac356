"""Explanations of derivatives: worked out on paper, swept backward, and found wanting."""

from staticnet.explain.derivation import Derivation, Step, derive
from staticnet.explain.diagnosis import Diagnosis, diagnose
from staticnet.explain.sweep import Backprop, Gradient, Part, backprop

__all__ = [
    "Backprop",
    "Derivation",
    "Diagnosis",
    "Gradient",
    "Part",
    "Step",
    "backprop",
    "derive",
    "diagnose",
]
