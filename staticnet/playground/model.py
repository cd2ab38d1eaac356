"""The network of a tab as a graph, and the functions that train it and look at it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.backends.base import choose
from staticnet.function import BACKENDS, Function
from staticnet.ir.types import fixed
from staticnet.nn import functional as F
from staticnet.ops.state import Variable
from staticnet.optim.updates import Updates
from staticnet.playground.config import Config
from staticnet.playground.data import Array, grid
from staticnet.playground.messages import Place

SIDE, COARSE, SMALL = 100, 60, 20  # cells along the plane, in a large network, and of a unit
MANY = 20  # hidden units of a large network
LABELS = {"x": "x", "y": "y", "x2": "x²", "y2": "y²", "xy": "xy", "sinx": "sin x", "siny": "sin y"}


class Features(nn.Module):
    """Chosen features of points.  [n, 2] -> [n, features]"""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def forward(self, points: Any) -> Any:
        """The features side by side; the points themselves, if those are their features."""
        if self.names == ("x", "y"):
            return points
        x, y = points[:, 0], points[:, 1]
        known = {"x": x, "y": y, "x2": x * x, "y2": y * y, "xy": x * y}
        known |= {"sinx": sn.sin(x), "siny": sn.sin(y)}
        return sn.stack([known[name] for name in self.names], axis=1)


class Layer(nn.Linear):
    """z = x @ weight.T + bias,  a = activation(z).  [n, in] -> z, a: [n, out]"""

    def __init__(self, n: int, m: int, activation: str, seed: int) -> None:
        super().__init__(n, m, seed=seed)
        self.activation = activation

    def forward(self, x: Any) -> Any:
        """z and a"""
        z = super().forward(x)
        return z, z if self.activation == "linear" else getattr(F, self.activation)(z)


class Loss(nn.Module):
    """The mean loss of outputs before their activation.  [n, 1], labels [n, 1] -> []"""

    def __init__(self, kind: str, classifies: bool) -> None:
        self.kind, self.classifies = kind, classifies

    def shown(self, output: Any) -> Any:
        """The output as it is drawn: around -1 and 1 for the two classes."""
        if not self.classifies:
            return output
        return sn.tanh(output / 2 if self.kind == "logistic" else output)

    def forward(self, output: Any, labels: Any) -> Any:
        """The loss"""
        if self.kind == "logistic":  # log(1 + exp(-label output)) of labels -1 and 1
            return sn.mean(F.softplus(-labels * output))
        given = self.shown(output)
        if self.kind == "huber":
            return F.huber_loss(given, labels)
        return F.mse_loss(given, labels) / 2


class Net(nn.Module):
    """Features of a point, hidden layers of one activation, one number, and its loss."""

    def __init__(self, config: Config) -> None:
        self.features = Features(config.features)
        hidden = [f"hidden{i + 1}" for i in range(len(config.layers))]
        self.layers = [*hidden, "output"]
        widths = (len(config.features), *config.layers, 1)
        for i, name in enumerate(self.layers):
            kind = config.activation if name in hidden else "linear"
            setattr(self, name, Layer(widths[i], widths[i + 1], kind, seed=8 * config.seed + i))
        self.loss = Loss(config.loss, config.classifies)

    def forward(self, points: Any) -> tuple[list[Any], list[Any]]:
        """Each layer's sums before the activation, and the units with the features before them.

        points: [n, 2] -> each [n, units]; the output has no activation yet
        """
        sums, units = [], [self.features(points)]
        for name in self.layers:
            z, a = getattr(self, name)(units[-1])
            sums.append(z)
            units.append(a)
        return sums, units

    def judged(self, points: Any, labels: Any) -> Any:
        """The loss on points.  [n, 2], [n, 1] -> []"""
        return self.loss(self(points)[1][-1], labels)

    @property
    def weights(self) -> list[Variable]:
        """The weights of the layers, without biases."""
        return [getattr(self, name).weight for name in self.layers]


def updates_of(optimizer: str, grads: Mapping[Variable, Any], lr: Any) -> Updates:
    """One step of an optimizer; of biases, if it is for matrices alone, AdamW's."""
    rule = getattr(optim, optimizer)(lr=lr)
    if optimizer != "Muon":
        return rule.apply(grads)
    made = rule.apply({w: g for w, g in grads.items() if w.ndim == 2})
    others = optim.AdamW(lr=lr).apply({w: g for w, g in grads.items() if w.ndim != 2})
    made |= others
    made.state |= others.state
    return made


def formula_of(optimizer: str) -> str:
    """The equation of an optimizer, the first line of its documentation."""
    text = inspect.getdoc(getattr(optim, optimizer)) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("`", "")


_HOSTS = {name: backend for name, backend in BACKENDS.items() if name != "cuda"}


@dataclass(frozen=True)
class Look:
    """What a frame tells of the network at one moment."""

    loss: float
    accuracy: float
    worst: int  # the point whose output is farthest from its label
    gradients: list[Array]
    spread: list[Array]  # of each hidden unit: its largest value over all points less its smallest


@dataclass(frozen=True)
class Chain:
    """Of one point: what each layer takes, and the loss' derivatives by its sums and its units."""

    inputs: list[Array]
    sums: list[Array]
    units: list[Array]


class Model:
    """A network with all that trains it: made by `Model(config)`, compiled at `compile()`.

    `keep` is another whose parameters it begins with.
    """

    def __init__(self, config: Config, keep: Model | None = None) -> None:
        self.config = config
        self.net = Net(config)
        self.side = SIDE if sum(config.layers) <= MANY else COARSE
        self.parameters: list[Variable] = list(self.net.parameters())
        if keep is not None:
            for mine, other in zip(self.parameters, keep.parameters, strict=True):
                mine.value = other.value
        self.lr = sn.variable(np.float32(config.lr), "lr", trainable=False)
        self.rate = sn.variable(np.float32(config.rate), "rate", trainable=False)
        self.points = sn.placeholder((config.batch, 2), name="points")
        self.labels = sn.placeholder((config.batch, 1), name="labels")
        self.batch_loss = self.net.judged(self.points, self.labels)
        grads = sn.grad(self.objective(self.batch_loss), self.parameters)
        pairs = dict(zip(self.parameters, grads, strict=True))
        self.updates = updates_of(config.optimizer, pairs, self.lr)

    def objective(self, loss: Any) -> Any:
        """The loss with its penalty."""
        for weight in self.net.weights if self.config.penalty != "none" else ():
            of = sn.abs(weight) if self.config.penalty == "l1" else weight * weight / 2
            loss = loss + self.rate * sn.sum(of)
        return loss

    def compile(self, device: str = "auto") -> Function:
        """The training step: points, labels -> loss. "auto" is no GPU: a launch there takes longer.

        Raises:
            DeviceError: if the device is not there.
        """
        if device == "auto":
            device = choose(device, _HOSTS).name
        return sn.function(
            [self.points, self.labels],
            self.batch_loss,
            updates=self.updates,
            name="step",
            device=device,
            disabled_passes=self.config.without,
        )

    @cached_property
    def _surface(self) -> Function:
        points = sn.placeholder((self.side**2, 2), name="points")
        *units, output = self.net(points)[1]
        return sn.function([points], [*units[1:], self.net.loss.shown(output)], device="numpy")

    @cached_property
    def _look(self) -> Function:
        points = sn.placeholder(("n", 2), name="points")
        labels = sn.placeholder(("n", 1), name="labels")
        *units, output = self.net(points)[1]
        loss = self.net.loss(output, labels)
        grads = sn.grad(self.objective(loss), self.parameters)
        spread = [sn.max(a, axis=0) - sn.min(a, axis=0) for a in units[1:]]
        shown = self.net.loss.shown(output)
        worst = sn.argmax(sn.abs(shown - labels)[:, 0])
        told = [loss, _accuracy(shown, labels), worst, *grads, *spread]
        return sn.function([points, labels], told, device="numpy")

    @cached_property
    def _judge(self) -> Function:
        points = sn.placeholder(("n", 2), name="points")
        labels = sn.placeholder(("n", 1), name="labels")
        output = self.net(points)[1][-1]
        right = _accuracy(self.net.loss.shown(output), labels)
        told = [self.net.loss(output, labels), right]
        return sn.function([points, labels], told, device="numpy")

    @cached_property
    def _chain(self) -> Function:
        points = sn.placeholder((1, 2), name="points")
        labels = sn.placeholder((1, 1), name="labels")
        sums, units = self.net(points)
        loss = self.net.loss(units[-1], labels)
        given = sn.grad(loss, [*sums, *units[1:]])
        return sn.function([points, labels], [*units[:-1], *given], device="numpy")

    @cached_property
    def _objective(self) -> Function:
        points = sn.placeholder(("n", 2), name="points")
        labels = sn.placeholder(("n", 1), name="labels")
        loss = self.objective(self.net.judged(points, labels))
        return sn.function([points, labels], loss, device="numpy")

    def chain(self, point: Array, label: Array) -> Chain:
        """The derivatives along the network at one point.  [1, 2], [1, 1]"""
        found = [x[0] for x in self._chain(point, label)]
        n = len(self.net.layers)
        return Chain(found[:n], found[n : 2 * n], [found[0], *found[2 * n :]])

    def objective_on(self, points: Array, labels: Array) -> float:
        """The loss with its penalty on some points."""
        return float(self._objective(points, labels))

    def surfaces(self) -> list[Array]:
        """The hidden layers' units and the output over the plane: each [side², units]"""
        found: list[Array] = self._surface(_PLANES[self.side])
        return found

    def look(self, points: Array, labels: Array) -> Look:
        """Loss, accuracy, gradients and how far each hidden unit varies over some points."""
        loss, right, worst, *rest = self._look(points, labels)
        cut = len(self.parameters)
        return Look(float(loss), float(right), int(worst), rest[:cut], rest[cut:])

    def judge(self, points: Array, labels: Array) -> tuple[float, float]:
        """Loss and accuracy on some points."""
        loss, right = self._judge(points, labels)
        return float(loss), float(right)

    def set_rates(self, lr: float, rate: float) -> None:
        """Another learning rate, and rate of the penalty, from the next step on."""
        self.lr.value, self.rate.value = np.float32(lr), np.float32(rate)

    def has(self, place: Place) -> bool:
        """Whether there is such a weight or bias."""
        if place.layer >= len(self.net.layers):
            return False
        parameter, index = self.at(place)
        return all(i < n for i, n in zip(index, fixed(parameter.shape), strict=True))

    def at(self, place: Place) -> tuple[Variable, tuple[int, ...]]:
        """The parameter that holds a weight or bias, and where."""
        layer = getattr(self.net, self.net.layers[place.layer])
        if place.source is None:
            return layer.bias, (place.to,)
        return layer.weight, (place.to, place.source)


_PLANES = {side: grid(side) for side in (SIDE, COARSE)}


def feature_surfaces(side: int = SMALL) -> dict[str, Array]:
    """Each feature over the plane: [side²]"""
    points = sn.placeholder((side * side, 2), name="points")
    made: Array = sn.function([points], Features(tuple(LABELS))(points), device="numpy")(grid(side))
    return dict(zip(LABELS, made.T, strict=True))


def _accuracy(shown: Any, labels: Any) -> Any:
    """How many of the outputs have the sign of their label."""
    return sn.mean(sn.astype(sn.equal(shown >= 0, labels >= 0), "float32"))
