"""Random programs: each device, pass and number of threads computes the same, mostly to the bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_programs import NO_PASSES, Check, Fault, Runs, Way, must_hold, shrunk
from cuda_shim import CXX
from random_programs import batch, make, replay, side_by_side
from test_cuda_persistent import of_blocks

import staticnet.backends.cpu as cpu
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.compilation import PASSES

COMPILES = True
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")

C, N, SHIM = Way("cpu"), Way("numpy"), Way("shim")
FAST_C, FAST_N = Way("cpu", numerics="fast"), Way("numpy", numerics="fast")
EXACT = Check(N, Way("numpy", left_out=NO_PASSES))
FAST = Check(FAST_N, N, "noise")
VALUES, FAST_VALUES = Check(C, N, "values"), Check(FAST_C, FAST_N, "values")
UNFUSED = Check(C, Way("cpu", left_out=("fusion",)))
FAST_UNFUSED = Check(FAST_C, Way("cpu", numerics="fast", left_out=("fusion",)))
MORE_OUTPUTS = Check(C, Way("cpu", with_inner=True))
THREADS = [Check(C, Way("cpu", threads=n)) for n in (1, 3)]
MANY = [Check(way, dataclasses.replace(way, many=True)) for way in (C, N)]
WITHOUT_A_PASS = [
    Check(C, Way("cpu", left_out=(name,)))
    for name in PASSES
    if name not in ("infer_shape", "fusion")
]
# what a batch is checked for, in turn: compiling is what takes the time
TURNS = [
    turn
    for check in (MORE_OUTPUTS, *WITHOUT_A_PASS)
    for turn in ([VALUES, UNFUSED], [VALUES, check], [FAST_VALUES, FAST_UNFUSED])
]
SIZES = [{"a": 0, "b": 1}, {"a": 1, "b": 3}, {"a": 5, "b": 2}, {"a": 130, "b": 70}]


@pytest.fixture
def unoptimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """C that compiles in a tenth of the time; what it computes may not depend on that."""
    compiler = find_compiler()
    assert compiler is not None
    flags = tuple("-O0" if flag == "-O3" else flag for flag in compiler.flags)
    quick = dataclasses.replace(compiler, flags=flags)
    monkeypatch.setattr(cpu, "find_compiler", lambda: quick)


@pytest.fixture
def thrown_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What is compiled is not kept: it is much, and is run once."""
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path / "cache"))
    yield
    for file in (tmp_path / "cache").rglob("*.so"):
        file.unlink()


def test_passes_keep_the_bits_on_the_reference() -> None:
    must_hold(batch(0, 80), [EXACT])


@pytest.mark.parametrize("seed", range(2))
def test_programs(seed: int, unoptimised: None) -> None:
    must_hold(batch(seed, 45), [EXACT, VALUES, UNFUSED])


def test_large_programs_on_any_number_of_threads(unoptimised: None) -> None:
    must_hold(batch(0, 12, "large"), [VALUES, *THREADS])


def test_programs_of_symbolic_sizes(unoptimised: None) -> None:
    program = batch(0, 20, "symbolic")
    for dims in SIZES[::3]:
        must_hold(program, [VALUES], **dims)


def test_run_and_calls(unoptimised: None) -> None:
    must_hold(batch(0, 30, "rows"), [VALUES, *MANY])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1340))
def test_seventeen_thousand_programs(seed: int, unoptimised: None, thrown_away: None) -> None:
    must_hold(batch(seed, 50), [EXACT, *TURNS[seed % len(TURNS)]])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2020))
def test_optimised_programs(seed: int, thrown_away: None) -> None:
    must_hold(batch(seed, 20, "large" if seed % 2 else "small"), [VALUES, UNFUSED, *THREADS])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3000, 3020))
def test_a_thousand_programs_without_state_fast(seed: int) -> None:
    made = [make(seed, number) for number in range(100)]
    must_hold(side_by_side([p for p in made if not p.updates]), [FAST])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4000, 4016))
def test_large_programs(seed: int, unoptimised: None, thrown_away: None) -> None:
    must_hold(batch(seed, 25, "large"), [EXACT, VALUES, *THREADS, TURNS[seed % len(TURNS)][1]])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5000, 5010))
def test_programs_of_more_symbolic_sizes(seed: int, unoptimised: None, thrown_away: None) -> None:
    program = batch(seed, 40, "symbolic")
    for dims in SIZES:
        must_hold(program, [EXACT, VALUES, UNFUSED], **dims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6000, 6010))
def test_more_of_run_and_calls(seed: int, unoptimised: None, thrown_away: None) -> None:
    must_hold(batch(seed, 50, "rows"), [VALUES, UNFUSED, *MANY])


@pytest.mark.slow
@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("seed", range(7000, 7012))
def test_programs_as_cuda(seed: int) -> None:
    unfused = Way("shim", left_out=("fusion",))
    must_hold(batch(seed, 15), [Check(SHIM, N, "values"), Check(SHIM, unfused)])


@pytest.mark.slow
@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("seed", range(7100, 7108))
def test_programs_as_one_kernel(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one block, or of several."""
    of_blocks((1, 8)[seed % 2], monkeypatch)
    must_hold(batch(seed, 3), [Check(Way("shim", persistent=True), N, "values")])


FOUND = sorted((Path(__file__).parent / "found").glob("*.sn"))


@pytest.mark.parametrize("file", FOUND, ids=[file.stem for file in FOUND])
def test_programs_that_once_failed(file: Path) -> None:
    must_hold(replay(file.read_text(encoding="utf-8")), [EXACT, VALUES, UNFUSED])


def test_a_failure_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One op that is always wrong, somewhere in forty programs, is shown nearly alone."""

    def fault(runs: Runs, check: Check) -> Fault | None:
        names = [node.op.name for node in runs.program.graph.nodes]
        return Fault("differs", "", [0]) if "cumulative_sum" in names else None

    monkeypatch.setattr(Runs, "fault", fault)
    program = batch(0, 40)
    assert len(program.graph.nodes) > 200
    small, _ = shrunk(program, Fault("differs", "", [0]), EXACT, {})
    assert len(small.graph.nodes) <= 6
    assert len(replay(str(small.graph)).graph.nodes) == len(small.graph.nodes)
