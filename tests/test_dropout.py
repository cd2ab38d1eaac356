"""Dropout and its kin: what is dropped, by which shares, and what a mean and a variance become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, ShapeError
from staticnet.nn import functional as F

KEY = sn.random.key(5)
CHANNELS: dict[str, list[tuple[tuple[int, ...], int]]] = {
    "dropout1d": [((40, 50, 3), 2), ((900, 3), 1)],
    "dropout2d": [((40, 50, 2, 3), 2), ((40, 50, 3), 2)],
    "dropout3d": [((40, 50, 2, 1, 3), 2), ((900, 2, 1, 3), 1)],
    "feature_alpha_dropout": [((40, 50, 3), 2), ((40, 50), 2)],
}
LAYERS = {
    "Dropout": (40, 50), "Dropout1d": (40, 50, 2), "Dropout2d": (40, 50, 2, 1),
    "Dropout3d": (40, 50, 2, 1, 1), "AlphaDropout": (40, 50), "FeatureAlphaDropout": (40, 50, 2),
}  # fmt: skip


def run(x: np.ndarray[Any, Any], make: Any) -> Any:
    node = sn.placeholder(x.shape, x.dtype)
    return sn.function(node, make(node))(x)


@pytest.mark.parametrize("name", CHANNELS)
def test_whole_channels_are_dropped(name: str) -> None:
    for shape, kept in CHANNELS[name]:
        x = np.random.default_rng(1).uniform(1, 2, shape)
        y = run(x, lambda x: getattr(F, name)(x, 0.25, KEY))
        rows = (y / x).reshape(*shape[:kept], -1)
        if name == "feature_alpha_dropout":
            dropped = np.isclose(y, y.min()).reshape(rows.shape)
            assert (dropped == dropped[..., :1]).all()
            assert 0.2 < dropped.mean() < 0.3
        else:
            np.testing.assert_allclose(np.unique(rows.round(9)), [0, 4 / 3])
            assert (rows == 0).all(-1).mean() == (rows == 0).mean()
            assert 0.2 < (rows == 0).mean() < 0.3


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(2).normal(size=200_000)
    for p in (0.1, 0.5, 0.8):
        y = run(x, lambda x, p=p: F.alpha_dropout(x, p, KEY))
        assert abs(y.mean()) < 0.02
        assert abs(y.var() - 1) < 0.02


def test_its_values_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    x, p = np.random.default_rng(3).normal(size=5000), 0.3
    ours = run(x, lambda x: F.alpha_dropout(x, p, KEY))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.nn.functional.alpha_dropout(torch.from_numpy(x), p, training=True).numpy()
    assert np.unique(ours.round(9)).size < ours.size
    least, where = np.unique(theirs.round(9), return_counts=True)
    dropped = least[where.argmax()]
    assert np.isclose(ours, dropped).mean() == pytest.approx(p, abs=0.03)
    both = ~np.isclose(ours, dropped) & ~np.isclose(theirs, dropped)
    np.testing.assert_allclose(ours[both], theirs[both], 1e-9)


FUNCTIONS = ("dropout", *CHANNELS, "alpha_dropout")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits_and_gradients(name: str) -> None:
    f, shape = getattr(F, name), (4, 3, 2, 2) if name in ("dropout2d", "dropout3d") else (4, 3, 2)
    x = np.random.default_rng(4).normal(size=shape)
    np.testing.assert_array_equal(run(x, lambda x: f(x, 0)), x)
    np.testing.assert_array_equal(run(x, lambda x: f(x, 1.0, KEY)), np.zeros(shape))
    np.testing.assert_array_equal(run(x, lambda x: sn.grad(sn.sum(f(x, 1.0, KEY)), [x])[0]), 0 * x)
    np.testing.assert_array_equal(run(x, lambda x: f(x, 0.5, training=False)), x)
    assert run(np.zeros((0, *shape[1:])), lambda x: f(x, 0.5, KEY)).shape == (0, *shape[1:])
    half = run(x.astype("float16"), lambda x: f(x, 0.5, KEY))
    assert half.dtype == np.float16
    node = sn.placeholder(shape, "float64")
    y, g = sn.function(node, [y := f(node, 0.5, KEY), *sn.grad(sn.sum(y), [node])])(x)
    eps = 1e-6
    slope = (run(x + eps, lambda x: f(x, 0.5, KEY)) - y) / eps
    np.testing.assert_allclose(g, slope, atol=1e-6)
    dynamic = f(sn.dynamic.tensor(x), 0.5, KEY).numpy()
    np.testing.assert_allclose(dynamic, y, 1e-12)
    with pytest.raises(ArgumentError, match=r"\[0"):
        f(node, 1.5, KEY)
    if name not in ("dropout", "alpha_dropout"):
        with pytest.raises(ShapeError, match="axes"):
            f(sn.placeholder((3,)), 0.5, KEY)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_scalar_is_kept_or_dropped(device: str) -> None:
    x = sn.placeholder((), "float64", name="lone")
    step = sn.function(x, [F.dropout(x, 0.5, KEY), sn.random.uniform(KEY)], device=device)
    y, u = step(3.0)
    assert float(y) == (6.0 if float(u) < 0.5 else 0.0)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    torch = pytest.importorskip("torch")
    layer, shape = getattr(nn, name)(0.25, seed=1), LAYERS[name]
    assert layer.state_dict() == dict(getattr(torch.nn, name)(0.25).state_dict())
    x = sn.placeholder(shape, "float64")
    step, data = sn.function(x, layer(x)), np.ones(shape)
    first, second = step(data), step(data)
    assert not np.array_equal(first, second)
    layer.counter.value = np.uint64(0)
    np.testing.assert_array_equal(step(data), first)
    assert layer.eval()(x) is x
    assert str(layer) == f"{name}(p=0.25)"
