"""Metrics as nodes: their sums over batches give what scikit-learn says of all of them at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import ArgumentError, ShapeError
from staticnet.train import metrics
from staticnet.train.metrics import as_metrics

COMPILES = True
RNG = np.random.default_rng(0)
N, CLASSES, SIZES = 57, 5, (16, 16, 16, 9)


def measured(given: Any, outputs: Any, targets: Any, device: str = "numpy") -> dict[str, Any]:
    """Each metric over batches of several sizes, in one function."""
    chosen = as_metrics(given)
    x = sn.placeholder(("batch", *outputs.shape[1:]), outputs.dtype, name="x")
    y = sn.placeholder(("batch", *targets.shape[1:]), targets.dtype, name="y")
    nodes = [metric.update(x, y) for metric in chosen]
    flat = [node for sums in nodes for node in sums.values()]
    f = sn.function([x, y], flat, device=device)
    edges = np.cumsum((0, *SIZES))
    parts = [f(outputs[a:b], targets[a:b]) for a, b in pairwise(edges)]
    totals = iter([sum(column) for column in zip(*parts, strict=True)])
    return {
        metric.name: metric.value({name: np.asarray(next(totals)) for name in sums})
        for metric, sums in zip(chosen, nodes, strict=True)
    }


def oracle() -> Any:
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")


EACH = (metrics.Precision, metrics.Recall, metrics.F1)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("layout", ["flat", "channels", "tokens"])
def test_classes(device: str, layout: str) -> None:
    if device == "cpu" and find_compiler() is None:
        pytest.skip("no C compiler")
    sk = oracle()
    shape = {"flat": (N,), "channels": (N, 3), "tokens": (N, 7)}[layout]
    truth = RNG.integers(0, CLASSES, shape)
    truth[3] = -100
    truth[truth == 4] = 2  # a class that is only predicted
    scores = RNG.normal(size=(*shape, CLASSES)).astype("float32")
    given = np.moveaxis(scores, -1, 1) if layout == "channels" else scores
    chosen = ["accuracy", "top2", metrics.TopK(3), "confusion_matrix", "perplexity"]
    found = measured(chosen, given, truth, device)
    counts = truth >= 0
    t, p = truth[counts], scores[counts].argmax(-1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(t, p))
    every = range(CLASSES)
    for k in (2, 3):
        expected = sk.top_k_accuracy_score(t, scores[counts], k=k, labels=every)
        assert found[f"top_{k}"] == pytest.approx(expected)
    matrix = sk.confusion_matrix(t, p, labels=every)
    np.testing.assert_array_equal(found["confusion_matrix"], matrix)
    wide = scores[counts].astype(float)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    expected = np.exp(-np.take_along_axis(wide, t[..., None], -1).mean())
    assert found["perplexity"] == pytest.approx(expected, rel=1e-5)
    for average in ("macro", "micro", "weighted", None):
        found = measured([kind(average) for kind in EACH], given, truth, device)
        for name in ("precision", "recall", "f1"):
            theirs = getattr(sk, f"{name}_score")
            options = {"labels": every} if average is None else {}
            expected = theirs(t, p, average=average, zero_division=0, **options)
            np.testing.assert_allclose(found[name], expected, err_msg=f"{name} {average}")


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "bool", "float32"])
def test_one_logit(column: bool, dtype: str) -> None:
    sk = oracle()
    truth = RNG.integers(0, 2, N)
    logits = (RNG.normal(size=N) + truth).astype("float32")
    shape = (N, 1) if column else (N,)
    names = ["accuracy", "precision", "recall", "f1", "confusion_matrix", "auroc"]
    found = measured(names, logits.reshape(shape), truth.astype(dtype).reshape(shape))
    taken = logits > 0
    for name in names[:4]:
        assert found[name] == pytest.approx(getattr(sk, f"{name}_score")(truth, taken)), name
    np.testing.assert_array_equal(found["confusion_matrix"], sk.confusion_matrix(truth, taken))
    p = 1 / (1 + np.exp(-logits))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, np.floor(p * 4096)))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, logits), abs=2e-3)


def test_scores_of_two_classes_rank_by_the_second() -> None:
    sk = oracle()
    truth = RNG.integers(0, 2, N)
    scores = RNG.normal(size=(N, 2)).astype("float32")
    found = measured([metrics.AUROC(), metrics.F1("binary")], scores, truth)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, np.diff(scores)), abs=2e-3)
    assert found["f1"] == pytest.approx(sk.f1_score(truth, scores.argmax(1)))


def test_a_target_of_scores_stands_for_its_largest() -> None:
    truth = RNG.integers(0, CLASSES, N)
    scores = RNG.normal(size=(N, CLASSES)).astype("float32")
    one_hot = np.eye(CLASSES, dtype="float32")[truth]
    assert measured("accuracy", scores, one_hot) == measured("accuracy", scores, truth)


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3), (N, 2, 2)])
def test_numbers(shape: tuple[int, ...]) -> None:
    sk = oracle()
    y = RNG.normal(3, 1, shape)
    z = (y + RNG.normal(0, 0.5, shape)).astype("float32")
    found = measured(["mae", "r2", sn.nn.mse_loss], z, y.astype("float32"))
    flat = (y.astype("float32").reshape(N, -1), z.reshape(N, -1))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(*flat))
    assert found["r2"] == pytest.approx(sk.r2_score(*flat))
    assert found["mse_loss"] == pytest.approx(sk.mean_squared_error(*flat), rel=1e-5)


def test_columns_of_one_value_and_no_examples() -> None:
    y = np.ones((N, 2))
    z = y + np.array([0.0, 1.0])
    assert measured("r2", z, y)["r2"] == 0.5
    for metric in as_metrics(["accuracy", "mae", "r2", "f1", "auroc", "perplexity"]):
        empty = {"correct": 0, "count": 0, "sum": 0, "examples": 0, "bins": np.zeros((2, 4))}
        empty |= {name: np.zeros(2) for name in ("right", "taken", "actual", "errors")}
        sums = {name: np.asarray(value) for name, value in empty.items()}
        assert np.isnan(metric.value(sums)), metric.name


def test_what_is_no_metric_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"'acc' is no metric; use one of accuracy, .*top_5"):
        as_metrics("acc")
    with pytest.raises(ArgumentError, match="'accuracy' is the name of two columns"):
        as_metrics(["accuracy", metrics.Accuracy()])
    with pytest.raises(ArgumentError, match="average is one of"):
        metrics.F1("mean")
    with pytest.raises(ArgumentError, match="TopK: k must be a positive int"):
        metrics.TopK(0)
    x, y = sn.placeholder((4, 3), name="x"), sn.placeholder((5,), "int64", name="y")
    with pytest.raises(ShapeError, match=r"metric accuracy: outputs x f32\[4,3\] do not fit"):
        metrics.Accuracy().update(x, y)
    with pytest.raises(ShapeError, match="have no 9 classes"):
        metrics.TopK(9).update(x, y[:4])
    with pytest.raises(ShapeError, match="more than two classes"):
        metrics.AUROC().update(x, y[:4])
    with pytest.raises(ShapeError, match="must have one shape"):
        metrics.MAE().update(x, y)
    with pytest.raises(ShapeError, match="must give a scalar node"):
        metrics.Mean(lambda a, b: a).update(x, y)


def test_measures_of_arrays() -> None:
    predicted, labels = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    assert metrics.accuracy(predicted, labels) == 0.75
    assert metrics.confusion_matrix(predicted, labels, 3).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 1, 1],
    ]
