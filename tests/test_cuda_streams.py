"""Commands side by side: what each touches, who waits for whom, where it pays; on the fake GPU."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from fake_gpu import Gpu
from gpu_cases import GOLDEN, STEPS, golden_graph, lower
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs

import staticnet as sn
from staticnet.backends.cuda.commands import BoundProduct
from staticnet.codegen.commands import ALIGNMENT
from staticnet.codegen.cuda import streams
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.cuda.spans import Span, dependences, spans_of
from staticnet.codegen.cuda.streams import Cost, Rates, fastest
from staticnet.codegen.launches import CudaProgram, Lane
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan

pytestmark = pytest.mark.usefixtures("launch_by_launch")
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
FORKING = Rates(multiprocessors=10**9, wait=0.0)  # nothing fills this GPU, and waits are free


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate finds that whatever may run side by side should."""
    monkeypatch.setattr(streams, "RATES", FORKING)
    monkeypatch.setattr(streams, "LEAST_GAIN", 1e-9)


def over_when_each_begins(lanes: tuple[Lane, ...]) -> list[set[int]]:
    """For each command those that it surely comes after: streams' order and waits, closed."""
    over: list[set[int]] = []
    for number, lane in enumerate(lanes):
        assert all(i < number and lanes[i].stream != lane.stream for i in lane.waits)
        before = [i for i in range(number) if lanes[i].stream == lane.stream]
        over.append(set().union(*(over[i] | {i} for i in (*before[-1:], *lane.waits))))
    return over


def meet(a: Span, b: Span) -> bool:
    """Whether both touch a byte that one of them writes."""
    overlap = a.start < b.end and b.start < a.end
    return a.memory == b.memory and (a.written or b.written) and overlap


def check_order(plan: Plan) -> CudaProgram:
    """Of two commands that share bytes which one writes, the later waits for the earlier."""
    program = write_cuda_program(plan)
    if program.waits_for_host:  # what comes next is decided as it goes
        assert program.streams == 1
        return program
    spans = spans_of(plan, program)
    over = over_when_each_begins(program.lanes)
    for (i, first), (j, then) in itertools.combinations(enumerate(spans), 2):
        if any(meet(a, b) for a in first for b in then):
            assert i in over[j], f"{j} does not wait for {i}\n{program}"
    assert 1 <= program.streams <= streams.MOST_STREAMS
    return program


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_order_of_golden_graphs(file: Path, forking: None) -> None:
    f, _, dims = golden_graph(file)
    check_order(make_plan(lower(f, **dims)))


@pytest.mark.parametrize("name", STEPS)
def test_order_of_training_steps(name: str, forking: None) -> None:
    program = check_order(make_plan(lower(STEPS[name]()[0])))
    assert program.streams > 1 or name in ("softmax", "layer_norm", "embedding", "playground")


@given(st.tuples(*(graphs(dtype="float32", steps=20, prefix=f"g{i}_") for i in range(2))))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_order_of_random_graphs(cases: tuple[Any, ...]) -> None:
    inputs = [x for graph, _ in cases for x in graph.inputs]
    outputs = [y for graph, _ in cases for y in graph.outputs]
    note(str(sn.Graph("random", inputs, outputs)))
    f = sn.function(inputs, outputs, device="numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "RATES", FORKING)
        patch.setattr(streams, "LEAST_GAIN", 1e-9)
        check_order(make_plan(lower(f)))


class Watched(Machine):
    """A machine that shows and sets the bytes of its memory, of which the arena is one piece."""

    def begin(self, feeds: list[Any]) -> None:
        self.memory = self._memory(feeds, [v.value for v in self.graph.variables])

    def bytes(self) -> dict[Any, Any]:
        return {key: guarded.bytes.copy() for key, guarded in self.memory.items()}

    def put(self, found: dict[Any, Any]) -> None:
        for key, array in found.items():
            self.memory[key].bytes[...] = array

    def step(self, number: int) -> None:
        self._run(self.program.launches[number], self.memory, False)


def inside(spans: list[Span], memory: dict[Any, Any], written: bool) -> dict[Any, Any]:
    """For each byte whether a span, or one that is written, has it."""
    masks = {key: np.zeros(len(array), bool) for key, array in memory.items()}
    for span in spans:
        if span.written or not written:
            masks[span.memory][span.start : span.end] = True
    return masks


@needs_shim
@pytest.mark.parametrize("name", STEPS)
def test_spans_are_all_that_a_command_touches(name: str, tmp_path: Path) -> None:
    """It changes what its spans say it writes, and does so whatever lies outside them."""
    f, feeds = STEPS[name]()
    machine = Watched(lower(f), tmp_path, arena=True)
    machine.begin(feeds)
    for number, spans in enumerate(spans_of(machine.plan, machine.program)):
        before = machine.bytes()
        machine.step(number)
        after = machine.bytes()
        touched, written = (inside(spans, before, only) for only in (False, True))
        machine.put({k: np.where(touched[k], x, 0xA5).astype(np.uint8) for k, x in before.items()})
        machine.step(number)
        for key, again in machine.bytes().items():
            assert np.all(written[key] | (before[key] == after[key])), (number, key)
            assert np.all(touched[key] | (again == 0xA5)), (number, key)
            np.testing.assert_array_equal(again[written[key]], after[key][written[key]])
        machine.put(after)


@needs_shim
@pytest.mark.parametrize("name", ["mlp", "attention", "mlp_bfloat16", "embedding"])
def test_any_order_that_the_lanes_allow_gives_the_same_bits(
    name: str, tmp_path: Path, forking: None
) -> None:
    f, feeds = STEPS[name]()
    machine = Watched(lower(f), tmp_path, arena=True)
    over = over_when_each_begins(machine.program.lanes)
    results = []
    for seed in range(6):
        machine.begin(feeds)
        chance, left, order = random.Random(seed), list(range(len(over))), list[int]()
        while left:
            free = [i for i in left if over[i] <= set(order)] if seed else left[:1]
            order.append(chance.choice(free))
            left.remove(order[-1])
            machine.step(order[-1])
        assert seed == 0 or len(over) < 4 or machine.program.streams > 1 or name == "embedding"
        found = machine.bytes()
        results.append([found[k].tobytes() for k in sorted(found) if k[0] in ("output", "state")])
    assert all(result == results[0] for result in results)


@needs_shim
@pytest.mark.parametrize("name", ["mlp", "attention", "embedding"])
def test_forked_steps_on_the_fake_gpu(name: str, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Branches run in random order there; the bits are those of one stream."""
    f, feeds = STEPS[name]()
    graph = f.graph
    start = [v.value for v in graph.variables]
    curves = []
    for rates in (Rates(wait=1.0), FORKING):
        monkeypatch.setattr(streams, "RATES", rates)
        monkeypatch.setattr(streams, "LEAST_GAIN", 1e-9)
        for variable, value in zip(graph.variables, start, strict=True):
            variable.value = value
        step = sn.function(graph.inputs, graph.outputs, dict(graph.updates), device="cuda")
        losses = [step(*feeds)[0].get().tobytes() for _ in range(6)]
        curves.append((losses, [v.value.tobytes() for v in graph.variables]))
        assert (step.specialize().executable.program.streams > 1) == (rates is FORKING)
    assert len(set(curves[0][0])) == 6
    assert curves[0] == curves[1]


@needs_shim
def test_many_steps_and_feeds_in_place_fork_too(gpu: Gpu, forking: None) -> None:
    x = sn.placeholder((512, 600), name="x")
    w, v = (sn.variable(np.eye(600, dtype="f") * k, name) for k, name in ((1, "w"), (2, "v")))
    step = sn.function(x, [x @ w, x @ v], updates={w: w + 1e-9, v: v * 0.5}, device="cuda")
    assert step.specialize().executable.program.streams > 1
    feed = np.random.default_rng(0).normal(size=(512, 600)).astype("f")
    there = gpu.cupy.ndarray((512, 600), "f", feed)
    for i in range(4):
        y, z = step(there)
        np.testing.assert_allclose(y.get(), feed, atol=1e-4)
        np.testing.assert_allclose(z.get(), feed * 2 / 2**i, atol=1e-4)
    more = step.run(3, np.concatenate([feed] * 3), batch_size=512)
    np.testing.assert_allclose(more[1].get()[2], feed / 2**5, atol=1e-4)


def three_products() -> Any:
    """A function of products that do not depend on each other."""
    x = sn.placeholder((64, 64), name="x")
    ws = [sn.variable(np.ones((64, 64), "f"), f"w{i}") for i in range(3)]
    return sn.function(x, [x @ w for w in ws], device="cuda")


@needs_shim
@pytest.mark.parametrize("workspaces", [(0, 1000), (1000, 0), (1, 0, 0), (0, 0, 3), (0,), (257, 1)])
def test_workspaces_are_aligned_even_where_none_is_needed(
    gpu: Gpu, forking: None, workspaces: tuple[int, ...]
) -> None:
    """The library refuses an address that is not aligned, of a workspace of no bytes, too."""
    gpu.blas.workspaces = itertools.cycle(workspaces)
    step = three_products()
    feed = np.random.default_rng(0).normal(size=(64, 64)).astype("f")
    for _ in range(3):
        for y in step(feed):
            np.testing.assert_allclose(y.get(), feed @ np.ones((64, 64), "f"), rtol=1e-4, atol=1e-4)
    made = step.specialize().executable
    products = [c for c in made.commands if isinstance(c, BoundProduct)]
    assert len(products) == 3
    assert all(c.workspace % ALIGNMENT == 0 for c in products)


@needs_shim
def test_products_of_different_streams_have_workspaces_of_their_own(
    gpu: Gpu, forking: None
) -> None:
    gpu.blas.workspaces = itertools.repeat(1000)
    made = three_products().specialize().executable
    found = [
        (made.program.lanes[i].stream, c.workspace)
        for i, c in enumerate(made.commands)
        if isinstance(c, BoundProduct)
    ]
    assert len({stream for stream, _ in found}) == len(set(found)) == len(dict(found)) > 1
    places = sorted({place for _, place in found})
    assert len(places) == len(dict(found))
    assert all(b - a >= 1000 for a, b in itertools.pairwise(places))
    assert places[-1] + 1000 - places[0] == made.workspace_bytes


def costs(*pairs: tuple[float, float]) -> list[Cost]:
    return [Cost(seconds, fill) for seconds, fill in pairs]


DIAMOND = [frozenset[int](), frozenset({0}), frozenset({0}), frozenset({1, 2})]
RATES = Rates(wait=1.0)


def test_it_forks_what_leaves_room_and_lasts() -> None:
    found = fastest(DIAMOND, costs((5, 0.1), (10, 0.4), (9, 0.4), (5, 0.1)), RATES)
    assert found.lanes == (Lane(0), Lane(0), Lane(1, (0,)), Lane(0, (2,)))
    assert found.seconds == 21  # 5, then 1 and 9 beside 10, then 1 and 5


@pytest.mark.parametrize(
    ("before", "pairs", "why"),
    [
        (DIAMOND, [(5, 0.1), (10, 0.8), (9, 0.4), (5, 0.1)], "they do not fit side by side"),
        (DIAMOND, [(5, 0.1), (10, 0.4), (1, 0.4), (5, 0.1)], "the wait costs as much"),
        (
            [frozenset(range(i)) for i in range(4)],
            [(5, 0.1)] * 4,
            "each waits for the one before",
        ),
        ([frozenset[int]()], [(5, 0.1)], "there is one"),
        ([], [], "there are none"),
    ],
)
def test_it_keeps_one_stream(before: Any, pairs: Any, why: str) -> None:
    found = fastest(before, costs(*pairs), RATES)
    assert all(lane == Lane() for lane in found.lanes), why
    assert found.seconds == sum(seconds for seconds, _ in pairs)


def test_there_are_at_most_four_streams() -> None:
    found = fastest([frozenset[int]()] * 12, costs(*[(10, 0.01)] * 12), RATES)
    assert {lane.stream for lane in found.lanes} == {0, 1, 2, 3}
    assert found.seconds == 32  # three each, and a wait to leave and to join


def test_a_wait_that_another_implies_is_left_out() -> None:
    """3 waits for 2, which waited for 1."""
    lanes = streams._lanes(
        [frozenset(), frozenset(), frozenset({1}), frozenset({1, 2})], [0, 1, 2, 0]
    )
    assert lanes == (Lane(0), Lane(1), Lane(2, (1,)), Lane(0, (2,)))


def test_spans_that_are_written_over_are_implied() -> None:
    def span(start: int, end: int, written: bool) -> Span:
        return Span(("arena", 0), start, end, written)

    found = dependences(
        [
            [span(0, 8, True)],
            [span(0, 4, False)],
            [span(4, 8, False)],
            [span(0, 8, True)],  # after both that read
            [span(0, 2, False), span(2, 4, True)],  # after the last that wrote alone
            [Span(("state", 0), 0, 8, True)],
        ]
    )
    assert [sorted(x) for x in found] == [[], [0], [0], [0, 1, 2], [3], []]


def test_the_text_shows_streams_and_waits(forking: None) -> None:
    x = sn.placeholder((64, 64), name="x")
    f = sn.function(x, [sn.tanh(x @ x), sn.sin(x @ x.T), x @ x + x @ x.T], device="numpy")
    program = write_cuda_program(make_plan(lower(f)))
    lines = str(program).splitlines()
    assert len(lines) == len(program.launches)
    assert lines[0] == "0: cuBLASLt: [64,64] by [64,64] float32  // stream 0"
    assert any(line.endswith("// stream 1") for line in lines)
    assert any(" after " in line for line in lines)
    assert "stream" not in str(write_cuda_program(make_plan(lower(sn.function(x, x @ x)))))
