"""The arena: the order of groups, what is written over what, and where blocks lie."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs

import staticnet as sn
from staticnet.ir.node import Node
from staticnet.plan.dependence import Dependences
from staticnet.plan.fusion import Fusion, Group
from staticnet.plan.memory import ALIGNMENT, Lifetime, arrange, most_alive, stack
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan
from staticnet.plan.schedule import Step, Values, peak, schedule

steady = settings(max_examples=80, deadline=None)


def with_gradients(graph: sn.Graph) -> sn.Graph:
    """The graph's outputs and the gradients of their squares' sum, and an update from each."""
    loss = sum((sn.sum(y * y) for y in graph.outputs), sn.constant(0.0, "float64"))
    grads = sn.grad(loss, graph.inputs, allow_unused=True)
    variables = [sn.variable(np.ones(x.shape), f"w_{x.name}") for x in graph.inputs]
    updates = tuple((w, w * 0.9 - g) for w, g in zip(variables, grads, strict=True))
    return sn.Graph("gradients", graph.inputs, [*graph.outputs, *grads], updates)


def overlap(a: Lifetime, b: Lifetime) -> bool:
    return a.offset < b.offset + b.size and b.offset < a.offset + a.size


blocks = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 9), st.integers(0, 9)), max_size=30
).map(lambda rows: [Lifetime(size, min(a, b), max(a, b)) for size, a, b in rows])


@given(blocks)
def test_live_blocks_never_overlap(drawn: list[Lifetime]) -> None:
    arena = stack(arrange(drawn))
    assert arena >= most_alive(drawn)
    for i, block in enumerate(drawn):
        assert block.offset % ALIGNMENT == 0
        assert block.offset + block.size <= arena
        assert not any(block.meets(other) and overlap(block, other) for other in drawn[:i])


@given(blocks)
def test_the_fullest_step_is_what_counting_says(drawn: list[Lifetime]) -> None:
    steps = [sum(b.padded for b in drawn if b.first <= s <= b.last) for s in range(10)]
    assert most_alive(drawn) == max(steps)


@given(blocks, st.integers(1, 7))
def test_an_arrangement_holds_for_other_sizes(drawn: list[Lifetime], factor: int) -> None:
    """A plan with symbolic dims is arranged once, and its sizes come later."""
    order = arrange(drawn)
    for i, block in enumerate(order):
        block.size = block.size * factor + i
    arena = stack(order)
    for a, b in itertools.combinations(order, 2):
        assert not (a.meets(b) and overlap(a, b))
    assert max((b.offset + b.size for b in order), default=0) <= arena


def check_memory(plan: Plan) -> None:
    """No two values needed together share bytes, but a value and what it is written over."""
    end = len(plan.steps)
    step = {node: i for i, now in enumerate(plan.steps) for node in now.nodes}
    readers: dict[Node, list[int]] = {}
    for i, now in enumerate(plan.steps):
        for group in now.groups:
            for node in plan.traffic(group).reads:
                readers.setdefault(node, []).append(i)
    copied = {node for node, _ in plan.last_copies}
    nothing = any(0 in group.domain for _, group in plan.launched)  # which reads nothing
    for node, block in plan.blocks.items():
        uses = readers.get(node, []) + [end] * (node in copied)
        assert block.first == step[node]
        latest = max(uses, default=block.first)
        assert block.last == latest or (nothing and block.last > latest)
    for (a, first), (b, second) in itertools.combinations(plan.blocks.items(), 2):
        if first.meets(second) and overlap(first, second):
            assert b in plan.over or a in plan.over
            value, other = (b, a) if plan.over.get(b) is a else (a, b)
            assert plan.over[value] is other
            assert plan.blocks[other].last == plan.blocks[value].first == step[value]
            assert first.offset == second.offset
            assert first.size == second.size
            beside = plan.steps[step[value]].groups
            writer = plan.fusion.group_of[value]
            assert not any(other in plan.traffic(g).reads for g in beside if g is not writer)
    for block in plan.saved.values():
        assert not any(overlap(block, other) for other in plan.blocks.values())
    used = [*plan.blocks.values(), *plan.saved.values()]
    assert all(block.offset + block.size <= plan.arena_bytes for block in used)


@steady
@given(graphs(steps=20))
def test_what_is_needed_together_lies_apart(case: tuple[sn.Graph, list[Any]]) -> None:
    check_memory(make_plan(case[0]))
    check_memory(make_plan(with_gradients(case[0])))
    check_memory(make_plan(with_gradients(case[0]), fuse=False))


@steady
@given(graphs(steps=20))
def test_steps_run_after_what_they_wait_for(case: tuple[sn.Graph, list[Any]]) -> None:
    plan = make_plan(with_gradients(case[0]))
    order = plan.fusion.order
    groups = [group for _, group in plan.launched]
    again = {node for group in groups for node in group.again}
    for group in plan.fusion.groups:  # what is not launched is computed again by all who read it
        assert group in groups or not group.nodes or again.intersection(group.nodes)
    launch = {group: i for i, group in plan.launched}
    for a, b in itertools.permutations(groups, 2):
        assert not order.waits(a.number, b.number) or launch[b] < launch[a]
    assert all(len(step.groups) == 1 or all(g.fused for g in step.groups) for step in plan.steps)


def chain(
    sizes: list[tuple[int, list[int]]], routines: Collection[int] = ()
) -> tuple[list[Group], Dependences, Values]:
    """Groups that each make a value of so many bytes from the values of earlier ones."""
    order = Dependences()
    x = sn.placeholder((), name="x")
    nodes = [x + float(i) for i in range(len(sizes))]
    groups = [Group(order.add(), (), [n], fused=i not in routines) for i, n in enumerate(nodes)]
    for group, (_, needs) in zip(groups, sizes, strict=True):
        order.require(group.number, needs)
    reads = {g: [nodes[i] for i in needs] for g, (_, needs) in zip(groups, sizes, strict=True)}
    size = {node: bytes_ for node, (bytes_, _) in zip(nodes, sizes, strict=True)}
    return groups, order, Values(size, {g: [n] for g, n in zip(groups, nodes, strict=True)}, reads)


def test_what_frees_memory_runs_first() -> None:
    """Two large values, each reduced to a small one: by number both would be alive together."""
    groups, order, values = chain([(1000, []), (1000, []), (10, [0]), (10, [1]), (1, [2, 3])])
    steps = schedule(groups, order, values)
    assert [g.number for step in steps for g in step.groups] == [0, 2, 1, 3, 4]
    assert peak(steps, values) == 1020
    assert peak([Step((group,)) for group in groups], values) == 2010


def test_kernels_run_side_by_side_where_that_needs_no_more_memory() -> None:
    groups, order, values = chain([(1000, []), (10, [0]), (10, [0]), (1, [1, 2])])
    assert [len(step.groups) for step in schedule(groups, order, values)] == [1, 2, 1]
    groups, order, values = chain([(500, []), (500, []), (1, [0]), (1, [1])])
    assert [len(step.groups) for step in schedule(groups, order, values)] == [1, 1, 1, 1]


def test_kernels_wait_for_others_while_no_routine_needs_them() -> None:
    """A sum of columns, which reads what a product then reads too, runs beside the next kernel."""
    sizes = [(5000, []), (1000, [0]), (10, [1]), (1000, [1]), (10, [3])]
    groups, order, values = chain(sizes, routines=(0, 1, 3))
    steps = schedule(groups, order, values)
    assert [[g.number for g in step.groups] for step in steps] == [[0], [1], [3], [2, 4]]
    groups, order, values = chain([*sizes[:3], (1000, [1, 2]), (10, [3])], routines=(0, 1, 3))
    assert len(schedule(groups, order, values)) == 5, "the product needs it"
    small = [(10, []), *sizes[1:]]
    groups, order, values = chain(small, routines=(0, 1, 3))
    assert len(schedule(groups, order, values)) == 5, "what it reads would be alive with more"


@st.composite
def dependences(draw: Any) -> tuple[list[Group], Dependences, Values]:
    count = draw(st.integers(1, 10))
    needs = [draw(st.lists(st.integers(0, i - 1), unique=True)) if i else [] for i in range(count)]
    routines = draw(st.sets(st.integers(0, count - 1)))
    return chain([(draw(st.integers(0, 100)), earlier) for earlier in needs], routines)


@given(dependences())
def test_no_peak_is_above_that_of_running_by_number(
    case: tuple[list[Group], Dependences, Values],
) -> None:
    groups, order, values = case
    steps = schedule(groups, order, values)
    done: set[int] = set()
    for step in steps:
        for group in step.groups:
            above = order.waits_for(group.number)
            assert not above & ~sum(1 << number for number in done)
        done |= {group.number for group in step.groups}
    assert done == {group.number for group in groups}
    assert peak(steps, values) <= peak([Step((group,)) for group in groups], values)


def test_a_map_writes_over_what_it_alone_reads() -> None:
    x = sn.placeholder((8, 8), name="x")
    product = x @ x
    plan = make_plan(sn.Graph("g", [x], [sn.tanh(product) @ x]))
    assert plan.arena_bytes == 256
    assert [plan.over[node] for node in plan.over] == [product]
    kept = make_plan(sn.Graph("g", [x], [sn.tanh(product) @ product]))
    assert kept.arena_bytes == 512
    assert not kept.over


@pytest.mark.parametrize(
    "move",
    [
        lambda y: sn.permute_dims(y, (1, 0)) * 2.0,
        lambda y: sn.flip(y, 0) + y,
        lambda y: sn.roll(y, 1, 0),
        lambda y: sn.max(y - y[:, :1], 1, keepdims=True) + y,
        lambda y: sn.take(y, np.array([1, 0] * 4), 0),
    ],
)
def test_elements_read_elsewhere_are_not_written_over(move: Any) -> None:
    x = sn.placeholder((8, 8), name="x")
    plan = make_plan(sn.Graph("g", [x], [move(x @ x) @ x]))
    product = next(group.nodes[0] for _, group in plan.launched if not group.fused)
    assert product not in plan.over.values()


@pytest.mark.parametrize(
    "rows",
    [
        lambda y: y - sn.max(y, 1, keepdims=True),
        lambda y: sn.nn.softmax(y) - sn.take_along_axis(y, np.full((8, 1), 3), 1),
    ],
)
def test_the_last_loop_over_a_row_writes_over_what_it_reads(rows: Any) -> None:
    x = sn.placeholder((8, 8), name="x")
    plan = make_plan(sn.Graph("g", [x], [rows(x @ x) @ x]))
    product = next(group.nodes[0] for _, group in plan.launched if not group.fused)
    assert product in plan.over.values()
    assert plan.arena_bytes == 256


def test_a_row_is_not_written_over_before_its_last_loop() -> None:
    x = sn.placeholder((8, 8), name="x")
    y = x @ x
    powers = sn.exp(y - sn.max(y, 1, keepdims=True))
    plan = make_plan(sn.Graph("g", [x], [powers @ x, sn.sum(powers * y, 1)]))
    product = next(group.nodes[0] for _, group in plan.launched if not group.fused)
    assert product in plan.over.values()
    late = sn.max(y - sn.sum(powers, 1, keepdims=True), 1)
    plan = make_plan(sn.Graph("g", [x], [powers @ x, late]))
    product = next(group.nodes[0] for _, group in plan.launched if not group.fused)
    assert product not in plan.over.values()


def test_the_order_of_three_thousand_groups_takes_few_calls() -> None:
    x = sn.placeholder((8, 8), name="x")
    made = [x]
    for _ in range(1000):
        made.append(made[-1] @ x)
    y = made.pop()
    for z in reversed(made):
        y = (y * z) @ x
    fusion = Fusion(sn.Graph("deep", [x], [y]))
    groups = [group for group in fusion.groups if group.nodes]
    assert len(groups) == 3000
    reads: dict[Group, list[Node]] = {}
    for group in groups:
        below = {n for node in group.nodes for n in node.inputs if n in fusion.group_of}
        reads[group] = sorted(below - set(group.nodes), key=lambda n: fusion.group_of[n].number)
    values = Values(dict.fromkeys(fusion.group_of, 256), {g: [g.nodes[-1]] for g in groups}, reads)
    calls = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        steps = schedule(groups, fusion.order, values)
    finally:
        sys.setprofile(None)
    assert calls < 1000 * len(groups)  # 400 a group, however many there are
    assert peak(steps, values) < 1003 * 256


@pytest.mark.parametrize("links", [5_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_a_long_chain_is_planned(links: int) -> None:
    x = sn.placeholder((4,), name="x")
    y = x
    for _ in range(links):
        y = sn.tanh(y) + 1.0
    plan = make_plan(sn.Graph("long", [x], [y]))
    assert plan.arena_bytes == 64  # each kernel writes over what the one before it made
