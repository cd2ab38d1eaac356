"""Loops as one kernel: they compute what their launches do, in any order of blocks and threads."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cubin import kernels_of
from cuda_shim import CXX, Machine
from fake_gpu import Gpu
from gpu_cases import lower, states
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.codegen.commands import Launch, walk
from staticnet.codegen.cuda import choice, control, loops
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram
from staticnet.errors import OutOfRangeError
from staticnet.plan.planner import make_plan

nvrtc: Any = find_nvrtc()
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
Case = tuple[Any, list[Any]]


@pytest.fixture
def stay(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The estimate finds so many blocks of one kernel best for loops, and launches for steps."""

    def of_blocks(count: int) -> None:
        monkeypatch.setattr(loops, "COUNTS", (count,))
        monkeypatch.setattr(loops, "LEAST_GAIN", -1e9)
        monkeypatch.setattr(choice, "LEAST_GAIN", 1.0)

    return of_blocks


def recurrent(kind: str, batch: int, units: int, **options: Any) -> Case:
    """A training step of a recurrent layer over 4 steps."""
    x = sn.placeholder((batch, 4, 5), name="x")
    layer = getattr(sn.nn, kind)(5, units, batch_first=True, seed=1, **options)
    loss = sn.mean(sn.square(layer(x)[0]))
    updates = sn.optim.SGD(lr=0.5).minimize(loss)
    rng = np.random.default_rng(0)
    f = sn.function(x, loss, updates=updates, device="numpy")
    return f, [rng.normal(size=(batch, 4, 5)).astype("f")]


def carried() -> Case:
    """Carries of several types, a stack of one, sums over rows; from the last step on.

    A row is half of a block's, and there is an odd number of them.
    """
    xs = sn.placeholder((5, 3, 600), name="xs")
    start = sn.placeholder((3, 600), name="start")

    def body(state: Any, x: Any) -> Any:
        y, count, seen = state
        z = sn.nn.softmax(y * x + y, axis=-1) - sn.mean(x)
        return (z, count + 1, seen | (x > 1)), (z * 2, sn.sum(y, axis=0), count)

    first = (start, sn.constant(np.int32(3)), sn.constant(np.zeros((3, 600), bool)))
    (y, count, seen), stacks = sn.scan(body, first, xs, reverse=True)
    rng = np.random.default_rng(1)
    feeds = [rng.normal(size=s).astype("f") for s in ((5, 3, 600), (3, 600))]
    return sn.function([xs, start], [y, count, seen, *stacks], device="numpy"), feeds


def nested() -> Case:
    """Loops in a loop, one of them on a side of a choice, and the gradient of all."""
    xs, w = sn.placeholder((4, 3, 5, 6), name="xs"), sn.placeholder((6, 6), name="w")
    go = sn.placeholder((), "bool", "go")

    def row(h: Any, x: Any) -> Any:
        h = sn.tanh(h @ w + x)
        return h, (h, sn.sum(h, axis=0))

    def body(c: Any, x: Any) -> Any:
        h, (hs, sums) = sn.scan(row, c, x)

        def chosen(a: Any) -> Any:
            return sn.scan(lambda u, v: (u * v + a, ()), a, hs)[0]

        h = sn.cond(go, chosen, lambda a: a * 2, h)
        return h, (hs, sums)

    c, (hs, sums) = sn.scan(body, sn.zeros((5, 6)), xs)
    (slope,) = sn.grad(sn.sum(c * c) + sn.sum(hs * hs), [w])
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=s).astype("f") for s in ((4, 3, 5, 6), (6, 6))]
    feeds[1] *= 0.3
    return sn.function([xs, w, go], [c, hs, sums, slope], device="numpy"), [*feeds, np.array(True)]


CASES: dict[str, Callable[[], Case]] = {
    "lstm": lambda: recurrent("LSTM", 8, 16),  # rows of 512 bytes, of which no carry is copied
    "lstm_odd": lambda: recurrent("LSTM", 3, 7),
    "lstm_both_ways": lambda: recurrent("LSTM", 3, 16, bidirectional=True, num_layers=2),
    "gru": lambda: recurrent("GRU", 8, 16),
    "rnn": lambda: recurrent("RNN", 5, 6),
    "carried": carried,
    "nested": nested,
}
DEFAULT = (("lstm", 3), ("lstm_odd", 1), ("carried", 3))


def kernels_of_loops(program: CudaProgram) -> list[Launch]:
    launches = [c for c in walk(program.launches) if isinstance(c, Launch)]
    return [c for c in launches if c.function.startswith("loop")]


@needs_shim
@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param(n, b, marks=[] if (n, b) in DEFAULT else pytest.mark.slow)
        for n in CASES
        for b in (1, 3)
    ],
)
def test_loops_follow_the_reference(
    name: str, blocks: int, tmp_path: Path, stay: Callable[[int], None]
) -> None:
    """Forwards and backwards through threads and blocks the bits are the same."""
    stay(blocks)
    f, feeds = CASES[name]()
    machine = Machine(lower(f), tmp_path, persistent=True)
    found = kernels_of_loops(machine.program)
    assert len(found) == {"carried": 1, "lstm_both_ways": 8, "nested": 20}.get(name, 2)
    assert all(c.cooperative == (blocks > 1) for c in found)
    state = states(machine.graph)
    for _ in range(2):
        failed, outputs, after = machine.run(feeds, state)
        again = machine.run(feeds, state, reverse=True)
        assert failed == 0
        for a, b in zip([*outputs, *after], [*again[1], *again[2]], strict=True):
            np.testing.assert_array_equal(a, b)
        wanted = f(*feeds)
        for got, right in zip(outputs, wanted if len(outputs) > 1 else [wanted], strict=True):
            close(got, right, 1e-4 if name == "nested" else 1e-5)
        state = after
    for got, right in zip(state, states(machine.graph), strict=True):
        close(got, right, 1e-5)


@needs_shim
def test_stages_compute_the_bits_of_launches(tmp_path: Path, stay: Callable[[int], None]) -> None:
    """All but products, which libraries and kernels sum in orders of their own."""
    f, feeds = carried()
    apart = Machine(lower(f), tmp_path, persistent=False).run(feeds, [])[1]
    stay(3)
    together = Machine(lower(f), tmp_path, persistent=True).run(feeds, [])[1]
    for a, b in zip(apart, together, strict=True):
        np.testing.assert_array_equal(a, b)


BARRIER = re.compile(r"sn_grid_sync\(barrier, \d+\)")


@needs_shim
@pytest.mark.parametrize(
    "which", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2, 3))]
)
def test_a_barrier_that_is_taken_out_is_found(
    which: int, tmp_path: Path, stay: Callable[[int], None]
) -> None:
    """Between the stages of a step, and between steps, of both loops."""
    stay(3)
    f, feeds = recurrent("LSTM", 40, 16)
    machine = Machine(lower(f), tmp_path, persistent=True)
    source, start = machine.program.source, states(machine.graph)
    found = [x for x in BARRIER.finditer(source) if x.start() > source.index("\nloop1(")]
    assert len(found) == 5  # two a step, and one before the last carries are copied
    x = found[(0, 1, 3, 4)[which]]
    other = source[: x.start()] + source[x.end() :]
    assert machine.is_told_from(other, tmp_path, feeds, start)


@needs_shim
@pytest.mark.slow
def test_a_barrier_of_half_a_block_that_is_taken_out_is_found(
    tmp_path: Path, stay: Callable[[int], None]
) -> None:
    """Before the sums of warps are read."""
    stay(3)
    f, feeds = carried()
    machine = Machine(lower(f), tmp_path, persistent=True)
    source = machine.program.source
    assert source.count("sn_sync_group<THREADS>();") == 2
    other = source.replace("sn_sync_group<THREADS>();", "", 1)
    assert machine.is_told_from(other, tmp_path, feeds, [])


def program_of(f: Any, disabled_passes: tuple[str, ...] = ()) -> CudaProgram:
    return CudaBackend().program(make_plan(lower(f)), disabled_passes)


def test_an_estimate_chooses_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones stay, of large ones the library's products are faster; a name leaves it out."""
    monkeypatch.setattr(choice, "LEAST_GAIN", 1.0)
    small, large = recurrent("LSTM", 8, 128)[0], recurrent("LSTM", 128, 512)[0]
    program = program_of(small)
    assert len(kernels_of_loops(program)) == 2
    told = (
        r"a loop of 4 steps is one kernel of \d+ blocks: \S+ µs a step by the estimate, 2 launches "
    )
    assert len(re.findall(told, program.choice)) == 2
    program = program_of(large)
    assert not kernels_of_loops(program)
    assert "a loop of 4 steps is launched step by step: one kernel " in program.choice
    assert not kernels_of_loops(program_of(small, ("persistent",)))


@pytest.mark.parametrize("chosen", [False, True])
def test_what_no_stage_computes_is_launched(chosen: bool, stay: Callable[[int], None]) -> None:
    """In a step, or on a side of a choice in it."""
    stay(3)
    xs, w = sn.placeholder((5, 1, 2, 6, 6)), sn.placeholder((2, 2, 3, 3))
    go = sn.placeholder((), "bool")

    def convolved(x: Any) -> Any:
        return sn.nn.functional.conv2d(x, w, padding=1)

    def body(x: Any, y: Any) -> Any:
        return (sn.cond(go, convolved, lambda x: x * 2, x) if chosen else convolved(x)) + y, ()

    f = sn.function([xs, w, go], sn.scan(body, xs[0], xs)[0], device="numpy")
    program = program_of(f)
    assert not kernels_of_loops(program)
    assert "no stage of a kernel computes what is in convolution.cuh" in program.choice
    assert len(program.launches) > 5


def test_a_long_loop_needs_no_host(
    stay: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too long to be written out is launched by the host, unless it is one kernel."""
    monkeypatch.setattr(control, "MOST_COMMANDS", 3)
    f = recurrent("GRU", 3, 4)[0]
    assert program_of(f, ("persistent",)).waits_for_host
    stay(3)
    program = program_of(f)
    assert not program.waits_for_host
    assert "host" not in program.choice


@needs_shim
def test_a_failure_inside_keeps_the_state(gpu: Gpu, stay: Callable[[int], None]) -> None:
    """Calls and `run` on the device; what a step inside fails at is told late."""
    stay(3)
    i, x = sn.placeholder((4,), "int64", "i"), sn.placeholder((3, 4), name="x")
    w = sn.variable(np.zeros(4, "f"), "w")

    def body(total: Any, at: Any) -> Any:
        total = total + sn.take(x, sn.reshape(at, (1,)), 0)[0] * w
        return total + 1, total

    total, rows = sn.scan(body, sn.zeros((4,)), i)
    step = sn.function([i, x], sn.sum(rows), updates={w: w + total}, device="cuda")
    assert kernels_of_loops(step.specialize().executable.program)
    assert "a loop of 4 steps is one kernel of 3 blocks" in str(step.explain())
    feeds = np.ones((3, 4), "f")
    losses = [float(step(np.array(at), feeds).get()) for at in ([0, 1, 2, 0], [2, 2, 1, 0])]
    np.testing.assert_array_equal(losses, [24, 184])
    kept = w.value
    step(np.array([0, 1, 3, 1]), feeds)
    with pytest.raises(OutOfRangeError):
        step.synchronize()
    np.testing.assert_array_equal(w.value, kept)


@pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        pytest.param(k, a, marks=[] if (k, a) == ("LSTM", "sm_90") else pytest.mark.slow)
        for k in ("LSTM", "GRU")
        for a in ("sm_80", "sm_90")
    ],
)
def test_they_compile_without_spills(
    kind: str, architecture: str, stay: Callable[[int], None]
) -> None:
    stay(128)
    program = write_cuda_program(make_plan(lower(recurrent(kind, 8, 128)[0])), persistent=True)
    compiled = kernels_of(nvrtc.compile(program.source, architecture))
    names = {c.function for c in kernels_of_loops(program)}
    assert len(names) == 2
    for name in names:
        assert compiled[name].frame == 0
        assert not compiled[name].does["LDL"]
        assert compiled[name].shared <= 25 << 10
