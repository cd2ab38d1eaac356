"""Derivatives of loops and conditions: against unrolled graphs, finite differences and JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import GradientError
from staticnet.ir.verify import verify

RNG = np.random.default_rng(3)
Program = Callable[..., Any]


def inputs(arrays: Sequence[Any]) -> list[Any]:
    return [sn.placeholder(a.shape, a.dtype, f"a{i}") for i, a in enumerate(arrays)]


def run(nodes: Sequence[Any], outputs: Sequence[Any], arrays: Sequence[Any], **options: Any) -> Any:
    step = sn.function(nodes, list(outputs), device="numpy", **options)
    verify(step.graph)
    assert sn.parse(str(step.graph)) is step.graph
    return step(*arrays)


def gradients(program: Program, *arrays: Any) -> list[Any]:
    """The loss, and its gradients by the floats, in exact numerics."""
    nodes = inputs(arrays)
    loss = program(*nodes)
    by = [x for x in nodes if x.dtype.kind == "f"]
    return list(run(nodes, [loss, *sn.grad(loss, by)], arrays, numerics="exact"))


def differences(program: Program, *arrays: Any) -> list[Any]:
    """Central differences of a loss of float64."""
    nodes = inputs(arrays)
    f = sn.function(nodes, program(*nodes), device="numpy")
    found = []
    for i, array in enumerate(arrays):
        if array.dtype.kind != "f":
            continue
        slope = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            near = [[a.copy() for a in arrays] for _ in range(2)]
            near[0][i][at] += 1e-5
            near[1][i][at] -= 1e-5
            slope[at] = (f(*near[0]) - f(*near[1])) / 2e-5
        found.append(slope)
    return found


def unrolled_scan(f: Any, init: Any, xs: Any, length: Any = None, reverse: bool = False) -> Any:
    """What sn.scan means, as a graph without a loop."""
    steps = range(xs.shape[0] if length is None else length)
    ys = {}
    for t in reversed(steps) if reverse else steps:
        init, ys[t] = f(init, None if xs is None else xs[t])
    return init, sn.stack([ys[t] for t in steps])


Scan = Callable[..., Any]
H, X, W, V = (RNG.normal(size=s) for s in ((2, 3), (4, 2, 3), (3, 3), (3,)))


def rnn(scan: Scan, reverse: bool, ys: bool) -> Program:
    def program(h: Any, x: Any, w: Any, b: Any) -> Any:
        def cell(h: Any, x: Any) -> Any:
            new = sn.tanh(x + h @ w + b)
            return new, new

        last, all_ = scan(cell, h, x, reverse=reverse)
        return sn.sum(all_ * all_) if ys else sn.sum(last)

    return program


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ys", [False, True])
def test_gradients_are_those_of_the_unrolled_graph_to_the_bit(reverse: bool, ys: bool) -> None:
    looped = gradients(rnn(sn.scan, reverse, ys), H, X, W, V)
    plain = gradients(rnn(unrolled_scan, reverse, ys), H, X, W, V)
    for a, b in zip(looped, plain, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_sums_round_as_those_of_the_unrolled_graph(dtype: str) -> None:
    def program(scan: Scan) -> Program:
        def loss(h: Any, x: Any, w: Any) -> Any:
            h, x, w = (sn.astype(a, dtype) for a in (h, x, w))
            last, ys = scan(lambda h, x: (h * w + x * w, h * x), h, x)
            return sn.sum(sn.astype(last, "float64")) + sn.sum(sn.astype(ys, "float64"))

        return loss

    looped, plain = (gradients(program(scan), H, X, V) for scan in (sn.scan, unrolled_scan))
    for a, b in zip(looped, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def nested(h: Any, x: Any, w: Any) -> Any:
    def outer(h: Any, x: Any) -> Any:
        def inner(c: Any, row: Any) -> Any:
            return sn.sin(c * row + w[0]) @ w, c * sn.sum(h)

        c, ys = sn.scan(inner, x[0], h, reverse=True)
        return h + c * 0.3, sn.sum(ys)

    last, ys = sn.scan(outer, h, x)
    return sn.sum(last * last) + sn.sum(ys)


def mixed(h: Any, x: Any, n: Any) -> Any:
    """Carries that are no floats, one without a gradient, and results that nobody reads."""

    def step(carry: Any, row: Any) -> Any:
        c, i, seen, still = carry
        c = sn.where(seen, c * row, c + row / n)
        return (c, i + 1, i > 1, still), (i, c * still, sn.sum(row))

    (c, _, _, _), (_, ys, _) = sn.scan(step, (h, 0, False, h * 2), x)
    return sn.sum(c * c) + sn.sum(ys)


def conditions(h: Any, x: Any, w: Any) -> Any:
    def step(c: Any, row: Any) -> Any:
        c = sn.cond(sn.sum(c) > 0, lambda c, r: c * r, lambda c, r: sn.tanh(c @ w) - 1, c, row)
        return c, c

    last, ys = sn.scan(step, h, x)
    return sn.sum(ys * ys) + sn.sum(last)


def bounded(h: Any, w: Any) -> Any:
    last = sn.while_loop(
        lambda s: sn.sum(s[0]) < 40, lambda s: (s[0] * 1.5 + w, s[1] + 1), (h, 0), max_steps=9
    )
    return sn.sum(last[0] * last[0])


def counted(h: Any, w: Any) -> Any:
    return sn.sum(sn.fori_loop(1, 4, lambda i, c: sn.sin(c @ w) * i, h))


def nothing(h: Any, x: Any, w: Any) -> Any:
    last, ys = sn.scan(lambda c, row: (c @ w + row, c), h, x[:0])
    return sn.sum(last * last) + sn.sum(ys)


PROGRAMS: dict[str, tuple[Program, tuple[Any, ...]]] = {
    "nested": (nested, (H, X, W)),
    "mixed": (mixed, (H, X, np.int64(3))),
    "conditions": (conditions, (H, X, W)),
    "bounded": (bounded, (np.abs(H), np.abs(V))),
    "counted": (counted, (H, W)),
    "nothing": (nothing, (H, X, W)),
}


@pytest.fixture(params=PROGRAMS)
def case(request: pytest.FixtureRequest) -> tuple[Program, tuple[Any, ...]]:
    return PROGRAMS[request.param]


def test_gradients_against_differences(case: tuple[Program, tuple[Any, ...]]) -> None:
    program, arrays = case
    arrays = tuple(map(np.asarray, arrays))
    for a, b in zip(gradients(program, *arrays)[1:], differences(program, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_all_orders_of_forward_and_reverse_agree(case: tuple[Program, tuple[Any, ...]]) -> None:
    """H t as the tangent of a gradient, the gradient of a tangent, and that of <gradient, t>."""
    program, arrays = case
    arrays = tuple(map(np.asarray, arrays))
    nodes = inputs(arrays)
    by = [x for x in nodes if x.dtype.kind == "f"]
    t = [sn.constant(RNG.normal(size=x.shape)) for x in by]
    loss = program(*nodes)
    grads = sn.grad(loss, by)
    tangent = sn.jvp(loss, by, t)[0]
    inner = sum(sn.sum(g * v) for g, v in zip(grads, t, strict=True))
    ways = [
        sn.jvp(grads, by, t),
        sn.grad(tangent, by, allow_unused=True),
        sn.grad(inner, by, allow_unused=True),
    ]
    first, *rest = (run(nodes, [tangent, inner, *way], arrays) for way in ways)
    np.testing.assert_allclose(first[0], first[1], rtol=1e-12)
    for other in rest:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_second_derivatives_against_differences_of_the_first() -> None:
    nodes = inputs((H, X[:2], W))
    squares = sum(sn.sum(g * g) for g in sn.grad(nested(*nodes), nodes))
    found = run(nodes, sn.grad(squares, nodes), (H, X[:2], W))

    def program(*nodes: Any) -> Any:
        return sum(sn.sum(g * g) for g in sn.grad(nested(*nodes), nodes))

    for a, b in zip(found, differences(program, H, X[:2], W), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_while_loops_have_tangents_and_name_max_steps() -> None:
    def program(h: Any, w: Any) -> Any:
        return sn.while_loop(
            lambda s: sn.sum(s[0]) < 40, lambda s: (sn.sin(w) + s[0] * 2, s[1] + 1), (h, 0)
        )[0]

    arrays = np.abs(H), V
    nodes = inputs(arrays)
    y = program(*nodes)
    t = [RNG.normal(size=a.shape) for a in arrays]
    (moved,) = run(nodes, sn.jvp(y, nodes, [sn.constant(a) for a in t]), arrays)
    near = [
        run(nodes, [y], [a + s * b for a, b in zip(arrays, t, strict=True)])[0]
        for s in (1e-6, -1e-6)
    ]
    np.testing.assert_allclose(moved, (near[0] - near[1]) / 2e-6, rtol=1e-6)
    with pytest.raises(GradientError, match="max_steps"):
        sn.grad(sn.sum(y), nodes)


def test_symbolic_lengths_and_dims() -> None:
    x = sn.placeholder(("T", "B", 3), "float64", "x")
    w = sn.placeholder((3, 3), "float64", "w")
    last, ys = sn.scan(lambda h, x: (sn.tanh(h @ w + x), h), sn.zeros(("B", 3), "float64"), x)
    loss = sn.sum(last * last) + sn.sum(ys)
    found = sn.function([x, w], sn.grad(loss, [x, w]), device="numpy")(X, W)
    assert [a.shape for a in found] == [X.shape, W.shape]
    want = differences(_rnn_loss, X, W)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def _rnn_loss(x: Any, w: Any) -> Any:
    last, ys = unrolled_scan(lambda h, x: (sn.tanh(h @ w + x), h), sn.zeros((2, 3), "float64"), x)
    return sn.sum(last * last) + sn.sum(ys)


def test_only_what_is_asked_for_needs_a_derivative() -> None:
    """A loop of unknown length has none, and needs none by values that nobody asks for."""
    c0, xs = sn.placeholder((), "float64", "c0"), sn.placeholder((4,), "float64", "xs")
    p = sn.placeholder((), "bool", "p")

    def doubled(x: Any) -> Any:
        return sn.while_loop(lambda v: v < 10.0, lambda v: v * 2, x)

    results = [
        sn.scan(lambda c, x: (c * doubled(x), None), c0, xs)[0],
        sn.cond(p, lambda c, k: c * doubled(k), lambda c, k: c, c0, xs[0]),
        sn.checkpoint(lambda c, k: c * doubled(k))(c0, xs[0]),
    ]
    gradients = [sn.grad(result, [c0])[0] for result in results]
    step = sn.function([c0, xs, p], gradients, device="numpy")
    found = step(2.0, np.array([1.0, 2.0, 3.0, 4.0]), np.True_)
    assert found == [16.0 * 16.0 * 12.0 * 16.0, 16.0, 16.0]
    for result in results:
        with pytest.raises(
            GradientError, match=r"while_loop.*test_control_derivatives\.py.*max_steps"
        ):
            sn.grad(result, [xs])
