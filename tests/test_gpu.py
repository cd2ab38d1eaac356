"""What only a run on an NVIDIA GPU can show; all of it skips, and says why, where there is none."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_cases import (
    BATCHES,
    GOLDEN,
    STEPS,
    cancels,
    golden_graph,
    narrows,
    nests,
    samples_of_all_dtypes,
)  # fmt: skip
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs
from test_control_cuda import GO, ROWS, W, X, function, loops, scans
from test_cuda_loops import CASES, kernels_of_loops
from test_cuda_resident import CASES as RESIDENT
from test_cuda_resident import recurrent
from test_cuda_whiles import CASES as WHILES
from test_cudnn import attention, block, convolution
from tolerance import RTOL as NARROW
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.cudnn import find_cudnn
from staticnet.codegen.cuda import choice, control, whiles
from staticnet.codegen.cuda import loops as kernels
from staticnet.errors import ExecutionError, MemoryLimitError
from staticnet.ir.dtype import is_floating
from staticnet.ops.base import apply
from staticnet.ops.float8 import Float8, Float8Matmul

MISSING = CudaBackend().missing()
COMPILES = True
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(MISSING), reason=f"no CUDA here: {MISSING}"),
]
# products sum in another order than NumPy's; a softmax and its like carry that on
RTOL = {"float32": 1e-5, "float64": 1e-12}
MUCH = 100


@pytest.fixture
def cupy() -> Any:
    return importlib.import_module("cupy")


def on_cuda(f: Any) -> Any:
    """A function on NumPy compiled for the GPU, on the same variables."""
    graph = f.graph
    return sn.function(
        graph.inputs, graph.outputs, dict(graph.updates), device="cuda", precision=f.precision
    )


def tolerance(x: Any, growth: int = 1) -> float | None:
    """What a result may differ by; None is the table's."""
    own = RTOL.get(x.dtype.name)
    if own is None and growth == MUCH and is_floating(x.dtype):  # of 16 bits
        return 5 * NARROW[x.dtype.name]
    return own and own * growth


def growth_of(f: Any) -> int:
    """How much differences grow: later steps begin with those of earlier ones, as do loops'."""
    if nests(f.graph) or cancels(f.graph) or narrows(f.graph):
        return MUCH
    return 10 if f.graph.updates else 1


def listed(x: Any) -> list[Any]:
    return x if isinstance(x, list) else [x]


def agree(f: Any, feeds: list[Any], names: list[str] | None = None) -> None:
    """Three steps on the GPU, the first not captured, give what NumPy does; so does the state."""
    g = on_cuda(f)
    growth = growth_of(f)
    start = [v.value for v in f.graph.variables]
    wanted = [listed(f(*feeds)) for _ in range(3)]
    after = [v.value for v in f.graph.variables]
    for variable, value in zip(f.graph.variables, start, strict=True):
        variable.value = value
    for step in wanted:
        got = listed(g(*feeds))
        for i, (a, b) in enumerate(zip(got, step, strict=True)):
            try:
                close(a.get(), b, tolerance(b, growth))
            except AssertionError as error:
                raise AssertionError(f"{names[i] if names else f'output {i}'}: {error}") from error
    for variable, value in zip(f.graph.variables, after, strict=True):
        close(variable.value, value, tolerance(value, growth))


@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_every_op_and_dtype(number: int) -> None:
    f, feeds, names = samples_of_all_dtypes(BATCHES[number])
    agree(f, feeds, names)


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_golden_graphs(file: Path) -> None:
    f, feeds, dims = golden_graph(file)
    agree(f, feeds) if not dims else agree_at(f, feeds)


def agree_at(f: Any, feeds: list[Any]) -> None:
    """As `agree`, of a graph with symbolic dims, for one step."""
    start = [v.value for v in f.graph.variables]
    wanted = listed(f(*feeds))
    for variable, value in zip(f.graph.variables, start, strict=True):
        variable.value = value
    for got, right in zip(listed(on_cuda(f)(*feeds)), wanted, strict=True):
        close(got.get(), right, tolerance(right, growth_of(f)))


@given(st.lists(graphs(dtype="float32"), min_size=10, max_size=10))
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_five_hundred_random_graphs(cases: list[Any]) -> None:
    for graph, feeds in cases:
        note(str(graph))
        wanted = sn.function(graph.inputs, graph.outputs, device="numpy")(*feeds)
        got = sn.function(graph.inputs, graph.outputs, device="cuda")(*feeds)
        for a, b in zip(listed(got), listed(wanted), strict=True):
            close(a.get(), b, 1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_training_follows_numpy(name: str) -> None:
    f, feeds = STEPS[name]()
    start = [v.value for v in f.graph.variables]
    wanted = [float(listed(f(*feeds))[0]) for _ in range(10)]
    for variable, value in zip(f.graph.variables, start, strict=True):
        variable.value = value
    step = on_cuda(f)
    got = [float(listed(step(*feeds))[0]) for _ in range(10)]
    np.testing.assert_allclose(
        got, wanted, rtol={"bfloat16": 5e-2, "float8": 2e-1}.get(f.precision, 1e-3)
    )


def mlp(device: str, batch: int = 64, **options: Any) -> tuple[Any, list[Any], list[Any]]:
    """784-256-128-10 with Adam. -> its step, two data sets, its variables at their first values"""
    rng = np.random.default_rng(0)
    x, y = sn.placeholder((batch, 784), name="x"), sn.placeholder((batch,), "int64", "y")
    linear, relu = sn.nn.Linear, sn.nn.ReLU
    model = sn.nn.Sequential(linear(784, 256), relu(), linear(256, 128), relu(), linear(128, 10))
    for parameter in model.parameters():
        bound = 1 / np.sqrt(parameter.shape[-1])
        parameter.value = rng.uniform(-bound, bound, parameter.shape).astype("f")
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.Adam(lr=1e-3).minimize(loss)
    step = sn.function([x, y], loss, updates=updates, device=device, **options)
    labels = rng.integers(0, 10, 6400)
    data = rng.random((10, 784), "f")[labels] * 0.3 + rng.random((6400, 784), "f") * 0.7
    return step, [data, labels], list(step.graph.variables)


def test_a_thousand_captured_steps_follow_the_cpu_and_repeat_their_bits() -> None:
    curves = {}
    for device in ("cpu", "cuda", "cuda again"):
        step, data, _ = mlp(device.split()[0])
        losses = step.run(1000, *data, batch_size=64, shuffle=True, seed=1)
        curves[device] = losses if isinstance(losses, np.ndarray) else losses.get()
    np.testing.assert_array_equal(curves["cuda"], curves["cuda again"])
    np.testing.assert_allclose(curves["cuda"][:100], curves["cpu"][:100], rtol=1e-3)
    np.testing.assert_allclose(curves["cuda"], curves["cpu"], rtol=5e-2, atol=5e-3)
    assert curves["cuda"][-50:].mean() < 0.5 * curves["cuda"][:50].mean()


def test_calls_and_run_make_the_same_steps() -> None:
    losses = []
    for many in (True, False):
        step, (x, y), _ = mlp("cuda")
        if many:
            losses.append(step.run(40, x, y, batch_size=64).get())
        else:
            batches = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 40 * 64, 64)]
            losses.append(np.array([float(step(*batch)) for batch in batches]))
    np.testing.assert_array_equal(*losses)


def test_one_kernel_makes_the_steps_of_launches() -> None:
    """Called, which is captured, and by `run`; twice the same bits, of one block and of many."""
    for f, feeds in (STEPS["playground"](), STEPS["mlp"](), STEPS["layer_norm"]()):
        start, curves = [v.value for v in f.graph.variables], []
        for without in ((), (), ("persistent",)):
            for variable, value in zip(f.graph.variables, start, strict=True):
                variable.value = value
            graph = f.graph
            step = sn.function(
                graph.inputs, graph.outputs, dict(graph.updates), device="cuda",
                disabled_passes=without,
            )  # fmt: skip
            called = [float(step(*feeds)[0]) for _ in range(4)]
            many = step.run(50, *feeds, batch_size=len(feeds[0]))[0].get()
            curves.append(np.array([*called, *many]))
        np.testing.assert_array_equal(curves[0], curves[1])
        np.testing.assert_allclose(curves[0], curves[2], rtol=1e-3, atol=1e-5)


def test_a_captured_step_allocates_its_outputs_alone(cupy: Any) -> None:
    step, data, _ = mlp("cuda")
    feeds = [cupy.asarray(x[:64]) for x in data]
    for _ in range(5):
        step(*feeds)

    class Count(cupy.cuda.memory_hook.MemoryHook):  # type: ignore[misc, name-defined]
        name, asked = "count", 0

        def malloc_preprocess(self, **about: Any) -> None:
            type(self).asked += 1

        def alloc_preprocess(self, **about: Any) -> None:
            type(self).asked += 1_000_000

    with Count():
        for _ in range(100):
            step(*feeds)
    assert Count.asked == 100


def test_a_captured_step_does_not_wait_for_the_device(cupy: Any) -> None:
    """Steps are enqueued behind a kernel that runs long; nothing has run when the calls return."""
    step, data, _ = mlp("cuda")
    feeds = [cupy.asarray(x[:64]) for x in data]
    for _ in range(5):
        step(*feeds)
    spin = cupy.RawKernel(
        'extern "C" __global__ void spin(long long n) '
        "{ long long t = clock64(); while (clock64() - t < n) {} }",
        "spin",
    )
    spin((1,), (1,), (np.int64(1),))
    stream = cupy.cuda.get_current_stream()
    stream.synchronize()
    spin((1,), (1,), (np.int64(2_000_000_000),))  # about a second
    for _ in range(50):
        step(*feeds)
    assert not stream.done, "the device was waited for"
    stream.synchronize()


def test_planned_bytes_are_allocated_and_no_others(cupy: Any) -> None:
    step, data, _variables = mlp("cuda")
    float(step(*[x[:64] for x in data]))
    pool = cupy.get_default_memory_pool()
    x, w = sn.placeholder((512, 512), name="x"), sn.variable(np.ones((512, 512), "f"), "w")
    outputs = sn.nn.softmax(sn.tanh(x @ w) @ w)
    before = pool.used_bytes()
    f = sn.function(x, outputs, device="cuda")
    made = f.specialize().executable
    rounded = sum(-(-n // 512) * 512 for n in (made.layout.total, made.workspace_bytes) if n)
    assert pool.used_bytes() - before == rounded + 512 * 512 * 4
    got = f(np.ones((512, 512), "f"))
    assert pool.used_bytes() - before == rounded + 512 * 512 * 4 + got.nbytes


def test_too_little_memory_is_told_before_anything_is_taken(cupy: Any) -> None:
    x = sn.placeholder(("batch", 1 << 20), name="x")
    f = sn.function(x, sn.sum(sn.cumulative_sum(x, 1) * x, 1), device="cuda")
    before = cupy.get_default_memory_pool().used_bytes()
    with pytest.raises(MemoryLimitError, match=r"test_gpu.py[^$]*the largest that fits: batch = "):
        f.specialize(batch=1 << 20)
    assert cupy.get_default_memory_pool().used_bytes() == before
    f.specialize(batch=2)


def test_a_failed_index_is_told_late_and_the_state_is_kept() -> None:
    index, total = sn.placeholder((2,), "int64", "index"), sn.variable(np.zeros(2, "f"), "total")
    taken = sn.take(sn.constant(np.arange(1, 6, dtype="f")), index)
    step = sn.function(index, taken, updates={total: total + taken}, device="cuda")
    step(np.array([0, 4]))
    step(np.array([0, 5]))
    with pytest.raises(ExecutionError, match=r"take: an index is out of range.*test_gpu.py"):
        step.synchronize()
    assert total.value.tolist() == [1.0, 5.0]
    step(np.array([0, 4]))
    assert total.value.tolist() == [2.0, 10.0]


def shares_with_torch(cupy: Any, array: Any) -> tuple[Any, Callable[[Any], int]]:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch.from_numpy(array).cuda(), lambda x: int(torch.from_dlpack(x).data_ptr())


def shares_with_jax(cupy: Any, array: Any) -> tuple[Any, Callable[[Any], int]]:
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("this jax has no GPU")
    there = jax.device_put(array)
    return there, lambda x: int(jax.dlpack.from_dlpack(x).unsafe_buffer_pointer())


@pytest.mark.parametrize("framework", [shares_with_torch, shares_with_jax])
def test_arrays_are_shared_with_other_frameworks(cupy: Any, framework: Any) -> None:
    array = np.arange(12, dtype="f").reshape(3, 4)
    tensor, address = framework(cupy, array)
    adopted = CudaBackend().adopt(tensor)
    assert adopted.data.ptr == address(tensor)
    x = sn.placeholder((3, 4), name="x")
    result = sn.function(x, x * 2, device="cuda")(tensor)
    assert address(result) == result.data.ptr
    np.testing.assert_array_equal(result.get(), array * 2)


@pytest.mark.skipif(find_cudnn() is None, reason="no nvidia-cudnn-frontend")
@pytest.mark.parametrize("make", [attention, convolution, lambda: block(2)])
@pytest.mark.parametrize("tune", ["0", "20"])
def test_cudnn(
    make: Callable[[], Any], tune: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its calls follow NumPy and repeat their bits, by its first plans and by the fastest."""
    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path))
    monkeypatch.setenv("STATICNET_TUNE", tune)
    inputs, outputs, feeds = make()
    wanted = sn.function(inputs, outputs, precision="bfloat16", device="numpy")(*feeds)
    f = sn.function(inputs, outputs, precision="bfloat16", device="cuda")
    print(f.explain().choice)
    assert tune != "0" or "cuDNN computes 0" not in f.explain().choice
    runs = [[y.get() for y in f(*feeds)] for _ in range(3)]  # the later ones captured
    for right, *values in zip(wanted, *runs, strict=True):
        np.testing.assert_allclose(values[0], right, rtol=0, atol=3e-2 * np.abs(right).max())
        for again in values[1:]:
            np.testing.assert_array_equal(again, values[0])


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16", "float8"])
def test_precisions_train(precision: str) -> None:
    step, data, _ = mlp("cuda", precision=precision)
    exact, _, _ = mlp("cuda")
    losses = [f.run(200, *data, batch_size=64).get() for f in (step, exact)]
    np.testing.assert_allclose(losses[0][:20], losses[1][:20], rtol=3e-2)
    assert losses[0][-20:].mean() < losses[0][:20].mean()


@pytest.mark.parametrize("formats", [(False, False), (True, False), (False, True)])
def test_float8_products(formats: tuple[bool, bool]) -> None:
    """Rounding has NumPy's bits; products of all pairs of formats, with a bias, are NumPy's."""
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=shape).astype("f") for shape in ((512, 256), (128, 256)))
    x[0, :4] = [np.inf, np.nan, 1e9, -0.0]
    u, v = sn.placeholder(x.shape, name="u"), sn.placeholder(y.shape, name="v")
    p, q = (apply(Float8(e), w, 16.0) for e, w in zip(formats, (u, v), strict=True))
    factors = sn.constant(np.array([1, 1 / 16], "f"))
    z, other = (apply(Float8Matmul(*formats, 1, i), p, q, factors, factors) for i in (1, 0))
    bias = sn.constant(rng.normal(size=128).astype("f"))
    biased = sn.astype(other, "float32") + bias
    runs = []
    for device in ("cuda", "numpy"):
        f = sn.function([u, v], [p, q, z, biased], device=device, precision="bfloat16")
        runs.append([np.asarray(a.get() if device == "cuda" else a) for a in f(x, y)])
    for mine, theirs in zip(*runs, strict=True):
        if theirs.dtype == np.uint8:
            np.testing.assert_array_equal(mine, theirs)
        else:
            mine, theirs = (a[1:].astype("f") for a in (mine, theirs))
            np.testing.assert_allclose(mine, theirs, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_grouped_products(precision: str) -> None:
    """Attention by three layers, with fewer keys than queries, and their gradients."""
    rng, (n, t, c, d) = np.random.default_rng(4), (32, 64, 512, 64)
    widths = (c, c // 2, c // 2)
    variables = [sn.variable(rng.normal(0, 0.05, (m, c)).astype("f")) for m in widths]
    variables += [sn.variable(rng.normal(0, 0.1, m).astype("f")) for m in widths]
    x = sn.placeholder((n, t, c), name="x")
    q, k, v = (
        sn.permute_dims(sn.reshape(x @ w.T + b, (n, t, -1, d)), (0, 2, 1, 3))
        for w, b in zip(variables[:3], variables[3:], strict=True)
    )
    y = sn.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    made = sn.grad(sn.sum(y * y), [*variables, x])
    f = sn.function([x], made, device="cuda", precision=precision)
    for kind in ("products of one operand", "gradients side by side", "sums of products"):
        assert kind in str(f.passes())
    feed = rng.normal(size=(n, t, c)).astype("f")
    wanted = sn.function([x], made, device="numpy", precision=precision)(feed)
    for mine, theirs in zip(f(feed), wanted, strict=True):
        error = np.linalg.norm(mine.get() - theirs) / np.linalg.norm(theirs)
        assert error < {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}[precision]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("activation", [sn.relu, lambda z: sn.nn.gelu(z, "tanh")])
def test_auxiliary_products(activation: Callable[[Any], Any], precision: str) -> None:
    """Gradients of both weights' layouts; half of the first layer is 0, where relu has none."""
    rng = np.random.default_rng(4)
    first, second = (rng.normal(0, 0.03, (1024, 1024)).astype("f") for _ in range(2))
    first[:512] = 0
    x = sn.placeholder((1024, 1024), name="x")
    variables = [sn.variable(a) for a in (first, np.zeros(1024, "f"), second, np.zeros(1024, "f"))]
    w, b, v, c = variables
    y = activation(x @ w.T + b) @ v + c
    gradients = sn.grad(sn.mean(y * y), variables)
    feed = rng.normal(size=(1024, 1024)).astype("f")
    f = sn.function([x], gradients, device="cuda", precision=precision)
    assert "auxiliary" in str(f.explain())
    wanted = sn.function([x], gradients, device="numpy")(feed)
    tolerance = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}[precision]
    for mine, theirs in zip(f(feed), wanted, strict=True):
        error = np.linalg.norm(mine.get() - theirs) / np.linalg.norm(theirs)
        assert error < tolerance


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_in_chunks_is_the_whole_loss(precision: str) -> None:
    rng = np.random.default_rng(5)
    start = rng.normal(0, 0.02, (5003, 64)).astype("f")
    feeds = [rng.integers(0, 5003, 1000) for _ in range(2)]
    losses = []
    for options in (None, sn.nn.LinearCrossEntropyOptions(batch_chunk_size=128)):
        w = sn.variable(start, "w")
        index, target = (sn.placeholder((1000,), "int64", name) for name in ("i", "t"))
        loss = sn.nn.functional.linear_cross_entropy(sn.tanh(w[index]), w, target, options=options)
        updates = sn.optim.SGD(lr=1.0).minimize(loss)
        step = sn.function([index, target], loss, updates, device="cuda", precision=precision)
        losses.append([float(step(*feeds)) for _ in range(20)])
    rtol = 1e-5 if precision == "float32" else 1e-2
    np.testing.assert_allclose(losses[1], losses[0], rtol=rtol)


def test_a_scaled_loss_trains() -> None:
    """Gradients of 1e-9, which float16 does not hold."""
    ends = {}
    for name, inner in (("alone", None), ("scaled", sn.optim.LossScaling)):
        x, w = sn.placeholder((64, 32), name="x"), sn.variable(np.zeros((32, 16), "f"), "w")
        loss = sn.mean(sn.square(x @ w - 1)) * 1e-6
        sgd = sn.optim.SGD(lr=1e6)
        updates = (inner(sgd) if inner else sgd).minimize(loss)
        step = sn.function(x, loss, updates=updates, device="cuda", precision="float16")
        feed = np.random.default_rng(0).normal(size=(64, 32)).astype("f") * 0.1 + 0.5
        losses = [float(step(feed)) for _ in range(100)]
        ends[name] = losses[-1] / losses[0]
    assert ends["alone"] == 1
    assert ends["scaled"] < 0.5


def test_copies_of_weights_have_the_bits_of_casts() -> None:
    losses = []
    for left_out in ([], ["keep_casts"]):
        step, data, variables = mlp("cuda", precision="bfloat16", disabled_passes=left_out)
        first = step.run(50, *data, batch_size=64).get()
        variables[0].value = variables[0].value * np.float32(0.5)
        losses.append(np.concatenate([first, step.run(50, *data, batch_size=64).get()]))
    np.testing.assert_array_equal(*losses)


def forked(monkeypatch: pytest.MonkeyPatch, streams: int, batch: int) -> tuple[Any, Any]:
    """The step of `mlp` on at most so many streams, and its data."""
    monkeypatch.setattr("staticnet.codegen.cuda.streams.MOST_STREAMS", streams)
    step, data, _ = mlp("cuda", batch)
    return step, data


@pytest.mark.usefixtures("launch_by_launch")
def test_forks_give_the_bits_of_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("staticnet.codegen.cuda.streams.LEAST_GAIN", 1e-9)
    losses = []
    for most in (4, 1):
        step, data = forked(monkeypatch, most, 64)
        assert (step.specialize().executable.program.streams > 1) == (most > 1)
        losses.append(step.run(200, *data, batch_size=64).get())
    np.testing.assert_array_equal(*losses)


def test_large_feeds_read_in_place(cupy: Any) -> None:
    x = sn.placeholder((1024, 1024), name="x")
    f = sn.function(x, sn.sum(x), device="cuda")
    there = cupy.ones((1024, 1024), "f")
    for value in (1, 2, 3, 4):
        there[...] = value
        assert float(f(there)) == value * 1024 * 1024


@pytest.mark.usefixtures("launch_by_launch")
def test_a_measured_algorithm_gives_the_same_product(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a, b = sn.placeholder((300, 200), name="a"), sn.placeholder((200, 100), name="b")
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=s).astype("f") for s in ((300, 200), (200, 100))]
    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path))
    monkeypatch.setenv("STATICNET_TUNE", "1")
    got = sn.function([a, b], a @ b, device="cuda")(*feeds)
    np.testing.assert_allclose(got.get(), feeds[0] @ feeds[1], rtol=1e-4, atol=1e-4)
    assert list(tmp_path.glob("*/*.json"))


def test_profile(cupy: Any) -> None:
    step, data, variables = mlp("cuda")
    before = [v.value for v in variables]
    profile = step.profile(*[x[:64] for x in data], repeat=5)
    print(profile)
    assert all(part.seconds >= 0 for part in profile.parts)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)


@pytest.mark.parametrize("most", [4096, 3])
@pytest.mark.parametrize("make", [scans, loops])
def test_loops(make: Callable[..., Any], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_COMMANDS", most)
    agree(function(make), [X, ROWS, W, GO])


@pytest.mark.parametrize("blocks", [1, 8, 128])
@pytest.mark.parametrize("name", CASES)
def test_loops_as_one_kernel(name: str, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are captured follow NumPy's, and have the same bits again."""
    monkeypatch.setattr(kernels, "COUNTS", (blocks,))
    loops_agree(CASES[name], monkeypatch, lambda x: 1e-4)


@pytest.mark.parametrize("name", [*RESIDENT, "large"])
def test_loops_whose_weights_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 bits and TF32, in up to 145 KiB of shared memory a block."""
    monkeypatch.setattr(kernels, "COUNTS", ())
    make = (
        (lambda: recurrent("LSTM", 128, 512, "bfloat16")) if name == "large" else RESIDENT[name][0]
    )
    loops_agree(make, monkeypatch, lambda x: 2e-2 if x.dtype.itemsize == 2 else 2e-3)


@pytest.mark.parametrize("blocks", [0, 1, 8, 128])
@pytest.mark.parametrize("name", WHILES)
def test_whiles(name: str, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one kernel of so many blocks or, of none, as nodes of the graph."""
    f, feeds = WHILES[name]()
    monkeypatch.setattr(whiles, "COUNTS", (blocks or 1,))
    monkeypatch.setattr(whiles, "LEAST_GAIN", -1e9 if blocks else 2.0)
    step = on_cuda(f)
    wanted = listed(f(*feeds))
    for _ in range(3):
        for got, right in zip(listed(step(*feeds)), wanted, strict=True):
            close(got.get(), right, 1e-2 if right.dtype == np.float16 else 1e-4)
    made = step.specialize().executable
    assert made.program.waits_for_host >= (not blocks)
    assert not made.by_host


def loops_agree(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, most: Callable[[Any], float]
) -> None:
    """Loops that are kernels follow NumPy's, twice with the same bits."""
    monkeypatch.setattr(kernels, "LEAST_GAIN", -1e9)
    monkeypatch.setattr(choice, "LEAST_GAIN", 1.0)
    f, feeds = make()
    start = [v.value for v in f.graph.variables]
    wanted = [f(*feeds) for _ in range(4)]
    state = [v.value for v in f.graph.variables]
    runs = []
    for _ in range(2):
        for variable, value in zip(f.graph.variables, start, strict=True):
            variable.value = value
        step = on_cuda(f)
        assert kernels_of_loops(step.specialize().executable.program)
        runs.append([step(*feeds) for _ in range(4)])
        runs[-1] = [np.asarray(x.get()) for xs in runs[-1] for x in _several(xs)]
        runs[-1] += [v.value for v in f.graph.variables]
    for once, again, right in zip(
        *runs, [*(x for xs in wanted for x in _several(xs)), *state], strict=True
    ):
        np.testing.assert_array_equal(once, again)
        close(once, right, most(once))


def _several(results: Any) -> list[Any]:
    return list(results) if isinstance(results, list | tuple) else [results]
