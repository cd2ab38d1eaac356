"""Convolutions and transposed convolutions over one to three spatial axes, as PyTorch has them."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.types import TensorType, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_axes, as_floating, check_choice
from staticnet.ops.arguments import as_size
from staticnet.ops.base import apply, function, promoted
from staticnet.ops.movement import pad
from staticnet.ops.shape import expand_dims, reshape, squeeze
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionOp

Widths = tuple[tuple[int, ...], tuple[int, ...]]


@function
def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Value:  # fmt: skip
    """y[n, o] = bias[o] + the sum over c of weight[o, c] cross-correlated with x[n, c].

    input x: [n, c, l] or [c, l], weight: [o, c / groups, k], bias: [o] -> y: [n, o, t] or [o, t],
    t = (l + 2 * padding - dilation * (k - 1) - 1) // stride + 1

    stride, padding, dilation: an int, or a tuple of one int an axis. padding "valid" is 0; "same"
    is what makes t = l, with stride 1, the odd one after x. Output o is of the channels of its
    group: the first of `groups` parts of the outputs of the first part of the channels, ….

    Raises:
        ShapeError: if the operands do not fit, or the kernel is larger than x with its padding.
        ArgumentError: if an argument is out of range, or padding is "same" with a stride.
    """
    return _convolution(1, input, weight, bias, stride, padding, dilation, groups)


@function
def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Value:  # fmt: skip
    """`conv1d` over two axes.

    input x: [n, c, h, w] or [c, h, w], weight: [o, c / groups, kh, kw], bias: [o] -> y: [n, o, *t]
    """
    return _convolution(2, input, weight, bias, stride, padding, dilation, groups)


@function
def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Value:  # fmt: skip
    """`conv1d` over three axes.

    input x: [n, c, d, h, w] or [c, d, h, w], weight: [o, c / groups, kd, kh, kw], bias: [o]
    -> y: [n, o, *t]
    """
    return _convolution(3, input, weight, bias, stride, padding, dilation, groups)


@function
def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Value:  # fmt: skip
    """y = bias + the gradient by its input, where that gets x, of a `conv1d` by the same weight.

    input x: [n, c, l] or [c, l], weight: [c, o / groups, k], bias: [o] -> y: [n, o, t] or [o, t],
    t = (l - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1

    Several lengths t are convolved to one l: output_padding, less than the stride or the dilation,
    tells which.

    Raises:
        ShapeError: if the operands do not fit, or nothing is left of y.
        ArgumentError: if an argument is out of range.
    """
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@function
def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Value:  # fmt: skip
    """`conv_transpose1d` over two axes.

    input x: [n, c, h, w] or [c, h, w], weight: [c, o / groups, kh, kw], bias: [o] -> y: [n, o, *t]
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@function
def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Value:  # fmt: skip
    """`conv_transpose1d` over three axes.

    input x: [n, c, d, h, w] or [c, d, h, w], weight: [c, o / groups, kd, kh, kw], bias: [o]
    -> y: [n, o, *t]
    """
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def paddings(padding: Any, kernel: Any, strides: Any, dilations: Any) -> Widths:
    """The zeros before and after each axis that `padding` stands for.

    Raises:
        ArgumentError: if it is neither "same", "valid" nor ints, or "same" has a stride or a kernel
            of symbolic size.
    """
    if not isinstance(padding, str):
        widths = as_axes(padding, len(strides), "padding", 0)
        return widths, widths
    check_choice(padding, "padding", "same", "valid")
    if padding == "valid":
        return (0,) * len(strides), (0,) * len(strides)
    if any(stride != 1 for stride in strides):
        raise ArgumentError(
            f'padding "same" is for stride 1, not {tuple(strides)}; give the padding in ints'
        )
    if any(isinstance(k, Dim) for k in kernel):
        raise ArgumentError(
            f'padding "same" is for a kernel of fixed size, not {format_shape(kernel)}'
        )
    total = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    return tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)


def _convolution(
    axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Value:  # fmt: skip
    x, weight, is_single = _operands(f"conv{axes}d", axes, x, weight)
    strides = as_axes(stride, axes, "stride", 1)
    dilations = as_axes(dilation, axes, "dilation", 1)
    low, high = paddings(padding, weight.shape[2:], strides, dilations)
    op = Convolution(strides, low, high, dilations, (as_size(groups, "groups"),), "first")
    return _with_bias(_checked(op, x, weight), bias, is_single)


def _transposed(
    axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
    groups: Any, dilation: Any,
) -> Value:  # fmt: skip
    x, weight, is_single = _operands(f"conv_transpose{axes}d", axes, x, weight)
    strides = as_axes(stride, axes, "stride", 1)
    dilations = as_axes(dilation, axes, "dilation", 1)
    widths = as_axes(padding, axes, "padding", 0)
    more = as_axes(output_padding, axes, "output_padding", 0)
    if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)):
        raise ArgumentError(
            f"output_padding {more} must be less than the stride {strides} or the dilation "
            f"{dilations}"
        )
    spans = [
        _span(*sizes)
        for sizes in zip(
            x.shape[2:], weight.shape[2:], strides, dilations, widths, more, strict=True
        )
    ]
    low, high, spatial, rest = zip(*spans, strict=True)
    op = ConvolutionInput(
        strides, low, high, dilations, (as_size(groups, "groups"),), "first", spatial
    )
    y = _checked(op, x, weight)
    if any(rest):
        y = pad(y, [(0, 0), (0, 0), *((0, n) for n in rest)])
    return _with_bias(y, bias, is_single)


def _span(
    length: int | Dim, kernel: int | Dim, stride: int, dilation: int, padding: int, more: int
) -> tuple[int, int, int | Dim, int]:
    """Along an axis: the padding of the convolution that is transposed, y's size, zeros after it.

    No element of the kernel reaches what is added beyond the padding.
    """
    low, high, rest = padding, max(0, padding - more), max(0, more - padding)
    size = (length - 1) * stride + dilation * (kernel - 1) + 1 - low - high
    if isinstance(size, int) and size + rest < 1:
        raise ShapeError(f"padding {padding} leaves nothing of y, which has {size + rest} elements")
    if isinstance(size, int) and size < 0:  # nor any part of y
        low, size, rest = low + size, 0, rest + size
    return low, high, size, rest


def _operands(name: str, axes: int, x: Any, weight: Any) -> tuple[Value, Value, bool]:
    """x as a batch, the weight, and whether x is a single example."""
    x, weight = promoted(name, x, weight)
    x, weight = as_floating(x), as_floating(weight)
    if x.ndim not in (axes + 1, axes + 2) or weight.ndim != axes + 2:
        raise ShapeError(
            f"x {format_shape(x.shape)} must have {axes + 2} axes, or {axes + 1} for a single "
            f"example, and the weight {format_shape(weight.shape)} {axes + 2}"
        )
    is_single = x.ndim == axes + 1
    return expand_dims(x, 0) if is_single else x, weight, is_single


def _checked(op: ConvolutionOp, *operands: Value) -> Value:
    """The op on operands; where they do not fit, that is its caller's error."""
    op.infer(*(TensorType(x.dtype, x.shape) for x in operands))
    return apply(op, *operands)


def _with_bias(y: Value, bias: Any, is_single: bool) -> Value:
    if bias is not None:
        y, bias = promoted("bias", y, bias)
        if bias.shape != y.shape[1:2]:
            raise ShapeError(
                f"bias {format_shape(bias.shape)} must be {format_shape(y.shape[1:2])}"
            )
        y = y + reshape(bias, (*bias.shape, *(1,) * (y.ndim - 2)))
    return squeeze(y, 0) if is_single else y
