"""Networks on real data learn as PyTorch's do, from the same weights and batches.

Sums of float32 differ in their order, and training magnifies that, by batch norm of small batches
most: in float32 a convolutional network's losses part after some steps, in float64 they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import char_gpt
import char_rnn
import cifar10
import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.io import datasets

COMPILES = True
STEPS = 100
# of PyTorch's loss, up to a step
CLOSE = {10: 1e-5, STEPS: 1e-3}
CHAOTIC = {5: 1e-4, STEPS: 0.5}
DOUBLE = {STEPS: 1e-10}

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine"),
]
Array = np.ndarray[Any, Any]
Batch = tuple[Array, Array]


def images() -> list[Batch]:
    try:
        data = datasets.cifar10()
    except datasets.DataError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(data.train_images), (STEPS, 32))
    return [(data.train_images[rows], data.train_labels[rows]) for rows in chosen]


def pieces(length: int, size: int) -> tuple[int, list[Batch]]:
    """The number of characters, and batches of the text."""
    try:
        text = datasets.tinyshakespeare()
    except datasets.DataError as error:
        pytest.skip(str(error))
    characters, codes = np.unique(np.array(list(text)), return_inverse=True)
    starts = np.random.default_rng(1).integers(0, len(codes) - length, (STEPS, size, 1))
    rows = codes[starts + np.arange(length + 1)]
    return len(characters), [(batch[:, :-1], batch[:, 1:]) for batch in rows]


def learns_as(
    step: Any,
    theirs: Callable[[Any, Any], Any],
    optimizer: Any,
    given: list[Batch],
    tolerances: dict[int, float] = CLOSE,
) -> None:
    """A step beside a loss of PyTorch and its optimizer; the mean of the last is within 1 %.

    Of the last ten; of a chaotic run the last half, for its steps are 3 % apart, either way.
    """
    last = STEPS // 2 if tolerances is CHAOTIC else 10
    found, expected = [], []
    for x, y in given:
        found.append(float(step(x, y)))
        optimizer.zero_grad()
        loss = theirs(torch.tensor(x), torch.tensor(y))
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    apart = np.abs(np.array(found) / np.array(expected) - 1)
    print({until: float(f"{apart[:until].max():.2g}") for until in tolerances})
    for until, tolerance in tolerances.items():
        assert apart[:until].max() <= tolerance
    assert abs(np.mean(found[-last:]) / np.mean(expected[-last:]) - 1) < 0.01
    assert np.mean(expected[-10:]) < 0.8 * expected[0]


def torch_network(widths: tuple[int, ...]) -> Any:
    """What examples/cifar10.py has, of PyTorch's layers."""
    nn = torch.nn
    layers: list[Any] = [nn.Identity()]
    for before, width in pairwise((3, *widths)):
        for channels in (before, width):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    side = 32 >> len(widths)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side**2, 10))


@pytest.mark.parametrize(("dtype", "tolerances"), [("float32", CHAOTIC), ("float64", DOUBLE)])
def test_a_convolutional_network(dtype: str, tolerances: dict[int, float]) -> None:
    batches = images()
    sn.manual_seed(0)
    model, theirs = cifar10.network((8, 16)), torch_network((8, 16))
    theirs.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    model.to(dtype)
    theirs.to(wide := getattr(torch, dtype))
    mean, std = torch.tensor([cifar10.MEAN, cifar10.DEVIATION], dtype=wide).reshape(2, 3, 1, 1)

    def loss(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(theirs((x.to(wide) - mean) / std), y)

    def widened(x: Any) -> Any:
        return sn.astype(x, dtype)

    options = {"lr": 0.003, "momentum": 0.9, "weight_decay": 5e-4}
    optimizer = torch.optim.SGD(theirs.parameters(), **options)
    x = sn.placeholder(("batch", 3, 32, 32), "float32", name="images")
    y = sn.placeholder(("batch",), "int64", name="labels")
    ours = sn.nn.cross_entropy(model(widened(x)), y)
    step = sn.function([x, y], ours, updates=sn.optim.SGD(**options).minimize(ours), device="cpu")
    learns_as(step, loss, optimizer, batches, tolerances)


def test_an_lstm() -> None:
    characters, batches = pieces(30, 20)
    sn.manual_seed(0)
    model = char_rnn.CharacterModel(characters, 64, layers=2)
    x, y = (sn.placeholder((20, 30), "int64", name) for name in "xy")
    ours, adam = char_rnn.loss(model(x), y), sn.optim.Adam(lr=4e-3)
    grads = sn.optim.clip_by_global_norm(adam.gradients(ours, list(model.parameters())), 1.0)
    step = sn.function([x, y], ours, updates=adam.apply(grads), device="cpu")

    class Theirs(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(characters, 64)
            self.lstm = torch.nn.LSTM(64, 64, 2, batch_first=True)
            self.head = torch.nn.Linear(64, characters)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.embedding(x))[0])

    theirs = Theirs()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    optimizer = torch.optim.Adam(theirs.parameters(), lr=4e-3)

    def clip(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)

    optimizer.register_step_pre_hook(clip)

    def loss(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(theirs(x).flatten(0, 1), y.flatten())

    learns_as(step, loss, optimizer, batches)


def test_a_gpt() -> None:
    characters, batches = pieces(32, 12)
    config = char_gpt.Config(characters, layers=2, heads=2, width=64, length=32)
    sn.manual_seed(0)
    model = char_gpt.GPT(config)
    w = {
        name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()
    }
    F = torch.nn.functional

    def linear(x: Any, name: str) -> Any:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (64,), w[f"{name}.weight"], w[f"{name}.bias"])

    def block(x: Any, name: str) -> Any:
        n, t, d = x.shape
        parts = linear(norm(x, f"{name}.ln_1"), f"{name}.attention").reshape(n, t, 3, 2, d // 2)
        q, k, v = (parts[:, :, i].transpose(1, 2) for i in range(3))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + linear(attended.reshape(n, t, d), f"{name}.projection")
        hidden = F.gelu(linear(norm(x, f"{name}.ln_2"), f"{name}.up"), approximate="tanh")
        return x + linear(hidden, f"{name}.down")

    def loss(x: Any, y: Any) -> Any:
        h = F.embedding(x, w["wte.weight"]) + w["wpe.weight"][: x.shape[1]]
        for i in range(config.layers):
            h = block(h, f"blocks.{i}")
        logits = norm(h, "ln_f") @ w["wte.weight"].T
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    optimizer = torch.optim.AdamW(list(w.values()), lr=1e-3)
    learns_as(char_gpt.training_step(model, 12, device="cpu"), loss, optimizer, batches)
