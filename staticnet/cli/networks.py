"""Networks of images, each one description from which any library's layers are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Layer:
    """A layer by PyTorch's name, its first arguments and its options."""

    kind: str
    arguments: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Residual:
    """y = relu(body(x) + shortcut(x)); no shortcut is x itself."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()


Layers = Sequence[Layer | Residual]
RELU, FLATTEN = Layer("ReLU"), Layer("Flatten")
AVERAGE = Layer("AdaptiveAvgPool2d", (1,))


def normalised(n: int, m: int, kernel: int, stride: int = 1) -> tuple[Layer, Layer]:
    """A convolution and its batch norm.  [b, n, h, w] -> [b, m, h / stride, w / stride]"""
    options = {"stride": stride, "padding": kernel // 2, "bias": False}
    return Layer("Conv2d", (n, m, kernel), options), Layer("BatchNorm2d", (m,))


def _block(n: int, m: int, stride: int) -> Residual:
    body = (*normalised(n, m, 3, stride), RELU, *normalised(m, m, 3))
    return Residual(body, normalised(n, m, 1, stride) if n != m else ())


def _bn_layers() -> Layers:
    widths = ((3, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))
    made = [layer for n, m, stride in widths for layer in (*normalised(n, m, 3, stride), RELU)]
    return (*made, AVERAGE, FLATTEN, Layer("Linear", (128, 10)))


def _resnet18_layers() -> Layers:
    blocks: list[Residual] = []
    n = 64
    for m, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [_block(n, m, stride), _block(m, m, 1)]
        n = m
    return (*normalised(3, 64, 3), RELU, *blocks, AVERAGE, FLATTEN, Layer("Linear", (512, 10)))


NETWORKS: dict[str, Layers] = {
    # https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html
    "cifar_lenet": (
        *(Layer("Conv2d", (3, 6, 5)), RELU, Layer("MaxPool2d", (2,))),
        *(Layer("Conv2d", (6, 16, 5)), RELU, Layer("MaxPool2d", (2,))),
        *(FLATTEN, Layer("Linear", (400, 120)), RELU, Layer("Linear", (120, 84)), RELU),
        Layer("Linear", (84, 10)),
    ),
    "cifar_bn": _bn_layers(),
    # He et al., "Deep residual learning for image recognition", 2016, as for images of 32 by 32
    "resnet18": _resnet18_layers(),
}


def network(nn: Any, layers: Layers) -> Any:
    """The layers as a `Sequential` of a library that has PyTorch's names."""

    class Sum(nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self, body: Any, shortcut: Any) -> None:
            super().__init__()
            self.body, self.shortcut, self.relu = body, shortcut, nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    def made(layer: Layer | Residual) -> Any:
        if isinstance(layer, Layer):
            return getattr(nn, layer.kind)(*layer.arguments, **layer.options)
        return Sum(*(nn.Sequential(*map(made, part)) for part in (layer.body, layer.shortcut)))

    return nn.Sequential(*map(made, layers))
