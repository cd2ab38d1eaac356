"""The CPU backend against the reference: every op, dtype and golden graph."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_cases import BATCHES, cancels, nests, samples_of_all_dtypes
from tolerance import close

import staticnet as sn
import staticnet.backends.cpu as cpu
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.ir import arrays
from staticnet.ir.dtype import DTYPES

COMPILES = True
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")


def both(inputs: Any, outputs: Any, feeds: Any, **options: Any) -> tuple[Any, Any]:
    runs = [sn.function(inputs, outputs, device=d, **options)(*feeds) for d in ("cpu", "numpy")]
    return runs[0], runs[1]


# one of each kind of code; the others with -m slow
FEW = [DTYPES[name] for name in ("float32", "float64", "bfloat16", "int64", "uint8", "bool")]


def follows_the_reference(number: int, dtypes: Any) -> None:
    f, feeds, names = samples_of_all_dtypes(BATCHES[number], dtypes)
    runs = both(f.graph.inputs, f.graph.outputs, feeds)
    for name, got, wanted in zip(names, *runs, strict=True):
        close(got, wanted, name=name)


@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_every_op_and_dtype(number: int) -> None:
    follows_the_reference(number, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_every_op_and_dtype_as_shipped(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all dtypes, with the flags that users have: tests compile with -O1 otherwise."""
    monkeypatch.setattr(cpu, "find_compiler", find_compiler)
    follows_the_reference(number, tuple(DTYPES.values()))


GOLDEN = sorted((Path(__file__).parent / "golden").glob("*/*.sn"))


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_golden_graphs(file: Path) -> None:
    graph = sn.parse(file.read_text(encoding="utf-8").partition("// after ")[0])
    rng = np.random.default_rng(0)
    dims = {name: 4 for name in graph.symbols}
    feeds = []
    for node in graph.inputs:
        shape = node.type.substitute(dims).shape
        feeds.append((rng.uniform(0.5, 2, shape) * 2).astype(node.dtype))
    results = []
    for device in ("cpu", "numpy"):
        for v in graph.variables:
            v.value = np.full(v.shape, 0.5)  # type: ignore[attr-defined]
        f = sn.function(graph.inputs, graph.outputs, dict(graph.updates), device=device)
        results.append([*f(*feeds), *(v.value for v in graph.variables)])  # type: ignore[attr-defined]
    for got, wanted in zip(*results, strict=True):
        close(got, wanted, hard(graph) if wanted.dtype == "float32" else None)


def hard(graph: sn.Graph) -> float | None:
    """How near float32 comes to float64 where it comes less near than elsewhere."""
    if nests(graph):  # 16 steps of sin, each of a slope of up to 4: 2e-4
        return 3e-4
    if cancels(graph):  # the mean of 2,048 numbers is off by 8 last bits in NumPy
        return 1e-3
    return None


def test_nan_and_infinity_travel() -> None:
    x = sn.placeholder((3, 70), name="x")
    feed = np.zeros((3, 70), np.float32)
    feed[0, 3], feed[1, 5], feed[2, 69] = np.nan, np.inf, -np.inf
    outputs = [
        sn.max(x, 1), sn.min(x, 1), sn.sum(x, 1), sn.prod(x, 1), sn.nn.softmax(x), sn.exp(x),
        sn.relu(x), sn.maximum(x, 0.0), sn.sum(x, 0), sn.sort(x), sn.argmax(x, 1),
        sn.logsumexp(x, 1),
        sn.nn.log_softmax(x), x * 0, sn.sqrt(x),
    ]  # fmt: skip
    for got, wanted in zip(*both(x, outputs, [feed]), strict=True):
        close(got, wanted)


def test_a_bad_index_fails_and_updates_nothing() -> None:
    x, i = sn.placeholder((4,), name="x"), sn.placeholder((2,), "int64", "i")
    w = sn.variable(np.zeros(4, np.float32), "w")
    f = sn.function([x, i], sn.take(x, i), updates={w: w + x}, device="cpu")
    with pytest.raises(sn.errors.ExecutionError, match="out of range"):
        f(np.ones(4, "f"), np.array([0, 4]))
    np.testing.assert_array_equal(w.value, 0)
    f(np.ones(4, "f"), np.array([-1, 3]))
    np.testing.assert_array_equal(w.value, 1)


def mlp(device: str, **options: Any) -> Any:
    sn.manual_seed(0)
    x, y = sn.placeholder(("b", 20), name="x"), sn.placeholder(("b",), "int64", "y")
    layers = [sn.nn.Linear(20, 32), sn.nn.GELU(), sn.nn.Dropout(0.2), sn.nn.Linear(32, 5)]
    loss = sn.nn.cross_entropy(sn.nn.Sequential(*layers)(x), y)
    updates = sn.optim.Adam(lr=0.01).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, **options)


def batch(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 20)).astype(np.float32), rng.integers(0, 5, n)


def test_training_follows_the_reference() -> None:
    data = batch(96)
    losses = {d: mlp(d).run(60, *data, batch_size=32, shuffle=True) for d in ("cpu", "numpy")}
    np.testing.assert_allclose(losses["cpu"], losses["numpy"], rtol=2e-4)
    assert losses["cpu"][-1] < losses["cpu"][0]


def test_run_equals_calls_to_the_bit() -> None:
    x, y = batch(64)
    step = mlp("cpu")
    called = [step(x[i : i + 32], y[i : i + 32]) for i in (0, 32, 0)]
    np.testing.assert_array_equal(mlp("cpu").run(3, x, y, batch_size=32), called)


def test_state_that_the_user_replaces_is_used() -> None:
    w = sn.variable(np.ones(3, np.float32), "w")
    f = sn.function([], w * 2, updates={w: w + 1}, device="cpu")
    f()
    w.value = np.full(3, 10.0)
    np.testing.assert_array_equal(f(), 20)
    np.testing.assert_array_equal(w.value, 11)


def test_swapped_state_is_read_before_it_is_written() -> None:
    a, b = sn.variable(np.float32(1), "a"), sn.variable(np.float32(2), "b")
    f = sn.function([], [a, b], updates={a: b, b: a + b}, device="cpu")
    assert [float(v) for v in f()] == [1, 2]
    assert [float(v) for v in f()] == [2, 3]
    assert (a.value, b.value) == (3, 5)


def test_without_a_compiler_it_runs_on_numpy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpu, "find_compiler", lambda: None)
    monkeypatch.setattr(cpu, "_told", set())
    x = sn.placeholder((2,), name="x")
    for _ in range(2):
        np.testing.assert_array_equal(sn.function(x, x + 1, device="cpu")(np.ones(2, "f")), 2)
    assert [r.message.split(":")[0] for r in caplog.records] == ["no C compiler was found"]


def test_kernels_that_are_equal_compile_once() -> None:
    x = sn.placeholder((40,), name="x")
    variables = [sn.variable(np.ones(40, np.float32), f"w{i}") for i in range(5)]
    f = sn.function(x, [], updates={v: v * 0.5 + x for v in variables}, device="cpu")
    program = f.specialize().executable.program  # type: ignore[attr-defined]
    assert program.source.count("SN_KERNEL void k") == 1
    assert program.source.count(" k0(share, shares") == 5
    assert program.launches == 1


def test_bits_do_not_depend_on_threads() -> None:
    code = (
        "import numpy as np, staticnet as sn\n"
        "x = sn.placeholder((300, 400), name='x'); w = sn.constant(np.random.default_rng(0)"
        ".normal(size=(400, 200)).astype('f'))\n"
        "y = sn.tanh(x @ w)\n"
        "f = sn.function(x, [y, sn.sum(y), sn.sum(y, 0), sn.nn.softmax(x)], device='cpu')\n"
        "r = f(np.random.default_rng(1).normal(size=(300, 400)).astype('f'))\n"
        "import hashlib; print(hashlib.sha256(b''.join(a.tobytes() for a in r)).hexdigest())"
    )

    def digest(n: str) -> str:
        command = [
            sys.executable,
            "-c",
            f"import os; os.environ['OMP_NUM_THREADS'] = '{n}'\n{code}",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert len({digest(threads) for threads in "123"}) == 1


def test_feeds_of_any_layout() -> None:
    x = sn.placeholder((5, 7), name="x")
    f = sn.function(x, [x * 2, sn.sum(x, 0)], device="cpu")
    wide = np.arange(140, dtype=np.float32).reshape(10, 14)
    room = np.zeros(5 * 7 * 4 + 1, np.uint8)
    crooked = room[1:].view(np.float32).reshape(5, 7)
    crooked[...] = wide[:5, :7]
    frozen = wide[:5, :7].copy()
    frozen.flags.writeable = False
    for feed in (wide[::2, ::2], wide[:5, :7].T.copy().T, wide[4::-1, 6::-1], crooked, frozen):
        np.testing.assert_array_equal(f(feed)[0], feed * 2)
        np.testing.assert_allclose(f(feed)[1], feed.sum(0), rtol=1e-6)


def test_integers_wrap() -> None:
    x = sn.placeholder((100,), "int32", "x")
    feed = np.full(100, 2**31 - 1, np.int32)
    for got, wanted in zip(*both(x, [x + 1, x * x, -x, sn.abs(x + 1)], [feed]), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_kernel_reads_the_old_state_before_it_writes_the_new() -> None:
    x = sn.placeholder((50,), name="x")
    w = sn.variable(np.ones(50, np.float32), "w")
    new = x * 2
    f = sn.function(x, w + new, updates={w: new}, device="cpu")
    np.testing.assert_array_equal(f(np.full(50, 3, np.float32)), 7)
    np.testing.assert_array_equal(w.value, 6)


@pytest.mark.parametrize("length", [1, 5, 40, 300])
def test_what_is_read_across_a_short_axis_goes_by_vectors_of_the_other(length: int) -> None:
    """Channels come last, of which there are few, beside a table that lies as the result does."""
    feeds = [
        np.random.default_rng(0).normal(size=(2, n, 3, length)).astype("f") for n in (1, 2, 5, 8, 9)
    ]
    xs = [sn.placeholder(x.shape, name=f"x{i}") for i, x in enumerate(feeds)]
    tables = [np.random.default_rng(1).normal(size=(length, x.shape[1])).astype("f") for x in xs]
    turned = [sn.permute_dims(x, (0, 2, 3, 1)) for x in xs]
    outputs = [sn.tanh(x) * t for x, t in zip(turned, tables, strict=True)]
    for got, wanted in zip(*both(xs, outputs, feeds), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    kernels = sn.function(xs, outputs, device="cpu").source().split("SN_KERNEL")[1:]
    assert ["_tile[" in kernel for kernel in kernels] == [False] * 4 + [True]  # that of nine


def test_a_view_that_is_also_returned_is_copied_before_a_product_reads_it() -> None:
    x, z = sn.placeholder((40, 30), name="x"), sn.placeholder((40, 50), name="z")
    turned = sn.permute_dims(sn.tanh(x), (1, 0))
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(40, n)).astype(np.float32) for n in (30, 50)]
    for got, wanted in zip(*both([x, z], [turned @ z, turned], feeds), strict=True):
        close(got, wanted)


def test_a_gather_from_a_transposed_view() -> None:
    """Its inner reads run across memory, but at places that only other reads tell."""
    x, i = sn.placeholder((40, 6, 50), name="x"), sn.placeholder((7,), "int64", "i")
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(40, 6, 50)).astype(np.float32), np.array([0, 5, 1, 2, 3, 3, -1])]
    taken = sn.take(sn.permute_dims(x, (1, 2, 0)), i, 0)
    for got, wanted in zip(*both([x, i], [taken * 2], feeds), strict=True):
        close(got, wanted)


def test_an_update_may_move_its_own_variable() -> None:
    """Read at other elements than the one that is written: not in place."""
    for moved in (sn.matrix_transpose, lambda w: sn.flip(w, 1), lambda w: sn.roll(w, 1, 0)):
        w = sn.variable(np.arange(9, dtype=np.float32).reshape(3, 3), "w")
        f = sn.function([], [], updates={w: moved(w)}, device="cpu")
        wanted = sn.function([], moved(w), device="numpy")()
        f()
        np.testing.assert_array_equal(w.value, wanted)


def test_large_results_are_fresh_while_held_and_their_memory_is_used_again() -> None:
    x = sn.placeholder((1 << 18,), name="x")
    f = sn.function(x, x + 1.0, device="cpu")
    feeds = [np.full(1 << 18, i, np.float32) for i in range(4)]
    first, second = f(feeds[0]), f(feeds[1])
    part = f(feeds[2])[:5]  # a view holds its memory, too
    assert not np.shares_memory(first, second)
    last = f(feeds[3])
    for i, y in enumerate((first, second, part, last)):
        assert (y == i + 1).all()
    place = last.__array_interface__["data"]
    del last, y
    assert f(feeds[0]).__array_interface__["data"] == place


def _torch(y: Any) -> Any:
    return pytest.importorskip("torch").from_numpy(y)


@pytest.mark.parametrize(
    "hold",
    [
        memoryview,
        _torch,
        np.from_dlpack,
        lambda y: _torch(y)[3:],
        lambda y: y.__dlpack__(),
        lambda y: y.reshape(2, -1)[1:, ::3],
        lambda y: y.view(np.recarray),
        lambda y: y.flat,
        lambda y: np.frombuffer(y, np.uint8),
        lambda y: np.lib.stride_tricks.as_strided(y, (2,), (64,)),
        lambda y: y.base,
        np.ctypeslib.as_ctypes,
    ],
)
def test_whatever_holds_a_large_result_keeps_its_memory(hold: Any) -> None:
    x = sn.placeholder((1,), name="x")
    f = sn.function(x, x + sn.constant(np.zeros(1 << 18, np.float32)), device="cpu")
    held, places = [], []
    for i in range(4):
        y = f(np.float32([i]))
        places.append(y.ctypes.data)
        held.append(hold(y))
        del y
    for _ in range(3):
        f(np.float32([9]))
    assert [ctypes.c_float.from_address(place).value for place in places] == [0, 1, 2, 3]


@pytest.mark.parametrize("nbytes", [arrays.LARGE, arrays.HUGE, arrays.HUGE + 4])
def test_threads_hold_large_results_of_their_own(nbytes: int) -> None:
    x = sn.placeholder((1,), name="x")
    f = sn.function(x, x + sn.constant(np.zeros(nbytes // 4, np.float32)), device="cpu")

    def wrong(thread: int) -> int:
        held, found = [], 0
        for i in range(30):
            number = 1000 * thread + i
            held.append((number, f(np.float32([number]))))
            held = held[-1 - i % 4 :]
            found += sum(bool(y[0] != n or y[-1] != n) for n, y in held)
        return found

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(wrong, range(4))) == 0


def test_a_view_holds_the_memory_that_is_counted() -> None:
    for size in (1, arrays.LARGE, arrays.HUGE, arrays.HUGE + 1, 9 << 20):
        memory = arrays.allocate(size)
        assert memory.nbytes == size
        assert arrays.view(memory, (size,), "u1").base is memory


@pytest.mark.parametrize("nbytes", [arrays.LARGE, arrays.HUGE, arrays.HUGE + 4])
def test_a_loop_that_holds_one_result_takes_turns_between_two_memories(nbytes: int) -> None:
    x = sn.placeholder((nbytes // 4,), name="x")
    f = sn.function(x, x + 1.0, device="cpu")
    places, y = [], None
    for i in range(6):
        y = f(np.full(nbytes // 4, i, np.float32))
        assert (y == i + 1).all()
        places.append(y.__array_interface__["data"][0])
    assert places[0::2] == 3 * [places[0]]
    assert places[1::2] == 3 * [places[1]]
    assert places[0] != places[1]


@pytest.mark.parametrize("shape", [(2048, 4096), (8200, 1023), (3, 2750, 1024), (1, 1 << 23)])
def test_large_softmax_fetches_the_next_row_and_is_right(shape: tuple[int, ...]) -> None:
    x = sn.placeholder(shape, name="x")
    f = sn.function(x, sn.nn.softmax(x), device="cpu")
    assert ("sn_prefetch(" in f.source()) == (shape[-2] > 1)
    feed = np.random.default_rng(0).standard_normal(shape, dtype=np.float32) * 30
    feed[..., 0, 5] = -np.inf
    with np.errstate(all="ignore"):
        powers = np.exp(feed - feed.max(-1, keepdims=True), dtype=np.float64)
    wanted = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(f(feed), wanted, rtol=1e-5, atol=1e-38)


def test_only_the_maximum_of_its_own_row_bounds_an_exponent() -> None:
    """A square matrix less the maxima of its columns laid along its rows is above 0 somewhere."""
    x = sn.placeholder((9, 9), name="x")
    feed = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32) * 40
    tops = {
        "rows": (sn.max(x, axis=1, keepdims=True), True),
        "columns": (sn.max(x, axis=0), True),
        "rows laid along columns": (sn.max(x, axis=1), False),
        "another's": (sn.max(x * 0.5, axis=1, keepdims=True), False),
    }
    for name, (top, bounded) in tops.items():
        y = sn.exp(x - top)
        f = sn.function(x, y, device="cpu")
        assert ("sn_exp_nonpositive_f32" in f.source()) == bounded, name
        with np.errstate(over="ignore"):
            wanted = sn.function(x, y, device="numpy")(feed)
        np.testing.assert_allclose(f(feed), wanted, rtol=1e-5, err_msg=name)


FORKING = """
import os, signal, time
import numpy as np
import staticnet as sn
x = sn.placeholder((1 << 20,), name="x")
f = sn.function(x, sn.exp(x), device="cpu")
feed = np.linspace(-1, 1, 1 << 20, dtype=np.float32)
expected = f(feed)
child = os.fork()
if child == 0:
    later = sn.function(x, sn.exp(x) + 1.0, device="cpu")  # loaded in the child
    right = np.array_equal(f(feed), expected) and np.array_equal(later(feed), expected + 1)
    os._exit(0 if right else 1)
for _ in range(6000):  # only a child that hangs takes that long
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.1)
else:
    os.kill(child, signal.SIGKILL)
    raise SystemExit("the child hangs")
assert status == 0, "the child is wrong"
assert np.array_equal(f(feed), expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_runs_on_one_thread_instead_of_waiting_for_its_parents() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_large_memory_begins_within_the_first_pages_of_a_huge_one() -> None:
    for size in (arrays.HUGE, arrays.HUGE + 3 * mmap.PAGESIZE + 1, 5 * arrays.HUGE):
        memory = arrays.allocate(size)
        assert memory.nbytes == size
        assert arrays.address(memory) % mmap.PAGESIZE == 0
        if sys.platform != "win32":
            pages = arrays.address(memory) % arrays.HUGE_PAGE // mmap.PAGESIZE
            assert pages < arrays.STARTS
        memory[0] = memory[-1] = 1


def test_reduced_axes_that_lie_in_order_are_one_loop() -> None:
    """Short axes fill no vectors; the bits are those of one axis from the beginning."""
    x = sn.placeholder((2, 3, 9, 9), name="x")
    y = sn.tanh(x)
    f = sn.function(
        x, [sn.mean(y, axis=(2, 3)), sn.max(y[:, :, :7, :5], axis=(2, 3))], device="cpu"
    )
    assert "<= 81; " in f.source()  # in pieces
    flat = sn.placeholder((2, 3, 81), name="flat")
    wanted = sn.function(flat, sn.mean(sn.tanh(flat), axis=2), device="cpu")
    value = np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype("f")
    mean, most = f(value)
    np.testing.assert_array_equal(mean, wanted(value.reshape(2, 3, 81)))
    np.testing.assert_allclose(most, np.tanh(value[:, :, :7, :5]).max((2, 3)), rtol=1e-6)


def test_sums_of_few_columns_and_of_many() -> None:
    """How many a chunk has is known up to 256, but where it is too little for each thread."""
    shapes = [(40, n) for n in (16, 256, 257)] + [(2000, 40)]
    xs = [sn.placeholder(shape) for shape in shapes]
    on = sn.placeholder((), "bool")
    kept = [sn.where(on, x, 1.0) * 0.5 for x in xs]
    sums = [y for k in kept for y in (k, k.sum(axis=0), k.max(axis=0))]
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    for truth in (True, False):
        got, wanted = both([*xs, on], sums, [*feeds, np.array(truth)])
        for y, z in zip(got, wanted, strict=True):
            close(y, z)
    source = sn.function([*xs, on], sums, device="cpu").source()
    assert "const int64_t width = 16;" in source
    assert "SN_MIN(256, end - first)" in source
    for kernel in source.split("SN_KERNEL")[1:]:  # a byte that all read is no vector of bytes
        before, _, loop = kernel.partition("\n}\n")[0].partition("#pragma omp simd")
        assert "= p0[0];" in before
        assert "p0[" not in loop


def test_rows_are_sorted_byte_by_byte() -> None:
    """Stable in both directions: -0 is 0, NaN is greatest, and least and greatest are no others."""
    rng = np.random.default_rng(0)
    xs, ys, feeds = [], [], []
    for dtype in DTYPES.values():
        values = rng.integers(-9, 9, (3, 70)) * 1000.7
        if dtype.kind == "b":
            feed = values > 0
        elif dtype.kind in "iu":
            feed = values.astype(np.int64).astype(dtype)
            feed[0, :2] = np.iinfo(dtype).max, np.iinfo(dtype).min
        else:
            values[0, :6] = [np.nan, np.inf, -np.inf, -0.0, 0.0, np.nan]
            feed = values.astype(dtype)
        x = sn.placeholder(feed.shape, dtype)
        xs.append(x)
        feeds.append(feed)
        ys += [sn.argsort(x, axis=1), sn.argsort(x, axis=1, descending=True), sn.argsort(x, axis=0)]
    for got, wanted in zip(*both(xs, ys, feeds), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_first_few_are_those_of_all_sorted() -> None:
    """Values and places, whatever is kept meanwhile: of equal ones the first, NaN as greatest."""
    rng = np.random.default_rng(0)
    xs, ys, feeds = [], [], []
    for dtype in FEW:
        values = rng.integers(-9, 9, (2, 1100)) * (1 if dtype.kind in "biu" else 1000.7)
        if dtype.kind not in "biu":
            values[1, :6] = [np.nan, np.inf, -np.inf, -0.0, 0.0, np.nan]
        for axis in (1, 0) if dtype == np.float32 else (1,):
            feed = (values if axis else values.T).astype(np.int64 if dtype.kind in "iu" else dtype)
            x = sn.placeholder(feed.shape, dtype)
            xs.append(x)
            feeds.append(feed.astype(dtype))
            for k, largest in ((0, True), (1, False), (5, True), (1097, False)):
                ys += sn.top_k(x, k, axis, largest)
    for got, wanted in zip(*both(xs, ys, feeds), strict=True):
        assert np.asarray(got).tobytes() == np.asarray(wanted).tobytes()
