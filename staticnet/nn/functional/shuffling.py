"""Moving elements between channels and spatial axes: pixel shuffles, patches and their sums."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, exact_quotient
from staticnet.ir.types import as_shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_axes
from staticnet.ops.arguments import as_size
from staticnet.ops.base import apply, as_value, function
from staticnet.ops.movement import Pad, permute_dims, stack
from staticnet.ops.movement import pad as pad_with
from staticnet.ops.shape import expand_dims, reshape, squeeze
from staticnet.ops.widening import rounded_once


@function
def pixel_shuffle(input: Any, upscale_factor: int) -> Value:
    """y = x with channels laid out as r x r pixels.

    input x: [*b, c r r, h, w] -> y: [*b, c, h r, w r]

    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", 2016.

    Raises:
        ShapeError: if the channels are no multiple of r r, or there are fewer than three axes.
    """
    x, r = _pixels(input), as_size(upscale_factor, "upscale_factor")
    *before, channels, h, w = x.shape
    each = _quotient(channels, r * r, "channels")
    k = len(before)
    y = reshape(x, (*before, each, r, r, h, w))
    y = permute_dims(y, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(y, (*before, each, h * r, w * r))


@function
def pixel_unshuffle(input: Any, downscale_factor: int) -> Value:
    """y = x with r x r pixels laid into channels.

    input x: [*b, c, h r, w r] -> y: [*b, c r r, h, w]

    Raises:
        ShapeError: if the height or width is no multiple of r, or there are fewer than three axes.
    """
    x, r = _pixels(input), as_size(downscale_factor, "downscale_factor")
    *before, channels, h, w = x.shape
    high, wide = _quotient(h, r, "rows"), _quotient(w, r, "columns")
    k = len(before)
    y = reshape(x, (*before, channels, high, r, wide, r))
    y = permute_dims(y, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(y, (*before, channels * r * r, high, wide))


@function
def channel_shuffle(input: Any, groups: int) -> Value:
    """y = x with the channels of `groups` groups taken in turn.

    input x: [n, c, *s] -> y: [n, c, *s]

    Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile
    devices", 2018.

    Raises:
        ShapeError: if the channels are no multiple of `groups`, or there are fewer than three axes.
    """
    x, count = _pixels(input), as_size(groups, "groups")
    n, channels, *spatial = x.shape
    each = _quotient(channels, count, "channels")
    y = reshape(x, (n, count, each, *spatial))
    return reshape(permute_dims(y, (0, 2, 1, *range(3, y.ndim))), x.shape)


def _pixels(x: Any) -> Value:
    x = as_value(x)
    if x.ndim < 3:
        raise ShapeError(f"takes [.., c, h, w], not {format_shape(x.shape)}")
    return x


def _quotient(size: int | Dim, by: int, what: str) -> int | Dim:
    found = exact_quotient(size, by)
    if found is None:
        raise ShapeError(f"{size} {what} are no multiple of {by}")
    return found


class _Patches:
    """Where patches of two axes lie: PyTorch's arguments, and the padded size."""

    def __init__(
        self, size: Sequence[Any], kernel: Any, dilation: Any, padding: Any, stride: Any
    ) -> None:
        self.kernel = as_axes(kernel, 2, "kernel_size", 1)
        self.dilation = as_axes(dilation, 2, "dilation", 1)
        self.padding = as_axes(padding, 2, "padding", 0)
        self.stride = as_axes(stride, 2, "stride", 1)
        self.size = tuple(size)
        self.padded = tuple(n + 2 * p for n, p in zip(size, self.padding, strict=True))
        rests = [
            n - d * (k - 1) - 1
            for n, k, d in zip(self.padded, self.kernel, self.dilation, strict=True)
        ]
        if any(isinstance(rest, int) and rest < 0 for rest in rests):
            raise ShapeError(
                f"patches of {self.kernel}, {self.dilation} apart, are larger than "
                f"{format_shape(self.size)} with its padding of {self.padding}"
            )
        self.count = tuple(r // s + 1 for r, s in zip(rests, self.stride, strict=True))

    @property
    def are_disjoint(self) -> bool:
        """Whether patches lie side by side and cover all."""
        covered = tuple(c * k for c, k in zip(self.count, self.kernel, strict=True))
        plain = self.dilation == (1, 1) or all(k == 1 for k in self.kernel)
        return plain and self.stride == self.kernel and covered == self.padded

    def offsets(self) -> Iterator[tuple[int, int]]:
        """The elements of a patch, by their distances from its first one."""
        rows, columns = (
            range(0, k * d, d) for k, d in zip(self.kernel, self.dilation, strict=True)
        )
        return itertools.product(rows, columns)

    def spans(self) -> tuple[int | Dim, ...]:
        """From one element of the first patch to that of the last, on each axis, and one more."""
        return tuple((c - 1) * s + 1 for c, s in zip(self.count, self.stride, strict=True))


@function
def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Value:
    """y[:, :, l] = the elements of patch l, one after the other.

    input x: [n, c, h, w] -> y: [n, c * kernel, patches]; n may be missing

    Raises:
        ArgumentError: if an argument is neither an int in its range nor two of them.
        ShapeError: if x has other axes or is smaller than a patch.
    """
    x = as_value(input)
    if x.ndim not in (3, 4):
        raise ShapeError(f"takes [n, c, h, w] or [c, h, w], not {format_shape(x.shape)}")
    single = x.ndim == 3
    x = expand_dims(x, 0) if single else x
    n, c = x.shape[:2]
    p = _Patches(x.shape[2:], kernel_size, dilation, padding, stride)
    (kh, kw), (oh, ow) = p.kernel, p.count
    if any(p.padding):
        x = pad_with(x, ((0, 0), (0, 0), *((w, w) for w in p.padding)))
    if p.are_disjoint:
        parts = permute_dims(reshape(x, (n, c, oh, kh, ow, kw)), (0, 1, 3, 5, 2, 4))
    else:
        spans, (sh, sw) = p.spans(), p.stride
        cuts = [x[:, :, i : i + spans[0] : sh, j : j + spans[1] : sw] for i, j in p.offsets()]
        parts = stack(cuts, 2)
    y = reshape(parts, (n, c * kh * kw, oh * ow))
    return squeeze(y, 0) if single else y


@function
@rounded_once()
def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Value:
    """y = the sum of patches, each where `unfold` takes it from.

    input x: [n, c * kernel, patches] -> y: [n, c, *output_size]; n may be missing

    Raises:
        ArgumentError: if an argument is neither an int in its range nor two of them.
        ShapeError: if x has other axes, or not as many channels and patches.
    """
    x = as_value(input)
    if x.ndim not in (2, 3):
        raise ShapeError(f"takes [n, c * kernel, patches], not {format_shape(x.shape)}")
    single = x.ndim == 2
    x = expand_dims(x, 0) if single else x
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * 2
    if len(sizes) != 2:
        raise ArgumentError(f"output_size must be an int or 2 of them, not {output_size!r:.60}")
    sizes = as_shape(tuple(sizes), "output_size")
    p = _Patches(sizes, kernel_size, dilation, padding, stride)
    (kh, kw), (oh, ow) = p.kernel, p.count
    c = _quotient(x.shape[1], kh * kw, "channels")
    if x.shape[2] != oh * ow:
        raise ShapeError(f"{format_shape(p.size)} has {oh} x {ow} patches, not {x.shape[2]}")
    y = _added(reshape(x, (x.shape[0], c, kh, kw, oh, ow)), p)
    y = y[:, :, *(slice(w, w + s) for w, s in zip(p.padding, p.size, strict=True))]
    return squeeze(y, 0) if single else y


def _added(parts: Value, p: _Patches) -> Value:
    """parts: [n, c, kh, kw, oh, ow] -> y: [n, c, *padded], each element in its place"""
    n, c, kh, kw = parts.shape[:4]
    if p.are_disjoint:
        return reshape(permute_dims(parts, (0, 1, 4, 2, 5, 3)), (n, c, *p.padded))
    placed = []
    gaps = (0, 0, *(s - 1 for s in p.stride))
    for (i, j), (a, b) in zip(p.offsets(), itertools.product(range(kh), range(kw)), strict=True):
        low = (0, 0, i, j)
        rows = zip(p.padded, (i, j), p.spans(), strict=True)
        high = (0, 0, *(size - at - span for size, at, span in rows))
        placed.append(apply(Pad(low, high, gaps), parts[:, :, a, b], 0))
    return functools.reduce(lambda x, y: x + y, placed)
