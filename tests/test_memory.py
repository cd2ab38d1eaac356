"""The memory certificate: bytes known before a run, as numbers and as formulas, and allocated."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs, symbolic_graphs

import staticnet as sn
from bench.resident import STATUS, Growth
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import ArgumentError, MemoryLimitError, ShapeError
from staticnet.ir.dim import Dim, substitute
from staticnet.ops.creation import dim_value
from staticnet.plan.analysis import analyse_memory
from staticnet.plan.certificate import certify
from staticnet.plan.formula import Formula, covers, is_never_less, show
from staticnet.plan.memory import most_alive
from staticnet.plan.plan import blocks_of
from staticnet.plan.planner import make_plan
from staticnet.plan.symbolic import SymbolicPlan

COMPILES = True
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*/*.sn"))
steady = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def dense(*widths: int, activation: Any = sn.nn.ReLU) -> Any:
    layers = []
    for n, m in itertools.pairwise(widths):
        layers += [sn.nn.Linear(n, m), activation()]
    return sn.nn.Sequential(*layers[:-1])


def mlp(batch: Any = "batch", device: str = "numpy", **options: Any) -> sn.Function:
    """The training step of 784-256-128-10 with Adam."""
    sn.manual_seed(0)
    x, y = sn.placeholder((batch, 784), name="x"), sn.placeholder((batch,), "int64", "y")
    loss = sn.nn.cross_entropy(dense(784, 256, 128, 10)(x), y)
    updates = sn.optim.Adam(lr=1e-3).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, **options)


def playground(batch: Any = "batch") -> sn.Function:
    sn.manual_seed(0)
    x, y = sn.placeholder((batch, 2), name="x"), sn.placeholder((batch, 1), name="y")
    loss = sn.nn.mse_loss(sn.tanh(dense(2, 4, 2, 1, activation=sn.nn.Tanh)(x)), y)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device="numpy")


def softmax(batch: Any = "batch") -> sn.Function:
    x = sn.placeholder((batch, 1024), name="x")
    gain = sn.variable(np.ones(1024, np.float32), "gain")
    loss = sn.mean(sn.nn.softmax(x * gain, -1) ** 2)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function([x], loss, updates=updates, device="numpy")


def layer_norm(batch: Any = "batch") -> sn.Function:
    x, y = sn.placeholder((batch, 1024), name="x"), sn.placeholder((batch, 1024), name="y")
    gain, bias = (sn.variable(np.ones(1024, np.float32), n) for n in ("gain", "bias"))
    centred = x - sn.mean(x, axis=-1, keepdims=True)
    normal = centred * sn.rsqrt(sn.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
    updates = sn.optim.SGD(lr=0.1).minimize(loss := sn.nn.mse_loss(normal * gain + bias, y))
    return sn.function([x, y], loss, updates=updates, device="numpy")


def deep(batch: Any = "batch", activation: Any = sn.nn.GELU) -> sn.Function:
    sn.manual_seed(0)
    x, y = sn.placeholder((batch, 64), name="x"), sn.placeholder((batch, 64), name="y")
    loss = sn.nn.mse_loss(dense(*[64] * 9, activation=activation)(x), y)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device="numpy")


WORKLOADS = [mlp, playground, softmax, layer_norm, deep]
SIZES = (1, 2, 10, 64, 100, 256, 1000, 1024, 5000)


def limited(memory_limit: int | None) -> sn.Function:
    x = sn.placeholder(("b", 100), name="x")
    w = sn.variable(np.ones((100, 100), np.float32), "w")
    return sn.function(x, sn.tanh(x @ w) @ w, memory_limit=memory_limit, device="numpy")


def test_memory_is_known_and_limited() -> None:
    memory = limited(None).memory_analysis(b=50)
    assert (memory.feeds, memory.state, memory.outputs) == (20_000, 40_000, 20_000)
    assert memory.arena == 20_032  # the product and, in its place, its tanh: up to a cache line
    assert memory.peak == 80_000 + memory.arena
    assert [owner.bytes for owner in memory.owners] == [20_000]
    assert "test_memory.py" in memory.owners[0].lines
    assert limited(memory.peak).specialize(b=50)
    with pytest.raises(MemoryLimitError, match=r"needs 100032 bytes.*\n(.*\n)*.*matmul f32"):
        limited(memory.peak - 1).specialize(b=50)
    with pytest.raises(ArgumentError, match="its symbolic dims are"):
        limited(None).memory_analysis(c=50)


def test_the_training_step_of_the_mlp_stays_small() -> None:
    """JAX needs 3.84 MiB for it by its own account."""
    assert mlp(64).memory_analysis().peak <= 3.84 * 2**20
    assert mlp().memory_analysis(batch=64).peak <= 3.84 * 2**20


@pytest.mark.parametrize("build", WORKLOADS)
def test_the_formula_is_exact(build: Any) -> None:
    step = build()
    certificate = step.memory_analysis()
    batch = Dim("batch")
    assert certificate.feeds == sum(
        (node.type.nbytes for node in step.graph.inputs), start=batch - batch
    )
    for n in SIZES:
        memory = step.memory_analysis(batch=n)
        assert certificate.arena.at(batch=n) == memory.arena
        assert certificate.peak.at(batch=n) == memory.peak
        least = least_of(certificate.peak, {"batch": n})
        slack = substitute(certificate.peak.slack, {"batch": n})
        assert least <= memory.peak <= least + slack


def least_of(formula: Formula, dims: dict[str, int]) -> int:
    return min(max(int(substitute(t, dims)) for t in case) for case in formula.cases)


@pytest.mark.parametrize("build", WORKLOADS)
def test_a_symbolic_step_is_as_good_as_a_static_one(build: Any) -> None:
    """One plan for all sizes: no more steps, and hardly more bytes, than one for each size."""
    for n in (64, 256, 1024):
        general, own = build().specialize(batch=n), build(n).specialize()
        assert general.plan.launches <= own.plan.launches + 2
        assert general.plan.bytes_moved <= own.plan.bytes_moved
        assert analyse_memory(general.plan).peak <= analyse_memory(own.plan).peak * 1.01


@pytest.mark.parametrize("build", WORKLOADS)
def test_the_arena_is_no_larger_than_what_is_alive_at_once(build: Any) -> None:
    for n in (64, 256, 1024):
        plan = build(n).specialize().plan
        assert plan.scratch == most_alive(list(blocks_of(plan, plan.sizes).values()))


@steady
@given(graphs(steps=20))
def test_the_arena_of_random_graphs_is_as_small_as_can_be(case: tuple[sn.Graph, Any]) -> None:
    plan = make_plan(case[0])
    assert plan.scratch == most_alive(list(blocks_of(plan, plan.sizes).values()))


@settings(steady, max_examples=60)
@given(symbolic_graphs(), st.data())
def test_formulas_of_random_graphs_are_exact(graph: sn.Graph, data: st.DataObject) -> None:
    note(str(graph))
    assume(graph.symbols)
    f = sn.function(graph.inputs, graph.outputs, device="numpy")
    plan = SymbolicPlan(f.passes()[-2].graph)
    certificate = certify(plan)
    for _ in range(4):
        dims = {name: data.draw(st.integers(0, 9), label=name) for name in sorted(graph.symbols)}
        bound = plan.bind(dims)
        assert bound.arena_bytes == certificate.arena.at(**dims)
        assert analyse_memory(bound).peak == certificate.peak.at(**dims)
        least = least_of(certificate.arena, dims)
        slack = int(substitute(certificate.arena.slack, dims))
        assert least <= bound.arena_bytes <= least + slack
        general = {twin.number for _, twin in plan.orders[0].launched}
        assert len(general) == len(bound.launched)


@needs_compiler
@settings(steady, max_examples=10)
@given(symbolic_graphs(), st.data())
def test_bound_plans_compute_the_same(graph: sn.Graph, data: st.DataObject) -> None:
    note(str(graph))
    dims = {name: data.draw(st.integers(0, 5), label=name) for name in sorted(graph.symbols)}
    rng = np.random.default_rng(0)
    feeds = [rng.uniform(-2, 2, node.type.substitute(dims).shape) for node in graph.inputs]
    got, wanted = (
        sn.function(graph.inputs, graph.outputs, device=d)(*feeds) for d in ("cpu", "numpy")
    )
    for a, b in zip(got, wanted, strict=True):
        scale = np.max(np.abs(b), initial=1e-30, where=np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * scale)


@needs_compiler
def test_sizes_of_nothing_and_of_one_run() -> None:
    runs = {device: deep_on(device) for device in ("cpu", "numpy")}
    for n in (0, 1, 3):
        x = np.linspace(-1, 1, n * 4, dtype=np.float32).reshape(n, 4)
        with np.errstate(all="ignore"):
            got, wanted = (f(x) for f in runs.values())
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def deep_on(device: str) -> sn.Function:
    sn.manual_seed(0)
    x = sn.placeholder(("n", 4), name="x")
    y = sn.nn.softmax(dense(4, 3, 4)(x)) + x
    return sn.function(x, [y, sn.sum(y, 0), y.T], device=device)


@needs_compiler
@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_planned_bytes_are_allocated(file: Path) -> None:
    graph = sn.parse(file.read_text(encoding="utf-8").partition("// after ")[0])
    f = sn.function(graph.inputs, graph.outputs, dict(graph.updates), device="cpu")
    dims = dict.fromkeys(graph.symbols, 6)
    executable: Any = f.specialize(**dims).executable
    assert executable._arena.nbytes == f.memory_analysis(**dims).arena
    blocks = list(blocks_of(executable.plan, executable.plan.sizes).values())
    assert executable.plan.scratch == most_alive(blocks)
    assert not executable._arena.size or executable._arena.ctypes.data % 64 == 0
    if dims:
        assert executable._arena.nbytes == f.memory_analysis().arena.at(**dims)  # type: ignore[union-attr]


@needs_compiler
@pytest.mark.skipif(not STATUS.exists(), reason="the system does not tell how much is resident")
def test_what_steps_take_of_memory_is_the_arena() -> None:
    """Resident, of a training step: nothing of it is there before the first, nor more after it."""
    x = sn.placeholder((1024, 4), name="x")
    w, v = sn.variable(np.ones((4, 8192), "f4")), sn.variable(np.ones((8192, 4), "f4"))
    loss = sn.mean(sn.tanh(x @ w) @ v)
    step = sn.function([x], loss, updates=sn.optim.SGD(lr=0.1).minimize(loss), device="cpu")
    feed = np.ones((1024, 4), "f4")
    step.specialize()
    arena = step.memory_analysis().arena
    growth = Growth()
    for _ in range(3):
        step(feed)
    assert arena > 32 << 20
    assert abs(growth.told()["rss_growth"] - arena) < 2 << 20


def test_a_call_allocates_its_outputs_and_nothing_else() -> None:
    x = sn.placeholder(("n", 1000), name="x")
    w = sn.variable(np.ones((1000, 1000), np.float32), "w")
    f = sn.function(x, [sn.nn.softmax(x @ w), sn.sum(x @ w, 0)], {w: w * 0.5}, device="cpu")
    feed = np.ones((200, 1000), np.float32)
    planned = f.memory_analysis(n=200)
    f(feed)
    gc.collect()
    tracemalloc.start()
    try:
        results = f(feed)
        arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
        taken = tracemalloc.take_snapshot().filter_traces([arrays])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in taken.traces) == planned.outputs
    assert planned.outputs == sum(a.nbytes for a in results) <= peak < planned.outputs + 20_000
    assert planned.arena == 800_000  # what x @ w is, which the softmax reads


def test_rows_of_one_element_stay_rows() -> None:
    x = sn.placeholder(("b", 1), "float64", "x")
    f = sn.function(x, sn.abs(x / (sn.sum(x * x, 0, keepdims=True) + 1)), device="numpy")
    plan = SymbolicPlan(f.passes()[-2].graph)
    shapes = [[(g.kind, len(g.nodes)) for _, g in plan.bind({"b": b}).launched] for b in (1, 5)]
    assert shapes[0] == shapes[1] == [("rows", 2), ("map", 2)]


def test_two_dims_and_their_products() -> None:
    x = sn.placeholder(("b", "t", 16), name="x")
    scores = sn.nn.softmax(x @ sn.matrix_transpose(x), -1)
    f = sn.function(x, scores @ x, device="numpy", numerics="exact")  # it is attention in "fast"
    certificate = f.memory_analysis()
    b, t = Dim("b"), Dim("t")
    assert certificate.feeds == certificate.outputs == b * t * 64
    assert certificate.arena.cases == (
        (b * t * t * 4,),
    )  # the products, and over them their softmax
    assert str(certificate.arena) == "4*b*t*t bytes, and at most 79 + t bytes more"
    for dims in ({"b": 3, "t": 5}, {"b": 1, "t": 1}, {"b": 64, "t": 64}, {"b": 0, "t": 7}):
        assert certificate.peak.at(**dims) == f.memory_analysis(**dims).peak
    best = f.max_dim("t", bytes=2**20, b=4)
    assert f.memory_analysis(b=4, t=best).peak <= 2**20 < f.memory_analysis(b=4, t=best + 1).peak
    with pytest.raises(ArgumentError, match=r"max_dim: its symbolic dims are \['b', 't'\]"):
        f.max_dim("t", bytes=2**20)
    with pytest.raises(ArgumentError, match=r"at: its symbolic dims are \['b', 't'\]"):
        certificate.peak.at(b=1)


@pytest.mark.parametrize("build", WORKLOADS)
@pytest.mark.parametrize("limit", [4 * 2**20, 2**30])
def test_the_largest_batch(build: Any, limit: int) -> None:
    step = build()
    best = step.max_dim("batch", bytes=limit)
    peak = step.memory_analysis().peak
    assert peak.at(batch=best) == step.memory_analysis(batch=best).peak <= limit
    assert peak.at(batch=best + 1) == step.memory_analysis(batch=best + 1).peak > limit


def test_what_max_dim_refuses() -> None:
    step = mlp()
    with pytest.raises(MemoryLimitError, match=r"no batch fits.*needs 36\d+\n(.*\n)*.*test_memory"):
        step.max_dim("batch", bytes=1000)
    with pytest.raises(ArgumentError, match=r"its symbolic dims are \['batch'\]; got .*'time'"):
        step.max_dim("time", bytes=1000)
    for wrong in (-1, 1e6, "1", True):
        with pytest.raises(ArgumentError, match="bytes must be an int"):
            step.max_dim("batch", bytes=wrong)  # type: ignore[arg-type]


def test_a_dim_that_takes_no_memory() -> None:
    x = sn.placeholder((3,), name="x")
    f = sn.function(x, x / dim_value(Dim("n"), x), device="numpy")
    assert str(f.memory_analysis().peak) == "24 bytes"
    assert f.memory_analysis(n=5).peak == f.memory_analysis().peak.at(n=10**6) == 24
    with pytest.raises(ArgumentError, match="24 bytes hold a step with any size of n"):
        f.max_dim("n", bytes=24)
    with pytest.raises(MemoryLimitError, match="no n fits into 23 bytes"):
        f.max_dim("n", bytes=23)


def test_a_static_step_has_numbers_and_no_formula() -> None:
    assert isinstance(mlp(64).memory_analysis().peak, int)
    with pytest.raises(ArgumentError, match=r"its symbolic dims are \[\]"):
        mlp(64).max_dim("batch", bytes=2**20)


def test_the_certificate_prints() -> None:
    text = str(mlp().memory_analysis())
    assert "     feeds 3,144*batch bytes\n" in text
    assert "peak 3,624,708 + 4,168*batch bytes\n" in text
    assert " bytes from batch = " in text
    assert "512*batch bytes: " in text
    assert "test_memory.py" in text


def test_sizes_for_which_an_op_does_not_work_are_told() -> None:
    x = sn.placeholder(("n",), name="x")
    f = sn.function(x, sn.reshape(x[:12], (3, 4)), device="numpy")
    assert f.memory_analysis(n=12).peak == f.memory_analysis().peak.at(n=12)
    with pytest.raises(ShapeError):
        f.memory_analysis(n=11)


def test_bindings_are_planned_alone_where_no_plan_holds_for_all() -> None:
    n = Dim("n")
    x = sn.placeholder((n,), name="x")
    f = sn.function(x, [sn.pad(x, [(0, 50 - n)]), x[40:]], device="numpy")
    assert [y.shape for y in f(np.zeros(45, np.float32))] == [(50,), (5,)]
    assert f.memory_analysis(n=45).peak == (45 + 50 + 5) * 4
    with pytest.raises(ShapeError, match="none of the sizes tried allows a plan for all: pad"):
        f.memory_analysis()
    wide = sn.function(x, x[2000:], device="numpy")
    assert wide.memory_analysis().peak.at(n=3000) == wide.memory_analysis(n=3000).peak == 16_000


B, T = Dim("b"), Dim("t")


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        (B * 3, B * 2, True),
        (B * 2, B * 3, False),
        (B * T + 5, B * T, True),
        (B, T, False),
        ((B * 4 + 63) // 64 * 64, B * 4, True),
        (B * 4, (B * 4 + 63) // 64 * 64, False),
        (B * 4 + 63, (B * 4 + 63) // 64 * 64, True),
        (7, 7, True),
        (B, 1, False),
    ],
)
def test_what_is_never_less(a: Any, b: Any, result: bool) -> None:
    assert is_never_less(a, b) is result
    if result:
        for n, m in itertools.product(range(0, 200, 7), range(3)):
            dims = {"b": n, "t": m}
            assert substitute(a, dims) >= substitute(b, dims)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), min_size=1, max_size=6))
def test_lines_that_cover_a_line(rows: list[tuple[int, int]]) -> None:
    *terms, other = [B * slope + constant for constant, slope in rows]
    above = all(
        any(substitute(t, {"b": n}) >= substitute(other, {"b": n}) for t in terms)
        for n in range(120)
    )
    assert covers(terms, other) == above


def test_polynomials_print_with_the_constant_first() -> None:
    assert show(B * 6304 + 941104) == "941,104 + 6,304*b"
    assert show(B * T * 4 - 100) == "-100 + 4*b*t"
    assert show(B - 2) == "-2 + b"
    assert show(1234) == "1,234"
