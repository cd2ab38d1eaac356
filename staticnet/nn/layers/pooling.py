"""Pooling layers, each by its function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.layers.functional import FunctionLayer, layer
from staticnet.nn.module import Module


@layer
class _Windows(FunctionLayer):
    """Windows side by side, unless `stride` says otherwise."""

    kernel_size: Any
    stride: Any = None

    def __post_init__(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size


@layer
class MaxPool1d(_Windows):
    """y = the greatest element of each window, and with `return_indices` its place.

    x: [n, c, w] -> y: [n, c, w']
    """

    function = staticmethod(F.max_pool1d)
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


@layer
class MaxPool2d(_Windows):
    """y = the greatest element of each window, and with `return_indices` its place.

    x: [n, c, h, w] -> y: [n, c, h', w']
    """

    function = staticmethod(F.max_pool2d)
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


@layer
class MaxPool3d(_Windows):
    """y = the greatest element of each window, and with `return_indices` its place.

    x: [n, c, d, h, w] -> y: [n, c, d', h', w']
    """

    function = staticmethod(F.max_pool3d)
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


@layer
class AvgPool1d(_Windows):
    """y = the mean of each window.  x: [n, c, w] -> y: [n, c, w']"""

    function = staticmethod(F.avg_pool1d)
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


@layer
class AvgPool2d(_Windows):
    """y = the mean of each window.  x: [n, c, h, w] -> y: [n, c, h', w']"""

    function = staticmethod(F.avg_pool2d)
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None


@layer
class AvgPool3d(_Windows):
    """y = the mean of each window.  x: [n, c, d, h, w] -> y: [n, c, d', h', w']"""

    function = staticmethod(F.avg_pool3d)
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None


@layer
class LPPool1d(FunctionLayer):
    """y = (sum of x**p over each window)**(1 / p).  x: [n, c, w] -> y: [n, c, w']"""

    function = staticmethod(F.lp_pool1d)
    norm_type: float
    kernel_size: Any
    stride: Any = None
    ceil_mode: bool = False


@layer
class LPPool2d(FunctionLayer):
    """y = (sum of x**p over each window)**(1 / p).  x: [n, c, h, w] -> y: [n, c, h', w']"""

    function = staticmethod(F.lp_pool2d)
    norm_type: float
    kernel_size: Any
    stride: Any = None
    ceil_mode: bool = False


@layer
class LPPool3d(FunctionLayer):
    """y = (sum of x**p over each window)**(1 / p).  x: [n, c, d, h, w] -> y: [n, c, d', h', w']"""

    function = staticmethod(F.lp_pool3d)
    norm_type: float
    kernel_size: Any
    stride: Any = None
    ceil_mode: bool = False


@layer
class AdaptiveAvgPool1d(FunctionLayer):
    """y = the means of `output_size` windows an axis.  x: [n, c, w] -> y: [n, c, w']"""

    function = staticmethod(F.adaptive_avg_pool1d)
    output_size: Any


@layer
class AdaptiveAvgPool2d(FunctionLayer):
    """y = the means of `output_size` windows an axis.  x: [n, c, h, w] -> y: [n, c, h', w']"""

    function = staticmethod(F.adaptive_avg_pool2d)
    output_size: Any


@layer
class AdaptiveAvgPool3d(FunctionLayer):
    """y = the means of `output_size` windows an axis.

    x: [n, c, d, h, w] -> y: [n, c, d', h', w']
    """

    function = staticmethod(F.adaptive_avg_pool3d)
    output_size: Any


@layer
class AdaptiveMaxPool1d(FunctionLayer):
    """y = the greatest elements of `output_size` windows an axis, and with `return_indices` places.

    x: [n, c, w] -> y: [n, c, w']
    """

    function = staticmethod(F.adaptive_max_pool1d)
    output_size: Any
    return_indices: bool = False


@layer
class AdaptiveMaxPool2d(FunctionLayer):
    """y = the greatest elements of `output_size` windows an axis, and with `return_indices` places.

    x: [n, c, h, w] -> y: [n, c, h', w']
    """

    function = staticmethod(F.adaptive_max_pool2d)
    output_size: Any
    return_indices: bool = False


@layer
class AdaptiveMaxPool3d(FunctionLayer):
    """y = the greatest elements of `output_size` windows an axis, and with `return_indices` places.

    x: [n, c, d, h, w] -> y: [n, c, d', h', w']
    """

    function = staticmethod(F.adaptive_max_pool3d)
    output_size: Any
    return_indices: bool = False


class _MaxUnpool(Module):
    """Elements at their places; `output_size` comes with the call."""

    function: ClassVar[Callable[..., Value]]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Value:
        """The function of the input and the indices."""
        own = (self.kernel_size, self.stride, self.padding)
        return type(self).function(input, indices, *own, output_size)

    def extra_repr(self) -> str:
        """The windows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """y = x at the places that MaxPool1d returns, zeros elsewhere.

    x: [n, c, w], indices: int of that shape -> y: [n, c, w']
    """

    function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """y = x at the places that MaxPool2d returns, zeros elsewhere.

    x: [n, c, h, w], indices: int of that shape -> y: [n, c, h', w']
    """

    function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """y = x at the places that MaxPool3d returns, zeros elsewhere.

    x: [n, c, d, h, w], indices: int of that shape -> y: [n, c, d', h', w']
    """

    function = staticmethod(F.max_unpool3d)
