"""Data sets in their official file formats, read from a local folder; nothing is downloaded.

Each loader takes the folder, or reads `STATICNET_DATA` when it is given none.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import flags
from staticnet.errors import DataError

Array = np.ndarray[Any, Any]
Folder = str | os.PathLike[str] | None

MNIST_CLASSES = tuple("0123456789")
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_CIFAR_RECORD = 1 + 3 * 32 * 32
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class ImageData:
    """Labelled images in two parts; pixels are float32 in [0, 1], labels int64.

    MNIST: images [n, 28, 28].  CIFAR-10: images [n, 3, 32, 32], channels first.
    """

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    classes: tuple[str, ...]


def load_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, gzipped or not: an array of the shape and dtype its header gives.

    Raises:
        DataError: if the header is no IDX header or the length is not the one it promises.
        OSError: if the file cannot be read.
    """
    data = _read(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_DTYPES:
        raise DataError(f"{path}: not an IDX file: it starts with {data[:4].hex(' ')!r}")
    dtype, start = np.dtype(_IDX_DTYPES[data[2]]), 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"{path}: the file ends within its header of {start} bytes")
    shape = tuple(int(d) for d in np.frombuffer(data[4:start], ">u4"))
    promised = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != promised:
        raise DataError(
            f"{path}: {len(data):,} bytes, but a header for {dtype.name}{list(shape)} "
            f"promises {promised:,}; fetch the file again"
        )
    return np.frombuffer(data[start:], dtype).reshape(shape).astype(dtype.newbyteorder("="))


def mnist(folder: Folder = None) -> ImageData:
    """Read MNIST from its four IDX files in FOLDER/mnist or FOLDER.

    Raises:
        DataError: if a file is missing or damaged; lists what was looked for.
    """
    return _four_files(folder, "mnist", MNIST_CLASSES)


def fashion_mnist(folder: Folder = None) -> ImageData:
    """Read Fashion-MNIST from its four IDX files in FOLDER/fashion-mnist or FOLDER.

    Raises:
        DataError: if a file is missing or damaged; lists what was looked for.
    """
    return _four_files(folder, "fashion-mnist", FASHION_MNIST_CLASSES)


def cifar10(folder: Folder = None) -> ImageData:
    """Read CIFAR-10 from its binary version in FOLDER/cifar-10-batches-bin or FOLDER.

    As many training batches are read as there are, from data_batch_1.bin on.

    Raises:
        DataError: if a file is missing or damaged; lists what was looked for.
    """
    root = _folder(folder)
    folders = (root / "cifar-10-batches-bin", root)
    first, test = (_find(folders, [f"{name}.bin"]) for name in ("data_batch_1", "test_batch"))
    batches = sorted(first.parent.glob("data_batch_*.bin"))
    expected = [first.parent / f"data_batch_{i}.bin" for i in range(1, len(batches) + 1)]
    if batches != sorted(expected):
        raise DataError(f"{first.parent}: a training batch is missing among {_listed(batches)}")
    parts = [_cifar_batch(batch) for batch in expected]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ImageData(images, labels, *_cifar_batch(test), CIFAR10_CLASSES)


def tinyshakespeare(folder: Folder = None) -> str:
    """Read tinyshakespeare.txt: one long text.

    Raises:
        DataError: if the file is missing.
    """
    return _text(folder, "tinyshakespeare.txt")


def names(folder: Folder = None) -> list[str]:
    """Read names.txt: one name a line.

    Raises:
        DataError: if the file is missing.
    """
    return _text(folder, "names.txt").splitlines()


def _folder(folder: Folder) -> Path:
    chosen = flags.read().data if folder is None else Path(folder)
    if chosen is None:
        raise DataError("no data folder: pass one, or set STATICNET_DATA=DIR")
    return chosen


def _four_files(folder: Folder, name: str, classes: tuple[str, ...]) -> ImageData:
    root = _folder(folder)
    train, test = (_mnist_part((root / name, root), part) for part in ("train", "t10k"))
    return ImageData(*train, *test, classes)


def _mnist_part(folders: Sequence[Path], part: str) -> tuple[Array, Array]:
    images_file = _idx_file(folders, f"{part}-images-idx3")
    labels_file = _idx_file(folders, f"{part}-labels-idx1")
    images, labels = load_idx(images_file), load_idx(labels_file).astype(np.int64)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise DataError(
            f"{images_file}: expected uint8[n,28,28], got {images.dtype}{list(images.shape)}; "
            "fetch the file again, under its own name"
        )
    _check_labels(labels_file, labels, len(images))
    return _pixels(images), labels


def _idx_file(folders: Iterable[Path], stem: str) -> Path:
    return _find(folders, [f"{stem}-ubyte.gz", f"{stem}-ubyte"])


def _cifar_batch(file: Path) -> tuple[Array, Array]:
    data = _read(file)
    if not data or len(data) % _CIFAR_RECORD:
        raise DataError(
            f"{file}: {len(data):,} bytes are no whole number of records of {_CIFAR_RECORD}: "
            f"record {len(data) // _CIFAR_RECORD} is cut; fetch the file again"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    _check_labels(file, labels, len(records))
    return _pixels(records[:, 1:].reshape(-1, 3, 32, 32)), labels


def _pixels(images: Array) -> Array:
    return np.divide(images, np.float32(255), dtype=np.float32)


def _check_labels(file: Path, labels: Array, images: int) -> None:
    if labels.shape != (images,):
        told = f"{file}: labels of shape {list(labels.shape)} for {images} images"
        raise DataError(f"{told}; fetch both files again")
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if wrong.size:
        raise DataError(
            f"{file}: labels from {labels.min()} to {labels.max()} for 10 classes: record "
            f"{wrong[0]} has {labels[wrong[0]]}; fetch the file again"
        )


def _text(folder: Folder, name: str) -> str:
    file = _find([_folder(folder)], [name])
    try:
        return _read(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: byte {error.start} is no UTF-8; convert the file, or fetch it again"
        ) from None


def _find(folders: Iterable[Path], file_names: Sequence[str]) -> Path:
    """The first of the files that exists."""
    candidates = [folder / name for folder in folders for name in file_names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = _listed(candidates)
    raise DataError(f"no data set found; looked for {looked}; give the folder that has its files")


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _read(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes, unpacked if they are gzipped."""
    data = Path(path).read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: the gzip data is damaged: {error}; fetch the file again"
        ) from None
