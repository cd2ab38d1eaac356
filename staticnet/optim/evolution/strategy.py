"""What searches by populations share: their arguments, and what is known of a search that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from staticnet.control.vmap import vmap
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.location import written_at
from staticnet.ops.arguments import as_size
from staticnet.ops.arithmetic import minimum
from staticnet.ops.comparison import isnan
from staticnet.ops.promotion import as_array
from staticnet.ops.random import as_seed
from staticnet.ops.selection import astype, where
from staticnet.ops.state import Variable, variable
from staticnet.optim.evolution.bounds import Bounds

Array = np.ndarray[Any, Any]
LEAST_POPSIZE = 4


@dataclass(frozen=True)
class Seen:
    """What a search has asked for, in variables of one dtype.

    mean, best: [n], best_value: [], population: [popsize, n], values: [popsize]
    """

    mean: Variable
    evaluations: Variable
    draws: Variable
    best: Variable
    best_value: Variable
    population: Variable
    values: Variable

    @classmethod
    def nothing(cls, named: Callable[..., Variable], start: Array, popsize: int) -> dict[str, Any]:
        """The variables before the first generation, by name; `named` makes each."""
        return {
            "mean": named("mean", start),
            "evaluations": named("evaluations", 0, np.int64),
            "draws": named("draws", 0, np.int64),
            "best": named("best", start),
            "best_value": named("best_value", np.inf),
            "population": named("population", np.tile(start, (popsize, 1))),
            "values": named("values", np.full(popsize, np.inf)),
        }

    def after(self, points: Any, values: Any, first: Any) -> dict[Variable, Any]:
        """The updates, but the mean's, once points have got values, the least the one at `first`.

        points: [popsize, n], values: [popsize], first: []
        """
        least = values[first]
        return {
            self.draws: self.draws + 1,
            self.evaluations: self.evaluations + points.shape[0],
            self.best: where(least < self.best_value, points[first], self.best),
            self.best_value: minimum(least, self.best_value),
            self.population: points,
            self.values: values,
        }


def namer(prefix: str, dtype: Any) -> Callable[..., Variable]:
    """What makes variables of a search: of this dtype, if none is told."""

    def named(name: str, value: Any, of: Any = dtype) -> Variable:
        return variable(np.asarray(value, of), f"{prefix}.{name}", trainable=False)

    return named


class Running(Protocol):
    """A search that runs."""

    @property
    def state(self) -> Seen:
        """Its variables."""


R = TypeVar("R", bound=Running)


class Strategy(Generic[R]):
    """The arguments of a search, checked, and the variables of the one that was begun last."""

    def __init__(self, sigma: float, popsize: int | None, seed: int, bounds: Any) -> None:
        who = type(self).__name__
        self._sigma = positive(who, "sigma", sigma)
        if popsize is not None and as_size(popsize, f"{who}: popsize") < LEAST_POPSIZE:
            raise ArgumentError(f"{who}: popsize must be at least {LEAST_POPSIZE}, not {popsize}")
        self.popsize, self.seed, self.bounds = popsize, as_seed(seed), bounds
        self._search: R | None = None

    def minimize(self, f: Callable[[Any], Any], x0: Any, device: str = "auto") -> R:
        """The step that makes one generation of the search for the least f(x), from x0 on.

        All is computed in the dtype of x0, of normal numbers that are drawn in float32; integers
        begin as float64. What f gives that is NaN is worse than any number.

        f: a node [n] -> a node [];  x0: [n]

        Raises:
            ShapeError: if x0 is no vector, or f does not give one number.
            DTypeError: if x0 has no numbers.
            ArgumentError: if f is no function, or x0 is not finite or not within the bounds.
        """
        who = type(self).__name__
        if not callable(f):
            raise ArgumentError(f"{who}: minimize takes a function of a point, not {f!r:.60}")
        start = _start(who, x0)
        bounds = None if self.bounds is None else Bounds.of(who, self.bounds, start)
        self._search = self._begin(f, start, bounds, device)
        return self._search

    def _begin(
        self, f: Callable[[Any], Any], start: Array, bounds: Bounds | None, device: str
    ) -> R:
        raise NotImplementedError

    def _of_state(self, name: str) -> Variable:
        if self._search is None:
            who = type(self).__name__
            raise ArgumentError(f"{who}: there is no {name} yet; call minimize(f, x0) first")
        found: Variable = getattr(self._search.state, name)
        return found

    @property
    def mean(self) -> Variable:
        """The mean of what is drawn from, within the bounds.  [n]"""
        return self._of_state("mean")

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


def values_at(who: str, f: Callable[[Any], Any], points: Any) -> Any:
    """The function's value at each point; what is no number is worse than any.

    points: [popsize, n] -> [popsize]

    Raises:
        ShapeError: if it does not give one number for a point.
    """
    values = vmap(f)(points)
    if getattr(values, "shape", None) != points.shape[:1]:
        given = getattr(values, "type", values)
        raise ShapeError(
            f"{who}: the function ({written_at(f)}) must give one number for a point [n], not "
            f"{given!s:.60} for points {points.type}"
        )
    values = astype(values, points.dtype)
    return where(isnan(values), np.inf, values)


def positive(who: str, name: str, given: Any) -> float:
    """`given` as a float.

    Raises:
        ArgumentError: if it is no positive, finite number.
    """
    number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    if not number or not 0 < given < np.inf:
        raise ArgumentError(f"{who}: {name} must be a positive number, not {given!r:.60}")
    return float(given)


def _start(who: str, x0: Any) -> Array:
    """Where the search begins, as a vector of floats."""
    given = np.asarray(x0) if isinstance(x0, list | tuple) else as_array(x0)
    if given.dtype.kind not in "iuf":
        raise DTypeError(f"{who}: x0 has numbers, not {given.dtype}")
    start = given if given.dtype in (np.float32, np.float64) else given.astype(np.float64)
    if start.ndim != 1 or not start.size:
        raise ShapeError(
            f"{who}: x0 is a vector [n] of one or more numbers, not {list(start.shape)}"
        )
    wrong = np.flatnonzero(~np.isfinite(start))
    if wrong.size:
        raise ArgumentError(
            f"{who}: x0 must be finite, but variable {wrong[0]} is {start[wrong[0]]}"
        )
    return start
