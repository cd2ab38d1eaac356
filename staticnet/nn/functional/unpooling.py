"""What undoes max pooling: each element back at its place, zeros elsewhere."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.types import as_shape, format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_axes, with_examples
from staticnet.ops.base import function
from staticnet.ops.creation import full
from staticnet.ops.placing import scatter
from staticnet.ops.shape import reshape, squeeze


def _unpool(
    axes: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Value:
    x, single = with_examples(x, axes)
    indices, _ = with_examples(indices, axes)
    if indices.shape != x.shape:
        raise ShapeError(
            f"indices {format_shape(indices.shape)} must have x's shape {format_shape(x.shape)}"
        )
    kernel = as_axes(kernel_size, axes, "kernel_size", 1)
    strides = kernel if stride is None else as_axes(stride, axes, "stride", 1)
    pads = as_axes(padding, axes, "padding", 0)
    usual = tuple(
        (n - 1) * s - 2 * p + k
        for n, s, p, k in zip(x.shape[2:], strides, pads, kernel, strict=True)
    )
    spatial = usual if output_size is None else _checked(output_size, usual, strides)
    n, c = x.shape[:2]
    planes = full((n, c, size_of(spatial)), 0, x.dtype)
    count = size_of(x.shape[2:])
    flat = scatter(planes, 2, reshape(indices, (n, c, count)), reshape(x, (n, c, count)))
    y = reshape(flat, (n, c, *spatial))
    return squeeze(y, 0) if single else y


def _checked(
    output_size: Any, usual: tuple[int | Dim, ...], strides: tuple[int, ...]
) -> tuple[int | Dim, ...]:
    """The last dims of output_size, if windows may have come from there."""
    if not isinstance(output_size, tuple | list) or len(output_size) < len(usual):
        raise ArgumentError(f"output_size must have {len(usual)} dims, not {output_size!r:.60}")
    wanted = as_shape(output_size[len(output_size) - len(usual) :], "output_size")
    for n, size, step in zip(wanted, usual, strides, strict=True):
        gap = n - size
        if isinstance(gap, int) and not -step < gap < step:
            raise ArgumentError(
                f"output_size {format_shape(wanted)} is a stride or more from {format_shape(usual)}"
            )
    return wanted


@function
def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Value:
    """y = x at the places `indices` that max_pool1d returns, zeros elsewhere.

    input x: [n, c, w], indices: int of that shape -> y: [n, c, w']. n may be
    missing. The size is that of the least array with such windows, unless `output_size` is given.

    Raises:
        ArgumentError: if an argument is not in its range, or there cannot be such an output_size.
        ShapeError: if x has other axes than indices, or than 1 spatial ones.
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@function
def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Value:
    """y = x at the places `indices` that max_pool2d returns, zeros elsewhere.

    input x: [n, c, h, w], indices: int of that shape -> y: [n, c, h', w']. n may be
    missing. The size is that of the least array with such windows, unless `output_size` is given.

    Raises:
        ArgumentError: if an argument is not in its range, or there cannot be such an output_size.
        ShapeError: if x has other axes than indices, or than 2 spatial ones.
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@function
def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Value:
    """y = x at the places `indices` that max_pool3d returns, zeros elsewhere.

    input x: [n, c, d, h, w], indices: int of that shape -> y: [n, c, d', h', w']. n may be
    missing. The size is that of the least array with such windows, unless `output_size` is given.

    Raises:
        ArgumentError: if an argument is not in its range, or there cannot be such an output_size.
        ShapeError: if x has other axes than indices, or than 3 spatial ones.
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
