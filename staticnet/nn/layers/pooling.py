"""Pooling layers, each by its function."""

from __future__ import annotations

from typing import Any

from staticnet.nn import functional as F
from staticnet.nn.layers.functional import FunctionLayer, layer


@layer
class MaxPool1d(FunctionLayer):
    """y = the greatest element of each window, and with `return_indices` its place.

    x: [n, c, w] -> y: [n, c, w']
    """

    function = staticmethod(F.max_pool1d)
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


@layer
class MaxPool2d(FunctionLayer):
    """y = the greatest element of each window, and with `return_indices` its place.

    x: [n, c, h, w] -> y: [n, c, h', w']
    """

    function = staticmethod(F.max_pool2d)
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


@layer
class MaxPool3d(FunctionLayer):
    """y = the greatest element of each window, and with `return_indices` its place.

    x: [n, c, d, h, w] -> y: [n, c, d', h', w']
    """

    function = staticmethod(F.max_pool3d)
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False


@layer
class AvgPool1d(FunctionLayer):
    """y = the mean of each window.  x: [n, c, w] -> y: [n, c, w']"""

    function = staticmethod(F.avg_pool1d)
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


@layer
class AvgPool2d(FunctionLayer):
    """y = the mean of each window.  x: [n, c, h, w] -> y: [n, c, h', w']"""

    function = staticmethod(F.avg_pool2d)
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None


@layer
class AvgPool3d(FunctionLayer):
    """y = the mean of each window.  x: [n, c, d, h, w] -> y: [n, c, d', h', w']"""

    function = staticmethod(F.avg_pool3d)
    kernel_size: Any
    stride: Any = None
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
