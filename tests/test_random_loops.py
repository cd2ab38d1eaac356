"""Random programs of loops, conditions, vmap and derivatives: values and two derivatives.

Against the same programs without any of these, and against JAX; all in float64, to 1e-10. With
-m slow there are 50 beside JAX, two seconds each, and more with RANDOM_LOOPS=2000.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from random_loops import SIZE, Jax, Static, Unrolled, interpret, program

import staticnet as sn

COMPILES = True
SEEDS, CHUNK = int(os.environ.get("RANDOM_LOOPS", "50")), 25
RNG = np.random.default_rng(7)
X, Y, Z = 0.7 * RNG.normal(size=(3, SIZE))
W = 0.5 * RNG.normal(size=(SIZE, SIZE))
TOWARDS = [RNG.normal(size=SIZE), RNG.normal(size=(SIZE, SIZE))]
WEIGHTS = np.linspace(-0.7, 1, SIZE)


def static(tree: Any, library: Static, device: str, numerics: str) -> list[Any]:
    """The loss, its gradients by x and w, and theirs towards a direction, by either mode."""
    by = [sn.placeholder(a.shape, a.dtype, name) for a, name in ((X, "x"), (W, "w"))]
    x, w = by
    loss = sn.sum(interpret(tree, [x, sn.constant(Y), sn.constant(Z)], w, library) * WEIGHTS)
    grads = sn.grad(loss, by, allow_unused=True)
    along = sum(sn.sum(g * t) for g, t in zip(grads, TOWARDS, strict=True))
    outputs = [loss, *grads, *sn.grad(along, by, allow_unused=True)]
    outputs += sn.jvp(grads, by, [sn.constant(t) for t in TOWARDS])
    return list(sn.function(by, outputs, device=device, numerics=numerics)(X, W))


def by_jax(tree: Any) -> list[Any]:
    """The same by JAX."""
    jax = pytest.importorskip("jax", reason="JAX is the oracle")
    with jax.enable_x64(True):
        library = Jax()

        def loss(x: Any, w: Any) -> Any:
            return (interpret(tree, [x, Y, Z], w, library) * WEIGHTS).sum()

        def along(x: Any, w: Any) -> Any:
            grads = jax.grad(loss, (0, 1))(x, w)
            return sum((g * t).sum() for g, t in zip(grads, TOWARDS, strict=True))

        def all_of(x: Any, w: Any) -> Any:
            value, grads = jax.value_and_grad(loss, (0, 1))(x, w)
            return [value, *grads, *jax.grad(along, (0, 1))(x, w)]

        found = [np.asarray(a) for a in jax.jit(all_of)(X, W)]
    return [*found, *found[3:]]


def check(found: Sequence[Any], wanted: Sequence[Any], seed: int) -> None:
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(
            a, b, rtol=1e-10, atol=1e-10 * scale, err_msg=f"{program(seed)}: output {i}"
        )


@pytest.mark.parametrize("seed", range(8))
def test_as_without_loops(seed: int) -> None:
    tree = program(seed)
    wanted = static(tree, Unrolled(), "numpy", "exact")
    check(static(tree, Static(), "numpy", "fast" if seed % 2 else "exact"), wanted, seed)


@pytest.mark.parametrize("seed", [7, 10])
def test_as_jax(seed: int) -> None:
    check(static(program(seed), Static(), "numpy", "fast"), by_jax(program(seed)), seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_many_as_jax(start: int) -> None:
    for seed in range(start, start + CHUNK):
        tree = program(seed)
        wanted = by_jax(tree)
        for device, numerics in (("numpy", "fast"), ("numpy", "exact"), ("cpu", "fast")):
            check(static(tree, Static(), device, numerics), wanted, seed)
