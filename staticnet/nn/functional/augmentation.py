"""Augmentations of images: each example's own, drawn inside the graph, so that a step has them.

Equal keys give equal augmentations. Images are x: [n, c, h, w]; n may be symbolic.
"""

from __future__ import annotations

import math
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.ops.arguments import as_int, as_tuple
from staticnet.ops.arithmetic import minimum
from staticnet.ops.base import as_value, function, promoted
from staticnet.ops.creation import iota
from staticnet.ops.indexing import take_along_axis
from staticnet.ops.random import Key, bernoulli, fold_in, randint, uniform
from staticnet.ops.rearranging import flip
from staticnet.ops.reduction import mean
from staticnet.ops.rounding import floor, round
from staticnet.ops.selection import clip, where
from staticnet.ops.shape import broadcast_to, reshape, sum
from staticnet.ops.transcendental import exp, sqrt
from staticnet.ops.widening import rounded_once

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


def _images(x: Any) -> tuple[Value, int, int]:
    """Images, their height and width.

    Raises:
        ShapeError: if x is no batch of images of a fixed size.
    """
    x = as_value(x)
    height, width = x.shape[-2:] if x.ndim == 4 else (None, None)
    if not isinstance(height, int) or not isinstance(width, int):
        raise ShapeError(f"images must be [n, c, h, w] of a fixed h and w, not {x.type}")
    return x, height, width


def _pair(value: Any, what: str, least: int) -> tuple[int, int]:
    """An int for both axes, or one for each."""
    both = as_tuple(value)
    if len(both) not in (1, 2):
        raise ArgumentError(f"{what} must be an int or two, not {value!r:.60}")
    first, last = (as_int(both[i], what, least, kind=f"an int >= {least}") for i in (0, -1))
    return first, last


@function
def random_crop(x: Any, size: Any, padding: Any = 0, fill: float = 0.0, *, key: Key) -> Value:
    """y = a window of x, with `padding` elements of `fill` around it, at a random place.

    x: [n, c, h, w], size and padding: an int, or two for h and w -> y: [n, c, *size]

    Raises:
        ShapeError: if x is no batch of images of a fixed size, or the window is greater.
        ArgumentError: if the size is not positive, the padding negative, or there is no key.
    """
    x, *sides = _images(x)
    sizes, around = _pair(size, "size", 1), _pair(padding, "padding", 0)
    blank = promoted("random_crop", x, as_number(fill, "fill", -math.inf, math.inf))[1]
    for axis, side, length, pad, number in zip((2, 3), sides, sizes, around, (0, 1), strict=True):
        room = side + 2 * pad - length
        if room < 0:
            raise ShapeError(
                f"a window of {length} does not fit axis {axis} of {format_shape(x.shape)} with "
                f"{pad} elements on both sides"
            )
        start = randint(fold_in(key, number), 0, room + 1, (x.shape[0],)) - pad
        shape = tuple(length if i == axis else d for i, d in enumerate(x.shape))
        place = reshape(start, (-1, 1, 1, 1)) + iota(shape, axis)
        inside = (place >= 0) & (place < side)
        x = where(inside, take_along_axis(x, clip(place, 0, side - 1), axis), blank)
    return x


def _flipped(x: Any, axis: int, p: Any, key: Key) -> Value:
    x, *_ = _images(x)
    chosen = bernoulli(key, as_number(p, "p", 0, 1), (x.shape[0], 1, 1, 1))
    return where(chosen, flip(x, axis), x)


@function
def random_horizontal_flip(x: Any, p: float = 0.5, *, key: Key) -> Value:
    """y = x with left and right exchanged, with probability p.  x: [n, c, h, w] -> y: the same

    Raises:
        ShapeError: if x is no batch of images of a fixed size.
        ArgumentError: if p is not in [0, 1], or there is no key.
    """
    return _flipped(x, 3, p, key)


@function
def random_vertical_flip(x: Any, p: float = 0.5, *, key: Key) -> Value:
    """y = x with top and bottom exchanged, with probability p.  x: [n, c, h, w] -> y: the same

    Raises:
        ShapeError: if x is no batch of images of a fixed size.
        ArgumentError: if p is not in [0, 1], or there is no key.
    """
    return _flipped(x, 2, p, key)


@function
def random_erasing(
    x: Any,
    p: float = 0.5,
    scale: Any = (0.02, 0.33),
    ratio: Any = (0.3, 3.3),
    value: float = 0.0,
    *,
    key: Key,
) -> Value:
    """y = x with a random rectangle set to `value`, with probability p.

    x: [n, c, h, w] -> y: the same. The rectangle has a part of the area in `scale` and a ratio of
    height to width in `ratio`, cut to the image. Zhong et al., "Random erasing data augmentation",
    2017.

    Raises:
        ShapeError: if x is no batch of images of a fixed size.
        ArgumentError: if p, scale or ratio is out of range, or there is no key.
    """
    x, height, width = _images(x)
    column = (x.shape[0], 1, 1, 1)
    area = uniform(fold_in(key, 0), column, "float32", *_range(scale, "scale", 0, 1))
    tall = exp(uniform(fold_in(key, 1), column, "float32", *map(math.log, _ratios(ratio))))
    inside = bernoulli(fold_in(key, 2), as_number(p, "p", 0, 1), column)
    for axis, side, shape, number in ((2, height, tall, 3), (3, width, 1 / tall, 4)):
        length = minimum(round(sqrt(area * (height * width) * shape)), side)
        start = floor(uniform(fold_in(key, number), column) * (side - length + 1))
        place = iota(tuple(d if i == axis else 1 for i, d in enumerate(x.shape)), axis)
        inside = inside & (place >= start) & (place < start + length)
    blank = promoted("random_erasing", x, as_number(value, "value", -math.inf, math.inf))[1]
    return where(broadcast_to(inside, (x.shape[0], 1, height, width)), blank, x)


def _range(value: Any, what: str, least: float, most: float) -> tuple[float, float]:
    """Two numbers in order."""
    both = as_tuple(value)
    if len(both) != 2:
        raise ArgumentError(f"{what} must be two numbers, not {value!r:.60}")
    low = as_number(both[0], what, least, most)
    return low, as_number(both[1], what, low, most)


def _ratios(value: Any) -> tuple[float, float]:
    low, high = _range(value, "ratio", 0, math.inf)
    if low == 0 or high == math.inf:
        raise ArgumentError(f"ratio must be two positive numbers, not {value!r:.60}")
    return low, high


@function
@rounded_once()
def color_jitter(
    x: Any, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, *, key: Key
) -> Value:
    """y = x, whose elements are in [0, 1], with random brightness, contrast and saturation.

    x: [n, 3, h, w], or [n, 1, h, w] -> y: the same. Each is a number b, for a factor in
    [max(0, 1 - b), 1 + b), or the two limits. They follow in this order, each limited to [0, 1].

    Raises:
        ShapeError: if x is no batch of images of a fixed size, of one or three channels.
        ArgumentError: if a range is none, or there is no key.
    """
    x, *_ = _images(as_floating(x))
    if x.shape[1] not in (1, 3):
        raise ShapeError(f"colors are of 1 or 3 channels, not {x.shape[1]}")
    given = (brightness, contrast, saturation)
    factors = [
        uniform(fold_in(key, i), (x.shape[0], 1, 1, 1), x.dtype, *_factors(amount, what))
        for i, (amount, what) in enumerate(
            zip(given, ("brightness", "contrast", "saturation"), strict=True)
        )
    ]
    x = clip(x * factors[0], 0, 1)
    x = clip(factors[1] * x + (1 - factors[1]) * mean(_gray(x), (1, 2, 3), keepdims=True), 0, 1)
    return clip(factors[2] * x + (1 - factors[2]) * _gray(x), 0, 1)


def _factors(amount: Any, what: str) -> tuple[float, float]:
    if len(as_tuple(amount)) == 2:
        return _range(amount, what, 0, math.inf)
    width = as_number(amount, what, 0, math.inf)
    return max(0.0, 1 - width), 1 + width


def _gray(x: Value) -> Value:
    """x: [n, c, h, w] -> [n, 1, h, w]"""
    if x.shape[1] == 1:
        return x
    return sum(x * promoted("gray", x, [[[[k]] for k in LUMA]])[1], 1, keepdims=True)


@function
@rounded_once()
def standardize(x: Any, mean: Any, std: Any) -> Value:
    """y = (x - mean) / std, with a mean and a std for each channel.

    x: [n, c, *s], mean, std: [c] or [] -> y: [n, c, *s]

    Raises:
        ShapeError: if mean or std does not fit the channels.
        DTypeError: if x is not floating-point.
    """
    x = as_floating(x)
    if x.ndim < 2:
        raise ShapeError(f"images must be [n, c, …], not {x.type}")
    return (x - _by_channel(x, mean, "mean")) / _by_channel(x, std, "std")


def _by_channel(x: Value, given: Any, what: str) -> Value:
    given = promoted("standardize", x, given)[1]
    if given.ndim and given.shape not in ((1,), (x.shape[1],)):
        raise ShapeError(f"{what} {format_shape(given.shape)} must be [{x.shape[1]}] or []")
    return reshape(given, (-1, *(1,) * (x.ndim - 2))) if given.ndim else given
