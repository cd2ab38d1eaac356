"""Padding layers: one to three axes after [n, c]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from staticnet.errors import ArgumentError
from staticnet.ir.value import Value
from staticnet.nn.arguments import check_ndim
from staticnet.nn.functional.padding import pad
from staticnet.nn.module import Module
from staticnet.ops.arguments import as_int, as_tuple


class _Padding(Module):
    """Elements around the last `axes` axes; `padding` is one width, or a pair for each axis.

    The pairs are (before, after), the last axis first; a negative width takes elements away.
    """

    axes: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | Sequence[int]) -> None:
        kind = type(self).__name__
        widths = [as_int(w, f"{kind}: a width of padding") for w in as_tuple(padding)]
        if not isinstance(padding, tuple | list):
            widths *= 2 * self.axes
        if len(widths) != 2 * self.axes:
            raise ArgumentError(
                f"{kind}: padding must be an int or {2 * self.axes} of them, not {padding!r:.60}"
            )
        self.padding = tuple(widths)

    def forward(self, input: Any) -> Value:
        """pad(input, padding, mode).  input: [n, c, *s] or [c, *s]"""
        return pad(check_ndim(input, self.axes), self.padding, self.mode)

    def extra_repr(self) -> str:
        """The widths."""
        return str(self.padding)


class _Constant(_Padding):
    """Padding with `value`, of arrays with any axes before."""

    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Value:
        """pad(input, padding, value=value)"""
        return pad(input, self.padding, value=self.value)

    def extra_repr(self) -> str:
        """The widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class _Zero(_Constant):
    """Padding with 0."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """The widths."""
        return str(self.padding)


class ConstantPad1d(_Constant):
    """y = x with `value` around its last axis.  x: [*b, w] -> y: [*b, w + widths]"""

    axes = 1


class ConstantPad2d(_Constant):
    """y = x with `value` around its last two axes.

    x: [*b, h, w] -> y: [*b, h + widths, w + widths]
    """

    axes = 2


class ConstantPad3d(_Constant):
    """y = x with `value` around its last three axes.

    x: [*b, d, h, w] -> y: [*b, d + widths, h + widths, w + widths]
    """

    axes = 3


class ZeroPad1d(_Zero):
    """y = x with zeros around its last axis.  x: [*b, w] -> y: [*b, w + widths]"""

    axes = 1


class ZeroPad2d(_Zero):
    """y = x with zeros around its last two axes.

    x: [*b, h, w] -> y: [*b, h + widths, w + widths]
    """

    axes = 2


class ZeroPad3d(_Zero):
    """y = x with zeros around its last three axes.

    x: [*b, d, h, w] -> y: [*b, d + widths, h + widths, w + widths]
    """

    axes = 3


class ReflectionPad1d(_Padding):
    """y = x mirrored about the outermost elements of its last axis.

    x: [n, c, w] -> y: [n, c, w + widths]
    """

    axes = 1
    mode = "reflect"


class ReflectionPad2d(_Padding):
    """y = x mirrored about the outermost elements of its last two axes.

    x: [n, c, h, w] -> y: [n, c, h + widths, w + widths]
    """

    axes = 2
    mode = "reflect"


class ReflectionPad3d(_Padding):
    """y = x mirrored about the outermost elements of its last three axes.

    x: [n, c, d, h, w] -> y: [n, c, d + widths, h + widths, w + widths]
    """

    axes = 3
    mode = "reflect"


class ReplicationPad1d(_Padding):
    """y = x continued by the outermost elements of its last axis.

    x: [n, c, w] -> y: [n, c, w + widths]
    """

    axes = 1
    mode = "replicate"


class ReplicationPad2d(_Padding):
    """y = x continued by the outermost elements of its last two axes.

    x: [n, c, h, w] -> y: [n, c, h + widths, w + widths]
    """

    axes = 2
    mode = "replicate"


class ReplicationPad3d(_Padding):
    """y = x continued by the outermost elements of its last three axes.

    x: [n, c, d, h, w] -> y: [n, c, d + widths, h + widths, w + widths]
    """

    axes = 3
    mode = "replicate"


class CircularPad1d(_Padding):
    """y = x continued by the other ends of its last axis.  x: [n, c, w] -> y: [n, c, w + widths]"""

    axes = 1
    mode = "circular"


class CircularPad2d(_Padding):
    """y = x continued by the other ends of its last two axes.

    x: [n, c, h, w] -> y: [n, c, h + widths, w + widths]
    """

    axes = 2
    mode = "circular"


class CircularPad3d(_Padding):
    """y = x continued by the other ends of its last three axes.

    x: [n, c, d, h, w] -> y: [n, c, d + widths, h + widths, w + widths]
    """

    axes = 3
    mode = "circular"
