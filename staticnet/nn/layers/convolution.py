"""Convolutions with weights of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn import init
from staticnet.nn.arguments import as_axes, check_choice
from staticnet.nn.functional.convolution import paddings
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seeds
from staticnet.ops.arguments import as_sequence, as_size
from staticnet.ops.base import as_value
from staticnet.ops.state import Variable, variable

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What convolutions and transposed ones over `axes` spatial axes share."""

    axes: ClassVar[int]
    function: ClassVar[Callable[..., Value]]
    padding: Any

    def _set_sizes(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, dilation: Any,
        groups: int, padding_mode: str,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        self.in_channels = as_size(in_channels, f"{name}: in_channels")
        self.out_channels = as_size(out_channels, f"{name}: out_channels")
        self.groups = as_size(groups, f"{name}: groups")
        for what in ("in_channels", "out_channels"):
            channels = getattr(self, what)
            if channels % self.groups:
                raise ArgumentError(
                    f"{name}: groups = {self.groups} must divide {what} = {channels}"
                )
        self.kernel_size = as_axes(kernel_size, self.axes, f"{name}: kernel_size", 1)
        self.stride = as_axes(stride, self.axes, f"{name}: stride", 1)
        self.dilation = as_axes(dilation, self.axes, f"{name}: dilation", 1)
        check_choice(padding_mode, f"{name}: padding_mode", *PADDING_MODES)
        self.padding_mode = padding_mode

    def _set_weights(
        self, first: int, second: int, bias: bool, dtype: Any, seed: int | None
    ) -> None:
        """weight [first, second, *kernel_size] and bias, from U(-b, b), b = 1 / sqrt(fan_in)."""
        bound = 1 / math.sqrt(second * math.prod(self.kernel_size))
        for_weight, for_bias = next_seeds(seed, 2)
        shape = (first, second, *self.kernel_size)
        self.weight = variable(init.uniform(shape, -bound, bound, dtype, seed=for_weight))
        self.bias: Variable | None = None
        if bias:
            shape = (self.out_channels,)
            self.bias = variable(init.uniform(shape, -bound, bound, dtype, seed=for_bias))

    def extra_repr(self) -> str:
        """The sizes, and the arguments that are not the defaults."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        zeros, ones = (0,) * self.axes, (1,) * self.axes
        defaults = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                parts.append(f"{name}={value}")
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


class _Forward(_Convolution):
    """y = a convolution of x."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        self._set_sizes(
            in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode
        )
        widths = paddings(padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else widths[0]
        self._widths = widths
        self._set_weights(out_channels, in_channels // groups, bias, dtype, seed)

    def forward(self, input: Any) -> Value:
        """The convolution of the input."""
        padding = self.padding
        if self.padding_mode != "zeros":
            pairs = zip(*self._widths, strict=True)
            input = F.pad(
                input, [n for pair in reversed(list(pairs)) for n in pair], self.padding_mode
            )
            padding = 0
        return type(self).function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_Forward):
    """y = conv1d(x, weight, bias, …).  x: [n, in_channels, l] -> y: [n, out_channels, t]

    weight [out_channels, in_channels / groups, *kernel_size] and bias [out_channels] start from
    U(-b, b), b = 1 / sqrt(in_channels / groups * elements of the kernel). padding: ints, "same" or
    "valid"; of zeros or, by padding_mode, of x's own elements.

    Raises:
        ArgumentError: if an argument is out of range, or groups do not divide the channels.
    """

    axes = 1
    function = staticmethod(F.conv1d)


class Conv2d(_Forward):
    """`Conv1d` over two axes.  x: [n, in_channels, h, w] -> y: [n, out_channels, *t]"""

    axes = 2
    function = staticmethod(F.conv2d)


class Conv3d(_Forward):
    """`Conv1d` over three axes.  x: [n, in_channels, d, h, w] -> y: [n, out_channels, *t]"""

    axes = 3
    function = staticmethod(F.conv3d)


class _Transposed(_Convolution):
    """y = a transposed convolution of x."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = "float32",
        *,
        seed: int | None = None,
    ) -> None:
        name = type(self).__name__
        self._set_sizes(
            in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode
        )
        if padding_mode != "zeros":
            raise ArgumentError(f'{name}: padding_mode must be "zeros", not {padding_mode!r}')
        self.padding = as_axes(padding, self.axes, f"{name}: padding", 0)
        self.output_padding = as_axes(output_padding, self.axes, f"{name}: output_padding", 0)
        self._set_weights(in_channels, out_channels // groups, bias, dtype, seed)

    def forward(self, input: Any, output_size: Any = None) -> Value:
        """The transposed convolution of the input; output_size replaces output_padding.

        Raises:
            ShapeError: if no convolution takes an array of that size to the input's.
        """
        input = as_value(input)
        more = self.output_padding if output_size is None else self._missing(input, output_size)
        return type(self).function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            more,
            self.groups,
            self.dilation,
        )

    def _missing(self, x: Value, output_size: Any) -> tuple[int, ...]:
        """What an output of a size has more than the smallest one."""
        wanted = list(as_sequence(output_size))[-self.axes :]
        given = x.shape[-self.axes :]
        if len(wanted) != self.axes or len(output_size) not in (self.axes, x.ndim):
            raise ShapeError(
                f"{type(self).__name__}: output_size must have {self.axes} or {x.ndim} entries, "
                f"not {output_size!r:.60}"
            )
        more = []
        for axis, (size, n) in enumerate(zip(wanted, given, strict=True)):
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            least = (n - 1) * self.stride[axis] - 2 * self.padding[axis] + reach
            rest = size - least
            if not isinstance(rest, int) or not 0 <= rest < self.stride[axis]:
                raise ShapeError(
                    f"{type(self).__name__}: output_size {output_size!r:.60} must be from {least} "
                    f"to {least + self.stride[axis] - 1} along axis {axis - self.axes}"
                )
            more.append(rest)
        return tuple(more)


class ConvTranspose1d(_Transposed):
    """y = conv_transpose1d(x, weight, bias, …).  x: [n, in_channels, l] -> y: [n, out_channels, t]

    weight [in_channels, out_channels / groups, *kernel_size] and bias [out_channels] start from
    U(-b, b), b = 1 / sqrt(out_channels / groups * elements of the kernel).

    Raises:
        ArgumentError: if an argument is out of range, groups do not divide the channels, or
            padding_mode is not "zeros".
    """

    axes = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """`ConvTranspose1d` over two axes.  x: [n, in_channels, h, w] -> y: [n, out_channels, *t]"""

    axes = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_Transposed):
    """`ConvTranspose1d` over three axes.

    x: [n, in_channels, d, h, w] -> y: [n, out_channels, *t]
    """

    axes = 3
    function = staticmethod(F.conv_transpose3d)
