"""Layers of convolutions: PyTorch's state, values, padding modes and output sizes."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from tolerance import close

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, ShapeError

rng = np.random.default_rng(0)
SPATIAL = {1: (7,), 2: (6, 5), 3: (5, 6, 5)}
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def compute(layer: Any, x: Any, *args: Any) -> Any:
    node = sn.placeholder(x.shape, x.dtype, "x")
    return sn.function(node, layer(node, *args))(x)


MODES = [
    (f"Conv{axes}d", {"padding_mode": mode, **options})
    for axes, mode in itertools.product((1, 2, 3), ("zeros", "reflect", "replicate", "circular"))
    for options in (
        {"padding": tuple(range(1, axes + 1)), "stride": 2, "groups": 2},
        {"padding": "same", "kernel_size": 2, "bias": False},
        {"padding": "valid", "dilation": 2},
    )
]
TRANSPOSED = [
    (f"ConvTranspose{axes}d", options)
    for axes in (1, 2, 3)
    for options in (
        {"stride": 2, "output_padding": 1, "groups": 2},
        {"dilation": 2, "bias": False, "padding": 1},
    )
]


@pytest.mark.parametrize(("name", "options"), MODES + TRANSPOSED, ids=str)
def test_pytorch_s_state_gives_pytorch_s_values(torch: Any, name: str, options: Any) -> None:
    options = {"kernel_size": 3, **options}
    theirs = getattr(torch.nn, name)(4, 6, **options, dtype=torch.float64)
    layer = getattr(nn, name)(4, 6, **options, dtype="float64")
    layer.load_state_dict(theirs.state_dict())
    x = rng.normal(size=(2, 4, *SPATIAL[layer.axes]))
    close(compute(layer, x), theirs(torch.tensor(x)).detach().numpy(), 1e-12)
    close(layer(sn.dynamic.tensor(x)).numpy(), compute(layer, x), 1e-12)
    assert layer.extra_repr() == theirs.extra_repr()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})


@pytest.mark.parametrize("size", [(11, 7), (12, 8), (2, 6, 11, 9)])
def test_the_output_size_of_a_transposed_convolution(torch: Any, size: tuple[int, ...]) -> None:
    options = {"stride": (2, 3), "padding": 1}
    theirs = torch.nn.ConvTranspose2d(4, 6, 3, **options, dtype=torch.float64)
    layer = nn.ConvTranspose2d(4, 6, 3, **options, dtype="float64")
    layer.load_state_dict(theirs.state_dict())
    x = rng.normal(size=(2, 4, 6, 3))
    wanted = theirs(torch.tensor(x), list(size)).detach().numpy()
    close(compute(layer, x, size), wanted, 1e-12)


def test_the_first_weights_are_those_of_pytorch_s_distribution() -> None:
    layer = nn.Conv2d(8, 64, 3, groups=2, seed=1)
    bound = 1 / math.sqrt(4 * 9)
    for value in (layer.weight.value, layer.bias.value):
        assert 0.9 * bound < np.abs(value).max() <= bound
    np.testing.assert_allclose(layer.weight.value.std(), bound / math.sqrt(3), rtol=0.05)
    layer = nn.ConvTranspose1d(64, 8, 5, seed=1)
    assert layer.weight.shape == (64, 8, 5)
    assert 0.9 / math.sqrt(40) < np.abs(layer.weight.value).max() <= 1 / math.sqrt(40)


def test_a_step_of_a_small_network(torch: Any) -> None:
    """The same losses as PyTorch's, from the same state."""
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 1, 2, 2)
    ).double()
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 1, 2, 2)
    ).double()
    model.load_state_dict(theirs.state_dict())
    data, target = rng.normal(size=(3, 1, 4, 5)), rng.normal(size=(3, 1, 8, 10))
    x, y = (sn.placeholder(a.shape, "float64", n) for a, n in ((data, "x"), (target, "y")))
    loss = nn.functional.mse_loss(model(x), y)
    step = sn.optim.SGD(0.1).minimize(loss, model.parameters())
    f = sn.function([x, y], loss, updates=step)
    rule = torch.optim.SGD(theirs.parameters(), 0.1)
    for _ in range(3):
        rule.zero_grad()
        wanted = torch.nn.functional.mse_loss(theirs(torch.tensor(data)), torch.tensor(target))
        wanted.backward()
        rule.step()
        np.testing.assert_allclose(f(data, target), wanted.item(), rtol=1e-10)


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.Conv2d(3, 4, 3, groups=2), ArgumentError,
     "Conv2d: groups = 2 must divide in_channels = 3"),
    (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), ArgumentError,
     "ConvTranspose2d: groups = 2 must divide out_channels = 3"),
    (lambda: nn.Conv1d(3, 4, (3, 3)), ArgumentError,
     "Conv1d: kernel_size must be an int or 1 ints, not (3, 3)"),
    (lambda: nn.Conv1d(3, 4, 0), ArgumentError, "Conv1d: kernel_size must be an int or 1 ints of"),
    (lambda: nn.Conv1d(0, 4, 1), ArgumentError, "Conv1d: in_channels must be a positive int"),
    (lambda: nn.Conv1d(3, 4, 3, padding_mode="mirror"), ArgumentError,
     "Conv1d: padding_mode must be one of"),
    (lambda: nn.Conv1d(3, 4, 3, 2, "same"), ArgumentError, 'padding "same" is for stride 1'),
    (lambda: nn.ConvTranspose1d(3, 4, 3, padding_mode="reflect"), ArgumentError,
     'ConvTranspose1d: padding_mode must be "zeros"'),
    (lambda: nn.ConvTranspose1d(3, 4, 3, 2)(sn.zeros((1, 3, 4)), (20,)), ShapeError,
     "ConvTranspose1d: output_size (20,) must be from 9 to 10 along axis -1"),
    (lambda: nn.ConvTranspose1d(3, 4, 3, 2)(sn.zeros((1, 3, 4)), (1, 9)), ShapeError,
     "ConvTranspose1d: output_size must have 1 or 3 entries"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[w[2][:60] for w in WRONG])
def test_wrong_arguments(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        call()
