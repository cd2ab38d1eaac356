"""How good predictions are: of arrays, and as nodes that keep their sums in the graph.

trainer = sn.train.Trainer(model, loss, optimizer, metrics=("accuracy", sn.train.metrics.TopK(5)))
"""

from staticnet.train.metrics.arrays import accuracy, confusion_matrix
from staticnet.train.metrics.base import Mean, Metric
from staticnet.train.metrics.classification import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Precision,
    Recall,
    TopK,
)
from staticnet.train.metrics.named import as_metrics
from staticnet.train.metrics.regression import MAE, R2
from staticnet.train.metrics.scores import AUROC, Perplexity

__all__ = [
    "AUROC",
    "F1",
    "MAE",
    "R2",
    "Accuracy",
    "ConfusionMatrix",
    "Mean",
    "Metric",
    "Perplexity",
    "Precision",
    "Recall",
    "TopK",
    "accuracy",
    "as_metrics",
    "confusion_matrix",
]
