"""How large the next run's population is, and how wide it begins: IPOP and BIPOP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Run:
    """The plan of one run: its population, sigma beside the first one's, and longest time."""

    popsize: int
    widens: float = 1.0
    generations: float | None = None
    counts: bool = True


class Restarts(Protocol):
    """Plans runs, told what the ones before have cost."""

    def next(self, evaluations: int) -> Run:
        """The plan of the next run; `evaluations` are those of the run before."""


@dataclass
class Doubling:
    """Each run has twice the population: Auger and Hansen, "A restart CMA evolution strategy with
    increasing population size", 2005."""

    popsize: int

    def next(self, evaluations: int) -> Run:
        """The plan of the next run."""
        self.popsize *= 2
        return Run(self.popsize)


@dataclass
class Interlaced:
    """Doubling, and while they have cost less, runs of small populations, narrower and shorter:
    Hansen, "Benchmarking a bi-population CMA-ES on the BBOB-2009 function testbed", 2009."""

    popsize: int
    draws: np.random.Generator
    doublings: int = 0
    small: int = 0
    large: int = 0
    was_large: bool = False

    def next(self, evaluations: int) -> Run:
        """The plan of the next run."""
        if self.was_large:
            self.large += evaluations
        else:
            self.small += evaluations
        self.was_large = self.small >= max(1, self.large)
        if self.was_large:
            self.doublings += 1
            return Run(self.popsize * 2**self.doublings)
        times = 2.0**self.doublings
        popsize = int(self.popsize * times ** (self.draws.uniform() ** 2))
        return Run(popsize, 0.01 ** self.draws.uniform(), 0.5 * self.large / popsize, counts=False)
