"""`staticnet features [RUN]`: what a network of images looks at, as pictures and a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from staticnet import nn
from staticnet.cli.extras import require
from staticnet.cli.run_config import Config, changed, read
from staticnet.errors import ArgumentError, DataError

QUICK = {"network": "cnn", "width": 16, "batch_size": 32, "lr": 3e-3}  # where no run is given
EPOCHS, MANY = 12, 20_000  # of so many examples one epoch is enough


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("features", help="show what a network of images looks at")
    parser.add_argument(
        "run_folder", type=Path, nargs="?", metavar="RUN",
        help="of staticnet train; without one a small network is trained first",
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="(that of the run, or STATICNET_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs/features"), help="(%(default)s)")
    parser.add_argument("--images", type=int, default=8, help="that are looked into (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the pictures and the page, and say where they lie.

    Raises:
        ArgumentError: if the network has no convolutions, or does not take images.
        DataError: if there are no data or no run.
        StateError: if the run's checkpoint is damaged.
        DependencyError: if matplotlib is not installed.
    """
    require("matplotlib", extra="examples")
    from staticnet.cli.feature_page import write

    if options.images < 1:
        raise ArgumentError(f"features: --images must be at least 1, not {options.images}")
    config = _config(options)
    model, data = _model(config, options)
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        raise ArgumentError(
            f"features: {config.network} has no convolution to look into; give a run of cnn"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    for line in write(options.out, model.eval(), data, options.images, options.device):
        print(line)
    print(f"wrote {options.out}/features.html and its pictures")


def _config(options: argparse.Namespace) -> Config:
    if options.run_folder is None:
        config = changed(Config(), {**QUICK, "seed": options.seed}, "features")
    else:
        file = options.run_folder / "config.toml"
        if not file.is_file():
            raise DataError(f"{options.run_folder}: no run; staticnet train makes one")
        config = changed(Config(), read(file), str(file))
    return changed(config, {"data": options.data}, "features") if options.data else config


def _model(config: Config, options: argparse.Namespace) -> tuple[Any, Any]:
    """The model with the run's weights, or with some that it learns here; and the data."""
    from staticnet.cli.eval import checkpoint_of
    from staticnet.cli.run_data import load
    from staticnet.cli.run_networks import trainer
    from staticnet.train import checkpoint

    data = load(config)
    shape = data.training.layout.types[0][1]
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ArgumentError(f"features: takes images of 1 or 3 channels, not {list(shape)}")
    if not data.classes:
        raise ArgumentError(f"features: takes images in classes, not {data.training.layout}")
    if options.run_folder is not None:
        made, _ = trainer(config, data, options.device)
        tensors, _ = checkpoint.read(checkpoint_of(options.run_folder))
        own = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        made.model.load_state_dict(own, strict=False)
        return made.model, data
    count = data.training.examples or 0
    config = changed(config, {"epochs": 1 if count >= MANY else EPOCHS}, "features")
    made, _ = trainer(config, data, options.device)
    print(f"no run given: a small {config.network} learns {count:,} images first")
    done = made.fit(
        data.training, epochs=config.epochs, batch_size=config.batch_size, seed=config.seed
    )
    if done.interrupted:
        raise KeyboardInterrupt
    return made.model, data
