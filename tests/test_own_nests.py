"""Ops of a user's own in loops, choices, vmap and derivatives nested in each other.

Against the same programs of staticnet's functions: values, first and second derivatives, to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from own_rank_ops import NORMS, fused, on_host

import staticnet as sn

COMPILES = True
pytestmark = pytest.mark.slow
X = sn.placeholder((3, 3), "float64", "x")
A = np.random.default_rng(0).normal(size=(3, 3))
Program = Callable[[Any], Any]


def programs(norm: Any, times: Any) -> list[Program]:
    """`norm` is of a row, `times` an elementwise function of two."""
    return [
        lambda x: sn.scan(lambda c, r: (times(c, r), norm(r) * c), x[0], x),
        lambda x: sn.scan(
            lambda c, r: (times(c, r) + norm(c), sn.vmap(lambda e: e * norm(r))(r)), x[0], x
        ),
        lambda x: sn.vmap(lambda r: sn.scan(lambda c, e: (times(c, e) + norm(r), c * e), r[0], r))(
            x
        ),
        lambda x: sn.vmap(
            lambda r: sn.cond(norm(r) > 1.7, lambda: r * norm(r), lambda: times(r, r))
        )(x),
        lambda x: sn.checkpoint(lambda y: sn.vmap(norm)(times(y, y[0])))(x),
        lambda x: sn.map(lambda r: times(r, norm(r)), x),
        lambda x: sn.vmap(lambda r: sn.grad(lambda q: norm(times(q, r)))(r))(x),
        lambda x: sn.vmap(lambda r: sn.vmap(lambda q: times(norm(r + q), q))(x))(x),
        lambda x: sn.jacobian(lambda r: times(r, norm(r)))(x[0]),
        lambda x: sn.hessian(lambda r: norm(r) * norm(times(r, r)))(x[0]),
        lambda x: sn.while_loop(
            lambda c: norm(c) > 0.5, lambda c: times(c, c) * 0.5, x[0], max_steps=6
        ),
        lambda x: sn.vmap(lambda r, q: times(r, norm(q)), in_axes=(1, None))(x, x[1]),
        lambda x: sn.fori_loop(0, 3, lambda i, c: times(c, x[0]) + norm(c), x[1]),
    ]


def outputs(norm: Any, times: Any) -> list[Any]:
    """Of each program its values, its gradient, and that one's derivatives both ways."""
    found: list[Any] = []
    for program in programs(norm, times):
        made = program(X)
        ys = list(made) if isinstance(made, tuple) else [made]
        (g,) = sn.grad(sum(sn.sum(y * y) for y in ys), X)
        towards = sn.cos(X)
        found += [*ys, g, *sn.grad(sn.sum(g * towards), X), *sn.jvp([g], [X], [towards])]
    return found


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize(
    ("name", "times"), list(zip(NORMS, (on_host, fused, on_host, fused), strict=True))
)
def test_as_of_functions_that_are_there(name: str, times: Any, device: str) -> None:
    there = outputs(lambda x: sn.sqrt(sn.sum(x * x)), lambda a, b: a * sn.tanh(b))
    wanted = sn.function(X, there, device="numpy")(A)
    got = sn.function(X, outputs(NORMS[name], times), device=device)(A)
    for y, want in zip(got, wanted, strict=True):
        np.testing.assert_allclose(y, want, rtol=1e-9, atol=1e-9)
