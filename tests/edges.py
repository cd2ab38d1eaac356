"""Special points, the functions tried there, and every known difference from other libraries.

`CASES` is data: `test_edge_values.py` runs it on every device and against NumPy, PyTorch and JAX,
and `docs/numerics.md` has its table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]
inf, nan = np.inf, np.nan


@dataclass(frozen=True)
class Case:
    """A function, the table of points at which it is tried, and what other libraries call it.

    `torch` and `jax` are functions of the module and its arrays; `numpy` of arrays, for values.
    """

    name: str
    points: str
    ours: Call
    torch: Call | None = None
    jax: Call | None = None
    numpy: Call | None = None


def floats(dtype: str) -> tuple[Array, ...]:
    """±0, ±∞, NaN, the largest, least normal and subnormal numbers, neighbours of ±1, ties."""
    info = np.finfo(dtype)
    positive = [
        *(
            0,
            0.1,
            0.5,
            1 - info.epsneg,
            1,
            1 + info.eps,
            1.5,
            2.5,
            3,
            np.pi,
            20,
            110,
            1000,
            info.eps,
        ),
        *(info.tiny, info.smallest_subnormal, np.sqrt(info.max), info.max, inf),
    ]
    return (np.array([*positive, *(-float(x) for x in positive), nan]).astype(dtype),)


def pairs(dtype: str) -> tuple[Array, ...]:
    """All pairs of 0, 1/2, 1, 2, 5/2, 3, 1000, the largest and least numbers, ∞, ± and NaN."""
    info = np.finfo(dtype)
    few = [0, 0.5, 1, 2, 3, 2.5, 1000, info.tiny, info.smallest_subnormal, info.max, inf]
    x = np.array([*few, *(-float(x) for x in few), nan]).astype(dtype)
    return np.repeat(x, x.size), np.tile(x, x.size)


def rows(dtype: str) -> tuple[Array, ...]:
    """Rows of all −∞, of ∞ and NaN, of ties, zeros, and of the largest and least numbers."""
    most, least = float(np.finfo(dtype).max), float(np.finfo(dtype).smallest_subnormal)
    found = [
        *([-inf, -inf, -inf], [inf, inf, inf], [inf, -inf, 0], [nan, 1, 2], [1, nan, inf]),
        *([0, -0.0, 0], [-0.0, -0.0, -0.0], [2, 2, 2], [1, 1, 0], [most, most, 1]),
        *([least, least, least], [-inf, 0, 1], [inf, 0, 1], [-inf, -inf, 1], [5, -5, 0], [0, 0, 3]),
        [0, 2, 3],
    ]
    return (np.array(found, dtype),)


def targets(dtype: str) -> tuple[Array, ...]:
    """Predictions 0 to 200, the largest number, ∞, ± and NaN, with targets 0, 1/2 and 1."""
    most = float(np.finfo(dtype).max)
    x = np.array([0, -0.0, 1, -1, 0.5, 2, -2, 20, -20, 90, -90, 200, inf, -inf, nan, most, -most])
    t = np.array([0, 0.5, 1])
    return np.repeat(x, t.size).astype(dtype), np.tile(t, x.size).astype(dtype)


def logits(dtype: str) -> tuple[Array, ...]:
    """The rows above as scores, with distributions that are 0 where a score is −∞, or not."""
    (x,) = rows(dtype)
    t = np.where(np.isneginf(x), 0, np.where(np.isposinf(x), 1, 0.5))
    t[[7, 8, 13]] = [[1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [0.5, 0.25, 0.25]]
    return x, t.astype(dtype)


POINTS = {f.__name__: f for f in (floats, pairs, rows, targets, logits)}


# --- functions of one number -------------------------------------------------------------------


_LAX = ("rsqrt", "erf", "erfc", "erfinv", "lgamma", "digamma")


def _one(name: str, numpy: str = "", torch: str = "", jax: str = "") -> Case:
    rooms = {"sigmoid": "nn", "relu": "nn", **dict.fromkeys(_LAX, "lax")}
    return Case(
        name,
        "floats",
        getattr(sn, name),
        lambda t, x: getattr(t, torch or name)(x),
        lambda j, x: getattr(getattr(j, rooms.get(name, "numpy")), jax or numpy or name)(x),
        getattr(np, numpy or name, None),
    )


def _activation(name: str, jax: Call | None = None, **options: Any) -> Case:
    return Case(
        " ".join([f"nn.{name}", *map(str, options.values())]),
        "floats",
        lambda x: getattr(sn.nn, name)(x, **options),
        lambda t, x: getattr(t.nn.functional, name)(x, **options),
        jax or (lambda j, x: getattr(j.nn, name)(x)),
    )


def _power(n: float) -> Case:
    def f(module: Any, x: Any) -> Any:
        return x**n

    def exact(x: Any) -> Any:
        return np.power(x, np.full_like(x, n))  # of one exponent 1/2 NumPy takes the square root

    return Case(f"x**{n}", "floats", lambda x: x**n, f, f, exact)


def _clip(low: Any, high: Any) -> Case:
    return Case(
        f"clip to {low}, {high}",
        "floats",
        lambda x: sn.clip(x, low, high),
        lambda t, x: t.clip(x, low, high),
        lambda j, x: j.numpy.clip(x, low, high),
        lambda x: np.clip(x, low, high),
    )


ONE = [
    *map(_one, ["sign", "ceil", "floor", "trunc", "round", "square", "reciprocal", "abs"]),
    *map(_one, ["exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "erf"]),
    *map(_one, ["sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "relu"]),
    *(_one(f"a{name}", f"arc{name}") for name in ["sin", "cos", "tan", "sinh", "cosh", "tanh"]),
    _one("negative", torch="neg"),
    *map(_one, ["erfc", "lgamma", "digamma", "exp2", "sinc"]),
    _one("erfinv", jax="erf_inv"),
    *map(_activation, ["leaky_relu", "elu", "selu", "silu", "softplus", "mish"]),
    _activation("gelu", lambda j, x: j.nn.gelu(x, approximate=False)),
    _activation("gelu", lambda j, x: j.nn.gelu(x, approximate=True), approximate="tanh"),
    _activation("hardtanh", lambda j, x: j.nn.hard_tanh(x)),
    *map(_power, [0, 1, 2, 3, 4, -1, -2, 0.5, 1.5, 2.5]),
    *(_clip(*ends) for ends in [(-1, 1), (1, -1), (nan, 1.0), (-1.0, nan), (None, 1), (0, None)]),
]


# --- of two numbers ----------------------------------------------------------------------------


def _two(name: str, numpy: str = "", torch: Call | None = None) -> Case:
    return Case(
        name,
        "pairs",
        getattr(sn, name),
        torch or (lambda t, x, y: getattr(t, name)(x, y)),
        lambda j, x, y: getattr(j.numpy, numpy or name)(x, y),
        getattr(np, numpy or name),
    )


TWO = [
    *map(_two, ["add", "subtract", "multiply", "divide", "remainder", "hypot", "copysign"]),
    *map(_two, ["logaddexp", "maximum", "minimum", "fmod", "fmax", "fmin"]),
    _two("floor_divide", torch=lambda t, x, y: t.floor_divide(x.detach(), y.detach())),
    _two("pow", "power"),
    _two("atan2", "arctan2"),
]


# --- of rows -----------------------------------------------------------------------------------


def _rows(name: str, torch: str = "", numpy: str = "") -> Case:
    return Case(
        name,
        "rows",
        lambda x: getattr(sn, name)(x, 1),
        lambda t, x: getattr(t, torch or name)(x, 1),
        lambda j, x: getattr(j.nn if name == "logsumexp" else j.numpy, numpy or name)(x, 1),
        None if name == "logsumexp" else lambda x: getattr(np, numpy or name)(x, 1),
    )


def _running(name: str) -> Case:
    def of_torch(t: Any, x: Any) -> Any:
        found = getattr(t, name)(x, 1)
        return found if name == "logcumsumexp" else found.values

    return Case(
        name,
        "rows",
        lambda x: getattr(sn, name)(x, 1),
        of_torch,
        lambda j, x: getattr(j.lax, "cumlogsumexp" if name == "logcumsumexp" else name)(x, 1),
    )


def _moment(name: str, correction: int) -> Case:
    return Case(
        f"{name}, correction {correction}",
        "rows",
        lambda x: getattr(sn, name)(x, 1, correction),
        lambda t, x: getattr(t, name)(x, 1, correction=correction),
        lambda j, x: getattr(j.numpy, name)(x, 1, ddof=correction),
        lambda x: getattr(np, name)(x, 1, ddof=correction),
    )


def _sorting(name: str, descending: bool) -> Case:
    def of_torch(t: Any, x: Any) -> Any:
        found = getattr(t, name)(x, dim=1, stable=True, descending=descending)
        return found[0] if name == "sort" else found

    return Case(
        f"{name}{' descending' if descending else ''}",
        "rows",
        lambda x: getattr(sn, name)(x, 1, descending),
        of_torch,
        lambda j, x: getattr(j.numpy, name)(x, 1, descending=descending),
    )


ROWS = [
    *map(_rows, ["sum", "mean", "prod", "argmax", "argmin", "count_nonzero", "any", "all"]),
    _rows("max", "amax"),
    _rows("min", "amin"),
    _rows("cumulative_sum", "cumsum", "cumsum"),
    _rows("cumulative_prod", "cumprod", "cumprod"),
    _rows("logsumexp"),
    *map(_running, ["cummax", "cummin", "logcumsumexp"]),
    *(_moment(name, correction) for name in ("var", "std") for correction in (0, 1, 3, 4)),
    *(_sorting(name, descending) for name in ("sort", "argsort") for descending in (False, True)),
    Case(
        "nn.softmax",
        "rows",
        sn.nn.softmax,
        lambda t, x: t.softmax(x, 1),
        lambda j, x: j.nn.softmax(x),
    ),
    Case(
        "nn.log_softmax",
        "rows",
        sn.nn.log_softmax,
        lambda t, x: t.log_softmax(x, 1),
        lambda j, x: j.nn.log_softmax(x),
    ),
]


# --- losses ------------------------------------------------------------------------------------


def _loss(name: str, points: str = "targets", **options: Any) -> Case:
    return Case(
        " ".join([f"nn.{name}", *options]),
        points,
        lambda x, y: getattr(sn.nn, name)(x, sn.stop_gradient(y), reduction="none", **options),
        lambda t, x, y: getattr(t.nn.functional, name)(x, y, reduction="none", **options),
    )


LOSSES = [
    *map(
        _loss, ["mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "kl_div"]
    ),
    _loss("kl_div", log_target=True),
    _loss("cross_entropy", "logits"),
]

CASES = [*ONE, *TWO, *ROWS, *LOSSES]
