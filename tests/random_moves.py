"""Steps of random programs that move values: views, padding, orders, and rows by their indices."""

from __future__ import annotations

import dataclasses
from typing import Any

from random_terms import Maker, Term

import staticnet as sn
from staticnet.ir.dtype import BOOL, is_floating, is_integer
from staticnet.ops.base import apply
from staticnet.ops.movement import Pad


def turned(m: Maker, x: Any) -> Any:
    """x shown otherwise, in the same shape."""
    if not x.ndim:
        return x
    axis = m.axis(x)
    square = x.ndim > 1 and x.shape[-1] == x.shape[-2]
    return m.any(
        [
            lambda: sn.flip(x, axis),
            lambda: sn.flip(x),
            lambda: sn.roll(x, int(m.rng.integers(-3, 4)), axis),
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
        lambda: sn.concat([turned(m, x), x if m.kind == "symbolic" else x[..., :1]], -1),
        lambda: sn.stack([x, turned(m, x)], m.any([0, axis, -1])),
        lambda: front[n // 2 :],
        lambda: front[:: m.any([2, 3, -1] if m.kind == "symbolic" else [2, 3, -1, -2])],
        lambda: sn.moveaxis(front[: n // 2], 0, -1),
        lambda: sn.tile(x, (2,) + (1,) * (x.ndim - 1)),
        lambda: sn.tile(x, (1,) * (x.ndim - 1) + (3,)),
        lambda: sn.repeat(x, 2, axis),
        lambda: sn.broadcast_to(x, (m.any([2, 3]), *x.shape)),
        lambda: m.any([sn.tril, sn.triu])(x, m.any([-1, 0, 1])) if x.ndim > 1 else turned(m, x),
        lambda: x[..., None, :],
        lambda: front[n // 3 :] if m.kind == "symbolic" or not n else front[n // 3],
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


def order(m: Maker) -> Term | None:
    """Sorted values; of exact ones also their order, and others' values in it."""
    small = m.kind != "large" or m.chance(0.3)
    x = m.pick(lambda t: t.node.dtype != BOOL and t.node.ndim > 0 and small)
    if x is None:
        return None
    v, axis, down = x.node, m.axis(x.node), m.chance(0.5)
    if not x.exact or m.chance(0.5):
        top = m.chance(0.3) and m.kind != "symbolic"
        most = sn.top_k(v, v.shape[axis] // 2, axis, largest=down)[0] if top else None
        return m.same(sn.sort(v, axis, descending=down) if most is None else most, x)
    empty = m.kind == "symbolic" or m.count(v.shape, [axis]) == 0
    if m.chance(0.4) and not empty:
        return m.choice(m.any([sn.argmax, sn.argmin])(v, axis, keepdims=m.chance(0.5)), x)
    indices = m.choice(sn.argsort(v, axis, descending=down), x)
    y = m.pick(lambda t: t.node.shape == v.shape)
    if y is None or m.chance(0.3):
        return indices
    if is_floating(y.node.dtype) and m.chance(0.3):
        node = sn.scatter_add_along_axis(turned(m, y.node), indices.node, y.node, axis)
        taken = m.summed(node, y, 2)
    else:
        taken = m.same(sn.take_along_axis(y.node, indices.node, axis), y)
    return dataclasses.replace(taken, noise=taken.noise + indices.noise)


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
        taken = m.summed(node, x, times) if m.fits_sum(x, times) else taken
    return dataclasses.replace(taken, noise=taken.noise + at.noise)
