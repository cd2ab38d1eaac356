"""The plan: groups, places in memory, and the text that shows them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import graphs

import staticnet as sn
from staticnet.ir.index import Index, Symbol, linear, split
from staticnet.plan.fusion import Fusion
from staticnet.plan.layouts import matrix_layout
from staticnet.plan.planner import make_plan
from staticnet.plan.reads import read_in_place
from staticnet.plan.roles import shows_all_in_order


def test_memory_is_used_again() -> None:
    x = sn.placeholder((64, 64), name="x")
    y = x
    for _ in range(10):
        y = y @ x
    plan = make_plan(sn.Graph("chain", [x], [y]))
    assert plan.arena_bytes == 2 * 64 * 64 * 4


@given(graphs())
def test_groups_are_in_an_order_that_works(case: tuple[sn.Graph, list[object]]) -> None:
    plan = make_plan(case[0])
    made: set[object] = set()
    for step in plan.steps:
        for group in step.groups:
            reads = plan.traffic(group).reads
            assert all(node in made for node in reads if node in plan.stored)
        made |= plan.stored & set(step.nodes)


def test_softmax_is_one_kernel_and_a_layer_two_steps() -> None:
    x = sn.placeholder((8, 16), name="x")
    groups = [g for g in Fusion(sn.Graph("g", [x], [sn.nn.softmax(x)])).groups if g.nodes]
    assert [group.kind for group in groups] == ["rows"]
    layer = sn.nn.Sequential(sn.nn.Linear(16, 4), sn.nn.ReLU())
    graph = sn.function(x, layer(x), device="numpy").specialize().graph
    assert [g.kind for g in Fusion(graph).groups if g.nodes] == ["matmul", "map"]


def test_text_after_fusion_parses_to_the_optimised_graph() -> None:
    x = sn.placeholder(("b", 3), name="x")
    f = sn.function(x, sn.nn.softmax(x * 2.0), device="numpy")
    text = f.as_text(after="fusion", b=4)
    assert "// kernel 0: rows [4,3]" in text
    assert sn.parse(text) is f.specialize(b=4).graph


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_reshaped_indices_are_the_same_elements(shape: list[int], data: st.DataObject) -> None:
    size = int(np.prod(shape))
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    rows = data.draw(st.sampled_from(divisors))
    symbols = [Symbol(f"i{k}", n) for k, n in enumerate(shape)]
    parts = split(linear([Index.of(s) for s in symbols], shape), (rows, size // rows))
    for at in np.ndindex(*shape):
        values = dict(zip([s.text for s in symbols], map(int, at), strict=True))
        found = tuple(eval(str(part).replace("/", "//"), {}, values) for part in parts)
        assert found == np.unravel_index(np.ravel_multi_index(at, shape), (rows, size // rows))


@pytest.mark.parametrize("shape", [(3, 4, 32), (7, 5), (2, 1, 6, 2)])
def test_what_is_split_and_put_together_lies_where_it_lay(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    x = Index.of(Symbol("x", size))
    assert linear(split(x, shape), shape).is_same(x)
    moved = linear(split(x, shape), shape) * 3 + 5
    assert moved.is_same(x * 3 + 5)
    turned = linear(split(x, shape)[::-1], shape[::-1])
    assert not turned.is_same(x)


def test_a_product_reads_reshapes_and_transposes_where_they_lie() -> None:
    """A linear layer of tokens: its rows are those of a matrix, in the forward pass and back."""
    x, w = sn.placeholder((2, 8, 5), name="x"), sn.variable(np.ones((3, 5), "f"), "w")
    y = x @ sn.matrix_transpose(w)
    f = sn.function(x, [y, *sn.grad(sn.sum(y * y), [x, w])], device="numpy")
    groups = make_plan(f.specialize().graph).launched
    assert [group.kind for _, group in groups].count("matmul") == 3
    assert [group.kind for _, group in groups].count("map") == 1, "the gradient of y * y alone"


def test_places_through_reshapes() -> None:
    x = sn.placeholder((2, 8, 5), name="x")
    rows = sn.reshape(x, (16, 5))
    back = sn.reshape(rows, (4, 4, 5))
    assert all(shows_all_in_order(node) for node in (x, rows, back, sn.reshape(back, -1)))
    turned = sn.reshape(sn.permute_dims(x, (1, 0, 2)), (16, 5))
    assert not shows_all_in_order(turned)
    assert matrix_layout(turned) is None
    below, first, transposed, leading = matrix_layout(sn.matrix_transpose(rows)) or (None,) * 4
    assert (below is x, first, transposed, leading) == (True, Index(), True, 5)
    assert matrix_layout(sn.reshape(x[:, 1:], (14, 5))) is None


def test_a_map_that_writes_a_view_stays_apart_from_rows() -> None:
    """The row's element is looked for where the kernel has its own, and a view has more axes."""
    a, b = sn.placeholder((5, 2, 1), name="a"), sn.placeholder((5, 2, 3), name="b")
    c, d = sn.placeholder((5, 2, 1), name="c"), sn.placeholder((5, 2, 1), name="d")
    same = sn.equal(c, d)
    split = sn.reshape(sn.atan(a), (1, 5, 1, 2, 1, 1))
    wide = sn.broadcast_to(split, (1, 5, 1, 2, 3, 1))
    spread = sn.reshape(wide, (5, 2, 3))
    chosen, kept = sn.where(same, c, spread), sn.where(same, b, 0.0)
    total = sn.sum(kept, 2)
    outputs = [
        same,
        sn.atan(a),
        split,
        wide,
        spread,
        chosen,
        kept,
        total,
        sn.reshape(total, (5, 2, 1)),
    ]
    outputs += [outputs[-1] * c, outputs[-1] * c + d]
    f, wanted = (sn.function([a, b, c, d], outputs, device=where) for where in ("cpu", "numpy"))
    feeds = [np.cos(np.arange(x.type.size, dtype="f4")).reshape(x.shape) for x in (a, b, c, d)]
    for got, right in zip(f(*feeds), wanted(*feeds), strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5)


def test_what_a_sum_of_the_last_loop_reads_is_not_written_over() -> None:
    """It may be summed as a whole behind the loop; what an earlier loop has summed is done with."""
    x = sn.placeholder((4, 8), name="x")
    behind, before = sn.sum(x, 1), sn.exp(x - sn.max(x, 1, keepdims=True))
    for output, wanted in ((behind, set()), (before, {"x"})):
        plan = sn.function([x], output, device="cpu").plan
        (group,) = (group for step in plan.steps for group in step.groups)
        assert group.kind == "rows"
        assert {node.name for node in read_in_place(group, plan.stored)} == wanted


X, G = (sn.placeholder((8, 12), "float64", name) for name in "xg")


def _two() -> tuple[Any, Any]:
    """Values of two kernels of rows, each of which begins at an operand of its own."""
    return X - sn.mean(X, 1, keepdims=True), G / (1 + sn.sum(G * G, 1, keepdims=True))


def _kernels(*outputs: Any) -> list[str]:
    plan = make_plan(sn.Graph("rows", [X, G], list(outputs)))
    return [group.kind for _, group in plan.launched]


def test_kernels_of_the_same_rows_are_one() -> None:
    x, g = _two()
    assert _kernels(x, g) == ["rows"] * 2, "nothing of one is of the other"
    assert _kernels(x * g) == ["rows"]
    assert _kernels(x, g, x * g) == ["rows"]
    assert _kernels(x * sn.sum(g, 1, keepdims=True)) == ["rows"]
    assert _kernels(sn.max(x * sn.max(g, 1, keepdims=True), 1)) == ["rows"]


def test_rows_that_read_each_other_elsewhere_stay_apart() -> None:
    """Mirrored, a row further on, a row's first element for all of it; and with another axis."""
    x, g = _two()
    others: list[Any] = [x * g[:, ::-1], x * sn.flip(g, axis=0), x * g[:, :1]]
    for product in others:
        assert _kernels(product).count("rows") == 2, product
    few = [sn.reshape(y, (4, 2, 12)) for y in (x, g)]
    assert _kernels(*few, sn.sum(few[0] * few[1], (1, 2))).count("rows") == 3
    feeds = [np.cos(np.arange(96.0) + i).reshape(8, 12) for i in (0, 3)]
    made = [sn.function([X, G], others, device=where)(*feeds) for where in ("cpu", "numpy")]
    for got, right in zip(*made, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12)


def test_a_layer_norm_is_one_kernel_with_its_derivatives() -> None:
    """Written out by hand for the first; the second is that one's finite difference."""
    y = sn.nn.functional.layer_norm(X, (12,), eps=0.0)
    (first,) = sn.grad(sn.sum(y * G), X)
    (second,) = sn.grad(sn.sum(first * G), X)
    f = sn.function([X, G], [first, second], device="cpu")
    assert [group.kind for _, group in f.specialize().plan.launched] == ["rows"]
    rng = np.random.default_rng(0)
    x, g, along = (rng.normal(size=(8, 12)) for _ in range(3))

    def by_hand(x: Any) -> Any:
        std = x.std(1, keepdims=True)
        n = (x - x.mean(1, keepdims=True)) / std
        return (g - g.mean(1, keepdims=True) - n * (g * n).mean(1, keepdims=True)) / std

    h = 1e-5
    slope = ((by_hand(x + h * along) - by_hand(x - h * along)) * g).sum() / (2 * h)
    got, bent = f(x, g)
    np.testing.assert_allclose(got, by_hand(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose((bent * along).sum(), slope, rtol=1e-6)
