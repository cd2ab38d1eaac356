"""Augmentations: each example its own, the same for equal keys, what the definition says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, ShapeError

COMPILES = True
F = nn.functional
rng = np.random.default_rng(0)
X = rng.uniform(0.1, 0.9, (64, 3, 6, 5)).astype("f")
KEY = sn.random.key(5)


def of(build: Any, device: str = "numpy", x: Any = X) -> Any:
    node = sn.placeholder(("n", *x.shape[1:]), str(x.dtype), "x")
    return sn.function(node, build(node), device=device)(x)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_crop_is_a_window_of_the_padded_image(device: str) -> None:
    got = of(lambda x: F.random_crop(x, (4, 6), (1, 2), fill=-1.0, key=KEY), device)
    padded = np.pad(X, ((0, 0), (0, 0), (1, 1), (2, 2)), constant_values=-1)
    found = set()
    for image, full in zip(got, padded, strict=True):
        places = [(i, j) for i in range(5) for j in range(4)
                  if np.array_equal(image, full[:, i : i + 4, j : j + 6])]  # fmt: skip
        assert places
        found.add(places[0])
    assert len(found) > 12  # of 20


@pytest.mark.parametrize(
    ("f", "axis"), [(F.random_horizontal_flip, 3), (F.random_vertical_flip, 2)]
)
def test_flips_turn_some_images(f: Any, axis: int) -> None:
    got = of(lambda x: f(x, 0.25, key=KEY))
    turned = np.flip(X, axis)
    changed = [np.array_equal(a, b) for a, b in zip(got, turned, strict=True)]
    for image, own, other, change in zip(got, X, turned, changed, strict=True):
        np.testing.assert_array_equal(image, other if change else own)
    assert 6 <= sum(changed) <= 28
    np.testing.assert_array_equal(of(lambda x: f(x, 1.0, key=KEY)), turned)
    np.testing.assert_array_equal(of(lambda x: f(x, 0.0, key=KEY)), X)


def test_erasing_sets_a_rectangle() -> None:
    x = np.ones((300, 2, 20, 30), "f")
    got = of(lambda x: F.random_erasing(x, 0.5, value=7.0, key=KEY), x=x)
    areas = []
    for image in got:
        np.testing.assert_array_equal(image[0], image[1])
        rows, columns = np.nonzero(image[0] == 7)
        if len(rows):
            areas.append(len(rows) / 600)
            low, left = rows.min(), columns.min()
            assert (image[0, low : rows.max() + 1, left : columns.max() + 1] == 7).all()
    assert 110 < len(areas) < 190
    assert 0.01 < min(areas) < 0.05
    assert 0.25 < max(areas) < 0.36


def test_colors_are_blends() -> None:
    gray = (X * np.array([0.299, 0.587, 0.114], "f")[:, None, None]).sum(1, keepdims=True)
    wanted = {
        "brightness": np.clip(X * 1.5, 0, 1),
        "contrast": np.clip(1.5 * X - 0.5 * gray.mean((1, 2, 3), keepdims=True), 0, 1),
        "saturation": np.clip(1.5 * X - 0.5 * gray, 0, 1),
    }
    for name, want in wanted.items():
        got = of(lambda x, name=name: F.color_jitter(x, **{name: (1.5, 1.5)}, key=KEY))
        np.testing.assert_allclose(got, want, 1e-5, 1e-6)
    factors = of(lambda x: F.color_jitter(x, brightness=0.1, key=KEY)) / X
    assert 0.9 <= factors.min() < 0.93
    assert 1.07 < factors.max() <= 1.1001


def test_layers_draw_anew_in_each_run_and_only_while_training() -> None:
    model = nn.Sequential(
        nn.RandomCrop((6, 5), 2), nn.RandomHorizontalFlip(), nn.RandomVerticalFlip(),
        nn.RandomErasing(), nn.ColorJitter(0.2, 0.2, 0.2), nn.Normalize([0.5] * 3, 0.25),
    )  # fmt: skip
    x = sn.placeholder(X.shape, "float32")
    f = sn.function(x, model(x), device="numpy")
    first = f(X)
    assert first.shape == X.shape
    assert not np.array_equal(first, f(X))
    assert not model.state_dict()
    model.eval()
    np.testing.assert_allclose(of(model), (X - 0.5) / 0.25, 1e-5, 1e-6)


def test_equal_keys_and_devices_agree() -> None:
    def build(x: Any) -> Any:
        return F.random_erasing(F.random_crop(x, 4, 1, key=KEY), key=sn.random.fold_in(KEY, 1))

    np.testing.assert_array_equal(of(build), of(build))
    np.testing.assert_array_equal(of(build), of(build, "cpu"))
    assert of(build, x=X[:0]).shape == (0, 3, 4, 4)


def test_errors() -> None:
    with pytest.raises(ShapeError, match="random_crop: a window of 9"):
        of(lambda x: F.random_crop(x, 9, 1, key=KEY))
    with pytest.raises(ShapeError, match="images must be"):
        of(lambda x: F.random_horizontal_flip(x[0], key=KEY))
    with pytest.raises(ArgumentError, match="ratio"):
        of(lambda x: F.random_erasing(x, ratio=(0, 1), key=KEY))
    with pytest.raises(ArgumentError, match="expected a key"):
        of(lambda x: F.random_crop(x, 2, key=None))
    with pytest.raises(ShapeError, match="standardize: mean"):
        of(lambda x: F.standardize(x, [0.0, 1.0], 1.0))
