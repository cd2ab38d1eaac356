"""nextafter: the neighbour of a value in its own dtype, on every device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import DEVICES, on

import staticnet as sn

DTYPES = ["float16", "bfloat16", "float32", "float64"]
EDGES = [0.0, -0.0, 1.0, -1.0, 1.5, 2.0, np.inf, -np.inf, np.nan, 1e-45, 6e-8, 6e4, 3e38]


def ordinal(x: Any) -> Any:
    """Where a value stands among all of its dtype: neighbours' numbers differ by 1."""
    bits = x.view(f"int{8 * x.dtype.itemsize}")
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits).astype("int64")


@pytest.mark.parametrize("device", DEVICES)
def test_the_next_value_is_the_next(device: str, tmp_path: Path) -> None:
    arrays: list[Any] = []
    with np.errstate(over="ignore"):
        for dtype in DTYPES:
            x, y = np.meshgrid(EDGES, EDGES)
            arrays += [a.reshape(-1).astype(sn.zeros((), dtype).dtype) for a in (x, y)]

    def build(*xs: Any) -> Any:
        return [sn.nextafter(x, y) for x, y in zip(xs[::2], xs[1::2], strict=True)]

    for z, x, y in zip(
        on(device, tmp_path, build, *arrays), arrays[::2], arrays[1::2], strict=True
    ):
        assert z.dtype == x.dtype
        nan = np.isnan(x) | np.isnan(y)
        np.testing.assert_array_equal(np.isnan(z), nan)
        with np.errstate(invalid="ignore"):
            step, same = (y > x).astype(int) - (y < x), ~nan & (x == y)
        assert (ordinal(z) - ordinal(x))[~nan].tolist() == step[~nan].tolist()
        np.testing.assert_array_equal(np.signbit(z)[same], np.signbit(y)[same])
