"""What a call tells a captured step of its feeds and outputs; on a fake GPU."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import CUDARuntimeError, Gpu, Graph, Stream
from test_cuda_backend import counter

import staticnet as sn
from staticnet.backends.cuda import staging
from staticnet.errors import ExecutionError

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


@pytest.mark.parametrize("place", ["host", "device", "both", "strided"])
@pytest.mark.parametrize("outputs", [0, 1, 3])
def test_a_call_is_one_launch_and_an_allocation_for_each_output(
    gpu: Gpu, place: str, outputs: int
) -> None:
    """Wherever the feeds lie, and at new addresses each time: these are all calls of CuPy."""
    xs = [sn.placeholder((6, 4), name=f"x{i}") for i in range(3)]
    total = sn.variable(np.zeros((6, 4), "f"), "total")

    def sum_of(x: Any) -> Any:
        return x[0] + x[1] * 2 + x[2] * 3

    added = sum_of(xs)
    updates = {total: total + added}
    step = sn.function(xs, [added * i for i in range(outputs)], updates=updates, device="cuda")
    wanted = np.zeros((6, 4), "f")
    for number in range(40):
        arrays = [np.full((6, 4), number + i, "f") for i in range(3)]
        wanted += sum_of(arrays)
        there = [gpu.cupy.ndarray((6, 4), "f") for _ in arrays]
        for at, array in zip(there, arrays, strict=True):
            at.host[...] = array
        feeds = {"host": arrays, "device": there, "both": [arrays[0], *there[1:]]}.get(place)
        if feeds is None:
            feeds = [gpu.cupy.ndarray((), "f", np.asfortranarray(x)) for x in arrays]
        gpu.log.clear()
        gpu.asked.clear()
        got = step(*feeds)
        called = [entry[0] for entry in gpu.log if entry[0] != "synchronize"]
        if number > 0 and place != "strided":
            assert called == ["alloc"] * outputs + ["graph"]
            assert gpu.asked == {"device": 1, "stream": 1}
        if number % 7 == 0:
            for i, y in enumerate(got):
                np.testing.assert_array_equal(y.get(), i * sum_of(arrays))
    np.testing.assert_array_equal(total.value, wanted)


def test_the_host_may_be_many_steps_ahead(gpu: Gpu) -> None:
    """It waits when a row of the ring, or pinned memory, would be written too early.

    And for the oldest step alone, so that the device always has the others to do.
    """
    for place, least in (("device", staging.ROWS), ("host", staging.MOST_SLOTS)):
        _, total, step = counter()
        x = np.ones(4, "f")
        step(x)
        gpu.current.synchronize()
        ahead = []
        stream = gpu.current
        gpu.log.clear()
        for number in range(2 * staging.ROWS + 5):
            x = np.full(4, number % 5, "f")
            step(x if place == "host" else gpu.cupy.ndarray((4,), "f", x))
            ahead.append(len(stream.queue) - stream.made)
        assert gpu.count("synchronize") == 0
        assert ahead[:least] == list(range(1, least + 1))
        assert set(ahead[least:]) == {least}
        wanted = 1 + sum(number % 5 for number in range(2 * staging.ROWS + 5))
        assert total.value.tolist() == [wanted] * 4


def test_a_function_may_go_before_its_step_is_done(gpu: Gpu) -> None:
    """The device reads pinned memory later: who drops the function must not free it."""
    x = sn.placeholder((4,), name="x")
    f, kept = sn.function(x, x * 2, device="cuda"), []
    for i in range(3):
        kept.append(f(np.full(4, i, "f")))
    del f
    gc.collect()
    for i, y in enumerate(kept):
        assert y.get().tolist() == [2.0 * i] * 4


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", ["capture", "launch"])
def test_a_call_that_failed_does_not_mislead_the_next(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    """Whether or not the device made the step, the next one finds its own feeds."""
    _, _, step = counter()
    if what == "launch":
        step(np.ones(4, "f"))
    kind, name = {"capture": (Stream, "end_capture"), "launch": (Graph, "launch")}[what]
    act = getattr(kind, name)

    def fail(*arguments: Any) -> Any:
        monkeypatch.setattr(kind, name, act)
        if when == "after" or what == "capture":
            act(*arguments)
        raise CUDARuntimeError("cudaErrorInvalidValue: it failed")

    monkeypatch.setattr(kind, name, fail)
    with pytest.raises(ExecutionError, match="it failed"):
        step(np.full(4, 100, "f"))
    before = step(np.zeros(4, "f")).get()
    for i in range(1, 4):
        np.testing.assert_array_equal(
            step(np.full(4, i, "f")).get() - before, [i * (i + 1) / 2] * 4
        )


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 3, 4])
def test_feeds_that_are_not_aligned_and_large_results(gpu: Gpu, dtype: str, offset: int) -> None:
    x = sn.placeholder((1031,), dtype, name="x")
    f = sn.function(x, [x, sn.concat([x] * 5), x[:3]], device="cuda")
    data = (np.arange(1031 + offset) % 200).astype(dtype)
    there = gpu.cupy.ndarray((1031 + offset,), dtype, data)[offset:]
    for _ in range(3):
        whole, five, few = f(there)
        np.testing.assert_array_equal(whole.get(), data[offset:])
        np.testing.assert_array_equal(five.get(), np.concatenate([data[offset:]] * 5))
        np.testing.assert_array_equal(few.get(), data[offset : offset + 3])
