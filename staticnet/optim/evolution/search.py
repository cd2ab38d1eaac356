"""A search that runs: generations by one compiled step, begun anew where a run is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from staticnet.function import Function, function
from staticnet.ops.arguments import as_size
from staticnet.optim.evolution.bounds import Bounds
from staticnet.optim.evolution.generation import State, generation
from staticnet.optim.evolution.generations import on_host
from staticnet.optim.evolution.rates import Rates
from staticnet.optim.evolution.restarts import Restarts
from staticnet.optim.evolution.spread import Separable
from staticnet.optim.evolution.stopping import Stopping, Told, longest_run

Array = np.ndarray[Any, Any]
OVER_ALL_RUNS = ("evaluations", "draws", "best", "best_value")
OF_A_RUN = ("population", "values")


class Search:
    """Generations of one search: `step()` makes one, and `step.run(n)` n of them.

    `function` is the compiled generation, `state` its variables; `stopped` names the criteria that
    held after the last one (see `Stopping`). While there are restarts left, a run that is over is
    followed by another one, from the start.
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        state: State,
        rates_of: Callable[[int], Rates],
        *,
        popsize: int,
        sigma: float,
        seed: int,
        device: str,
        bounds: Bounds | None = None,
        restarts: Restarts | None = None,
        left: int = 0,
    ) -> None:
        self.state = state
        self.restarts_left = left
        self._f, self._rates_of, self._sigma = f, rates_of, sigma
        self._seed, self._device, self._bounds = seed, device, bounds
        self._restarts = restarts
        self._start = state.center.value
        self._begun = 0
        self._begin(popsize, sigma, None)

    def _begin(self, popsize: int, sigma: float, generations: float | None) -> None:
        rates = self._rates_of(popsize)
        longest = longest_run(rates)
        self._stopping = Stopping(rates, sigma, min(longest, generations or longest))
        outputs, updates = generation(self._f, self.state, rates, self._seed, self._bounds)
        self.function: Function = function([], outputs, updates=updates, device=self._device)

    @property
    def stopped(self) -> tuple[str, ...]:
        """The names of the criteria by which the run is over; none while it is not."""
        return self._stopping.reasons

    @property
    def rates(self) -> Rates:
        """The weights and learning rates of the present run."""
        return self._stopping.rates

    @property
    def popsize(self) -> int:
        """How many points a generation of the present run has."""
        return self.rates.popsize

    def __call__(self) -> Array:
        """One generation.  -> its best value: []"""
        self._begin_anew()
        best, told = self.function()
        self._stopping.see(_row(on_host(told)))
        return on_host(best)

    def run(self, generations: int) -> Array:
        """So many generations.  -> the best value of each: [generations]

        Raises:
            ArgumentError: if that is no positive int.
        """
        count = as_size(generations, "run: generations")
        if self.restarts_left:  # whether to restart is looked at after each
            return np.stack([self() for _ in range(count)])
        best, told = self.function.run(count)
        for row in on_host(told):
            self._stopping.see(_row(row))
        return on_host(best)

    def _begin_anew(self) -> None:
        """Another run, where one is over and there are restarts left."""
        if not self.stopped or not self.restarts_left or self._restarts is None:
            return
        evaluations = int(self.state.evaluations.value)
        plan = self._restarts.next(evaluations - self._begun)
        self.restarts_left -= plan.counts
        self._begun = evaluations
        sigma = self._sigma * plan.widens
        rates, separable = self._rates_of(plan.popsize), isinstance(self.state.spread, Separable)
        self._forget(State.begin(self._start, sigma, rates, separable))
        self._begin(plan.popsize, sigma, plan.generations)

    def _forget(self, fresh: State) -> None:
        """Set all back to what it is in `fresh` but for what counts over all runs."""
        kept = self.state.variables()
        for name, variable in fresh.variables().items():
            if name in OF_A_RUN:
                kept[name] = variable
            elif name not in OVER_ALL_RUNS:
                kept[name].value = variable.value
        self.state = replace(self.state, spread=fresh.spread, **kept)


def _row(told: Any) -> Told:
    return Told(*map(float, told))
