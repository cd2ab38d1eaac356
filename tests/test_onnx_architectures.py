"""Networks that people use, with random weights: exported by PyTorch, imported, and equal to it."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
architectures = pytest.importorskip("bench.architectures")
LANGUAGE, SMALL = architectures.LANGUAGE, architectures.SMALL
of_transformers = architectures.of_transformers
COMPILES = True
MOBILE = "mobilenet_v3_large"
VISION = tuple(name for name in architectures.VISION if name != MOBILE)
SMALLER = {"unet": (2, 3, 32, 32), "tagger": (2, 11), "detector": (2, 8, 6, 5)}
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def made(name: str) -> Any:
    """A network and an input; those of transformers of few layers."""
    if name in LANGUAGE:
        pytest.importorskip("transformers")
        torch.manual_seed(0)
        return of_transformers(name, 4).eval(), torch.randint(0, 1000, (2, 16))
    if name in VISION and importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    network, x = architectures.made(name, 1)
    return network, x if name in VISION else architectures.drawn(SMALLER[name])


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("name", [*SMALL, *VISION, *LANGUAGE])
def test_it_agrees_with_pytorch(name: str, exporter: str, tmp_path: Path) -> None:
    network, x = made(name)
    network.eval()
    with torch.no_grad():
        wanted = network(x).numpy()
    file = tmp_path / "model.onnx"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (x,), str(file), dynamo=exporter == "dynamo")
    except torch.onnx.errors.UnsupportedOperatorError as error:
        pytest.skip(f"this exporter does not write it: {error}")
    model = sn.io.onnx.load(file)
    node = sn.placeholder(tuple(x.shape), str(x.numpy().dtype), "x")
    device = "cpu" if find_compiler() is not None else "numpy"
    got = sn.function(node, model(node), device=device)(x.numpy())
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max()))


def in_small(name: str) -> Any:
    """A network to train and an input of four examples; images of 64 pixels, one layer of words."""
    if name in LANGUAGE:
        pytest.importorskip("transformers")
        torch.manual_seed(0)
        network, x = of_transformers(name, 1), torch.randint(0, 1000, (4, 16))
    elif name in architectures.VISION:
        pytest.importorskip("torchvision")
        torch.manual_seed(0)
        sizes = {"image_size": 64} if name == "vit_b_16" else {}
        network, x = architectures.of_torchvision(name, **sizes), torch.randn(4, 3, 64, 64)
    else:
        network, x = architectures.made(name, 1)[0], architectures.drawn((4, *SMALLER[name][1:]))
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():  # weights that begin equal could take each other's place
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    network, x = network.double(), x.double() if x.is_floating_point() else x
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:  # their statistics are those of the examples, so that gradients go through
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network, x


def ten_steps(network: Any, x: Any, step: Any, rate: float) -> None:
    """Train both, and compare each loss."""
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    for _ in range(10):
        optimizer.zero_grad()
        wanted = (network(x) ** 2).mean()
        wanted.backward()
        optimizer.step()
        np.testing.assert_allclose(step(x.numpy()), wanted.item(), rtol=1e-8)


TRAINED = (*SMALL, *LANGUAGE, "resnet18", MOBILE, "convnext_tiny", "vit_b_16")
BY_BATCH = ("unet", "resnet18", MOBILE)


@pytest.mark.parametrize(
    ("name", "mode"), [*((n, "eval") for n in TRAINED), *((n, "train") for n in BY_BATCH)]
)
def test_ten_steps_after_import_follow_pytorch(name: str, mode: str, tmp_path: Path) -> None:
    """Losses, every parameter and, of batch norms in training, the statistics do, in float64.

    The exporter does not optimise the graph: it would fold batch norms into convolutions, turn
    weights and leave their names.
    """
    network, x = in_small(name)
    network.train(mode == "train")
    file, rate = tmp_path / "model.onnx", 0.01
    torch.onnx.export(network, (x,), str(file), verbose=False, optimize=False)
    model = sn.io.onnx.load(file).train(mode == "train")
    parameters = dict(network.named_parameters(remove_duplicate=False))
    found = {parameters[name] for name, _ in model.named_parameters()}
    node = sn.placeholder(tuple(x.shape), str(x.numpy().dtype), "x")
    loss = sn.mean(model(node) ** 2)
    device = "cpu" if find_compiler() is not None else "numpy"
    step = sn.function(node, loss, updates=sn.optim.SGD(lr=rate).minimize(loss), device=device)
    before = {key: value.numpy().copy() for key, value in network.state_dict().items()}
    ten_steps(network, x, step, rate)
    assert found == {x for x in network.parameters() if x.grad is not None}
    trained, own = network.state_dict(), model.state_dict()
    moved = 0
    for key in set(own) & set(trained):
        wanted, first = trained[key].numpy(), before[key]
        distance = float(np.linalg.norm(wanted - first))
        least = 1e-12 * (np.linalg.norm(first) + first.size**0.5)
        assert np.linalg.norm(own[key] - wanted) < 1e-5 * distance + least, key
        moved += distance > 10 * least
    assert moved > 0.5 * len(found)


@pytest.mark.parametrize("name", SMALL)
def test_named_dims_stay_symbolic(name: str, tmp_path: Path) -> None:
    """One graph of any batch and, of the tagger, of any number of words."""
    network, x = made(name)
    network.eval()
    axes = {0: "batch", 1: "time"} if name == "tagger" else {0: "batch"}
    file = tmp_path / "model.onnx"
    torch.onnx.export(
        network, (x,), str(file), dynamo=False, input_names=["x"], dynamic_axes={"x": axes}
    )
    model = sn.io.onnx.load(file)
    (node,) = model.placeholders()
    y = model(node)
    assert y.shape[0] == sn.Dim("batch")
    f = sn.function(node, y, device="numpy")
    for batch in (1, 3):
        part = torch.cat([x, x])[:batch]
        part = part[:, :5] if name == "tagger" else part
        with torch.no_grad():
            wanted = network(part).numpy()
        np.testing.assert_allclose(f(part.numpy()), wanted, rtol=1e-4, atol=1e-5)


def test_networks_are_timed_beside_pytorch(tmp_path: Path, capsys: Any) -> None:
    from bench import onnx

    out = tmp_path / "onnx.json"
    few = ["--batches", "1", "--rounds", "1"]
    onnx.main(["--only", "detector", *few, "--peers", "torch", "--out", str(out)])
    (record,) = json.loads(out.read_text(encoding="utf-8"))["records"]
    for contender in ("staticnet", "torch"):
        found = record["contenders"][contender]
        assert found["error"] < 1e-4
        assert found["seconds"][0]
    assert "geometric mean" in capsys.readouterr().out
