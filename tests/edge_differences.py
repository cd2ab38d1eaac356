"""Where results differ from other libraries' on purpose, and why, by case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Mask = Callable[..., Any]


@dataclass(frozen=True)
class Difference:
    """`libraries`: of NumPy, PyTorch, JAX, their initials; T is PyTorch's. `orders` are those of
    the derivatives. `at` says of the arguments at which points, `where` says it in words.
    """

    libraries: str
    orders: str
    where: str
    why: str
    at: Mask


def _large(x: Any) -> Any:
    return np.abs(x) >= np.sqrt(np.finfo(x.dtype).max) / 2


def _small(x: Any) -> Any:
    return np.abs(x) < 0.01


def _not_right(x: Any) -> Any:
    return (x <= 0) | np.isinf(x)


def _no_number(x: Any, y: Any) -> Any:
    return ~np.isfinite(x) | ~np.isfinite(y) | (x * y == 0)


def _tied(x: Any, y: Any) -> Any:
    return (x == y) | np.isnan(x) | np.isnan(y)


def _has(test: Mask) -> Mask:
    """Rows that have an element of which `test` is true."""
    return lambda x, *_: test(x).any(1)


def _every(x: Any) -> Any:
    return np.full(len(x), True)


def _constant(x: Any) -> Any:
    return (x == x[:, :1]).all(1)


TIE = "a subgradient at a tie, where any between the slopes of the two sides is one"
STAYS = "NaN stays NaN"
OVERFLOW = "ours does not overflow on the way"
OUTSIDE = "outside of the domain there is no slope"
POLE = "JAX has NaN at 0, beside poles and at ∞"
TRIGAMMA = "PyTorch's trigamma takes the sine of pi x, rounded, and ∞ - ∞"
HALVES = "half for each at a tie, and 0 for NaN"
RECORDS = "ours goes to the last of equal elements, as PyTorch's"
INFINITE = "where e**(x - y) has no value there is no slope"
DIVISOR = "the divisor max(n - correction, 0) is 0, as NumPy and PyTorch have it"
HALF = "PyTorch takes square roots and their products there; C99 and the array API do not"
NAN = Difference("T", "1", "NaN", STAYS, np.isnan)
PAIR_NAN = Difference("T", "1", "NaN", "as JAX", lambda x, y: np.isnan(x) | np.isnan(y))
EXPONENTIAL = [
    Difference("T", "1", "NaN", STAYS, np.isnan),
    Difference("T", "2", "0, NaN", TIE, lambda x: (x == 0) | np.isnan(x)),
]


def _far(libraries: str, orders: str) -> Difference:
    return Difference(libraries, orders, "large x", OVERFLOW, _large)


def _tie(libraries: str, orders: str, *points: float) -> Difference:
    words = ", ".join(map(str, points))
    return Difference(libraries, orders, f"x = {words}", TIE, lambda x: np.isin(x, points))


def _few(orders: str = "", libraries: str = "") -> list[Difference]:
    """Of moments of n <= correction elements."""
    values = Difference("J", "0", "all rows", DIVISOR, _every)
    slopes = Difference(libraries, orders, "all rows", f"{DIVISOR}, so there is no slope", _every)
    return [values, slopes] if orders else [values]


_INFINITE = Difference(
    "T", "1", "rows with ∞, or whose squares overflow", "∞ - ∞ on the way; JAX has NaN too",
    _has(lambda x: np.isinf(x) | _large(x)),
)  # fmt: skip
_EQUAL = Difference(
    "J", "12", "rows of equal elements", "0, PyTorch's choice, trains on; JAX has 0 / 0", _constant
)

_WIDE = Difference("T", "01", "squares overflow", "PyTorch sums them in float64", _has(_large))

DIFFERENCES: dict[str, list[Difference]] = {
    "sign": [Difference("T", "0", "NaN", STAYS, np.isnan)],
    "abs": [NAN, Difference("J", "1", "0, NaN", TIE, lambda x: (x == 0) | np.isnan(x))],
    "rsqrt": [Difference("T", "1", "-0.0", "the slope at 0 from the right", lambda x: x == 0)],
    "erf": [_far("TJ", "2")],
    "erfc": [_far("TJ", "2")],
    "lgamma": [
        Difference("J", "12", "x <= 0, ∞", POLE, _not_right),
        Difference("T", "2", "x < 0", TRIGAMMA, lambda x: x < 0),
    ],
    "digamma": [
        Difference("J", "012", "x <= 0, ∞", POLE, _not_right),
        Difference("T", "12", "x <= 0, ∞", TRIGAMMA, _not_right),
    ],
    "sinc": [Difference("TJ", "12", "near 0", "sin x / x - cos x cancels", _small)],
    "atan": [_far("J", "2")],
    "asinh": [_far("TJ", "2")],
    "atanh": [
        _far("T", "2"),
        Difference("J", "2", "±1, ±∞", OUTSIDE, lambda x: (np.abs(x) == 1) | np.isinf(x)),
    ],
    "acosh": [
        Difference("TJ", "12", "x <= -1", OUTSIDE, lambda x: x <= -1),
        _far("TJ", "2"),
    ],
    "relu": [Difference("T", "1", "NaN", "as JAX", np.isnan)],
    "nn.leaky_relu": [_tie("J", "1", 0.0)],
    "nn.elu": EXPONENTIAL,
    "nn.selu": EXPONENTIAL,
    "nn.mish": [Difference("T", "2", "x > 100", OVERFLOW, lambda x: x > 100)],
    "nn.gelu": [
        Difference("T", "0", "∞ and the largest", OVERFLOW, _large),
        _far("TJ", "2"),
    ],
    "nn.gelu tanh": [_far("TJ", "12")],
    "nn.hardtanh": [_tie("J", "1", -1.0, 1.0)],
    "x**0.5": [Difference("T", "01", "-0.0, -∞", HALF, lambda x: (x == 0) | (x == -np.inf))],
    "x**1.5": [Difference("T", "12", "-0.0, -∞", HALF, lambda x: (x == 0) | (x == -np.inf))],
    "x**2.5": [Difference("T", "2", "-∞", HALF, lambda x: x == -np.inf)],
    "clip to -1, 1": [_tie("J", "1", -1.0, 1.0)],
    "clip to None, 1": [_tie("J", "1", 1.0)],
    "clip to 0, None": [_tie("J", "1", 0.0)],
    "divide": [
        Difference(
            "J", "12", "±∞ / the largest", "JAX divides by y squared",
            lambda x, y: np.isinf(x) & _large(y),
        )
    ],
    "remainder": [
        Difference(
            "T", "0", "x / y overflows", "the quotient does, the remainder cannot",
            lambda x, y: (np.abs(y) <= np.finfo(y.dtype).tiny) | _large(x),
        ),
        Difference(
            "J", "1", "x = ±∞", "floor(∞ / y) is NaN, as NumPy has it", lambda x, y: np.isinf(x)
        ),
    ],
    "fmod": [
        Difference(
            "T", "0", "x / y overflows", "the quotient does, the remainder cannot",
            lambda x, y: (np.abs(y) <= np.finfo(y.dtype).tiny) | _large(x),
        ),
        Difference("TJ", "12", "0, ∞, NaN", "no slope where there is no value", _no_number),
    ],
    "fmax": [Difference("TJ", "1", "ties, NaN", HALVES, _tied)],
    "fmin": [Difference("TJ", "1", "ties, NaN", HALVES, _tied)],
    "hypot": [
        Difference(
            "J", "12", "0, ∞, |x| = |y|", "JAX differentiates max and min of the two",
            lambda x, y: (x * y == 0) | np.isinf(x) | np.isinf(y) | (np.abs(x) == np.abs(y)),
        )
    ],
    "copysign": [
        Difference("T", "1", "±∞", "PyTorch divides by x", lambda x, y: np.isinf(x)),
        Difference(
            "T", "2", "0, the least, ∞, NaN", "PyTorch divides by x",
            lambda x, y: (np.abs(x) < 1e-30) | ~np.isfinite(x),
        ),
        Difference("J", "1", "0, NaN", TIE, lambda x, y: (x == 0) | np.isnan(x)),
    ],
    "logaddexp": [
        Difference("T", "2", "|x - y| large", OVERFLOW, lambda x, y: ~(np.abs(x - y) < 80)),
        Difference(
            "J", "12", "∞ and the largest", "JAX works with e**x of the lesser",
            lambda x, y: _large(x) | _large(y) | (np.abs(x) == 1000) | np.isinf(x) | np.isinf(y),
        ),
    ],
    "maximum": [PAIR_NAN],
    "minimum": [PAIR_NAN],
    "pow": [
        Difference(
            "TJ", "12", "x = 0, y = 0, or overflow", "1 / x at y = 0, and no 0 * ∞ at x = 0",
            lambda x, y: (
                (np.abs(x) < 1e-30) | (y == 0) | _large(x) | _large(y) | ~np.isfinite(x * y)
            ),
        )
    ],
    "atan2": [
        Difference("T", "1", "both 0", "no slope: NaN, as JAX", lambda x, y: (x == 0) & (y == 0)),
        Difference(
            "TJ", "12", "the largest or least", OVERFLOW,
            lambda x, y: _large(x) | _large(y) | ((np.abs(x) < 1e-30) & (np.abs(y) < 1e-30)),
        ),
    ],
    "prod": [
        Difference("J", "2", "rows with ∞ or NaN", "as PyTorch", _has(lambda x: ~np.isfinite(x)))
    ],
    "cumulative_prod": [
        Difference(
            "TJ", "12", "rows with ∞", "the sum over results has 0 * ∞", _has(np.isinf)
        )
    ],
    "logsumexp": [
        Difference(
            "T", "12", "the largest numbers", "JAX and the definition agree with ours", _has(_large)
        )
    ],
    "var, correction 0": [_INFINITE],
    "var, correction 1": [_INFINITE],
    "var, correction 3": _few("1", "T"),
    "var, correction 4": _few("12", "TJ"),
    "std, correction 0": [_EQUAL, _WIDE],
    "std, correction 1": [_EQUAL, _WIDE],
    "std, correction 3": _few(),
    "std, correction 4": _few("12", "TJ"),
    "cummax": [Difference("J", "12", "ties, NaN", RECORDS, _every)],
    "cummin": [Difference("J", "12", "ties, NaN", RECORDS, _every)],
    "logcumsumexp": [Difference("TJ", "12", "∞, the largest", INFINITE, _has(_large))],
    "sort descending": [Difference("J", "1", "ties", "ours is stable", _every)],
    "nn.l1_loss": [Difference("T", "1", "NaN", STAYS, lambda x, t: np.isnan(x))],
    "nn.huber_loss": [
        Difference("T", "2", "|x - t| = delta", TIE, lambda x, t: np.abs(x - t) == 1)
    ],
    "nn.binary_cross_entropy_with_logits": [
        Difference("T", "0", "±∞", "0 ln 0 is 0", lambda x, t: np.isinf(x))
    ],
    "nn.kl_div": [Difference("T", "0", "±∞, t = 0", "0 ln 0 is 0", lambda x, t: np.isinf(x))],
    "nn.cross_entropy": [
        Difference("T", "0", "-∞, t = 0", "0 ln 0 is 0", _has(np.isneginf))
    ],
}  # fmt: skip
