"""`OpenES`, `PGPE` and `DE`: what they learn of the points that were drawn, and what users ask."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

COMPILES = True
Array = np.ndarray[Any, Any]
RATE = 0.05


def sphere(x: Any) -> Any:
    return sn.sum(x * x)


def rosenbrock(x: Any) -> Any:
    return sn.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def made(kind: str, **options: Any) -> Any:
    return getattr(sn.optim, kind)(options.pop("sigma", 0.3), options.pop("popsize", 8), **options)


def ranked(values: Array) -> Array:
    """Equal values have the mean of their ranks, as of scipy.stats.rankdata."""
    smaller = (values[:, None] > values).sum(axis=1)
    others = (values[:, None] == values).sum(axis=1) - 1
    return (smaller + others / 2) / (len(values) - 1) - 0.5


@pytest.mark.parametrize("f", [rosenbrock, lambda x: sn.sum(sn.floor(3 * x * x))])
@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("kind", ["OpenES", "PGPE"])
def test_moves_down_the_gradient_that_pairs_tell(kind: str, device: str, f: Any) -> None:
    """Salimans et al. 2017, section 2; Sehnke et al. 2010, section 3.2: by hand."""
    es = made(kind, optimizer=sn.optim.SGD(lr=RATE), seed=3)
    step = es.minimize(f, np.linspace(-1, 1, 5), device=device)
    for _ in range(12):
        mean, sigma = es.mean.value.copy(), es.sigma.value.copy()
        best = step()
        points, values = es.population.value, es.values.value
        half = len(points) // 2
        np.testing.assert_allclose((points[:half] + points[half:]) / 2, np.tile(mean, (half, 1)))
        z, shares = (points - mean) / sigma, ranked(values)
        if kind == "OpenES":
            gradient = shares @ z / (len(z) * sigma)
        else:
            gradient = shares @ (sigma * z) / len(z)
            change = 0.1 * shares @ (sigma * (z * z - 1)) / len(z)
            sigma = sigma - np.clip(change, -sigma / 5, sigma / 5)
        np.testing.assert_allclose(es.mean.value, mean - RATE * gradient, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(es.sigma.value, sigma, rtol=1e-9)
        assert best == values.min()


@pytest.mark.parametrize("value", [4.0, np.nan])
@pytest.mark.parametrize("kind", ["OpenES", "PGPE"])
def test_nothing_is_learned_where_all_values_are_equal(kind: str, value: float) -> None:
    es = made(kind)
    es.minimize(lambda x: sn.sum(0 * x) + value, np.ones(3), device="numpy").run(5)
    np.testing.assert_array_equal(es.mean.value, 1)
    np.testing.assert_array_equal(es.sigma.value, 0.3)


@pytest.mark.parametrize(("value", "moves"), [(np.nan, False), (np.inf, False), (4.0, True)])
def test_a_trial_is_no_better_where_there_is_no_number(value: float, moves: bool) -> None:
    de = made("DE")
    step = de.minimize(lambda x: sn.sum(0 * x) + value, np.ones(3), device="numpy")
    first = step.state.members.value.copy()
    step.run(5)
    assert (step.state.members.value != first).any() == moves


def test_a_deviation_changes_by_a_fifth_at_most() -> None:
    es = made("PGPE", sigma_lr=1e3)
    step = es.minimize(sphere, np.ones(4), device="numpy")
    step()
    np.testing.assert_allclose(np.abs(es.sigma.value / 0.3 - 1), 0.2)


@pytest.mark.parametrize("popsize", [4, 6])
def test_a_trial_is_made_of_three_others(popsize: int) -> None:
    """Storn and Price 1997, equations 2 to 5: by search over all triples."""
    de = made("DE", popsize=popsize, seed=1, weight=0.7, crossover=0.5)
    step = de.minimize(rosenbrock, np.zeros(4), device="numpy")
    first = step.state.members.value.copy()
    step()
    np.testing.assert_array_equal(de.population.value, first)
    for _ in range(15):
        members, reached = step.state.members.value.copy(), step.state.reached.value.copy()
        best = step()
        trials, values = de.population.value, de.values.value
        for i, trial in enumerate(trials):
            others = [j for j in range(popsize) if j != i]
            triples = permutations(others, 3)
            made_of = [members[a] + 0.7 * (members[b] - members[c]) for a, b, c in triples]
            fits = [(trial == each) | (trial == members[i]) for each in made_of]
            assert any(fit.all() for fit in fits)
        kept = np.where((values <= reached)[:, None], trials, members)
        np.testing.assert_array_equal(step.state.members.value, kept)
        np.testing.assert_array_equal(step.state.reached.value, np.minimum(values, reached))
        np.testing.assert_allclose(de.mean.value, kept.mean(axis=0))
        assert best == de.best_value.value == step.state.reached.value.min()


@pytest.mark.parametrize(
    ("crossover", "least", "most"), [(0.25, 0.22, 0.31), (1e-9, 1 / 40, 1 / 40)]
)
def test_crossover_is_the_share_of_coordinates_that_change(
    crossover: float, least: float, most: float
) -> None:
    """One of the 40 changes for sure."""
    de = made("DE", popsize=50, crossover=crossover, sigma=1.0)
    step = de.minimize(sphere, np.zeros(40), device="numpy")
    step()
    members = step.state.members.value.copy()
    step()
    assert least <= (de.population.value != members).mean() <= most


@pytest.mark.parametrize(
    ("kind", "options", "generations"),
    [
        ("OpenES", {"popsize": 32, "optimizer": sn.optim.Adam(lr=0.05)}, 150),
        ("PGPE", {"popsize": 32}, 150),
        ("DE", {"sigma": 1.0, "popsize": None}, 60),
    ],
)
def test_finds_the_optimum(kind: str, options: dict[str, Any], generations: int) -> None:
    es = made(kind, **options)
    step = es.minimize(lambda x: sphere(x - 2), np.zeros(3), device="cpu")
    values = step.run(generations)
    assert values.shape == (generations,)
    assert es.best_value.value < 0.01 * values[0]
    np.testing.assert_allclose(es.mean.value, 2, atol=0.2)
    assert es.evaluations.value == generations * step.popsize


@pytest.mark.parametrize("kind", ["OpenES", "PGPE", "DE"])
def test_calls_and_run_make_the_same_generations(kind: str) -> None:
    searches = [made(kind, seed=5) for _ in range(2)]
    one, many = (es.minimize(rosenbrock, np.zeros(3), device="cpu") for es in searches)
    values = [one() for _ in range(10)]
    np.testing.assert_array_equal(many.run(10), values)
    for name in ("mean", "best", "best_value", "evaluations", "population", "values"):
        a, b = (getattr(es, name).value for es in searches)
        np.testing.assert_array_equal(a, b)
    again = sn.function([], rosenbrock(sn.constant(searches[0].best.value)), device="numpy")()
    np.testing.assert_allclose(again, searches[0].best_value.value, rtol=1e-12)


@pytest.mark.parametrize("kind", ["OpenES", "PGPE", "DE"])
def test_bounds_hold(kind: str) -> None:
    low, high = np.array([0.5, -np.inf, -1.0]), np.array([np.inf, -0.25, 1.0])
    es = made(kind, sigma=1.0, popsize=16, bounds=(low, high))
    step = es.minimize(sphere, np.array([1.0, -1.0, 0.5]), device="numpy")
    for _ in range(40):
        step()
        for points in (es.population.value, es.mean.value, es.best.value):
            assert (points >= low).all()
            assert (points <= high).all()
    assert es.best_value.value < 0.6


@pytest.mark.parametrize("kind", ["OpenES", "PGPE", "DE"])
def test_no_number_is_worse_than_any_and_the_dtype_is_the_starts(kind: str) -> None:
    es = made(kind, sigma=1.0)
    step = es.minimize(lambda x: sn.sum(sn.log(x)), np.full(3, 0.5, np.float32), device="cpu")
    step.run(20)
    assert np.isfinite(es.best_value.value)
    assert np.isfinite(es.mean.value).all()
    assert (es.best.value > 0).all()
    names = ("mean", "best", "best_value", "population", "values")
    assert {getattr(es, name).value.dtype for name in names} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("act", "error", "told"),
    [
        (lambda: sn.optim.OpenES(0), ArgumentError, "OpenES: sigma must be a positive number"),
        (lambda: sn.optim.PGPE(1, popsize=7), ArgumentError, "PGPE: popsize is of pairs"),
        (lambda: sn.optim.DE(1, popsize=3), ArgumentError, "DE: popsize must be at least 4"),
        (lambda: sn.optim.DE(1, weight=3), ArgumentError, "weight must be at most 2"),
        (lambda: sn.optim.DE(1, crossover=1.5), ArgumentError, "crossover is a probability"),
        (lambda: sn.optim.PGPE(1, sigma_lr="a"), ArgumentError, "sigma_lr must be a positive"),
        (lambda: sn.optim.OpenES(1, optimizer=3), ArgumentError, "3 is no optimizer"),
        (lambda: sn.optim.OpenES(1, optimizer=sn.optim.LBFGS()), ArgumentError, "LBFGS"),
        (lambda: sn.optim.PGPE(1).sigma, ArgumentError, "PGPE: there is no sigma yet"),
        (lambda: sn.optim.DE(1).minimize(3, [1.0]), ArgumentError, "DE: minimize takes a func"),
        (lambda: sn.optim.DE(1).minimize(sphere, 1.0), ShapeError, "DE: x0 is a vector"),
        (lambda: sn.optim.DE(1).minimize(sphere, ["a"]), DTypeError, "DE: x0 has numbers"),
        (lambda: sn.optim.PGPE(1).minimize(sphere, [np.nan]), ArgumentError, "PGPE: x0 must be f"),
        (lambda: sn.optim.OpenES(1).minimize(lambda x: x, [1.0]), ShapeError, "one number"),
        (
            lambda: sn.optim.OpenES(1, bounds=(2, 3)).minimize(sphere, [1.0]),
            ArgumentError,
            "OpenES: variable 0 begins at 1.0",
        ),
    ],
)  # fmt: skip
def test_bad_input(act: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        act()
