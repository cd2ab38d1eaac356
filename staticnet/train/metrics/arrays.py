"""How good predictions are."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ops.arguments import as_size
from staticnet.ops.promotion import as_array

Array = np.ndarray[Any, Any]


def accuracy(predicted: Any, labels: Any) -> float:
    """The share of predicted classes that are the labels.  predicted: [*s], labels: [*s] -> float

    Raises:
        ShapeError: if the shapes differ.
        DTypeError: if one holds no classes, as scores do not: take their argmax.
        ArgumentError: if there are no examples.
    """
    classes, truth = _classes("accuracy", predicted, labels)
    return float(np.mean(classes == truth))


def confusion_matrix(predicted: Any, labels: Any, classes: int) -> Array:
    """y[i, j] = the number of examples of class i that were taken for class j.

    predicted: [*s], labels: [*s], each in [0, classes) -> y: int64 [classes, classes]

    Raises:
        ShapeError, DTypeError, ArgumentError: as `accuracy`, and if a class is not among them.
    """
    count = as_size(classes, "confusion_matrix: classes")
    taken, truth = _classes("confusion_matrix", predicted, labels)
    for name, found in (("predicted", taken), ("labels", truth)):
        outside = found[(found < 0) | (found >= count)]
        if outside.size:
            raise ArgumentError(
                f"confusion_matrix: {name} has the class {outside[0]}, which is not in [0, {count})"
            )
    pairs = truth.astype(np.int64) * count + taken.astype(np.int64)
    return np.bincount(pairs.ravel(), minlength=count * count).reshape(count, count)


def _classes(what: str, predicted: Any, labels: Any) -> tuple[Array, Array]:
    """Both as arrays of classes, of one shape."""
    found, truth = (
        _class_array(f"{what}: {name}", x)
        for name, x in (("predicted", predicted), ("labels", labels))
    )
    if found.shape != truth.shape:
        raise ShapeError(
            f"{what}: predicted {list(found.shape)} and labels {list(truth.shape)} must have one "
            "shape; reshape one, or take the argmax of scores"
        )
    if not found.size:
        raise ArgumentError(f"{what}: there are no examples")
    return found, truth


def _class_array(what: str, value: Any) -> Array:
    """`value` as an array of integers or bools; whole floats pass, as some files hold labels."""
    try:
        array = as_array(value.get() if type(value).__module__.startswith("cupy") else value)
    except DTypeError as error:
        raise DTypeError(f"{what}: {error}") from None
    if array.dtype.kind not in "biu" and not np.array_equal(array, np.trunc(array)):
        raise DTypeError(f"{what} holds no classes but {array.dtype}; take the argmax of scores")
    return array
