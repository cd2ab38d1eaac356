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
VISION = tuple(name for name in architectures.VISION if name != "mobilenet_v3_large")
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


@pytest.mark.parametrize("name", ["tagger", "bert"])  # a detector's grid would be a Variable, too
def test_ten_steps_after_import_follow_pytorch(name: str, tmp_path: Path) -> None:
    """Losses and outputs do, and the weights whose names and layout the exporter keeps."""
    if name == "bert":
        pytest.importorskip("transformers")
        torch.manual_seed(0)
        network, x = of_transformers(name, 1), torch.randint(0, 1000, (2, 16))
    else:
        network, x = made(name)
    network.eval()  # without dropout
    with torch.no_grad():  # the exporter writes equal weights once, and one would train for all
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    file, rate = tmp_path / "model.onnx", 0.01
    torch.onnx.export(network, (x,), str(file), verbose=False)
    model = sn.io.onnx.load(file)
    node = sn.placeholder(tuple(x.shape), str(x.numpy().dtype), "x")
    y = model(node)
    loss = sn.mean(y**2)
    device = "cpu" if find_compiler() is not None else "numpy"
    step = sn.function(node, loss, updates=sn.optim.SGD(lr=rate).minimize(loss), device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for _ in range(10):
        optimizer.zero_grad()
        wanted = (network(x) ** 2).mean()
        wanted.backward()
        optimizer.step()
        np.testing.assert_allclose(step(x.numpy()), wanted.item(), rtol=1e-4)
    trained, own = network.state_dict(), model.state_dict()
    same = [key for key in own if key in trained and own[key].shape == trained[key].shape]
    assert max(float((trained[key] - before[key]).abs().max()) for key in same) > 1e-3
    for key in same:
        np.testing.assert_allclose(
            own[key], trained[key].numpy(), rtol=1e-3, atol=1e-5, err_msg=key
        )
    with torch.no_grad():
        after = network(x).numpy()
    got = sn.function(node, y, device=device)(x.numpy())
    np.testing.assert_allclose(got, after, rtol=1e-3, atol=1e-4 * float(np.abs(after).max()))


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
