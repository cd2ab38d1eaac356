"""Ops that hold graphs: what they compute, their text, and what bad input is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.control import trace
from staticnet.errors import StaticnetError, SymbolicValueError
from staticnet.ir.node import topological
from staticnet.ir.verify import verify

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(5, 3)), RNG.normal(size=3)


def inputs(*arrays: Any) -> list[Any]:
    return [
        sn.placeholder(a.shape, a.dtype, f"a{i}") for i, a in enumerate(map(np.asarray, arrays))
    ]


def run(build: Callable[..., Any], *arrays: Any) -> Any:
    """What a program gives on the reference; its text is read back on the way."""
    nodes = inputs(*arrays)
    step = sn.function(nodes, build(*nodes), device="numpy")
    verify(step.graph)
    assert sn.parse(str(step.graph)) is step.graph
    return step(*map(np.asarray, arrays))


def test_scan_carries_and_stacks() -> None:
    def build(x: Any, w: Any) -> Any:
        carry, ys = sn.scan(lambda c, x: (c * w + x, {"b": c, "a": sn.sum(x)}), w, x)
        return [carry, ys["a"], ys["b"]]

    carry, a, b = run(build, X, W)
    want = [W]
    for x in X:
        want.append(want[-1] * W + x)
    np.testing.assert_array_equal(carry, want[-1])
    np.testing.assert_array_equal(b, want[:-1])
    np.testing.assert_allclose(a, X.sum(1), rtol=1e-14)


def test_reverse_scan_stacks_where_the_elements_lie() -> None:
    def build(x: Any) -> Any:
        return list(sn.scan(lambda c, x: (c * 0.5 + x, c), np.zeros(3), x, reverse=True))

    _, ys = run(build, X)
    want = [np.zeros(3)]
    for x in X[::-1]:
        want.append(want[-1] * 0.5 + x)
    np.testing.assert_array_equal(ys, want[-2::-1])


def test_scan_of_nothing() -> None:
    def build(x: Any) -> Any:
        return list(sn.scan(lambda c, x: (c + x, c), np.ones(3), x))

    carry, ys = run(build, X[:0])
    np.testing.assert_array_equal(carry, np.ones(3))
    assert ys.shape == (0, 3)


def test_loops_nest_and_see_outside() -> None:
    def build(x: Any, w: Any) -> Any:
        def outer(c: Any, row: Any) -> Any:
            return sn.scan(lambda d, e: (d + e * c, d), c, sn.stack([row, w]))

        return list(sn.scan(outer, w, x))

    carry, ys = run(build, X, W)
    c, rows = W, []
    for row in X:
        rows.append([c, c + row * c])
        c = c + row * c + W * c
    np.testing.assert_array_equal(carry, c)
    np.testing.assert_array_equal(ys, rows)


def test_a_number_of_python_takes_the_carry_s_dtype() -> None:
    assert (
        run(lambda x: sn.scan(lambda c, x: (c + sn.sum(x), None), 0.0, x)[0], X).dtype == np.float64
    )


@pytest.mark.parametrize("n", [0, 1, 7])
def test_loops_to_a_number_known_late(n: int) -> None:
    def build(n: Any) -> Any:
        total = sn.fori_loop(0, n, lambda i, c: c + i * i, 0)
        i, halved = sn.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] / 2), (0, 1.0))
        return [total, i, halved]

    total, i, halved = run(build, np.int64(n))
    assert (total, i, halved) == (sum(k * k for k in range(n)), n, 0.5**n)


def test_cond_runs_one_branch() -> None:
    def build(p: Any, x: Any) -> Any:
        return sn.cond(p, lambda x: {"y": x * 2}, lambda x: {"y": x - 1}, x)["y"]

    np.testing.assert_array_equal(run(build, np.True_, X), X * 2)
    np.testing.assert_array_equal(run(build, np.False_, X), X - 1)


def test_a_number_of_one_branch_takes_the_dtype_of_the_other() -> None:
    got = run(lambda p, x: sn.cond(p, lambda x: x[0, 0], lambda x: 0.1, x), np.False_, X)
    assert (got.dtype, got) == (np.float64, 0.1)
    assert run(lambda x: sn.scan(lambda c, x: (c + sn.sum(x), None), 0.1, x)[0], X[:0]) == 0.1


def test_map() -> None:
    np.testing.assert_allclose(run(lambda x: sn.map(sn.sum, x), X), X.sum(1), rtol=1e-14)


def test_tensors_of_dynamic_execution_just_run() -> None:
    x = sn.dynamic.tensor(X)
    carry, ys = sn.scan(lambda c, x: (c + x, c * 2), sn.dynamic.tensor(W), x)
    np.testing.assert_allclose(carry.numpy(), W + X.sum(0), rtol=1e-14)
    assert ys.shape == (5, 3)
    _, none = sn.scan(lambda c, x: (c + x, c * 2), sn.dynamic.tensor(W), x[:0])
    assert none.shape == (0, 3)
    assert sn.while_loop(lambda c: c < 9, lambda c: c + 2, sn.dynamic.tensor(0)).item() == 10
    assert sn.cond(sn.dynamic.tensor(W[0]) > 9, lambda: 1, lambda: 2) == 2


def test_functions_that_use_tensors_of_their_own_just_run() -> None:
    a = sn.dynamic.tensor(1.5)
    carry, ys = sn.scan(lambda c, _: (c + a, c), 0.0, length=3)
    assert (carry.item(), ys.numpy().tolist()) == (4.5, [0.0, 1.5, 3.0])
    assert sn.fori_loop(0, 3, lambda i, c: c + a, 0.0).item() == 4.5
    assert sn.while_loop(lambda c: c < 10, lambda c: c + a, 0.0).item() == 10.5
    assert sn.while_loop(lambda c: c < 10, lambda c: c + a, 0.0, max_steps=10**9).item() == 10.5
    assert sn.map(lambda x: x * a, np.arange(3.0)).numpy().tolist() == [0.0, 1.5, 3.0]
    assert sn.vmap(lambda x: x * a)(np.arange(3.0)).numpy().tolist() == [0.0, 1.5, 3.0]
    assert sn.map(lambda x: x * a, np.arange(3.0)).dtype == (a * np.arange(3.0)).dtype
    assert sn.cond(True, lambda: a, lambda: a * 2).item() == 1.5
    with pytest.raises(SymbolicValueError, match="placeholder|until a function runs"):
        sn.scan(lambda c, _: (c + a, None), V[0], length=3)


def test_a_bounded_while_takes_a_number_as_one_without_bounds() -> None:
    def build(a: Any) -> Any:
        return sn.while_loop(lambda c: c < 10, lambda c: c + a, 0, max_steps=5)

    assert run(build, np.float64(1.5)) == 7.5


def test_dropout_draws_anew_at_each_step() -> None:
    drop = sn.nn.Dropout(0.5)
    x = sn.placeholder((8, 16), name="x")
    step = sn.function([x], sn.map(drop, x), device="numpy")
    masks = step(np.ones((8, 16), np.float32)) > 0
    assert len({tuple(mask) for mask in masks}) == 8


def test_a_function_knows_the_modes_inside_its_loops() -> None:
    drop = sn.nn.Dropout(0.5)
    x = sn.placeholder((8, 16), name="x")
    assert "in training" in repr(sn.function([x], sn.map(drop, x), device="numpy"))


def test_a_branch_is_not_computed_outside_though_its_nodes_are_there() -> None:
    def build(x: Any) -> Any:
        sn.sqrt(x)  # the same node as in the branch
        return sn.grad(sn.cond(x > 0, lambda: sn.sqrt(x), lambda: x * 2), [x])

    assert run(build, np.float64(-1.0)) == [2.0]


def test_a_rule_inside_a_body_may_use_what_is_outside() -> None:
    f = sn.custom_vjp(lambda c: c * 3)

    def build(x: Any, k: Any) -> Any:
        f.defvjp(lambda c: (f(c), None), lambda _, g: (g * k,))
        twice = sn.scan(lambda c, e: (f(c) * k + e * k, None), x, np.ones(2))[0]
        once = sn.cond(x > 0, f, lambda c: c, x)
        return [sn.grad(y, [x])[0] for y in (twice, once)]

    assert run(build, np.float64(1.0), np.float64(5.0)) == [625.0, 5.0]


V = sn.placeholder((3,), "float32", "v")
P = sn.placeholder((), "bool", "p")
BAD: list[tuple[str, Callable[[], Any], tuple[str, ...]]] = [
    ("shape", lambda: sn.scan(lambda c, x: (c[None], x), V, V), ("f32[3]", "f32[1,3]", "keep")),
    ("dtype", lambda: sn.scan(lambda c, x: (c > 0, x), V, V), ("f32[3]", "bool[3]", "keep")),
    ("structure", lambda: sn.scan(lambda c, x: ((c, c), x), V, V), ("*", "(*, *)")),
    ("no pair", lambda: sn.scan(lambda c, x: c, V, V), ("(carry, y)",)),
    ("no length", lambda: sn.scan(lambda c, x: (c, x), V), ("length=",)),
    ("negative", lambda: sn.scan(lambda c, x: (c, x), V, length=-1), ("-1",)),
    ("lengths", lambda: sn.scan(lambda c, x: (c, x), V, V, length=4), ("f32[3]", "4")),
    ("no axis", lambda: sn.scan(lambda c, x: (c, x), V, sn.sum(V)), ("f32[]", "axis")),
    ("pred", lambda: sn.cond(V, lambda: V, lambda: V), ("bool scalar", "f32[3]")),
    ("branches", lambda: sn.cond(P, lambda: V, lambda: sn.sum(V)), ("f32[3]", "f32[]")),
    ("trees", lambda: sn.cond(P, lambda: V, lambda: [V]), ("*", "[*]")),
    ("test", lambda: sn.while_loop(lambda c: c, lambda c: c, V), ("bool scalar", "f32[3]")),
    ("carry", lambda: sn.while_loop(lambda c: P, lambda c: c[:2], V), ("f32[3]", "f32[2]")),
    ("map", lambda: sn.map(V, V), ("map", "function", "f32[3]")),
    ("too few", lambda: sn.scan(lambda c: (c, c), V, length=5), ("scan", "2 arguments", "(c)")),
    ("body", lambda: sn.fori_loop(0, 3, lambda c: c, V), ("2 arguments", "(c)")),
    ("two lengths", lambda: sn.scan(lambda c, x: (c, x), V, length=(3, 4)), ("one number",)),
    ("float", lambda: sn.fori_loop(0, 3.0, lambda i, c: c, V), ("integer", "3.0")),
    (
        "bounded test",
        lambda: sn.while_loop(lambda c: c, lambda c: c, V, max_steps=3),
        ("while_loop", "bool scalar"),
    ),
    ("bound", lambda: sn.fori_loop(0, V, lambda i, c: c, V), ("integer", "f32[3]")),
]


@pytest.mark.parametrize(("act", "words"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_bad_input(act: Callable[[], Any], words: tuple[str, ...]) -> None:
    with pytest.raises(StaticnetError) as caught:
        act()
    for word in (*words, "test_control.py"):
        assert word in str(caught.value)


def test_a_branch_computes_nothing_unless_it_is_taken() -> None:
    def build(x: Any, i: Any) -> Any:
        inside = sn.cond(i < 3, lambda: sn.take(x, i) * 2, lambda: sn.constant(0.0, "float64"))
        outside = sn.exp(x)
        return [inside, sn.cond(i < 3, lambda: sn.sum(outside), lambda: sn.sum(sn.tanh(x)))]

    for i in (1, 5):
        value, total = run(build, W, i)
        assert value == (2 * W[i] if i < 3 else 0)
        assert total == pytest.approx(np.exp(W).sum() if i < 3 else np.tanh(W).sum())
    nodes = inputs(W, 1)
    made = build(*nodes)
    outer = {node.op.name for node in sn.Graph("g", nodes, made).nodes}
    assert "exp" in outer
    assert not {"take", "tanh"} & outer


@pytest.mark.parametrize("most", [None, 4])
def test_a_loop_that_never_runs_does_not_fail(most: int | None) -> None:
    def build(x: Any, i: Any, n: Any) -> Any:
        def body(c: Any) -> Any:
            return c[0] + 1, c[1] + sn.take(x, i) + sn.exp(x[0])

        return list(sn.while_loop(lambda c: c[0] < n, body, (0, 0), most))  # 0 is promoted

    assert run(build, W, 5, 0)[1] == 0
    assert run(build, W, 1, 2)[1] == pytest.approx(2 * (W[1] + np.exp(W[0])))
    nodes = inputs(W, 1, 2)
    outer = {node.op.name for node in sn.Graph("g", nodes, build(*nodes)).nodes}
    assert "exp" in outer  # what is the same in each step is computed once
    assert "take" not in outer


def test_a_trace_does_not_walk_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[int] = []

    def counted(*args: Any) -> Any:
        order = topological(*args)
        walked.append(len(order))
        return order

    monkeypatch.setattr(trace, "topological", counted)
    c, x = inputs(0.0, X[0])
    most = []
    for i in range(12):
        k = c * i
        c, _ = sn.scan(lambda c, v, k=k: (c + sn.cond(v > k, lambda: v, lambda: k), None), c, x)
        most.append(max(walked))
        walked.clear()
    assert most[0] == most[-1] > 0
