"""Threads of generated kernels wait where they must, and nowhere else: each access is watched.

A barrier that orders nothing any more is a race in some kernel that has it, or is not needed.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_cuda_loops as looped
import test_cuda_persistent as whole
import test_cuda_resident as resident
from cuda_shim import CXX, KernelFailure, Machine, build, run_kernel
from gpu_cases import BATCHES, GOLDEN, STEPS, golden_graph, lower, samples_of_all_dtypes, states
from random_programs import batch
from random_terms import feed

import staticnet as sn
from staticnet.codegen.commands import Launch
from staticnet.codegen.cuda import choice, loops
from staticnet.codegen.cuda.program import HEADERS
from staticnet.codegen.launches import CudaProgram
from staticnet.codegen.resources import kernel_text, kernels_path
from staticnet.compilation import PIPELINE
from staticnet.ir.dtype import DTYPES
from staticnet.passes.manager import run_passes

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
OF_WARP, OF_GRID = 1 << 20, 1 << 21  # as in shim/races.h
Case = tuple[Any, list[Any]]

KNOWN = """
extern "C" __global__ void in_block(int *x, int *y) {
  __shared__ int room[64];
  room[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = room[63 - threadIdx.x];
}
extern "C" __global__ void in_warp(int *x, int *y) {
  __shared__ int room[64];
  room[threadIdx.x] = x[threadIdx.x];
  __syncwarp(0xffffffffu);
  y[threadIdx.x] = room[threadIdx.x ^ 1];
}
extern "C" __global__ void in_grid(int *x, int *y) {
  x[64 * blockIdx.x + threadIdx.x] = 1;
  shim::wait_for_grid(5);
  y[64 * blockIdx.x + threadIdx.x] = x[127 - 64 * blockIdx.x - threadIdx.x];
}
extern "C" __global__ void by_vote(int *x, int *y) {
  __shared__ int room[64];
  room[threadIdx.x] = x[threadIdx.x];
  __ballot_sync(0xffffffffu, true);
  y[threadIdx.x] = room[threadIdx.x ^ 1];
}
extern "C" __global__ void by_blocks(int *x, int *y) {
  y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void after_atomics(int *x, int *y) {
  atomicCAS(x, 0, 1);
  __syncthreads();
  y[threadIdx.x] = x[0];
}
extern "C" __global__ void after_many_readers(int *x, int *y) {
  y[threadIdx.x] = x[0];
  __syncthreads();
  if (threadIdx.x == 63) x[0] = 1;
}
"""
# what the device code's sums promise: each may follow another, and what was read be written over
FOLLOWING = """
extern "C" __global__ void in_warp(float *x, float *y) {
  const float sum = sn_reduce<sn_sum<float>, 32>(x[0] + threadIdx.x);
  if (threadIdx.x == 0) x[0] = sum;
}
extern "C" __global__ void in_block(float *x, float *y) {
  const float sum = sn_reduce<sn_sum<float>, 64>(x[0] + threadIdx.x);
  y[threadIdx.x] = sn_reduce<sn_sum<float>, 64>(sum * x[0]);
  if (threadIdx.x == 0) x[0] = sum;
}
extern "C" __global__ void down(float *x, float *y) {
  const float sum = sn_reduce_down<sn_sum<float>, 32, 64>(x[threadIdx.x]);
  y[threadIdx.x] = sn_reduce_down<sn_sum<float>, 32, 64>(x[threadIdx.x] * 2) + sum;
}
extern "C" __global__ void in_halves(float *x, float *y) {
  const float sum = sn_reduce<sn_sum<float>, 128>(x[threadIdx.x]);
  y[threadIdx.x] = sn_reduce<sn_sum<float>, 128>(sum * x[threadIdx.x / 128 * 128]);
  if (threadIdx.x % 128 == 0) x[threadIdx.x] = sum;
}
"""
RACES = ("by_vote", "by_blocks")  # though nothing is taken out
LINES = [i + 1 for i, line in enumerate(KNOWN.split("\n")) if "__sync" in line]
ORDERED = {
    "in_block": LINES[0], "in_warp": OF_WARP + LINES[1], "in_grid": OF_GRID + 5,
    "after_atomics": LINES[2], "after_many_readers": LINES[3],
}  # fmt: skip


class Kernels:
    """A watched library, whose kernels are given two arrays."""

    def __init__(self, text: str, names: Collection[str], folder: Path) -> None:
        self.library = build(text, list(names), folder, watched=True)
        self.arrays = [np.zeros(256, np.int32) for _ in range(2)]

    def race(self, name: str, without: int = 0, threads: int = 64, blocks: int = 1) -> str:
        ctypes.c_int.in_dll(self.library, "shim_without").value = without
        ctypes.c_int.in_dll(self.library, "shim_count").value = 0
        given = [x.ctypes.data for x in self.arrays]
        try:
            run_kernel(
                self.library, name, (blocks, 1, 1), (threads, 1, 1), given,
                cooperative=name == "in_grid",
            )  # fmt: skip
        except KernelFailure as failure:
            return str(failure)
        return ""

    def barriers(self) -> list[int]:
        count = ctypes.c_int.in_dll(self.library, "shim_count").value
        return list((ctypes.c_int * count).in_dll(self.library, "shim_seen"))


def test_what_orders_threads_is_told(tmp_path: Path) -> None:
    """Barriers of a block, a warp and the grid, each of which is missed; no vote, no launch."""
    kernels = Kernels(KNOWN, [*ORDERED, *RACES], tmp_path)
    blocks = {"in_grid": 2, "by_blocks": 2}
    for name, barrier in ORDERED.items():
        assert kernels.race(name, blocks=blocks.get(name, 1)) == "", name
        assert "race: " in kernels.race(name, barrier, blocks=blocks.get(name, 1)), name
    for name in RACES:
        assert "race: " in kernels.race(name, blocks=blocks.get(name, 1)), name


@pytest.mark.parametrize(
    ("name", "threads", "most"),
    [("in_warp", 32, 1), ("in_block", 64, 1), ("down", 64, 2), ("in_halves", 256, 1)],
)
def test_sums_may_follow_each_other(name: str, threads: int, most: int, tmp_path: Path) -> None:
    """Each of their barriers is needed for that."""
    text = kernel_text(*HEADERS) + FOLLOWING
    kernels = Kernels(text, [name], tmp_path)
    assert kernels.race(name, threads=threads) == ""
    found = [x for x in kernels.barriers() if x < OF_WARP or name == "in_warp"]
    assert len(found) == most
    for barrier in found:
        assert "race: " in kernels.race(name, barrier, threads), barrier


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "softmax" else pytest.mark.slow) for n in STEPS]
)
def test_training_steps_have_no_races(name: str, tmp_path: Path) -> None:
    f, feeds = STEPS[name]()
    machine = Machine(lower(f), tmp_path, watched=True)
    for reverse in (False, True):
        assert machine.race(feeds, states(machine.graph), reverse) == ""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_ops_have_no_races(number: int, tmp_path: Path) -> None:
    f, feeds, _ = samples_of_all_dtypes(BATCHES[number], [DTYPES["float32"], DTYPES["int64"]])
    machine = Machine(lower(f), tmp_path, watched=True)
    assert machine.race(feeds, states(machine.graph)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_golden_graphs_have_no_races(part: int, tmp_path: Path) -> None:
    for file in GOLDEN[part::8]:
        f, feeds, dims = golden_graph(file)
        machine = Machine(lower(f, **dims), tmp_path, watched=True)
        told = machine.race(feeds, states(machine.graph))
        assert told == "", f"{file.parent.name}/{file.stem}: {told}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kind", "count", "blocks"), [("small", 5, 0), ("small", 2, 8), ("large", 2, 0)]
)
def test_random_programs_have_no_races(
    kind: str, count: int, blocks: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launch by launch, or as one kernel of so many blocks; values share an arena."""
    if blocks:
        whole.of_blocks(blocks, monkeypatch)
    program = batch(9000 + seed, count, kind)
    graph, _ = run_passes(program.graph, PIPELINE)
    machine = Machine(graph, tmp_path, arena=True, watched=True, persistent=blocks > 0)
    state = [feed(v, program.seed) for v in graph.variables]
    for reverse in (False, True):
        assert machine.race(program.feeds(0, {}), state, reverse) == ""


def attention(tokens: int, dtype: str, **options: Any) -> Case:
    """Attention over several blocks of keys, and its gradient."""
    q = sn.placeholder((1, 2, tokens, 24), dtype, "q")
    y = sn.nn.scaled_dot_product_attention(q, q, q, **options)
    slope = sn.grad(sn.sum(sn.square(sn.astype(y, "float32"))), [q])
    rng = np.random.default_rng(0)
    return sn.function(q, [y, *slope], device="numpy"), [
        rng.normal(size=(1, 2, tokens, 24)).astype(q.dtype)
    ]


def convolution(dtype: str) -> Case:
    """Several tiles of pixels and channels, with its gradients."""
    x, w = (sn.placeholder(s, dtype, n) for s, n in (((3, 40, 9, 9), "x"), ((70, 40, 3, 3), "w")))
    y = sn.nn.functional.conv2d(x, w, padding=1)
    slopes = sn.grad(sn.sum(sn.square(sn.astype(y, "float32"))), [x, w])
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=a.shape).astype(a.dtype) for a in (x, w)]
    return sn.function([x, w], [y, *slopes], device="numpy"), feeds


def routines() -> Case:
    """What is summed, sorted and gathered along lines longer than a block."""
    x, y = sn.placeholder((3, 2500), name="x"), sn.placeholder((2500, 3), name="y")
    i = sn.placeholder((3000,), "int64", "i")
    outputs = [sn.cumulative_sum(a, axis=k) for a in (x, y) for k in (0, 1)]
    outputs += [sn.sort(a, axis=k) for a in (x, y) for k in (0, 1)]
    outputs += [sn.argsort(x), sn.argmax(x), sn.argmax(x, axis=1), sn.argmin(y, axis=0)]
    outputs += [sn.sum(x), sn.max(y, axis=0), sn.mean(y), sn.logsumexp(x, axis=1)]
    outputs += [sn.stack(sn.unstack(y[:40])[::-1], 1), sn.matrix_transpose(x) + y]
    outputs.append(sn.scatter_add(y, i, sn.take(y, i, 0) * 2))
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=s).astype("f") for s in ((3, 2500), (2500, 3))]
    feeds.append(rng.integers(0, 40, 3000))
    return sn.function([x, y, i], outputs, device="numpy"), feeds


TINY, LARGE = ((5, 3), (3, 5), (4, 4)), ((40, 2), (2, 40), (20, 20))


def factorisations(shapes: tuple[tuple[int, int], ...], batch: int = 1) -> Case:
    """All of them, of tall, wide and square matrices."""
    rng = np.random.default_rng(0)
    inputs, outputs, feeds = list[Any](), list[Any](), list[Any]()
    for m, n in shapes:
        a = sn.placeholder((batch, m, n), "float64", f"a{m}")
        inputs.append(a)
        feeds.append(rng.normal(size=(batch, m, n)))
        outputs += [*sn.linalg.qr(a), *sn.linalg.svd(a, full_matrices=False)]
        outputs += [*sn.linalg.svd(a), *sn.linalg.qr(a, mode="complete")]
        if m == n:
            even = a @ sn.matrix_transpose(a) + 5 * sn.eye(n, dtype="float64")
            outputs += [*sn.linalg.eigh(even), sn.linalg.cholesky(even), sn.linalg.solve(even, a)]
            outputs += [sn.linalg.inv(even), sn.linalg.det(a), *sn.linalg.slogdet(a)]
    return sn.function(inputs, outputs, device="numpy"), feeds


def not_finite() -> Case:
    """What fails before anything is rotated."""
    a, b = (sn.placeholder((2, 9, 9), "float64", name) for name in "ab")
    outputs = [*sn.linalg.eigh(a), *sn.linalg.svd(b)]
    return sn.function([a, b], outputs, device="numpy"), [np.full((2, 9, 9), np.inf)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("shape", LARGE)
def test_factorisations_have_no_races(shape: tuple[int, int], tmp_path: Path) -> None:
    """Larger than a warp or a block, where a block has several."""
    f, feeds = factorisations((shape,), 3)
    machine = Machine(lower(f), tmp_path, watched=True)
    machine.program = in_turns(machine.program)
    assert machine.race(feeds, [], reverse=True) == ""


def of_blocks(count: int) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: whole.of_blocks(count, patch)


def looping(counts: tuple[int, ...]) -> Callable[[pytest.MonkeyPatch], None]:
    """Loops are kernels, of so many blocks or with weights that stay, and steps are launches."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(loops, "COUNTS", counts)
        patch.setattr(loops, "LEAST_GAIN", -1e9)
        patch.setattr(choice, "LEAST_GAIN", 1.0)

    return patched


def apart(patch: pytest.MonkeyPatch) -> None:
    """Launch by launch."""


def scattered() -> Case:
    """Rows added to by more indices than a block has threads."""
    i, x = sn.placeholder((600,), "int64", "i"), sn.placeholder((600, 40), name="x")
    y = sn.scatter_add(sn.constant(np.zeros((50, 40), "f")), i, x, 0)
    rng = np.random.default_rng(0)
    feeds = [rng.integers(0, 50, 600), rng.normal(size=(600, 40)).astype("f")]
    return sn.function([i, x], y, device="numpy"), feeds


Made = tuple[Callable[[], Case], Callable[[pytest.MonkeyPatch], None], dict[str, Any]]
STAYS: dict[str, Any] = {"persistent": True}
# what meets every barrier of a file of the device code, and together needs each
WHERE: dict[str, list[Made]] = {
    "attention.cuh": [
        (lambda: attention(150, "bfloat16", is_causal=True), apart, {}),
        (lambda: attention(70, "float32", dropout_p=0.25), apart, {}),
    ],
    "convolution.cuh": [(lambda: convolution("bfloat16"), apart, {})],
    "routines.cuh": [(scattered, apart, {}), (routines, apart, {})],
    "linalg.cuh": [
        (lambda: factorisations(TINY), apart, {}),
        (not_finite, apart, {}),
    ],
    "persistent.cuh": [
        (lambda: whole.chain(50), of_blocks(1), STAYS),
        (lambda: whole.chain(50), of_blocks(3), STAYS),
        (lambda: looped.recurrent("LSTM", 40, 16), looping((3,)), STAYS),
    ],
    "resident.cuh": [
        (resident.CASES["lstm_many"][0], looping(()), STAYS),
        (resident.CASES["long"][0], looping(()), STAYS),
        (resident.CASES["lstm_in_turn"][0], looping(()), {**STAYS, "chip": resident.FEW}),
    ],
}


def barriers_of(file: str) -> dict[int, str]:
    """The lines of a file of the device code that are barriers where a GPU and the shim run."""
    text = (kernels_path() / file).read_text(encoding="utf-8")
    shared = re.sub(
        r"#if defined\(__CUDACC__\).*?#(else|endif)",
        lambda x: "\n" * x[0].count("\n"),
        text,
        flags=re.DOTALL,
    )
    return {i: line for i, line in enumerate(shared.split("\n"), 1) if "__sync" in line}


def in_turns(program: CudaProgram) -> CudaProgram:
    """The program with so few blocks of kernels which share tasks that each has several of them."""
    texts = dict(
        re.findall(
            r"__global__ void (?:__launch_bounds__\([\d, ]+\)\s*)?(\w+)(\([^{]*\{.*?^\})",
            program.body,
            re.DOTALL | re.MULTILINE,
        )
    )
    return replace(
        program,
        launches=tuple(
            replace(x, grid=(min(2, x.grid[0]), 1, 1))
            if isinstance(x, Launch)
            and ("gridDim" in texts[x.function] or "blockIdx" not in texts[x.function])
            else x
            for x in program.launches
        ),
    )


def needed(made: Made, file: str, folder: Path) -> set[int]:
    """The lines of a file's barriers without which a case has races; it has none with all."""
    make, patched, options = made
    with pytest.MonkeyPatch.context() as patch:
        patched(patch)
        f, feeds = make()
        machine = Machine(lower(f), folder, watched=True, **options)
    if patched is apart:
        machine.program = in_turns(machine.program)
    start = states(machine.graph)
    assert machine.race(feeds, start) == ""
    source = machine.program.source
    text = (kernels_path() / file).read_text(encoding="utf-8")
    first = source.count("\n", 0, source.index(text))
    found = {x: x % OF_WARP - first for x in machine.barriers() if x < OF_GRID}
    lines = barriers_of(file)
    return {
        line
        for barrier, line in found.items()
        if line in lines and machine.race(feeds, start, without=barrier)
    }


@pytest.mark.slow
@pytest.mark.parametrize("file", WHERE)
def test_each_barrier_is_needed(file: str, tmp_path: Path) -> None:
    """Of a file of the device code: each that is there orders what nothing else does."""
    found = set[int]().union(*(needed(made, file, tmp_path) for made in WHERE[file]))
    left = {i: line for i, line in barriers_of(file).items() if i not in found}
    assert not left, f"{file}: nothing needs {left}"


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_barriers_between_stages_are_needed(number: int, tmp_path: Path) -> None:
    """Those of the grid: of a step that is one kernel, and of a loop."""
    make, patched, options = WHERE["persistent.cuh"][number]
    with pytest.MonkeyPatch.context() as patch:
        patched(patch)
        f, feeds = make()
        machine = Machine(lower(f), tmp_path, watched=True, **options)
    start = states(machine.graph)
    assert machine.race(feeds, start) == ""
    found = [x for x in machine.barriers() if x >= OF_GRID]
    assert len(found) > 2
    spare = [x - OF_GRID for x in found if not machine.race(feeds, start, without=x)]
    # before the last carries are copied, which here the threads do that wrote them
    assert spare == ([3] if number == 2 else [])
