"""16-bit copies of weights: what they save in the plan, and that they never are old."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu
from gpu_cases import STEPS

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.compilation import PIPELINE
from staticnet.ops.state import Variable
from staticnet.passes.manager import run_passes
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def planned(f: Any, keeps_casts: bool) -> Plan:
    """The plan of a function on the CUDA backend, with and without copies."""
    cuda = CudaBackend()
    graph, _ = run_passes(
        f.graph, PIPELINE, precision=f.precision, epilogues=cuda.epilogues,
        narrow_epilogues=cuda.narrow_epilogues, products=cuda.products,
        keeps_casts=keeps_casts,
    )  # fmt: skip
    return make_plan(graph)


def copies(graph: Any) -> list[Any]:
    return [v for v in graph.variables if isinstance(v, Variable) and v.origin is not None]


def mlp(feed: str, precision: str = "bfloat16") -> Any:
    """784-256-128-10 with Adam, as the benchmark has it; the feed in a dtype."""
    x, y = sn.placeholder((64, 784), feed, "x"), sn.placeholder((64,), "int64", "y")
    linear, relu = sn.nn.Linear, sn.nn.ReLU
    model = sn.nn.Sequential(linear(784, 256), relu(), linear(256, 128), relu(), linear(128, 10))
    loss = sn.nn.cross_entropy(model(sn.astype(x, "float32")), y)
    updates = sn.optim.Adam(lr=1e-3).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device="numpy", precision=precision)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_step_of_the_mlp_moves_four_bytes_less_for_each_weight(precision: str) -> None:
    f = mlp("float32", precision)
    before, after = planned(f, False), planned(f, True)
    found = copies(after.graph)
    weights = [v for v in found if v.ndim == 2]
    assert sorted(v.shape for v in weights) == [(10, 128), (128, 256), (256, 784)]
    assert {v.dtype.name for v in found} == {precision}
    assert before.bytes_moved - after.bytes_moved == 4 * sum(int(v.type.size) for v in found)
    if precision == "bfloat16":  # float16's biases are added by kernels, which cast besides
        assert after.launches < before.launches
    assert not after.last_copies, "the update's kernel writes them"


def test_a_feed_in_16_bits_leaves_nothing_to_cast() -> None:
    f = mlp("bfloat16")
    before, after = planned(f, False), planned(f, True)
    assert after.launches < before.launches
    leaves = {*after.graph.inputs, *after.graph.variables}
    casts = [n for n in after.graph.nodes if n.op.name == "cast" and n.dtype == "bfloat16"]
    assert casts
    assert not any(node.inputs[0] in leaves for node in casts)


def test_each_copy_is_written_by_the_kernel_of_its_weight() -> None:
    plan = planned(mlp("float32"), True)
    following = dict(plan.graph.updates)
    for copy in copies(plan.graph):
        group = plan.fusion.group_of[following[copy]]
        assert group is plan.fusion.group_of[following[copy.origin]]
        assert plan.places[following[copy]].kind == "state"


def test_a_function_that_updates_nothing_casts() -> None:
    x = sn.placeholder((8, 4), name="x")
    w = sn.variable(np.ones((4, 3), "f"), "w")
    f = sn.function(x, x @ w, device="numpy", precision="bfloat16")
    assert not copies(planned(f, True).graph)
    g = sn.function(x, x @ w, {w: w * 2}, device="numpy", precision="float32")
    assert not copies(planned(g, True).graph)


def test_hosts_do_without() -> None:
    for device in ("numpy", "cpu"):
        assert not copies(layer(device)[-1].specialize(batch=8).graph)


def layer(device: str = "cuda", **options: Any) -> tuple[Any, Any, Any]:
    """Two weights, what a step gives of them, and the step, which halves one by its gradient."""
    x = sn.placeholder(("batch", 4), name="x")
    rng = np.random.default_rng(0)
    w, v = (
        sn.variable(rng.normal(size=s).astype("f"), n) for s, n in (((4, 3), "w"), ((3, 2), "v"))
    )
    y = sn.tanh(x @ w) @ v
    updates = sn.optim.SGD(lr=0.1).minimize(sn.sum(sn.square(y)))
    options = {"precision": "bfloat16", **options}
    return w, v, sn.function(x, y, updates=updates, device=device, **options)


FEED = np.random.default_rng(1).normal(size=(8, 4)).astype("f")


def current(step: Any, **dims: int) -> None:
    """Each copy holds its origin's value, rounded."""
    found = copies(step.specialize(**dims).graph)
    assert found
    for copy in found:
        rounded = copy.origin.value.astype(copy.dtype)
        np.testing.assert_array_equal(copy.value.view("u2"), rounded.view("u2"))


@needs_shim
class TestOnTheFakeGpu:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_the_bits_are_those_of_casts(self, gpu: Gpu, precision: str) -> None:
        results = []
        for left_out in ([], ["keep_casts"]):
            w, v, step = layer(precision=precision, disabled_passes=left_out)
            seen = [step(FEED).get() for _ in range(5)]
            more = step.run(4, np.concatenate([FEED] * 4), batch_size=8).get()
            results.append([x.tobytes() for x in (*seen, more, w.value, v.value)])
            assert bool(copies(step.specialize(batch=8).graph)) == (not left_out)
        assert results[0] == results[1]

    def test_training_steps_have_the_bits_of_casts(self, gpu: Gpu) -> None:
        f, feeds = STEPS["mlp_bfloat16"]()
        graph = f.graph
        start = [v.value for v in graph.variables]
        results = []
        for left_out in ([], ["keep_casts"]):
            for variable, value in zip(graph.variables, start, strict=True):
                variable.value = value
            step = sn.function(
                graph.inputs, graph.outputs, dict(graph.updates), device="cuda",
                precision="bfloat16", disabled_passes=left_out,
            )  # fmt: skip
            results.append([step(*feeds)[0].get().tobytes() for _ in range(5)])
        assert len(set(results[0])) == 5
        assert results[0] == results[1]

    def test_a_step_makes_them_itself_from_the_second_on(self, gpu: Gpu) -> None:
        _, _, step = layer()
        for _ in range(2):
            step(FEED)
        gpu.log.clear()
        for _ in range(2):
            step(FEED)
        assert [entry[0] for entry in gpu.log] == ["alloc", "graph"] * 2
        current(step, batch=8)

    def test_a_value_set_from_the_host_is_seen(self, gpu: Gpu) -> None:
        w, v, step = layer()
        same, _, right = layer(disabled_passes=["keep_casts"])
        for turn in range(4):
            w.value = same.value = np.full((4, 3), 0.3 * turn + 0.1, "f")
            for _ in range(2):
                np.testing.assert_array_equal(step(FEED).get(), right(FEED).get())
            current(step, batch=8)
        v.value = v.value * 2
        step.run(2, np.concatenate([FEED] * 2), batch_size=8)
        current(step, batch=8)

    def test_a_value_that_another_function_reads_first_is_seen(self, gpu: Gpu) -> None:
        w, _, step = layer()
        read = sn.function([], w * 1, device="cuda")
        step(FEED)
        w.value = np.full((4, 3), 0.9, "f")
        read()  # brings it to the device
        step(FEED)
        current(step, batch=8)

    def test_an_array_of_the_device_put_in_a_variable_is_seen(self, gpu: Gpu) -> None:
        w, _, step = layer()
        step(FEED)
        w.array = gpu.cupy.ndarray((4, 3), "f", np.full((4, 3), 0.7, "f"))
        step(FEED)
        current(step, batch=8)

    @pytest.mark.parametrize("device", ["cuda", "numpy"])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_what_another_function_updates_is_seen(
        self, gpu: Gpu, device: str, precision: str
    ) -> None:
        w, v, step = layer()
        x = sn.placeholder((4, 3), name="x")
        other = sn.function(x, sn.sum(x.T @ w), {w: w + x}, device=device, precision=precision)
        for turn in range(3):
            step(FEED)
            other(np.full((4, 3), 0.25 + turn, "f"))
            before = w.value, v.value
            got = step(FEED).get()
            hidden = np.tanh(rounded_product(FEED, before[0])).astype("f")
            wanted = rounded_product(hidden, before[1])
            np.testing.assert_allclose(got, wanted, rtol=0.02, atol=0.02)
            current(step, batch=8)

    def test_a_function_with_fewer_copies_is_another(self, gpu: Gpu) -> None:
        """It updates both weights and casts one of them."""
        w, v, step = layer()
        x = sn.placeholder((8, 4), name="x")
        other = sn.function(x, x @ w, {w: w * 0.5, v: v * 0.5}, device="cuda", precision="bfloat16")
        assert len(copies(other.specialize().graph)) == 1
        for _ in range(2):
            step(FEED)
            other(FEED)
        step(FEED)
        current(step, batch=8)

    def test_other_settings_cost_no_launch(self, gpu: Gpu) -> None:
        """A learning rate that is set for each step."""
        x = sn.placeholder((8, 4), name="x")
        w, lr = sn.variable(np.ones((4, 3), "f"), "w"), sn.variable(np.float32(0.1), "lr", False)
        updates = sn.optim.SGD(lr=lr).minimize(sn.sum(sn.square(x @ w)), [w])
        step = sn.function(x, [], updates=updates, device="cuda", precision="bfloat16")
        for i in range(3):
            gpu.log.clear()
            lr.value = np.float32(0.1 / (i + 1))
            step(FEED)
        assert gpu.count("kernel") == 0
        current(step)

    def test_specialisations_share_them(self, gpu: Gpu) -> None:
        _, _, step = layer()
        for _ in range(2):
            step(FEED)
            step(FEED[:3])
        gpu.log.clear()
        step(FEED)
        step(FEED[:3])
        assert gpu.count("kernel") == 0
        current(step, batch=3)
        assert copies(step.specialize(batch=3).graph) == copies(step.specialize(batch=8).graph)

    def test_a_step_that_fails_keeps_them_as_they_were(self, gpu: Gpu) -> None:
        x, i = sn.placeholder((8, 4), name="x"), sn.placeholder((2,), "int64", "i")
        w = sn.variable(np.ones((4, 3), "f"), "w")
        y = x @ w
        updates = sn.optim.SGD(lr=0.1).minimize(sn.sum(sn.square(sn.take(y, i, 0))))
        step = sn.function([x, i], y, updates=updates, device="cuda", precision="bfloat16")
        step(FEED, np.array([0, 1]))
        before = w.value
        step(FEED, np.array([0, 9]))
        with pytest.raises(sn.errors.ExecutionError, match="out of range"):
            step.synchronize()
        np.testing.assert_array_equal(w.value, before)
        current(step)

    def test_a_scaled_loss_skips_what_overflows(self, gpu: Gpu) -> None:
        """The same steps as on NumPy: the first scales overflow, and nothing but they change."""
        seen = []
        for device in ("numpy", "cuda"):
            x, w = sn.placeholder((8, 4), name="x"), sn.variable(np.zeros((4, 3), "f"), "w")
            scaling = sn.optim.LossScaling(sn.optim.Adam(lr=0.1))
            updates = scaling.minimize(sn.sum(sn.square(x @ w - 1)) * 10)
            step = sn.function(x, [], updates=updates, device=device, precision="float16")
            values = []
            for _ in range(12):
                step(FEED)
                values.append([float(scaling.scale.value), int(updates.skipped.value)])
            seen.append((values, w.value))
        assert 0 < seen[0][0][-1][1] < 10
        assert seen[0][0] == seen[1][0]
        np.testing.assert_allclose(seen[1][1], seen[0][1], rtol=1e-2, atol=1e-3)
        current(step)

    def test_profiling_changes_nothing(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("staticnet.backends.cuda.rates.SIZES", (1 << 10, 1 << 12))
        monkeypatch.setattr("staticnet.backends.cuda.rates.PRODUCT", 64)
        w, _, step = layer()
        before = w.value
        step.profile(FEED, repeat=2)
        np.testing.assert_array_equal(w.value, before)
        current(step, batch=8)

    def test_their_memory_goes_with_the_function(self, gpu: Gpu) -> None:
        before = gpu.used
        w, v, step = layer()
        step(FEED)
        gpu.current.synchronize()
        del w, v, step
        gc.collect()
        assert gpu.used == before


def rounded_product(x: Any, y: Any) -> Any:
    """x @ y of values rounded to bfloat16."""
    half = sn.constant(0, "bfloat16").dtype
    return x.astype(half).astype("f") @ y.astype(half).astype("f")
