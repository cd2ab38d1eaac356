"""`staticnet eval RUN`: the loss and the metrics of a run's model, on data held out or given."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import files
from staticnet.cli.run_config import Config, changed, read
from staticnet.errors import ArgumentError, DataError
from staticnet.train import Trainer, checkpoint
from staticnet.train.data import Source

CLASSES = "classes.json"  # beside a run's config.toml


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("eval", help="measure the model of a run")
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="its folder, or a checkpoint")
    parser.add_argument("--data", metavar="DIR", help="(what the run held out)")
    parser.add_argument(
        "--page", type=Path, metavar="FILE",
        help="HTML of right and wrong predictions of images, and the accuracy of each class",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=256, help="(%(default)s)")
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print each measure on a line.

    Raises:
        StateError: if the checkpoint is damaged.
        DataError: if there is no run, or no data.
    """
    from staticnet.cli.run_data import load

    trainer, config = load_run(options.run_folder, options.device)
    if options.data:
        config = changed(config, {"data": options.data}, "eval")
    data = load(config)
    held = data.held or data.training
    measured = trainer.evaluate(held, batch_size=options.batch_size)
    for name, value in measured.items():
        shown = f"{value:.6g}" if np.ndim(value) == 0 else np.array2string(value)
        print(f"{name:12} {shown}")
    if options.page is not None:
        _write_page(options.page, trainer, held, data.classes)


def _write_page(file: Path, trainer: Trainer, held: Source, classes: Sequence[str]) -> None:
    """Write what was right and wrong, and print each class's accuracy.

    Raises:
        ArgumentError: if the examples are no images in classes.
    """
    from staticnet.cli.run_data import images_of
    from staticnet.report import class_accuracy, predictions_page, shown_share

    shape = held.layout.types[0][1]
    if len(shape) != 3 or shape[0] not in (1, 3) or not classes:
        raise ArgumentError(f"eval: --page is for images in classes, not for {held.layout}")
    images, labels = images_of(held)
    scores = trainer.predict(images)
    accuracies = class_accuracy(labels, scores.argmax(axis=1), len(classes))
    for name, share in zip(classes, accuracies, strict=True):
        print(f"  {name:12} {shown_share(share)}")
    title = "Right and wrong predictions"
    files.write(file, predictions_page(title, images, labels, scores, classes))


def classes_of(place: Path) -> list[str]:
    """The names of a run's classes, as it wrote them; none if it did not."""
    folder = place if place.is_dir() else place.parent.parent
    if not (folder / CLASSES).is_file():
        return []
    return list(json.loads((folder / CLASSES).read_text(encoding="utf-8")))


def checkpoint_of(place: Path) -> Path:
    """The best or else the last checkpoint of a run's folder; a file is one itself.

    Raises:
        DataError: if there is none.
    """
    file = place
    if place.is_dir():
        known = checkpoint.found(place)
        if not known:
            raise DataError(f"{place}: no run with a checkpoint; staticnet train makes one")
        best = place / "best"
        file = place / best.read_text(encoding="utf-8").strip() if best.is_file() else known[-1][1]
    if not file.is_file():
        raise DataError(f"{file}: no such run or checkpoint")
    return file


def load_run(place: Path, device: str) -> tuple[Trainer, Config]:
    """The trainer and the configuration of a run, by its best or else its last checkpoint.

    Raises:
        DataError: if there is no run.
        StateError: if the checkpoint is damaged.
    """
    file, run_folder = checkpoint_of(place), place if place.is_dir() else place.parent.parent
    config = Config()
    if (run_folder / "config.toml").is_file():
        table = read(run_folder / "config.toml")
        try:
            config = changed(config, table, str(run_folder / "config.toml"))
        except ArgumentError:  # of a run that another program began
            config = Config(batch_size=int(table.get("batch_size", 64)))
    return Trainer.load(file, device=device), config
