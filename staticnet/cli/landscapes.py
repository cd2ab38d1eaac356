"""Functions of two variables on which optimizers are seen to differ, and their ways over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import optim

Array = np.ndarray[Any, Any]
STEPS = 200
POPULATION = 16


@dataclass(frozen=True)
class Landscape:
    """f(x, y) within `extent` (left, right, low, high), walked over from `start`.

    rate: of gradient descent, as large as it can be without leaping out; the rules that divide by
    the size of gradients go `reach` a step at most; sigma: the first deviation of CMA-ES
    """

    name: str
    formula: str
    said: str
    f: Callable[[Any, Any], Any]
    extent: tuple[float, float, float, float]
    start: tuple[float, float]
    optima: tuple[tuple[float, float], ...]
    rate: float
    reach: float
    sigma: float


def _valley(x: Any, y: Any) -> Any:
    return (x * x + 100 * y * y) / 2


def _rosenbrock(x: Any, y: Any) -> Any:
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def _beale(x: Any, y: Any) -> Any:
    parts = ((1.5, y), (2.25, y * y), (2.625, y * y * y))
    return sum((c - x + x * power) ** 2 for c, power in parts)


def _saddle(x: Any, y: Any) -> Any:
    return x * x - y * y + y**4 / 8


def _rastrigin(x: Any, y: Any) -> Any:
    waves = sn.cos(2 * math.pi * x) + sn.cos(2 * math.pi * y)
    return 20 + x * x + y * y - 10 * waves


LANDSCAPES = (
    Landscape(
        "A long valley", "(x² + 100 y²) / 2",
        "One direction is 100 times as steep: gradient descent zigzags, momentum runs along.",
        _valley, (-5, 5, -2, 2), (-4.5, 1.0), ((0, 0),), 0.019, 0.1, 1.0,
    ),
    Landscape(
        "Rosenbrock's banana", "(1 − x)² + 100 (y − x²)²",
        "A curved, flat valley: to find it is easy, to follow it is not.",
        _rosenbrock, (-2.2, 2.2, -1.2, 3.2), (-1.4, 2.2), ((1, 1),), 0.0008, 0.05, 0.4,
    ),
    Landscape(
        "Beale's function", "(1.5 − x + x y)² + (2.25 − x + x y²)² + (2.625 − x + x y³)²",
        "Flat in the middle and steep at the corners.",
        _beale, (-4.5, 4.5, -4.5, 4.5), (1.0, 1.6), ((3, 0.5),), 0.008, 0.1, 0.6,
    ),
    Landscape(
        "A saddle", "x² − y² + y⁴ / 8",
        "Begun beside the ridge, where the gradient points at the saddle: those that divide by the "
        "size of gradients leave first.",
        _saddle, (-3, 3, -3, 3), (-2.5, 0.002), ((0, 2), (0, -2)), 0.05, 0.06, 0.4,
    ),
    Landscape(
        "Rastrigin's hollows", "20 + x² + y² − 10 (cos 2πx + cos 2πy)",
        "A gradient leads into the nearest hollow; a population sees past it.",
        _rastrigin, (-4, 4, -4, 4), (2.6, 2.7), ((0, 0),), 0.002, 0.05, 1.5,
    ),
)  # fmt: skip


def rules(landscape: Landscape) -> dict[str, optim.UpdateRule]:
    """Rprop, and those of Ruder, "An overview of gradient descent optimization …", 2016."""
    rate, reach = landscape.rate, landscape.reach
    return {
        "Gradient descent": optim.SGD(rate),
        "Momentum": optim.SGD(rate / 2, momentum=0.9),
        "Nesterov": optim.SGD(rate / 2, momentum=0.9, nesterov=True),
        "Rprop": optim.Rprop(reach / 2),
        "Adagrad": optim.Adagrad(6 * reach),
        "Adadelta": optim.Adadelta(20 * reach),
        "RMSprop": optim.RMSprop(reach / 2, alpha=0.9),
        "Adam": optim.Adam(reach),
        "AdaMax": optim.Adamax(reach),
        "NAdam": optim.NAdam(reach),
        "AMSGrad": optim.AMSGrad(reach),
    }


def walked(landscape: Landscape, steps: int = STEPS, device: str = "auto") -> dict[str, Array]:
    """The points of each rule's way, the start first, by one compiled function of them all.

    -> {name: float64 [steps + 1, 2]}
    """
    given = rules(landscape)
    places = [sn.variable(np.array(landscape.start), f"place{i}") for i in range(len(given))]
    updates: dict[Any, Any] = {}
    for place, rule in zip(places, given.values(), strict=True):
        updates |= rule.minimize(landscape.f(place[0], place[1]), [place])
    step = sn.function([], [place + 0 for place in places], updates=updates, device=device)
    made = step.run(steps + 1)
    return dict(zip(given, map(np.asarray, made), strict=True))


@dataclass(frozen=True)
class Searched:
    """CMA-ES by generation: means [t + 1, 2], covariances [t + 1, 2, 2], populations [t, n, 2]."""

    means: Array
    covariances: Array
    populations: Array


def searched(landscape: Landscape, generations: int = STEPS, device: str = "auto") -> Searched:
    """What CMA-ES learns of the landscape, generation by generation, until it is over."""
    es = optim.CMAES(landscape.sigma, popsize=POPULATION, seed=3)

    def f(x: Any) -> Any:
        return landscape.f(x[0], x[1])

    step = es.minimize(f, np.array(landscape.start), device=device)
    means, covariances = [np.array(landscape.start)], [landscape.sigma**2 * np.eye(2)]
    populations: list[Array] = []
    while len(populations) < generations and not step.stopped:
        step()
        means.append(es.mean.value.copy())
        covariances.append(es.sigma.value**2 * step.state.spread.matrix())
        populations.append(es.population.value.copy())
    return Searched(np.array(means), np.array(covariances), np.array(populations))


def surface(landscape: Landscape, count: int) -> Array:
    """The function's values over its extent, the highest y first.  -> [count, count]"""
    left, right, low, high = landscape.extent
    x, y = np.meshgrid(np.linspace(left, right, count), np.linspace(high, low, count))
    made: Array = sn.function([], landscape.f(sn.constant(x), sn.constant(y)), device="numpy")()
    return made
