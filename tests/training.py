"""What tests of the trainer train: a small network with all kinds of state, on generated data."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.train import Trainer

COUNT, FEATURES, CLASSES = 70, 6, 3


def examples(count: int = COUNT, seed: int = 0) -> tuple[Any, Any]:
    """Points around three centres.  -> float32 [count, 6], int64 [count]"""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    centres = np.random.default_rng(9).normal(0, 2, (CLASSES, FEATURES))
    return (centres[y] + rng.normal(size=(count, FEATURES))).astype("float32"), y


def network(seed: int = 3) -> Any:
    """Dropout, batch norm and two layers."""
    nn.manual_seed(seed)
    layers = (nn.Dropout(0.1), nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(8, CLASSES))


def trainer(device: str = "numpy", **options: Any) -> Trainer:
    """A trainer with everything that has to be resumed."""
    given: dict[str, Any] = {
        "optimizer": optim.Adam(optim.CosineAnnealingLR(0.02, 40)),
        "metrics": ("accuracy", "confusion_matrix"),
        "ema": 0.9,
        "clip_norm": 1.0,
        "accumulate": 2,
    }
    return Trainer(network(), sn.nn.cross_entropy, device=device, **(given | options))
