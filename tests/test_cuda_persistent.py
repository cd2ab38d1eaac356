"""Steps as one kernel: they compute what launches do, whatever order blocks and threads run in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cubin import kernels_of
from cuda_shim import CXX, Guarded, KernelFailure, Machine, build, run_kernel
from fake_gpu import FakeArray, Gpu
from gpu_cases import STEPS, lower, states
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.codegen.commands import Launch, Product
from staticnet.codegen.cuda import choice
from staticnet.codegen.cuda.parts import Chip
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.resources import SCALARS, kernel_text
from staticnet.errors import OutOfRangeError
from staticnet.plan.planner import make_plan

nvrtc: Any = find_nvrtc()
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
WHOLE = ("playground", "mlp", "mlp_bfloat16", "layer_norm", "embedding")  # may be one kernel
DEFAULT = (("playground", 1), ("layer_norm", 3))


def of_blocks(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate finds so many blocks of one kernel best, whatever they compute."""
    monkeypatch.setattr(choice, "COUNTS", (count,))
    monkeypatch.setattr(choice, "LEAST_GAIN", -1e9)


@needs_shim
@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param(n, b, marks=[] if (n, b) in DEFAULT else pytest.mark.slow)
        for n in WHOLE
        for b in (1, 3)
    ],
)
def test_training_follows_the_reference(
    name: str, blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forwards and backwards through threads and blocks the bits are the same."""
    of_blocks(blocks, monkeypatch)
    f, feeds = STEPS[name]()
    machine = Machine(lower(f), tmp_path, arena=True, persistent=True)
    assert machine.program.stages
    state = states(machine.graph)
    tolerance = 3e-2 if f.precision == "bfloat16" else 2e-4
    for _ in range(3):
        failed, (loss,), after = machine.run(feeds, state)
        again = machine.run(feeds, state, reverse=True)
        assert failed == 0
        for a, b in zip([loss, *after], [*again[1], *again[2]], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(loss, f(*feeds), rtol=tolerance)
        state = after
    for got, right in zip(state, states(machine.graph), strict=True):
        close(got, right, tolerance)


def on_cuda(f: Any, **options: Any) -> Any:
    graph = f.graph
    return sn.function(
        graph.inputs, graph.outputs, dict(graph.updates), device="cuda", precision=f.precision,
        **options,
    )  # fmt: skip


@needs_shim
@pytest.mark.parametrize("blocks", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_calls_and_run_make_the_same_steps(
    blocks: int, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many steps are one launch, which draws its batches and keeps its outputs."""
    of_blocks(blocks, monkeypatch)
    rng = np.random.default_rng(0)
    data, target = rng.normal(size=(30, 3)).astype("f"), rng.integers(0, 2, 30)
    results = []
    for device in ("numpy", "cuda"):
        x, y = sn.placeholder(("batch", 3), name="x"), sn.placeholder(("batch",), "int64", "y")
        w = sn.variable(np.ones((3, 2), "f"), "w")
        loss = sn.nn.cross_entropy(x @ w, y)
        updates = sn.optim.SGD(lr=0.1).minimize(loss)
        step = sn.function([x, y], [loss, w * 1], updates=updates, device=device)
        first = step.run(27, data, target, batch_size=7, shuffle=True, seed=3)
        second = step.run(3, data, target, batch_size=7)
        called = step(data[:7], target[:7])
        both = [*first, *second, *called, w.value]
        results.append([a.get() if isinstance(a, FakeArray) else a for a in both])
    for got, wanted in zip(results[1], results[0], strict=True):
        close(got, wanted, 1e-5)
    gpu.log.clear()
    monkeypatch.setattr(gpu.cupy.cuda, "get_elapsed_time", lambda a, b: 0.0)
    step.run(200, data, target, batch_size=7)
    kernels = [entry[1] for entry in gpu.log if entry[0] == "kernel"]
    assert set(kernels) == {"sn_step"}
    assert len(kernels) < 12
    assert not gpu.count("graph")


@needs_shim
def test_a_failed_index_is_told_late_and_the_state_is_kept(gpu: Gpu) -> None:
    x, i = sn.placeholder((3, 4), name="x"), sn.placeholder((3,), "int64", "i")
    w = sn.variable(np.zeros(4, "f"), "w")
    step = sn.function([x, i], sn.sum(sn.take(x, i, 0)), updates={w: w + x[0]}, device="cuda")
    rows, good, bad = np.ones((3, 4), "f"), np.array([0, 1, 2]), np.array([0, 3, 1])
    assert step.specialize().executable.program.stages
    step(rows, good)
    step(rows, bad)
    with pytest.raises(OutOfRangeError):
        step.synchronize()
    np.testing.assert_array_equal(w.value, 1)
    step(rows, good)
    np.testing.assert_array_equal(w.value, 2)
    with pytest.raises(OutOfRangeError):
        step.run(4, np.ones((9, 4), "f"), np.array([0, 1, 2, 0, 9, 2, 1, 2, 1]), batch_size=3)


def told(f: Any, disabled_passes: tuple[str, ...] = ()) -> str:
    """What is said of a function's step on a GPU."""
    return CudaBackend().program(make_plan(lower(f)), disabled_passes).choice


@needs_shim
def test_its_choice_is_explained(gpu: Gpu) -> None:
    """By `explain` and in `source`; exact numerics keep the launches."""
    f, _ = STEPS["embedding"]()
    step = on_cuda(f)
    assert "one kernel of one block" in str(step.explain())
    assert "sn_step" in step.source()
    apart = on_cuda(f, numerics="exact")
    assert not apart.explain().choice
    assert "sn_step" not in apart.source()


def test_what_leaves_it_out_and_why() -> None:
    """The estimate, a name among the passes, and what no stage computes."""
    f, _ = STEPS["playground"]()
    assert told(f).startswith("one kernel of one block: ")
    assert told(f, ("persistent",)) == ""
    x = sn.placeholder((4096, 4096), name="x")
    large = sn.function(x, sn.tanh(x @ x) @ x, device="numpy")
    assert re.match(r"launch by launch: \d launches .* one kernel \d+", told(large))
    f, _ = STEPS["convnet"]()
    assert "no stage of a kernel computes what is in convolution.cuh" in told(f)
    x = sn.placeholder((4, 5000), name="x")
    rows = sn.function(x, sn.nn.softmax(x), device="numpy")
    assert "the threads of k0 wait for each other, 512 a block" in told(rows)


@needs_shim
@pytest.mark.parametrize("blocks", [1, 3])
def test_what_runs_side_by_side_has_shared_memory_in_turn(
    blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls of one function in a stage, which keeps there what it was given."""
    of_blocks(blocks, monkeypatch)
    x, y = (sn.placeholder((1, 1030), "int32", name) for name in "xy")
    outputs = [sn.concat([a, a[:, :1]], axis=1) for a in (x * y, x, y)]
    machine = Machine(
        lower(sn.function([x, y], outputs, device="numpy")), tmp_path, persistent=True
    )
    assert any(len(stage) > 2 for stage in machine.program.stages)
    feeds = [np.arange(1030, dtype="i")[None] + n for n in (2, 5000)]
    for reverse in (False, True):
        _, got, _ = machine.run(feeds, [], reverse)
        for a, b in zip(got, (feeds[0] * feeds[1], *feeds), strict=True):
            np.testing.assert_array_equal(a, np.concatenate([b, b[:, :1]], 1))


@needs_shim
@pytest.mark.parametrize(
    "taken", ["barrier", *(pytest.param(x, marks=pytest.mark.slow) for x in ("weights", "result"))]
)
def test_what_one_block_works_in_is_its_own(
    taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read once and written once; each part of that is missed where it is taken out."""
    of_blocks(1, monkeypatch)
    f, feeds = STEPS["playground"]()
    machine = Machine(lower(f), tmp_path, persistent=True)
    whole = machine.program.source
    at = whole.index("sn_step(sn_word")
    (launch,) = machine.program.launches
    assert isinstance(launch, Launch)
    told = f"; all that it works in lies in {launch.shared_bytes:,} bytes of shared memory"
    assert machine.program.choice.endswith(told)
    assert not re.search(r"\bg\d", whole[whole.index("for (int step", at) : whole.rindex("sync")])
    part = {
        "barrier": r"__syncthreads\(\);",
        "weights": r"sn_copy\(\(const unsigned char \*\)g\d+, \(unsigned char \*\)p\d+, 32\);",
        "result": r"sn_copy\(\(const unsigned char \*\)p\d+, \(unsigned char \*\)g\d+, 32\);",
    }[taken]
    x = re.compile(part).search(whole, at)
    assert x
    assert changes(machine, feeds, whole[: x.start()] + whole[x.end() :], tmp_path)


def test_what_does_not_fit_stays_in_global_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    of_blocks(1, monkeypatch)
    for name, chip, own in (
        ("playground", Chip(), True), ("playground", Chip(132, 3 << 10), False),
        ("mlp", Chip(132, 40 << 10), False),
    ):  # fmt: skip
        plan = make_plan(lower(STEPS[name]()[0]))
        (launch,) = write_cuda_program(plan, persistent=True, chip=chip).launches
        assert isinstance(launch, Launch)
        assert (launch.shared_bytes > 0) == own


BARRIER = re.compile(r"__syncthreads\(\)|sn_grid_sync\(barrier, \d+\)")


def changes(machine: Machine, feeds: list[Any], source: str, folder: Path) -> bool:
    """Whether another source computes something else from the values of the graph."""
    return machine.is_told_from(source, folder, feeds, states(machine.graph))


def chain(rows: int) -> tuple[Any, list[Any]]:
    """Stages of which each reads, by other threads and blocks, what the one before wrote."""
    x = sn.placeholder((rows, 40), name="x")
    w = sn.variable(np.linspace(-1, 1, 1600, dtype="f").reshape(40, 40), "w")
    y = sn.square(sn.nn.softmax(x @ w)) @ sn.matrix_transpose(w)
    loss = sn.mean(sn.square(sn.cumulative_sum(y, axis=0)))
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    rng = np.random.default_rng(0)
    return sn.function(x, loss, updates=updates, device="numpy"), [
        rng.normal(size=(rows, 40)).astype("f")
    ]


@needs_shim
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_barrier_that_is_taken_out_is_found(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but those of many steps, which one step does not reach."""
    of_blocks(3, monkeypatch)
    f, feeds = chain(50)
    machine = Machine(lower(f), tmp_path, arena=True, persistent=True)
    whole = machine.program.source
    start = whole.index("sn_step(sn_word")
    found = [x for x in BARRIER.finditer(whole, start) if "grid" in x[0]]
    stages = len(machine.program.stages)
    assert len(found) == stages + 1
    for x in found[1:-1:every]:
        without = whole[: x.start()] + whole[x.end() :]
        assert changes(machine, feeds, without, tmp_path), x[0]


@needs_shim
def test_blocks_that_do_not_run_together_cannot_wait(tmp_path: Path) -> None:
    text = kernel_text(*SCALARS, "runtime.cuh", "reduce.cuh", "routines.cuh", "persistent.cuh")
    text += 'extern "C" __global__ void k(unsigned *b) { sn_grid_sync(b, 7); }\n'
    text += (
        'extern "C" __global__ void h(unsigned *b) { if (blockIdx.x) sn_grid_sync(b, 7); '
        "else sn_grid_sync(b, 8); }\n"
        'extern "C" __global__ void g(unsigned *b) { if (blockIdx.x) sn_grid_sync(b, 7); }\n'
        'extern "C" __global__ void f(unsigned *b) { if (threadIdx.x) sn_grid_sync(b, 7); }\n'
    )
    library, barrier = build(text, ["k", "h", "g", "f"], tmp_path), Guarded(4)
    with pytest.raises(KernelFailure, match="barrier 7 is of a grid"):
        run_kernel(library, "k", (2, 1, 1), (32, 1, 1), [barrier.at])
    for name, message in (("h", "barriers 8 and 7"), ("g", "1 of 2 blocks"), ("f", "31 of 32")):
        with pytest.raises(KernelFailure, match=message):
            run_kernel(library, name, (2, 1, 1), (32, 1, 1), [barrier.at], False, True)
    run_kernel(library, "k", (2, 1, 1), (32, 1, 1), [barrier.at], False, True)


SIZES = ((1, 1, 1), (16, 16, 128), (17, 3, 129), (5, 40, 300), (33, 31, 7))


@needs_shim
def test_products_of_all_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operands turned or not, sliced, batched and shared; epilogues; each float dtype."""
    of_blocks(3, monkeypatch)
    inputs, outputs, feeds = list[Any](), list[Any](), list[Any]()
    rng = np.random.default_rng(0)

    def given(shape: tuple[int, ...], dtype: str) -> Any:
        inputs.append(sn.placeholder(shape, dtype, f"x{len(inputs)}"))
        feeds.append(rng.normal(size=shape).astype(dtype))
        return inputs[-1]

    turn = sn.matrix_transpose
    for dtype in ("float32", "float64", "bfloat16", "float16"):
        for m, n, k in SIZES:
            x, y, bias = given((m, k), dtype), given((k, n), dtype), given((n,), dtype)
            u, v = given((k, m), dtype), given((n, k), dtype)
            outputs += [x @ y + bias, turn(u) @ y, x @ turn(v), sn.nn.relu(turn(u) @ turn(v))]
        x, y, z = given((3, 2, 9, 20), dtype), given((20, 9), dtype), given((2, 20, 6), dtype)
        outputs += [x @ y, x @ z, turn(z) @ turn(x), x[:, :, 2:7, 4:] @ y[4:]]
        outputs.append(sn.nn.gelu(x @ y + y[0], approximate="tanh"))
    f = sn.function(inputs, outputs, device="numpy")
    machine = Machine(lower(f), tmp_path, persistent=True)
    assert sum(isinstance(c, Product) for c in machine.program.commands) >= len(outputs) - 4
    _, got, _ = machine.run(feeds, [])
    _, again, _ = machine.run(feeds, [], reverse=True)
    for number, (a, b, wanted) in enumerate(zip(got, again, f(*feeds), strict=True)):
        assert a.tobytes() == b.tobytes(), outputs[number]
        close(a, wanted)


@pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(n, a, marks=[] if (n, a) == ("embedding", "sm_90") else pytest.mark.slow)
        for n in WHOLE
        for a in ("sm_80", "sm_90")
    ],
)
def test_it_compiles_without_spills(
    name: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_blocks(32, monkeypatch)
    program = write_cuda_program(make_plan(lower(STEPS[name]()[0])), persistent=True)
    (kernel,) = kernels_of(nvrtc.compile(program.source, architecture)).values()
    assert kernel.frame == 0
    assert not kernel.does["LDL"]
    assert kernel.registers <= 255
    assert kernel.shared <= 25 << 10
