"""`DE`: differential evolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ops import random
from staticnet.ops.arithmetic import maximum, minimum
from staticnet.ops.creation import arange
from staticnet.ops.reduction import argmin
from staticnet.ops.reduction import mean as mean_of
from staticnet.ops.selection import astype, where
from staticnet.ops.state import Variable
from staticnet.optim.evolution.bounds import Bounds
from staticnet.optim.evolution.generations import Generations
from staticnet.optim.evolution.strategy import (
    LEAST_POPSIZE,
    Seen,
    Strategy,
    namer,
    positive,
    values_at,
)

Array = np.ndarray[Any, Any]
EACH, MOST = 10, 100  # members for a variable, and in all, by default


@dataclass(frozen=True)
class State(Seen):
    """What a search keeps: each member's place, and its value.  [popsize, n], [popsize]"""

    members: Variable
    reached: Variable


class DE(Strategy[Generations]):
    """Minimises f without its derivatives: members of a population move by others' differences.

    For each member x a trial takes the coordinates of a + weight (b - c), of three other members
    drawn, each with the probability `crossover`, one at least, and the rest of x; it replaces x if
    it is no worse (Storn and Price, "Differential evolution", 1997: rand/1/bin).

    sigma: the first members are drawn from N(x0, sigma²); x0 is one of them
    popsize: members; 10 n, at most 100, by default
    weight: of the difference, between 0 and 2
    crossover: the probability of a coordinate to be changed
    bounds: (low, high), numbers or arrays [n]; f is asked within them alone

        de = sn.optim.DE(2.0, bounds=(-5, 5))
        step = de.minimize(lambda x: sn.sum(x * x - 10 * sn.cos(2 * np.pi * x) + 10), np.ones(5))
        values = step.run(500)
        de.best.value, de.best_value.value

    The first generation asks for the members themselves. `mean`, `best`, `best_value`,
    `evaluations`, `population` and `values` are variables after `minimize`: the last two are of the
    trials; a generation's best value is of the members.

    Raises:
        ArgumentError: if sigma or the weight is not positive, popsize is less than 4, or the
            crossover is no probability.
    """

    def __init__(
        self,
        sigma: float,
        popsize: int | None = None,
        seed: int = 0,
        *,
        weight: float = 0.8,
        crossover: float = 0.9,
        bounds: Any = None,
    ) -> None:
        super().__init__(sigma, popsize, seed, bounds)
        self.weight = positive("DE", "weight", weight)
        if self.weight > 2:
            raise ArgumentError(f"DE: weight must be at most 2, not {weight}")
        self.crossover = positive("DE", "crossover", crossover)
        if self.crossover > 1:
            raise ArgumentError(f"DE: crossover is a probability, not {crossover}")

    def __repr__(self) -> str:
        return (
            f"DE({self._sigma!r}, popsize={self.popsize}, seed={self.seed}, "
            f"weight={self.weight}, crossover={self.crossover})"
        )

    def _begin(
        self, f: Callable[[Any], Any], start: Array, bounds: Bounds | None, device: str
    ) -> Generations:
        state = self._state(start, self.popsize or max(LEAST_POPSIZE, min(EACH * len(start), MOST)))
        best, updates = self._generation(f, state, bounds)
        return Generations(state, best, updates, device)

    def _state(self, start: Array, popsize: int) -> State:
        named = namer("de", start.dtype)
        drawn = np.random.default_rng(self.seed).standard_normal((popsize, len(start)))
        drawn[0] = 0
        return State(
            **Seen.nothing(named, start, popsize),
            members=named("members", start + self._sigma * drawn),
            reached=named("reached", np.full(popsize, np.inf)),
        )

    def _generation(
        self, f: Callable[[Any], Any], state: State, bounds: Bounds | None
    ) -> tuple[Any, dict[Variable, Any]]:
        """The best value of the members, and the updates of the state."""
        members = state.members
        trials = where(state.draws == 0, members, self._trials(state))
        points = trials if bounds is None else bounds.within(trials)
        values = values_at("DE", f, points)
        better = (values <= state.reached) & (values < np.inf)  # NaN is infinite here
        kept = where(better[:, None], trials, members)
        reached = minimum(values, state.reached)
        updates = state.after(points, values, argmin(values))
        updates |= {state.members: kept, state.reached: reached}
        updates[state.mean] = mean_of(kept if bounds is None else bounds.within(kept), axis=0)
        return updates[state.best_value], updates

    def _trials(self, state: State) -> Any:
        """A trial for each member.  -> [popsize, n]"""
        members = state.members
        popsize, n = map(int, members.shape)
        others, crossed, sure = random.split(random.key(self.seed, state.draws), 3)
        a, b, c = (members[each] for each in _three_others(others, popsize))
        changed = random.uniform(crossed, (popsize, n)) < self.crossover
        changed = changed | (arange(n) == random.randint(sure, 0, n, (popsize, 1)))
        return where(changed, a + self.weight * (b - c), members)


def _three_others(key: Any, popsize: int) -> list[Any]:
    """For each member three others, all different.  -> three of int64 [popsize]

    They are drawn as distances around the ring of members, each past those before it.
    """
    keys = random.split(key, 3)
    one, two, three = (
        1 + random.randint(each, 0, popsize - 1 - k, (popsize,)) for k, each in enumerate(keys)
    )
    two = two + astype(two >= one, two.dtype)
    for taken in (minimum(one, two), maximum(one, two)):
        three = three + astype(three >= taken, three.dtype)
    return [(arange(popsize) + distance) % popsize for distance in (one, two, three)]
