"""Layers that change the sizes of spatial axes, or move elements between them and channels."""

from __future__ import annotations

from typing import Any

from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.layers.functional import FunctionLayer, layer
from staticnet.nn.module import Module


@layer
class Upsample(FunctionLayer):
    """y = x with other spatial sizes, `size` or floor(n * scale_factor).

    x: [n, c, *s] -> y: [n, c, *size]
    """

    function = staticmethod(F.interpolate)
    size: Any = None
    scale_factor: Any = None
    mode: str = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None


class UpsamplingNearest2d(Module):
    """y = the nearest element of x.  x: [n, c, h, w] -> y: [n, c, h', w']"""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        self.size, self.scale_factor = size, scale_factor

    def forward(self, input: Any) -> Value:
        """interpolate(input, size, scale_factor, "nearest")"""
        return F.interpolate(input, self.size, self.scale_factor)


class UpsamplingBilinear2d(Module):
    """y = x between its elements, the outermost centres in place.

    x: [n, c, h, w] -> y: [n, c, h', w']
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        self.size, self.scale_factor = size, scale_factor

    def forward(self, input: Any) -> Value:
        """interpolate(input, size, scale_factor, "bilinear", align_corners=True)"""
        return F.interpolate(input, self.size, self.scale_factor, "bilinear", align_corners=True)


@layer
class PixelShuffle(FunctionLayer):
    """y = x with channels laid out as r x r pixels.

    x: [*b, c r r, h, w] -> y: [*b, c, h r, w r]
    """

    function = staticmethod(F.pixel_shuffle)
    upscale_factor: int


@layer
class PixelUnshuffle(FunctionLayer):
    """y = x with r x r pixels laid into channels.  x: [*b, c, h r, w r] -> y: [*b, c r r, h, w]"""

    function = staticmethod(F.pixel_unshuffle)
    downscale_factor: int


@layer
class ChannelShuffle(FunctionLayer):
    """y = x with the channels of `groups` groups taken in turn.  x: [n, c, *s] -> y: [n, c, *s]"""

    function = staticmethod(F.channel_shuffle)
    groups: int


@layer
class Unfold(FunctionLayer):
    """y[:, :, l] = the elements of patch l.  x: [n, c, h, w] -> y: [n, c * kernel, patches]"""

    function = staticmethod(F.unfold)
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1


@layer
class Fold(FunctionLayer):
    """y = the sum of patches.  x: [n, c * kernel, patches] -> y: [n, c, *output_size]"""

    function = staticmethod(F.fold)
    output_size: Any
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1
