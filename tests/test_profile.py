"""Profiles: times that add up, state that stays, shares of what the machine reaches, a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.profile import Lap, Part, make_profile
from staticnet.backends.rates import Rates
from staticnet.errors import ArgumentError, ExecutionError, FeedError

COMPILES = True
SHIPPED = True
DEVICES = ["numpy", pytest.param("cpu", marks=pytest.mark.skipif(
    find_compiler() is None, reason="no C compiler on this machine"))]  # fmt: skip
on_devices = pytest.mark.parametrize("device", DEVICES)
on_cpu = pytest.mark.parametrize("device", DEVICES[1:])
FEEDS = [np.random.default_rng(0).normal(size=(128, 200)).astype(np.float32), np.arange(128) % 10]


def training(device: str) -> tuple[Any, Any]:
    sn.manual_seed(0)
    x, y = sn.placeholder(("b", 200), name="x"), sn.placeholder(("b",), "int64", "y")
    layers = [sn.nn.Linear(200, 300), sn.nn.ReLU(), sn.nn.Dropout(0.1), sn.nn.Linear(300, 10)]
    model = sn.nn.Sequential(*layers)
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.Adam(lr=0.01).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, name="training"), model


@on_devices
def test_state_stays_bit_for_bit(device: str) -> None:
    step, _ = training(device)
    step(*FEEDS)
    before = [v.value.tobytes() for v in step.graph.variables]
    profile = step.profile(*FEEDS, repeat=4)
    assert [v.value.tobytes() for v in step.graph.variables] == before
    assert (profile.runs, profile.device, profile.graph) == (4, device, "training")
    assert "median of 4 after 3, on copies of the variables" in str(profile)
    # what a profiled step did is not seen by the next one
    other, _ = training(device)
    other(*FEEDS)
    assert step(*FEEDS) == other(*FEEDS)


@on_cpu
def test_each_launch_has_its_time_and_work(device: str) -> None:
    step, _ = training(device)
    profile = step.profile(*FEEDS, repeat=10)
    launches = [timed for timed in profile.parts if timed.part.kind != "copy"]
    assert [timed.part.name for timed in launches] == [
        f"launch {i}" for i in range(step.plan.launches)
    ]
    assert sum(timed.part.bytes for timed in profile.parts) == step.plan.bytes_moved
    assert sum(timed.part.flops for timed in launches) == step.explain().flops
    assert sum(timed.share for timed in profile.parts) == pytest.approx(1)
    assert all(timed.calls == 10 for timed in profile.parts)
    assert any("test_profile.py" in line for timed in launches for line in timed.part.lines)
    assert profile.seconds == pytest.approx(sum(timed.seconds for timed in profile.parts))
    for timed in profile.parts:
        assert min(timed.seconds, timed.share_of_copy, timed.share_of_products) >= 0


@on_devices
def test_a_product_is_told_in_flops(device: str) -> None:
    x = sn.placeholder((256, 256), name="x")
    profile = sn.function(x, x @ x, device=device).profile(np.ones((256, 256), "f"), repeat=10)
    (timed,) = profile.parts
    assert (timed.part.flops, timed.part.dtype) == (2 * 256**3, "float32")
    assert timed.flops_per_second == timed.part.flops / timed.seconds
    assert timed.share_of_products == pytest.approx(
        timed.flops_per_second / profile.rates.products["float32"]
    )
    assert timed.share_of_products > 0
    table = str(profile).splitlines()
    assert "float32 products" in table[1]
    assert table[2].split()[:3] == ["part", "kind", "time"]
    assert f"{timed.flops_per_second / 1e9:.2f}" in table[3]


@on_cpu
def test_a_map_is_told_in_bytes(device: str) -> None:
    x = sn.placeholder((1 << 20,), name="x")
    profile = sn.function(x, x * 2, device=device).profile(np.ones(1 << 20, "f"), repeat=10)
    (timed,) = profile.parts
    assert timed.part.bytes == 2 << 22
    assert timed.bytes_per_second == timed.part.bytes / timed.seconds
    assert timed.share_of_products == 0
    assert timed.share_of_copy == pytest.approx(
        timed.bytes_per_second / profile.rates.copy(timed.part.bytes)
    )
    sizes = [size for size, _ in profile.rates.copies]
    assert sizes == sorted(sizes)
    assert all(rate > 0 for _, rate in profile.rates.copies)
    assert profile.rates.copy(2 * sizes[-1]) == profile.rates.copies[-1][1]
    assert profile.rates.copy(sizes[0] + 1) == profile.rates.copies[1][1]


@on_cpu
def test_copies_are_parts_too(device: str) -> None:
    a, b = sn.variable(np.ones(4), "a"), sn.variable(np.zeros(4), "b")
    step = sn.function([], a, updates={a: b, b: a}, device=device)
    profile = step.profile(repeat=5)
    assert [timed.part.kind for timed in profile.parts] == ["copy", "copy"]
    assert sum(timed.part.bytes for timed in profile.parts) == step.plan.bytes_moved > 0
    np.testing.assert_array_equal(a.value, 1)


@on_devices
def test_a_trace_has_one_event_a_part(device: str, tmp_path: Path) -> None:
    step, _ = training(device)
    profile = step.profile(*FEEDS, repeat=3)
    profile.to_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(events) == len(profile.parts)
    end = 0.0
    for event, timed in zip(events, profile.parts, strict=True):
        assert event["name"].startswith(timed.part.name)
        assert event["ts"] == pytest.approx(end)
        assert event["dur"] == pytest.approx(timed.seconds * 1e6)
        assert event["args"]["bytes"] == timed.part.bytes
        assert event["args"]["lines"]
        end = event["ts"] + event["dur"]
    with pytest.raises(OSError, match="nowhere"):
        profile.to_chrome_trace(tmp_path / "nowhere" / "trace.json")


@on_devices
def test_as_often_as_fits(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("staticnet.backends.profile.BUDGET", 0.0)
    x = sn.placeholder((10,), name="x")
    assert sn.function(x, x + 1, device=device).profile(np.ones(10, "f")).runs == 5


@on_devices
def test_bad_input(device: str) -> None:
    x, i = sn.placeholder((4,), name="x"), sn.placeholder((2,), "int64", "i")
    f = sn.function([x, i], sn.take(x, i, axis=0), device=device)
    good, bad = np.ones(4, "f"), np.array([0, 4])
    for repeat in (0, -1, 2.0, True):
        with pytest.raises(ArgumentError, match="repeat must be a positive int"):
            f.profile(good, bad, repeat=repeat)
    with pytest.raises(FeedError):
        f.profile(good)
    with pytest.raises(ExecutionError, match="out of"):
        f.profile(good, bad)
    assert f.profile(i=np.array([0, 1]), x=good, repeat=1).runs == 1


def test_without_a_compiler_it_is_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("staticnet.backends.cpu.find_compiler", lambda: None)
    monkeypatch.setattr("staticnet.backends.cpu._told", {"compiler"})
    x = sn.placeholder((3,), name="x")
    profile = sn.function(x, sn.tanh(x), device="cpu").profile(np.ones(3, "f"), repeat=2)
    assert profile.device == "numpy"
    assert [timed.part.kind for timed in profile.parts] == ["tanh"]


def looping() -> Any:
    """A loop in a loop, one whose length only a run knows, a choice, and one of tiny steps."""
    a, n = sn.placeholder((40, 40), "float64", "a"), sn.placeholder((), "int64", "n")

    def inner(c: Any, _: Any) -> Any:
        return sn.tanh(c @ a), None

    nested, _ = sn.scan(lambda c, _: sn.scan(inner, c, None, length=3), a, None, length=5)
    count, grown = sn.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, sn.sin(s[1] @ a)), (0, a))
    chosen = sn.cond(n > 100, lambda: sn.exp(a) @ a, lambda: sn.cos(a) @ a)
    tiny, _ = sn.scan(lambda c, _: (sn.sin(c) * 1.5, None), sn.sum(a), None, length=9)
    return sn.function([a, n], [nested, count, grown, chosen, tiny], device="cpu")


def inside(timed: Any) -> list[Any]:
    """What is timed in a part, however deep."""
    return [found for each in timed.inside for found in (each, *inside(each))]


@on_cpu
def test_loops_are_taken_apart(device: str, tmp_path: Path) -> None:
    step, steps = looping(), 6
    profile = step.profile(np.full((40, 40), 0.01), steps, repeat=3)
    kernels = step.explain().kernels
    loops = {kernels[t.part.kernels[0]].kind: t for t in profile.parts if inside(t)}
    assert set(loops) == {"scan", "while_loop", "cond"}
    matrix = 40 * 40 * 8
    for kind, times in (("scan", 5 * 3), ("while_loop", steps)):
        (product,) = (t.part for t in inside(loops[kind]) if "matmul" in t.part.kind)
        assert product.bytes == times * 3 * matrix  # each step reads two matrices and writes one
        assert product.flops == times * 2 * 40**3
    products = [t for t in inside(loops["cond"]) if "matmul" in t.part.kind]
    assert [t.part.bytes for t in products] == [0, 3 * matrix]  # one branch was taken
    assert products[0].seconds == 0
    for loop in loops.values():
        assert sum(t.seconds for t in loop.inside) <= loop.seconds
        assert all(t.calls == 3 for t in inside(loop))
    summed = sum(row.seconds for row in profile.by_module().values())
    assert summed == pytest.approx(profile.seconds)
    profile.to_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    for event, timed in zip(events, profile.parts, strict=True):
        assert list(event["args"].get("inside", {})) == [t.part.name for t in inside(timed)]
    _check_table(str(profile), kernels)
    assert "SN_LAP" not in step.source()


def _check_table(text: str, kernels: Any) -> None:
    """Below each loop are its kernels, two columns to the right of it; those of tiny steps too."""
    lines = text.splitlines()
    for loop in (kernel for kernel in kernels if kernel.bodies):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"launch {loop.launch} "))
        first = loop.bodies[0].explanation.kernels[0]
        assert lines[at + 1].startswith(f"  kernel {loop.number}.0 ")
        if first.bodies:
            assert lines[at + 2].startswith(f"    kernel {loop.number}.0.0 ")
        tiny = loop.domain == (9,) or loop.kind == "while_loop"
        assert ("not timed apart" in lines[at + 1]) == tiny


def test_the_clock_is_taken_off_loops_for_each_time_it_was_read() -> None:
    def part(name: str, number: int, inside: str, module: str, *bodies: tuple[Part, ...]) -> Part:
        return Part(name, "", 10, 1, (), "", (number,), (module,), inside, bodies)

    deep = part("kernel 0.1.0", 0, "0.1.", "c")
    body = (part("kernel 0.0", 0, "0.", "b"), part("kernel 0.1", 1, "0.", "a", (deep,)))
    loop = part("launch 0", 0, "", "a", body)
    laps = {"0.0": Lap(10.0, 4), "0.1": Lap(20.0, 4), "0.1.0": Lap(12.0, 8)}
    profile = make_profile("g", "cpu", [loop], [[40.0]], 0.25, Rates(((1, 1.0),), {}), laps)
    (timed,) = profile.parts
    first, second = timed.inside
    assert first.seconds == 10 - 4 * 0.25
    assert second.inside[0].seconds == 12 - 8 * 0.25
    # where each of 8 steps begins, what ends each, and its own end, 4 times
    assert second.seconds == 20 - (8 + 8 + 4) * 0.25
    assert timed.seconds == 40 - (4 + 4 + 20 + 1) * 0.25
    assert profile.seconds == timed.seconds
    assert (timed.part.bytes, second.part.bytes, second.inside[0].part.bytes) == (120, 80, 80)
    rows = profile.by_module()
    assert rows["b"].seconds == first.seconds
    assert rows["c"].seconds == second.inside[0].seconds
    assert rows["a"].seconds == timed.seconds - rows["b"].seconds - rows["c"].seconds
    assert rows["a"].bytes == 0
