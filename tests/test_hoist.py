"""`hoist`: what is left inside loops, and that fast numerics stay near to exact ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from test_control_derivatives import PROGRAMS, RNG, inputs
from test_merge_loops import loops

import staticnet as sn
from staticnet.backends.cpu import CpuBackend
from staticnet.ir.verify import verify
from staticnet.passes.hoist import hoist
from staticnet.passes.manager import Context


def products(graph: sn.Graph) -> Counter[str]:
    """Products outside of loops, and those of each body by what the loop carries."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        found["outside"] += node.op.name == "matmul"
        for held in node.op.graphs.values():
            found["inside"] += sum(products(held).values())
    return +found


def hoisted(step: sn.Function) -> sn.Graph:
    """The graph after the pass, which leaves nothing to do."""
    after = sn.parse(step.as_text(after="hoist"))
    verify(after)
    assert hoist(after, Context(numerics=step.numerics)) is after
    return after


def lstm(
    batch: int, hidden: int, features: int = 5, turned: bool = False
) -> tuple[list[Any], list[Any], list[Any]]:
    """Arrays, nodes, and the loss and gradients of an LSTM with a projection of its ys.

    Weights that are `turned` have rows for gates, as PyTorch's.
    """
    weights = [(n, 4 * hidden)[:: -1 if turned else 1] for n in (features, hidden)]
    shapes = [(7, batch, features), *weights, (4 * hidden,)]
    arrays = [RNG.normal(size=s) for s in (*shapes, (batch, hidden), (batch, hidden), (hidden, 3))]
    nodes = inputs(arrays)
    x, w, u, b, h, c, v = nodes
    sigmoid = sn.nn.functional.sigmoid

    def cell(state: Any, x: Any) -> Any:
        h, c = state
        z = x @ w.mT + h @ u.mT if turned else x @ w + h @ u
        i, f, g, o = sn.split(z + b, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * sn.tanh(g)
        h = sigmoid(o) * sn.tanh(c)
        return (h, c), h @ v

    (last, _), ys = sn.scan(cell, (h, c), x)
    loss = sn.sum(ys * ys) + sn.sum(last)
    return arrays, nodes, [loss, *sn.grad(loss, nodes)]


@pytest.mark.parametrize(("batch", "turned"), [(1, False), (4, False), (16, False), (4, True)])
def test_an_lstm_makes_one_product_a_step_there_and_one_back(batch: int, turned: bool) -> None:
    arrays, nodes, outputs = lstm(batch, 6, turned=turned)
    fast, exact = (
        sn.function(nodes, outputs, device="numpy", numerics=numerics)
        for numerics in ("fast", "exact")
    )
    after = hoisted(fast)
    assert loops(after) == {"scan": 2}
    # x @ w, h @ v and its gradients by h and v, dz @ w.T, and the gradients by w and u
    assert products(after) == {"inside": 2, "outside": 7}
    for a, b in zip(fast(*arrays), exact(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_weight_is_cast_once_for_all_steps(precision: str) -> None:
    """There and back; it is a cast of what the loops read, and no product's operand at a step."""
    w, h, x = sn.variable(np.eye(8, dtype="f")), sn.placeholder((4, 8)), sn.placeholder((5, 4, 8))
    last, _ = sn.scan(lambda c, row: (sn.tanh(c @ w + row), None), h, x)
    loss = sn.mean(last * last)
    step = sn.function([h, x], loss, sn.optim.SGD(lr=0.1).minimize(loss), precision=precision)
    after = sn.parse(step.as_text(after="precision"))
    bodies = [node.op.graphs["body"] for node in after.nodes if node.op.name == "scan"]
    assert bodies
    for body in bodies:
        assert {str(v.dtype) for v in body.inputs if v.shape == (8, 8)} == {precision}


@pytest.mark.parametrize("bias", [True, False])
def test_a_gru_carries_no_sums_back(bias: bool) -> None:
    """Its hidden bias' gradient is of a part of what is stacked for the weights'."""
    x = sn.placeholder((4, 3, 5), name="x")
    layer = sn.nn.GRU(5, 8, seed=1, bias=bias)
    loss = sn.mean(sn.square(layer(x)[0]))
    slopes = sn.grad(loss, list(layer.parameters()))
    fast, exact = (
        sn.function(x, slopes, device="numpy", numerics=numerics) for numerics in ("fast", "exact")
    )
    carries = [node.op.carries for node in hoisted(fast).nodes if node.op.name == "scan"]
    assert carries == [1, 1]
    feed = RNG.normal(size=(4, 3, 5)).astype("f")
    for a, b in zip(fast(feed), exact(feed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_exact_numerics_keep_products_where_they_are() -> None:
    _, nodes, outputs = lstm(4, 6)
    exact = sn.function(nodes, outputs, device="numpy", numerics="exact")
    assert products(hoisted(exact))["inside"] == 9


def test_a_sum_far_smaller_than_its_factors_stays_inside() -> None:
    x = RNG.normal(size=(5, 200, 2))
    (node,) = nodes = inputs([x])
    total, _ = sn.scan(lambda c, x: (c + sn.sin(x).T @ sn.cos(x), None), np.zeros((2, 2)), node)
    step = sn.function(nodes, total, device="numpy")
    assert loops(hoisted(step)) == {"scan": 1}
    np.testing.assert_allclose(step(x), sum(np.sin(a).T @ np.cos(a) for a in x), rtol=1e-12)


def test_a_column_with_a_row_stays_inside() -> None:
    x, w = RNG.normal(size=(5, 3, 1)), RNG.normal(size=(1, 50))
    nodes = inputs([x, w])
    y, _ = sn.scan(lambda c, x: (sn.sin(c * (x @ nodes[1])), None), np.ones((3, 50)), nodes[0])
    assert products(hoisted(sn.function(nodes, y, device="numpy"))) == {"inside": 1}


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_a_sum_of_whole_numbers_is_not_that_of_products(dtype: str) -> None:
    """What is rounded toward zero at each step stays there; what only gets more digits does not."""
    x = RNG.normal(size=(6, 3, 4)).astype("f")
    (node,) = nodes = inputs([x])
    start = np.zeros((4, 4), dtype)
    total, _ = sn.scan(lambda c, x: (c + sn.astype(x.T @ sn.sin(x), dtype), None), start, node)
    step = sn.function(nodes, total, device="numpy")
    assert products(hoisted(step)) == {"inside" if dtype == "int32" else "outside": 1}
    wanted = sum((a.T @ np.sin(a)).astype(dtype) for a in x)
    np.testing.assert_allclose(step(x), wanted, rtol=1e-5, atol=1e-6)


def test_loops_of_sums_vanish() -> None:
    x = RNG.normal(size=(5, 3, 2))
    (node,) = nodes = inputs([x])
    total, _ = sn.scan(lambda c, x: (c + sn.sum(x) + x[0, 0], None), np.float64(1), node)
    step = sn.function(nodes, total, device="numpy")
    assert loops(hoisted(step)) == {}
    np.testing.assert_allclose(step(x), 1 + x.sum() + x[:, 0, 0].sum(), rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
def test_a_carry_that_no_later_carry_needs_is_stacked_for_products(
    reverse: bool, stacked: bool
) -> None:
    """What the step before was given: the products are of all steps at once, and of its rows."""
    x, w = RNG.normal(size=(5, 3, 4)), RNG.normal(size=(4, 4))
    rows, v = nodes = inputs([x, w])

    def step(before: Any, row: Any) -> Any:
        y = sn.tanh(before @ v) + row
        return sn.sin(row), (y, before) if stacked else (y,)

    last, ys = sn.scan(step, rows[0], rows, reverse=reverse)
    made = sn.function(nodes, [last, *ys, *sn.grad(sn.sum(ys[0] ** 2), nodes)], device="numpy")
    assert products(sn.parse(made.as_text(after="hoist")))["inside"] == 0
    exact = sn.function(nodes, made.graph.outputs, device="numpy", numerics="exact")
    for found, wanted in zip(made(x, w), exact(x, w), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    order = x[::-1] if reverse else x
    befores = np.stack([x[0], *np.sin(order[:-1])])
    wanted_ys = np.tanh(befores @ w) + order
    np.testing.assert_allclose(made(x, w)[1], wanted_ys[::-1] if reverse else wanted_ys)


def test_what_may_fail_is_not_computed_for_a_loop_that_makes_no_step() -> None:
    table, at = np.arange(4.0), np.int64(9)
    t, i = inputs([table, at])
    n, total = sn.sum(i) * 0, sn.sum(t)
    y = sn.while_loop(
        lambda c: c[0] < n,
        lambda c: (c[0] + 1, sn.fori_loop(0, n, lambda k, d: d + sn.take(t, i + k * 0), c[1])),
        (0, total),
    )
    step = sn.function([t, i], y[1], device="numpy")
    np.testing.assert_array_equal(step(table, at), 6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_in_fast_numerics(name: str) -> None:
    program, arrays = PROGRAMS[name]
    arrays = tuple(map(np.asarray, arrays))
    nodes = inputs(arrays)
    by = [x for x in nodes if x.dtype.kind == "f"]
    grads = sn.grad(program(*nodes), by)
    outputs = [*grads, *sn.jvp(grads, by, by)]
    fast, exact = (
        sn.function(nodes, outputs, device="numpy", numerics=numerics)
        for numerics in ("fast", "exact")
    )
    hoisted(fast)
    for a, b in zip(fast(*arrays), exact(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def blocks(graph: sn.Graph) -> Counter[str]:
    """Loops in loops, and the products beside them in the outer one."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        for held in node.op.graphs.values():
            inner = [x for x in held.nodes if x.op.graphs]
            found["loops"] += len(inner)
            if inner:
                found["products"] += sum(x.op.name == "matmul" for x in held.nodes)
    return +found


def long_recurrence(length: int, reverse: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """Arrays, nodes, and the results and gradients of a recurrence of so many steps."""
    arrays = [RNG.normal(size=s) / 2 for s in ((length, 3, 4), (4, 5), (5, 5), (3, 5))]
    nodes = inputs(arrays)
    x, w, u, h = nodes
    last, ys = sn.scan(lambda h, x: (sn.tanh(x @ w + h @ u), h), h, x, reverse=reverse)
    return arrays, nodes, [last, ys, *sn.grad(sn.sum(ys * ys) + sn.sum(last), nodes)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("length", "loops_in_loops"),
    [(24, {"loops": 2, "products": 4}), (23, {}), (4, {})],
    ids=["blocks", "prime", "short"],
)
def test_long_loops_are_taken_in_blocks(
    monkeypatch: pytest.MonkeyPatch, length: int, reverse: bool, loops_in_loops: dict[str, int]
) -> None:
    monkeypatch.setattr(CpuBackend, "loop_cache", 256)  # a row of [3, 5] has 120 bytes
    monkeypatch.setattr("staticnet.passes.loop_blocks._LEAST", 2)
    arrays, nodes, outputs = long_recurrence(length, reverse)
    step = sn.function(nodes, outputs, device="cpu")
    after = sn.parse(step.as_text(after="hoist"))
    verify(after)
    assert hoist(after, Context(loop_cache=256)) is after
    assert blocks(after) == loops_in_loops
    exact = sn.function(nodes, outputs, device="numpy", numerics="exact")
    for a, b in zip(step(*arrays), exact(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
