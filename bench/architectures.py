"""Networks that people use, in PyTorch with random weights, each with an input of some examples."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import torch

VISION = (
    "resnet18", "resnet50", "mobilenet_v3_large", "mobilenet_v3_small", "efficientnet_b0",
    "vit_b_16", "convnext_tiny",
)  # fmt: skip
LANGUAGE = ("bert", "gpt2")
WORDS = 128


def import_torchvision() -> None:
    """Import it, if it is installed, without its compiled ops: transformers does, too."""
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for op in ("nms", "qnms"):  # they are there as long as the library is
            library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        with contextlib.suppress(ImportError):
            importlib.import_module("torchvision")


def of_torchvision(name: str, **options: Any) -> Any:
    """A network of torchvision, with options of its own.

    Raises:
        ImportError: if torchvision is not installed.
    """
    import_torchvision()
    from torchvision import models

    return getattr(models, name)(weights=None, **options)


class Output(torch.nn.Module):
    """One output of a network of transformers."""

    def __init__(self, network: Any, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, x: Any) -> Any:
        """x: [n, words] -> y: [n, words, features]"""
        return getattr(self.network(x, use_cache=False), self.name)


def of_transformers(name: str, layers: int) -> Any:
    """BERT-base or GPT-2, of so many layers instead of 12.

    Raises:
        ImportError: if transformers is not installed.
    """
    import_torchvision()
    import transformers

    if name == "bert":
        config = transformers.BertConfig(num_hidden_layers=layers)
        return Output(transformers.BertModel(config), "last_hidden_state")
    return Output(transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=layers)), "logits")


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
        """x: [n, 3, h, w] -> y: [n, 2, h, w]"""
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
        """x: [n, words] -> y: [n, words, 7]"""
        return self.out(self.lstm(self.words(x))[0])


class Detector(torch.nn.Module):
    """A head that gives boxes in a grid of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(8, 27, 1)

    def forward(self, x: Any) -> Any:
        """x: [n, 8, h, w] -> y: [n, 3 h w, 9]"""
        n, _, h, w = x.shape
        y = self.conv(x).view(n, 3, 9, h, w).permute(0, 1, 3, 4, 2).contiguous()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((columns, rows), 2).view(1, 1, h, w, 2).float()
        middle = (y[..., :2].sigmoid() * 2 - 0.5 + grid) * 8
        size = (y[..., 2:4].sigmoid() * 2) ** 2
        return torch.cat((middle, size, y[..., 4:].sigmoid()), -1).view(n, -1, 9)


SMALL: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "unet": (UNet, (3, 128, 128)),
    "detector": (Detector, (8, 40, 40)),
    "tagger": (Tagger, (40,)),
}
ARCHITECTURES = (*VISION, *LANGUAGE, *SMALL)


def made(name: str, batch: int) -> tuple[Any, Any]:
    """A network for inference and its input; what begins as zero, as some layers do, is drawn."""
    torch.manual_seed(0)
    if name in VISION:
        network, shape = of_torchvision(name), (3, 224, 224)
    elif name in LANGUAGE:
        network, shape = of_transformers(name, 12), (WORDS,)
    else:
        make, shape = SMALL[name]
        network = make()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    torch.manual_seed(1)
    return network.eval(), drawn((batch, *shape))


def drawn(shape: tuple[int, ...]) -> Any:
    """Images, [n, channels, h, w], or words."""
    return torch.randn(shape) if len(shape) == 4 else torch.randint(0, 100, shape)
