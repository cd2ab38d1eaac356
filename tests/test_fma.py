"""`fma` rounds once, and the pass `contract` makes it of scalars' products and sums."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import staticnet as sn

COMPILES = True
Array = np.ndarray[Any, Any]


def rounded_once(x: Array, y: Array, z: Array) -> Array:
    """x * y + z in rational numbers, rounded by Python or, from a float64, by NumPy."""
    exact = [
        float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
        for a, b, c in zip(x, y, z, strict=True)
    ]
    return np.array(exact).astype(x.dtype)


def draws(dtype: str, n: int = 400) -> tuple[Array, Array, Array]:
    """Numbers of which half the sums cancel but for what the product's rounding takes."""
    rng = np.random.default_rng(3)
    x, y, z = rng.normal(size=(3, n)).astype(dtype)
    z[::2] = -(x * y)[::2]
    return x, y, z


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rounds_once(dtype: str, device: str) -> None:
    x, y, z = draws(dtype)
    feeds = [sn.placeholder(x.shape, dtype, name) for name in "xyz"]
    found = sn.function(feeds, sn.fma(*feeds), device=device)(x, y, z)
    wanted = rounded_once(x, y, z)
    if device == "cpu" and dtype == "float64":
        np.testing.assert_array_equal(found, wanted)
    else:  # rounded from a wider float, whose own rounding may make a tie
        np.testing.assert_array_max_ulp(found, wanted, 1)


def test_what_is_not_finite() -> None:
    x = np.array([np.inf, np.inf, np.nan, 1e300, -1e300, 0.0, 2.0])
    y = np.array([1.0, 0.0, 1.0, 1e10, 1e10, -1.0, np.inf])
    z = np.array([1.0, 1.0, 1.0, 1.0, 1.0, -0.0, -np.inf])
    feeds = [sn.placeholder(x.shape, "float64", name) for name in "xyz"]
    wanted = np.array([np.inf, np.nan, np.nan, np.inf, -np.inf, -0.0, np.nan])
    for device in ("numpy", "cpu"):
        found = sn.function(feeds, sn.fma(*feeds), device=device)(x, y, z)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found[5]), True)


def compiled(outputs: Any, feeds: Any, **options: Any) -> str:
    return sn.function(feeds, outputs, device="cpu", **options).as_text(after="dce")


def test_scalars_are_contracted_and_arrays_are_not() -> None:
    a, v = sn.placeholder((), name="a"), sn.placeholder((4,), name="v")
    scalars = compiled(a * a + 1, [a])
    assert "fma(" in scalars
    assert "multiply(" not in scalars
    assert "fma(" not in compiled(v * v + 1, [v])
    assert "fma(" not in compiled(a * a + 1, [a], numerics="exact")
    assert "fma(" not in compiled(a * a + 1, [a], disabled_passes=["contract"])


def test_a_difference_of_equal_products_is_zero() -> None:
    a, b = (sn.placeholder((), name=name) for name in "ab")
    f = sn.function([a, b], a * a - b * b, device="cpu")
    third = np.float32(1 / 3)
    assert f(third, third) == 0


def test_a_loop_and_its_steps_written_out_have_the_same_bits() -> None:
    def step(carry: Any, _: Any) -> Any:
        x, y = carry
        return (x + 0.01 * y, y + 0.01 * (1.5 * (1 - x * x) * y - x)), None

    a, b = (sn.placeholder((), name=name) for name in "ab")
    written = (a, b)
    for _ in range(20):
        written, _ = step(written, None)
    loops = [sn.scan(step, (a, b), length=20, unroll=unroll)[0] for unroll in (1, 4, 20)]
    f = sn.function([a, b], [*written, *(x for each in loops for x in each)], device="cpu")
    first, *others = np.reshape(f(np.float32(1), np.float32(0.5)), (-1, 2))
    for other in others:
        np.testing.assert_array_equal(other, first)
