"""CMA-ES: learns what the `cmaes` package learns from the same points, and what users ask of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.optim.evolution.spread import Decomposed, Factored

COMPILES = True
Array = np.ndarray[Any, Any]


def sphere(x: Any) -> Any:
    return sn.sum(x * x)


def rosenbrock(x: Any) -> Any:
    return sn.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rastrigin(x: Any) -> Any:
    return sn.sum(x * x - 10 * sn.cos(2 * np.pi * x) + 10)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize(
    ("n", "popsize", "separable"), [(2, None, False), (10, None, False), (10, 33, True)]
)
def test_learns_what_cmaes_learns(n: int, popsize: int, separable: bool, device: str) -> None:
    cmaes = pytest.importorskip("cmaes", reason="the oracle")
    es = sn.optim.CMAES(0.5, popsize, seed=3, separable=separable)
    step = es.minimize(rosenbrock, np.zeros(n), device=device)
    kind = cmaes.SepCMA if separable else cmaes.CMA
    other = kind(mean=np.zeros(n), sigma=0.5, population_size=popsize)
    assert step.popsize == other.population_size
    for _ in range(40):
        best = step()
        points, values = es.population.value, es.values.value
        other.tell(list(zip(points, values, strict=True)))
        np.testing.assert_allclose(es.mean.value, other.mean, rtol=1e-9)
        np.testing.assert_allclose(es.sigma.value, other._sigma, rtol=1e-9)
        assert best == values.min()
    assert es.evaluations.value == 40 * step.popsize


@pytest.mark.parametrize("active", [True, False])
def test_a_covariance_of_many_variables_is_learned_without_a_decomposition(active: bool) -> None:
    """Equation 47 by hand, of the points that were drawn; z is what A y = z gives."""
    n, scales = 60, np.arange(1, 61)
    es = sn.optim.CMAES(0.5, 4, seed=3, active=active)
    step = es.minimize(lambda x: sn.sum(scales * x * x), np.ones(n), device="numpy")
    spread, r = step.state.spread, step.rates
    assert isinstance(spread, Factored)
    w, path, path_sigma, wanted = r.weights, np.zeros(n), np.zeros(n), np.eye(n)
    for number in range(1, 25):
        center, sigma, factor = (v.value.copy() for v in (es.mean, es.sigma, spread.factor))
        step()
        y = ((es.population.value - center) / sigma)[np.argsort(es.values.value)]
        z = np.linalg.solve(factor, y.T).T
        y_mean, z_mean = (w[: r.mu] @ rows[: r.mu] for rows in (y, z))
        path_sigma *= 1 - r.c_sigma
        path_sigma += np.sqrt(r.c_sigma * (2 - r.c_sigma) * r.mu_eff) * z_mean
        filled = np.sqrt(1 - (1 - r.c_sigma) ** (2 * (number + 1)))
        calm = np.linalg.norm(path_sigma) / filled < (1.4 + 2 / (n + 1)) * r.chi
        path = (1 - r.c_c) * path + calm * np.sqrt(r.c_c * (2 - r.c_c) * r.mu_eff) * y_mean
        shares = np.where(w >= 0, w, w * n / (z * z).sum(1))
        kept = 1 + r.c_1 * (1 - calm) * r.c_c * (2 - r.c_c) - r.c_1 - r.c_mu * w.sum()
        wanted = kept * wanted + r.c_1 * np.outer(path, path) + r.c_mu * (y.T * shares) @ y
        np.testing.assert_allclose(es.mean.value, center + sigma * y_mean, rtol=1e-12)
    np.testing.assert_allclose(spread.matrix(), wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(spread.variances.value, np.diag(wanted), rtol=1e-12)
    np.testing.assert_allclose(factor_path(spread), step.state.path_c.value, atol=1e-12)
    np.testing.assert_allclose(step.state.path_sigma.value, path_sigma, atol=1e-12)


def factor_path(spread: Factored) -> Array:
    """A times the path in the coordinates of z."""
    made: Array = spread.factor.value @ spread.path.value
    return made


def test_the_ends_of_a_factored_covariance_are_looked_at() -> None:
    es = sn.optim.CMAES(0.5, 4, seed=3)
    step = es.minimize(sphere, np.ones(45), device="numpy")
    period = int(1 / (10 * (step.rates.c_1 + step.rates.c_mu)))
    step.run(period - 1)
    before = np.linalg.svd(step.state.spread.factor.value, compute_uv=False)
    np.testing.assert_array_equal(step.state.spread.ends.value, 1)
    step()
    np.testing.assert_allclose(step.state.spread.ends.value, [before[0], before[-1]], rtol=1e-12)


def test_a_larger_population_may_need_the_axes() -> None:
    es = sn.optim.CMAES(0.5, 4, seed=3, restarts=2)
    step = es.minimize(lambda x: sn.sum(x * 0), np.ones(60), device="numpy")
    kinds = [type(step.state.spread)]
    while step.restarts_left or not step.stopped:
        step()
        if type(step.state.spread) is not kinds[-1]:
            kinds.append(type(step.state.spread))
    assert kinds == [Factored, Decomposed]


def test_without_active_weights_the_worse_half_is_not_looked_at() -> None:
    step = sn.optim.CMAES(0.5, active=False).minimize(sphere, np.ones(4), device="numpy")
    weights = step.rates.weights
    assert not weights[len(weights) // 2 :].any()
    np.testing.assert_allclose(weights.sum(), 1)


def test_calls_and_run_make_the_same_generations() -> None:
    searches = [sn.optim.CMAES(0.3, seed=5) for _ in range(2)]
    one, many = (es.minimize(rosenbrock, np.zeros(3), device="cpu") for es in searches)
    values = [one() for _ in range(30)]
    np.testing.assert_array_equal(many.run(30), values)
    for name in ("mean", "sigma", "best", "best_value", "evaluations", "population"):
        a, b = (getattr(es, name).value for es in searches)
        np.testing.assert_array_equal(a, b)
    assert searches[0].best_value.value == min(values)
    again = sn.function([], rosenbrock(sn.constant(searches[0].best.value)), device="numpy")()
    np.testing.assert_allclose(again, min(values), rtol=1e-12)


def test_finds_the_optimum_and_says_that_it_is_done() -> None:
    es = sn.optim.CMAES(0.5, seed=1)
    step = es.minimize(rosenbrock, np.zeros(5), device="cpu")
    step.run(400)
    np.testing.assert_allclose(es.best.value, 1, atol=1e-5)
    assert "tolfun" in step.stopped


@pytest.mark.parametrize("bipop", [False, True])
def test_restarts_go_on_where_one_run_ends(bipop: bool) -> None:
    es = sn.optim.CMAES(2.0, seed=2, restarts=6, bipop=bipop)
    step = es.minimize(rastrigin, np.full(3, 3.0), device="cpu")
    sizes = set()
    for _ in range(1500):
        step()
        sizes.add(step.popsize)
        if es.best_value.value < 1e-9:
            break
    assert es.best_value.value < 1e-9
    np.testing.assert_allclose(es.best.value, 0, atol=1e-5)
    assert es.population.value.shape == (step.popsize, 3)


def test_a_restart_begins_where_the_search_began() -> None:
    es = sn.optim.CMAES(2.0, seed=2, restarts=1)
    step = es.minimize(lambda x: sn.sum(x * 0), np.full(3, 3.0), device="numpy")
    while not step.stopped:
        step()
    first = int(es.evaluations.value)
    assert "tolfun" in step.stopped
    step()
    assert (step.popsize, step.restarts_left) == (14, 0)
    assert es.evaluations.value == first + 14
    assert np.abs(es.population.value - 3).max() < 12


def test_bounds_hold_and_lead_to_an_optimum_on_them() -> None:
    asked: list[Array] = []
    low, high = np.array([0.5, -np.inf, -1.0, -np.inf]), np.array([np.inf, -0.25, 1.0, np.inf])
    es = sn.optim.CMAES(0.5, seed=4, bounds=(low, high))
    step = es.minimize(sphere, np.array([1.0, -1.0, 0.5, 2.0]), device="cpu")
    for _ in range(150):
        step()
        asked.append(es.population.value)
    points = np.concatenate(asked)
    assert (points >= low).all()
    assert (points <= high).all()
    np.testing.assert_allclose(es.best.value, [0.5, -0.25, 0, 0], atol=1e-6)
    np.testing.assert_allclose(es.mean.value, [0.5, -0.25, 0, 0], atol=1e-4)


def test_far_out_and_inside_points_come_within_bounds() -> None:
    from staticnet.optim.evolution.bounds import Bounds

    bounds = Bounds(np.array([-1.0, 0.0, -np.inf]), np.array([1.0, np.inf, 5.0]))
    x = np.random.default_rng(0).normal(size=(500, 3)) * [3, 40, 40]
    y = sn.function([], bounds.within(sn.constant(x)), device="numpy")()
    assert (y >= bounds.low).all()
    assert (y <= bounds.high).all()
    inside = np.abs(x[:, 0]) < 0.9
    np.testing.assert_array_equal(y[inside, 0], x[inside, 0])


def test_no_number_is_worse_than_any() -> None:
    es = sn.optim.CMAES(1.0, seed=0)
    step = es.minimize(lambda x: sn.sum(sn.log(x)), np.full(3, 0.5), device="cpu")
    step.run(5)
    assert np.isfinite(es.best_value.value)
    assert (es.best.value > 0).all()


def test_the_dtype_is_that_of_the_start() -> None:
    es = sn.optim.CMAES(1.0)
    es.minimize(sphere, np.ones(3, np.float32), device="numpy")()
    assert {es.mean.value.dtype, es.best_value.value.dtype} == {np.dtype(np.float32)}
    es.minimize(sphere, [1, 2], device="numpy")()
    assert es.mean.value.dtype == np.float64


@pytest.mark.parametrize(
    ("act", "error", "told"),
    [
        (lambda: sn.optim.CMAES(0), ArgumentError, "sigma must be a positive number"),
        (lambda: sn.optim.CMAES(1, popsize=3), ArgumentError, "popsize must be at least 4"),
        (lambda: sn.optim.CMAES(1, restarts=-1), ArgumentError, "restarts must be 0 or more"),
        (lambda: sn.optim.CMAES(1).mean, ArgumentError, "no mean yet; call minimize"),
        (lambda: sn.optim.CMAES(1).minimize(3, [1.0]), ArgumentError, "takes a function"),
        (lambda: sn.optim.CMAES(1).minimize(sphere, 1.0), ShapeError, "a vector"),
        (lambda: sn.optim.CMAES(1).minimize(sphere, []), ShapeError, "a vector"),
        (lambda: sn.optim.CMAES(1).minimize(sphere, ["a"]), DTypeError, "x0 has numbers"),
        (lambda: sn.optim.CMAES(1).minimize(sphere, [np.nan, 1]), ArgumentError, "0 is nan"),
        (lambda: sn.optim.CMAES(1).minimize(lambda x: x, [1.0, 2]), ShapeError, "one number"),
        (lambda: sn.optim.CMAES(1, bounds=3).minimize(sphere, [1.0]), ArgumentError, "a pair"),
        (
            lambda: sn.optim.CMAES(1, bounds=(2, 3)).minimize(sphere, [1.0]),
            ArgumentError,
            "variable 0 begins at 1.0",
        ),
        (
            lambda: sn.optim.CMAES(1, bounds=([0, 0], 3)).minimize(sphere, [1.0]),
            ShapeError,
            "a number or an array",
        ),
    ],
)  # fmt: skip
def test_bad_input(act: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        act()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sphere", "rosenbrock", "ellipsoid"])
def test_asks_no_more_often_than_pycma(name: str) -> None:
    """Medians of 15 seeds, to 1e-9 from 10 variables on: at most 1.1 times its evaluations."""
    cma = pytest.importorskip("cma", reason="the oracle")
    n, start = 10, 0.1 if name == "rosenbrock" else 1.0
    scale = 10 ** (6 * np.arange(n) / (n - 1))
    f = {"sphere": sphere, "rosenbrock": rosenbrock, "ellipsoid": lambda x: sphere(x * scale**0.5)}[
        name
    ]
    g = {
        "sphere": lambda x: float(x @ x),
        "rosenbrock": lambda x: float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()),
        "ellipsoid": lambda x: float((scale * x * x).sum()),
    }[name]  # fmt: skip
    ours, others = [], []
    for seed in range(15):
        es = sn.optim.CMAES(0.5, seed=seed)
        step = es.minimize(f, np.full(n, start), device="cpu")
        while es.best_value.value > 1e-9 and es.evaluations.value < 20_000:
            step()
        ours.append(int(es.evaluations.value))
        options = {"verbose": -9, "seed": seed + 1, "ftarget": 1e-9}
        others.append(cma.fmin2(g, np.full(n, start), 0.5, options)[1].countevals)
    assert np.median(ours) <= 1.1 * np.median(others)
