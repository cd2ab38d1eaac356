"""Special functions on every device, at their poles and far out; SciPy is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError

COMPILES = True
special = pytest.importorskip("scipy.special")
inf, nan = np.inf, np.nan
WIDE = np.concatenate([np.linspace(-7.9, 12, 400), [1e-9, 1e-3, 40.5, 170, 1e6, -60.3]])
UNIT = np.concatenate([np.linspace(-0.999, 0.999, 401), 1 - 10.0 ** -np.arange(1, 16), [1e-200]])
CASES: dict[str, tuple[Callable[[Any], Any], Any, np.ndarray[Any, Any]]] = {
    "erfc": (sn.erfc, special.erfc, WIDE),
    "erfinv": (sn.erfinv, special.erfinv, UNIT),
    "lgamma": (sn.lgamma, special.gammaln, WIDE),
    "digamma": (sn.digamma, special.psi, WIDE),
    "trigamma": (lambda x: sn.polygamma(1, x), lambda x: special.polygamma(1, x), WIDE),
    "polygamma 2": (lambda x: sn.polygamma(2, x), lambda x: special.polygamma(2, x), WIDE),
    "polygamma 7": (lambda x: sn.polygamma(7, x), lambda x: special.polygamma(7, x), WIDE),
}
POINTS = {
    "erfc": ([0, -inf, inf, nan], [1, 2, 0, nan]),
    "erfinv": ([0, -1, 1, 1.5, nan], [0, -inf, inf, nan, nan]),
    "lgamma": ([0, 1, 2, -3, inf, -inf, nan], [inf, 0, 0, inf, inf, inf, nan]),
    "digamma": ([0, -0.0, -2, inf, -inf, nan], [-inf, inf, nan, inf, nan, nan]),
    "trigamma": ([0, -2, inf, nan, -inf], [inf, inf, 0, nan, nan]),
    "polygamma 2": ([0, -2, inf, nan], [nan, nan, 0, nan]),
}


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(dtype: str, device: str) -> None:
    feeds = [points.astype(dtype) for *_, points in CASES.values()]
    xs = [sn.placeholder(x.shape, dtype, f"x{i}") for i, x in enumerate(feeds)]
    ys = [f(x) for (f, *_), x in zip(CASES.values(), xs, strict=True)]
    found = sn.function(xs, ys, device=device)(*feeds)
    rtol, atol = (2e-6, 1e-6) if dtype == "float32" else (1e-12, 1e-14)
    for name, x, y in zip(CASES, feeds, found, strict=True):
        assert y.dtype == dtype
        with np.errstate(all="ignore"):
            wanted = CASES[name][1](x.astype("f8")).astype(dtype)
        np.testing.assert_allclose(y, wanted, rtol, atol, err_msg=name)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_poles_and_infinities(device: str) -> None:
    xs = [sn.placeholder((len(x),), "float64", f"x{i}") for i, (x, _) in enumerate(POINTS.values())]
    ys = [CASES[name][0](x) for name, x in zip(POINTS, xs, strict=True)]
    found = sn.function(xs, ys, device=device)(*(np.array(x, "f8") for x, _ in POINTS.values()))
    for (name, (_, wanted)), y in zip(POINTS.items(), found, strict=True):
        np.testing.assert_array_equal(y, wanted, name)


def test_derivatives_of_any_order() -> None:
    x = sn.placeholder((3,), "float64", "x")
    y: Any = sn.sum(sn.lgamma(x))
    for _ in range(5):
        (y,) = sn.grad(sn.sum(y), [x])
    value = np.array([0.3, 2.5, -1.7])
    f = sn.function([x], y, device="numpy")
    np.testing.assert_allclose(f(value), special.polygamma(4, value), 1e-11)


def test_far_left_is_no_slower() -> None:
    """The sum over all integers has a period: the time does not grow with the argument."""
    x = sn.placeholder((), "float64", "x")
    f = sn.function([x], sn.polygamma(2, x), device="numpy")
    assert np.isfinite(f(-1e12 + 0.5))


def test_orders() -> None:
    assert sn.polygamma(0, 1.5).op.name == "digamma"
    for n in (-1, 101, 0.5):
        with pytest.raises(ArgumentError, match=r"polygamma: n must be an int in \[0, 100\]"):
            sn.polygamma(n, 1.0)
    assert sn.lgamma(np.array([1, 2])).dtype == np.float32
