"""Pooling: the greatest element, the mean or the p-norm of each window.

Of n elements along an axis, with p of padding on both sides, there are floor((n + 2 p - reach) / s)
+ 1 windows, reach = dilation * (kernel - 1) + 1; with `ceil_mode` the quotient is rounded up, but
for a window that would begin behind the array and its padding before it. An array may lack its
first axis, that of examples.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import INT64
from staticnet.ir.types import Shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_axes, as_floating, as_number, with_examples
from staticnet.ops.arguments import as_bool, as_int
from staticnet.ops.arithmetic import maximum, minimum, pow
from staticnet.ops.base import apply, function, items
from staticnet.ops.creation import iota
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import reshape, squeeze
from staticnet.ops.widening import rounded_once
from staticnet.spatial.pooling import MaxPool, WindowSum

INF = float("inf")


@dataclass(frozen=True)
class Windows:
    """Where windows stand: PyTorch's arguments with an entry an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool

    @staticmethod
    def of(
        axes: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
    ) -> Windows:
        """The arguments in their normal form; a stride that is None is the kernel's size.

        Raises:
            ArgumentError: if one is no int in its range, nor such an int for each axis.
        """
        kernel = as_axes(kernel_size, axes, "kernel_size", 1)
        none = stride is None or (isinstance(stride, list | tuple) and not stride)
        made = Windows(
            kernel,
            kernel if none else as_axes(stride, axes, "stride", 1),
            as_axes(padding, axes, "padding", 0),
            as_axes(dilation, axes, "dilation", 1),
            as_bool(ceil_mode, "ceil_mode"),
        )
        for pad, reach in zip(made.padding, made.reach, strict=True):
            if 2 * pad > reach + 1:
                raise ArgumentError(
                    f"padding {pad} must be at most half of what a window reaches over, {reach + 1}"
                )
        return made

    @property
    def reach(self) -> tuple[int, ...]:
        """The distance from a window's first element to its last."""
        return tuple((k - 1) * d for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def after(self) -> tuple[int, ...]:
        """The places behind an axis that make room for the last window."""
        if not self.ceil_mode:
            return self.padding
        rows = zip(self.padding, self.strides, self.reach, strict=True)
        return tuple(min(p + s - 1, reach) for p, s, reach in rows)

    def attributes(self) -> dict[str, Any]:
        """Those of an op, of arrays with channels first."""
        return {
            "kernel": self.kernel, "strides": self.strides, "low": self.padding,
            "high": self.after, "dilations": self.dilations, "layout": "first",
        }  # fmt: skip


def _max_pool(axes: int, x: Any, windows: Windows, return_indices: Any) -> Any:
    x, single = with_examples(x, axes)
    y, places = items(apply(MaxPool(**windows.attributes()), x))
    y = squeeze(y, 0) if single else y
    if not as_bool(return_indices, "return_indices"):
        return y
    return y, astype(squeeze(places, 0) if single else places, INT64)


def _avg_pool(
    axes: int, x: Any, windows: Windows, count_include_pad: Any, divisor: Any = None
) -> Value:
    x, single = with_examples(as_floating(x), axes)
    total: Value = apply(WindowSum(**windows.attributes()), x)
    if divisor is not None:
        divisor = as_int(divisor, "divisor_override")
        if divisor == 0:
            raise ArgumentError("divisor_override must not be 0")
        y = total / divisor
    else:
        padded = as_bool(count_include_pad, "count_include_pad")
        y = total / _counts(x.shape[2:], total, windows, padded)
    return squeeze(y, 0) if single else y


def _counts(spatial: Shape, y: Value, windows: Windows, padded: bool) -> Any:
    """How many elements each window has, in the padding too if `padded`.

    They are one number, or an array that broadcasts to y: [n, c, *t].
    """
    if not any(windows.padding) and not windows.ceil_mode:
        return functools.reduce(lambda a, b: a * b, windows.kernel)
    total: Any = 1
    for axis, n in enumerate(spatial):
        count = _along(n, y.shape[2 + axis], axis, windows, padded)
        total = total * reshape(count, (-1, *(1,) * (len(spatial) - 1 - axis)))
    return astype(total, y.dtype)


def _along(n: int | Dim, count: int | Dim, axis: int, windows: Windows, padded: bool) -> Value:
    """The elements of each of `count` windows along an axis of n."""
    pad = windows.padding[axis]
    first = iota((count,)) * windows.strides[axis] - pad
    last = minimum(first + windows.kernel[axis], n + pad)
    return last - first if padded else minimum(last, n) - maximum(first, 0)


def _lp_pool(axes: int, x: Any, norm_type: Any, windows: Windows) -> Value:
    power = as_number(norm_type, "norm_type", -INF, INF)
    x = as_floating(x)
    mean = _avg_pool(axes, pow(x, power), windows, count_include_pad=True)
    total = mean * functools.reduce(lambda a, b: a * b, windows.kernel)
    root = pow(where(total == 0, 1, total), 1 / power)
    return where(total == 0, 0, root)  # whose slope is infinite at 0


@function
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y = the greatest element of each window, NaN being greater than all.

    input x: [n, c, w] -> y: [n, c, w'], and with `return_indices` int64 places in the plane.
    The derivative goes to the first of equal elements.

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    windows = Windows.of(1, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(1, input, windows, return_indices)


@function
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y = the greatest element of each window, NaN being greater than all.

    input x: [n, c, h, w] -> y: [n, c, h', w'], and with `return_indices` int64 places in the plane.
    The derivative goes to the first of equal elements.

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    windows = Windows.of(2, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(2, input, windows, return_indices)


@function
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y = the greatest element of each window, NaN being greater than all.

    input x: [n, c, d, h, w] -> y: [n, c, d', h', w'], and with `return_indices` int64 places in the
    plane.
    The derivative goes to the first of equal elements.

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    windows = Windows.of(3, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(3, input, windows, return_indices)


@function
@rounded_once()
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    """y = the sum of each window over how many elements it has.

    input x: [n, c, w] -> y: [n, c, w']. Padding counts as zeros, or not at all.

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    windows = Windows.of(1, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool(1, input, windows, count_include_pad)


@function
@rounded_once()
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """y = the sum of each window over how many elements it has, or `divisor_override`.

    input x: [n, c, h, w] -> y: [n, c, h', w']. Padding counts as zeros, or not at all.

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    windows = Windows.of(2, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool(2, input, windows, count_include_pad, divisor_override)


@function
@rounded_once()
def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """y = the sum of each window over how many elements it has, or `divisor_override`.

    input x: [n, c, d, h, w] -> y: [n, c, d', h', w']. Padding counts as zeros, or not at all.

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    windows = Windows.of(3, kernel_size, stride, padding, 1, ceil_mode)
    return _avg_pool(3, input, windows, count_include_pad, divisor_override)


@function
@rounded_once()
def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Value:
    """y = (sum of x**p over each window)**(1 / p), p = norm_type; the derivative of 0 is 0.

    input x: [n, c, w] -> y: [n, c, w'].

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    return _lp_pool(1, input, norm_type, Windows.of(1, kernel_size, stride, 0, 1, ceil_mode))


@function
@rounded_once()
def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Value:
    """y = (sum of x**p over each window)**(1 / p), p = norm_type; the derivative of 0 is 0.

    input x: [n, c, h, w] -> y: [n, c, h', w'].

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    return _lp_pool(2, input, norm_type, Windows.of(2, kernel_size, stride, 0, 1, ceil_mode))


@function
@rounded_once()
def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Value:
    """y = (sum of x**p over each window)**(1 / p), p = norm_type; the derivative of 0 is 0.

    input x: [n, c, d, h, w] -> y: [n, c, d', h', w'].

    Raises:
        ArgumentError: if an argument is not in its range.
        ShapeError: if x has other axes, or is too small for a window.
    """
    return _lp_pool(3, input, norm_type, Windows.of(3, kernel_size, stride, 0, 1, ceil_mode))
