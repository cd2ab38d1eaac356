"""One generation of CMA-ES as a graph: draw, evaluate, rank, and learn mean, step and covariance.

Numbers of equations are those of Hansen, "The CMA evolution strategy: a tutorial", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from staticnet.control.cond import cond
from staticnet.control.vmap import vmap
from staticnet.errors import ShapeError
from staticnet.ir.location import written_at
from staticnet.linalg.decompositions import eigh
from staticnet.ops import random
from staticnet.ops.arithmetic import abs, minimum
from staticnet.ops.arithmetic import pow as power
from staticnet.ops.comparison import isnan
from staticnet.ops.diagonals import diagonal
from staticnet.ops.movement import stack
from staticnet.ops.reduction import any as any_of
from staticnet.ops.reduction import max as max_of
from staticnet.ops.reduction import min as min_of
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import sum as sum_of
from staticnet.ops.sorting import argsort
from staticnet.ops.state import Variable, variable
from staticnet.ops.transcendental import exp, sqrt
from staticnet.optim.evolution.bounds import Bounds
from staticnet.optim.evolution.rates import Rates

Array = np.ndarray[Any, Any]
LARGEST_STEP = 1e32
LEAST = 1e-8  # for an eigenvalue that rounding made negative


@dataclass(frozen=True)
class State:
    """What a search has learned, and what it drew last, in variables of one dtype.

    The points are drawn about `center` with the covariance sigma² C, C = A diag(s²) A'. A
    separable search has the diagonal of C alone, and no axes A.
    center: [n], sigma: [], covariance: [n, n] or [n], axes: [n, n] or None, scales s: [n]
    """

    mean: Variable
    center: Variable
    sigma: Variable
    covariance: Variable
    axes: Variable | None
    scales: Variable
    path_sigma: Variable
    path_c: Variable
    generation: Variable
    evaluations: Variable
    draws: Variable
    best: Variable
    best_value: Variable
    population: Variable
    values: Variable

    @classmethod
    def begin(cls, start: Array, sigma: float, popsize: int, separable: bool) -> State:
        """The state before the first generation of a search from `start`."""
        n, dtype = len(start), start.dtype

        def new(name: str, value: Any, of: Any = dtype) -> Variable:
            return variable(np.asarray(value, of), f"cmaes.{name}")

        whole = np.eye(n, dtype=dtype)
        return cls(
            mean=new("mean", start),
            center=new("center", start),
            sigma=new("sigma", sigma),
            covariance=new("covariance", np.ones(n) if separable else whole),
            axes=None if separable else new("axes", whole),
            scales=new("scales", np.ones(n)),
            path_sigma=new("path_sigma", np.zeros(n)),
            path_c=new("path_c", np.zeros(n)),
            generation=new("generation", 0, np.int64),
            evaluations=new("evaluations", 0, np.int64),
            draws=new("draws", 0, np.int64),
            best=new("best", start),
            best_value=new("best_value", np.inf),
            population=new("population", np.tile(start, (popsize, 1))),
            values=new("values", np.full(popsize, np.inf)),
        )

    def variables(self) -> dict[str, Variable]:
        """Those that there are, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: each for name, each in named.items() if each is not None}


def generation(
    f: Callable[[Any], Any], state: State, rates: Rates, seed: int, bounds: Bounds | None
) -> tuple[list[Any], dict[Variable, Any]]:
    """What a generation tells, [its best value, `told`], and the updates of the state."""
    key = random.key(seed, state.draws)
    z = random.normal(key, (rates.popsize, rates.n))  # 24 bits are enough to draw with
    y = _along(state, astype(z, state.sigma.dtype) * state.scales)
    x = state.center + state.sigma * y
    points = x if bounds is None else bounds.within(x)
    values = _values(f, points)
    order = argsort(values)
    ranked, y = values[order], y[order]
    updates = _learn(state, rates, y)
    better = ranked[0] < state.best_value
    center = updates[state.center]
    updates |= {
        state.mean: center if bounds is None else bounds.within(center),
        state.draws: state.draws + 1,
        state.evaluations: state.evaluations + rates.popsize,
        state.best: where(better, points[order[0]], state.best),
        state.best_value: minimum(ranked[0], state.best_value),
        state.population: points,
        state.values: values,
    }
    return [ranked[0], _told(state, updates, ranked)], updates


def _values(f: Callable[[Any], Any], points: Any) -> Any:
    """The function's value at each point; what is no number is worse than any.

    Raises:
        ShapeError: if it does not give one number for a point.
    """
    values = vmap(f)(points)
    if getattr(values, "shape", None) != points.shape[:1]:
        given = getattr(values, "type", values)
        raise ShapeError(
            f"CMAES: the function ({written_at(f)}) must give one number for a point [n], not "
            f"{given!s:.60} for points {points.type}"
        )
    values = astype(values, points.dtype)
    return where(isnan(values), math.inf, values)


def _along(state: State, rows: Any) -> Any:
    """Rows in the variables' coordinates, of rows in those of the axes."""
    return rows if state.axes is None else rows @ state.axes.mT


def _whitened(state: State, rows: Any) -> Any:
    """Rows of standard normal numbers, in the axes' coordinates, of rows drawn with C."""
    return (rows if state.axes is None else rows @ state.axes) / state.scales


def _learn(state: State, rates: Rates, y: Any) -> dict[Variable, Any]:
    """The distribution after a generation of steps y, the best first.  y: [popsize, n]"""
    dtype = state.sigma.dtype
    weights = rates.weights.astype(dtype)
    step = weights[: rates.mu] @ y[: rates.mu]  # equation 41
    white = _whitened(state, y)
    mean_white = _along(state, weights[: rates.mu] @ white[: rates.mu])
    path_sigma = _path(state.path_sigma, rates.c_sigma, rates.mu_eff, mean_white)
    length = sqrt(sum_of(path_sigma * path_sigma))
    growth = exp(rates.c_sigma / rates.d_sigma * (length / rates.chi - 1))
    number = state.generation + 1
    filled = sqrt(1 - power(1 - rates.c_sigma, astype(2 * (number + 1), dtype)))
    calm = astype(length / filled < (1.4 + 2 / (rates.n + 1)) * rates.chi, dtype)
    path_c = _path(state.path_c, rates.c_c, rates.mu_eff, calm * step)
    lost = (1 - calm) * rates.c_c * (2 - rates.c_c)
    kept = 1 + rates.c_1 * lost - rates.c_1 - rates.c_mu * float(rates.weights.sum())
    lengths = sum_of(white * white, axis=1)
    shares = where(weights >= 0, weights, weights * rates.n / (lengths + LEAST))  # equation 46
    if state.axes is None:
        learned = rates.c_1 * path_c * path_c + rates.c_mu * (shares @ (y * y))
    else:
        outer = path_c[:, None] * path_c[None, :]
        learned = rates.c_1 * outer + rates.c_mu * ((y.mT * shares) @ y)
    covariance = kept * state.covariance + learned  # equation 47
    return {
        state.center: state.center + state.sigma * step,
        state.sigma: minimum(state.sigma * growth, LARGEST_STEP),
        state.path_sigma: path_sigma,
        state.path_c: path_c,
        state.generation: number,
        state.covariance: covariance,
        **_axes(state, rates, covariance, number),
    }


def _path(path: Any, rate: float, mu_eff: float, step: Any) -> Any:
    """An evolution path: a mean of steps that fades, of variance 1 where they are random."""
    return (1 - rate) * path + math.sqrt(rate * (2 - rate) * mu_eff) * step


def _axes(state: State, rates: Rates, covariance: Any, number: Any) -> dict[Variable, Any]:
    """The axes and scales of a covariance; of a large one not after every generation."""
    if state.axes is None:
        return {state.scales: _root(covariance)}

    def anew() -> tuple[Any, Any]:
        squares, axes = eigh(covariance)
        return axes, _root(squares)

    if rates.gap == 1:
        axes, scales = anew()
    else:
        old = (astype(state.axes, state.axes.dtype), astype(state.scales, state.scales.dtype))
        axes, scales = cond(number % rates.gap == 0, anew, lambda: old)
    return {state.axes: axes, state.scales: scales}


def _root(squares: Any) -> Any:
    return sqrt(where(squares > 0, squares, LEAST))


def _told(state: State, updates: dict[Variable, Any], ranked: Any) -> Any:
    """What decides whether to stop, in the order of `stopping.Told`.  -> [8]"""
    sigma, center = updates[state.sigma], updates[state.center]
    scales, covariance = updates[state.scales], updates[state.covariance]
    squares = covariance if state.axes is None else diagonal(covariance)
    deviations = sigma * _root(squares)
    finite = where(ranked < math.inf, ranked, -math.inf)
    still = any_of(center == center + 0.2 * deviations)
    if state.axes is not None:
        axis = updates[state.axes].mT[state.generation % center.shape[0]]
        long = scales[state.generation % center.shape[0]]
        still = still | ~any_of(center != center + 0.1 * sigma * long * axis)
    return stack(
        [
            ranked[0],
            ranked[ranked.shape[0] // 2],
            max_of(finite),
            max_of(deviations),
            max_of(abs(sigma * updates[state.path_c])),
            max_of(scales) / min_of(scales),
            sigma / max_of(scales),
            astype(still, sigma.dtype),
        ]
    )
