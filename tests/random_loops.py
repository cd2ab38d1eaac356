"""Random programs that nest loops, conditions, vmap and derivatives: a tree, run by two libraries.

`program(seed)` is a tree; `interpret(tree, values, library)` computes it with `Static`, staticnet's
functions on nodes, `Unrolled`, which has no loops, or `Jax`, JAX's on its arrays. Every value is a
vector of `SIZE`, so that trees nest freely; what loops carry is kept within (-1, 1). Nothing is at
a kink or a tie of its own making.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np

import staticnet as sn

SIZE, ROWS = 3, 4
Tree = tuple[Any, ...]
LEAVES = ("var", "var", "var", "number")
NESTED = (
    "scan",
    "scan",
    "fori",
    "while",
    "cond",
    "cond",
    "map",
    "vmap",
    "grad",
    "checkpoint",
    "own",
)


def program(seed: int) -> Tree:
    """The tree of a program of three values."""
    random = Random(seed)
    return _tree(random, 3, random.choice((2, 3)), random.randint(4, 7), top=True)


def _tree(random: Random, known: int, depth: int, budget: int, top: bool = False) -> Tree:
    """A tree of `known` values, with so many levels of nesting and about so many simple ops."""
    if top or (depth > 0 and random.random() < 0.45):
        kind = random.choice(NESTED)
        return _NESTED[kind](random, known, depth - 1, budget, kind)
    if budget <= 0:
        kind = random.choice(LEAVES)
        at = random.randrange(known) if kind == "var" else round(random.uniform(0.3, 1.4), 3)
        return kind, at
    kind = random.choice(tuple(SIMPLE))
    operands = 2 if kind in ("add", "multiply", "subtract", "choose") else 1
    parts = [_tree(random, known, depth, (budget - 1) // operands) for _ in range(operands)]
    return kind, random.randrange(SIZE), *parts


def _scan(random: Random, known: int, depth: int, budget: int, kind: str) -> Tree:
    """A carry, a second one of ints, an x, and a y; xs of 0 to 4 rows."""
    rows = random.choice((0, 1, 2, 3, 4))
    first, source = (_tree(random, known, 0, 1) for _ in range(2))
    inside = known + 2
    bodies = [_tree(random, inside, depth, budget // 2) for _ in range(2)]
    return kind, rows, random.random() < 0.5, random.random() < 0.3, first, source, *bodies


def _loop(random: Random, known: int, depth: int, budget: int, kind: str) -> Tree:
    steps = random.randint(0, 3)
    first = _tree(random, known, 0, 1)
    return kind, steps, first, _tree(random, known + 1, depth, budget // 2)


def _branches(random: Random, known: int, depth: int, budget: int, kind: str) -> Tree:
    test = _tree(random, known, 0, 1)
    bodies = [_tree(random, known, depth, budget // 2) for _ in range(2)]
    return kind, round(random.uniform(-1, 2), 3), test, *bodies


_NESTED: dict[str, Callable[..., Tree]] = {
    "scan": _scan, "fori": _loop, "while": _loop, "map": _loop, "vmap": _loop, "grad": _loop,
    "checkpoint": _loop, "own": _loop, "cond": _branches,
}  # fmt: skip


class Static:
    """staticnet's functions."""

    np = sn
    where = staticmethod(sn.where)

    def scan(self, f: Any, init: Any, xs: Any, reverse: bool) -> Any:
        return sn.scan(f, init, xs, reverse=reverse)

    def fori(self, steps: int, f: Any, init: Any) -> Any:
        return sn.fori_loop(0, steps, lambda i, c: f(sn.astype(i, "float64"), c), init)

    def bounded(self, test: Any, f: Any, init: Any, steps: int) -> Any:
        return sn.while_loop(test, f, init, max_steps=steps)

    def cond(self, pred: Any, then: Any, other: Any, *operands: Any) -> Any:
        return sn.cond(pred, then, other, *operands)

    def grad(self, f: Any, x: Any) -> Any:
        return sn.value_and_grad(f, allow_unused=True)(x)[1]

    def cumsum(self, x: Any) -> Any:
        return sn.cumulative_sum(x)

    map = staticmethod(sn.map)
    vmap = staticmethod(sn.vmap)
    checkpoint = staticmethod(sn.checkpoint)
    custom_vjp, custom_jvp = sn.custom_vjp, sn.custom_jvp


class Unrolled(Static):
    """What staticnet's functions of functions mean, as a graph without any."""

    def scan(self, f: Any, init: Any, xs: Any, reverse: bool) -> Any:
        steps, ys = range(xs.shape[0]), {}
        for t in reversed(steps) if reverse else steps:
            init, ys[t] = f(init, xs[t])
        if not ys:
            return init, (sn.zeros((0, SIZE), "float64"),) * 2
        return init, tuple(sn.stack([ys[t][i] for t in steps]) for i in range(2))

    def fori(self, steps: int, f: Any, init: Any) -> Any:
        for i in range(steps):
            init = f(float(i), init)
        return init

    def bounded(self, test: Any, f: Any, init: Any, steps: int) -> Any:
        for _ in range(steps):
            init = sn.where(test(init), f(init), init)
        return init

    def cond(self, pred: Any, then: Any, other: Any, *operands: Any) -> Any:
        return sn.where(pred, then(*operands), other(*operands))

    def map(self, f: Any, xs: Any) -> Any:  # type: ignore[override]
        rows = [f(xs[i]) for i in range(xs.shape[0])]
        return sn.stack(rows) if rows else sn.zeros((0, SIZE), "float64")

    def vmap(self, f: Any) -> Any:  # type: ignore[override]
        return lambda xs: self.map(f, xs)

    def checkpoint(self, f: Any) -> Any:  # type: ignore[override]
        return f


class Jax:
    """JAX's."""

    def __init__(self) -> None:
        import jax

        self.jax, self.np = jax, jax.numpy
        self.where, self.cond = jax.numpy.where, jax.lax.cond
        self.map, self.vmap, self.checkpoint = jax.lax.map, jax.vmap, jax.checkpoint
        self.cumsum = jax.numpy.cumsum
        self.custom_vjp, self.custom_jvp = jax.custom_vjp, jax.custom_jvp

    def scan(self, f: Any, init: Any, xs: Any, reverse: bool) -> Any:
        return self.jax.lax.scan(f, init, xs, reverse=reverse)

    def fori(self, steps: int, f: Any, init: Any) -> Any:
        at = self.np.arange(steps)
        return self.scan(lambda c, i: (f(i.astype(float), c), None), init, at, False)[0]

    def bounded(self, test: Any, f: Any, init: Any, steps: int) -> Any:
        def step(c: Any, _: Any) -> Any:
            return self.cond(test(c), f, lambda same: same, c), None

        return self.jax.lax.scan(step, init, None, length=steps)[0]

    def grad(self, f: Any, x: Any) -> Any:
        return self.jax.grad(f)(x)


def interpret(tree: Tree, values: Sequence[Any], weights: Any, library: Any) -> Any:
    """The vector that a tree makes of vectors, with the matrix `weights`."""
    kind, *rest = tree
    if kind == "var":
        return values[rest[0]]
    if kind == "number":
        return values[0] * 0 + rest[0]
    if kind in SIMPLE:
        number, *parts = rest
        made = [interpret(part, values, weights, library) for part in parts]
        return SIMPLE[kind](library, weights, number, *made)
    return _Inside(values, weights, library).run(kind, rest)


# from a library, the matrix, a number below SIZE and one or two vectors
SIMPLE: dict[str, Callable[..., Any]] = {
    "sin": lambda lib, w, k, x: lib.np.sin(x),
    "tanh": lambda lib, w, k, x: lib.np.tanh(x),
    "bump": lambda lib, w, k, x: lib.np.exp(-x * x),
    "add": lambda lib, w, k, x, y: x + y,
    "subtract": lambda lib, w, k, x, y: x - y,
    "multiply": lambda lib, w, k, x, y: x * y,
    "choose": lambda lib, w, k, x, y: lib.where(x > 0.37, x, y * 0.7),
    "row": lambda lib, w, k, x: x @ w,
    "column": lambda lib, w, k, x: (w @ x) * 0.5,
    "outer": lambda lib, w, k, x: (x[:, None] * w[k]) @ x,
    "total": lambda lib, w, k, x: lib.np.sum(x) * x,
    "mean": lambda lib, w, k, x: lib.np.mean(x * x) + x * 0,
    "at": lambda lib, w, k, x: x[k] + x,
    "flip": lambda lib, w, k, x: lib.np.flip(x) * x,
    "sums": lambda lib, w, k, x: lib.cumsum(x),
    "soft": lambda lib, w, k, x: x - lib.np.log(lib.np.sum(lib.np.exp(x))),
    "gathered": lambda lib, w, k, x: lib.np.take(x, np.asarray([k, 0, k]), axis=0),
    "powers": lambda lib, w, k, x: lib.np.prod(1 + x * x * 0.1) * x,
}


class _Inside:
    """Functions of functions on the values that are known around them."""

    def __init__(self, values: Sequence[Any], weights: Any, library: Any) -> None:
        self.values, self.weights, self.library = list(values), weights, library

    def run(self, kind: str, rest: list[Any]) -> Any:
        """The vector that one of `NESTED` makes."""
        if kind == "scan":
            return self._scan(*rest)
        if kind == "cond":
            return self._cond(*rest)
        steps, first, body = rest
        return getattr(self, f"_{kind}")(steps, self._of(first), partial(self._of, body))

    def _of(self, tree: Tree, *more: Any) -> Any:
        return interpret(tree, [*self.values, *more], self.weights, self.library)

    def _kept(self, tree: Tree, *more: Any) -> Any:
        return self.library.np.sin(self._of(tree, *more))

    def _rows(self, x: Any, count: int) -> Any:
        scale = np.linspace(0.5, 1.3, count).reshape(-1, 1) if count else np.zeros((0, 1))
        return x * scale + scale

    def _scan(
        self, rows: int, reverse: bool, counts: bool, first: Tree, source: Tree, carried: Tree,
        given: Tree,
    ) -> Any:  # fmt: skip
        xp = self.library.np

        def step(carry: Any, x: Any) -> Any:
            c, n = carry["c"], carry.get("n")
            x = x if n is None else x * (n % 2 + 1)
            new = {"c": self._kept(carried, c, x)}
            return new | ({} if n is None else {"n": n + 1}), (self._of(given, c, x), x)

        init = {"c": self._of(first)} | ({"n": 3} if counts else {})
        xs = self._rows(self._of(source), rows)
        carry, (ys, _) = self.library.scan(step, init, xs, reverse)
        return carry["c"] + xp.sum(xp.sin(ys), axis=0)

    def _cond(self, bound: float, test: Tree, then: Tree, other: Tree) -> Any:
        x = self._of(test)
        return self.library.cond(
            self.library.np.sum(x) < bound,
            lambda x: self._of(then) * x,
            lambda x: self._of(other) + x,
            x,
        )

    def _fori(self, steps: int, x: Any, body: Any) -> Any:
        sin = self.library.np.sin
        return self.library.fori(steps, lambda i, c: sin(body(c) + i * 0.1), x)

    def _while(self, steps: int, x: Any, body: Any) -> Any:
        xp = self.library.np
        return self.library.bounded(
            lambda c: xp.sum(c * c) < 1.9, lambda c: xp.sin(body(c)) + 0.2, x, steps + 1
        )

    def _map(self, steps: int, x: Any, body: Any) -> Any:
        return self.library.np.sum(self.library.map(body, self._rows(x, steps)), axis=0)

    def _vmap(self, steps: int, x: Any, body: Any) -> Any:
        xp = self.library.np
        return xp.sum(self.library.vmap(body)(self._rows(x, steps + 1)), axis=0)

    def _grad(self, steps: int, x: Any, body: Any) -> Any:
        xp = self.library.np
        return self.library.grad(lambda v: xp.sum(xp.sin(body(v)) * v), x)

    def _checkpoint(self, steps: int, x: Any, body: Any) -> Any:
        return self.library.checkpoint(body)(x)

    def _own(self, steps: int, x: Any, body: Any) -> Any:
        """A function that brings its derivative: the right one, for JAX drops rules in scans.

        Where it takes a scan apart for reverse mode, it differentiates the function itself again.
        """
        xp = self.library.np

        def f(v: Any) -> Any:
            return xp.sin(v) * v

        def slope(v: Any) -> Any:
            return xp.cos(v) * v + xp.sin(v)

        if steps % 2:
            own = self.library.custom_vjp(f)
            own.defvjp(lambda v: (own(v), v), lambda v, g: (g * slope(v),))
        else:
            own = self.library.custom_jvp(f)
            own.defjvp(lambda v, t: (own(v[0]), slope(v[0]) * t[0]))
        return body(own(x))
