"""Sums of 16-bit floats are made in float32 and rounded once, on every device.

The oracle is float64: a result may be off by its own rounding, and by float32's of the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import DEVICES, grad_of, on

import staticnet as sn
from staticnet.errors import DTypeError

HALVES = ["float16", "bfloat16"]
LONG = 70_000  # above float16's greatest number, and 2048 and 256, where adding 1 stops to count


def close(got: Any, exact: Any, dtype: str, ulps: float = 0.51) -> None:
    """Each element is the exact one rounded once, but for float32's error before."""
    wide, exact = np.asarray(got, "float64"), np.asarray(exact, "float64")
    digits, least = {"float16": (11, -24), "bfloat16": (8, -133)}[dtype]
    spacing = np.exp2(
        np.maximum(np.floor(np.log2(np.maximum(np.abs(exact), 1e-300))) - digits + 1, least)
    )
    assert got.dtype == sn.zeros((), dtype).dtype
    assert np.isfinite(wide).all()
    np.testing.assert_array_less(np.abs(wide - exact), ulps * spacing + 1e-300)


def half(x: Any, dtype: str) -> Any:
    return np.asarray(x).astype(sn.zeros((), dtype).dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
def test_means_of_many(device: str, dtype: str, tmp_path: Path) -> None:
    ones, hundreds = half(np.ones(LONG), dtype), half(np.full(1000, 100.0), dtype)

    def build(x: Any, y: Any) -> Any:
        return sn.mean(x) + sn.mean(y)

    mean, of_ones, of_hundreds = on(device, tmp_path, grad_of(build), ones, hundreds)
    close(mean, 101, dtype)
    close(of_ones, np.full(LONG, 1 / LONG), dtype)
    close(of_hundreds, np.full(1000, 1 / 1000), dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
def test_scattered_ones_are_counted(device: str, dtype: str, tmp_path: Path) -> None:
    table, ones = half(np.zeros((3, 2)), dtype), half(np.ones((10_000, 2)), dtype)
    at = np.full(10_000, 1)

    def build(x: Any, u: Any, i: Any) -> Any:
        along = sn.broadcast_to(sn.expand_dims(i, 1), (10_000, 2))
        return [
            sn.scatter_add(x, i, u),
            sn.scatter_add_along_axis(x, along, u, 0),
            grad_of(lambda x: sn.take(x, at, 0))(x)[1],
            grad_of(lambda x: sn.take_along_axis(x, np.full((10_000, 2), 1), 0))(x)[1],
        ]

    for counts in on(device, tmp_path, build, table, ones, at):
        close(counts, [[0, 0], [10_000, 10_000], [0, 0]], dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
def test_one_value_used_often_has_all_its_gradients(
    device: str, dtype: str, tmp_path: Path
) -> None:
    """Each adds 1/256 of the first, which in bfloat16 alone would add nothing."""

    def build(x: Any) -> Any:
        parts = [x, *(x * 2.0**-9 for _ in range(64))]
        return sn.stack([p + 0.0 for p in parts])

    _, gradient = on(device, tmp_path, grad_of(build), half([1.0, 2.0], dtype))
    close(gradient, [1 + 64 * 2.0**-9] * 2, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
def test_sums_and_scans(device: str, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = half(rng.uniform(0.5, 1, (3, 4001)), dtype)

    def build(x: Any) -> Any:
        return [
            sn.sum(x, 1), sn.sum(x, 0), sn.cumulative_sum(x, 1), sn.vecdot(x, x),
            sn.max(x, 1), sn.prod(x[:, :8], 1), sn.matmul(x, x.T),
        ]  # fmt: skip

    wide = x.astype("float64")
    exact = [
        wide.sum(1), wide.sum(0), wide.cumsum(1), (wide * wide).sum(1),
        wide.max(1), wide[:, :8].prod(1), wide @ wide.T,
    ]  # fmt: skip
    for got, wanted in zip(on(device, tmp_path, build, x), exact, strict=True):
        close(got, wanted, dtype)


Loss = Callable[..., Any]
COMPOSITES: dict[str, Loss] = {
    "mean": lambda x, t: sn.mean(x),
    "var": lambda x, t: sn.var(x, correction=1),
    "std": lambda x, t: sn.std(x),
    "logsumexp": lambda x, t: sn.logsumexp(x),
    "vecdot": lambda x, t: sn.vecdot(x, t) / 256,
    "max": lambda x, t: sn.max(x * 0 + 1),
    "softmax": lambda x, t: sn.nn.softmax(x * 0),
    "log_softmax": lambda x, t: sn.nn.log_softmax(x)[:9],
    "mse": lambda x, t: sn.nn.mse_loss(x, t),
    "l1": lambda x, t: sn.nn.l1_loss(x, t),
    "huber": lambda x, t: sn.nn.huber_loss(x, t),
    "hinge": lambda x, t: sn.nn.hinge_loss(x, t),
    "embedding": lambda x, t: sn.nn.hinge_embedding_loss(x, t),
    "bce": lambda x, t: sn.nn.binary_cross_entropy_with_logits(x, t),
    "kl": lambda x, t: sn.nn.kl_div(x, t * t, "batchmean"),
    "cross_entropy": lambda x, t: sn.nn.cross_entropy(x, t * t * 2.0**-14),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
def test_composites_round_once_and_so_do_their_gradients(
    device: str, dtype: str, tmp_path: Path
) -> None:
    """Each function of 70,000 elements, against itself in float64."""
    rng = np.random.default_rng(1)
    x = half(rng.uniform(0.5, 4, LONG), dtype)
    t = half(rng.choice([-1.0, 1.0], LONG), dtype)
    compiled = (
        "mean",
        "var",
        "logsumexp",
        "softmax",
        "cross_entropy",
    )  # no device knows composites
    names = compiled if device in ("cpu", "cuda") else tuple(COMPOSITES)

    def build(x: Any, t: Any) -> Any:
        found = []
        for name in names:
            f = COMPOSITES[name]
            found += grad_of(lambda x, f=f: f(x, t))(x)  # type: ignore[misc]
        return found

    got = on(device, tmp_path, build, x, t)
    exact = on("numpy", tmp_path, build, x.astype("float64"), t.astype("float64"))
    for i, name in enumerate(names):
        for y, wanted in zip(got[2 * i : 2 * i + 2], exact[2 * i : 2 * i + 2], strict=True):
            try:
                close(y, wanted, dtype, ulps=1.01)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("dtype", HALVES)
def test_activations_round_once(dtype: str, tmp_path: Path) -> None:
    """At large numbers, too: a cube that overflowed made the gradient of gelu NaN."""
    x = half(np.concatenate([np.linspace(-9, 9, 301), [-400, -300, 300, 400]]), dtype)
    functions = [
        sn.nn.gelu, lambda x: sn.nn.gelu(x, "tanh"), sn.nn.silu, sn.nn.mish, sn.nn.softplus,
        sn.nn.elu, sn.nn.selu, sn.nn.softmax, sn.nn.log_softmax,
    ]  # fmt: skip
    for f in functions:
        found = on("numpy", tmp_path, grad_of(f), x)
        wide = on("numpy", tmp_path, grad_of(f), x.astype("float32"))
        for got, once in zip(found, wide, strict=True):
            assert np.isfinite(once).all()
            assert got.tobytes() == once.astype(x.dtype).tobytes()


def test_dtypes_of_composites_are_those_of_promotion() -> None:
    f16, bf16, f32 = (sn.placeholder((4,), t, f"x{i}") for i, t in enumerate([*HALVES, "float32"]))
    assert sn.mean(bf16).dtype == bf16.dtype
    assert sn.nn.mse_loss(f16, f16).dtype == "float16"
    for pair in ((f16, f32), (f32, bf16), (f16, bf16)):
        assert sn.nn.mse_loss(*pair).dtype == "float32"
        assert sn.nn.mse_loss(input=pair[0], target=pair[1]).dtype == "float32"
    assert sn.nn.cross_entropy(f16, sn.constant(1)).dtype == "float16"
    assert sn.nn.mse_loss(input=f16, target=f16).dtype == "float16"


def test_the_op_that_scatters_takes_no_16_bit_floats() -> None:
    from staticnet.ops.base import apply
    from staticnet.ops.indexing import ScatterAdd

    x = sn.placeholder((4,), "float16", "x")
    with pytest.raises(DTypeError, match="adds up in at least 32 bits, not in float16"):
        apply(ScatterAdd(0), x, x, sn.constant([0, 1, 2, 3]))
