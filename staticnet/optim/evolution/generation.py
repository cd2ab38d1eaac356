"""One generation of CMA-ES as a graph: draw, evaluate, rank, and learn mean, step and covariance.

Numbers of equations are those of Hansen, "The CMA evolution strategy: a tutorial", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from staticnet.ops import random
from staticnet.ops.arithmetic import abs, minimum
from staticnet.ops.arithmetic import pow as power
from staticnet.ops.movement import stack
from staticnet.ops.reduction import any as any_of
from staticnet.ops.reduction import max as max_of
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import sum as sum_of
from staticnet.ops.sorting import argsort
from staticnet.ops.state import Variable
from staticnet.ops.transcendental import exp, sqrt
from staticnet.optim.evolution.bounds import Bounds
from staticnet.optim.evolution.rates import Rates
from staticnet.optim.evolution.spread import LEAST, Extent, Learned, Spread, begin, faded, root
from staticnet.optim.evolution.strategy import Seen, namer, values_at

Array = np.ndarray[Any, Any]
LARGEST_STEP = 1e32


@dataclass(frozen=True)
class State(Seen):
    """What a search has learned, and what it drew last, in variables of one dtype.

    The points are drawn about `center` with the covariance sigma² C; C is in `spread`.
    center: [n], sigma: []
    """

    center: Variable
    sigma: Variable
    spread: Spread
    path_sigma: Variable
    path_c: Variable
    generation: Variable

    @classmethod
    def begin(cls, start: Array, sigma: float, rates: Rates, separable: bool) -> State:
        """The state before the first generation of a search from `start`."""
        n, dtype = len(start), start.dtype
        new = namer("cmaes", dtype)
        return cls(
            **Seen.nothing(new, start, rates.popsize),
            center=new("center", start),
            sigma=new("sigma", sigma),
            spread=begin(rates, dtype, separable),
            path_sigma=new("path_sigma", np.zeros(n)),
            path_c=new("path_c", np.zeros(n)),
            generation=new("generation", 0, np.int64),
        )

    def variables(self) -> dict[str, Variable]:
        """Those by name that outlast a run: all but the spread's."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: each for name, each in named.items() if isinstance(each, Variable)}


def generation(
    f: Callable[[Any], Any], state: State, rates: Rates, seed: int, bounds: Bounds | None
) -> tuple[list[Any], dict[Variable, Any]]:
    """What a generation tells, [its best value, `told`], and the updates of the state."""
    key = random.key(seed, state.draws)
    z = random.normal(key, (rates.popsize, rates.n))  # 24 bits are enough to draw with
    z = astype(z, state.sigma.dtype)
    y = state.spread.draw(z)
    x = state.center + state.sigma * y
    points = x if bounds is None else bounds.within(x)
    values = values_at("CMAES", f, points)
    order = argsort(values)
    ranked = values[order]
    updates, extent = _learn(state, rates, z[order], y[order])
    center = updates[state.center]
    updates |= state.after(points, values, order[0])
    updates[state.mean] = center if bounds is None else bounds.within(center)
    return [ranked[0], _told(state, updates, extent, ranked)], updates


def _learn(state: State, rates: Rates, z: Any, y: Any) -> tuple[dict[Variable, Any], Extent]:
    """The distribution after a generation of steps y = A z, the best first.  each: [popsize, n]"""
    dtype = state.sigma.dtype
    weights = rates.weights.astype(dtype)
    parents = weights[: rates.mu]
    step, white = parents @ y[: rates.mu], parents @ z[: rates.mu]  # equation 41
    path_sigma = faded(state.path_sigma, rates.c_sigma, rates.mu_eff, state.spread.turned(white))
    length = sqrt(sum_of(path_sigma * path_sigma))
    growth = exp(rates.c_sigma / rates.d_sigma * (length / rates.chi - 1))
    number = state.generation + 1
    filled = sqrt(1 - power(1 - rates.c_sigma, astype(2 * (number + 1), dtype)))
    calm = astype(length / filled < (1.4 + 2 / (rates.n + 1)) * rates.chi, dtype)
    path_c = faded(state.path_c, rates.c_c, rates.mu_eff, calm * step)
    lost = (1 - calm) * rates.c_c * (2 - rates.c_c)
    kept = 1 + rates.c_1 * lost - rates.c_1 - rates.c_mu * float(rates.weights.sum())
    lengths = sum_of(z * z, axis=1)
    shares = where(weights >= 0, weights, weights * rates.n / (lengths + LEAST))  # equation 46
    learned = Learned(rates, z, y, rates.c_mu * shares, path_c, calm * white, kept, number)
    updates, extent = state.spread.learn(learned)
    updates |= {
        state.center: state.center + state.sigma * step,
        state.sigma: minimum(state.sigma * growth, LARGEST_STEP),
        state.path_sigma: path_sigma,
        state.path_c: path_c,
        state.generation: number,
    }
    return updates, extent


def _told(state: State, updates: dict[Variable, Any], extent: Extent, ranked: Any) -> Any:
    """What decides whether to stop, in the order of `stopping.Told`.  -> [8]"""
    sigma, center = updates[state.sigma], updates[state.center]
    deviations = sigma * root(extent.variances)
    finite = where(ranked < math.inf, ranked, -math.inf)
    still = any_of(center == center + 0.2 * deviations)
    if extent.axis is not None:
        still = still | ~any_of(center != center + 0.1 * sigma * extent.axis)
    return stack(
        [
            ranked[0],
            ranked[ranked.shape[0] // 2],
            max_of(finite),
            max_of(deviations),
            max_of(abs(sigma * updates[state.path_c])),
            extent.longest / extent.shortest,
            sigma / extent.longest,
            astype(still, sigma.dtype),
        ]
    )
