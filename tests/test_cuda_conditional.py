"""Loops and choices as nodes of a step's graph that ask the device, on a fake driver."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import CUDARuntimeError, Gpu, Stream
from test_control_cuda import GO, ROWS, W, X, function, loops

import staticnet as sn
import staticnet.backends.cuda as backend
from staticnet.backends.cuda import conditional
from staticnet.errors import ExecutionError, OutOfRangeError

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
LAUNCHES = {"disabled_passes": ("persistent",)}


def asked(gpu: Gpu) -> int:
    return gpu.count("asked")


def nested(p: Any, n: Any, x: Any) -> list[Any]:
    """A `while` in a `while`, one on a side of a choice, and a choice in a `while`."""

    def inner(c: Any) -> Any:
        i, y = c
        _, y = sn.while_loop(lambda d: d[0] < i, lambda d: (d[0] + 1, d[1] * 1.5), (0, y))
        return i + 1, y

    _, y = sn.while_loop(lambda c: c[0] < n, inner, (0, x))

    def grown(v: Any) -> Any:
        return sn.while_loop(lambda c: sn.sum(c) < 50, lambda c: c * 2, v)

    z = sn.cond(p, grown, lambda v: v - 1, x)
    _, u = sn.while_loop(
        lambda c: c[0] < n,
        lambda c: (c[0] + 1, sn.cond(c[0] % 2 == 0, lambda v: v @ W, lambda v: v - 1, c[1])),
        (0, x),
    )
    return [y, z, u]


def of_nested(device: str, **options: Any) -> Any:
    p, n = sn.placeholder((), "bool", "p"), sn.placeholder((), "int32", "n")
    x = sn.placeholder((2, 3), name="x")
    return sn.function([p, n, x], nested(p, n, x), device=device, **options)


def equal(got: list[Any], wanted: list[Any]) -> None:
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-5, atol=1e-6)


@needs_shim
def test_a_step_with_loops_is_one_graph(gpu: Gpu) -> None:
    """The first call is launched, and the host looks; later ones are launches of a graph."""
    step, right = function(loops, "cuda", **LAUNCHES), function(loops)
    for turn in range(3):
        go = np.roll(GO, turn)
        gpu.log.clear()
        got = step(X, ROWS, W, go)
        launched = [entry[0] for entry in gpu.log if entry[0] in ("kernel", "graph", "synchronize")]
        assert turn == 0 or launched == ["graph"]
        equal(got, right(X, ROWS, W, go))
        assert bool(asked(gpu)) == (turn > 0)


@needs_shim
def test_loops_and_choices_in_each_other(gpu: Gpu) -> None:
    step, right = of_nested("cuda", **LAUNCHES), of_nested("numpy")
    x = np.arange(1, 7, dtype="f").reshape(2, 3)
    for p, n in ((True, 3), (False, 0), (True, 1), (False, 4)):
        feeds = [np.array(p), np.array(n, "i"), x]
        equal(step(*feeds), right(*feeds))
    assert asked(gpu)


@needs_shim
def test_many_steps(gpu: Gpu) -> None:
    """`run` captures them, too."""

    def trained(device: str) -> tuple[Any, Any]:
        x, v = sn.placeholder((2, 3), name="x"), sn.variable(W[0] + 2, "v")
        y = sn.while_loop(lambda c: sn.sum(c) < 100, lambda c: c * 2 + abs(v), abs(x))
        step = sn.function(x, sn.sum(y), updates={v: v * 0.9}, device=device, **LAUNCHES)
        data = np.arange(42, dtype="f").reshape(14, 3)
        losses = step.run(17, data, batch_size=2)
        return np.asarray(losses.get() if device == "cuda" else losses), v.value

    results = [trained(device) for device in ("cuda", "numpy")]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert asked(gpu)


@needs_shim
@pytest.mark.parametrize("missing", ["refused", "PTX", "unknown"])
def test_the_host_looks_where_the_driver_has_no_such_nodes(
    gpu: Gpu, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    if missing == "unknown":
        backend.open_device().conditionals = None
    step, right = function(loops, "cuda", **LAUNCHES), function(loops)
    step.specialize()
    if missing == "refused":
        gpu.refuses = "handle"
    elif missing == "PTX":
        gpu.load_fault = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX"
    for turn in range(3):
        go = np.roll(GO, turn)
        equal(step(X, ROWS, W, go), right(X, ROWS, W, go))
    assert not asked(gpu)
    assert not gpu.count("graph")
    told = [record.message for record in caplog.records if "the driver refuses" in record.message]
    assert len(told) == (missing != "unknown")
    assert ("the driver refuses" in str(step.explain())) == (missing != "unknown")


@needs_shim
@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (conditional.DriverError("CUDA_ERROR_ILLEGAL_ADDRESS: cuGraphAddNode"), "kernel faulted"),
        (CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"), "CUDA failed"),
        (KeyboardInterrupt(), None),
    ],
)
def test_what_fails_in_a_body_is_no_refusal(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, fault: BaseException, match: str | None
) -> None:
    """Nor does what is said of the end of a capture hide it; the next call captures again."""

    def refusing(end: Any) -> Any:
        def ended(*arguments: Any) -> None:
            end(*arguments)
            raise conditional.Refused("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: cuStreamEndCapture")

        return ended

    def invalid(stream: Stream) -> Any:
        assert stream.capture is not None
        stream.capture.end(stream)
        raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: it is")

    step, right = function(loops, "cuda", **LAUNCHES), function(loops)
    asks: Any = backend.open_device().conditionals
    with monkeypatch.context() as patch:
        patch.setattr(gpu.driver, "end", refusing(gpu.driver.end))
        patch.setattr(Stream, "end_capture", invalid)
        tell, told = asks.tell, list[int]()

        def once(handle: int, *rest: Any) -> None:
            told.append(handle)
            if told.count(handle) == 2:
                raise fault
            tell(handle, *rest)

        patch.setattr(asks, "tell", once)
        with pytest.raises(ExecutionError if match else type(fault), match=match):
            step(X, ROWS, W, GO)
    for _ in range(2):
        equal(step(X, ROWS, W, GO), right(X, ROWS, W, GO))
    assert asked(gpu)


@needs_shim
def test_a_failure_ends_a_captured_while(gpu: Gpu) -> None:
    n = sn.placeholder((), "int64", "n")
    v = sn.variable(W[0], "v")
    i, total = sn.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + v[c[0]]), (0, 0.0))
    step = sn.function([n], [i, total], {v: v * 2}, device="cuda", **LAUNCHES)
    assert [int(step(k)[0].get()) for k in (3, 2)] == [3, 2]
    step(5)
    with pytest.raises(OutOfRangeError, match=r"test_cuda_conditional\.py"):
        step.synchronize()
    np.testing.assert_array_equal(v.value, W[0] * 4)
    assert asked(gpu)


def test_pythons_ops_are_left_to_the_host() -> None:
    op = sn.custom_op("sorted_on_the_host", lambda x: np.sort(x), lambda x: x)
    x = sn.placeholder((3,), name="x")

    def programs(body: Callable[[Any], Any]) -> Any:
        y = sn.while_loop(lambda c: sn.sum(c) < 9, body, x)
        step = sn.function(x, y, device="numpy").specialize()
        return backend.CudaBackend().program(step.plan, ("persistent",))

    assert programs(lambda c: c * 2).may_ask_device
    assert not programs(lambda c: op(c) * 2).may_ask_device


def test_what_the_driver_is_given() -> None:
    """As cuda.h has it: CUgraphNodeParams is of 256 bytes, the conditional's begin at 16."""
    fields = conditional.NodeParams
    assert ctypes.sizeof(fields) == 256
    places = {name: getattr(fields, name).offset for name, _ in fields._fields_}
    assert places == {
        "type": 0, "reserved": 4, "handle": 16, "kind": 24, "size": 28, "graphs": 32,
        "context": 40, "padding": 48,
    }  # fmt: skip
    assert re.findall(r"\.entry (\w+)", conditional.PTX) == [conditional.SETTER]


class Library:
    """libcuda's functions: they note what they are given, and have one graph of two nodes."""

    def __init__(self) -> None:
        self.given: list[tuple[str, tuple[Any, ...]]] = []
        self.nodes = (ctypes.c_void_p * 2)(71, 72)
        self.bodies = (ctypes.c_void_p * 1)(81)
        self.status = 0
        self.names = {801: b"CUDA_ERROR_NOT_SUPPORTED", 700: b"CUDA_ERROR_ILLEGAL_ADDRESS"}

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.given.append((name, arguments))
            if name == "cuStreamGetCaptureInfo_v2":
                arguments[3]._obj.value = 61
                ctypes.memmove(
                    arguments[4], ctypes.byref(ctypes.c_void_p(ctypes.addressof(self.nodes))), 8
                )
                arguments[5]._obj.value = 2
            if name == "cuGraphConditionalHandleCreate":
                arguments[0]._obj.value = 51
            if name == "cuGetErrorName":
                arguments[1]._obj.value = self.names[arguments[0].value]
                return 0
            if name == "cuGraphAddNode":
                arguments[0]._obj.value = 73
                arguments[4]._obj.graphs = self.bodies
            return self.status

        return call


def test_the_drivers_calls() -> None:
    library = Library()
    driver = conditional.Driver(library)
    stream = type("Stream", (), {"ptr": 41})()
    graph, nodes = driver.captured(stream)
    assert (graph, list(nodes)) == (61, [71, 72])
    assert driver.handle(graph) == 51
    assert driver.add(graph, nodes, 51, conditional.WHILE) == (73, 81)
    name, given = library.given[-1]
    assert name == "cuGraphAddNode"
    assert (list(given[2]), given[3].value) == ([71, 72], 2)
    made = given[4]._obj
    assert (made.type, made.handle, made.kind, made.size) == (13, 51, 1, 1)
    library.status = 801
    with pytest.raises(conditional.Refused, match="cuStreamUpdateCaptureDependencies: error 801"):
        driver.follow(stream, 73)
    library.status = 700
    with pytest.raises(conditional.DriverError, match="^CUDA_ERROR_ILLEGAL_ADDRESS: cuStream") as e:
        driver.follow(stream, 73)
    assert not conditional.is_refusal(e.value)
