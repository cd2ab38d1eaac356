"""Random numbers stay in their ranges: each draw, in each dtype, on each device, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import DEVICES, on

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError
from staticnet.nn import init
from staticnet.ops.random import limits_within

DTYPES = ["float16", "bfloat16", "float32", "float64"]
RANGES = [
    (0.0, 1.0),
    (100.0, 101.0),
    (-1.0, 3.0),
    (0.1, 0.2),
    (-1e-7, 1e4),
    (2.0, 2.0),
    (-0.7, -0.3),
]
KEY = sn.random.key(5)
MANY = 1 << 20


def draw(value: Any) -> Any:
    return sn.function([], value, device="numpy")()


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_of_a_million(dtype: str, low: float, high: float) -> None:
    found = [draw(sn.random.uniform(KEY, (MANY,), dtype, low, high))]
    least, most = (np.asarray(x).astype(found[0].dtype) for x in (low, high))
    if float(least) == low and float(most) == high:
        limits = [sn.constant(x) for x in (least, most)]
        found.append(draw(sn.random.uniform(KEY, (MANY,), dtype, *limits)))
    found.append(init.uniform((MANY,), low, high, dtype, seed=5))
    for x in found:
        assert x.dtype == dtype
        wide = x.astype("float64")
        assert wide.min() >= low or low == high
        assert wide.max() < high or low == high
        step = 0.51 * float(np.abs(most - np.nextafter(most, least)).astype("float64"))
        assert wide.mean() == pytest.approx((low + high) / 2, abs=(high - low) / 100 + step)


def sized(device: str) -> int:
    return 4096 if device == "cuda" else 1 << 16


@pytest.mark.parametrize("device", DEVICES)
def test_uniform_has_one_stream_of_bits(device: str, tmp_path: Path) -> None:
    """The published words, shifted to the digits of the dtype."""
    n = sized(device)
    words = draw(sn.random.random_bits(KEY, (n,))).astype("float64")

    def build() -> Any:
        return [sn.random.uniform(KEY, (n,), t) for t in DTYPES[:3]]

    for got, digits in zip(on(device, tmp_path, build), (11, 8, 24), strict=True):
        wanted = np.floor(words * 2.0 ** (digits - 32)) * 2.0**-digits
        np.testing.assert_array_equal(got.astype("float64"), wanted)


@pytest.mark.parametrize("device", DEVICES)
def test_scaled_draws_stay_in_range(device: str, tmp_path: Path) -> None:
    n, ranges = sized(device), RANGES[1:]

    def build(low: Any, high: Any) -> Any:
        fixed = [sn.random.uniform(KEY, (n,), t, *r) for t in DTYPES for r in ranges]
        return [*fixed, sn.random.uniform(KEY, (n,), "float16", low, high)]

    limits = np.float16([100.0]), np.float16([101.0])
    *fixed, given = found = on(device, tmp_path, build, *limits)
    for x, same in zip(found, on("numpy", tmp_path, build, *limits), strict=True):
        assert x.tobytes() == same.tobytes()
    for x, (low, high) in zip(fixed, ranges * len(DTYPES), strict=True):
        wide = x.astype("float64")
        assert low == high or low <= wide.min() <= wide.max() < high
    assert 100 <= given.min() <= given.max() < 101


@pytest.mark.parametrize("device", DEVICES)
def test_the_other_draws_at_their_ends(device: str, tmp_path: Path) -> None:
    n = sized(device)

    def build(x: Any) -> Any:
        return [
            sn.random.bernoulli(KEY, 0, (n,)), sn.random.bernoulli(KEY, 1.0, (n,)),
            sn.random.randint(KEY, -3, 2**32 - 3, (n,)), sn.random.randint(KEY, 7, 8, (n,)),
            *(sn.random.normal(KEY, (n,), t, 1, 2) for t in DTYPES),
            sn.nn.dropout(x, 1 - 1e-9, KEY), sn.nn.dropout(x, 0.5, KEY),
        ]  # fmt: skip

    never, always, wide, seven, *normals, rare, halved = on(
        device, tmp_path, build, np.ones(n, "float16")
    )
    assert not never.any()
    assert always.all()
    assert -3 <= wide.min() <= wide.max() < 2**32 - 3
    assert (seven == 7).all()
    for x in normals:
        assert np.abs(x.astype("float64") - 1).max() < 2 * 8.6
    assert not np.isnan(rare).any()
    assert set(halved.tolist()) == {0.0, 2.0}


def test_a_dropout_that_keeps_almost_nothing_has_a_gradient() -> None:
    """1 - p is 1e-9, which float16 does not have: x / 0 made it NaN."""
    x = sn.placeholder((64,), "float16", "x")
    (slope,) = sn.grad(sn.sum(sn.nn.dropout(x, 1 - 1e-9, KEY)), [x])
    np.testing.assert_array_equal(sn.function(x, slope)(np.ones(64, "float16")), np.zeros(64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_stay_in_range(dtype: str) -> None:
    shape = (1000, 500)
    for w, low, high in [
        (init.xavier_uniform(shape, dtype=dtype, seed=1), -((6 / 1500) ** 0.5), (6 / 1500) ** 0.5),
        (init.truncated_normal(shape, 0, 1, -0.1, 0.3, dtype=dtype, seed=1), -0.1, 0.3),
        (init.truncated_normal(shape, 0, 1, 0.5, np.inf, dtype=dtype, seed=1), 0.5, 7.0),
    ]:
        assert low <= w.astype("float64").min() <= w.astype("float64").max() <= high


def test_the_numbers_within_a_range() -> None:
    f16 = np.dtype("float16")
    assert limits_within(0.0, 1.0, f16) == (0, 1 - 2.0**-11)
    assert limits_within(100.0, 101.0, f16) == (100, 101 - 2.0**-4)
    least, most = limits_within(0.1, 0.2, f16)
    assert 0.1 <= float(least) < 0.1 + 2.0**-13
    assert 0.2 - 2.0**-12 < float(most) < 0.2


def test_ranges_that_are_none() -> None:
    uniform: Any = sn.random.uniform
    for low, high, dtype, message in [
        (1, 0, "float32", r"no float32 lies in \[1.0, 0.0\)"),
        (0.1, 0.10001, "float16", "no float16 lies in"),
        (-3e38, 3e38, "float32", "the width of .* is not finite in float32"),
        (0, np.inf, "float64", "the width of .* is not finite"),
        (np.nan, 1, "float64", "the width of .* is not finite"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            uniform(KEY, (3,), dtype, low, high)
    with pytest.raises(ArgumentError, match="p must be a probability"):
        sn.random.bernoulli(KEY, 1.5, (3,))
    for std in (-1.0, np.nan):
        with pytest.raises(ArgumentError, match="normal: std must be a number >= 0, not"):
            sn.random.normal(KEY, (3,), std=std)
        with pytest.raises(ArgumentError, match="normal: std must be a number >= 0, not"):
            init.normal((3,), std=std)
    with pytest.raises(DTypeError, match="normal: takes a floating-point dtype, not int32"):
        sn.random.normal(KEY, (3,), "int32")
    with pytest.raises(ArgumentError, match="width of"):
        init.uniform((3,), -np.inf, 1)
