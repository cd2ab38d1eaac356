"""`OpenES` and `PGPE`: the gradient of a Gaussian's expected value, from mirrored pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops import random
from staticnet.ops.movement import concat
from staticnet.ops.reduction import argmin
from staticnet.ops.selection import astype, clip
from staticnet.ops.sorting import searchsorted, sort
from staticnet.ops.state import Variable
from staticnet.optim.adam import Adam
from staticnet.optim.base import Optimizer, check_inner
from staticnet.optim.evolution.bounds import Bounds
from staticnet.optim.evolution.generations import Generations
from staticnet.optim.evolution.rates import default_popsize
from staticnet.optim.evolution.strategy import Seen, Strategy, namer, positive, values_at

Array = np.ndarray[Any, Any]
MOST_CHANGE = 0.2  # of a deviation, in one generation


@dataclass(frozen=True)
class State(Seen):
    """What a search has learned: points are drawn about `center`.  center: [n]; sigma: [] or [n]"""

    center: Variable
    sigma: Variable


class Mirrored(Strategy[Generations]):
    """Draws pairs m ± sigma z, and moves m by an optimizer down the gradient that they tell.

    A point counts by its rank alone, -1/2 for the best to 1/2 for the worst.
    """

    by_coordinate = False

    def __init__(
        self,
        sigma: float,
        popsize: int | None,
        seed: int,
        optimizer: Optimizer | None,
        bounds: Any,
    ) -> None:
        super().__init__(sigma, popsize, seed, bounds)
        who = type(self).__name__
        if popsize is not None and popsize % 2:
            raise ArgumentError(f"{who}: popsize is of pairs, so even, not {popsize}")
        self.optimizer = Adam(lr=self._sigma / 10) if optimizer is None else optimizer
        check_inner(who, self.optimizer)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._sigma!r}, popsize={self.popsize}, seed={self.seed}, "
            f"optimizer={self.optimizer!r})"
        )

    def _begin(
        self, f: Callable[[Any], Any], start: Array, bounds: Bounds | None, device: str
    ) -> Generations:
        state = self._state(start, self.popsize or 2 * ((default_popsize(len(start)) + 1) // 2))
        best, updates = self._generation(f, state, bounds)
        return Generations(state, best, updates, device)

    def _state(self, start: Array, popsize: int) -> State:
        named = namer(type(self).__name__.lower(), start.dtype)
        sigma = np.full(len(start) if self.by_coordinate else (), self._sigma)
        return State(
            **Seen.nothing(named, start, popsize),
            center=named("center", start),
            sigma=named("sigma", sigma),
        )

    def _generation(
        self, f: Callable[[Any], Any], state: State, bounds: Bounds | None
    ) -> tuple[Any, dict[Variable, Any]]:
        """The best value of a generation, and the updates of the state."""
        popsize = state.values.shape[0]
        key = random.key(self.seed, state.draws)
        z = astype(random.normal(key, (popsize // 2, *state.center.shape)), state.center.dtype)
        x = state.center + state.sigma * concat([z, -z])
        points = x if bounds is None else bounds.within(x)
        values = values_at(type(self).__name__, f, points)
        gradient, learned = self._learn(state, z, _shaped(values))
        updates = dict(self.optimizer.apply({state.center: gradient}))
        first = argmin(values)
        center = updates[state.center]
        updates |= state.after(points, values, first) | learned
        updates[state.mean] = center if bounds is None else bounds.within(center)
        return values[first], updates

    def _learn(self, state: State, z: Any, shares: Any) -> tuple[Any, dict[Variable, Any]]:
        """The gradient of the center, and the updates of what else is learned.

        z: [popsize / 2, n], shares: [popsize] of the points of +z, then -z -> [n]
        """
        raise NotImplementedError

    @property
    def sigma(self) -> Variable:
        """The standard deviation of the points.  [], or [n] if each coordinate has its own"""
        return self._of_state("sigma")


class OpenES(Mirrored):
    """Minimises f without its derivatives, by the gradient of E f(m + sigma z), z ~ N(0, I).

    The gradient in m is E[f(m + sigma z) z] / sigma, taken of mirrored pairs and of ranks instead
    of values; an optimizer follows it, and sigma stays (Salimans, Ho, Chen, Sidor and Sutskever,
    "Evolution strategies as a scalable alternative to reinforcement learning", 2017).

    sigma: the standard deviation, in which f is smoothed
    popsize: points a generation, an even number; 4 + ⌊3 ln n⌋, made even, by default
    optimizer: any rule of `sn.optim`; Adam(lr=sigma / 10) by default
    bounds: (low, high), numbers or arrays [n]; f is asked within them alone

        es = sn.optim.OpenES(0.1, popsize=64, optimizer=sn.optim.Adam(lr=0.05))
        step = es.minimize(lambda x: sn.sum(x * x), np.ones(1000))
        values = step.run(500)

    `mean`, `sigma`, `best`, `best_value`, `evaluations`, `population` and `values` are variables
    after `minimize`. Memory is that of the points: for many variables, where CMA-ES' matrix is too
    large.

    Raises:
        ArgumentError: if sigma is not positive, popsize is odd or less than 4, or the optimizer
            takes no gradients.
    """

    def __init__(
        self,
        sigma: float,
        popsize: int | None = None,
        seed: int = 0,
        *,
        optimizer: Optimizer | None = None,
        bounds: Any = None,
    ) -> None:
        super().__init__(sigma, popsize, seed, optimizer, bounds)

    def _learn(self, state: State, z: Any, shares: Any) -> tuple[Any, dict[Variable, Any]]:
        difference, _ = _pairs(shares)
        return difference @ z / (shares.shape[0] * state.sigma), {}


class PGPE(Mirrored):
    """Minimises f without its derivatives, by policy gradients with parameter-based exploration.

    As `OpenES`, but every coordinate has a deviation of its own that is learned too:

        gradient of m = sum (r+ - r-) sigma z / popsize
        gradient of sigma = sum (r+ + r-) sigma (z² - 1) / popsize

    over the pairs m ± sigma z of ranks r+ and r-; a generation changes a deviation by a fifth at
    most (Sehnke, Osendorfer, Rückstieß, Graves, Peters and Schmidhuber, "Parameter-exploring policy
    gradients", 2010; the bound as in Toklu, Liskowski and Srivastava, "ClipUp", 2020).

    sigma: the first standard deviation of each coordinate
    popsize: points a generation, an even number; 4 + ⌊3 ln n⌋, made even, by default
    optimizer: any rule of `sn.optim` for m; Adam(lr=sigma / 10) by default
    sigma_lr: the learning rate of the deviations
    bounds: (low, high), numbers or arrays [n]; f is asked within them alone

        es = sn.optim.PGPE(0.5, popsize=64)
        step = es.minimize(lambda x: sn.sum(x * x), np.ones(1000))
        values = step.run(500)

    `mean`, `sigma`, `best`, `best_value`, `evaluations`, `population` and `values` are variables
    after `minimize`.

    Raises:
        ArgumentError: if sigma or its rate is not positive, popsize is odd or less than 4, or the
            optimizer takes no gradients.
    """

    by_coordinate = True

    def __init__(
        self,
        sigma: float,
        popsize: int | None = None,
        seed: int = 0,
        *,
        optimizer: Optimizer | None = None,
        sigma_lr: float = 0.1,
        bounds: Any = None,
    ) -> None:
        super().__init__(sigma, popsize, seed, optimizer, bounds)
        self.sigma_lr = positive("PGPE", "sigma_lr", sigma_lr)

    def _learn(self, state: State, z: Any, shares: Any) -> tuple[Any, dict[Variable, Any]]:
        sigma, popsize = state.sigma, shares.shape[0]
        difference, both = _pairs(shares)
        gradient = sigma * (both @ (z * z - 1)) / popsize
        change = clip(self.sigma_lr * gradient, -MOST_CHANGE * sigma, MOST_CHANGE * sigma)
        return sigma * (difference @ z) / popsize, {sigma: sigma - change}


def _shaped(values: Any) -> Any:
    """Ranks from -1/2, of the least value, to 1/2; equals share theirs.  [popsize] -> [popsize]"""
    ordered = sort(values)
    below, upto = (searchsorted(ordered, values, side=side) for side in ("left", "right"))
    twice = astype(below + upto - 1, values.dtype)
    return twice / (2 * (values.shape[0] - 1)) - 0.5


def _pairs(shares: Any) -> tuple[Any, Any]:
    """Of the pairs +z and -z the differences and the sums.  [popsize] -> two of [popsize / 2]"""
    half = shares.shape[0] // 2
    return shares[:half] - shares[half:], shares[:half] + shares[half:]
