"""A folder of images, one folder a class: read as they are needed, some ahead, on some threads."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DataError, DependencyError
from staticnet.ir.hints import install
from staticnet.ops.arguments import as_size
from staticnet.ops.random import permutation_array
from staticnet.train.data.batches import BatchEpoch
from staticnet.train.data.prefetch import Prefetch
from staticnet.train.data.source import Array, Layout, Plan

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_CHANNELS = {"RGB": 3, "L": 1}
_ORIENTATION = 0x0112  # the tag of EXIF 2.3, 4.6.4; what undoes each
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class ImageFolder:
    """Images in FOLDER/CLASS/NAME.png, and the number of their class, in the order of the names.

    Pixels are float32 in [0, 1], channels first, by Pillow: 16 bits are scaled, palettes and
    transparency made colours, of an animation the first image is taken, and what a camera stored
    lying on its side stands upright, as EXIF has it. All must have one size;
    with `size`, an int or (height, width), they are resized to it. `workers` threads read
    `prefetch` batches ahead, so that many are in memory. `classes` are the folders' names. With
    `targets=False` all images below FOLDER are taken, for `predict`, in whatever folders; `files`
    says which.

    x: [n, 3, h, w], or [n, 1, h, w] with mode="L"; y: int64 [n]

    Raises:
        ArgumentError: if an argument is out of its range.
        DataError: if there are no images; and while reading, if one is damaged or has another size:
            names its file.
        DependencyError: if Pillow is not installed.
    """

    exact = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        size: int | tuple[int, int] | None = None,
        *,
        mode: str = "RGB",
        workers: int = 2,
        prefetch: int = 2,
        targets: bool = True,
    ) -> None:
        _pillow()
        if mode not in _CHANNELS:
            raise ArgumentError(
                f"ImageFolder: mode is one of {', '.join(_CHANNELS)}, not {mode!r:.60}"
            )
        self.folder, self.mode = Path(folder), mode
        self.classes, self.files, labels = _found(self.folder) if targets else _all(self.folder)
        self.labels = np.array(labels, np.int64)
        self.size = _size(size) if size is not None else None
        self._resize = size is not None
        self._workers = as_size(workers, "ImageFolder: workers")
        self._prefetch = as_size(prefetch, "ImageFolder: prefetch")
        self._targets = targets
        if self.size is None:
            self.size = self._image(self.files[0]).shape[1:]

    @property
    def layout(self) -> Layout:
        """What a batch is."""
        assert self.size is not None
        x = np.zeros((1, _CHANNELS[self.mode], *self.size), np.float32)
        return Layout.of((x, self.labels[:1] if self._targets else None))[0]

    @property
    def examples(self) -> int:
        """How many images there are."""
        return len(self.files)

    def inputs(self) -> ImageFolder:
        """The images alone."""
        alone = copy(self)
        alone._targets = False
        return alone

    def epoch(self, plan: Plan) -> BatchEpoch:
        """The batches of an epoch, in the order that arrays have under the same plan."""
        rows = np.arange(self.examples)
        if plan.shuffle:
            rows = permutation_array(plan.seed, plan.number, self.examples)
        whole = self.examples // plan.batch_size * plan.batch_size
        total = -(-(whole if plan.drop_last else self.examples) // plan.batch_size)
        starts = range(plan.skip * plan.batch_size, total * plan.batch_size, plan.batch_size)
        batches = self._batches([rows[at : at + plan.batch_size] for at in starts])
        return BatchEpoch(Prefetch(batches, self._prefetch), self.layout, total, plan)

    def _batches(self, chosen: Sequence[Array]) -> Iterator[tuple[Array, Array | None]]:
        with ThreadPoolExecutor(self._workers) as pool:
            for rows in chosen:
                images = list(pool.map(self._image, [self.files[i] for i in rows]))
                yield np.stack(images), self.labels[rows] if self._targets else None

    def at(self, rows: slice | Array) -> list[Array]:
        """Images by their numbers, and their classes.  -> float32 [n, c, h, w], int64 [n]"""
        images, labels = next(self._batches([np.arange(self.examples)[rows]]))
        return [images] if labels is None else [images, labels]

    def read(self, number: int) -> tuple[Array, int]:
        """One image and its class.  -> float32 [c, h, w], int"""
        return self._image(self.files[number]), int(self.labels[number])

    def _image(self, file: Path) -> Array:
        """An image's pixels.  -> float32 [c, h, w]"""
        pixels = read_image(file, self.mode, self.size if self._resize else None)
        if self.size is not None and pixels.shape[1:] != tuple(self.size):
            h, w = pixels.shape[1:]
            raise DataError(
                f"{file}: {h} by {w} pixels, and the others have {self.size[0]} by {self.size[1]}; "
                "resize them all by ImageFolder(folder, size=(height, width))"
            )
        return pixels


def read_image(file: Path, mode: str = "RGB", size: tuple[int, int] | None = None) -> Array:
    """An image's pixels in [0, 1], resized to (height, width).  -> float32 [c, h, w]

    Raises:
        DataError: if it is damaged, or no image.
        DependencyError: if Pillow is not installed.
    """
    image = _pillow()
    try:
        # by its name Pillow would map it, and reads the rows of some TIFFs that lie on a side askew
        with file.open("rb") as stream, image.open(stream) as opened:
            return _pixels(opened, mode, size)
    except FileNotFoundError:
        raise DataError(f"{file}: no such image") from None
    except image.UnidentifiedImageError:  # its text would name the stream
        raise DataError(
            f"{file}: no readable image: cannot identify image file; remove it, or write it again"
        ) from None
    except image.DecompressionBombError:
        raise DataError(f"{file}: more pixels than Pillow reads; write it again, smaller") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{file}: no readable image: {error}; remove it, or write it again"
        ) from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DependencyError(f"ImageFolder: Pillow not found; {install('data')}") from None
    return Image


def _size(size: Any) -> tuple[int, int]:
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ArgumentError(f"ImageFolder: size is an int or (height, width), not {size!r:.60}")
    height, width = (as_size(n, "ImageFolder: size") for n in pair)
    return height, width


def _found(folder: Path) -> tuple[list[str], list[Path], list[int]]:
    """The classes, the images and the class of each."""
    _check_folder(folder, "FOLDER/CLASS/NAME.png")
    classes = sorted(each.name for each in folder.iterdir() if each.is_dir())
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        own = _images(folder / name)
        if not own:
            raise DataError(f"{folder / name}: a class without an image; remove the folder")
        files += own
        labels += [number] * len(own)
    if not files:
        raise DataError(
            f"{folder}: no images in folders of classes, as {folder}/cat/1.png; their names end in "
            f"{', '.join(SUFFIXES)}; to predict of some without classes, give targets=False"
        )
    return classes, files, labels


def _all(folder: Path) -> tuple[list[str], list[Path], list[int]]:
    """No classes, and all images below a folder."""
    _check_folder(folder, "FOLDER/NAME.png")
    files = images_below(folder)
    return [], files, [0] * len(files)


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and in those in it, in the order of their names.

    Raises:
        DataError: if there are none.
    """
    files = _images(folder)
    if not files:
        raise DataError(f"{folder}: no images; their names end in {', '.join(SUFFIXES)}")
    return files


def _check_folder(folder: Path, layout: str) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; images lie in {layout}")


def _images(folder: Path) -> list[Path]:
    """The images below a folder, in the order of their names."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return sorted(file for file in found if file.is_file())


def _pixels(opened: Any, mode: str, size: tuple[int, int] | None) -> Array:
    """The pixels of an open image of whatever mode.  -> float32 [c, h, w]"""
    opened = _upright(opened)
    if opened.mode.startswith("I;16") or opened.mode in ("I", "F"):
        image = _pillow().fromarray(_scaled(np.asarray(opened)))
    elif opened.mode in ("P", "PA") or "transparency" in opened.info:
        image = opened.convert("RGBA").convert("RGB")
    else:
        image = opened
    image = image.convert(mode)
    if size is not None:
        image = image.resize((size[1], size[0]), _pillow().Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels[None] if mode == "L" else pixels.transpose(2, 0, 1))


def _upright(opened: Any) -> Any:
    """The image as its camera was held, by EXIF; as it is stored, if that is unreadable."""
    opened.load()  # which turns a TIFF, and takes the tag from it
    try:
        turn = _TURNS.get(opened.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, OSError, struct.error):
        turn = None
    return opened if turn is None else opened.transpose(getattr(_pillow().Transpose, turn))


def _scaled(pixels: Array) -> Array:
    """16 bits as 8, rounded; of floats those in [0, 1]."""
    most = 1.0 if pixels.dtype.kind == "f" else 65535.0
    if np.isnan(pixels).any():
        raise ValueError("pixels that are no numbers")
    return np.rint(np.clip(pixels / most, 0, 1) * 255).astype(np.uint8)
