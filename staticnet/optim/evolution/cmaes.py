"""`CMAES`: the covariance matrix adaptation evolution strategy; a generation is a compiled step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops.state import Variable
from staticnet.optim.evolution.bounds import Bounds
from staticnet.optim.evolution.generation import State
from staticnet.optim.evolution.rates import (
    Rates,
    default_popsize,
    full_rates,
    separable_rates,
)
from staticnet.optim.evolution.restarts import Doubling, Interlaced, Restarts
from staticnet.optim.evolution.search import Search
from staticnet.optim.evolution.strategy import LEAST_POPSIZE, Array, Strategy


class CMAES(Strategy[Search]):
    """Minimises f without its derivatives: draws a population, and learns from the better half.

    x ~ N(m, sigma² C); m moves to the weighted mean of the better half, sigma grows while the steps
    go one way, and C learns the directions that were good (Hansen and Ostermeier 2001; the
    constants are those of Hansen, "The CMA evolution strategy: a tutorial", 2016).

    sigma: the first standard deviation, a third of how far the optimum may be
    popsize: points a generation; 4 + ⌊3 ln n⌋ by default
    separable: C is diagonal: for hundreds of variables and more
    active: directions that were bad are unlearned (negative weights); not if separable
    bounds: (low, high), numbers or arrays [n]; f is asked within them alone
    restarts: runs after the first, each with twice the population; with `bipop`, small ones between

        es = sn.optim.CMAES(0.5)
        step = es.minimize(lambda x: sn.sum(x * x), np.ones(10))
        values = step.run(200)
        es.best.value, es.best_value.value

    `mean`, `sigma`, `best`, `best_value`, `evaluations`, `population` and `values` are variables
    after `minimize`: their `.value` is what the last generation made of them.
    """

    def __init__(
        self,
        sigma: float,
        popsize: int | None = None,
        seed: int = 0,
        separable: bool = False,
        restarts: int = 0,
        *,
        active: bool = True,
        bounds: Any = None,
        bipop: bool = False,
    ) -> None:
        super().__init__(sigma, popsize, seed, bounds)
        if isinstance(restarts, bool) or not isinstance(restarts, int) or restarts < 0:
            raise ArgumentError(f"CMAES: restarts must be 0 or more, not {restarts!r:.60}")
        self.separable, self.active, self.bipop = bool(separable), bool(active), bool(bipop)
        self.restarts = restarts

    def __repr__(self) -> str:
        return (
            f"CMAES({self._sigma!r}, popsize={self.popsize}, seed={self.seed}, "
            f"separable={self.separable}, restarts={self.restarts})"
        )

    def _begin(
        self, f: Callable[[Any], Any], start: Array, bounds: Bounds | None, device: str
    ) -> Search:
        popsize = self.popsize or max(LEAST_POPSIZE, default_popsize(len(start)))
        return Search(
            f,
            State.begin(start, self._sigma, self._rates(len(start), popsize), self.separable),
            partial(self._rates, len(start)),
            popsize=popsize,
            sigma=self._sigma,
            seed=self.seed,
            device=device,
            bounds=bounds,
            restarts=self._plans(popsize),
            left=self.restarts,
        )

    def _rates(self, n: int, popsize: int) -> Rates:
        if self.separable:
            return separable_rates(n, popsize)
        return full_rates(n, popsize, self.active)

    def _plans(self, popsize: int) -> Restarts:
        if self.bipop:
            return Interlaced(popsize, np.random.default_rng(self.seed))
        return Doubling(popsize)

    @property
    def sigma(self) -> Variable:
        """The step size: points have the covariance sigma² C.  []"""
        return self._of_state("sigma")
