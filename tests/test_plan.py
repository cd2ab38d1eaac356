"""The plan: groups, places in memory, and the text that shows them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import graphs

import staticnet as sn
from staticnet.ir.index import Index, Symbol, linear, split
from staticnet.plan.fusion import Fusion
from staticnet.plan.plan import make_plan


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
