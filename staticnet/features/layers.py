"""What a layer inside a model gives, and the score that an example is asked about."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.module import Module
from staticnet.ops.base import as_value, named
from staticnet.ops.indexing import take_along_axis
from staticnet.ops.reduction import argmax
from staticnet.ops.selection import astype
from staticnet.ops.shape import broadcast_to, expand_dims, reshape


@named
def layer_output(model: Module, x: Any, layer: Module | str) -> tuple[Any, Any]:
    """(y, a): what the model gives for x, and what a layer in it gives on the way.

    `layer` is a module of the model, or its dotted name; of one that is called several times, a is
    what the last call gives.  x: [n, *s] -> y: [n, *t], a: [n, *u]

    Raises:
        ArgumentError: if it is no layer of the model, or the model does not call it.
        MissingNameError: if the model has none of that name.
    """
    found = model.get_submodule(layer) if isinstance(layer, str) else layer
    if not isinstance(found, Module) or all(found is not each for each in model.modules()):
        raise ArgumentError(
            f"the layer must be a module of {type(model).__name__} or a name, not {layer!r:.60}"
        )
    given: list[Any] = []
    forward = found.forward

    def noted(*args: Any, **kwargs: Any) -> Any:
        given.append(forward(*args, **kwargs))
        return given[-1]

    object.__setattr__(found, "forward", noted)
    try:
        y = model(as_value(x))
    finally:
        object.__delattr__(found, "forward")
    if not given:
        raise ArgumentError(f"{type(model).__name__} does not call the layer {layer!r:.60}")
    return y, given[-1]


def targets_of(scores: Value, target: Any) -> Value:
    """The class that each example is asked about: the likeliest one if none is given.

    scores: [n, classes], target: None, int, or int [n] -> int64 [n]

    Raises:
        ShapeError: if the scores are no row an example, or the targets not one each.
    """
    if scores.ndim != 2:
        raise ShapeError(
            f"the model must give scores [n, classes], not {format_shape(scores.shape)}"
        )
    if target is None:
        return argmax(scores, axis=1)
    given = astype(as_value(target), "int64")
    if given.ndim > 1 or (given.ndim and mismatched(given.shape[0], scores.shape[0])):
        raise ShapeError(
            f"the target must be one class for each example, not {format_shape(given.shape)} for "
            f"scores {format_shape(scores.shape)}"
        )
    return broadcast_to(given, scores.shape[:1])


def mismatched(a: Any, b: Any) -> bool:
    """Whether two dims are numbers, and differ."""
    return isinstance(a, int) and isinstance(b, int) and a != b


def scores_of(scores: Value, targets: Value) -> Value:
    """Each example's score of its target.  scores: [n, classes], targets: int64 [n] -> [n]"""
    return reshape(take_along_axis(scores, expand_dims(targets, 1), axis=1), (-1,))
