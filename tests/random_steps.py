"""The steps of random programs: each makes one value of those in a pool, or None if none fits."""

from __future__ import annotations

import math
from typing import Any

from random_terms import Maker, Term

import staticnet as sn
from staticnet.errors import ShapeError
from staticnet.ir.dtype import BOOL, DTYPES, is_floating, is_integer
from staticnet.ops.arguments import broadcast_shapes
from staticnet.ops.base import apply
from staticnet.ops.movement import Pad

# by name: what it is made of, how much it spreads noise, the bound of the result
SMOOTH = [
    (sn.tanh, 1, 1), (sn.sin, 1, 1), (sn.cos, 1, 1), (sn.erf, 2, 1), (sn.sigmoid, 1, 1),
    (sn.atan, 1, 2), (sn.asinh, 1, 4), (lambda x: sn.log1p(sn.abs(x)), 1, 3),
    (lambda x: sn.exp(-sn.abs(x)), 1, 1), (lambda x: sn.expm1(-sn.abs(x)), 1, 1),
    (lambda x: sn.rsqrt(sn.abs(x) + 1), 1, 1),
]  # fmt: skip
IDLE = [  # what simplification may take out
    lambda x: x * 1, lambda x: x + 0.0, lambda x: x - 0.0, lambda x: x / 1,
    lambda x: sn.negative(-x),
    lambda x: sn.maximum(x, x), lambda x: sn.where(x == x, x, x), lambda x: x**1,
    lambda x: sn.astype(sn.astype(x, "float64"), x.dtype), lambda x: sn.stop_gradient(x),
    lambda x: sn.broadcast_to(x, (1, *x.shape))[0],
]  # fmt: skip


def turned(m: Maker, x: Any) -> Any:
    """x shown otherwise, in the same shape."""
    if not x.ndim:
        return x
    axis = m.axis(x)
    far = 0 if m.kind == "symbolic" else 3
    square = x.ndim > 1 and x.shape[-1] == x.shape[-2]
    return m.any(
        [
            lambda: sn.flip(x, axis),
            lambda: sn.flip(x),
            lambda: sn.roll(x, int(m.rng.integers(-far, far + 1)), axis),
            lambda: sn.matrix_transpose(x) if square else sn.flip(x, axis),
        ]
    )()


def moves(m: Maker, x: Any) -> list[Any]:
    """Movements of x, by one of its axes, that any size allows."""
    axis = m.axis(x)
    n = x.shape[axis]
    front = sn.moveaxis(x, axis, 0)
    return [
        lambda: turned(m, x),
        lambda: turned(m, x),
        lambda: sn.permute_dims(x, [int(i) for i in m.rng.permutation(x.ndim)]),
        lambda: sn.reshape(x, -1),
        lambda: sn.expand_dims(x, axis),
        lambda: sn.concat([x, turned(m, x)], axis),
        lambda: sn.concat([turned(m, x), x[..., :1]], -1),
        lambda: sn.stack([x, turned(m, x)], m.any([0, axis, -1])),
        lambda: front[n // 2 :],
        lambda: front[:: m.any([2, 3, -1] if m.kind == "symbolic" else [2, 3, -1, -2])],
        lambda: sn.moveaxis(front[: n // 2], 0, -1),
        lambda: sn.tile(x, (2,) + (1,) * (x.ndim - 1)),
        lambda: sn.tile(x, (1,) * (x.ndim - 1) + (3,)),
        lambda: sn.repeat(x, 2, axis),
        lambda: sn.broadcast_to(x, (m.any([2, 3]), *x.shape)),
    ]


def move(m: Maker) -> Term | None:
    x = m.pick(lambda t: t.node.ndim > 0)
    if x is None:
        x = m.pick()
        return x and m.same(sn.broadcast_to(x.node, m.shape), x)
    return m.same(m.any(moves(m, x.node))(), x)


def pad(m: Maker) -> Term | None:
    x = m.pick(lambda t: t.node.ndim > 0 and t.node.dtype != BOOL)
    if x is None or (m.kind == "symbolic" and m.chance(0.5)):
        return None
    edge = m.constant((), x.node.dtype)
    low, high, gap = (
        tuple(int(i) for i in m.rng.integers(0, most, x.node.ndim)) for most in (3, 3, 2)
    )
    gap = (0,) * x.node.ndim if m.kind == "symbolic" else gap
    return m.same(apply(Pad(low, high, gap), x.node, edge.node), x, edge)


def pair(m: Maker, exact: bool = False) -> tuple[Term, Term] | None:
    """Two numbers of one dtype that broadcast; often the same memory, read in two ways."""
    x = m.pick(lambda t: t.node.dtype != BOOL and (t.exact or not exact))
    if x is None:
        return None
    if m.chance(0.15):
        return x, m.constant(x.node.shape, x.node.dtype)
    y = m.pick(lambda t: t.node.dtype == x.node.dtype and fits(m, x, t) and (t.exact or not exact))
    if y is None or (m.chance(0.3) and x.node.ndim):
        y = m.same(turned(m, x.node), x)
    return (x, y) if m.chance(0.5) else (y, x)


def fits(m: Maker, x: Term, y: Term) -> bool:
    if x.node is y.node:
        return False
    try:
        shape = broadcast_shapes(x.node.shape, y.node.shape)
    except ShapeError:
        return False
    return m.count(shape) <= m.room()


def unary(m: Maker) -> Term | None:
    x = m.number()
    if x is None:
        return None
    if m.chance(0.2):
        return m.same(m.any(IDLE)(x.node), x)
    f, spread, bound = m.any(SMOOTH)
    return m.float(f(x.node), [x], bound, noise=spread * x.noise, exact=False)


def plain(m: Maker) -> Term | None:
    """Operations that IEEE 754 rounds in one way."""
    x = m.number()
    if x is None:
        return None
    v, b, g, e = x.node, x.bound, x.grid, x.noise
    k = m.any([2, 3, 0.5, -1, 1.5, 0.25])
    cases = [
        lambda: m.same(sn.abs(v), x),
        lambda: m.same(-v, x),
        lambda: m.same(sn.relu(v), x),
        lambda: m.float(sn.clip(v, -0.5, 1), [x], b, g and min(g, 0.5), e),
        lambda: m.float(v * k, [x], b * abs(k), g / 4 if k % 1 else g, e * abs(k)),
        lambda: m.float(k - v, [x], b + abs(k), g and min(g, 0.25), e),
        lambda: m.float(sn.square(v), [x], b * b, g * g, 2 * b * e),
        lambda: m.float(v / 3, [x], b / 3, 0, e / 3),
        lambda: m.float(sn.sqrt(sn.abs(v) + 1), [x], math.sqrt(b + 1), 0, e),
        lambda: m.float(sn.reciprocal(sn.abs(v) + 1), [x], 1, 0, e),
        lambda: m.float(v**2, [x], b * b, 0, 2 * b * e, exact=False),
    ]
    return m.any(cases)()


def binary(m: Maker) -> Term | None:
    both = pair(m)
    if both is None:
        return None
    x, y = both
    if not is_floating(x.node.dtype):
        return integers(m, x, y)
    grid = min(x.grid, y.grid)
    noise = x.noise + y.noise
    product = x.bound * y.noise + y.bound * x.noise
    f = m.any([sn.add, sn.add, sn.subtract, sn.subtract])
    cases = [
        lambda: m.float(f(x.node, y.node), both, x.bound + y.bound, grid, noise),
        lambda: m.float(f(x.node, y.node), both, x.bound + y.bound, grid, noise),
        lambda: m.float(x.node * y.node, both, x.bound * y.bound, x.grid * y.grid, product),
        lambda: m.float(x.node / (sn.abs(y.node) + 1), both, x.bound, 0, product + noise),
        lambda: m.same(m.any([sn.maximum, sn.minimum])(x.node, y.node), x, y),
        lambda: product_and_sum(m, x, y),
    ]
    return m.any(cases)()


def product_and_sum(m: Maker, x: Term, y: Term) -> Term:
    """a * b + c, which a machine may round once."""
    node = x.node * y.node + m.any([1, -1]) * (x.node * x.node)
    grid = min(x.grid * y.grid, x.grid**2) / 2
    noise = 2 * (x.bound + y.bound) * (x.noise + y.noise)
    bits = 2.0**-22
    return m.float(node, [x, y], x.bound * (x.bound + y.bound), grid, noise + bits * x.bound**2)


def integers(m: Maker, x: Term, y: Term) -> Term:
    v, w = x.node, y.node
    k = int(m.rng.integers(1, 8))
    cases = [
        lambda: v + w, lambda: v - w, lambda: v * w, lambda: sn.maximum(v, w),
        lambda: sn.minimum(v, w), lambda: sn.bitwise_and(v, w), lambda: sn.bitwise_or(v, w),
        lambda: sn.bitwise_xor(v, w), lambda: sn.bitwise_invert(v), lambda: v // k,
        lambda: v % k, lambda: sn.bitwise_left_shift(v, k % 4), lambda: sn.abs(v),
        lambda: sn.bitwise_right_shift(v, k), lambda: sn.negative(v), lambda: v**2,
    ]  # fmt: skip
    return m.choice(m.any(cases)(), x, y)


def select(m: Maker) -> Term | None:
    both = pair(m, exact=True)
    if both is None:
        return None
    x, y = both
    f = m.any([sn.less, sn.equal, sn.greater_equal, sn.not_equal, sn.less_equal, sn.greater])
    chosen = m.choice(f(x.node, y.node), x, y)
    if m.chance(0.4):
        return chosen
    values = pair(m)
    if values is None:
        return None
    if not fits(m, chosen, values[0]) or not fits(m, chosen, values[1]):
        values = both
    result = m.same(sn.where(chosen.node, values[0].node, values[1].node), *values)
    return Term(result.node, result.bound, result.grid, result.noise + chosen.noise, result.exact)


def logic(m: Maker) -> Term | None:
    x = m.pick(lambda t: t.node.dtype == BOOL)
    if x is None:
        return select(m)
    y = m.pick(lambda t: t.node.dtype == BOOL and fits(m, x, t)) or x
    v, w = x.node, y.node
    cases = [
        lambda: sn.logical_and(v, w), lambda: sn.logical_or(v, w), lambda: sn.logical_xor(v, w),
        lambda: sn.logical_not(v), lambda: sn.any(v, m.axes(v)), lambda: sn.all(v, m.axes(v)),
        lambda: sn.count_nonzero(v, m.axes(v)), lambda: sn.sum(v, m.axes(v)),
    ]  # fmt: skip
    return m.choice(m.any(cases)(), x, y)


def summed(m: Maker, node: Any, x: Term, n: int, mean: bool = False) -> Term:
    """A sum of n elements, in whatever order, by an accumulator of at least 32 bits."""
    bound = max(n, 1) * x.bound
    bits = 53 if node.dtype == "float64" else 24
    exact = bool(x.grid) and bound <= x.grid * 2.0**bits
    noise = n * x.noise + (0 if exact else bound * 2.0 ** (3 - bits))
    if mean:
        scale = 1 / max(n, 1)
        return m.float(node, [x], x.bound, 0, noise * scale, exact)
    return m.float(node, [x], bound, x.grid, noise, exact)


def fits_sum(m: Maker, x: Term, n: int) -> bool:
    """Whether a sum stays within its dtype."""
    return n * x.bound <= (60_000 if x.node.dtype == "float16" else 1e30)


def reduce(m: Maker) -> Term | None:
    x = m.pick(lambda t: t.node.dtype != BOOL)
    if x is None:
        return None
    v, axes, keep = x.node, m.axes(x.node), m.chance(0.4)
    n = m.count(v.shape, axes)
    empty = m.kind == "symbolic" or n == 0
    if is_integer(v.dtype):
        f = m.any([sn.sum, sn.prod, sn.sum] + ([] if empty else [sn.max, sn.min]))
        return m.choice(f(v, axes, keepdims=keep), x)
    cases = [lambda: extremum_or_other(m, x, axes, keep, n, empty)]
    if fits_sum(m, x, n):
        cases += [lambda: summed(m, sn.sum(v, axes, keepdims=keep), x, n)] * 2
        if not empty:
            cases += [lambda: summed(m, sn.mean(v, axes, keepdims=keep), x, n, mean=True)]
    return m.any(cases)()


def extremum_or_other(
    m: Maker, x: Term, axes: tuple[int, ...], keep: bool, n: int, empty: bool
) -> Term | None:
    v, b = x.node, x.bound
    if b <= 1 and n <= 200:
        spread = n * (x.noise + 2.0**-22)
        return m.float(sn.prod(v, axes, keepdims=keep), [x], 1, 0, spread, exact=False)
    if empty:
        return None
    cases = [
        lambda: m.same(sn.max(v, axes, keepdims=keep), x),
        lambda: m.same(sn.min(v, axes, keepdims=keep), x),
        lambda: m.float(
            sn.logsumexp(v, axes, keepdims=keep), [x], b + math.log(n), 0, x.noise, exact=False
        ),
    ]
    if fits_sum(m, x, n * 16):
        noise = 8 * b * (x.noise + n * b * 2.0**-22)
        cases.append(
            lambda: m.float(sn.var(v, axes, keepdims=keep), [x], b * b, 0, noise, exact=False)
        )
    return m.any(cases)()


def scan(m: Maker) -> Term | None:
    x = m.pick(lambda t: t.node.dtype != BOOL and t.node.ndim > 0)
    if x is None:
        return None
    v, axis = x.node, m.axis(x.node)
    n = m.count(v.shape, [axis])
    first = m.chance(0.2)
    if is_integer(v.dtype):
        f = m.any([sn.cumulative_sum, sn.cumulative_prod])
        return m.choice(f(v, axis, include_initial=first), x)
    if x.bound <= 1 and m.chance(0.4):
        node = sn.cumulative_prod(v, axis, include_initial=first)
        return m.float(node, [x], 1, 0, n * (x.noise + 2.0**-22), exact=False)
    if not fits_sum(m, x, n):
        return None
    return summed(m, sn.cumulative_sum(v, axis, include_initial=first), x, n)


def order(m: Maker) -> Term | None:
    """Sorted values; of exact ones also their order, and others' values in it."""
    small = m.kind != "large" or m.chance(0.3)
    x = m.pick(lambda t: t.node.dtype != BOOL and t.node.ndim > 0 and small)
    if x is None:
        return None
    v, axis, down = x.node, m.axis(x.node), m.chance(0.5)
    if not x.exact or m.chance(0.5):
        return m.same(sn.sort(v, axis, descending=down), x)
    empty = m.kind == "symbolic" or m.count(v.shape, [axis]) == 0
    if m.chance(0.4) and not empty:
        return m.choice(m.any([sn.argmax, sn.argmin])(v, axis, keepdims=m.chance(0.5)), x)
    indices = m.choice(sn.argsort(v, axis, descending=down), x)
    y = m.pick(lambda t: t.node.shape == v.shape)
    if y is None or m.chance(0.3):
        return indices
    taken = m.same(sn.take_along_axis(y.node, indices.node, axis), y)
    return Term(taken.node, taken.bound, taken.grid, taken.noise + indices.noise, taken.exact)


def index(m: Maker) -> Term | None:
    """Rows taken, or added to, at indices that are constant or computed."""
    x = m.pick(lambda t: t.node.ndim > 0 and m.count(t.node.shape) > 0 and m.kind != "symbolic")
    if x is None:
        return None
    v, axis = x.node, m.axis(x.node)
    n = v.shape[axis]
    at = Term(sn.constant(m.rng.integers(-n, n, m.any([1, 2, 5]))))
    computed = m.pick(lambda t: is_integer(t.node.dtype) and t.node.ndim == 1)
    if computed is not None and m.chance(0.5):
        at = m.choice(sn.astype(computed.node, "int64") % n, computed)
    taken = m.same(sn.take(v, at.node, axis), x)
    if m.count(taken.node.shape) > m.room():
        return None
    if is_floating(v.dtype) and m.chance(0.5):
        times = 1 + m.count(at.node.shape)
        node = sn.scatter_add(turned(m, v), at.node, taken.node, axis)
        result = summed(m, node, x, times) if fits_sum(m, x, times) else taken
        return Term(result.node, result.bound, result.grid, result.noise + at.noise, result.exact)
    return Term(taken.node, taken.bound, taken.grid, taken.noise + at.noise, taken.exact)


def product(m: Maker) -> Term | None:
    x = m.pick(lambda t: is_floating(t.node.dtype) and t.node.ndim >= 2)
    if x is None:
        return None
    y = m.pick(
        lambda t: t.node.dtype == x.node.dtype and t.node.ndim >= 2
        and t.node.shape[-1] == x.node.shape[-1] and t.node.shape[:-2] == x.node.shape[:-2]
    ) or x  # fmt: skip
    k = m.count(x.node.shape[-1:])
    size = m.count(x.node.shape[:-1]) * m.count(y.node.shape[-2:-1])
    if size > m.room() or size * k > 2e7 or k * x.bound * y.bound > 60_000:
        return None
    node = x.node @ sn.matrix_transpose(y.node)
    each = Term(
        node, x.bound * y.bound, x.grid * y.grid, x.bound * y.noise + y.bound * x.noise,
        x.exact and y.exact,
    )  # fmt: skip
    return summed(m, node, each, k)


def cast(m: Maker) -> Term | None:
    x = m.pick()
    assert x is not None
    v, dtype = x.node, DTYPES[m.any(list(DTYPES))]
    if m.chance(0.5):
        dtype = DTYPES[m.any(["float16", "bfloat16", "float32", "float64"])]
    if is_floating(v.dtype) and is_floating(dtype):
        return m.float(sn.astype(v, dtype), [x], x.bound, x.grid, x.noise)
    if is_floating(dtype):  # of at most 16, whatever was the integer
        small = v if v.dtype == BOOL else v % 16
        result = m.choice(sn.astype(small, dtype), x)
        return Term(result.node, 16, 1, result.noise)
    if is_floating(v.dtype):
        if not x.exact or m.how == "w":
            return None
        v = sn.abs(v) if dtype.kind == "u" else v
    return m.choice(sn.astype(v, dtype), x)


def whole(m: Maker) -> Term | None:
    """Whole numbers of exact values, where rounding is a choice."""
    x = m.pick(lambda t: is_floating(t.node.dtype) and t.exact)
    if x is None:
        return None
    f = m.any([sn.floor, sn.ceil, sn.trunc, sn.round, sn.sign])
    result = m.choice(f(x.node), x)
    return Term(result.node, max(x.bound, 1.0) + 1, 1, result.noise)


STEPS = [
    move, move, move, move, pad, unary, unary, plain, plain, binary, binary, binary, binary,
    select, logic, reduce, reduce, reduce, scan, scan, order, index, product, cast, cast, whole,
]  # fmt: skip
