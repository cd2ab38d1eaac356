"""Metrics refuse what they would measure wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.train import accuracy, confusion_matrix

TRUTH = np.array([0, 1, 2, 1])
TAKEN = np.array([0, 2, 2, 1], "uint8")
SAME: dict[str, Any] = {
    "uint8": TAKEN,
    "uint64": TAKEN.astype("uint64"),
    "float": TAKEN.astype("float32"),
    "list": TAKEN.tolist(),
    "big-endian": TAKEN.astype(">i4"),
    "tensor": sn.dynamic.tensor(TAKEN),
}


@pytest.mark.parametrize("taken", SAME.values(), ids=SAME)
def test_classes_of_any_dtype_are_compared(taken: Any) -> None:
    assert accuracy(taken, TRUTH) == 0.75
    expected = np.zeros((3, 3), "int64")
    np.add.at(expected, (TRUTH, TAKEN), 1)
    result = confusion_matrix(taken, TRUTH, np.int64(3))  # type: ignore[arg-type]
    assert result.dtype == "int64"
    np.testing.assert_array_equal(result, expected)


def test_images_of_classes_count_by_pixel() -> None:
    assert accuracy(TAKEN.reshape(2, 2), TRUTH.reshape(2, 2)) == 0.75
    assert confusion_matrix(TAKEN.reshape(2, 2), TRUTH.reshape(2, 2), 3).sum() == 4


MISFITS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "column": (TAKEN[:, None], TRUTH, ShapeError, r"\[4, 1\] and labels \[4\]"),
    "label column": (TAKEN, TRUTH[:, None], ShapeError, r"\[4\] and labels \[4, 1\]"),
    "lengths": (TAKEN[:3], TRUTH, ShapeError, "one shape"),
    "scalar": (1, TRUTH, ShapeError, "one shape"),
    "scores": (np.eye(4)[:, :3], TRUTH, ShapeError, "argmax"),
    "probabilities": (TAKEN / 4, TRUTH, DTypeError, "predicted holds no classes"),
    "NaN": (TAKEN, np.array([0, 1, np.nan, 1]), DTypeError, "labels holds no classes"),
    "names": (TAKEN, np.array(list("abcb")), DTypeError, "labels"),
    "masked": (np.ma.masked_array(TAKEN, [1, 0, 0, 0]), TRUTH, DTypeError, "masked array"),
    "nothing": (TAKEN[:0], TRUTH[:0], ArgumentError, "no examples"),
}


@pytest.mark.parametrize("case", MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_refused(case: Any) -> None:
    taken, truth, error, message = case
    with pytest.raises(error, match=message):
        accuracy(taken, truth)
    with pytest.raises(error, match=message):
        confusion_matrix(taken, truth, 3)


@pytest.mark.parametrize("bad", [-1, 3, 1000])
def test_a_class_outside_the_matrix_is_refused(bad: int) -> None:
    wrong = np.array([0, 1, bad, 1])
    with pytest.raises(ArgumentError, match=rf"predicted has the class {bad}, .* \[0, 3\)"):
        confusion_matrix(wrong, TRUTH, 3)
    with pytest.raises(ArgumentError, match=f"labels has the class {bad}"):
        confusion_matrix(TRUTH, wrong, 3)


@pytest.mark.parametrize("classes", [0, -1, 2.5, True, "3"])
def test_the_number_of_classes_is_a_positive_int(classes: Any) -> None:
    with pytest.raises(ArgumentError, match="confusion_matrix: classes must be"):
        confusion_matrix(TAKEN, TRUTH, classes)


LOSSES = ("mse_loss", "l1_loss", "huber_loss", "hinge_loss", "hinge_embedding_loss", "kl_div")


@pytest.mark.parametrize("name", [*LOSSES, "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("n", [4, "n"])
def test_losses_refuse_a_column_against_a_row(name: str, n: Any) -> None:
    loss = getattr(sn.nn, name)
    column, row = sn.placeholder((n, 1), name="column"), sn.placeholder((n,), name="row")
    for pair in ((column, row), (row, column)):
        with pytest.raises(ShapeError, match=f"{name}: target .* must have the input's shape"):
            loss(*pair)
    tensor = sn.dynamic.tensor(np.ones((4, 1), "float32"))
    with pytest.raises(ShapeError, match="must have the input's shape"):
        loss(tensor, np.ones(4, "float32"))
