"""Quantised operators: integer arithmetic that is exact, rounded half to even and saturated."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.operators.arithmetic import target
from staticnet.io.onnx.operators.windows import convolved
from staticnet.io.onnx.registry import operator
from staticnet.ir.dtype import is_floating


def along(call: Call, value: Any, x: Any) -> Any:
    """A scale or zero point beside x: of all of it, of each element along an axis, or of blocks."""
    if value.ndim == 0 or (value.ndim == 1 and value.shape[0] == 1):
        return sn.reshape(value, ())
    axis = call.place(call.attribute("axis"), x.ndim)
    if value.ndim == 1:
        return sn.reshape(value, [-1 if i == axis else 1 for i in range(x.ndim)])
    block = call.attribute("block_size")
    if not block:
        call.fail(f"a scale of {value.ndim} axes needs a block_size")
    y = sn.repeat(value, block, axis=axis)
    return y[tuple(slice(0, d) if i == axis else slice(None) for i, d in enumerate(x.shape))]


@operator("QuantizeLinear")
def quantize_linear(call: Call, x: Any, scale: Any, zero: Any = None) -> Any:
    """round(x / scale) + zero, saturated."""
    dtype: Any = np.dtype("uint8") if zero is None else zero.dtype
    if zero is None and call.attribute("output_dtype"):
        dtype = target(call, "output_dtype")
    if is_floating(dtype):
        call.fail(f"there is no quantised type {dtype} here")
    wide = sn.astype(x, sn.float32) if x.dtype != sn.float64 else x
    unit = wide / sn.astype(along(call, scale, x), wide.dtype)
    return saturated(unit, None if zero is None else along(call, zero, x), dtype)


def saturated(x: Any, zero: Any, dtype: Any) -> Any:
    """x rounded half to even, moved by the zero point, between the ends of an integer dtype."""
    x = sn.round(x)
    if zero is not None:
        x = x + sn.astype(zero, x.dtype)
    info = sn.iinfo(dtype)
    if info.bits > 16:  # whose greatest number no float32 is
        x = sn.astype(x, sn.float64)
    return sn.astype(sn.clip(x, info.min, info.max), dtype)


@operator("DequantizeLinear")
def dequantize_linear(call: Call, x: Any, scale: Any, zero: Any = None) -> Any:
    """(x - zero) * scale."""
    whole = sn.astype(x, sn.int32)
    if zero is not None:
        whole = whole - sn.astype(along(call, zero, x), sn.int32)
    dtype = target(call, "output_dtype") if call.attribute("output_dtype") else scale.dtype
    y = sn.astype(whole, sn.float32) * sn.astype(along(call, scale, x), sn.float32)
    return sn.astype(y, dtype)


def _centred(x: Any, zero: Any, is_left: bool) -> Any:
    """x less its zero point, in int32: one of all, or of each row of a left operand."""
    x = sn.astype(x, sn.int32)
    if zero is None:
        return x
    zero = sn.astype(zero, sn.int32)
    if zero.ndim == 1 and zero.shape[0] == 1:
        zero = sn.reshape(zero, ())
    return x - (sn.expand_dims(zero, -1) if is_left and zero.ndim == 1 else zero)


@operator("MatMulInteger")
def matmul_integer(call: Call, a: Any, b: Any, za: Any = None, zb: Any = None) -> Any:
    """(a - za) @ (b - zb), in int32."""
    return sn.matmul(_centred(a, za, True), _centred(b, zb, False))


@operator("QLinearMatMul")
def qlinear_matmul(
    call: Call, a: Any, sa: Any, za: Any, b: Any, sb: Any, zb: Any, sy: Any, zy: Any
) -> Any:
    """The product of quantised matrices, quantised."""
    product = sn.matmul(_centred(a, za, True), _centred(b, zb, False))
    left = sn.expand_dims(sa, -1) if sa.ndim == 1 and sa.shape[0] != 1 else sa
    return _requantized(product, left, sb, sy, zy)


def _requantized(whole: Any, sa: Any, sb: Any, sy: Any, zy: Any) -> Any:
    """An exact sum of products in the result's scale."""
    one, two, three = (sn.astype(s, sn.float32) for s in (sa, sb, sy))
    return saturated(sn.astype(whole, sn.float32) * (one * two / three), zy, zy.dtype)


def _whole_convolution(call: Call, x: Any, w: Any, zx: Any, zw: Any) -> Any:
    """The convolution of integers: float64 holds their products and sums exactly."""
    x = sn.astype(x, sn.int32)
    if zx is not None:
        x = x - sn.reshape(sn.astype(zx, sn.int32), ())
    w = sn.astype(w, sn.int32)
    if zw is not None:
        zero = sn.astype(zw, sn.int32)
        count = zero.shape[0] if zero.ndim else 1
        w = w - (sn.reshape(zero, (count, *(1,) * (w.ndim - 1))) if count != 1 else
                 sn.reshape(zero, ()))  # fmt: skip
    y = convolved(call, sn.astype(x, sn.float64), sn.astype(w, sn.float64))
    return sn.astype(y, sn.int32)


@operator("ConvInteger")
def conv_integer(call: Call, x: Any, w: Any, zx: Any = None, zw: Any = None) -> Any:
    """The convolution of x - zx by w - zw, in int32."""
    return _whole_convolution(call, x, w, zx, zw)


@operator("QLinearConv")
def qlinear_conv(
    call: Call, x: Any, sx: Any, zx: Any, w: Any, sw: Any, zw: Any, sy: Any, zy: Any, b: Any = None
) -> Any:
    """The convolution of quantised arrays, quantised; the bias has the scale sx * sw."""
    y = _whole_convolution(call, x, w, zx, zw)
    column = (-1, *(1,) * (x.ndim - 2))
    if b is not None:
        y = y + sn.reshape(b, column)
    scale = sn.reshape(sw, column) if sw.ndim == 1 and sw.shape[0] != 1 else sn.reshape(sw, ())
    return _requantized(y, sx, scale, sy, zy)
