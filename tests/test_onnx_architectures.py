"""Networks that people use, with random weights: exported by PyTorch, imported, and equal to it."""

from __future__ import annotations

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
COMPILES = True
VISION = (
    "resnet18", "resnet50", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16", "convnext_tiny",
)  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def of_torchvision(name: str) -> Any:
    """A network of torchvision and an image for it; one without its compiled ops will do."""
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for op in ("nms", "qnms"):
            library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    models = pytest.importorskip("torchvision").models
    return getattr(models, name)(weights=None), torch.randn(1, 3, 224, 224)


class Output(torch.nn.Module):
    """One output of a network of transformers."""

    def __init__(self, network: Any, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, x: Any) -> Any:
        return getattr(self.network(x, use_cache=False), self.name)


def of_transformers(name: str) -> Any:
    transformers = pytest.importorskip("transformers")
    if name == "bert":
        config = transformers.BertConfig(num_hidden_layers=4)
        network: Any = Output(transformers.BertModel(config), "last_hidden_state")
    else:
        network = Output(transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=4)), "logits")
    return network, torch.randint(0, 1000, (2, 16))


class UNet(torch.nn.Module):
    """Down and up again, once by a transposed convolution and once by interpolation."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn

        def block(i: int, o: int) -> Any:
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

        self.a, self.b, self.c, self.d, self.e = (
            block(i, o) for i, o in ((3, 8), (8, 16), (16, 32), (32, 16), (24, 8))
        )
        self.up, self.wide = nn.ConvTranspose2d(32, 16, 2, 2), nn.Upsample(None, 2.0, "bilinear")
        self.pool, self.out = nn.MaxPool2d(2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Any) -> Any:
        a = self.a(x)
        b = self.b(self.pool(a))
        d = self.d(torch.cat([self.up(self.c(self.pool(b))), b], 1))
        return self.out(self.e(torch.cat([self.wide(d), a], 1)))


class Tagger(torch.nn.Module):
    """A label for each word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(100, 16)
        self.lstm = torch.nn.LSTM(16, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.out = torch.nn.Linear(48, 7)

    def forward(self, x: Any) -> Any:
        return self.out(self.lstm(self.words(x))[0])


class Detector(torch.nn.Module):
    """A head that gives boxes in a grid of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(8, 27, 1)

    def forward(self, x: Any) -> Any:
        n, _, h, w = x.shape
        y = self.conv(x).view(n, 3, 9, h, w).permute(0, 1, 3, 4, 2).contiguous()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((columns, rows), 2).view(1, 1, h, w, 2).float()
        middle = (y[..., :2].sigmoid() * 2 - 0.5 + grid) * 8
        size = (y[..., 2:4].sigmoid() * 2) ** 2
        return torch.cat((middle, size, y[..., 4:].sigmoid()), -1).view(n, -1, 9)


SMALL = {
    "unet": lambda: (UNet(), torch.randn(2, 3, 32, 32)),
    "tagger": lambda: (Tagger(), torch.randint(0, 100, (2, 11))),
    "detector": lambda: (Detector(), torch.randn(2, 8, 6, 5)),
}


def made(name: str) -> Any:
    """A network and an input; what begins as zero, as some last layers do, is drawn too."""
    torch.manual_seed(0)
    if name in SMALL:
        return SMALL[name]()
    network, x = of_torchvision(name) if name in VISION else of_transformers(name)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return network, x


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("name", [*SMALL, *VISION, "bert", "gpt2"])
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
