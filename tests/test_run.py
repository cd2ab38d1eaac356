"""Runs of many steps: what they read in place, and that Ctrl-C ends them between two steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from fake_gpu import Graph

import staticnet as sn
from staticnet.backends.cuda import many
from staticnet.backends.pieces import MOST_GROWTH, PIECE_SECONDS, next_count

COMPILES = True
DATA = np.arange(30.0).reshape(10, 3)
COUNTER = """
import signal, sys
import numpy as np, staticnet as sn
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs of a shell's background
x = sn.placeholder(("b", 3), "float64", "x")
w, v = sn.variable(np.zeros(3), "w"), sn.variable(np.zeros(3), "v")
f = sn.function(x, [], updates={w: w + 1 + 0 * sn.sum(x), v: w + 1}, device=sys.argv[1])
f.run(1, np.ones((10, 3)), batch_size=2)
try:
    print("ready", flush=True)
    f.run(10**9, np.ones((10, 3)), batch_size=2)
except KeyboardInterrupt:
    print("stopped", *w.value, *v.value, flush=True)
"""


def counter(device: str) -> tuple[Any, Any, Any]:
    """A step that counts in two variables, whose sum of rows tells which batch it got."""
    x = sn.placeholder(("b", 3), "float64", "x")
    w, v = sn.variable(np.zeros(3), "w"), sn.variable(np.zeros(3), "v")
    f = sn.function(x, sn.sum(x), updates={w: w + 1, v: w + 1 + 0 * sn.sum(x)}, device=device)
    return f, w, v


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("batch", [None, 1, 3, 5, 10])
def test_batches_in_order_are_rows_as_they_lie(device: str, batch: int | None) -> None:
    f, w, _ = counter(device)
    size = batch or 10
    starts = [i % (10 // size) * size for i in range(7)]
    wanted = [DATA[i : i + size].sum() for i in starts]
    np.testing.assert_array_equal(f.run(7, DATA, batch_size=batch), wanted)
    np.testing.assert_array_equal(w.value, np.full(3, 7.0))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_steps_that_are_fed_nothing(device: str, shuffle: bool) -> None:
    w = sn.variable(np.zeros(3), "w")
    f = sn.function([], sn.sum(w), updates={w: w + 1}, device=device)
    np.testing.assert_array_equal(f.run(5, shuffle=shuffle), [0, 3, 6, 9, 12])
    with pytest.raises(sn.errors.FeedError, match="no placeholders to feed"):
        f.run(5, batch_size=2)


def test_batches_in_order_on_a_gpu(gpu: Any) -> None:
    f, _, _ = counter("cuda")
    wanted = [DATA[i : i + 3].sum() for i in (0, 3, 6, 0, 3, 6, 0)]
    np.testing.assert_array_equal(f.run(7, DATA, batch_size=3).get(), wanted)


def test_a_whole_set_in_order_is_one_foreign_call_a_piece_and_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f, _, _ = counter("cpu")
    executable: Any = f.specialize(b=10).executable
    real, seen = executable._many, []

    def watched(table: Any, arena: Any, arguments: Any) -> Any:
        failed = real(table, arena, arguments)
        seen.append((arguments._obj.steps, arguments._obj.order, table[0]))
        return failed

    monkeypatch.setattr(executable, "_many", watched)
    f.run(40, DATA)
    assert sum(steps for steps, _, _ in seen) == 40
    assert [order for _, order, _ in seen] == [None] * len(seen)
    assert {place for _, _, place in seen} == {DATA.ctypes.data}


def test_pieces_grow_to_their_time_and_no_faster() -> None:
    assert next_count(1, PIECE_SECONDS / 1e6) == MOST_GROWTH
    assert next_count(100, PIECE_SECONDS / 2) == 200
    assert next_count(100, PIECE_SECONDS * 4) == 25
    assert next_count(1, 100.0) == 1
    assert next_count(5, 0.0) == 5 * MOST_GROWTH


def test_between_two_pieces_the_state_is_that_of_whole_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f, w, v = counter("cpu")
    executable: Any = f.specialize(b=2).executable
    real, made = executable._many, [0]

    def interrupted(table: Any, arena: Any, arguments: Any) -> Any:
        if made[0] >= 17:
            raise KeyboardInterrupt
        made[0] += arguments._obj.steps
        return real(table, arena, arguments)

    monkeypatch.setattr(executable, "_many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        f.run(10**6, DATA, batch_size=2)
    np.testing.assert_array_equal(w.value, np.full(3, made[0]))
    np.testing.assert_array_equal(v.value, w.value)
    monkeypatch.undo()
    assert f(DATA[:2]) == DATA[:2].sum()  # nothing is held


def test_a_run_on_a_gpu_ends_between_two_launches(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, w, v = counter("cuda")
    waits = iter(range(3))

    def interrupted(done: Any) -> None:
        if next(waits, None) is None:
            raise KeyboardInterrupt
        assert done()

    monkeypatch.setattr(many, "wait_until", interrupted)
    with pytest.raises(KeyboardInterrupt):
        f.run(10**6, DATA, batch_size=2)
    assert 0 < w.value[0] < 1000
    np.testing.assert_array_equal(w.value, np.full(3, w.value[0]))
    np.testing.assert_array_equal(v.value, w.value)
    assert f(DATA[:2]).get() == DATA[:2].sum()


@pytest.mark.usefixtures("launch_by_launch")
@pytest.mark.parametrize("times", [(), (10.0,)])  # of the first pieces of each run
@pytest.mark.parametrize("step_seconds", [10.0, 0.1, 0.03, 0.01, 1e-3, 1e-5])
def test_a_run_on_a_gpu_is_never_far_ahead_of_the_device(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, step_seconds: float, times: tuple[float, ...]
) -> None:
    """By a clock of the test's: two pieces of steps, or one step that takes longer."""
    launches: list[tuple[int, int]] = []  # how far the stream is then, and steps
    ahead, first, launch = [], iter(times), Graph.launch

    def steps_between(start: int, end: int) -> int:
        return sum(steps for at, steps in launches if start < at <= end)

    def launched(graph: Any, stream: Any) -> None:
        launch(graph, stream)
        launches.append((len(stream.queue), 1 if graph is one else 32))
        ahead.append(steps_between(stream.made, len(stream.queue)))

    def elapsed(before: Any, event: Any) -> float:
        return 1e3 * next(first, step_seconds * steps_between(before.count, event.count))

    f, w, _ = counter("cuda")
    f.run(1, DATA, batch_size=2)
    executable: Any = f.specialize(b=2).executable
    one = executable._many._graphs[0]
    monkeypatch.setattr(Graph, "launch", launched)
    monkeypatch.setattr(gpu.cupy.cuda, "get_elapsed_time", elapsed)
    f.run(999, DATA, batch_size=2)
    assert w.value[0] == 1000
    assert steps_between(0, len(gpu.current.queue)) == 999
    assert max(ahead) * step_seconds <= max(2.001 * PIECE_SECONDS, step_seconds)
    if step_seconds < 1e-3:
        assert len(launches) < 999 / 4  # most are of several steps


def test_the_reference_updates_all_variables_or_none() -> None:
    """Whatever line of the library a signal arrives at."""
    f, w, v = counter("numpy")
    f(DATA)
    rooms = os.path.dirname(sn.__file__)
    left = [0]

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(rooms) or "turns" in frame.f_code.co_filename:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return trace

    interrupted = 0
    for line in range(1, 1000):
        left[0] = line
        before = sys.gettrace()
        try:
            with np.errstate():  # an interrupted `with` in the library leaves its own
                sys.settrace(trace)
                f(DATA)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(before)
        np.testing.assert_array_equal(w.value, v.value)
        if left[0] > 0:
            break
    assert interrupted > 20


def test_a_signal_leaves_no_turn_taken() -> None:
    f, w, _ = counter("cpu")
    f(DATA)
    run = f.specialize(b=10).executable._run

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is run.__func__.__code__:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        with pytest.raises(KeyboardInterrupt):
            f(DATA)
    finally:
        sys.settrace(before)
    thread = threading.Thread(target=f, args=(DATA,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    np.testing.assert_array_equal(w.value, np.full(3, 2.0))


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_signal_ends_a_run_soon(device: str, tmp_path: Path) -> None:
    """Of 10**9 steps, hours of them; within a bound that any loaded machine keeps."""
    environment = os.environ | {"PYTHONPATH": str(Path(sn.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", COUNTER, device], stdout=subprocess.PIPE,
                               text=True, env=environment)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    told, *values = process.communicate(timeout=120)[0].split()
    assert told == "stopped"
    assert set(values) == {values[0]}
    assert 1 <= float(values[0]) < 10**9
    assert process.returncode == 0
