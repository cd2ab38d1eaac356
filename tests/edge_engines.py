"""Values and the first two derivatives of a case, on each device and in each other library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from edges import POINTS, Array, Case

import staticnet as sn
from staticnet.ir.dtype import is_floating

Results = list[tuple[int, Array]]  # the order of the derivative, and its values


def weights(z: Any) -> Any:
    """What sums a result to a scalar: along rows not evenly, or softmax would have no slope."""
    return np.arange(1.0, z.shape[1] + 1) if len(z.shape) == 2 else np.float64(1)


def derive(
    f: Callable[..., Any], xs: Sequence[Any], sum_of: Callable[[Any], Any],
    grad: Callable[[Any, Any], Any], smooth: Callable[[Any], bool], depth: int,
) -> list[tuple[int, Any]]:  # fmt: skip
    """y, dy/dx of each x, and of each pair the second derivatives."""
    y = f(*xs)
    found = [(0, y)]
    if depth == 0 or not smooth(y):
        return found
    firsts = [grad(sum_of(y), x) for x in xs]
    found += [(1, g) for g in firsts]
    if depth == 2:
        found += [(2, grad(sum_of(g), x)) for i, g in enumerate(firsts) for x in xs[i:]]
    return found


def _sum(y: Any) -> Any:
    w = weights(y)
    return sn.sum(y * sn.constant(w.astype(y.dtype)) if w.ndim else y)


def graph_of(case: Case, xs: Sequence[Any], depth: int) -> list[tuple[int, Any]]:
    """The nodes of a case."""

    def grad(y: Any, x: Any) -> Any:
        return sn.grad(y, [x], allow_unused=True)[0]

    return derive(case.ours, xs, _sum, grad, lambda y: is_floating(y.dtype), depth)


def function_of(cases: Sequence[Case], dtype: str, depth: int, device: str) -> Any:
    """One function of the cases of one table of points. -> it, feeds, orders of its outputs"""
    feeds = POINTS[cases[0].points](dtype)
    xs = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(feeds)]
    made = [graph_of(case, xs, depth) for case in cases]
    f = sn.function(xs, [y for case in made for _, y in case], device=device, numerics="exact")
    return f, feeds, [[order for order, _ in case] for case in made]


def split(orders: list[list[int]], flat: Sequence[Array]) -> list[Results]:
    """Outputs by case."""
    values = iter(flat)
    return [[(order, next(values)) for order in case] for case in orders]


def on_device(cases: Sequence[Case], dtype: str, device: str, depth: int = 2) -> list[Results]:
    f, feeds, orders = function_of(cases, dtype, depth, device)
    return split(orders, f(*feeds))


def dynamically(case: Case, dtype: str) -> Results:
    xs = [sn.dynamic.tensor(x, requires_grad=True) for x in POINTS[case.points](dtype)]

    def grad(y: Any, x: Any) -> Any:
        zero = sn.dynamic.tensor(np.zeros_like(x.data))
        if not y.requires_grad:
            return zero
        return sn.dynamic.grad(y, [x], create_graph=True, allow_unused=True)[0]

    def weighted(y: Any) -> Any:
        w = weights(y)
        return sn.sum(y * w.astype(y.dtype) if w.ndim else y)

    found = derive(case.ours, xs, weighted, grad, lambda y: is_floating(y.dtype), 2)
    return [(order, np.asarray(y.data)) for order, y in found]


def in_torch(torch: Any, case: Case, dtype: str) -> Results:
    assert case.torch is not None
    given = [torch.tensor(x) for x in POINTS[case.points](dtype)]
    xs = [x.requires_grad_() for x in given]
    fixed = case.points in ("targets", "logits")  # derivatives by targets are not asked for

    def grad(y: Any, x: Any) -> Any:
        g = None
        if y.requires_grad and not (fixed and x is xs[1]):
            (g,) = torch.autograd.grad(y, x, create_graph=True, allow_unused=True)
        return torch.zeros_like(x) if g is None else g

    def weighted(y: Any) -> Any:
        w = weights(y)
        return (y * torch.tensor(w).to(y.dtype) if w.ndim else y).sum()

    def smooth(y: Any) -> bool:
        return bool(y.dtype.is_floating_point)

    f = case.torch
    found = derive(lambda *a: f(torch, *a), xs, weighted, grad, smooth, 2)
    return [(order, y.detach().numpy(force=True)) for order, y in found]


def in_jax(jax: Any, case: Case, dtype: str) -> Results:
    assert case.jax is not None
    xs = [jax.numpy.asarray(x) for x in POINTS[case.points](dtype)]
    f = case.jax

    def total(y: Any) -> Any:
        return (y * weights(y).astype(y.dtype)).sum()

    y = f(jax, *xs)
    found: list[tuple[int, Any]] = [(0, y)]
    if jax.numpy.issubdtype(y.dtype, jax.numpy.floating):
        places = range(len(xs))
        firsts = [jax.grad(lambda *a: total(f(jax, *a)), i) for i in places]
        found += [(1, g(*xs)) for g in firsts]
        for i in places:
            for j in places[i:]:
                found.append((2, jax.grad(lambda *a, g=firsts[i]: total(g(*a)), j)(*xs)))
    return [(order, np.asarray(y)) for order, y in found]


def disagree(ours: Array, theirs: Array, order: int, signs: bool, loose: float) -> Any:
    """At which points two results differ: in NaN, infinities, value, and in zeros' `signs`."""
    a, b = ours, theirs
    if a.dtype.kind != "f":
        bad = a != b
    else:
        with np.errstate(all="ignore"):
            far = np.abs(a.astype(np.float64) - b.astype(np.float64))
            scale = np.maximum(np.abs(a), np.abs(b)).astype(np.float64)
            least = loose / 10 if order or not signs else 8 * np.finfo(a.dtype).smallest_subnormal
            close = np.isfinite(far) & (far <= loose * scale + least) | (a == b)
        bad = ~(np.isnan(a) & np.isnan(b)) & ~close
        bad |= signs & (order == 0) & (a == 0) & (np.signbit(a) != np.signbit(b))
    return bad.any(1) if bad.ndim == 2 else bad
