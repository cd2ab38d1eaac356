"""How far two arrays are apart: in value, in units in the last place, and in bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.ir.dtype import is_floating


def same_bits(a: Any, b: Any) -> Any:
    """Where two arrays have the same bits, or are both NaN.  a, b: [*s] -> y: bool [*s]"""
    a, b = np.asarray(a), np.asarray(b)
    if not is_floating(a.dtype):
        return a == b
    word = f"u{a.dtype.itemsize}"
    bits = np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word)
    return (bits | (np.isnan(a) & np.isnan(b))).reshape(a.shape)


def most_ulps(a: Any, b: Any) -> int:
    """The most numbers of their dtype that lie between two elements, plus one; 0 if all are equal.

    Of integers and bools it is the greatest difference. Two NaNs are equal, and so are both zeros.

    a, b: [*s], of one dtype
    """
    a, b = np.asarray(a).reshape(-1), np.asarray(b).reshape(-1)
    if not a.size:
        return 0
    x, y = _ranks(a), _ranks(b)
    apart = np.where(x > y, x, y).view(np.uint64) - np.where(x > y, y, x).view(np.uint64)
    if is_floating(a.dtype):
        apart[np.isnan(a) & np.isnan(b)] = 0
    return int(apart.max())


def _ranks(x: Any) -> Any:
    """Integers in the order of x's elements, without gaps between neighbours.  -> int64 [*s]"""
    x = np.array(x, order="C")
    if not is_floating(x.dtype):
        flipped = np.uint64(1 << 63) if x.dtype == np.uint64 else np.uint64(0)
        return (x.astype(np.uint64) ^ flipped).view(np.int64)
    bits = x.view(f"i{x.dtype.itemsize}").astype(np.int64)
    return np.where(bits < 0, np.iinfo(f"i{x.dtype.itemsize}").min - bits, bits)


def most_apart(a: Any, b: Any) -> float:
    """max |a - b|, in float64; infinity where one is not finite and the other differs.

    a, b: [*s]
    """
    x, y = (np.asarray(z).astype(np.float64).reshape(-1) for z in (a, b))
    if not x.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(x - y)
    apart[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())
