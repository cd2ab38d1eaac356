"""Embeddings, bags of them and bilinear maps, with all options: PyTorch is the oracle."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

COMPILES = True
torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
F = torch.nn.functional
rng = np.random.default_rng(0)
WEIGHT = rng.normal(size=(6, 3)) * 2
GRID = np.array([[0, 2, 2, 5], [1, 1, 3, 2], [2, 2, 2, 2]])
LINE, OFFSETS = GRID.ravel()[:9], np.array([0, 0, 4, 9])
FACTORS = rng.uniform(0.5, 2, GRID.shape)
PADDING = (None, 2, -1)


def test_embeddings_are_pytorchs() -> None:
    """Values and gradients of all options, on both devices; PyTorch renormalises a copy."""
    w = sn.placeholder(WEIGHT.shape, "float64", "w")
    outputs, wanted = list[Any](), list[Any]()
    for padding, norm, often in itertools.product(PADDING, (None, 1.5), (False, True)):
        options = {"padding_idx": padding, "max_norm": norm, "scale_grad_by_freq": often}
        y = nn.functional.embedding(sn.constant(GRID), w, **options)
        outputs += [y, *sn.grad(sn.sum(y * y), [w])]
        table = torch.tensor(WEIGHT, requires_grad=True)
        held = table.detach().clone().requires_grad_() if norm else table
        z = F.embedding(torch.tensor(GRID), held, **options)
        wanted += [z.detach().numpy(), torch.autograd.grad((z * z).sum(), held)[0].numpy()]
    agree(w, outputs, wanted)


def agree(w: Any, outputs: list[Any], wanted: list[Any]) -> None:
    for device in ("numpy", "cpu"):
        for got, want in zip(sn.function(w, outputs, device=device)(WEIGHT), wanted, strict=True):
            np.testing.assert_allclose(got, want, 1e-6, 1e-9)


def test_bags_are_pytorchs() -> None:
    w = sn.placeholder(WEIGHT.shape, "float64", "w")
    outputs, wanted = list[Any](), list[Any]()
    for mode, padding, bags in itertools.product(
        ("sum", "mean", "max"), PADDING, ("rows", "offsets", "ends")
    ):
        options = {"mode": mode, "padding_idx": padding, "include_last_offset": bags == "ends"}
        index, offsets = (GRID, None) if bags == "rows" else (LINE, OFFSETS)
        samples = FACTORS.ravel()[: index.size].reshape(index.shape) if mode == "sum" else None
        y = nn.functional.embedding_bag(
            index, w, offsets, per_sample_weights=samples, **options
        )  # fmt: skip
        outputs += [y, *sn.grad(sn.sum(y * y), [w])]
        table = torch.tensor(WEIGHT, requires_grad=True)
        given = [None if a is None else torch.tensor(a) for a in (offsets, samples)]
        z = F.embedding_bag(
            torch.tensor(index), table, given[0], per_sample_weights=given[1], **options
        )
        wanted += [z.detach().numpy(), torch.autograd.grad((z * z).sum(), table)[0].numpy()]
    agree(w, outputs, wanted)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_layers_load_pytorchs_weights(dtype: str) -> None:
    ours = nn.Embedding(6, 3, padding_idx=-2, dtype=dtype, seed=3)
    assert (ours.weight.value[4] == 0).all()
    assert ours.weight.dtype == dtype
    assert repr(ours) == repr(torch.nn.Embedding(6, 3, -2))
    bag = nn.EmbeddingBag(6, 3, mode="sum", dtype=dtype)
    assert repr(bag) == "EmbeddingBag(6, 3, mode='sum')"
    for layer in (ours, bag):
        layer.load_state_dict({"weight": torch.tensor(WEIGHT)})
        assert sn.function([], layer(sn.constant(GRID)), device="numpy")().dtype == dtype
    frozen = nn.Embedding.from_pretrained(torch.tensor(WEIGHT), padding_idx=1)
    assert not frozen.parameters()
    assert frozen.weight.dtype == "float64"
    assert nn.EmbeddingBag.from_pretrained(WEIGHT, freeze=False, mode="max").parameters()


def test_bilinear_is_pytorchs() -> None:
    ours = nn.Bilinear(3, 2, 4, dtype="float64")
    theirs = torch.nn.Bilinear(3, 2, 4, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    x, y = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2, 2))
    got = sn.function([], ours(sn.constant(x), sn.constant(y)), device="numpy")()
    wanted = theirs(torch.tensor(x), torch.tensor(y)).detach().numpy()
    np.testing.assert_allclose(got, wanted, 1e-12)
    assert repr(ours) == repr(theirs)


def test_random_slopes_and_samples() -> None:
    x, key = sn.constant(np.full(20000, -1.0)), sn.random.key(3)
    slopes = -sn.nn.functional.rrelu(x, 0.2, 0.6, training=True, key=key)
    sample = sn.nn.functional.gumbel_softmax(
        sn.constant(np.log(np.tile([0.2, 0.5, 0.3], (20000, 1)))), hard=True, key=key
    )
    a, s = sn.function([], [slopes, sample], device="numpy")()
    assert 0.2 <= a.min() <= a.max() < 0.6
    assert abs(a.mean() - 0.4) < 0.01
    np.testing.assert_array_equal(np.sort(s, 1), np.tile([0.0, 0, 1], (20000, 1)))
    np.testing.assert_allclose(s.mean(0), [0.2, 0.5, 0.3], atol=0.015)
    layer, node = nn.RReLU(), sn.placeholder((4,), "float64")
    first = sn.function(node, layer(node), device="numpy")
    assert (first(np.full(4, -1.0)) != first(np.full(4, -1.0))).all()
    layer.eval()
    still = sn.function(node, layer(node), device="numpy")(np.full(4, -1.0))
    np.testing.assert_allclose(still, -11 / 48)


def test_errors() -> None:
    with pytest.raises(ArgumentError, match="padding_idx"):
        nn.Embedding(3, 2, padding_idx=3)
    with pytest.raises(DTypeError, match="rows are named by integers"):
        nn.functional.embedding(np.ones(3), WEIGHT)
    with pytest.raises(ShapeError, match="must be"):
        nn.functional.embedding_bag(GRID, WEIGHT, OFFSETS)
    with pytest.raises(ArgumentError, match="per_sample_weights"):
        nn.functional.embedding_bag(GRID, WEIGHT, per_sample_weights=FACTORS)
    with pytest.raises(ArgumentError, match="num_classes"):
        nn.functional.one_hot(GRID)
    with pytest.raises(ArgumentError, match="key"):
        nn.functional.gumbel_softmax(WEIGHT, key=3)
