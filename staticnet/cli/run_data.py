"""The data of a run, found by what lies in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import flags
from staticnet.cli.run_config import Config
from staticnet.errors import DataError
from staticnet.io import datasets
from staticnet.ops.random import permutation_array
from staticnet.train.data import ArraySource, ImageFolder, Source, Table, Text, npy

KINDS = (
    "CIFAR-10's or MNIST's files, folders of images by class (or train/ and val/ with such), "
    "x.npy and y.npy, a .csv or .parquet table, or a .txt text"
)


Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RunData:
    """What is trained on, what is looked at, and the names of the classes, if there are any."""

    training: Source
    held: Source | None
    classes: tuple[str, ...]


def load(config: Config) -> RunData:
    """The data that a configuration names.

    Raises:
        DataError: if there are none of a known kind, or a file is damaged.
    """
    place = Path(config.data) if config.data else flags.read().data
    if place is None:
        raise DataError("no data: give --data DIR, or set STATICNET_DATA=DIR")
    if place.is_file():
        return _file(place, config)
    if not place.is_dir():
        raise DataError(f"{place}: no such file or folder; data are {KINDS}")
    for name, read in (
        ("cifar-10-batches-bin", datasets.cifar10),
        ("fashion-mnist", datasets.fashion_mnist),
        ("mnist", datasets.mnist),
    ):
        files = ("data_batch_1.bin", "train-images-idx3-ubyte.gz", "train-images-idx3-ubyte")
        own = any((place / file).is_file() for file in files)
        if (place / name).is_dir() or (
            own and name.startswith("cifar") == (place / files[0]).is_file()
        ):
            return _official(read(place))
    if (place / "x.npy").is_file():
        return _arrays(ArraySource(npy(place / "x.npy"), npy(place / "y.npy")), config)
    return _images(place, config)


def _file(place: Path, config: Config) -> RunData:
    suffix = place.suffix.lower()
    if suffix in (".csv", ".parquet", ".pq"):
        if not config.target:
            raise DataError(f"{place}: which column is predicted? give --set target=NAME")
        table = Table(place, config.target)
        return _arrays(table, config, tuple(table.classes))
    if suffix == ".txt":
        text = Text(place, config.length)
        return _arrays(text, config, tuple(text.characters))
    raise DataError(f"{place}: data are {KINDS}")


def _official(data: datasets.ImageData) -> RunData:
    def source(images: Any, labels: Any) -> ArraySource:
        return ArraySource(images if images.ndim == 4 else images[:, None], labels)

    training = source(data.train_images, data.train_labels)
    return RunData(training, source(data.test_images, data.test_labels), data.classes)


def _images(place: Path, config: Config) -> RunData:
    if not (place / "train").is_dir():
        whole = ImageFolder(place, config.size)
        return RunData(whole, None, tuple(whole.classes))
    training = ImageFolder(place / "train", config.size)
    other = next((place / name for name in ("val", "test") if (place / name).is_dir()), None)
    held = None if other is None else ImageFolder(other, training.size)
    if held is not None and held.classes != training.classes:
        raise DataError(f"{other}: classes {held.classes}, and {training.classes} in train")
    return RunData(training, held, tuple(training.classes))


def _arrays(whole: ArraySource, config: Config, classes: tuple[str, ...] = ()) -> RunData:
    """A part of the examples held out, chosen by the seed."""
    count = int(whole.examples * config.validation)
    x, y = whole.arrays
    if not classes and y.dtype.kind in "iu":
        classes = tuple(map(str, range(int(y.max()) + 1)))
    if not count:
        return RunData(whole, None, classes)
    order = permutation_array(config.seed, 2**32, whole.examples)
    rest, held = np.sort(order[count:]), np.sort(order[:count])
    return RunData(ArraySource(x[rest], y[rest]), ArraySource(x[held], y[held]), classes)


def images_of(source: Source, count: int | None = None) -> tuple[Array, Array]:
    """Images of a source and their classes; if fewer than all, of a folder some of each class.

    -> [n, c, h, w], int [n]
    """
    assert source.examples is not None
    total = source.examples if count is None else min(count, source.examples)
    if isinstance(source, ArraySource):
        x, y = source.arrays
        return np.asarray(x[:total]), np.asarray(y[:total])
    assert isinstance(source, ImageFolder)
    pairs = [source.read(int(i)) for i in np.linspace(0, source.examples - 1, total)]
    return np.stack([x for x, _ in pairs]), np.array([y for _, y in pairs])
