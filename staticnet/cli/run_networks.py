"""The networks that `staticnet train` has, made for the examples that it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli.networks import NETWORKS, network
from staticnet.cli.run_config import Config
from staticnet.cli.run_data import RunData
from staticnet.cli.text_networks import character_gpt, character_lstm
from staticnet.errors import ArgumentError
from staticnet.train import Callback, EarlyStopping, Trainer
from staticnet.train.data.source import Layout

Shape = tuple[int, ...]
LEAST_CYCLE = 4  # steps that rise and fall


def mlp(shape: Shape, outputs: int, config: Config) -> nn.Module:
    """Two hidden layers of 8 times `width`.  [n, *shape] -> [n, outputs]"""
    hidden = 8 * config.width
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU()]
    layers += [nn.Dropout(config.dropout), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def cnn(shape: Shape, outputs: int, config: Config) -> nn.Module:
    """Three pairs of convolutions with batch norm, each half as large.  [n, c, h, w] -> [n, k]"""
    _need_images("cnn", shape)
    layers: list[nn.Module] = []
    before = shape[0]
    for width in (config.width, 2 * config.width, 4 * config.width):
        for channels in (before, width):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if min(shape[1:]) >= 16 else []
        before = width
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(config.dropout))
    return nn.Sequential(*layers, *head, nn.Linear(before, outputs))


def resnet18(shape: Shape, outputs: int, config: Config) -> nn.Module:
    """The residual network of 18 layers, as for small images.  [n, 3, h, w] -> [n, 10]"""
    if shape[0] != 3 or outputs != 10:
        raise ArgumentError("resnet18: takes images of 3 channels in 10 classes; use cnn")
    made: nn.Module = network(nn, NETWORKS["resnet18"])
    return made


class Characters(nn.Module):
    """A network of characters with its classes before the places, as losses have them."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def forward(self, x: Any) -> Any:
        """x: int [n, t] -> [n, characters, t]"""
        return sn.moveaxis(self.network(x), -1, 1)


def _need_images(name: str, shape: Shape) -> None:
    if len(shape) != 3:
        raise ArgumentError(f"{name}: takes images [channels, height, width], not {list(shape)}")


def _check_kind(name: str, layout: Layout) -> None:
    """Raise ArgumentError if a network of texts is given anything else, or another one a text."""
    is_text = layout.types[0][0].kind in "iu"
    if name in TEXT and not is_text:
        raise ArgumentError(f"{name}: takes a text, as --data FILE.txt, not {layout}")
    if is_text and name not in TEXT:
        raise ArgumentError(
            f"{name}: takes floating-point numbers, not {layout}; a text is for "
            f"{' and '.join(TEXT)}"
        )


def lstm(shape: Shape, outputs: int, config: Config) -> nn.Module:
    """Two layers of an LSTM over characters."""
    return Characters(character_lstm(nn, units=4 * config.width, characters=outputs))


def gpt(shape: Shape, outputs: int, config: Config) -> nn.Module:
    """GPT-2's model, small, over characters."""
    return Characters(character_gpt(nn, shape[0], width=4 * config.width, characters=outputs))


NAMES: dict[str, Callable[[Shape, int, Config], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet18": resnet18,
    "lstm": lstm,
    "gpt": gpt,
}
TEXT = ("lstm", "gpt")
"""Those that read characters."""


def trainer(config: Config, data: RunData, device: str) -> tuple[Trainer, list[Callback]]:
    """The trainer of a configuration, and the callbacks that it asks for.

    Raises:
        ArgumentError: if a name or a value is none that there is, or the network does not take
            such examples.
    """
    if config.network not in NAMES:
        raise ArgumentError(f"network {config.network!r}: there are {', '.join(NAMES)}")
    nn.manual_seed(config.seed)
    layout = data.training.layout
    shape = layout.types[0][1]
    _check_kind(config.network, layout)
    classes = layout.types[1][0].kind in "iu"
    outputs = len(data.classes) if classes else math.prod(layout.types[1][1])
    model = NAMES[config.network](shape, outputs, config)
    if config.augment:
        _need_images("augment", shape)
        crop = nn.RandomCrop(shape[1:], padding=max(shape[1] // 8, 1))
        model = nn.Sequential(crop, nn.RandomHorizontalFlip(), model)
    if not classes and not layout.types[1][1]:
        model = nn.Sequential(model, nn.Flatten(0))
    made = Trainer(
        model,
        nn.cross_entropy if classes else nn.mse_loss,
        _optimizer(config, data),
        metrics=("accuracy",) if classes else ("mae", "r2"),
        device=device,
        precision=config.precision,
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        ema=config.ema,
    )
    stop = [] if config.patience is None else [EarlyStopping(patience=config.patience)]
    return made, list(stop)


def _optimizer(config: Config, data: RunData) -> optim.Optimizer:
    kind = getattr(optim, config.optimizer, None) if config.optimizer in optim.__all__ else None
    if not (isinstance(kind, type) and issubclass(kind, optim.UpdateRule)):
        raise ArgumentError(
            f"optimizer {config.optimizer!r}: give one of sn.optim, as AdamW or SGD"
        )
    assert data.training.examples is not None
    steps = -(-data.training.examples // config.batch_size) * config.epochs // config.accumulate
    rates: dict[str, Any] = {
        "constant": config.lr,
        "cosine": optim.CosineAnnealingLR(config.lr, T_max=max(steps, 1)),
        "onecycle": optim.OneCycleLR(config.lr, total_steps=max(steps, LEAST_CYCLE)),
        "plateau": optim.ReduceLROnPlateau(config.lr, patience=2),
    }
    if config.schedule not in rates:
        raise ArgumentError(f"schedule {config.schedule!r}: there are {', '.join(rates)}")
    more: dict[str, Any] = {"weight_decay": config.weight_decay} if config.weight_decay else {}
    if config.optimizer == "SGD":
        more["momentum"] = 0.9
    made: optim.Optimizer = kind(lr=rates[config.schedule], **more)
    return made
