"""Inputs that a unit answers most to, climbed to from noise."""

from __future__ import annotations

from typing import Any

from staticnet.autodiff.reverse import grad
from staticnet.control.scan import scan
from staticnet.errors import ShapeError
from staticnet.features.layers import layer_output, scores_of
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_number
from staticnet.nn.functional.augmentation import random_crop
from staticnet.nn.module import Module
from staticnet.ops import random
from staticnet.ops.arguments import as_int, as_size
from staticnet.ops.arithmetic import maximum, minimum
from staticnet.ops.base import as_value, named
from staticnet.ops.creation import arange
from staticnet.ops.reduction import mean
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import sqrt

LEAST = 1e-8  # of a gradient's length, so that none is divided by 0


@named
def maximise(
    model: Module, units: Any, shape: tuple[int, ...], layer: Module | str = "", *,
    steps: int = 128, rate: float = 1.0, decay: float = 0.01, variation: float = 0.05,
    jitter: int = 2, key: random.Key | None = None,
) -> Value:  # fmt: skip
    """An image for each unit of a layer, which makes that unit's mean output as great as it gets.

    A step goes `rate` along the gradient of length 1. The regularisers are those of Simonyan et
    al., 2014, and Mahendran and Vedaldi, "Understanding deep image representations by inverting
    them", 2015: `decay` of the pixels' distance from grey, `variation` of neighbours from each
    other, and a `jitter` of so many pixels before each step.

    units: int [n], classes or channels; shape: an image's, (c, h, w); layer: "" for the model
    -> [n, *shape], in [0, 1]

    Raises:
        ArgumentError: if an option is out of range, or the layer none of the model.
        ShapeError: if units are no vector, or the layer does not give channels or scores.
    """
    count, around = as_size(steps, "steps"), as_int(jitter, "jitter", 0)
    options = {"rate": rate, "decay": decay, "variation": variation}
    rate, decay, variation = (as_number(v, k, 0, float("inf")) for k, v in options.items())
    units = as_value(units)
    if units.ndim != 1 or len(shape) != 3:
        raise ShapeError(
            f"units must be a vector and an image [c, h, w], not {format_shape(units.shape)} and "
            f"{format_shape(tuple(shape))}"
        )
    first = random.key(0) if key is None else key
    begun = 0.5 + 0.05 * random.normal(random.fold_in(first, 0), (*units.shape, *shape))

    def step(x: Value, number: Value) -> tuple[Value, None]:
        moved = x
        if around:
            moved = random_crop(x, shape[1:], around, 0.5, key=random.fold_in(first, number + 1))
        answers = _answers(layer_output(model, moved, layer)[1], units)
        penalty = decay * sum((x - 0.5) ** 2) + variation * _variation(x)
        up = grad(sum(answers), [x])[0]
        down = grad(penalty, [x])[0]
        x = x + rate * (up / (_lengths(up) + LEAST)) - down
        return minimum(maximum(x, 0.0), 1.0), None

    return scan(step, begun, arange(count))[0]


def _answers(given: Value, units: Value) -> Value:
    """The mean output of each example's own unit.  given: [n, units, *s] -> [n]"""
    shape = getattr(given, "shape", ())
    if len(shape) < 2:
        raise ShapeError(f"the layer must give [n, units, ...], not {format_shape(shape)}")
    return scores_of(mean(given, axis=tuple(range(2, given.ndim))), units)


def _variation(x: Value) -> Value:
    """Half the squared differences of neighbours.  [n, c, h, w] -> []"""
    down, across = x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]
    return (sum(down * down) + sum(across * across)) / 2


def _lengths(x: Value) -> Value:
    """The length of each example.  [n, *s] -> [n, 1, ...]"""
    return sqrt(sum(x * x, axis=tuple(range(1, x.ndim)), keepdims=True))
