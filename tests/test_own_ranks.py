"""Ops of a user's own over ranks: operands that broadcast, examples, no elements, unknown dims.

Values are those of the NumPy functions on each example, derivatives those of finite differences.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from own_rank_ops import NORMS, fused, on_host, polar, row_norm, two

import staticnet as sn
from staticnet.errors import ShapeError

COMPILES = True
SHAPES = [(), (3,), (2, 3), (4, 1, 3), (2, 1, 2, 3)]
PAIRS = [*itertools.product(SHAPES, SHAPES), ((1,), (3,)), ((2, 1), (1, 3)), ((0, 3), (3,)),
         ((2, 0), ()), ((0,), (4, 1, 1))]  # fmt: skip
RNG = np.random.default_rng(0)
SLOW = ("one by one", "by both")


def slope(f: Any, arrays: Any, i: int, weights: Any) -> Any:
    """The gradient of sum(weights * f) by the i-th array, by central differences in float64."""
    found = np.zeros_like(arrays[i])
    for at in np.ndindex(found.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [a.copy() for a in arrays]
            moved[i][at] += step
            ends.append((f(*moved) * weights).sum())
        found[at] = (ends[0] - ends[1]) / 2e-6
    return found


@pytest.mark.parametrize(
    ("op", "device"),
    [
        (fused, "cpu"),
        (on_host, "numpy"),
        pytest.param(fused, "numpy", marks=pytest.mark.slow),
        pytest.param(on_host, "cpu", marks=pytest.mark.slow),
    ],
)
def test_operands_that_broadcast(op: Any, device: str) -> None:
    feeds = [[RNG.normal(size=s) for s in pair] for pair in PAIRS]
    xs = [
        [sn.placeholder(a.shape, "float64", f"x{k}_{i}") for i, a in enumerate(pair)]
        for k, pair in enumerate(feeds)
    ]
    outputs: list[Any] = []
    for a, b in xs:
        y = op(a, b)
        ones = [sn.ones(x.shape, "float64") for x in (a, b)]
        outputs += [y, *sn.grad(sn.sum(y * y), [a, b]), *sn.jvp(y, [a, b], ones)]
    flat = [x for pair in xs for x in pair]
    got = iter(sn.function(flat, outputs, device=device)(*[a for pair in feeds for a in pair]))
    for a, b in feeds:
        y = a * np.tanh(b)
        np.testing.assert_allclose(next(got), y, rtol=1e-12)
        for i in range(2):
            wanted = slope(lambda p, q: p * np.tanh(q), [a, b], i, 2 * y)
            np.testing.assert_allclose(next(got), wanted, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(next(got), np.tanh(b) + a / np.cosh(b) ** 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        pytest.param(name, device, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in NORMS
        for device in ("numpy", "cpu")
    ],
)
def test_rules_of_one_example(name: str, device: str) -> None:
    """Square shapes, where a rule that meets the axes of examples would give a wrong number."""
    op, shapes = NORMS[name], [(3,), (3, 3), (2, 3, 3), (1, 3), (0, 3)]
    feeds = [RNG.normal(size=s) for s in shapes]
    xs = [sn.placeholder(s, "float64", f"x{k}") for k, s in enumerate(shapes)]
    outputs = []
    for x in xs:
        f: Any = op
        for _ in range(x.ndim - 1):
            f = sn.vmap(f)
        y = f(x)
        loss = sn.sum(y * y * y)
        (g,) = sn.grad(loss, x)
        outputs += [y, g, *sn.jvp(y, x, x), *sn.grad(sn.sum(g * g), x, allow_unused=True)]
    got = iter(sn.function(xs, outputs, device=device)(*feeds))
    for a in feeds:
        r = row_norm(a)
        np.testing.assert_allclose(next(got), r, rtol=1e-12)
        np.testing.assert_allclose(next(got), 3 * r[..., None] * a, rtol=1e-12)  # of r ** 3
        np.testing.assert_allclose(next(got), r, rtol=1e-12)  # the norm is homogeneous
        np.testing.assert_allclose(next(got), 36 * (r**2)[..., None] * a, rtol=1e-12)  # of 9 r ** 4


def test_several_results_of_each_example() -> None:
    a, b = RNG.normal(size=(2, 3, 3))
    x, y = sn.placeholder((3, 3), "float64", "x"), sn.placeholder((3, 3), "float64", "y")
    both = sn.vmap(two)(x, y)
    shared = sn.vmap(two, in_axes=(0, None))(x, y[0])
    wrt: list[Any] = [x, y]
    outputs = [*both, *sn.grad(sn.sum(both[0] * both[1]), wrt), *shared]
    outputs += sn.grad(sn.sum(shared[1] * shared[1]), wrt)
    got = sn.function(wrt, outputs, device="numpy")(a, b)
    r, s = polar(a, b)
    np.testing.assert_allclose(got[:2], [r, s])
    for i in range(2):
        wanted = slope(lambda p, q: np.prod(polar(p, q), 0), [a, b], i, np.ones(3))
        np.testing.assert_allclose(got[2 + i], wanted, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(got[4:6], polar(a, b[0]))
    for i in range(2):
        wanted = slope(lambda p, q: polar(p, q[0])[1] ** 2, [a, b], i, np.ones(3))
        np.testing.assert_allclose(got[6 + i], wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("device", ["cpu", pytest.param("numpy", marks=pytest.mark.slow)])
def test_unknown_numbers_of_examples(device: str) -> None:
    x = sn.placeholder(("n", 3), "float64", "x")
    outputs: list[Any] = []
    for op in NORMS.values():
        y = sn.vmap(op)(x)
        outputs += [y, *sn.grad(sn.sum(y * y), x)]
    outputs += [on_host(x, x[0]), *sn.grad(sn.sum(fused(x, x[0])), x)]
    f = sn.function(x, outputs, device=device)
    for n in (3, 5, 1):
        a = RNG.normal(size=(n, 3))
        got = f(a)
        for i in range(len(NORMS)):
            np.testing.assert_allclose(got[2 * i], row_norm(a), rtol=1e-12)
            np.testing.assert_allclose(got[2 * i + 1], 2 * a, rtol=1e-12)
        np.testing.assert_allclose(got[-2], a * np.tanh(a[0]), rtol=1e-12)
        wanted = slope(lambda p: p * np.tanh(p[0]), [a], 0, np.ones((n, 3)))
        np.testing.assert_allclose(got[-1], wanted, rtol=1e-6, atol=1e-7)


def test_text_and_tensors() -> None:
    x = sn.placeholder((3, 3), "float64", "x")
    y = sn.vmap(NORMS["at once"])(x)
    graph = sn.Graph("main", [x], [y])
    assert "row_norm_all_of_examples(%x, example_axes=1)" in str(graph)
    assert sn.parse(str(graph)) is graph
    a = RNG.normal(size=(3, 3))
    t = sn.dynamic.tensor(a, requires_grad=True)
    z = sn.checkpoint(sn.vmap(NORMS["at once"]))(t)
    sn.sum(z * z).backward()
    np.testing.assert_allclose(np.asarray(t.grad), 2 * a, rtol=1e-12)


def test_operands_that_do_not_broadcast() -> None:
    for op in (on_host, fused):
        with pytest.raises(
            ShapeError, match=r"times_tanh.*do not broadcast: .*: x f32\[3\] with y"
        ):
            op(sn.placeholder((3,), name="x"), sn.placeholder((2,), name="y"))
