"""How good predictions are."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def accuracy(predicted: Array, labels: Array) -> float:
    """The share of predictions that are right.  predicted: [n], labels: [n]"""
    return float(np.mean(predicted == labels))


def confusion_matrix(predicted: Array, labels: Array, classes: int) -> Array:
    """How many examples of class i were taken for class j.  [n], [n] -> int64 [classes, classes]"""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
