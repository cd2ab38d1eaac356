"""Training: a trainer with its history, callbacks, metrics and data."""

from staticnet.train import callbacks, data, metrics
from staticnet.train.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LearningRateFinder,
    ProgressBar,
    TensorBoard,
)
from staticnet.train.checks import Recipe, recipe
from staticnet.train.history import History
from staticnet.train.metrics import accuracy, confusion_matrix
from staticnet.train.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LearningRateFinder",
    "ProgressBar",
    "Recipe",
    "TensorBoard",
    "Trainer",
    "accuracy",
    "callbacks",
    "confusion_matrix",
    "data",
    "metrics",
    "recipe",
]
