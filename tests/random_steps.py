"""The steps of random programs: each makes one value of those in a pool, or None if none fits."""

from __future__ import annotations

import math

from random_moves import index, move, order, pad, turned
from random_terms import Maker, Term

import staticnet as sn
from staticnet.ir.dtype import BOOL, DTYPES, is_floating, is_integer

# by name: what it is made of, how much it spreads noise, the bound of the result
SMOOTH = [
    (sn.tanh, 1, 1), (sn.sin, 1, 1), (sn.cos, 1, 1), (sn.erf, 2, 1), (sn.sigmoid, 1, 1),
    (sn.atan, 1, 2), (sn.asinh, 1, 4), (lambda x: sn.log1p(sn.abs(x)), 1, 3),
    (lambda x: sn.exp(-sn.abs(x)), 1, 1), (lambda x: sn.expm1(-sn.abs(x)), 1, 1),
    (lambda x: sn.rsqrt(sn.abs(x) + 1), 1, 1), (lambda x: sn.logaddexp(x, -x), 1, 17),
    (lambda x: sn.hypot(x, x + 1), 2, 24),
]  # fmt: skip
IDLE = [  # what simplification may take out
    lambda x: x * 1, lambda x: x + 0.0, lambda x: x - 0.0, lambda x: x / 1,
    lambda x: sn.negative(-x),
    lambda x: sn.maximum(x, x), lambda x: sn.where(x == x, x, x), lambda x: x**1,
    lambda x: sn.astype(sn.astype(x, "float64"), x.dtype), lambda x: sn.stop_gradient(x),
    lambda x: sn.broadcast_to(x, (1, *x.shape))[0],
]  # fmt: skip


def pair(m: Maker, exact: bool = False) -> tuple[Term, Term] | None:
    """Two numbers of one dtype that broadcast; often the same memory, read in two ways."""
    x = m.pick(lambda t: t.node.dtype != BOOL and (t.exact or not exact))
    if x is None:
        return None
    if m.chance(0.15):
        return x, m.constant(x.node.shape, x.node.dtype)
    y = m.pick(lambda t: t.node.dtype == x.node.dtype and m.fits(x, t) and (t.exact or not exact))
    if y is None or (m.chance(0.3) and x.node.ndim):
        y = m.same(turned(m, x.node), x)
    return (x, y) if m.chance(0.5) else (y, x)


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
    if not m.fits(chosen, values[0]) or not m.fits(chosen, values[1]):
        values = both
    result = m.same(sn.where(chosen.node, values[0].node, values[1].node), *values)
    return Term(result.node, result.bound, result.grid, result.noise + chosen.noise, result.exact)


def logic(m: Maker) -> Term | None:
    x = m.pick(lambda t: t.node.dtype == BOOL)
    if x is None:
        return select(m)
    y = m.pick(lambda t: t.node.dtype == BOOL and m.fits(x, t)) or x
    v, w = x.node, y.node
    cases = [
        lambda: sn.logical_and(v, w), lambda: sn.logical_or(v, w), lambda: sn.logical_xor(v, w),
        lambda: sn.logical_not(v), lambda: sn.any(v, m.axes(v)), lambda: sn.all(v, m.axes(v)),
        lambda: sn.count_nonzero(v, m.axes(v)), lambda: sn.sum(v, m.axes(v)),
        lambda: sn.equal(v, w), lambda: sn.not_equal(v, turned(m, v)),
    ]  # fmt: skip
    return m.choice(m.any(cases)(), x, y)


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
    if m.fits_sum(x, n):
        cases += [lambda: m.summed(sn.sum(v, axes, keepdims=keep), x, n)] * 2
        if not empty:
            cases += [lambda: m.summed(sn.mean(v, axes, keepdims=keep), x, n, mean=True)]
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
    if m.fits_sum(x, n * 16):
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
    if not m.fits_sum(x, n):
        return None
    return m.summed(sn.cumulative_sum(v, axis, include_initial=first), x, n)


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
    return m.summed(node, each, k)


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


def row(m: Maker) -> Term | None:
    """What networks do along an axis: softmax, less the mean or maximum, by the sum."""
    x = m.pick(lambda t: is_floating(t.node.dtype) and t.node.ndim > 0)
    if x is None or not m.count(x.node.shape) or m.kind == "symbolic":
        return None
    v, axis, b, e = x.node, m.axis(x.node), x.bound, x.noise
    n = m.count(v.shape, [axis])
    if not m.fits_sum(x, n):
        return None
    rounding = 2.0**-50 if v.dtype == "float64" else 2.0**-22
    mean = m.summed(sn.mean(v, axis, keepdims=True), x, n, mean=True)
    sums = m.summed(sn.sum(sn.abs(v), axis, keepdims=True), x, n)
    top = sn.max(v, axis, keepdims=True)
    cases = [
        lambda: m.float(sn.nn.softmax(v, axis), [x], 1, 0, 2 * e, exact=False),
        lambda: m.float(v - top, [x], 2 * b, x.grid, 2 * e),
        lambda: m.float(v - mean.node, [x, mean], 2 * b, 0, e + mean.noise),
        lambda: m.float(v / (sums.node + 1), [x, sums], b, 0, e + b * sums.noise),
        lambda: m.float(
            sn.rsqrt(sn.var(v, axis, keepdims=True) + 1) * v, [x], b, 0,
            9 * b * b * (n + 1) * (e + b * rounding), exact=False,
        ),
    ]  # fmt: skip
    return m.any(cases)()


STEPS = [
    move, move, move, move, pad, unary, unary, plain, plain, binary, binary, binary, binary,
    select, logic, reduce, reduce, reduce, scan, scan, order, index, product, row, row, cast,
    cast, whole,
]  # fmt: skip
