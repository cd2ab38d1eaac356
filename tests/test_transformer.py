"""Layers of transformers against PyTorch's in float64, with gradients."""

import itertools

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError

rng = np.random.default_rng(0)
N, T, S, SIZE = 2, 4, 3, 6


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def pair(torch, name, *args, **options):
    """A layer of each, of one state."""
    ours = getattr(nn, name)(*args, dtype="float64", **options)
    theirs = getattr(torch.nn, name)(*args, dtype=torch.float64, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return ours, theirs


def agree(torch, ours, theirs, arrays, masks, flags):
    """Result and gradients by the parameters, PyTorch's in training without dropout."""
    tensors = {k: torch.tensor(v) for k, v in masks.items()}
    y = theirs(*map(torch.tensor, arrays), **tensors, **flags)
    wanted = [y, *torch.autograd.grad((y * y).sum(), list(theirs.parameters()))]
    nodes = [sn.placeholder(x.shape, "float64") for x in arrays]
    z = ours(*nodes, **masks, **flags)
    got = sn.function(nodes, [z, *sn.grad(sn.sum(z * z), ours.parameters())])(*arrays)
    for x, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(x, w.detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Support for mismatched", "ignore:enable_nested")
def test_layers_are_pytorchs(torch):
    causal = np.triu(np.full((T, T), -np.inf), 1)
    cases = itertools.product((False, True), (False, True), (("relu", True), ("gelu", False)))
    for first, norm_first, (activation, bias) in cases:
        options = {
            "dropout": 0.0, "activation": activation, "batch_first": first,
            "norm_first": norm_first, "bias": bias, "layer_norm_eps": 1e-3,
        }  # fmt: skip
        x, memory = rng.normal(size=(N, T, SIZE)), rng.normal(size=(N, S, SIZE))
        arrays = [x, memory] if first else [x.swapaxes(0, 1), memory.swapaxes(0, 1)]
        padding = np.zeros((N, T), bool)
        padding[0, -1] = True
        layers = pair(torch, "TransformerEncoderLayer", SIZE, 2, 5, **options)
        masks = {"src_key_padding_mask": padding} if first else {"src_mask": causal}
        agree(torch, *layers, arrays[:1], masks, {} if first else {"is_causal": True})
        layers = pair(torch, "TransformerDecoderLayer", SIZE, 3, 5, **options)
        agree(torch, *layers, arrays, {"tgt_mask": causal}, {"tgt_is_causal": True})


@pytest.mark.filterwarnings("ignore:enable_nested")
def test_stacks_are_pytorchs(torch):
    for name, inputs in (("Encoder", 1), ("Decoder", 2)):
        ours, theirs = pair(torch, f"Transformer{name}Layer", SIZE, 2, 5, dropout=0.0)
        norms = nn.LayerNorm(SIZE, dtype="float64"), torch.nn.LayerNorm(SIZE, dtype=torch.float64)
        a = getattr(nn, f"Transformer{name}")(ours, 2, norms[0])
        b = getattr(torch.nn, f"Transformer{name}")(theirs, 2, norms[1])
        assert list(a.state_dict()) == list(b.state_dict())
        agree(torch, a, b, [rng.normal(size=(T, N, SIZE)) for _ in range(inputs)], {}, {})


@pytest.mark.filterwarnings("ignore:enable_nested")
def test_the_whole_is_pytorchs(torch):
    """Of an encoder and a decoder, with masks by name; its matrices begin within xavier's bound."""
    fresh = nn.Transformer(SIZE, 2, 1, 1, 5, seed=0)
    for p in fresh.parameters():
        if p.ndim > 1:
            assert 0 < np.abs(p.value).max() <= np.sqrt(6 / sum(p.shape)) + 1e-6
    for first in (False, True):
        layers = pair(torch, "Transformer", SIZE, 2, 2, 1, 5, 0.0, batch_first=first)
        x, y = rng.normal(size=(N, S, SIZE)), rng.normal(size=(N, T, SIZE))
        arrays = [x, y] if first else [x.swapaxes(0, 1), y.swapaxes(0, 1)]
        causal = nn.Transformer.generate_square_subsequent_mask(T, "float64")
        np.testing.assert_array_equal(
            causal, torch.nn.Transformer.generate_square_subsequent_mask(T).numpy()
        )
        agree(torch, *layers, arrays, {"tgt_mask": causal}, {"tgt_is_causal": True})


def test_copies_drop_by_keys_of_their_own():
    layer = nn.TransformerEncoderLayer(SIZE, 2, 5, dropout=0.5)
    first, second = nn.TransformerEncoder(layer, 2).layers
    for a, b in zip(first.modules(), second.modules(), strict=True):
        if hasattr(a, "counter"):
            assert a._generator.seed != b._generator.seed
            assert a.counter is a._generator.counter
    x = sn.dynamic.asarray(rng.normal(size=(T, N, SIZE)).astype("float32"))
    assert not np.array_equal(np.asarray(first(x)), np.asarray(first(x)))
    first.eval()
    np.testing.assert_array_equal(np.asarray(first(x)), np.asarray(first(x)))


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="activation"):
        nn.TransformerEncoderLayer(6, 2, activation="tanh")
    broken = nn.TransformerDecoderLayer(6, 2, 5, activation=lambda x: x.no_such)
    with pytest.raises(ArgumentError, match=r"TransformerDecoderLayer: activation .* failed"):
        broken(np.zeros((1, 1, 6), "f4"), np.zeros((1, 1, 6), "f4"))
    with pytest.raises(ArgumentError, match="num_layers"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2), 0)
