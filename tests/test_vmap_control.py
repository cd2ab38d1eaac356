"""`sn.vmap` of loops and conditions, against a loop over the examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerance import close

import staticnet as sn
from staticnet.ir.tree import flatten
from staticnet.ir.verify import verify

RNG = np.random.default_rng(11)
N = 4
ROW, OTHER, LIMIT = RNG.normal(size=3), RNG.normal(size=3), np.array(3.0)
ROWS, WEIGHTS = RNG.normal(size=(5, 3)), RNG.uniform(0.5, 1.5, size=(3, 3))
Args = tuple[Any, ...]
CASES: dict[str, tuple[Callable[..., Any], Args]] = {
    "scan": (
        lambda c, xs: sn.scan(lambda c, x: (sn.tanh(c * x), {"y": c + x}), c, xs), (ROW, ROWS)),
    "scan that captures": (
        lambda c, xs, w: sn.scan(lambda c, x: (c @ w, sn.sum(c * x)), c, xs), (ROW, ROWS, WEIGHTS)),
    "reverse scan": (
        lambda c, xs: sn.scan(lambda c, x: (c + x, c), c, xs, reverse=True), (ROW, ROWS)),
    "carries that meet late": (
        lambda a, b, d: sn.scan(lambda c, _: ((c[1], c[2], c[2]), c), (a, b, d), length=4),
        (ROW, OTHER, ROW * 2)),
    "scan of ys alone": (lambda xs, w: sn.scan(lambda _, x: (None, x @ w), None, xs)[1],
                         (ROWS, WEIGHTS)),
    "map": (lambda xs, w: sn.map(lambda x: sn.exp(x * w), xs), (ROWS, ROW)),
    "fori": (lambda c, w: sn.fori_loop(0, 3, lambda i, c: c * w + i, c), (ROW, OTHER)),
    "fori of nodes": (
        lambda n, c: sn.fori_loop(0, sn.astype(n, "int64"), lambda i, c: c * 0.5 + i, c),
        (LIMIT, ROW)),
    "while": (
        lambda c, limit: sn.while_loop(
            lambda c: sn.sum(c[0] ** 2) < limit * 40, lambda c: (c[0] * 1.5, c[1] + 1),
            (c, sn.constant(0))),
        (ROW, LIMIT)),
    "while of a shared test": (
        lambda i, c, w: sn.while_loop(
            lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * w), (i, c))[1],
        (np.array(2), ROW, OTHER)),
    "while that never runs for some": (
        lambda c: sn.while_loop(lambda c: sn.sum(c) > 0, lambda c: c - 1, c), (ROW,)),
    "bounded while": (
        lambda c, limit: sn.while_loop(
            lambda c: sn.sum(c**2) < limit * 9, lambda c: c * 1.5, c, max_steps=6),
        (ROW, LIMIT)),
    "cond": (
        lambda p, x, y: sn.cond(p > 0, lambda x: (sn.exp(x), sn.sum(x)), lambda x: (y, x[0]), x),
        (np.array(0.5), ROW, OTHER)),
    "cond of equal results": (
        lambda p, x: sn.cond(p > 0, lambda: x, lambda: sn.ones(3, "float64")),
        (np.array(0.5), ROW)),
    "nested": (
        lambda c, xs: sn.scan(
            lambda c, x: sn.scan(
                lambda d, y: sn.cond(sn.sum(d) > 0, lambda d: (d * y, d), lambda d: (d - y, x), d),
                c, sn.stack([x, x * 2])),
            c, xs),
        (ROW, ROWS)),
    "while in scan": (
        lambda xs, n: sn.scan(
            lambda c, x: (sn.while_loop(lambda d: sn.sum(d * d) > 1, lambda d: d * 0.5, c + x), c),
            n, xs),
        (ROWS, ROW)),
}  # fmt: skip
FAIL_ELSEWHERE: dict[str, tuple[Callable[..., Any], Args]] = {
    "an index that the loop has left": (
        lambda i, x: sn.while_loop(
            lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] + sn.take(x, c[0])), (i, x[0])),
        (np.array(1), ROW)),
    "a loop that ends where the other ends": (
        lambda i, c: sn.while_loop(
            lambda c: c[0] > 0,
            lambda c: (c[0] - 1, sn.while_loop(lambda d: d % c[0] != 0, lambda d: d + 1, c[1])),
            (i, sn.astype(c[0] * 0, "int64") + 7))[1],
        (np.array(2), ROW)),
    "an index of one branch": (
        lambda i, x: sn.cond(i < 3, lambda: sn.take(x, i), lambda: x[0] * 2),
        (np.array(1), ROW)),
}  # fmt: skip


ALL = CASES | FAIL_ELSEWHERE


def examples(args: Args, batched: tuple[bool, ...]) -> list[Any]:
    rng = np.random.default_rng(2)

    def many(a: Any) -> Any:
        if a.dtype.kind == "i":
            return np.stack([a + i for i in range(N)])
        return a * rng.normal(1, 0.7, (N, *a.shape))

    return [many(a) if own else a for a, own in zip(args, batched, strict=True)]


def build(f: Callable[..., Any], xs: list[Any]) -> list[Any]:
    return flatten(f(*xs))[0]


def check(f: Callable[..., Any], args: Args, batched: tuple[bool, ...], size: int = N) -> None:
    given = [
        a[:size] if own else a for a, own in zip(examples(args, batched), batched, strict=True)
    ]
    one = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(args)]
    all_ = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(given)]
    many = sn.vmap(f, tuple(0 if own else None for own in batched))
    graph = sn.function(all_, build(many, all_), device="numpy")
    verify(graph.graph)
    assert sn.parse(str(graph.graph)) is graph.graph
    alone = sn.function(one, build(f, one), device="numpy")
    got = graph(*given)
    for i in range(size):
        row = [a[i] if own else a for a, own in zip(given, batched, strict=True)]
        for a, b in zip(got, alone(*row), strict=True):
            close(a[i], b, 1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_loop_over_examples(name: str) -> None:
    f, args = ALL[name]
    for batched in itertools.product([True, False], repeat=len(args)):
        if any(batched):
            check(f, args, batched)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [0, 1])
def test_no_examples_and_one(name: str, size: int) -> None:
    f, args = ALL[name]
    check(f, args, (True,) * len(args), size)


SMOOTH = [n for n in CASES if n == "bounded while" or ("while" not in n and n != "fori of nodes")]


def gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient by all arrays of floats of the sum of squares of what f gives."""

    def of(*args: Any) -> Any:
        ys = [y for y in flatten(f(*args))[0] if y.dtype == np.float64]
        loss = sum((sn.sum(y * y) for y in ys), sn.constant(0.0, "float64"))
        wrt = [x for x in args if x.dtype == np.float64]
        return sn.grad(loss, wrt, allow_unused=True)

    return of


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_each_example(name: str) -> None:
    f, args = CASES[name]
    check(gradient(f), args, (True,) * len(args))
    if len(args) > 1:
        check(gradient(f), args, (True,) + (False,) * (len(args) - 1))


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_all_examples(name: str) -> None:
    f, args = CASES[name]
    given = examples(args, (True,) * len(args))
    xs = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(given)]
    one = sn.function(xs, gradient(sn.vmap(f))(*xs), device="numpy")(*given)
    other = sn.function(xs, sn.vmap(gradient(f))(*xs), device="numpy")(*given)
    for a, b in zip(one, other, strict=True):
        close(a, b, 1e-11)


def test_vmaps_nest_around_loops() -> None:
    f = CASES["bounded while"][0]
    x = RNG.normal(size=(2, 3, 3))
    limit = np.array([3.0, 0.5])
    nodes = [sn.placeholder(a.shape, a.dtype, n) for a, n in ((x, "x"), (limit, "limit"))]
    many = sn.vmap(sn.vmap(f, (0, None)))(*nodes)
    got = sn.function(nodes, many, device="numpy")(x, limit)
    one = [sn.placeholder(s, "float64", n) for s, n in (((3,), "x"), ((), "limit"))]
    alone = sn.function(one, f(*one), device="numpy")
    for i, j in itertools.product(range(2), range(3)):
        close(got[i, j], alone(x[i, j], limit[i]), 1e-12)


def test_examples_and_steps_draw_anew() -> None:
    drop = sn.nn.Dropout(0.5)
    many = sn.vmap(lambda x: sn.scan(lambda c, x: (c, drop(x)), None, x)[1])(sn.ones((4, 5, 32)))
    rows = sn.function([], many, device="numpy")().reshape(-1, 32)
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize(
    "name", ["scan", "bounded while", "cond", "while", "an index that the loop has left"]
)
def test_a_symbolic_number_of_examples(name: str) -> None:
    f, args = ALL[name]
    given = examples(args, (True,) * len(args))
    results = []
    for size in ("n", N):
        xs = [sn.placeholder((size, *a.shape), a.dtype, f"x{i}") for i, a in enumerate(args)]
        many = sn.function(xs, flatten(sn.vmap(f)(*xs))[0], device="numpy")
        results.append(many(*given))
    for a, b in zip(*results, strict=True):
        close(a, b, 1e-12)


def test_the_cpu_agrees() -> None:
    """In one program: loops of all examples, masked ones, and gradients through them."""
    inputs: list[Any] = []
    outputs: list[Any] = []
    feeds: list[Any] = []
    for number, name in enumerate(("nested", "bounded while", "while", *FAIL_ELSEWHERE)):
        f, args = ALL[name]
        given = examples(args, (True,) * len(args))
        xs = [sn.placeholder(a.shape, a.dtype, f"c{number}x{i}") for i, a in enumerate(given)]
        outputs += flatten(sn.vmap(f)(*xs))[0]
        outputs += sn.vmap(gradient(f))(*xs) if name in SMOOTH else []
        inputs += xs
        feeds += given
    got, wanted = (sn.function(inputs, outputs, device=d)(*feeds) for d in ("cpu", "numpy"))
    for a, b in zip(got, wanted, strict=True):
        close(a, b, 1e-12)
