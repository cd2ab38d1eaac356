"""Models of others, read from ONNX files: what they compute, and what a call is given."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest

import staticnet as sn

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(0)


def exported(model: Any, args: Any, **kwargs: Any) -> bytes:
    """A PyTorch model as the older exporter writes it."""
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, args, buffer, dynamo=False, **kwargs)
    return buffer.getvalue()


def run(model: Any, *feeds: Any, device: str = "numpy") -> Any:
    """The model's outputs."""
    xs = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(feeds)]
    return sn.function(xs, model(*xs), device=device)(*feeds)


@pytest.fixture(scope="module")
def mlp() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def test_an_mlp_of_pytorch_with_a_symbolic_batch(mlp: Any) -> None:
    import torch

    x = RNG.normal(size=(5, 4)).astype("f")
    data = exported(mlp, (torch.zeros(2, 4),), input_names=["x"], output_names=["y"],
                    dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})  # fmt: skip
    model = sn.io.onnx.load(data)
    assert (model.input_names, model.output_names) == (("x",), ("y",))
    assert set(model.state_dict()) == set(mlp.state_dict())
    node = model(*model.placeholders())
    assert node.shape == (sn.Dim("batch"), 3)
    wanted = mlp(torch.from_numpy(x)).detach().numpy()
    f = sn.function(model.placeholders(), node, device="numpy")
    np.testing.assert_allclose(f(x), wanted, rtol=1e-5, atol=1e-6)
    model.load_state_dict(mlp.state_dict())


def test_a_convolutional_network_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.SiLU(),
        torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 4, 3, stride=2), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 2), torch.nn.Softmax(-1),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 16, 16)
    model = sn.io.onnx.load(exported(net, (x,)))
    np.testing.assert_allclose(run(model, x.numpy()), net(x).detach().numpy(), rtol=1e-4)
