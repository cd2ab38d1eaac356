"""Slices and rolls along symbolic axes: NumPy's values at every size, or an error with its line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ShapeError

COMPILES = True
SIZES = (0, 1, 2, 3, 5, 8)
ENDS = (None, 0, 1, 3, 5, -1, -3, -8)
SHIFTS = (0, 1, 2, 5, -1, -7)


def slices() -> dict[str, Any]:
    """Keys by their text."""
    found: dict[str, Any] = {f"[{i}]": i for i in ENDS if i is not None}
    for start in ENDS:
        for stop in ENDS:
            for step in (None, 2):
                found[f"[{start}:{stop}:{step}]"] = slice(start, stop, step)
    for step in (-1, -2, -3):
        found[f"[::{step}]"] = slice(None, None, step)
    return found


SLICES = slices()
ROLLS: dict[str, Callable[[Any, Any], Any]] = {
    **{f"roll {k}": lambda m, x, k=k: m.roll(x, k, axis=0) for k in SHIFTS},
    **{f"roll all {k}": lambda m, x, k=k: m.roll(x, k) for k in SHIFTS},
    "roll both": lambda m, x: m.roll(x, (5, 1), axis=(0, 1)),
    "tail": lambda m, x: m.roll(x[::-2], 3, axis=0),
}


def data(n: int) -> Any:
    return np.arange(2.0 * n).reshape(n, 2)


@pytest.mark.parametrize("name", SLICES)
def test_slices(name: str) -> None:
    """Where the symbolic length is not NumPy's it is an error, and never another value."""
    x = sn.placeholder(("n", 2), "float64", "x")
    f = sn.function(x, x[SLICES[name]], device="numpy")
    told = []
    for n in SIZES:
        try:
            got = f(data(n))
        except ShapeError as error:
            told.append(str(error))
        else:
            np.testing.assert_array_equal(got, data(n)[SLICES[name]], strict=True)
    assert all("test_symbolic_slices.py:" in text for text in told)


def test_slices_of_all_of_an_axis_hold_at_every_size() -> None:
    x = sn.placeholder(("n", 2), "float64", "x")
    for key in (np.s_[:], np.s_[::2], np.s_[::-1], np.s_[::-2], np.s_[5:1], np.s_[-1:-3]):
        for n in SIZES:
            got = sn.function(x, x[key], device="numpy")(data(n))
            np.testing.assert_array_equal(got, data(n)[key], strict=True)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_rolls_hold_at_every_size(device: str) -> None:
    x = sn.placeholder(("n", 2), "float64", "x")
    f = sn.function(x, [roll(sn, x) for roll in ROLLS.values()], device=device)
    for n in (0, 1, 3, 8):
        for (name, roll), got in zip(ROLLS.items(), f(data(n)), strict=True):
            np.testing.assert_array_equal(got, roll(np, data(n)), name, strict=True)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_rolls_gradient_rolls_back(device: str) -> None:
    x = sn.placeholder(("n",), "float64", "x")
    weights = sn.astype(sn.arange(x.shape[0]), "float64")
    (slope,) = sn.grad(sn.sum(sn.roll(x, 5) * weights), [x])
    for n in (0, 3, 7):
        got = sn.function(x, slope, device=device)(np.ones(n))
        np.testing.assert_array_equal(got, np.roll(np.arange(n), -5))


@pytest.mark.parametrize("key", [np.s_[3:0:-1], np.s_[:-1:-1], np.s_[1::-2]])
def test_other_negative_steps_are_refused_where_they_are_written(key: slice) -> None:
    x = sn.placeholder(("n",), name="x")
    with pytest.raises(ShapeError, match=r"flip it first: x f32\[n\] .*test_symbolic_slices.py"):
        x[key]


def test_a_size_that_a_slice_does_not_allow_is_named() -> None:
    x = sn.placeholder(("n",), name="x")
    f = sn.function(x, x[-5:])
    with pytest.raises(ShapeError, match=r"slice: does not allow n = 3: .*test_symbolic_slices.py"):
        f(np.zeros(3, "f"))


@pytest.mark.parametrize("name", ["[::2]", "[1::2]", "[:-1:2]", "[::-1]", "[::-3]"])
def test_slopes_of_steps(name: str) -> None:
    """Of a gradient, and of a gradient's, as those of a known length; of no rows there are none."""
    chosen = slice(*(int(t) if t else None for t in name[1:-1].split(":")))

    def slopes(rows: Any) -> Any:
        x = sn.placeholder((rows, 2), "float64", "x")
        (g,) = sn.grad(sn.sum(x[chosen] ** 3), [x])
        return sn.function(x, [g, *sn.grad(sn.sum(g * g), [x])], device="numpy")

    whole = slopes("n")
    for n in SIZES:
        if n == 0 and name not in ("[::2]", "[::-1]", "[::-3]"):
            continue  # an error, as of the slice itself
        for got, expected in zip(whole(data(n)), slopes(n)(data(n)), strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)
