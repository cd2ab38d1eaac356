"""The CUDA backend with no GPU: on a fake one, whose kernels the host shim runs on the CPU."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import FakeArray, Gpu
from gpu_cases import STEPS
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda.commands import pack
from staticnet.codegen.commands import Address, Number
from staticnet.errors import (
    CompileError,
    DeviceError,
    ExecutionError,
    FeedError,
    OutOfRangeError,
    StateError,
)

ROOT = Path(sn.__file__).parents[1]
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def on_cuda(f: Any) -> Any:
    """A function on NumPy compiled for the GPU, with variables of its own values."""
    graph = f.graph
    return sn.function(
        graph.inputs, graph.outputs, dict(graph.updates), device="cuda", precision=f.precision
    )


@needs_shim
@pytest.mark.parametrize("name", STEPS)
def test_training_steps_follow_numpy(name: str, gpu: Gpu) -> None:
    f, feeds = STEPS[name]()
    start = [v.value for v in f.graph.variables]
    wanted = [f(*feeds) for _ in range(4)]
    after = [v.value for v in f.graph.variables]
    for variable, value in zip(f.graph.variables, start, strict=True):
        variable.value = value
    step = on_cuda(f)
    rough = {"bfloat16": 3e-2, "float8": 1e-1}.get(f.precision, 2e-4)
    for right in wanted:
        (loss,) = step(*feeds)
        assert isinstance(loss, FakeArray)
        np.testing.assert_allclose(loss.get(), right, rtol=rough)
    for variable, right in zip(f.graph.variables, after, strict=True):
        np.testing.assert_allclose(variable.value, right, rtol=rough * 10, atol=rough)


def counter(start: float = 0.0) -> tuple[Any, Any, Any]:
    """x [4] float32, a variable that adds x up, and the step that does."""
    x, total = sn.placeholder((4,), name="x"), sn.variable(np.full(4, start, "f"), "total")
    return x, total, sn.function(x, total + x, updates={total: total + x}, device="cuda")


@needs_shim
class TestSteps:
    def test_the_first_runs_launch_by_launch_and_is_captured_then(self, gpu: Gpu) -> None:
        _, _, step = counter()
        gpu.log.clear()
        step(np.ones(4, "f"))
        what = [entry[0] for entry in gpu.log]
        warm, begin, end = what.index("kernel"), what.index("begin capture"), what.index("upload")
        assert warm < begin < end
        assert what[begin:end].count("kernel") == what[warm:begin].count("kernel") >= 1
        assert "load" not in what, "modules are loaded when the function is made"
        gpu.log.clear()
        step(np.ones(4, "f"))
        assert [entry[0] for entry in gpu.log] == ["alloc", "graph"]

    def test_a_captured_step_neither_waits_nor_allocates_but_for_outputs(self, gpu: Gpu) -> None:
        _, total, step = counter()
        x = gpu.cupy.ndarray((4,), "float32", np.ones(4, "f"))
        step(x)
        gpu.log.clear()
        outputs = [step(x) for _ in range(20)]
        assert gpu.count("alloc") == 20  # the outputs, which are fresh
        assert gpu.count("synchronize", "wait for event", "compile", "load", "begin capture") == 0
        assert total.value.tolist() == [21.0] * 4
        assert [y.get()[0] for y in outputs] == list(range(2, 22))

    def test_feeds_may_be_changed_after_the_call(self, gpu: Gpu) -> None:
        """The host runs ahead by at most as many steps as there are slots of pinned memory."""
        _, _, step = counter()
        x = np.zeros(4, "f")
        outputs = []
        for i in range(1, 11):
            x[...] = i
            outputs.append(step(x))
        assert [y.get()[0] for y in outputs] == [sum(range(1, i + 1)) for i in range(1, 11)]

    def test_feeds_from_anywhere(self, gpu: Gpu) -> None:
        a, b = sn.placeholder((2, 3), name="a"), sn.placeholder((3,), name="b")
        f = sn.function([a, b], a * 2 + b, device="cuda")
        x, y = np.arange(6, dtype="f").reshape(2, 3), np.ones(3, "f")
        there, row = gpu.cupy.ndarray((2, 3), "f", x), gpu.cupy.ndarray((3,), "f", y)
        crossed = gpu.cupy.ndarray((), "f", np.asfortranarray(x))
        shared = Tensor(there)
        wide = gpu.cupy.ndarray((), "f", x.astype(np.float16))
        for feeds in ([x, y], [there, row], [there, y], [x, row], [crossed, y], [shared, y]):
            np.testing.assert_array_equal(f(*feeds).get(), x * 2 + y)
        np.testing.assert_array_equal(f(wide, y).get(), x * 2 + y)
        np.testing.assert_array_equal(f(x.T.copy().T, [1.0, 1.0, 1.0]).get(), x * 2 + y)

    def test_large_feeds_that_come_again_are_read_in_place(self, gpu: Gpu) -> None:
        x, y = sn.placeholder((1024, 256), name="x"), sn.placeholder((256,), name="y")
        f = sn.function([x, y], sn.sum(x * y), device="cuda")
        row = np.ones(256, "f")
        there = [gpu.cupy.ndarray((1024, 256), "f"), gpu.cupy.ndarray((256,), "f")]
        there[1].host[...] = row
        launched = []
        for value in (1, 2, 3, 4):
            there[0].host[...] = value
            gpu.log.clear()
            assert f(*there).get() == value * 1024 * 256
            assert gpu.count("copy") == 0
            launched += [entry[1] for entry in gpu.log if entry[0] == "graph"]
        assert [n - launched[0] for n in launched] == [0, -1, -1]  # nothing is fetched any more
        whole = np.full((1024, 256), 7, "f")
        assert f(whole, row).get() == 7 * 1024 * 256
        for value in (8, 9, 10):  # other arrays are copied again
            other = gpu.cupy.ndarray((1024, 256), "f", np.full((1024, 256), value, "f"))
            assert f(other, there[1]).get() == value * 1024 * 256

    def test_a_variable_that_is_fed_is_copied_first(self, gpu: Gpu) -> None:
        x, w = sn.placeholder((1024, 256), name="x"), sn.variable(np.ones((1024, 256), "f"), "w")
        flipped = sn.flip(x, 0) + w
        f = sn.function(x, [], updates={w: flipped}, device="cuda")
        f(w.value)
        for _ in range(4):
            f(w.array)  # in place, the update would write what it has yet to read
        assert w.value.min() == w.value.max() == 32.0

    def test_bad_feeds_are_told(self, gpu: Gpu) -> None:
        _, _, step = counter()
        for bad, message in [
            (gpu.cupy.ndarray((), "f", np.ones(4)), "is fed float64"),
            (gpu.cupy.ndarray((), "f", np.ones((4, 1), "f")), "an array of 2 axes"),
            (gpu.cupy.ndarray((), "f", np.ones(3, "f")), "axis 0 must be 4"),
            (Tensor(None), "its memory on the GPU cannot be shared: it is read-only"),
        ]:
            with pytest.raises(FeedError, match=message):
                step(bad)

    def test_many_steps_are_the_same_as_one_by_one(self, gpu: Gpu) -> None:
        rng = np.random.default_rng(0)
        data, target = rng.normal(size=(50, 3)).astype("f"), rng.integers(0, 2, 50)
        results = []
        for device in ("numpy", "cuda"):
            x, y = sn.placeholder(("batch", 3), name="x"), sn.placeholder(("batch",), "int64", "y")
            w = sn.variable(np.ones((3, 2), "f"), "w")
            loss = sn.nn.cross_entropy(x @ w, y)
            updates = sn.optim.SGD(lr=0.1).minimize(loss)
            step = sn.function([x, y], [loss, w * 1], updates=updates, device=device)
            first = step.run(57, data, target, batch_size=7, shuffle=True, seed=3)
            second = step.run(3, data, target, batch_size=7)
            both = [*first, *second, w.value]
            results.append([a.get() if isinstance(a, FakeArray) else a for a in both])
        for got, wanted in zip(results[1], results[0], strict=True):
            close(got, wanted, 1e-5)

    @pytest.mark.usefixtures("launch_by_launch")
    def test_many_steps_take_few_launches_and_one_transfer(
        self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gpu.cupy.cuda, "get_elapsed_time", lambda a, b: 0.0)
        _, total, step = counter()
        data = np.arange(4 * 200, dtype="f")
        step.run(200, data, batch_size=4)
        gpu.log.clear()
        step.run(200, data, batch_size=4)
        graphs = [entry[1] for entry in gpu.log if entry[0] == "graph"]
        assert len(graphs) == 200 // 32 + 200 % 32
        assert [entry[2] for entry in gpu.log if entry[:2] == ("copy", 1)] == [3200, 6400, 40]
        np.testing.assert_array_equal(total.value, data.reshape(-1, 4).sum(0) * 2)

    def test_outputs_of_other_types(self, gpu: Gpu) -> None:
        x = sn.placeholder((3, 5), "bfloat16", name="x")
        feeds = np.arange(15).reshape(3, 5).astype("bfloat16")
        f = sn.function(x, [x * 2, x > 3, sn.argmax(x, 1), x, sn.ones((0, 4))], device="cuda")
        g = sn.function(x, list(f.graph.outputs), device="numpy")
        for _ in range(3):
            for got, wanted in zip(f(feeds), g(feeds), strict=True):
                close(got.get(), wanted)
        many = f.run(3, np.concatenate([feeds] * 3), batch_size=3)
        for got, wanted in zip(many, g(feeds), strict=True):
            close(got.get()[2], wanted)


class Tensor:
    """Another framework's tensor on the GPU; CuPy's `from_dlpack` takes its array."""

    dtype = np.dtype("float32")

    def __init__(self, array: Any) -> None:
        self._array = array

    @property
    def array(self) -> Any:
        if self._array is None:
            raise BufferError("it is read-only")
        return self._array

    def __dlpack__(self, **options: Any) -> Any:
        raise AssertionError("NumPy has no business with it")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


@needs_shim
class TestState:
    def test_a_variable_is_one_array_for_all_functions(self, gpu: Gpu) -> None:
        _, total, step = counter()
        read = sn.function([], total * 2, device="cuda")
        one = np.ones(4, "f")
        step(one)
        assert read().get().tolist() == [2.0] * 4
        total.value = np.full(4, 10.0)
        assert read().get().tolist() == [20.0] * 4
        step(one)
        assert total.value.tolist() == [11.0] * 4
        total.value = np.full(4, 5.0)
        late = sn.function([], total + 0, device="cuda")
        step(one)
        assert (late().get().tolist(), read().get().tolist()) == ([6.0] * 4, [12.0] * 4)

    @pytest.mark.parametrize("other", ["numpy", "cpu"])
    def test_it_moves_between_devices(self, gpu: Gpu, other: str) -> None:
        x, total, step = counter()
        there = sn.function(x, total - x, updates={total: total - x}, device=other)
        one = np.ones(4, "f")
        seen = [f(one * 3 if f is step else one) for f in (step, there, there, step, there)]
        assert [
            float(y.get()[0] if f else y[0]) for y, f in zip(seen, (1, 0, 0, 1, 0), strict=True)
        ]
        assert total.value.tolist() == [3 - 1 - 1 + 3 - 1] * 4

    def test_a_variable_without_a_value(self, gpu: Gpu) -> None:
        _, total, step = counter()
        total.array = None
        with pytest.raises(StateError, match="has no value yet"):
            step(np.ones(4, "f"))
        total.value = np.zeros(4)
        assert step(np.ones(4, "f")).get().tolist() == [1.0] * 4

    def test_its_memory_goes_with_it(self, gpu: Gpu) -> None:
        before = gpu.used
        _, total, step = counter()
        step(np.ones(4, "f"))
        del total, step
        gc.collect()
        assert gpu.used == before

    def test_profiling_changes_nothing(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("staticnet.backends.cuda.rates.SIZES", (1 << 10, 1 << 12))
        _, total, step = counter(2.0)
        profile = step.profile(np.ones(4, "f"), repeat=3)
        assert (profile.device, profile.runs) == ("cuda", 3)
        assert [part.part.name for part in profile.parts] == ["launch 0", "copies after"]
        assert total.value.tolist() == [2.0] * 4


@needs_shim
class TestFailures:
    def step(self) -> tuple[Any, Any]:
        index, total = (
            sn.placeholder((2,), "int64", "index"),
            sn.variable(np.zeros(2, "f"), "total"),
        )
        taken = sn.take(sn.constant(np.arange(1, 6, dtype="f")), index)
        return sn.function(index, taken, updates={total: total + taken}, device="cuda"), total

    def test_it_is_told_at_the_next_call_and_later_steps_update_nothing(self, gpu: Gpu) -> None:
        step, total = self.step()
        good, bad = np.array([0, 4]), np.array([0, 5])
        step(good)
        step(bad)  # the device has not even begun with it
        step(good)
        gpu.current.synchronize()
        with pytest.raises(ExecutionError, match="take: an index is out of range.*test_cuda_back"):
            step(good)
        assert total.value.tolist() == [1.0, 5.0]
        step(good)
        assert total.value.tolist() == [2.0, 10.0]

    def test_synchronize_tells_it_once(self, gpu: Gpu) -> None:
        step, total = self.step()
        step(np.array([7, 0]))
        with pytest.raises(OutOfRangeError, match="out of range"):
            step.synchronize()
        step.synchronize()
        assert total.value.tolist() == [0.0, 0.0]

    def test_many_steps_tell_it_when_they_return(self, gpu: Gpu) -> None:
        step, total = self.step()
        order = np.array([0, 1, 0, 9, 2, 2])
        with pytest.raises(OutOfRangeError, match="out of range"):
            step.run(3, order, batch_size=2)
        assert total.value.tolist() == [1.0, 2.0]  # the first step's, none after it

    def test_a_step_that_cannot_fail_tells_nothing(self, gpu: Gpu) -> None:
        _, _, step = counter()
        step(np.ones(4, "f"))
        gpu.log.clear()
        step(np.ones(4, "f"))
        assert ("copy", 2, 4) not in gpu.log

    @pytest.mark.parametrize(
        ("fault", "kind", "message"),
        [
            (
                "cudaErrorIllegalAddress: an illegal memory access",
                ExecutionError,
                "start a new one",
            ),
            ("cudaErrorECCUncorrectable: uncorrectable", DeviceError, "see nvidia-smi"),
            ("cudaErrorNoKernelImageForDevice: none", DeviceError, "does not fit the toolkit"),
            ("cudaErrorInvalidValue: bad", ExecutionError, "CUDA failed .cudaErrorInvalidValue"),
        ],
    )
    def test_faults_of_the_device(self, gpu: Gpu, fault: str, kind: Any, message: str) -> None:
        _, _, step = counter()
        step(np.ones(4, "f"))
        gpu.fault = fault
        with pytest.raises(kind, match=f"main: .*{message}"):
            step.synchronize()

    def test_a_driver_that_does_not_load(self, gpu: Gpu) -> None:
        gpu.load_fault = "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available"
        with pytest.raises(DeviceError, match="for sm_90: the driver does not fit the toolkit"):
            counter()

    def test_a_compiler_that_refuses(self, gpu: Gpu) -> None:
        gpu.refuses = "error"
        with pytest.raises(CompileError, match="NVRTC for sm_90"):
            counter()


def test_arguments_are_packed_by_their_size() -> None:
    place = {"arena": 1 << 40}
    found = [
        pack(argument, lambda address: place[address.kind] + address.at + address.offset)
        for argument in (Number(7), Number(-1, 8), Address("arena", 256, 16))
    ]
    assert [x.tobytes() for x in found] == [
        (7).to_bytes(4, "little"), b"\xff" * 8, ((1 << 40) + 272).to_bytes(8, "little"),
    ]  # fmt: skip
