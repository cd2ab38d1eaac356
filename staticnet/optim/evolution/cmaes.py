"""`CMAES`: the covariance matrix adaptation evolution strategy; a generation is a compiled step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ops.arguments import as_size
from staticnet.ops.promotion import as_array
from staticnet.ops.random import as_seed
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

Array = np.ndarray[Any, Any]
LEAST_POPSIZE = 4


class CMAES:
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
        number = isinstance(sigma, int | float | np.number) and not isinstance(sigma, bool)
        if not number or not 0 < sigma < np.inf:
            raise ArgumentError(f"CMAES: sigma must be a positive number, not {sigma!r:.60}")
        if popsize is not None and as_size(popsize, "CMAES: popsize") < LEAST_POPSIZE:
            raise ArgumentError(f"CMAES: popsize must be at least {LEAST_POPSIZE}, not {popsize}")
        if isinstance(restarts, bool) or not isinstance(restarts, int) or restarts < 0:
            raise ArgumentError(f"CMAES: restarts must be 0 or more, not {restarts!r:.60}")
        self.popsize, self.seed, self.separable = popsize, as_seed(seed), bool(separable)
        self.restarts, self.active, self.bounds = restarts, bool(active), bounds
        self.bipop = bool(bipop)
        self._sigma = float(sigma)
        self._search: Search | None = None

    def __repr__(self) -> str:
        return (
            f"CMAES({self._sigma!r}, popsize={self.popsize}, seed={self.seed}, "
            f"separable={self.separable}, restarts={self.restarts})"
        )

    def minimize(self, f: Callable[[Any], Any], x0: Any, device: str = "auto") -> Search:
        """The step that makes one generation of the search for the least f(x), from x0 on.

        All is computed in the dtype of x0; integers begin as float64. What f gives that is NaN is
        worse than any number.

        f: a node [n] -> a node [];  x0: [n]

        Raises:
            ShapeError: if x0 is no vector, or f does not give one number.
            DTypeError: if x0 has no numbers.
            ArgumentError: if f is no function, or x0 is not finite or not within the bounds.
        """
        if not callable(f):
            raise ArgumentError(f"CMAES: minimize takes a function of a point, not {f!r:.60}")
        start = _start(x0)
        popsize = self.popsize or max(LEAST_POPSIZE, default_popsize(len(start)))
        self._search = Search(
            f,
            State.begin(start, self._sigma, self._rates(len(start), popsize), self.separable),
            partial(self._rates, len(start)),
            popsize=popsize,
            sigma=self._sigma,
            seed=self.seed,
            device=device,
            bounds=None if self.bounds is None else Bounds.of(self.bounds, start),
            restarts=self._plans(popsize),
            left=self.restarts,
        )
        return self._search

    def _rates(self, n: int, popsize: int) -> Rates:
        if self.separable:
            return separable_rates(n, popsize)
        return full_rates(n, popsize, self.active)

    def _plans(self, popsize: int) -> Restarts:
        if self.bipop:
            return Interlaced(popsize, np.random.default_rng(self.seed))
        return Doubling(popsize)

    def _of_state(self, name: str) -> Variable:
        if self._search is None:
            raise ArgumentError(f"CMAES: there is no {name} yet; call minimize(f, x0) first")
        found: Variable = getattr(self._search.state, name)
        return found

    @property
    def mean(self) -> Variable:
        """The mean of the distribution, within the bounds.  [n]"""
        return self._of_state("mean")

    @property
    def sigma(self) -> Variable:
        """The step size: points have the covariance sigma² C.  []"""
        return self._of_state("sigma")

    @property
    def best(self) -> Variable:
        """The best point of all generations.  [n]"""
        return self._of_state("best")

    @property
    def best_value(self) -> Variable:
        """The least value of all generations.  []"""
        return self._of_state("best_value")

    @property
    def evaluations(self) -> Variable:
        """How many points f was asked for.  int64 []"""
        return self._of_state("evaluations")

    @property
    def population(self) -> Variable:
        """The points of the last generation, in the order of their drawing.  [popsize, n]"""
        return self._of_state("population")

    @property
    def values(self) -> Variable:
        """The values of the last generation's points.  [popsize]"""
        return self._of_state("values")


def _start(x0: Any) -> Array:
    """Where the search begins, as a vector of floats."""
    given = np.asarray(x0) if isinstance(x0, list | tuple) else as_array(x0)
    if given.dtype.kind not in "iuf":
        raise DTypeError(f"CMAES: x0 has numbers, not {given.dtype}")
    start = given if given.dtype in (np.float32, np.float64) else given.astype(np.float64)
    if start.ndim != 1 or not start.size:
        raise ShapeError(
            f"CMAES: x0 is a vector [n] of one or more numbers, not {list(start.shape)}"
        )
    wrong = np.flatnonzero(~np.isfinite(start))
    if wrong.size:
        raise ArgumentError(
            f"CMAES: x0 must be finite, but variable {wrong[0]} is {start[wrong[0]]}"
        )
    return start
