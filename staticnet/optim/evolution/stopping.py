"""When a search has come to its end: Hansen's criteria, as pycma has them, and their tolerances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from staticnet.optim.evolution.rates import Rates

Array = np.ndarray[Any, Any]
FLAT, SHORT = 1e-11, 1e-11  # spread of values, and of variables, that is none
FLAT_HISTORY, CONDITION = 1e-12, 1e14
FAR, CREEPS = 1e3, 1e20  # growth of the deviations, and of sigma beside the axes', that is too much
LEAST_HISTORY, LONGEST = 100, 20_000


class Told(NamedTuple):
    """What a generation tells of itself; values are of the population, from the best on."""

    best: float
    median: float
    worst: float
    deviation: float
    path: float
    elongation: float
    sigma: float
    still: float


@dataclass
class Stopping:
    """The criteria for one run from `sigma` on; `reasons` names those that hold now.

    `tolx`: the steps are below 1e-11. `tolfun`: so is the spread of the last values; `tolfunhist`:
    that of the last generations' best is below 1e-12. `tolfacupx`: a deviation has grown 1000
    times: sigma was far too small. `tolconditioncov`: the axes' squares differ by 1e14.
    `tolupsigma`: sigma grows and the axes shrink. `noeffect`: a fifth of a deviation does not
    change a variable. `tolstagnation`: the medians do not fall. `maxiter`: as it says.
    """

    rates: Rates
    sigma: float
    longest: float = 0
    generations: int = 0
    since_best: int = 0
    best: float = np.inf
    reasons: tuple[str, ...] = ()
    _best: list[float] = field(default_factory=list)
    _median: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.longest = self.longest or longest_run(self.rates)

    def see(self, told: Told) -> None:
        """Take in a generation."""
        self.generations += 1
        self.since_best = 0 if told.best < self.best else self.since_best + 1
        self.best = min(told.best, self.best)
        for history, value in ((self._best, told.best), (self._median, told.median)):
            history.append(value)
            del history[:-LONGEST]
        holds = self._of_values(told) | self._of_steps(told)
        self.reasons = tuple(name for name, does in holds.items() if does)

    def _of_values(self, told: Told) -> dict[str, bool]:
        rates, known = self.rates, len(self._best)
        recent = self._best[-(10 + int(30 * rates.n / rates.popsize)) :]
        spread = max(recent) - min(recent)
        return {
            "tolfun": told.worst - told.best < FLAT and spread < FLAT,
            "tolfunhist": known > 9 and spread < FLAT_HISTORY,
            "tolstagnation": self._stagnates(),
            "maxiter": self.generations >= self.longest,
        }

    def _stagnates(self) -> bool:
        rates, known = self.rates, len(self._best)
        tolerated = int(100 + 100 * rates.n**1.5 / rates.popsize)
        half = int(max(tolerated / 10, known / 10))
        early = self.generations <= rates.n * (5 + 100 / rates.popsize) or known <= LEAST_HISTORY
        if early or 2 * half >= known or self.since_best <= tolerated / 2:
            return False
        return all(
            np.median(each[-half:]) >= np.median(each[-2 * half : -half])
            for each in (self._best, self._median)
        )

    def _of_steps(self, told: Told) -> dict[str, bool]:
        return {
            "tolx": told.deviation < SHORT and told.path < SHORT,
            "tolfacupx": told.deviation > FAR * self.sigma,
            "tolconditioncov": told.elongation**2 > CONDITION,
            "tolupsigma": told.sigma > CREEPS * self.sigma,
            "noeffect": bool(told.still),
        }


def longest_run(rates: Rates) -> float:
    """Generations after which a run of this population is over."""
    return 100 + 150 * (rates.n + 3) ** 2 // rates.popsize**0.5
