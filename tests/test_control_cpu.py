"""Loops and choices as compiled C, beside the reference: values, memory, failures, many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import build as build_exported
from exported import read_state, start, write_feeds

import staticnet as sn
from staticnet.errors import OutOfRangeError

COMPILES = True
RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(5, 3)), RNG.normal(size=3)
M = RNG.normal(size=(3, 3))
M_LARGE = (RNG.normal(size=(128, 128)) / 11).astype(np.float32)


def placeholders() -> list[Any]:
    shapes = {"x": X.shape, "w": W.shape, "m": M.shape}
    nodes = [sn.placeholder(shape, "float64", name) for name, shape in shapes.items()]
    return [*nodes, sn.placeholder((), "int64", "n"), sn.placeholder((), "bool", "p")]


def scans(x: Any, w: Any, m: Any, n: Any, p: Any) -> list[Any]:
    """Scans whose carries are hard to update in place."""

    def swap(c: Any, _: Any) -> Any:
        return (c[1], c[0]), c[0]

    def turn(c: Any, _: Any) -> Any:
        return (c[1], c[2], c[0] * 2), None

    def outer(c: Any, row: Any) -> Any:
        return sn.scan(lambda d, e: (d + e * c, d), c, sn.stack([row, w]))

    return [
        *sn.scan(lambda c, x: (c * w + x, c), w, x),
        *sn.scan(lambda c, x: (c * 0.5 + x, sn.sum(c)), np.zeros(3), x, reverse=True),
        *sn.scan(lambda c, x: (c + x, c * x), w, x, unroll=3),
        *sn.scan(lambda c, x: (c, x), w, x[:0]),
        *sn.scan(outer, w, x),
        *sn.scan(swap, (w, w * 2), length=5)[0],
        *sn.scan(turn, (w, w + 1, w), length=4)[0],
        sn.scan(lambda c, _: (c[::-1] * 2, None), w, length=5)[0],
        sn.scan(lambda c, _: (m @ c, None), w, length=3)[0],
        sn.scan(lambda c, _: (c.T + m, None), m, length=3)[0],
        *sn.scan(lambda c, x: (x, c), w, x),
        *sn.scan(lambda c, x: ((c[0] + x, c[0] + x), None), (w, w), x)[0],
        *sn.scan(lambda c, x: ((c[0] + 1, c[0]), c[1]), (w, w), x)[1:],
        sn.scan(lambda c, _: (m[0], None), w, length=2)[0],
        sn.scan(lambda c, x: (c + sn.cumulative_sum(x), sn.sort(c)), w, x)[1],
        sn.map(sn.sum, x),
    ]


def others(x: Any, w: Any, m: Any, n: Any, p: Any) -> list[Any]:
    """Loops to a number known late, and choices."""

    def collatz(s: Any) -> Any:
        odd = s[0] % 2 == 1
        return sn.cond(odd, lambda k: 3 * k + 1, lambda k: k // 2, s[0]), s[1] + 1

    def choose(c: Any, x: Any) -> Any:
        return sn.cond(c > 0, lambda: c - sn.sum(x), lambda: c + 1.5), c

    double = sn.cond(p, lambda x: {"y": x * 2, "z": m}, lambda x: {"y": x - 1, "z": m.T}, x)
    return [
        sn.fori_loop(0, n, lambda i, c: c + w * i, w),
        *sn.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] / 2), (0, 1.0)),
        *sn.while_loop(lambda s: s[0] != 1, collatz, (n + 1, 0)),
        sn.while_loop(lambda c: sn.sum(c * c) < 100.0, lambda c: m @ c + c, w),
        double["y"],
        double["z"],
        sn.scan(lambda c, x: (sn.cond(c > 0, lambda: c - sn.sum(x), lambda: c + 1.5), c), w[0], x)[
            1
        ],
    ]


def feeds(n: int, p: bool) -> list[Any]:
    return [X, W, M, np.int64(n), np.bool_(p)]


def compare(build: Callable[..., Sequence[Any]], **options: Any) -> list[Any]:
    """The results of a program as compiled, which are those of the reference."""
    nodes = placeholders()
    outputs = build(*nodes)
    compiled = sn.function(nodes, outputs, device="cpu", **options)
    reference = sn.function(nodes, outputs, device="numpy")
    found: list[Any] = []
    for n, p in ((6, True), (0, False), (26, True)):
        found = compiled(*feeds(n, p))
        for i, (a, b) in enumerate(zip(found, reference(*feeds(n, p)), strict=True)):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14, err_msg=f"output {i}")
    return found


@pytest.mark.parametrize("build", [scans, others], ids=lambda build: build.__name__)
def test_compiled_loops_give_what_the_reference_does(build: Any) -> None:
    fused = compare(build)
    plain = compare(build, disabled_passes=("fusion",))
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def recurrent(length: Any, batch: Any, cells: int = 4) -> tuple[list[Any], list[Any]]:
    """A recurrent network's loss and gradients. -> inputs, outputs"""
    x = sn.placeholder((length, batch, 3), "float64", "x")
    h = sn.placeholder((batch, cells), "float64", "h")
    w = sn.placeholder((3 + cells, cells), "float64", "w")

    def step(h: Any, x: Any) -> Any:
        new = sn.tanh(sn.concat([x, h], axis=-1) @ w)
        return new, new

    last, states = sn.scan(step, h, x)
    loss = sn.sum(last * last) + sn.mean(states)
    return [x, h, w], [loss, *sn.grad(loss, [x, h, w])]


@pytest.mark.parametrize("fuse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_one_plan_for_all_lengths_and_its_memory(fuse: bool) -> None:
    inputs, outputs = recurrent("T", "b")
    disabled = () if fuse else ("fusion",)
    step = sn.function(inputs, outputs, device="cpu", disabled_passes=disabled)
    reference = sn.function(inputs, outputs, device="numpy")
    formula = step.memory_analysis().peak
    for length, batch in ((0, 2), (1, 1), (2, 3), (9, 5)):
        arrays = [
            RNG.normal(size=[{"T": length, "b": batch}.get(str(dim), dim) for dim in x.shape])
            for x in inputs
        ]
        for a, b in zip(step(*arrays), reference(*arrays), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
        made = step.specialize(T=length, b=batch)
        assert step.memory_analysis(T=length, b=batch).peak == formula.at(T=length, b=batch)
        assert made.plan.arena_bytes == made.executable._arena.nbytes
    limit = formula.at(T=100, b=5)
    assert step.max_dim("T", bytes=limit, b=5) == 100


def test_the_text_and_the_nodes_of_a_loop_do_not_grow_with_its_length() -> None:
    told = []
    for length in (50, 1000):
        inputs, outputs = recurrent(length, 2)
        step = sn.function(inputs, outputs, device="cpu")
        told.append((len(step.graph.nodes), step.plan.launches, len(step.source())))
    for few, many in zip(*told, strict=True):
        assert abs(many - few) <= 0.05 * few


def gather() -> tuple[list[Any], Any, Any]:
    """A running sum of rows of a table, by indices. -> inputs, output, an updated variable"""
    table, at = sn.placeholder((4, 2), "float64", "table"), sn.placeholder((3,), "int64", "at")
    total = sn.variable(np.zeros(2))
    last, _ = sn.scan(lambda c, i: (c + sn.take(table, i, axis=0), None), total, at)
    return [table, at], last, total


def test_a_failure_inside_a_loop_is_told_and_updates_nothing() -> None:
    inputs, last, total = gather()
    step = sn.function(inputs, last, updates={total: last}, device="cpu")
    table = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(step(table, np.array([0, 3, 1])), [8, 11])
    with pytest.raises(OutOfRangeError, match=r"take: .*test_control_cpu\.py"):
        step(table, np.array([0, 4, 1]))
    np.testing.assert_array_equal(total.value, [8, 11])
    np.testing.assert_array_equal(step(table, np.array([0, 0, 0])), [8, 14])


def test_a_loop_that_never_fails_writes_a_variable_in_place() -> None:
    state, x = sn.variable(np.ones(3)), sn.placeholder((5, 3), "float64", "x")
    last, _ = sn.scan(lambda c, x: (c * 0.5 + x, None), state, x)
    step = sn.function([x], [], updates={state: last}, device="cpu")
    assert "memcpy" not in step.source()
    want = np.ones(3)
    for _ in range(2):
        step(X)
        for row in X:
            want = want * 0.5 + row
    np.testing.assert_allclose(state.value, want, rtol=1e-14)
    assert step.plan.arena_bytes == 0


def test_many_steps_in_one_call_and_as_a_program_of_its_own(tmp_path: Path) -> None:
    total = sn.variable(np.zeros(3))
    x = sn.placeholder((5, 3), "float64", "x")
    table = sn.constant(M)
    last, ys = sn.scan(lambda c, x: (table @ sn.tanh(c) + x, sn.sum(c)), total, x)
    step = sn.function([x], ys, updates={total: last}, device="cpu")
    source, *_ = step.export_c(tmp_path / "loop.c")
    many = step.run(2, np.concatenate([X, X * 2]), batch_size=5)
    feeds, kept = write_feeds(tmp_path / "feeds", [(X,), (X * 2,)]), tmp_path / "state"
    done = start(build_exported(source), feeds, 2, "--state", kept)
    assert done.returncode == 0, done.stderr
    reference = sn.function([x], ys, updates={total: last}, device="numpy")
    total.value = np.zeros(3)
    for rows, made in zip((X, X * 2), many, strict=True):
        np.testing.assert_allclose(made, reference(rows), rtol=1e-13)
    np.testing.assert_allclose(read_state(kept, [total])[0], total.value, rtol=1e-13)


def test_bits_do_not_depend_on_threads(set_threads: Callable[[int], None]) -> None:
    inputs, outputs = recurrent(3, 256, 256)
    arrays = [np.random.default_rng(1).normal(size=x.shape) for x in inputs]
    step = sn.function(inputs, outputs, device="cpu")
    assert "omp parallel" in step.source()
    set_threads(1)
    wanted = step(*arrays)
    for count in (2, 3):
        set_threads(count)
        for a, b in zip(step(*arrays), wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_is_told_of_a_loop_and_what_is_in_it() -> None:
    inputs, outputs = recurrent(7, 2)
    step = sn.function(inputs, outputs, device="cpu")
    told = step.explain()
    loops = [kernel for kernel in told.kernels if kernel.kind == "scan"]
    assert len(loops) == 2
    for loop in loops:
        (body,) = loop.bodies
        assert body.steps == 7
        assert f"body, 7 times: {body.explanation.launches} launches" in str(told)
        assert f"kernel {loop.number}.0: " in str(told)
        assert f"kernel {loop.number}.0: " in str(step.plan)
        named = {kernel.function for kernel in body.explanation.kernels} - {""}
        assert named
        assert all(f"void {name}(" in step.source() for name in named)
    assert told.flops == step.cost_analysis().flops
    held = sum(len(node.op.graphs) for node in step.graph.nodes)
    assert step.graph.to_dot().count("subgraph cluster_") == held > 0
    shown = step.document(*(np.ones(x.shape) for x in inputs))
    kinds = [kernel["kind"] for kernel in shown["kernels"]]
    assert kinds.count("scan") == 2
    assert any("body=graph" in text for k in shown["kernels"] for text in k["statements"])
    assert [part["kind"] for part in shown["profile"]["parts"]].count("scan [7]") == 2


def test_a_loop_moves_and_computes_what_its_body_does_at_each_step() -> None:
    x = sn.placeholder(("T", 3), "float64", "x")
    last, _ = sn.scan(lambda c, x: (sn.tanh(c) * x, None), np.ones(3), x)
    cost = sn.function([x], last, device="cpu").cost_analysis()
    (loop,) = (node for node in cost.nodes if node.op == "scan")
    assert str(loop.flops) == "6*T"
    assert str(loop.bytes) == "120*T"
    assert all(node.bytes == 0 for node in cost.nodes if node.op == "item")


def test_a_loop_has_the_bits_of_its_steps_written_out() -> None:
    x = sn.placeholder((3, 24, 128), "float32", "x")
    w = sn.placeholder((128, 128), "float32", "w")

    def step(h: Any, x: Any) -> Any:
        return sn.tanh(h @ w + x), sn.sum(h * x)

    carry, sums = sn.scan(step, x[0], x)
    h, apart = x[0], []
    for t in range(3):
        h, total = step(h, x[t])
        apart.append(total)
    f = sn.function([x, w], [carry, sums, h, sn.stack(apart)], device="cpu", numerics="exact")
    loop, loop_sums, h, apart = f(RNG.normal(size=x.shape).astype("f"), M_LARGE)
    np.testing.assert_array_equal(loop, h)
    np.testing.assert_array_equal(loop_sums, apart)
