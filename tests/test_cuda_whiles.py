"""A `while` as one kernel: it computes what the host's launches do, in any order of blocks."""

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
from staticnet.codegen.commands import Branch, While, walk
from staticnet.codegen.cuda import choice, loops, whiles
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.plan.planner import make_plan

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
Case = tuple[Any, list[Any]]
RNG = np.random.default_rng(0)


@pytest.fixture
def stay(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The estimate finds so many blocks of one kernel best for loops, and launches for steps."""

    def of_blocks(count: int) -> None:
        for module in (loops, whiles):
            monkeypatch.setattr(module, "COUNTS", (count,))
            monkeypatch.setattr(module, "LEAST_GAIN", -1e9)
        monkeypatch.setattr(choice, "LEAST_GAIN", 1.0)

    return of_blocks


def grown(m: int = 64, n: int = 24) -> Any:
    """Powers of a matrix until a sum is large, and their number: of several blocks."""
    x, w = sn.placeholder((m, n), name="x"), sn.placeholder((n, n), name="w")
    most, limit = sn.placeholder((), "int32", "most"), sn.placeholder((), name="limit")

    def test(c: Any) -> Any:
        return (sn.sum(c[1] * c[1]) < limit) & (c[0] < most)

    def body(c: Any) -> Any:
        return c[0] + 1, sn.tanh(c[1]) @ w + c[1] * 1.5

    first = (sn.constant(np.int32(0)), x)
    return sn.function([x, w, most, limit], list(sn.while_loop(test, body, first)), device="numpy")


def power() -> Case:
    """At the sixth step the sum is too large, and a part of an older one would not be."""
    f, feeds = grown(), [(RNG.normal(size=s) / 2).astype("f") for s in ((64, 24), (24, 24))]
    sixth = f(*feeds, np.int32(6), np.float32(np.inf))[1]
    return f, [*feeds, np.array(30, "i"), np.array(0.9 * (sixth * sixth).sum(), "f")]


def carried() -> Case:
    """Carries of several types, rows' sums, a half, and no element."""
    x, n = sn.placeholder((3, 5), name="x"), sn.placeholder((), "int16", "n")

    def body(c: Any) -> Any:
        i, y, seen, half, none = c
        y = sn.nn.softmax(y * 1.5, axis=-1) + sn.mean(y, axis=0)
        return i + 1, y, seen | (y > 0.7), half * 0.5 + sn.sum(sn.astype(y, "float16")), none * 2

    none = sn.zeros((0, 3))
    first = (sn.constant(np.int16(0)), x, x > 9, sn.constant(np.float16(1)), none)
    results = sn.while_loop(lambda c: c[0] < n, body, first)
    feeds = [RNG.normal(size=(3, 5)).astype("f"), np.array(4, np.int16)]
    return sn.function([x, n], list(results), device="numpy"), feeds


def never() -> Case:
    """A test that fails at once, and one whose body leaves its carry as it is."""
    f, (x, _) = carried()
    return f, [x, np.array(0, np.int16)]


def inside() -> Case:
    """In a scan, on a side of a choice, in another; a scan in one, and a choice."""
    xs, go = sn.placeholder((3, 4), name="xs"), sn.placeholder((3,), "bool", "go")

    def grown(v: Any) -> Any:
        return sn.while_loop(lambda c: sn.sum(c * c) < 40, lambda c: c * 2 + 1, v)

    def step(total: Any, each: Any) -> Any:
        x, chosen = each
        y = sn.cond(chosen, grown, lambda v: v - 1, x)
        return total + y, y

    total, ys = sn.scan(step, xs[0] * 0, (xs, go))

    def turn(c: Any) -> Any:
        i, y = c
        y = sn.scan(lambda a, x: (a * 0.5 + x, ()), y, xs)[0]
        y = sn.cond(sn.sum(y) > 1, lambda v: v * 0.5, lambda v: v + 1, y)
        return i + 1, sn.while_loop(lambda c: sn.max(c) > 3, lambda c: c * 0.5, y)

    _, last = sn.while_loop(lambda c: c[0] < 3, turn, (0, xs[1]))
    feeds = [RNG.normal(size=(3, 4)).astype("f"), np.array([True, False, True])]
    return sn.function([xs, go], [total, ys, last], device="numpy"), feeds


CASES: dict[str, Callable[[], Case]] = {
    "power": power, "carried": carried, "never": never, "inside": inside,
}  # fmt: skip
DEFAULT = (("power", 3), ("carried", 3), ("inside", 1))


@needs_shim
@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param(n, b, marks=[] if (n, b) in DEFAULT else pytest.mark.slow)
        for n in CASES
        for b in (1, 3)
    ],
)
def test_they_follow_the_reference(
    name: str, blocks: int, tmp_path: Path, stay: Callable[[int], None]
) -> None:
    stay(blocks)
    f, feeds = CASES[name]()
    machine = Machine(lower(f), tmp_path, persistent=True)
    left = [c for c in walk(machine.program.launches) if isinstance(c, While | Branch)]
    assert len(left) == (name == "inside")  # what holds other loops
    assert kernels_of_loops(machine.program)
    failed, outputs, _ = machine.run(feeds, [])
    again = machine.run(feeds, [], reverse=True)[1]
    assert failed == 0
    for a, b, right in zip(outputs, again, f(*feeds), strict=True):
        np.testing.assert_array_equal(a, b)
        close(a, right, 1e-2 if right.dtype == np.float16 else 1e-5)


BARRIER = re.compile(r"sn_grid_sync\(barrier, \d+\);")


@needs_shim
@pytest.mark.parametrize(
    "which", [1, *(pytest.param(i, marks=pytest.mark.slow) for i in (0, 2, 3))]
)
def test_a_barrier_that_is_taken_out_is_found(
    which: int, tmp_path: Path, stay: Callable[[int], None]
) -> None:
    """Between the stages of the test and of the body, behind both."""
    stay(3)
    f, feeds = power()
    machine = Machine(lower(f), tmp_path, persistent=True)
    source = machine.program.source
    found = [x for x in BARRIER.finditer(source) if x.start() > source.index("\nloop1(")]
    assert len(found) == 4
    x = found[which]
    other = source[: x.start()] + source[x.end() :]
    assert machine.is_told_from(other, tmp_path, feeds, states(machine.graph))


def test_an_estimate_chooses_and_says_why() -> None:
    """A host's look is dear; of large products the library's are faster even so."""
    programs = [
        write_cuda_program(make_plan(lower(grown(*sizes))), persistent=persistent)
        for sizes, persistent in (((64, 24), True), ((4096, 2048), True), ((64, 24), False))
    ]
    small, large, apart = programs
    told = (
        r"a while is one kernel of \d+ blocks: \S+ µs a step by the estimate, 4 launches and a look"
    )
    assert re.search(told, small.choice)
    assert not small.waits_for_host
    assert "asked on the way" not in small.choice
    assert "asked on the way" in large.choice
    assert "a while is launched step by step: one kernel " in large.choice
    assert large.waits_for_host
    assert large.may_ask_device
    assert apart.waits_for_host


@needs_shim
def test_a_step_with_a_while_is_captured(gpu: Gpu, stay: Callable[[int], None]) -> None:
    stay(3)
    x = sn.placeholder((4,), name="x")
    y = sn.while_loop(lambda c: sn.sum(c) < 100, lambda c: c * 2 + 1, x)
    step = sn.function(x, y, device="cuda")
    for start in (1.0, 30.0, 2.0):
        gpu.log.clear()
        np.testing.assert_array_equal(step(np.full(4, start, "f")).get(), doubled(start))
    assert [e[0] for e in gpu.log if e[0] in ("graph", "kernel")] == ["graph"]
    assert "a while is one kernel of 3 blocks" in str(step.explain())


def doubled(start: float) -> Any:
    """What the loop above makes of four equal numbers."""
    while 4 * start < 100:
        start = start * 2 + 1
    return np.full(4, start, "f")


@pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("architecture", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
def test_they_compile_without_spills(architecture: str, stay: Callable[[int], None]) -> None:
    stay(128)
    program = write_cuda_program(make_plan(lower(grown(4, 128))), persistent=True)
    (launch,) = kernels_of_loops(program)
    kernel = kernels_of(nvrtc.compile(program.source, architecture))[launch.function]
    assert kernel.frame == 0
    assert not kernel.does["LDL"]
