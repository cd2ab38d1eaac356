"""The device code's attention, through the shim: masks, grouped queries, tiles partly full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from everywhere import on

import staticnet as sn
from staticnet import nn

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
RNG = np.random.default_rng(6)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-2, "bfloat16": 6e-2}
SHAPES = (1, 4, 70, 20), (1, 2, 75, 20), (1, 2, 75, 66)
KEEP = RNG.random((4, 70, 75)) > 0.4
KEEP[:, 3] = False
BIAS = RNG.normal(size=(1, 75)).astype("float32")


def with_gradients(dtype: str, *args: Any, **options: Any) -> list[Any]:
    narrow = [sn.astype(x, dtype) for x in args]
    y = nn.scaled_dot_product_attention(*narrow, enable_gqa=True, **options)
    loss = sn.sum(sn.astype(y, "float32") ** 2)
    return [sn.astype(z, "float32") for z in (y, *sn.grad(loss, narrow))]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("bfloat16", "float16", "float64")]


@pytest.mark.parametrize("dtype", ["float32", *SLOW])
def test_blocks_of_all_kinds(dtype: str, tmp_path: Path) -> None:
    args = [RNG.normal(size=shape).astype("float32") for shape in SHAPES]

    def build(*xs: Any) -> list[Any]:
        dropout = {"dropout_p": 0.3, "dropout_key": sn.random.key(7, 2)}
        calls = ({"is_causal": True, **dropout}, {"attn_mask": KEEP}, {"attn_mask": BIAS})
        return [y for options in calls for y in with_gradients(dtype, *xs, **options)]

    wanted = on("numpy", tmp_path, build, *args)
    for got, want in zip(on("cuda", tmp_path, build, *args), wanted, strict=True):
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * scale)


EMPTY = {
    "batch": ((0, 2, 3, 4), (0, 2, 5, 4), (0, 2, 5, 6)),
    "heads": ((1, 0, 3, 4), (1, 0, 5, 4), (1, 0, 5, 6)),
    "queries": ((1, 2, 0, 4), (1, 2, 5, 4), (1, 2, 5, 6)),
    "keys": ((1, 2, 3, 4), (1, 2, 0, 4), (1, 2, 0, 6)),
    "features": ((1, 2, 3, 0), (1, 2, 5, 0), (1, 2, 5, 6)),
    "results": ((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 0)),
}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_axes_without_elements(device: str, tmp_path: Path) -> None:
    args = [RNG.normal(size=x).astype("float32") for shapes in EMPTY.values() for x in shapes]

    def build(*xs: Any) -> list[Any]:
        made = []
        for q, k, v in zip(xs[::3], xs[1::3], xs[2::3], strict=True):
            made += with_gradients("float32", q, k, v)
        return made

    wanted = on("numpy", tmp_path, build, *args)
    for got, want in zip(on(device, tmp_path, build, *args), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
