"""`memory_limit`: values computed again to save memory, with the same results."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from random_graphs import graphs
from test_plan_memory import check_memory, with_gradients

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.compilation import PIPELINE
from staticnet.errors import ArgumentError, MemoryLimitError
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.passes.manager import Context, run_passes
from staticnet.passes.remat import remat
from staticnet.plan.analysis import analyse_memory, layout_of
from staticnet.plan.planner import make_plan

COMPILES = True
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
on = [pytest.param("cpu", marks=needs_compiler), "numpy"]


def deep(
    device: str, activation: Any = sn.nn.Tanh, batch: Any = 128, layers: int = 12, **options: Any
) -> sn.Function:
    """A training step whose memory is activations: 12 layers of 64, batch 128."""
    sn.manual_seed(0)
    x, y = sn.placeholder((batch, 64), name="x"), sn.placeholder((batch, 64), name="y")
    modules: list[Any] = []
    for _ in range(layers):
        modules += [sn.nn.Linear(64, 64), activation()]
    loss = sn.nn.mse_loss(sn.nn.Sequential(*modules)(x), y)
    updates = sn.optim.SGD(lr=0.1, momentum=0.9).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, **options)


def blocks(device: str, count: int = 6, **options: Any) -> sn.Function:
    """Residual blocks of row normalisation and GELU: no product of matrices."""
    x, y = sn.placeholder((32, 64), name="x"), sn.placeholder((32, 64), name="y")
    h: Any = x
    for i in range(count):
        gain = sn.variable(np.linspace(0.5, 1.5, 64).astype(np.float32), f"gain{i}")
        centred = h - sn.mean(h, -1, keepdims=True)
        scale = sn.rsqrt(sn.mean(centred * centred, -1, keepdims=True) + 1e-5)
        h = h + sn.nn.gelu(centred * scale * gain)
    loss = sn.nn.mse_loss(h, y)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, **options)


def train(step: sn.Function, calls: int = 3) -> list[bytes]:
    """The bits of losses and of the state after some calls."""
    rng = np.random.default_rng(1)
    feeds = [rng.normal(size=node.shape).astype(np.float32) for node in step.graph.inputs]
    bits = [step(*feeds).tobytes() for _ in range(calls)]
    return [*bits, *(v.value.tobytes() for v in step.graph.variables)]  # type: ignore[attr-defined]


def limit_of(plain: sn.Function, share: float) -> int:
    """A limit that leaves a share of the arena: state, feeds and outputs stay as they are."""
    memory = plain.memory_analysis()
    return int(memory.peak - (1 - share) * memory.arena)


def products(graph: sn.Graph) -> int:
    return sum(node.op.name == "matmul" for node in graph.nodes)


def flops(graph: sn.Graph) -> int:
    return int(
        sum(n.op.flops(n.type, *(x.type for x in n.inputs)) for n in graph.nodes if n.inputs)
    )


@pytest.mark.parametrize("device", on)
@pytest.mark.parametrize("activation", [sn.nn.Tanh, sn.nn.GELU])
@pytest.mark.parametrize("share", [0.7, 0.5])
def test_a_limit_is_kept_and_the_bits_too(device: str, activation: Any, share: float) -> None:
    plain = deep(device, activation)
    limit = limit_of(plain, share)
    step = deep(device, activation, memory_limit=limit)
    assert step.memory_analysis().peak <= limit
    assert train(step) == train(plain)
    if device == "cpu":
        executable: Any = step.specialize().executable
        assert executable._arena.nbytes == step.memory_analysis().arena


def test_what_is_cheap_comes_first() -> None:
    """Of a gelu the products are kept, and it is computed again of those."""
    plain = deep("numpy", sn.nn.GELU)
    limit = limit_of(plain, 0.8)
    graph = deep("numpy", sn.nn.GELU, memory_limit=limit).specialize().graph
    before = plain.specialize().graph
    assert products(graph) == products(before)
    assert flops(graph) < 1.01 * flops(before)
    less = deep("numpy", sn.nn.GELU, memory_limit=limit_of(plain, 0.5)).specialize().graph
    assert products(before) < products(less)


@pytest.mark.parametrize("share", [0.8, 0.55])
def test_reductions_are_computed_again(share: float) -> None:
    plain = blocks("numpy")
    limit = int(plain.memory_analysis().peak * share)
    step = blocks("numpy", memory_limit=limit)
    assert step.memory_analysis().peak <= limit
    assert train(step) == train(plain)


@needs_compiler
def test_compiled_kernels_agree_up_to_fused_multiply_adds() -> None:
    limit = int(blocks("numpy").memory_analysis().peak * 0.6)
    rng = np.random.default_rng(1)
    feeds = [rng.normal(size=(32, 64)).astype(np.float32) for _ in range(2)]
    got, wanted = blocks("cpu", memory_limit=limit), blocks("numpy")
    np.testing.assert_allclose(got(*feeds), wanted(*feeds), rtol=1e-5)
    for a, b in zip(got.graph.variables, wanted.graph.variables, strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-5, atol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", on)
def test_random_bits_are_drawn_again_and_are_the_same(device: str) -> None:
    def build(**options: Any) -> sn.Function:
        sn.manual_seed(0)
        x = sn.placeholder((64, 64), name="x")
        h: Any = x
        for _ in range(6):
            h = sn.nn.Dropout(0.5)(sn.tanh(sn.nn.Linear(64, 64)(h)))
        loss = sn.mean(h * h)
        updates = sn.optim.SGD(lr=0.1).minimize(loss)
        return sn.function([x], loss, updates=updates, device=device, **options)

    plain = build()
    step = build(memory_limit=int(plain.memory_analysis().peak * 0.7))
    drawn = [n for n in step.specialize().graph.nodes if n.op.name == "random_bits"]
    assert len(drawn) > sum(n.op.name == "random_bits" for n in plain.specialize().graph.nodes)
    assert train(step) == train(plain)


def test_what_may_fail_runs_once() -> None:
    x, i = sn.placeholder((64, 64), name="x"), sn.placeholder((64,), "int64", "i")
    taken = sn.take(x, i, 0)
    y: Any = taken
    for _ in range(4):
        y = sn.tanh(y @ x)
    f = sn.function([x, i], y * taken, device="numpy")
    with pytest.raises(MemoryLimitError):
        sn.function([x, i], y * taken, device="numpy", memory_limit=f.memory_analysis().peak - 1)


def test_a_limit_that_cannot_be_met() -> None:
    plain = deep("numpy")
    with pytest.raises(MemoryLimitError) as caught:
        deep("numpy", memory_limit=limit_of(plain, 0.1))
    text = str(caught.value)
    found = re.match(
        r"main: needs (\d+) bytes, with all computed again that can be; the limit", text
    )
    assert found
    assert "test_remat.py" in text
    least = int(found[1])
    assert least < limit_of(plain, 0.5)
    assert deep("numpy", memory_limit=least).memory_analysis().peak <= least


def test_the_pass_can_be_left_out() -> None:
    peak = deep("numpy").memory_analysis().peak
    with pytest.raises(MemoryLimitError, match=rf"needs {peak} bytes; the limit is {peak - 1}"):
        deep("numpy", memory_limit=peak - 1, disabled_passes=["remat"])
    assert deep("numpy", memory_limit=peak, disabled_passes=["remat"])


def test_a_limit_and_a_symbolic_batch() -> None:
    limit = deep("numpy", batch="batch").memory_analysis(batch=100).peak
    step = deep("numpy", batch="batch", memory_limit=limit)
    assert step.max_dim("batch", bytes=limit) == 100
    free = step.specialize(batch=100).graph
    again = step.specialize(batch=150).graph
    assert not any(isinstance(node.op, OptimizationBarrier) for node in free.nodes)
    assert any(isinstance(node.op, OptimizationBarrier) for node in again.nodes)
    assert step.memory_analysis(batch=150).peak <= limit
    with pytest.raises(MemoryLimitError, match=r"feed batch <= 100, or raise memory_limit"):
        step.specialize(batch=5000)


def test_the_text_after_remat_is_a_graph() -> None:
    limit = int(deep("numpy", layers=3).memory_analysis().peak * 0.9)
    step = deep("numpy", layers=3, memory_limit=limit)
    text = step.as_text(after="remat")
    assert "optimization_barrier(" in text
    assert sn.parse(text) is step.specialize().graph
    with pytest.raises(ArgumentError, match="'remat' did not run"):
        deep("numpy", layers=3, disabled_passes=["remat"]).as_text(after="remat")


def test_no_pass_merges_what_is_computed_again() -> None:
    limit = int(deep("numpy").memory_analysis().peak * 0.7)
    graph = deep("numpy", memory_limit=limit).specialize().graph
    after, _ = run_passes(graph, PIPELINE)
    count = sum(isinstance(node.op, OptimizationBarrier) for node in graph.nodes)
    assert count == sum(isinstance(node.op, OptimizationBarrier) for node in after.nodes) > 0


def test_copies_run_late_and_apart_from_the_first_time() -> None:
    limit = limit_of(deep("numpy"), 0.5)
    plan = deep("numpy", memory_limit=limit).specialize().plan
    step = {node: i for i, now in enumerate(plan.steps) for node in now.nodes}
    (loss,) = plan.graph.outputs
    for node in plan.graph.nodes:
        behind = [x for x in node.inputs if isinstance(x.op, OptimizationBarrier)]
        if behind and node in step:
            assert step[node] >= step[loss]
            for x in behind:
                (origin,) = x.inputs
                assert origin not in step or step[origin] < step[node]


def test_a_twelve_layer_step_is_fit_by_few_plans() -> None:
    graph = deep("numpy", sn.nn.GELU).specialize().graph
    peak = analyse_memory(make_plan(graph)).peak
    for limit in (int(0.7 * peak), peak // 10):
        plans = []

        def layout(g: sn.Graph, recompute: bool, plans: list[Any] = plans) -> Any:
            plans.append(make_plan(g, recompute=recompute))
            return layout_of(plans[-1])

        remat(graph, Context(memory_limit=limit, layout=layout))
        assert len(plans) < 100  # making them is what takes the time


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(graphs(steps=20))
def test_random_graphs_take_no_more_and_give_the_same_bits(case: tuple[sn.Graph, Any]) -> None:
    graph, feeds = with_gradients(case[0]), case[1]
    note(str(graph))
    peaks = []

    def layout(graph: sn.Graph, recompute: bool = True) -> Any:
        plan = make_plan(graph, recompute=recompute)
        check_memory(plan)
        peaks.append(analyse_memory(plan).peak)
        return layout_of(plan)

    peak = layout(graph).peak
    after = remat(graph, Context(memory_limit=0, layout=layout))
    assert layout(after).peak <= peak
    results = [
        sn.function(g.inputs, [*g.outputs, *(v for _, v in g.updates)], device="numpy",
                    disabled_passes=[p.name for p in PIPELINE])(*feeds)
        for g in (graph, after)
    ]  # fmt: skip
    for a, b in itertools.zip_longest(*results):
        assert a.tobytes() == b.tobytes()
