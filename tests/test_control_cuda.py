"""Loops and choices as commands of a GPU: in the host shim, and through the executor on a fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from fake_gpu import Gpu
from gpu_cases import lower
from test_cuda_shim import check

import staticnet as sn
from staticnet.codegen.commands import Branch, HostCall, Launch, Loop, While, walk
from staticnet.codegen.cuda import control
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.errors import OutOfRangeError
from staticnet.plan.planner import make_plan

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4, 3)).astype(np.float32)  # elements of 48 bytes, rows of 12
ROWS = RNG.normal(size=(7, 3)).astype(np.float32)
W = RNG.normal(size=(3, 3)).astype(np.float32) / 2
GO = np.array([True, False, True, True, False, True, False])


def scans(x: Any, rows: Any, w: Any, go: Any) -> Iterator[Any]:
    """Results of loops of a known length."""
    yield from sn.scan(lambda c, x: (sn.tanh(x @ w + c), sn.sum(x, axis=1)), x[0] * 0, x)
    yield from sn.scan(lambda c, r: (c * 0.5 + r, c), w[0], rows, reverse=True)
    yield from sn.scan(lambda c, r: ((c[1], c[0] + r), c[0]), (w[0], w[1]), rows)[0]
    yield sn.map(lambda m: sn.scan(lambda c, r: (c + r, c * r), w[0], m)[1], x)

    def chosen(c: Any, each: Any) -> Any:
        r, flag = each
        new = sn.cond(flag, lambda c: (r @ w) * c, lambda c: c + sn.take(r, [2, 0, 1]), c)
        return new, sn.cond(flag, lambda: r @ w, lambda: r)

    yield from sn.scan(chosen, w[0], (rows, go))


def loops(x: Any, rows: Any, w: Any, go: Any) -> Iterator[Any]:
    """Results of loops of a length that only a run knows."""
    big = sn.while_loop(lambda c: sn.sum(c * c) < 50.0, lambda c: c @ (w * 3) + 0.5, rows)
    yield big

    def halved(c: Any) -> Any:
        return sn.while_loop(lambda c: sn.max(sn.abs(c)) > 0.1, lambda c: c / 2, c)

    yield sn.map(lambda each: sn.cond(each[1], halved, lambda c: c - 1, each[0]), (rows, go))


def function(make: Any, device: str = "numpy", **options: Any) -> Any:
    arrays = {"x": X, "rows": ROWS, "w": W, "go": GO}
    nodes = [sn.placeholder(a.shape, a.dtype, name) for name, a in arrays.items()]
    return sn.function(nodes, list(make(*nodes)), device=device, **options)


@needs_shim
def test_scans_and_choices_are_written_out(tmp_path: Path) -> None:
    machine = check(function(scans), [X, ROWS, W, GO], tmp_path)
    assert not machine.program.waits_for_host


@needs_shim
def test_loops_of_unknown_length_ask_the_device(tmp_path: Path) -> None:
    machine = check(function(loops), [X, ROWS, W, GO], tmp_path)
    kinds = {type(each) for each in walk(machine.program.launches)}
    assert {While, Branch} <= kinds


@needs_shim
def test_a_long_loop_is_launched_by_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = lower(function(scans))
    launches = [Machine(written, tmp_path).program.launches]
    monkeypatch.setattr(control, "MOST_COMMANDS", 3)
    machine = check(function(scans), [X, ROWS, W, GO], tmp_path)
    launches.append(machine.program.launches)
    assert any(isinstance(each, Loop) for each in launches[1])
    functions = [{c.function for c in walk(all_) if isinstance(c, Launch)} for all_ in launches]
    assert functions[0] == functions[1]


@needs_shim
def test_a_training_step_through_time(tmp_path: Path) -> None:
    w, u = sn.variable(W, "w"), sn.variable(W.T.copy(), "u")
    x = sn.placeholder(X.shape, name="x")
    h, hs = sn.scan(lambda h, x: (sn.tanh(x @ w + h @ u),) * 2, sn.zeros((4, 3)), x)
    loss = sn.mean(hs * hs) + sn.sum(h)
    updates = {v: v - 0.1 * g for v, g in zip((w, u), sn.grad(loss, [w, u]), strict=True)}
    check(sn.function([x], loss, updates, device="numpy"), [X], tmp_path)


@needs_shim
def test_an_index_out_of_range_inside_a_loop_updates_nothing(tmp_path: Path) -> None:
    v = sn.variable(W[0], "v")
    at = sn.placeholder((4,), "int64", "at")
    total, _ = sn.scan(lambda c, i: (c + v[i], None), 0.0, at)
    step = sn.function([at], total, {v: v + total}, device="numpy")
    machine = Machine(lower(step), tmp_path)
    failed, _, (after,) = machine.run([np.array([0, 1, 7, 2])], [W[0]])
    assert machine.program.sites[failed - 1].op.name == "take"
    np.testing.assert_array_equal(after, W[0])
    failed, (result,), (after,) = machine.run([np.array([0, 1, 2, 2])], [W[0]])
    assert failed == 0
    np.testing.assert_array_equal(after, W[0] + result)


@needs_shim
def test_the_executor_runs_loops(gpu: Gpu) -> None:
    for make in (scans, loops):
        got = function(make, "cuda")(X, ROWS, W, GO)
        for a, b in zip(got, function(make)(X, ROWS, W, GO), strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-5, atol=1e-6)


@needs_shim
def test_the_executor_launches_long_loops(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_COMMANDS", 3)
    step = function(scans, "cuda")
    for _ in range(2):
        for a, b in zip(step(X, ROWS, W, GO), function(scans)(X, ROWS, W, GO), strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-5, atol=1e-6)


@needs_shim
def test_a_failure_ends_a_while(gpu: Gpu) -> None:
    n = sn.placeholder((), "int64", "n")
    v = sn.variable(W[0], "v")
    i, total = sn.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + v[c[0]]), (0, 0.0))
    step = sn.function([n], [i, total], {v: v * 2}, device="cuda")
    assert [int(i.get()) for i in step(3)[:1]] == [3]
    step(5)
    with pytest.raises(OutOfRangeError, match=r"test_control_cuda\.py"):
        step.synchronize()
    np.testing.assert_array_equal(v.value, W[0] * 2)


def test_a_choice_that_calls_python_is_made_by_the_host() -> None:
    op = sn.custom_op("sorted_by_python", lambda x: np.sort(x), lambda x: x)
    x, p = sn.placeholder((3,), name="x"), sn.placeholder((), "bool", "p")
    step = sn.function([p, x], sn.cond(p, op, lambda x: x * 2, x), device="numpy")
    commands = write_cuda_program(make_plan(lower(step))).launches
    (branch,) = (each for each in commands if isinstance(each, Branch))
    assert [type(each) for each in branch.then][:1] == [HostCall]
