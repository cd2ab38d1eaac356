"""Augmentations of images as layers: at work while training, and nothing otherwise.

Each call in a graph and each run of the graph draws anew. The buffer `counter` counts the runs, as
a Dropout's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seed
from staticnet.ops.random import Generator, Key


class Augmentation(Module):
    """y = augment(x, key) while training, else x; a subclass defines `augment`."""

    names: ClassVar[tuple[str, ...]] = ()

    def _draws(self, seed: int | None) -> None:
        self._generator = Generator(next_seed(seed))
        self._generator.counter.name = ""  # to be named after its place here
        self.register_buffer("counter", self._generator.counter, persistent=False)

    def augment(self, x: Any, key: Key) -> Value:
        """x, augmented by what the key draws."""
        raise NotImplementedError(f"{type(self).__name__} defines no augment")

    def forward(self, input: Any) -> Value:
        """The input, augmented as the mode is now."""
        return self.augment(input, self._generator.key(like=input)) if self.training else input

    def extra_repr(self) -> str:
        """The arguments."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.names)


class RandomCrop(Augmentation):
    """y = a window of x, with `padding` elements of `fill` around it, at a random place.

    x: [n, c, h, w] -> y: [n, c, *size]. When it does not train x must be of the window's size.
    """

    names = ("size", "padding")

    def __init__(
        self, size: Any, padding: Any = 0, fill: float = 0.0, *, seed: int | None = None
    ) -> None:
        self.size, self.padding, self.fill = size, padding, fill
        self._draws(seed)

    def augment(self, x: Any, key: Key) -> Value:
        """A random window of each image."""
        return F.random_crop(x, self.size, self.padding, self.fill, key=key)


class RandomHorizontalFlip(Augmentation):
    """y = x with left and right exchanged, with probability p.  x: [n, c, h, w] -> y: the same"""

    names = ("p",)

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        self.p = p
        self._draws(seed)

    def augment(self, x: Any, key: Key) -> Value:
        """Some of the images, turned."""
        return F.random_horizontal_flip(x, self.p, key=key)


class RandomVerticalFlip(Augmentation):
    """y = x with top and bottom exchanged, with probability p.  x: [n, c, h, w] -> y: the same"""

    names = ("p",)

    def __init__(self, p: float = 0.5, *, seed: int | None = None) -> None:
        self.p = p
        self._draws(seed)

    def augment(self, x: Any, key: Key) -> Value:
        """Some of the images, turned."""
        return F.random_vertical_flip(x, self.p, key=key)


class RandomErasing(Augmentation):
    """y = x with a random rectangle set to `value`, with probability p.

    x: [n, c, h, w] -> y: the same
    """

    names = ("p", "scale", "ratio", "value")

    def __init__(
        self,
        p: float = 0.5,
        scale: Any = (0.02, 0.33),
        ratio: Any = (0.3, 3.3),
        value: float = 0.0,
        *,
        seed: int | None = None,
    ) -> None:
        self.p, self.scale, self.ratio, self.value = p, scale, ratio, value
        self._draws(seed)

    def augment(self, x: Any, key: Key) -> Value:
        """The images with rectangles in some."""
        return F.random_erasing(x, self.p, self.scale, self.ratio, self.value, key=key)


class ColorJitter(Augmentation):
    """y = x, whose elements are in [0, 1], with random brightness, contrast and saturation.

    x: [n, 3, h, w], or [n, 1, h, w] -> y: the same
    """

    names = ("brightness", "contrast", "saturation")

    def __init__(
        self,
        brightness: Any = 0,
        contrast: Any = 0,
        saturation: Any = 0,
        *,
        seed: int | None = None,
    ) -> None:
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self._draws(seed)

    def augment(self, x: Any, key: Key) -> Value:
        """The images in other colors."""
        return F.color_jitter(x, self.brightness, self.contrast, self.saturation, key=key)


class Normalize(Module):
    """y = (x - mean) / std for each channel, also when not training.

    x: [n, c, *s], mean, std: [c] or [] -> y: [n, c, *s]
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = mean, std

    def forward(self, input: Any) -> Value:
        """The input with mean 0 and deviation 1, if these are its own."""
        return F.standardize(input, self.mean, self.std)

    def extra_repr(self) -> str:
        """The mean and the deviation."""
        return f"mean={self.mean!r}, std={self.std!r}"
