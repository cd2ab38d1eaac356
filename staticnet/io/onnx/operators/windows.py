"""Convolutions and pooling: windows over spatial axes, with ONNX's ways to say where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.ir.dim import Dim, size_of
from staticnet.ops.base import apply, items
from staticnet.spatial.convolution import Convolution, ConvolutionInput
from staticnet.spatial.pooling import MaxPool, WindowSum


@dataclass(frozen=True)
class Windows:
    """Where windows stand: an entry an axis. `extra` is what `ceil_mode` adds after the padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    extra: tuple[int, ...]

    @property
    def end(self) -> tuple[int, ...]:
        """The padding after each axis."""
        return tuple(a + b for a, b in zip(self.high, self.extra, strict=True))


def windows_of(call: Call, spatial: tuple[Any, ...], kernel: Any) -> Windows:
    """The windows that a step's attributes ask for over axes of these dims."""
    count = len(spatial)
    kernel = tuple(call.ints("kernel_shape") or kernel or ())
    strides = tuple(call.ints("strides") or (1,) * count)
    dilations = tuple(call.ints("dilations") or (1,) * count)
    pads = tuple(call.ints("pads") or (0,) * 2 * count)
    if not len(kernel) == len(strides) == len(dilations) == count or len(pads) != 2 * count:
        call.fail(
            f"kernel_shape {kernel}, strides {strides}, dilations {dilations} and pads {pads} do "
            f"not fit {count} spatial axes"
        )
    if min((*kernel, *strides, *dilations), default=1) < 1 or min(pads, default=0) < 0:
        call.fail(
            f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {pads}: too small"
        )
    low, high = pads[:count], pads[count:]
    auto = call.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            _same(call, *row) for row in zip(spatial, kernel, strides, dilations, strict=True)
        ]
        less, more = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        low, high = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "VALID":
        low = high = (0,) * count
    elif auto != "NOTSET":
        call.fail(f"auto_pad {auto!r:.40} is none of NOTSET, SAME_UPPER, SAME_LOWER, VALID")
    extra = (0,) * count
    if call.attribute("ceil_mode"):
        rows = zip(spatial, kernel, strides, dilations, low, high, strict=True)
        extra = tuple(_ceiled(call, *row) for row in rows)
    return Windows(kernel, strides, dilations, low, high, extra)


def _same(call: Call, n: Any, kernel: int, stride: int, dilation: int) -> int:
    """The padding that gives n / stride windows, rounded up."""
    reach = dilation * (kernel - 1) + 1
    if isinstance(n, Dim):
        if stride != 1:
            call.fail(f"auto_pad with a stride of {stride} needs a known size, not {n}")
        return reach - 1
    return max(0, (-(-n // stride) - 1) * stride + reach - n)


def _ceiled(
    call: Call, n: Any, kernel: int, stride: int, dilation: int, low: int, high: int
) -> int:
    """What is missing for the last window, if it begins in the array or the padding before."""
    if isinstance(n, Dim):
        if stride == 1:
            return 0
        call.fail(f"ceil_mode with a stride of {stride} needs a known size, not {n}")
    rest = n + low + high - dilation * (kernel - 1) - 1
    if rest < 0:
        return 0
    steps = -(-rest // stride)
    if steps * stride >= n + low:
        steps -= 1
    return max(0, steps * stride - rest)


@operator("Conv")
def conv(call: Call, x: Any, w: Any, b: Any = None) -> Any:
    """Cross-correlation.  x: [n, c, *s], w: [o, c / group, *k] -> y: [n, o, *t]"""
    return biased(convolved(call, x, w), b)


def convolved(call: Call, x: Any, w: Any) -> Any:
    """The convolution that a step's attributes ask for."""
    own = windows_of(call, x.shape[2:], w.shape[2:])
    group = call.integer("group", 1)
    op = Convolution(own.strides, own.low, own.high, own.dilations, (group,), "first")
    return apply(op, x, w)


def biased(y: Any, b: Any) -> Any:
    """y with a bias of each channel."""
    return y if b is None else y + sn.reshape(b, (*b.shape, *(1,) * (y.ndim - 2)))


@operator("ConvTranspose")
def conv_transpose(call: Call, x: Any, w: Any, b: Any = None) -> Any:
    """The transpose of a convolution.  x: [n, c, *s], w: [c, o / group, *k] -> y: [n, o, *t]"""
    spatial, kernel = x.shape[2:], w.shape[2:]
    count = len(spatial)
    strides = tuple(call.ints("strides") or (1,) * count)
    dilations = tuple(call.ints("dilations") or (1,) * count)
    more = tuple(call.ints("output_padding") or (0,) * count)
    full = [
        (n - 1) * s + d * (k - 1) + 1 + m
        for n, s, d, k, m in zip(spatial, strides, dilations, kernel, more, strict=True)
    ]
    low, high = _transposed_pads(call, full, spatial, strides)
    sizes = tuple(f - a - b for f, a, b in zip(full, low, high, strict=True))
    # the whole of it, of which the padding is cut
    op = ConvolutionInput(
        strides, (0,) * count, (0,) * count, dilations, (call.integer("group", 1),), "first",
        tuple(f - m for f, m in zip(full, more, strict=True)),
    )  # fmt: skip
    y = apply(op, x, w)
    if any(more) or any(n < 0 for n in (*low, *high)):
        pairs = [(max(0, -a), max(0, -b) + m) for a, b, m in zip(low, high, more, strict=True)]
        y = sn.pad(y, [(0, 0), (0, 0), *pairs])
        low = tuple(max(0, a) for a in low)
    if any(low) or any(high):
        key = (slice(a, a + n) for a, n in zip(low, sizes, strict=True))
        y = y[(slice(None), slice(None), *key)]
    return biased(y, b)


def _transposed_pads(call: Call, full: Any, spatial: Any, strides: Any) -> tuple[Any, Any]:
    """What is cut before and after each axis."""
    count, auto = len(full), call.text("auto_pad", "NOTSET")
    wanted = call.ints("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(spatial, strides, strict=True)]
    if wanted is None:
        pads = (
            tuple(call.ints("pads") or (0,) * 2 * count) if auto == "NOTSET" else (0,) * 2 * count
        )
        return pads[:count], pads[count:]
    totals = [f - n for f, n in zip(full, wanted[-count:], strict=True)]
    half = tuple(t // 2 for t in totals)
    rest = tuple(t - a for t, a in zip(totals, half, strict=True))
    return (half, rest) if auto == "SAME_UPPER" else (rest, half)


@operator("MaxPool")
def max_pool(call: Call, x: Any) -> Any:
    """The greatest element of each window, and its place in the whole of x."""
    own = windows_of(call, x.shape[2:], None)
    op = MaxPool(own.kernel, own.strides, own.low, own.end, own.dilations, "first")
    y, place = items(apply(op, x))
    if not call.wants(1):
        return y
    plane = size_of(x.shape[2:])
    place = sn.astype(place, sn.int64)
    if call.integer("storage_order"):
        place = _by_columns(place, x.shape[2:])
    first = sn.reshape(
        sn.arange(size_of(x.shape[:2])) * plane, (*x.shape[:2], *(1,) * (x.ndim - 2))
    )
    return y, place + first


def _by_columns(place: Any, spatial: tuple[Any, ...]) -> Any:
    """Places counted with the first axis fastest."""
    total, weight = sn.zeros_like(place), size_of(spatial)
    for dim in reversed(spatial):
        weight = weight // dim
        place, at = sn.floor_divide(place, dim), sn.remainder(place, dim)
        total = total + at * weight
    return total


@operator("AveragePool")
def average_pool(call: Call, x: Any) -> Any:
    """The mean of each window; padding is part of it where `count_include_pad` says so."""
    own = windows_of(call, x.shape[2:], None)
    low, high = own.low, own.end
    if call.flag("count_include_pad"):
        x = sn.pad(x, [(0, 0), (0, 0), *zip(own.low, own.high, strict=True)])
        low, high = (0,) * len(low), own.extra
    op = WindowSum(own.kernel, own.strides, low, high, own.dilations, "first")
    if not any((*low, *high)):
        return apply(op, x) / size_of(own.kernel)
    return apply(op, x) / apply(op, sn.ones((1, 1, *x.shape[2:]), x.dtype))


@operator("LpPool")
def lp_pool(call: Call, x: Any) -> Any:
    """(the sum of |x|**p over each window)**(1 / p)."""
    own, p = windows_of(call, x.shape[2:], None), float(call.attribute("p") or 2)
    op = WindowSum(own.kernel, own.strides, own.low, own.end, own.dilations, "first")
    return sn.pow(apply(op, sn.pow(sn.abs(x), p)), 1 / p)


@operator("GlobalAveragePool")
def global_average_pool(call: Call, x: Any) -> Any:
    """The mean over all spatial axes."""
    return sn.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(call: Call, x: Any) -> Any:
    """The greatest element over all spatial axes."""
    return sn.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(call: Call, x: Any) -> Any:
    """(the sum of |x|**p over all spatial axes)**(1 / p)."""
    p = float(call.attribute("p") or 2)
    axes = tuple(range(2, x.ndim))
    return sn.pow(sn.sum(sn.pow(sn.abs(x), p), axis=axes, keepdims=True), 1 / p)


@operator("MaxUnpool")
def max_unpool(call: Call, x: Any, places: Any, shape: Any = None) -> Any:
    """Zeros with x's elements at their places in the whole of the result."""
    rows = zip(x.shape[2:], call.ints("kernel_shape"), call.ints("strides") or (1,) * (x.ndim - 2),
               *_halves(call.ints("pads") or (0,) * 2 * (x.ndim - 2)), strict=True)  # fmt: skip
    own = (*x.shape[:2], *((n - 1) * s + k - a - b for n, k, s, a, b in rows))
    wanted = own if shape is None else tuple(call.sizes(shape, "the shape"))
    zeros = sn.zeros((size_of(own),), x.dtype)
    flat = sn.scatter(zeros, 0, sn.reshape(places, (-1,)), sn.reshape(x, (-1,)))
    y = sn.reshape(flat, own)
    pairs = [(0, b - a) for a, b in zip(own, wanted, strict=True)]
    return sn.pad(y, pairs) if any(pair != (0, 0) for pair in pairs) else y


def _halves(pads: Any) -> tuple[Any, Any]:
    return pads[: len(pads) // 2], pads[len(pads) // 2 :]


@operator("Col2Im")
def col2im(call: Call, x: Any, image: Any, block: Any) -> Any:
    """The sum of columns put back to the places in an image that they were taken from."""
    spatial, kernel = call.sizes(image, "the image's shape"), call.sizes(block, "the block's shape")
    count = len(spatial)
    own = windows_of(call, tuple(spatial), kernel)
    n, width = x.shape[0], size_of(kernel)
    channels = x.shape[1] // width
    steps = [
        (d + a + b - g * (k - 1) - 1) // s + 1
        for d, k, s, g, a, b in zip(
            spatial, kernel, own.strides, own.dilations, own.low, own.high, strict=True
        )
    ]
    eye = sn.reshape(sn.eye(width, dtype=x.dtype), (width, 1, *kernel))
    op = ConvolutionInput(
        own.strides, own.low, own.high, own.dilations, (1,), "first", tuple(spatial)
    )
    columns = sn.reshape(x, (n * channels, width, *steps))
    return sn.reshape(apply(op, columns, eye), (n, channels, *spatial)) if count else x
