"""The derivative of one weight by the chain rule, layer by layer, with the numbers of one point.

The numbers are those of the graph's own derivatives, and the sum of all points' is held against a
difference of the loss.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import staticnet as sn
from staticnet.explain import derive
from staticnet.explain.writing import text_of
from staticnet.nn import functional as F
from staticnet.playground.data import Array
from staticnet.playground.messages import Place
from staticnet.playground.model import LABELS, Chain, Model

_STEP = 2e-3  # of the difference, in float32


def place_name(model: Model, place: Place) -> str:
    """`weight from x to hidden 1, unit 2`"""
    to = _unit_name(model, place.layer, place.to)
    if place.source is None:
        return f"bias of {to}"
    if place.layer == 0:
        source = LABELS[model.config.features[place.source]]
    else:
        source = _unit_name(model, place.layer - 1, place.source)
    return f"weight from {source} to {to}"


def _unit_name(model: Model, layer: int, unit: int) -> str:
    last = layer == len(model.config.layers)
    return "output" if last else f"hidden {layer + 1}, unit {unit + 1}"


class Derivation:
    """∂L/∂w of a weight, from the loss down to it."""

    def __init__(self, model: Model, place: Place) -> None:
        self.model, self.place = model, place

    def told(self, points: Array, labels: Array) -> dict[str, Any]:
        """The steps on the point that is worst, and the mean of all beside a difference."""
        look = self.model.look(points, labels)
        at = slice(look.worst, look.worst + 1)
        values = self.model.chain(points[at], labels[at])
        parameter, index = self.model.at(self.place)
        number = next(i for i, p in enumerate(self.model.parameters) if p is parameter)
        gradient = float(look.gradients[number][index])
        return {
            "point": [float(x) for x in (*points[look.worst], labels[look.worst, 0])],
            "rules": self._rules(),
            "steps": self._steps(values),
            "gradient": gradient,
            "difference": self._difference(points, labels),
        }

    def _steps(self, values: Chain) -> list[dict[str, Any]]:
        """One rule at a time: what is derived, the rule, and its numbers."""
        last = len(self.model.config.layers)
        steps = [{"what": "∂L/∂z of the output", "rule": self._of_loss(),
                  "numbers": _numbers(values.sums[last])}]  # fmt: skip
        for layer in range(last - 1, self.place.layer - 1, -1):
            name, above = f"hidden {layer + 1}", _layer_name(layer + 1, last)
            steps += [
                {"what": f"∂L/∂a of {name}", "rule": f"Wᵀ of {above} times its ∂L/∂z",
                 "numbers": _numbers(values.units[layer + 1])},
                {"what": f"∂L/∂z of {name}",
                 "rule": f"times a′ = {slope(self.model.config.activation)}",
                 "numbers": _numbers(values.sums[layer])},
            ]  # fmt: skip
        return [*steps, self._at_weight(values)]

    def _rules(self) -> list[list[str]]:
        """Those of a hidden unit; the output's sum has no activation."""
        if self.place.layer == len(self.model.config.layers):
            return []
        return unit_rules(self.model.config.activation, self.place.source is None)

    def _of_loss(self) -> str:
        config = self.model.config
        if config.loss == "logistic":
            return "L = log(1 + exp(−y z)): −y σ(−y z)"
        error = "clip(ŷ − y, −1, 1)" if config.loss == "huber" else "(ŷ − y)"
        loss = "Huber's loss" if config.loss == "huber" else "L = ½ (ŷ − y)²"
        return f"{loss}, ŷ = tanh z: {error} (1 − ŷ²)" if config.classifies else f"{loss}: {error}"

    def _at_weight(self, values: Chain) -> dict[str, Any]:
        delta = float(values.sums[self.place.layer][self.place.to])
        if self.place.source is None:
            return {"what": "∂L/∂b", "rule": "z = w · a + b: ∂L/∂z itself", "numbers": [delta]}
        source = float(values.inputs[self.place.layer][self.place.source])
        return {
            "what": "∂L/∂w",
            "rule": f"z = w · a + b: {delta:.4g} × {source:.4g}, ∂L/∂z times what w takes",
            "numbers": [delta * source],
        }

    def _difference(self, points: Array, labels: Array) -> float:
        """(L(w + h) - L(w - h)) / 2h, of the loss with its penalty."""
        parameter, index = self.model.at(self.place)
        before = parameter.value.copy()
        found = []
        for step in (_STEP, -_STEP):
            moved = before.copy()
            moved[index] += step
            parameter.value = moved
            found.append(self.model.objective_on(points, labels))
        parameter.value = before
        return (found[0] - found[1]) / (2 * _STEP)


@cache
def slope(activation: str) -> str:
    """d a / d z of a = activation(z), as on paper."""
    z = sn.placeholder((), name="z")
    return text_of(derive(_activated(activation, z), z).result)


@cache
def unit_rules(activation: str, bias: bool) -> list[list[str]]:
    """d a / d w of a unit a = activation(w x + rest), as on paper: [what became what, the rule]"""
    w, x, rest = (sn.placeholder((), name=name) for name in ("w", "x", "rest"))
    made = derive(_activated(activation, rest + w if bias else w * x + rest), w)
    return [[f"{step}", step.rule] for step in made.steps]


def _activated(activation: str, z: Any) -> Any:
    return z if activation == "linear" else getattr(F, activation)(z)


def _layer_name(layer: int, last: int) -> str:
    return "the output" if layer == last else f"hidden {layer + 1}"


def _numbers(values: Array) -> list[float]:
    return [float(x) for x in values]
