"""`MultiheadAttention` against PyTorch's in float64, over all options."""

import itertools

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

rng = np.random.default_rng(0)
N, T, S, SIZE = 2, 4, 5, 6


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def inputs(layer, batched):
    """Query, key and value as the layer takes them."""
    arrays = [rng.normal(size=(N, *s)) for s in ((T, SIZE), (S, layer.kdim), (S, layer.vdim))]
    if not batched:
        return [x[0] for x in arrays]
    return arrays if layer.batch_first else [x.swapaxes(0, 1) for x in arrays]


def masks(batch, kind, padding, causal):
    """attn_mask and key_padding_mask, which leave the first key to each query."""
    mask = {
        "none": None,
        "bool": rng.random((T, S)) > 0.7,
        "float": rng.normal(size=(T, S)),
        "heads": rng.normal(size=(batch * 2, T, S)),
    }[kind]
    mask = ~np.tril(np.ones((T, S), bool)) if causal else mask
    kept = {
        "none": None,
        "bool": rng.random((batch, S)) > 0.7,
        "float": rng.normal(size=(batch, S)),
    }
    for x in (mask, kept[padding]):
        if x is not None and x.dtype == bool:
            x[..., 0] = False
    return mask, kept[padding]


def layers(torch):
    """Pairs of layers of equal state, ours and PyTorch's."""
    flags = itertools.product((True, False), repeat=3)
    for (bias, more, zero), (kdim, vdim), first in itertools.product(
        flags, ((None, None), (5, 3)), (False, True)
    ):
        options = (SIZE, 2, 0.0, bias, more, zero, kdim, vdim, first)
        ours = nn.MultiheadAttention(*options, dtype="float64")
        theirs = torch.nn.MultiheadAttention(*options, dtype=torch.float64)
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter)
        ours.load_state_dict(theirs.state_dict())
        assert list(ours.state_dict()) == list(theirs.state_dict())
        yield ours, theirs, more or zero


@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_it_is_pytorchs_over_all_options(torch):
    calls = list(
        itertools.product(
            (True, False), (True, False), ("none", "bool", "float", "heads"),
            ("none", "bool", "float"), (False, True), (True, False),
        )
    )  # fmt: skip
    for ours, theirs, more in layers(torch):
        for i in rng.integers(len(calls), size=4):
            need, average, kind, padding, causal, batched = calls[i]
            causal &= not more
            arrays = inputs(ours, batched)
            mask, kept = masks(N if batched else 1, kind, padding, causal)
            kept = kept[0] if kept is not None and not batched else kept
            options = {"need_weights": need, "average_attn_weights": average, "is_causal": causal}
            tensors = [None if x is None else torch.tensor(x) for x in (kept, mask)]
            wanted = theirs(
                *map(torch.tensor, arrays), key_padding_mask=tensors[0], attn_mask=tensors[1],
                **options,
            )  # fmt: skip
            nodes = map(sn.dynamic.asarray, arrays)
            got = ours(*nodes, key_padding_mask=kept, attn_mask=mask, **options)
            assert (got[1] is None) == (wanted[1] is None) == (not need)
            for x, w in zip(got, wanted, strict=True):
                if w is not None:
                    np.testing.assert_allclose(np.asarray(x), w.detach(), rtol=1e-9, atol=1e-11)


def test_self_attention_is_one_product_and_its_gradient_is_pytorchs(torch):
    ours = nn.MultiheadAttention(SIZE, 3, batch_first=True, dtype="float64")
    theirs = torch.nn.MultiheadAttention(SIZE, 3, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    x = rng.normal(size=(N, T, SIZE))
    batch = sn.Dim("batch")
    node = sn.placeholder((batch, T, SIZE), "float64")
    y, _ = ours(node, node, node, need_weights=False, is_causal=True)
    step = sn.function([node], [y, *sn.grad(sn.sum(y * y), ours.parameters())])
    tensor = torch.tensor(x)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)
    z, _ = theirs(tensor, tensor, tensor, attn_mask=mask, is_causal=True, need_weights=False)
    (z * z).sum().backward()
    wanted = [z, *(p.grad for p in theirs.parameters())]
    for got, w in zip(step(x), wanted, strict=True):
        np.testing.assert_allclose(got, w.detach(), rtol=1e-9, atol=1e-11)


def test_weights_are_dropped_while_training():
    layer = nn.MultiheadAttention(SIZE, 2, dropout=0.5, batch_first=True, seed=1)
    x = sn.dynamic.asarray(rng.normal(size=(N, T, SIZE)).astype("float32"))
    w = np.asarray(layer(x, x, x, average_attn_weights=False)[1])
    assert 0.2 < (w == 0).mean() < 0.8
    layer.eval()
    assert (np.asarray(layer(x, x, x)[1]) > 0).all()
    assert "counter" not in layer.state_dict()


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="4 heads must divide"):
        nn.MultiheadAttention(6, 4)
    layer = nn.MultiheadAttention(6, 2)
    x = sn.placeholder((4, 2, 6))
    with pytest.raises(ShapeError, match="attn_mask"):
        layer(x, x, x, attn_mask=np.zeros((4, 3), bool))
    with pytest.raises(ShapeError, match="key_padding_mask"):
        layer(x, x, x, key_padding_mask=np.zeros((4, 2), bool))
    with pytest.raises(DTypeError, match="attn_mask"):
        layer(x, x, x, attn_mask=np.zeros((4, 4), int))
    with pytest.raises(ShapeError, match="features"):
        layer(x, x, sn.placeholder((4, 2, 5)))
