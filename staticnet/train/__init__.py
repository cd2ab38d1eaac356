"""A small training loop, its metrics and its progress display."""

from staticnet.train import metrics
from staticnet.train.loop import Epoch, fit
from staticnet.train.metrics import accuracy, confusion_matrix
from staticnet.train.progress import track

__all__ = ["Epoch", "accuracy", "confusion_matrix", "fit", "metrics", "track"]
