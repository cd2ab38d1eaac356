"""Metrics by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.train.metrics.base import Mean, Metric
from staticnet.train.metrics.classification import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Precision,
    Recall,
    TopK,
)
from staticnet.train.metrics.regression import MAE, R2
from staticnet.train.metrics.scores import AUROC, Perplexity

NAMED: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "auroc": AUROC,
    "confusion_matrix": ConfusionMatrix,
    "perplexity": Perplexity,
    "mae": MAE,
    "r2": R2,
}


def as_metrics(given: Any) -> tuple[Metric, ...]:
    """Metrics of names, of functions that are means over a batch, and of metrics.

    Raises:
        ArgumentError: if one is none of these, or two have one name.
    """
    single = isinstance(given, str | Metric) or callable(given)
    listed = [given] if single else list(given) if isinstance(given, Iterable) else [given]
    found = tuple(_as_metric(each) for each in listed)
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1 or name in ("loss", "lr"):
            raise ArgumentError(
                f"metrics: {name!r} is the name of two columns; give one another name"
            )
    return found


def _as_metric(given: Any) -> Metric:
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        name = given.lower()
        if best := re.fullmatch(r"top_?(\d+)(_accuracy)?", name):
            return TopK(int(best[1]))
        if name in NAMED:
            return NAMED[name]()
    elif isinstance(given, type) and issubclass(given, Metric):
        return given()
    elif callable(given):
        return Mean(given)
    raise ArgumentError(
        f"metrics: {given!r:.60} is no metric; use one of {', '.join(NAMED)}, top_5, a function of "
        "outputs and targets, or an sn.train.metrics.Metric"
    )
