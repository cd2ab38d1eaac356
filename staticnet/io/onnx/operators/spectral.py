"""Fourier transforms, as products by matrices of sines and cosines, and mel weights."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.operators.arithmetic import target
from staticnet.io.onnx.registry import operator


@operator("DFT")
def dft_attribute(call: Call, x: Any, length: Any = None) -> Any:
    """The discrete Fourier transform along an axis that is an attribute."""
    return _dft(call, x, length, call.axis(x.ndim))


@operator("DFT", since=20)
def dft(call: Call, x: Any, length: Any = None, axis: Any = None) -> Any:
    """The discrete Fourier transform along an axis.  x: [*s, 1 or 2] -> y: [*t, 2]"""
    place = x.ndim - 2 if axis is None else call.place(call.sizes(axis, "the axis")[0], x.ndim)
    return _dft(call, x, length, place)


def _dft(call: Call, x: Any, length: Any, axis: int) -> Any:
    inverse, one_sided = call.flag("inverse"), call.flag("onesided")
    n = x.shape[axis] if length is None else call.sizes(length, "the length")[0]
    if not isinstance(n, int) or not isinstance(x.shape[axis], int):
        call.fail(f"the length {n} must be known")
    call.limit(n * n, "the square of the length", 1 << 26)
    if inverse and one_sided:
        return _real_inverse(call, x, axis, n if length is not None else 2 * (n - 1))
    rows = sn.moveaxis(_fitted(x, axis, n), (axis, -1), (-2, -1))
    count = n // 2 + 1 if one_sided else n
    real, imaginary = _transformed(rows, n, count, 1 if inverse else -1)
    y = sn.stack([real, imaginary], axis=-1)
    return sn.moveaxis(y / n if inverse else y, -2, axis)


def _fitted(x: Any, axis: int, n: int) -> Any:
    """x cut, or with zeros behind it, so that an axis has n elements."""
    now = x.shape[axis]
    if now > n:
        return x[tuple(slice(0, n) if i == axis else slice(None) for i in range(x.ndim))]
    return sn.pad(x, [(0, n - now) if i == axis else (0, 0) for i in range(x.ndim)])


def _transformed(rows: Any, n: int, count: int, sign: int) -> tuple[Any, Any]:
    """The first `count` terms of the transform of rows: [.., n, 1 or 2]."""
    turns = np.outer(np.arange(n), np.arange(count)) % n * (2 * np.pi / n)
    cos = sn.constant(np.cos(turns).astype(rows.dtype))
    sin = sn.constant((sign * np.sin(turns)).astype(rows.dtype))
    re = rows[..., 0]
    real, imaginary = sn.matmul(re, cos), sn.matmul(re, sin)
    if rows.shape[-1] == 2:
        im = rows[..., 1]
        real, imaginary = real - sn.matmul(im, sin), imaginary + sn.matmul(im, cos)
    return real, imaginary


def _real_inverse(call: Call, x: Any, axis: int, n: int) -> Any:
    """The real array whose one-sided transform x is."""
    count = n // 2 + 1
    rows = sn.moveaxis(_fitted(x, axis, count), axis, -2)
    turns = np.outer(np.arange(count), np.arange(n)) % n * (2 * np.pi / n)
    twice = np.where((np.arange(count) == 0) | (2 * np.arange(count) == n), 1.0, 2.0)[:, None] / n
    y = sn.matmul(rows[..., 0], (twice * np.cos(turns)).astype(x.dtype))
    if x.shape[-1] == 2:
        y = y - sn.matmul(rows[..., 1], (twice * np.sin(turns)).astype(x.dtype))
    return sn.moveaxis(sn.expand_dims(y, -1), -2, axis)


@operator("STFT")
def stft(call: Call, x: Any, step: Any, window: Any = None, length: Any = None) -> Any:
    """Transforms of windows along time.  x: [n, t, 1 or 2] -> y: [n, frames, terms, 2]"""
    (hop,) = call.sizes(step, "the step")
    n = window.shape[0] if window is not None else call.sizes(length, "the length")[0]
    if length is not None:
        (n,) = call.sizes(length, "the length")
    if x.ndim == 2:
        x = sn.expand_dims(x, -1)
    call.limit(n * n, "the square of the length", 1 << 26)
    call.limit(x.shape[1] // max(1, hop) * n, "the number of elements of all windows", 1 << 26)
    frames = 1 + (x.shape[1] - n) // hop
    at = np.arange(frames)[:, None] * hop + np.arange(n)
    rows = sn.take(x, at, axis=1)
    if window is not None:
        rows = rows * sn.reshape(window, (n, 1))
    count = n // 2 + 1 if call.flag("onesided") else n
    return sn.stack(list(_transformed(rows, n, count, -1)), axis=-1)


@operator("MelWeightMatrix")
def mel_weight_matrix(call: Call, bins: Any, length: Any, rate: Any, lower: Any, upper: Any) -> Any:
    """Triangles of equal width in mels over the terms of a transform.  -> y: [terms, bins]"""
    count, n, hertz = (int(call.sizes(v, "a size")[0]) for v in (bins, length, rate))
    call.limit(max(count, n, count * n), "the number of weights", 1 << 24)
    ends = np.array([call.numbers(v, "a frequency")[0] for v in (lower, upper)])
    mels = 2595 * np.log10(1 + ends / 700)
    edges = 700 * (
        10 ** ((np.arange(count + 2) * (mels[1] - mels[0]) / (count + 2) + mels[0]) / 2595) - 1
    )
    places = ((n + 1) * edges // hertz).astype(int)
    weights = np.zeros((n // 2 + 1, count))
    for i in range(count):
        low, middle, high = places[i : i + 3]
        if low == middle:
            weights[middle, i] = 1
        for j in range(low, middle + 1 if low != middle else low):
            weights[j, i] = (j - low) / (middle - low)
        for j in range(middle, high if middle != high else middle):
            weights[j, i] = (high - j) / (high - middle)
    return sn.constant(weights.astype(target(call, "output_datatype")))
