"""The weights and learning rates of CMA-ES: Hansen, "The CMA evolution strategy: a tutorial", 2016.

The numbers of equations are that paper's. The separable ones are of Ros and Hansen, "A simple
modification in CMA-ES achieving linear time and space complexity", 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rates:
    """What `n` variables and a population of `popsize` decide. The `mu` best are the parents.

    weights: [popsize], for the best first; those of the worse half are negative, or 0
    """

    n: int
    popsize: int
    mu: int
    mu_eff: float
    weights: Array
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float

    @property
    def chi(self) -> float:
        """The expected length of n standard normal numbers, approximately."""
        n = self.n
        return math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))

    @property
    def decomposed(self) -> bool:
        """Whether C changes so much in a generation that it is decomposed anew after each."""
        return 20 * self.n * (self.c_1 + self.c_mu) > 1


def default_popsize(n: int) -> int:
    """4 + ⌊3 ln n⌋, equation 48."""
    return 4 + math.floor(3 * math.log(n))


def full_rates(n: int, popsize: int, active: bool) -> Rates:
    """Those of a full covariance matrix; if `active`, the worse half has negative weights."""
    ranks = np.arange(1, popsize + 1)
    raw = np.log((popsize + 1) / 2) - np.log(ranks)  # equation 49
    mu = popsize // 2
    mu_eff = _effective(raw[:mu])
    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)
    c_mu = min(1 - c_1 - 1e-8, 2 * (mu_eff - 2 + 1 / mu_eff) / ((n + 2) ** 2 + mu_eff))
    least = min(
        1 + c_1 / c_mu,
        1 + 2 * _effective(raw[mu:]) / (mu_eff + 2),
        (1 - c_1 - c_mu) / (n * c_mu),
    )  # equations 50 to 52
    negative = least if active else 0.0
    weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), negative * raw / -raw[raw < 0].sum())
    c_c = (4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n)
    c_sigma = (mu_eff + 2) / (n + mu_eff + 5)
    return Rates(n, popsize, mu, mu_eff, weights, c_sigma, _damping(c_sigma, mu_eff, n), c_c, c_1,
                 c_mu)  # fmt: skip


def separable_rates(n: int, popsize: int) -> Rates:
    """Those of a diagonal matrix, which has fewer numbers to learn and learns them faster."""
    mu = popsize // 2
    raw = np.log(mu + 1) - np.log(np.arange(1, mu + 1))
    weights = np.concatenate([raw / raw.sum(), np.zeros(popsize - mu)])
    mu_eff = _effective(raw)
    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)
    of_rank = min(1.0, (2 * mu_eff - 1) / ((n + 2) ** 2 + mu_eff))
    c_mu = (n + 2) / 3 * (2 / mu_eff / (n + math.sqrt(2)) ** 2 + (1 - 1 / mu_eff) * of_rank)
    c_sigma = (mu_eff + 2) / (n + mu_eff + 3)
    d_sigma = _damping(c_sigma, mu_eff, n)
    return Rates(n, popsize, mu, mu_eff, weights, c_sigma, d_sigma, 4 / (n + 4), c_1, c_mu)


def _effective(weights: Array) -> float:
    """(Σ w)² / Σ w²: of how many equal ones they are worth."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _damping(c_sigma: float, mu_eff: float, n: int) -> float:
    return 1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma
