"""`staticnet predict RUN INPUT`: what a run's model gives for arrays or images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.cli.eval import classes_of, load_run
from staticnet.errors import ArgumentError
from staticnet.train.data import images, npy


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("predict", help="use the model of a run")
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="its folder, or a checkpoint")
    parser.add_argument("input", type=Path, help="a .npy file, an image, or a folder of images")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="write what it gives as .npy"
    )
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the model's outputs, or print the class of each example.

    Raises:
        ArgumentError: if the input does not fit the model.
        DataError: if it is damaged.
        StateError: if the checkpoint is.
    """
    trainer, _ = load_run(options.run_folder, options.device)
    shape = trainer.layout.types[0][1]
    names, x = _read(options.input, shape)
    made = trainer.predict(x)
    if not isinstance(made, np.ndarray):
        raise ArgumentError("predict: this model gives several arrays; use sn.train.Trainer.load")
    if options.out is not None:
        np.save(options.out, made)
        print(f"wrote {options.out}: {made.dtype} {list(made.shape)}")
        return
    classes = classes_of(options.run_folder)
    for name, row in zip(names, made, strict=True):
        print(f"{name}  {_told(row, classes)}")


def _told(row: Any, classes: Sequence[str]) -> str:
    """The likeliest class, by its name if there is one; numbers as they are."""
    if row.ndim != 1 or row.size <= 1:
        return np.array2string(row)
    number = int(row.argmax())
    return f"class {number}" if len(classes) != row.size else f"class {number}: {classes[number]}"


def _read(place: Path, shape: tuple[int, ...]) -> tuple[list[str], Any]:
    """Names and examples of a file or a folder."""
    if place.suffix.lower() == ".npy":
        x = npy(place)
        whole = x if x.ndim == len(shape) + 1 else x[None]
        return [str(i) for i in range(len(whole))], whole
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ArgumentError(
            f"predict: {place}: this model takes no images, but {list(shape)}; give a .npy file"
        )
    found = images.images_below(place) if place.is_dir() else [place]
    mode = "L" if shape[0] == 1 else "RGB"
    pixels = [images.read_image(file, mode, (shape[1], shape[2])) for file in found]
    return [str(file) for file in found], np.stack(pixels)
