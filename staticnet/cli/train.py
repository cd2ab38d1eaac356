"""`staticnet train NETWORK --data DIR`: a run in a folder, which goes on where it was ended."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from staticnet import files
from staticnet.cli.eval import CLASSES
from staticnet.cli.run_config import PRESETS, Config, assignments, changed, read
from staticnet.errors import ArgumentError
from staticnet.train import Callback, Trainer, checkpoint


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("train", help="train a network on a folder of data")
    parser.add_argument(
        "network",
        nargs="?",
        help="mlp, cnn, resnet18, lstm or gpt; cifar10 is a cnn, and how it is trained there",
    )
    parser.add_argument("--data", metavar="DIR", help="default: STATICNET_DATA")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="lr=3e-4 epochs=5",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a config.toml to begin with")
    parser.add_argument("--out", type=Path, metavar="DIR", help="(runs/NETWORK)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--seed", type=int, help="of weights and order")
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train, with a line an epoch, and say where the run lies.

    Raises:
        ArgumentError: if an option or a field is none that there is.
        DataError: if the data are not there, or damaged.
        StateError: if the folder has a run that is not resumed, or of another configuration.
        KeyboardInterrupt: if Ctrl-C ended the training; there is a checkpoint.
    """
    from staticnet.cli.run_data import load
    from staticnet.cli.run_networks import trainer

    out = options.out or Path("runs") / (options.network or "run")
    config = _config(options, out)
    data = load(config)
    made, callbacks = trainer(config, data, options.device)
    count = sum(w.value.size for w in made.model.parameters())
    print(f"{config.network}: {count:,} parameters, {data.training.examples:,} examples, in {out}/")
    out.mkdir(parents=True, exist_ok=True)
    kept = _Kept(out, config, data.classes)
    if checkpoint.found(out):  # of a run that may yet refuse this one
        callbacks.append(kept)
    else:
        kept.on_epoch_start(made)
    history = made.fit(
        data.training,
        validation=data.held,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        callbacks=callbacks,
        out=out,
        resume=options.resume,
    )
    typed = shlex.quote(f"{out}")
    if history.interrupted:
        raise KeyboardInterrupt(f"interrupted; staticnet train --resume --out {typed} goes on")
    print(f"use it: staticnet eval {typed}, staticnet predict {typed} x.npy -o y.npy")


class _Kept(Callback):
    """Writes what a run was asked for, once it goes on: what is refused changes nothing."""

    def __init__(self, out: Path, config: Config, classes: Sequence[str]) -> None:
        self._files = {"config.toml": config.toml()}
        self._files[CLASSES] = json.dumps(classes, ensure_ascii=False)
        self._out = out

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Write both files."""
        for name, text in self._files.items():
            files.write(self._out / name, text)


def _config(options: argparse.Namespace, out: Path) -> Config:
    """The defaults, a file, the options, in this order; a run that goes on has its own file."""
    config, kept = changed(Config(), PRESETS.get(options.network, {}), "train"), out / "config.toml"
    if options.config is not None:
        config = changed(config, read(options.config), str(options.config))
    elif options.resume and kept.is_file():
        config = changed(config, read(kept), str(kept))
    network = PRESETS.get(options.network, {}).get("network", options.network)
    given = {"network": network, "data": options.data, "seed": options.seed}
    config = changed(config, {k: v for k, v in given.items() if v is not None}, "train")
    config = changed(config, assignments(options.set), "--set")
    if min(config.epochs, config.batch_size, config.width, config.length, config.accumulate) < 1:
        raise ArgumentError("epochs, batch_size, width, length and accumulate must be at least 1")
    if not 0 <= config.validation < 1:
        raise ArgumentError(f"validation must be in [0, 1), not {config.validation}")
    return config
