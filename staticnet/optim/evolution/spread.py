"""How the points of a search spread: their covariance C, as it is drawn by and learned.

Numbers of equations are those of Hansen, "The CMA evolution strategy: a tutorial", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from staticnet.control.cond import cond
from staticnet.linalg.decompositions import cholesky, eigh, svdvals
from staticnet.linalg.diagonals import diagonal
from staticnet.linalg.systems import solve_triangular
from staticnet.ops.creation import eye
from staticnet.ops.movement import concat
from staticnet.ops.reduction import max as max_of
from staticnet.ops.reduction import min as min_of
from staticnet.ops.selection import where
from staticnet.ops.shape import sum as sum_of
from staticnet.ops.state import Variable, variable
from staticnet.ops.transcendental import sqrt
from staticnet.optim.evolution.rates import Rates

Array = np.ndarray[Any, Any]
LEAST = 1e-8  # for an eigenvalue that rounding made negative


@dataclass(frozen=True)
class Learned:
    """What a generation teaches: C' = kept C + Σ shares y yᵀ + c_1 path pathᵀ, equation 47.

    Its steps y = A z are in order, the best first, of standard normal z. The path has moved by
    A drift, beside what fades of it.
    z: [popsize, n], y: [popsize, n], shares: [popsize], path: [n], drift: [n], kept: []
    """

    rates: Rates
    z: Any
    y: Any
    shares: Any
    path: Any
    drift: Any
    kept: Any
    number: Any


@dataclass(frozen=True)
class Extent:
    """How far points spread: variances [n] along the coordinates, deviations along the axes, and
    the axis whose turn it is, as long as its deviation  [n]; a diagonal C has none of its own."""

    variances: Any
    longest: Any
    shortest: Any
    axis: Any = None


@dataclass(frozen=True)
class Spread:
    """A covariance in variables of one dtype."""

    def variables(self) -> list[Variable]:
        """All of them."""
        return [getattr(self, field.name) for field in fields(self)]

    def matrix(self) -> Array:
        """C as it is now.  [n, n]"""
        raise NotImplementedError

    def draw(self, z: Any) -> Any:
        """Rows with the covariance C, of standard normal ones.  z: [m, n] -> y: [m, n]"""
        raise NotImplementedError

    def turned(self, z: Any) -> Any:
        """A standard normal vector in the coordinates of the path of sigma.  [n] -> [n]"""
        return z

    def learn(self, learned: Learned) -> tuple[dict[Variable, Any], Extent]:
        """C after a generation, and how far it spreads then."""
        raise NotImplementedError


@dataclass(frozen=True)
class Separable(Spread):
    """C is diagonal.  covariance: [n], scales: [n], its roots"""

    covariance: Variable
    scales: Variable

    def matrix(self) -> Array:
        """C as it is now."""
        made: Array = np.diag(self.covariance.value)
        return made

    def draw(self, z: Any) -> Any:
        """Each coordinate by its own scale."""
        return z * self.scales

    def learn(self, learned: Learned) -> tuple[dict[Variable, Any], Extent]:
        """Equation 47 of the diagonal."""
        covariance = _variances(self.covariance, learned)
        scales = root(covariance)
        extent = Extent(covariance, max_of(scales), min_of(scales))
        return {self.covariance: covariance, self.scales: scales}, extent


@dataclass(frozen=True)
class Decomposed(Spread):
    """C = A diag(s²) Aᵀ, decomposed in each generation.  covariance, axes A: [n, n], scales: [n]"""

    covariance: Variable
    axes: Variable
    scales: Variable

    def matrix(self) -> Array:
        """C as it is now."""
        made: Array = self.covariance.value
        return made

    def draw(self, z: Any) -> Any:
        """Each axis by its scale."""
        return z * self.scales @ self.axes.mT

    def turned(self, z: Any) -> Any:
        """Those of the variables: C^(-1/2) y is A z."""
        return z @ self.axes.mT

    def learn(self, learned: Learned) -> tuple[dict[Variable, Any], Extent]:
        """Equation 47, and its axes."""
        y, path = learned.y, learned.path
        moved = learned.rates.c_1 * (path[:, None] * path[None, :]) + (y.mT * learned.shares) @ y
        covariance = learned.kept * self.covariance + moved
        squares, axes = eigh(covariance)
        scales = root(squares)
        turn = (learned.number - 1) % learned.rates.n
        axis = scales[turn] * axes.mT[turn]
        extent = Extent(diagonal(covariance), max_of(scales), min_of(scales), axis)
        return {self.covariance: covariance, self.axes: axes, self.scales: scales}, extent


@dataclass(frozen=True)
class Factored(Spread):
    """C = A Aᵀ without a decomposition: in each generation A is multiplied by the root of what is
    learned in the coordinates of z, the identity but for popsize + 1 directions.

    A C⁻¹ᐟ² turns slowly, and the path of sigma stays in the coordinates of z, as in Beyer and
    Sendhoff, "Simplify your covariance matrix adaptation evolution strategy", 2017.

    factor A: [n, n], variances: [n], the diagonal of C; path: [n], A⁻¹ times the path of C;
    ends: [2], the longest and the shortest axis, which are looked at when C has changed by a tenth
    """

    factor: Variable
    variances: Variable
    path: Variable
    ends: Variable

    def matrix(self) -> Array:
        """C as it is now."""
        made: Array = self.factor.value @ self.factor.value.T
        return made

    def draw(self, z: Any) -> Any:
        """A z"""
        return z @ self.factor.mT

    def learn(self, learned: Learned) -> tuple[dict[Variable, Any], Extent]:
        """A' = A (kept I + Vᵀ D V)^(1/2): V has the rows z and path, D is diag(shares, c_1)."""
        rates, kept = learned.rates, learned.kept
        used = int(np.flatnonzero(rates.weights)[-1]) + 1  # the worse half may have no weights
        z, y, shares = learned.z[:used], learned.y[:used], learned.shares[:used]
        path = faded(self.path, rates.c_c, rates.mu_eff, learned.drift)
        grown, shrunk, along = _roots(z, path, shares, rates.c_1, kept)
        rows = concat([z, path[None, :]])
        steps = concat([y, learned.path[None, :]])
        factor = sqrt(kept) * self.factor + steps.mT @ (grown @ rows)
        variances = _variances(self.variances, learned)
        ends = self._ends(learned)
        axis = self.factor.mT[(learned.number - 1) % rates.n]
        updates = {
            self.factor: factor,
            self.variances: variances,
            self.path: path / sqrt(kept) + (shrunk @ along) @ rows,
            self.ends: ends,
        }
        return updates, Extent(variances, ends[0], ends[1], axis)

    def _ends(self, learned: Learned) -> Any:
        """Of the factor as it was: what may fail comes before it is written over."""
        rates = learned.rates
        period = max(1, int(1 / (10 * (rates.c_1 + rates.c_mu))))

        def looked() -> Any:
            scales = svdvals(self.factor)
            return concat([scales[:1], scales[-1:]])

        return cond(learned.number % period == 0, looked, lambda: self.ends + 0)


def _roots(z: Any, path: Any, shares: Any, c_1: float, kept: Any) -> tuple[Any, Any, Any]:
    """What the root of M = kept I + Vᵀ D V and its inverse are beside those of kept I.

    -> P and R with M^(1/2) = kept^(1/2) I + Vᵀ P V and M^(-1/2) = kept^(-1/2) I + Vᵀ R V, of the
    rows V = (z, path) as [k + 1, k + 1], and V path.  z: [k, n], path: [n], shares: [k]
    """
    lower = cholesky(z @ z.mT)
    inner, square = z @ path, sum_of(path * path)
    along = solve_triangular(lower, inner[:, None], upper=False)[:, 0]
    rest = square - sum_of(along * along)  # of the path, outside of what z span
    tiny = float(np.sqrt(np.finfo(path.dtype).eps))
    outside = rest > tiny * square
    left = sqrt(where(outside, rest, 1))
    # V = W Q of orthonormal rows Q; M is kept I + Qᵀ (Wᵀ D W) Q
    column = 0 * inner[:, None]
    end = concat([along, where(outside, left, 0)[None]])
    over = concat([lower, column], axis=1)
    w = concat([over, concat([along, left[None]])[None, :]])
    inverse = solve_triangular(w, eye(w.shape[0], dtype=path.dtype), upper=False)
    mask = concat([1 + 0 * along, where(outside, 1, 0 * left)[None]])
    squares, turned = eigh((over.mT * shares) @ over + c_1 * (end[:, None] * end[None, :]))
    new = root(kept + squares)
    basis = turned.mT @ (inverse * mask[:, None])
    grown = (basis.mT * (new - sqrt(kept))) @ basis
    shrunk = (basis.mT * (1 / new - 1 / sqrt(kept))) @ basis
    return grown, shrunk, concat([inner, square[None]])


def faded(path: Any, rate: float, mu_eff: float, step: Any) -> Any:
    """An evolution path: a mean of steps that fades, of variance 1 where they are random."""
    return (1 - rate) * path + float(np.sqrt(rate * (2 - rate) * mu_eff)) * step


def root(squares: Any) -> Any:
    """√squares, and of what rounding made negative a small number's."""
    return sqrt(where(squares > 0, squares, LEAST))


def _variances(before: Any, learned: Learned) -> Any:
    """The diagonal of C after a generation.  [n] -> [n]"""
    y, path = learned.y, learned.path
    return learned.kept * before + (learned.rates.c_1 * path * path + learned.shares @ (y * y))


def begin(rates: Rates, dtype: Any, separable: bool) -> Spread:
    """C = I. Where C changes little in a generation, it is not decomposed."""
    n = rates.n

    def new(name: str, value: Any) -> Variable:
        return variable(np.asarray(value, dtype), f"cmaes.{name}")

    if separable:
        return Separable(new("covariance", np.ones(n)), new("scales", np.ones(n)))
    if rates.decomposed:
        whole = np.eye(n)
        return Decomposed(new("covariance", whole), new("axes", whole), new("scales", np.ones(n)))
    return Factored(
        new("factor", np.eye(n)),
        new("variances", np.ones(n)),
        new("path", np.zeros(n)),
        new("ends", np.ones(2)),
    )
