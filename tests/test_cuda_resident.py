"""Weights that stay in shared memory for a loop's steps, against the reference and taken apart."""

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
from test_cuda_loops import kernels_of_loops, nvrtc
from tolerance import close

import staticnet as sn
from staticnet.codegen.commands import Launch, walk
from staticnet.codegen.cuda import choice, loops
from staticnet.codegen.cuda.parts import Chip
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.plan.planner import make_plan

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


@pytest.fixture
def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are kernels whose weights stay, and steps are launches."""
    monkeypatch.setattr(loops, "COUNTS", ())
    monkeypatch.setattr(loops, "LEAST_GAIN", -1e9)
    monkeypatch.setattr(choice, "LEAST_GAIN", 1.0)


def recurrent(
    kind: str, batch: int, units: int, precision: str, device: str = "numpy", **options: Any
) -> tuple[Any, list[Any]]:
    """A training step of a recurrent layer over 4 steps."""
    x = sn.placeholder((batch, 4, 5), name="x")
    layer = getattr(sn.nn, kind)(5, units, batch_first=True, seed=1, **options)
    loss = sn.mean(sn.square(layer(x)[0]))
    updates = sn.optim.SGD(lr=0.5).minimize(loss)
    rng = np.random.default_rng(0)
    f = sn.function(x, loss, updates=updates, device=device, precision=precision)
    return f, [rng.normal(size=(batch, 4, 5)).astype("f")]


def product(m: int, k: int, n: int, dtype: str, device: str = "numpy") -> tuple[Any, list[Any]]:
    """Steps of m rows that are multiplied by a matrix of many terms, no two sizes alike."""
    xs, w = sn.placeholder((3, m, k), dtype, "xs"), sn.placeholder((k, n), dtype, "w")

    def body(c: Any, x: Any) -> Any:
        y = c @ w
        return c * 0.5 + x * y[:, :1], y

    total, ys = sn.scan(body, xs[1], xs)
    rng = np.random.default_rng(1)
    feeds = [(rng.normal(size=s) / 8).astype(xs.dtype) for s in ((3, m, k), (k, n))]
    return sn.function([xs, w], [total, ys], device=device), feeds


def rounded(m: int, n: int, kept: bool) -> tuple[Any, list[Any]]:
    """Steps whose left matrix is rounded in them; unless it is `kept`, the result lies over it."""
    xs, w = sn.placeholder((3, m, n), name="xs"), sn.placeholder((2 * n, n), "bfloat16", "w")

    def body(c: Any, x: Any) -> Any:
        left = sn.concat([sn.sin(c), sn.cos(c) * x], 1)
        y = sn.astype(sn.astype(left, "bfloat16") @ w, "float32")
        return sn.tanh(y) + x, sn.sum(left) if kept else sn.sum(y)

    total, ys = sn.scan(body, xs[1], xs)
    rng = np.random.default_rng(1)
    feeds = [(rng.normal(size=x.shape) / 4).astype(x.dtype) for x in (xs, w)]
    return sn.function([xs, w], [total, ys], device="numpy"), feeds


# rows, units and precision; tiles of both loops, which three blocks share
CASES: dict[str, tuple[Callable[[], tuple[Any, list[Any]]], list[int]]] = {
    "lstm_one_each": (lambda: recurrent("LSTM", 16, 16, "bfloat16"), [4, 2]),
    "lstm_many": (lambda: recurrent("LSTM", 40, 16, "bfloat16"), [12, 6]),
    "lstm_odd": (lambda: recurrent("LSTM", 3, 7, "float16"), [4, 1]),
    "lstm_tf32": (lambda: recurrent("LSTM", 20, 24, "tf32"), [12, 6]),
    "lstm_projected": (lambda: recurrent("LSTM", 5, 8, "bfloat16", proj_size=3), [4, 1, 1, 1]),
    "both_ways": (lambda: recurrent("LSTM", 3, 8, "bfloat16", bidirectional=True), [2, 2, 1, 1]),
    "gru": (lambda: recurrent("GRU", 8, 16, "bfloat16"), [4, 2]),
    "gru_alone": (
        lambda: recurrent("GRU", 5, 7, "float16", bias=False, num_layers=2),
        [4, 1],
    ),
    "rnn": (lambda: recurrent("RNN", 20, 40, "tf32"), [10, 10]),
    "long": (lambda: product(17, 1100, 13, "bfloat16"), [4]),
    "long_float16": (lambda: product(2, 515, 40, "float16"), [5]),
    "rounded": (lambda: rounded(2, 40, True), [5]),
    "rounded_below": (lambda: rounded(2, 40, False), [5]),
    "in_turn": (lambda: product(70, 33, 13, "float16"), [3]),
    "lstm_in_turn": (lambda: recurrent("LSTM", 50, 9, "float16"), [2, 2]),
}
DEFAULT = ("lstm_one_each", "rounded_below", "long", "in_turn")
FEW = Chip(3)  # on which blocks have rows below each other


def turns_of(source: str) -> set[int]:
    """In how many turns blocks take their rows."""
    return {int(n) for n in re.findall(r"for \(int turn = 0; turn < (\d+);", source)}


def tiles_of(source: str) -> list[int]:
    """Of each matrix that stays, how many blocks it asks for."""
    return [int(n) for n in re.findall(r"const bool stays\d+ = gridDim\.x >= (\d+);", source)]


@needs_shim
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in DEFAULT else pytest.mark.slow) for n in CASES]
)
def test_they_follow_the_reference(name: str, tmp_path: Path, stay: None) -> None:
    """What stays and what is taken anew for each tile; the bits in any order of blocks."""
    make, tiles = CASES[name]
    f, feeds = make()
    tf32 = f.precision == "tf32"
    several = name.endswith("in_turn")
    chip = FEW if several else Chip()
    machine = Machine(lower(f), tmp_path, tf32=tf32, persistent=True, chip=chip)
    assert tiles_of(machine.program.source) == tiles
    assert turns_of(machine.program.source) == {2 if several else 1}
    state = states(machine.graph)
    for _ in range(2):
        failed, outputs, after = machine.run(feeds, state)
        again = machine.run(feeds, state, reverse=True)
        assert failed == 0
        for a, b in zip([*outputs, *after], [*again[1], *again[2]], strict=True):
            np.testing.assert_array_equal(a, b)
        wanted = f(*feeds)
        for got, right in zip(outputs, wanted if len(outputs) > 1 else [wanted], strict=True):
            tolerance = {2: 2e-2 if "float16" not in name else 2e-3, 4: 1e-3 if tf32 else 1e-5}
            close(got, right, tolerance[got.dtype.itemsize])
        state = after
    for got, right in zip(state, states(machine.graph), strict=True):
        close(got, right, 1e-3)


@pytest.mark.parametrize(("kind", "options"), [("LSTM", {}), ("GRU", {}), ("GRU", {"bias": False})])
def test_a_gates_units_are_of_one_block_and_casts_are_made_on_the_way(
    kind: str, options: dict[str, Any], stay: None
) -> None:
    """A step forwards has one barrier; backwards the gates' gradients are a stage of their own."""
    f, _ = recurrent(kind, 16, 16, "bfloat16", **options)
    source = write_cuda_program(make_plan(lower(f)), persistent=True).source
    forwards, backwards = (source[source.index(f"\nloop{i}(") :].split("\n}\n")[0] for i in (1, 2))
    assert len(re.findall(r"sn_grid_sync", forwards)) == 2  # a step's, and before the last carries
    assert len(re.findall(r"sn_grid_sync", backwards)) == 2
    for text in (forwards, backwards):
        assert "sn_resident_product<sn_of_bf16, sn_of_f32, 0, " in text
        assert len(re.findall(r"\btk\d+_\d+\(sn_first_row", text)) == 1


def test_weights_that_change_do_not_stay(stay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix that is the step's own, that a step makes, or that is carried."""
    xs = sn.placeholder((3, 4, 8), "bfloat16", "xs")
    ws, w = sn.placeholder((3, 8, 8), "bfloat16", "ws"), sn.placeholder((8, 8), "bfloat16", "w")
    own = sn.scan(lambda c, p: (c @ p[1] + p[0], ()), xs[0], (xs, ws))[0]
    made = sn.scan(lambda c, x: (c @ sn.exp(w * x[0]) + x, ()), xs[0], xs)[0]
    carried = sn.scan(lambda c, x: ((x @ c[1], c[1] * 2), ()), (xs[0], w), xs)[0]
    monkeypatch.setattr(loops, "COUNTS", (3,))
    for outputs in (own, made, carried):
        f = sn.function([xs, ws, w], outputs, device="numpy")
        program = write_cuda_program(make_plan(lower(f)), persistent=True)
        assert len(kernels_of_loops(program)) == 1
        assert not tiles_of(program.source)


BARRIER = re.compile(r"sn_grid_sync\(barrier, \d+\)|if \(!?stays0[^;]*;")


@needs_shim
@pytest.mark.parametrize("which", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_what_is_taken_out_is_found(which: int, tmp_path: Path, stay: None) -> None:
    """The first fill, that of each tile, and the barrier of a step."""
    f, feeds = recurrent("LSTM", 16, 8 if which == 0 else 16, "bfloat16")
    machine = Machine(lower(f), tmp_path, persistent=True)
    source, start = machine.program.source, states(machine.graph)
    at = source.index("\nloop1(")
    x = [x for x in BARRIER.finditer(source) if x.start() > at][which]
    other = source[: x.start()] + ";" + source[x.end() :]
    assert machine.is_told_from(other, tmp_path, feeds, start)


def large(chip: Chip) -> tuple[Any, list[Launch]]:
    """Two LSTMs' kernels of 512 units and batches of 128, for a GPU."""
    f, _ = recurrent("LSTM", 128, 512, "bfloat16")
    program = write_cuda_program(make_plan(lower(f)), persistent=True, chip=chip)
    return program, kernels_of_loops(program)


def test_an_estimate_keeps_large_weights_where_they_fit() -> None:
    """A matrix lies on the multiprocessors of large GPUs, and on no smaller one's."""
    program, found = large(Chip())
    assert len(found) == 2
    told = r"a loop of 4 steps is one kernel of 128 blocks, with 131,072 bytes of weights in each: "
    assert len(re.findall(told, program.choice)) == 2
    for launch in found:
        assert launch.cooperative
        assert 48 << 10 < launch.shared_bytes <= Chip().shared_bytes - 1024
    program, found = large(Chip(30, 99 << 10))
    assert not found
    assert "a loop of 4 steps is launched step by step" in program.choice
    assert not tiles_of(program.source)


@needs_shim
def test_the_driver_is_asked_for_shared_memory(gpu: Gpu, stay: None) -> None:
    """More than 48 KiB must be allowed; a call follows the reference."""
    step, feeds = product(3, 2300, 8, "bfloat16", "cuda")
    program = step.specialize().executable.program
    (launch,) = (c for c in walk(program.launches) if isinstance(c, Launch) and c.shared_bytes)
    assert launch.shared_bytes > 48 << 10
    wanted = product(3, 2300, 8, "bfloat16")[0](*feeds)
    for got, right in zip(step(*feeds), wanted, strict=True):
        close(got.get(), right, 2e-2)


@pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize(
    ("precision", "architecture"),
    [
        pytest.param(p, a, marks=[] if (p, a) == ("bfloat16", "sm_90") else pytest.mark.slow)
        for p in ("bfloat16", "float16", "tf32")
        for a in ("sm_80", "sm_90")
    ],
)
def test_they_compile_without_spills(precision: str, architecture: str, stay: None) -> None:
    """Matrix units, accesses of 16 bytes, and no shared memory but what the launch asks for."""
    f, _ = recurrent("LSTM", 128, 512, precision)
    program = write_cuda_program(make_plan(lower(f)), precision == "tf32", persistent=True)
    compiled = kernels_of(nvrtc.compile(program.source, architecture))
    found = kernels_of_loops(program)
    assert len(found) == 2
    for launch in found:
        kernel = compiled[launch.function]
        assert kernel.frame == 0
        assert kernel.registers <= 168
        assert kernel.shared + launch.shared_bytes <= 163 << 10
        assert kernel.does["HMMA"]
        assert kernel.does["LDS.128"]
        assert kernel.does["LDG.128"]
        assert not kernel.does["LDL"]
