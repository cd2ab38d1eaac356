"""Random graphs for property tests: well typed by construction, small, and shrinking to little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import staticnet as sn
from staticnet.ir.dtype import is_floating
from staticnet.ops.arguments import broadcast_shapes

Draw = Callable[[st.SearchStrategy[Any]], Any]

UNARY = [
    sn.abs, sn.negative, sn.tanh, sn.sin, sn.cos, sn.exp, sn.relu, sn.sigmoid, sn.erf, sn.sign,
    sn.floor,
    sn.square, sn.stop_gradient, lambda x: sn.sqrt(sn.abs(x)), lambda x: sn.log1p(sn.abs(x)),
    lambda x: x * 1, lambda x: x + 0.0, lambda x: x**2, lambda x: 1 - x, lambda x: x / 3,
]  # fmt: skip
BINARY = [sn.add, sn.subtract, sn.multiply, sn.maximum, sn.minimum, sn.atan2, sn.hypot]
COMPARE = [sn.less, sn.equal, sn.greater_equal, sn.not_equal]
REDUCE = [sn.sum, sn.max, sn.min, sn.mean, sn.logsumexp, sn.prod, sn.var]
SHAPES = [(), (1,), (3,), (2, 3), (4, 1), (3, 4), (2, 3, 4), (0, 3)]


def _unary(draw: Draw, pool: list[Any]) -> Any:
    return draw(st.sampled_from(UNARY))(draw(st.sampled_from(pool)))


def _pair(draw: Draw, pool: list[Any]) -> tuple[Any, Any]:
    """Two values of one dtype that broadcast."""
    x = draw(st.sampled_from(pool))
    fits = [y for y in pool if y.dtype == x.dtype and _broadcast(x.shape, y.shape)]
    return x, draw(st.sampled_from(fits))


def _broadcast(a: Any, b: Any) -> bool:
    try:
        broadcast_shapes(a, b)
    except sn.errors.ShapeError:
        return False
    return True


def _binary(draw: Draw, pool: list[Any]) -> Any:
    return draw(st.sampled_from(BINARY))(*_pair(draw, pool))


def _select(draw: Draw, pool: list[Any]) -> Any:
    x, y = _pair(draw, pool)
    return sn.where(draw(st.sampled_from(COMPARE))(x, y), x, y)


def _reduce(draw: Draw, pool: list[Any]) -> Any:
    x = draw(st.sampled_from([x for x in pool if 0 not in x.shape]))
    axes = draw(st.sets(st.sampled_from(range(x.ndim)))) if x.ndim else set()
    reduced = draw(st.sampled_from(REDUCE))(x, tuple(axes), keepdims=draw(st.booleans()))
    return reduced if is_floating(reduced.dtype) else x


def _move(draw: Draw, pool: list[Any]) -> Any:
    x = draw(st.sampled_from(pool))
    if x.ndim == 0:
        return sn.broadcast_to(x, draw(st.sampled_from(SHAPES)))
    axis = draw(st.sampled_from(range(x.ndim)))
    n = x.shape[axis]
    moves = [
        lambda: sn.permute_dims(x, draw(st.permutations(range(x.ndim)))),
        lambda: sn.reshape(x, -1),
        lambda: sn.expand_dims(x, axis),
        lambda: sn.flip(x, axis),
        lambda: sn.concat([x, sn.flip(x, axis)], axis),
        lambda: sn.moveaxis(x, axis, 0)[n // 2 :: draw(st.sampled_from([1, 2, -1]))],
        lambda: sn.pad(x, [(1, 2)] * x.ndim, 0.5),
        lambda: sn.roll(x, draw(st.integers(-3, 3)), axis),
        lambda: sn.cumulative_sum(x, axis),
        lambda: sn.sort(x, axis),
        lambda: sn.tril(x) if x.ndim >= 2 else x,
    ]
    return draw(st.sampled_from(moves))()


def _index(draw: Draw, pool: list[Any]) -> Any:
    x = draw(st.sampled_from([x for x in pool if x.ndim and x.shape[0]] or [sn.ones((2,))]))
    indices = draw(st.lists(st.integers(-x.shape[0], x.shape[0] - 1), min_size=1, max_size=4))
    taken = sn.take(x, np.array(indices), 0)
    return sn.scatter_add(x, np.array(indices), taken, 0) if draw(st.booleans()) else taken


def _matmul(draw: Draw, pool: list[Any]) -> Any:
    x = draw(st.sampled_from([x for x in pool if x.ndim >= 2] or [sn.ones((2, 3))]))
    return x @ sn.matrix_transpose(x)


STEPS = [_unary, _unary, _binary, _binary, _select, _reduce, _move, _index, _matmul]


@st.composite
def graphs(
    draw: Draw, dtype: str = "float64", steps: int = 12, prefix: str = "x"
) -> tuple[sn.Graph, list[Any]]:
    """A graph of up to `steps` random steps with one to three outputs, and feeds for it."""
    shapes = draw(st.lists(st.sampled_from(SHAPES[1:-1]), min_size=1, max_size=3))
    inputs = [sn.placeholder(shape, dtype, f"{prefix}{i}") for i, shape in enumerate(shapes)]
    pool: list[Any] = [*inputs, sn.constant(0.5, dtype)]
    for _ in range(draw(st.integers(1, steps))):
        made = draw(st.sampled_from(STEPS))(draw, pool)
        if np.prod(made.shape) <= 500 and made.dtype == dtype:
            pool.append(made)
    outputs = [pool[-1], *draw(st.lists(st.sampled_from(pool), max_size=2))]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    feeds = [np.asarray(rng.uniform(-2, 2, shape), dtype) for shape in shapes]
    return sn.Graph("random", inputs, outputs), feeds


SYMBOLIC = [("b",), ("b", 3), (3, "b"), ("b", 1), (2, "b", 3), ("b", "t"), (3,), (3, 3), (1, "t")]


def _fold(draw: Draw, pool: list[Any]) -> Any:
    """A reduction that is defined on empty axes, too."""
    x = draw(st.sampled_from(pool))
    axes = draw(st.sets(st.sampled_from(range(x.ndim)))) if x.ndim else set()
    return draw(st.sampled_from([sn.sum, sn.mean, sn.prod]))(x, tuple(axes), keepdims=draw(BOOLS))


def _show(draw: Draw, pool: list[Any]) -> Any:
    """A movement that any size allows."""
    x = draw(st.sampled_from([x for x in pool if x.ndim] or [sn.ones((3,), "float64")]))
    axis = draw(st.sampled_from(range(x.ndim)))
    n = x.shape[axis]
    moves = [
        lambda: sn.permute_dims(x, draw(st.permutations(range(x.ndim)))),
        lambda: sn.reshape(x, -1),
        lambda: sn.expand_dims(x, axis),
        lambda: sn.flip(x, axis),
        lambda: sn.concat([x, sn.flip(x, axis)], axis),
        lambda: sn.moveaxis(x, axis, 0)[n // 2 :],
        lambda: sn.cumulative_sum(x, axis),
        lambda: sn.sort(x, axis),
        lambda: x / (sn.sum(x * x, axis, keepdims=True) + 1.0),
    ]
    return draw(st.sampled_from(moves))()


BOOLS = st.booleans()
FREE_STEPS = [_unary, _unary, _binary, _binary, _select, _fold, _show, _matmul]


@st.composite
def symbolic_graphs(draw: Draw, steps: int = 12) -> sn.Graph:
    """A graph in the symbolic dims b and t, which holds for all their sizes."""
    shapes = draw(st.lists(st.sampled_from(SYMBOLIC), min_size=1, max_size=3))
    inputs = [sn.placeholder(shape, "float64", f"x{i}") for i, shape in enumerate(shapes)]
    pool: list[Any] = [*inputs, sn.constant(0.5, "float64")]
    for _ in range(draw(st.integers(1, steps))):
        made = draw(st.sampled_from(FREE_STEPS))(draw, pool)
        if made.dtype == "float64" and made.ndim < 5:
            pool.append(made)
    outputs = [pool[-1], *draw(st.lists(st.sampled_from(pool), max_size=2))]
    return sn.Graph("symbolic", inputs, outputs)
