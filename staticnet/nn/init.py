"""First values of weights: NumPy arrays drawn on the host from the project's own Philox.

A weight is [out, in, *kernel], so a unit sees `fan_in` = in * kernel inputs and feeds `fan_out` =
out * kernel outputs. Without a `seed` each draw takes the next of `manual_seed`'s stream. All raise
ShapeError on a bad shape, DTypeError on a dtype that is not floating-point, ArgumentError on a
seed or argument out of range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dtype import DType, as_dtype, is_floating
from staticnet.ir.hints import lookup
from staticnet.ir.types import as_shape, format_shape
from staticnet.nn.seed import next_seed
from staticnet.ops.random import limits_within, random_words

Array = np.ndarray[Any, Any]
PIECE = 1 << 15  # elements, a multiple of a block's 4 words, that are drawn at a time


def zeros(shape: Any, dtype: Any = "float32") -> Array:
    """w = 0 everywhere.  -> w: [*shape]"""
    return constant(shape, 0.0, dtype)


def ones(shape: Any, dtype: Any = "float32") -> Array:
    """w = 1 everywhere.  -> w: [*shape]"""
    return constant(shape, 1.0, dtype)


def constant(shape: Any, value: float, dtype: Any = "float32") -> Array:
    """w = value everywhere.  -> w: [*shape]"""
    return np.full(_fixed_shape(shape), value, as_dtype(dtype))


def uniform(
    shape: Any, a: float = 0.0, b: float = 1.0, dtype: Any = "float32", *, seed: int | None = None
) -> Array:
    """w ~ U[a, b), from 32 random bits an element.  -> w: [*shape]"""
    if not math.isfinite(b - a):
        raise ArgumentError(f"uniform: the width of [{a}, {b}) is not finite")
    least, most = limits_within(a, b, _floating(dtype))

    def draw(even: Array) -> Array:
        return np.minimum(np.maximum(_cast(a + (b - a) * even, dtype), least), most)

    return _drawn(shape, dtype, seed, draw)


def normal(
    shape: Any,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = "float32",
    *,
    seed: int | None = None,
) -> Array:
    """w ~ N(mean, std**2), by the inverse distribution function.  -> w: [*shape]"""
    if not std >= 0:
        raise ArgumentError(f"normal: std must be a number >= 0, not {std!r:.60}")
    return _drawn(shape, dtype, seed, lambda even: _cast(mean + std * _quantile(even), dtype))


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    dtype: Any = "float32",
    *,
    seed: int | None = None,
) -> Array:
    """w ~ N(mean, std**2) given that a <= w <= b, by the inverse distribution function.

    a and b are values of w, not numbers of standard deviations.  -> w: [*shape]
    """
    from scipy.special import ndtr

    if not a < b or not std > 0:
        raise ArgumentError(f"truncated_normal: needs a < b and std > 0, not {a}, {b} and {std}")
    low, high = ndtr((a - mean) / std), ndtr((b - mean) / std)
    least, most = limits_within(a, math.nextafter(b, math.inf), _floating(dtype))

    def draw(even: Array) -> Array:
        w = _cast(mean + std * _quantile(low + (high - low) * even), dtype)
        return np.minimum(np.maximum(w, least), most)

    return _drawn(shape, dtype, seed, draw)


def xavier_uniform(
    shape: Any, gain: float = 1.0, dtype: Any = "float32", *, seed: int | None = None
) -> Array:
    """w ~ U(-r, r), r = gain * sqrt(6 / (fan_in + fan_out)).  -> w: [*shape]

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks", 2010.
    """
    return _scaled_uniform(shape, gain * math.sqrt(2 / _positive(sum(fans(shape)))), dtype, seed)


def xavier_normal(
    shape: Any, gain: float = 1.0, dtype: Any = "float32", *, seed: int | None = None
) -> Array:
    """w ~ N(0, s**2), s = gain * sqrt(2 / (fan_in + fan_out)).  -> w: [*shape]

    Glorot and Bengio, 2010, as `xavier_uniform`.
    """
    std = gain * math.sqrt(2 / _positive(sum(fans(shape))))
    return normal(shape, 0.0, std, dtype, seed=seed)


def kaiming_uniform(
    shape: Any,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    dtype: Any = "float32",
    *,
    seed: int | None = None,
) -> Array:
    """w ~ U(-r, r), r = gain * sqrt(3 / fan).  -> w: [*shape]

    `a` is the slope of the leaky ReLU that follows.
    He et al., "Delving deep into rectifiers", 2015.
    """
    return _scaled_uniform(shape, _kaiming_std(shape, a, mode, nonlinearity), dtype, seed)


def kaiming_normal(
    shape: Any,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    dtype: Any = "float32",
    *,
    seed: int | None = None,
) -> Array:
    """w ~ N(0, s**2), s = gain / sqrt(fan).  -> w: [*shape]

    `a` is the slope of the leaky ReLU that follows. He et al., 2015, as `kaiming_uniform`.
    """
    return normal(shape, 0.0, _kaiming_std(shape, a, mode, nonlinearity), dtype, seed=seed)


he_uniform, he_normal = kaiming_uniform, kaiming_normal


def lecun_uniform(shape: Any, dtype: Any = "float32", *, seed: int | None = None) -> Array:
    """w ~ U(-r, r), r = sqrt(3 / fan_in).  -> w: [*shape]

    LeCun et al., "Efficient backprop", 1998.
    """
    return _scaled_uniform(shape, math.sqrt(1 / _positive(fans(shape)[0])), dtype, seed)


def lecun_normal(shape: Any, dtype: Any = "float32", *, seed: int | None = None) -> Array:
    """w ~ N(0, 1 / fan_in).  -> w: [*shape]

    LeCun et al., 1998, as `lecun_uniform`.
    """
    return normal(shape, 0.0, math.sqrt(1 / _positive(fans(shape)[0])), dtype, seed=seed)


def orthogonal(
    shape: Any, gain: float = 1.0, dtype: Any = "float32", *, seed: int | None = None
) -> Array:
    """w = gain * Q, its rows orthonormal or, where they outnumber the columns, its columns.

    The columns are those of all axes after the first.  -> w: [*shape]
    Saxe et al., "Exact solutions to the nonlinear dynamics of learning", 2014.
    """
    full = _fixed_shape(shape)
    if len(full) < 2:
        raise ShapeError(f"orthogonal: needs at least 2 axes, not {format_shape(full)}")
    rows, columns = full[0], math.prod(full[1:])
    tall = normal((max(rows, columns), min(rows, columns)), dtype="float64", seed=seed)
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)  # makes Q uniform over orthogonal matrices
    return _cast(gain * (q if rows >= columns else q.T).reshape(full), dtype)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a weight makes up for what the nonlinearity after it takes of the scale.

    `param` is the slope of "leaky_relu" (0.01).

    Raises:
        ArgumentError: if the nonlinearity is unknown.
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    gains |= dict.fromkeys(("conv1d", "conv2d", "conv3d"), 1.0)
    if nonlinearity not in gains:
        raise ArgumentError(
            f"calculate_gain: {nonlinearity!r:.60} is unknown; use one of {', '.join(gains)}"
        )
    return gains[nonlinearity]


def fans(shape: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight [out, in, *kernel].

    Raises:
        ShapeError: if it has fewer than two axes.
    """
    full = _fixed_shape(shape)
    if len(full) < 2:
        raise ShapeError(f"a weight {format_shape(full)} needs two axes to have a fan")
    kernel = math.prod(full[2:])
    return full[1] * kernel, full[0] * kernel


def _kaiming_std(shape: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode must be 'fan_in' or 'fan_out', not {mode!r:.60}")
    fan = fans(shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(_positive(fan))


def _positive(fan: int) -> int:
    """A fan to divide by; that of an empty weight does not matter."""
    return max(fan, 1)


def _scaled_uniform(shape: Any, std: float, dtype: Any, seed: int | None) -> Array:
    bound = math.sqrt(3) * std
    return uniform(shape, -bound, bound, dtype, seed=seed)


def _drawn(shape: Any, dtype: Any, seed: int | None, draw: Callable[[Array], Array]) -> Array:
    """`draw` of float64 numbers even on (0, 1), both ends left out: (word + 1/2) / 2**32.

    It is done for as many at a time as a cache holds.
    """
    full = _fixed_shape(shape)
    drawn, key = np.empty(math.prod(full), _floating(dtype)), next_seed(seed)
    for first in range(0, drawn.size, PIECE):
        piece = drawn[first : first + PIECE]
        words = random_words(key, 0, piece.size, first=first)
        piece[...] = draw((words + 0.5) * 2.0**-32)
    return drawn.reshape(full)


def _quantile(p: Array) -> Array:
    """The inverse of the normal distribution function."""
    from scipy.special import ndtri

    return np.asarray(ndtri(p))


def _fixed_shape(shape: Any) -> tuple[int, ...]:
    full = as_shape(shape)
    if not all(isinstance(dim, int) for dim in full):
        raise ShapeError(f"a weight's shape must be fixed, not {format_shape(full)}")
    return tuple(int(dim) for dim in full)


def _cast(array: Array, dtype: Any) -> Array:
    return array.astype(_floating(dtype))


def _floating(dtype: Any) -> DType:
    target = as_dtype(dtype)
    if not is_floating(target):
        raise DTypeError(f"a random weight must be floating-point, not {target}")
    return target


if not TYPE_CHECKING:
    __getattr__ = lookup(__name__, globals(), {})
