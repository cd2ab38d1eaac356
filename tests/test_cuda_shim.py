"""Generated CUDA run on the CPU, block by block and thread by thread, against the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import (
    BATCHES,
    FEW,
    GOLDEN,
    STEPS,
    cancels,
    golden_graph,
    lower,
    nests,
    samples_of_all_dtypes,
)
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs
from tolerance import RTOL, close

import staticnet as sn
from staticnet.codegen.commands import Launch, Product
from staticnet.codegen.cuda import maps, signatures
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.ir.dtype import DTYPES, HALVES, DType

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def states(graph: Any) -> list[Any]:
    return [v.value for v in graph.variables]


def check(f: Any, feeds: list[Any], folder: Path, names: Any = None, **options: Any) -> Machine:
    """A function on NumPy, and the program of its graph: all outputs and the new state agree.

    So do the bits of two runs, in the second of which the last blocks and warps run first.
    """
    machine = Machine(lower(f), folder, **options)
    before = states(machine.graph)
    failed, outputs, after = machine.run(feeds, before)
    assert failed == 0
    _, *again = machine.run(feeds, before, reverse=True)
    for first, second in zip([*outputs, *after], [*again[0], *again[1]], strict=True):
        assert first.tobytes() == second.tobytes()
    wanted = f(*feeds)
    wanted = wanted if isinstance(wanted, list) else [wanted]
    names = names or [f"output {i}" for i in range(len(wanted))]
    for name, got, right in zip(names, outputs, wanted, strict=True):
        try:
            close(got, right)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    for got, right in zip(after, states(machine.graph), strict=True):
        close(got, right)
    return machine


@pytest.mark.parametrize(
    "dtypes",
    [
        pytest.param(FEW, id="few"),
        pytest.param(list(DTYPES.values()), id="all", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_every_op_and_dtype(number: int, dtypes: list[DType], tmp_path: Path) -> None:
    f, feeds, names = samples_of_all_dtypes(BATCHES[number], dtypes)
    check(f, feeds, tmp_path, names)


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_golden_graphs(file: Path, tmp_path: Path) -> None:
    f, feeds, dims = golden_graph(file)
    graph = lower(f, **dims)
    machine = Machine(graph, tmp_path)
    failed, outputs, after = machine.run(feeds, states(graph))
    assert failed == 0
    wanted = f(*feeds)
    rough = nests(graph) or cancels(f.graph)
    narrow = 1e-3 if rough else 1e-5
    for got, right in zip([*outputs, *after], [*wanted, *states(graph)], strict=True):
        halves = 5 * RTOL[right.dtype.name] if rough and right.dtype in HALVES else None
        close(got, right, narrow if right.dtype == np.float32 else halves)


@pytest.mark.parametrize("name", STEPS)
def test_training_follows_the_reference(name: str, tmp_path: Path) -> None:
    """In one arena, forwards and backwards through threads and blocks: the bits are the same."""
    f, feeds = STEPS[name]()
    machine = Machine(lower(f), tmp_path, arena=True)
    state = states(machine.graph)
    tolerance = 3e-2 if f.precision == "bfloat16" else 2e-4
    losses = []
    for _ in range(3):
        failed, (loss,), after = machine.run(feeds, state)
        again = machine.run(feeds, state, reverse=True)
        assert failed == 0
        for a, b in zip([loss, *after], [*again[1], *again[2]], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(loss, f(*feeds), rtol=tolerance)
        state = after
        losses.append(float(loss))
    for got, right in zip(state, states(machine.graph), strict=True):
        close(got, right, tolerance)
    assert losses[-1] < losses[0]


def families(rows: int, columns: int, dtype: str) -> tuple[Any, list[Any]]:
    """All kinds of kernels over an array of these sizes."""
    x = sn.placeholder((rows, columns), dtype, "x")
    z = sn.placeholder((columns, rows), dtype, "z")
    y = sn.tanh(x)
    outputs = [
        y, sn.square(y) + x[:1], sn.permute_dims(x, (1, 0)) * z, sn.flip(x, 1) - x,
        sn.pad(x, ((1, 2), (0, 3)), 0.5), sn.concat([x, y, x], 1), x[:, 1:], x[1:],
        sn.sum(x, 0), sn.sum(x, 1), sn.sum(y), sn.mean(sn.square(x), 1, keepdims=True) * x,
        sn.any(x > 1.5, 1), sn.all(x > -2.5, 0), sn.sum(sn.astype(x * 4, "int32"), 1),
    ]  # fmt: skip
    if rows and columns:
        outputs += [
            sn.max(x, 1), sn.min(x, 0), sn.max(x), sn.argmax(x, 1), sn.argmin(x, 0),
            sn.argmax(sn.reshape(x, -1)), sn.nn.softmax(x), sn.nn.softmax(sn.sin(x), 0),
        ]  # fmt: skip
    if rows * columns < 10_000:  # barriers take the shim's time
        outputs += [
            sn.cumulative_sum(x, 0), sn.cumulative_sum(x, 1), sn.sort(x, 1), sn.argsort(x, 0)
        ]  # fmt: skip
    rng = np.random.default_rng(rows * columns)
    feeds = [rng.normal(size=s).astype(dtype) for s in ((rows, columns), (columns, rows))]
    return sn.function([x, z], outputs, device="numpy"), feeds


SIZES = [(1, 1), (0, 5), (5, 0), (1, 7), (3, 1031), (33, 64), (2, 20_011), (1, 16_385), (1031, 9)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_every_family_of_odd_sizes(rows: int, columns: int, tmp_path: Path) -> None:
    check(*families(rows, columns, "float64"), tmp_path)


def test_families_of_16_bits_in_packs(tmp_path: Path) -> None:
    """Of 8 elements each."""
    machine = check(*families(6, 48, "bfloat16"), tmp_path)
    assert "sn_read<8>" in machine.program.body


def test_64_bit_indices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(signatures, "LARGEST_NARROW", 0)
    machine = check(*families(5, 260, "float64"), tmp_path)
    assert "int64_t o = (int64_t)block" in machine.program.body


def test_rows_that_are_kept_in_registers(tmp_path: Path) -> None:
    """The costly elements of a row are computed once, and kept by the thread that needs them."""
    outputs, inputs, feeds = [], [], []
    for length in (3, 64, 700, 3000):
        x = sn.placeholder((5, length), name=f"x{length}")
        inputs.append(x)
        outputs.append(sn.nn.softmax(x))
        feeds.append(np.random.default_rng(length).normal(size=(5, length)).astype("f"))
    machine = check(sn.function(inputs, outputs, device="numpy"), feeds, tmp_path)
    assert "float k0[" in machine.program.body


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_rows_of_narrow_values_share_registers(dtype: str, tmp_path: Path) -> None:
    """Those of odd lengths are no packs; what one loop took apart is taken apart again."""
    outputs, inputs, feeds = [], [], []
    for length in (67, 701, 702, 704):
        x = sn.placeholder((5, length), dtype, f"x{length}")
        inputs.append(x)
        wide = sn.astype(x, "float32")
        top = sn.max(wide, 1, keepdims=True)
        outputs.append(wide * 2 - top - sn.sum(sn.abs(wide - top), 1, keepdims=True))
        feeds.append(np.random.default_rng(length).integers(-100, 100, (5, length)).astype(dtype))
    body = check(sn.function(inputs, outputs, device="numpy"), feeds, tmp_path).program.body
    assert "sn_held<" in body
    assert "sn_pack<" in body
    assert body.count("sn_again(h0)") == 2 * len(inputs)


def test_a_block_of_one_row_has_no_other() -> None:
    """What is the same for all rows would be in registers while it makes the next."""
    x = sn.placeholder((40_000, 601), name="x")
    f = sn.function(x, x - sn.sum(x, 1, keepdims=True), device="numpy")
    program = write_cuda_program(f.specialize().plan)
    (launch,) = program.launches
    assert isinstance(launch, Launch)
    assert launch.grid[0] == 40_000
    assert "= block;" in program.body


def test_few_long_rows_are_shared_by_blocks(tmp_path: Path) -> None:
    x = sn.placeholder((2, 40_000), name="x")
    y = sn.nn.softmax(x)
    f = sn.function(x, [y, sn.sum(y * x, 1)], device="numpy")
    feeds = [np.random.default_rng(0).normal(size=(2, 40_000)).astype("f")]
    machine = check(f, feeds, tmp_path)
    shared = [c for c in machine.program.launches if isinstance(c, Launch) and c.scratch]
    assert len(shared) >= 3
    assert all(c.grid[0] > 2 for c in shared[:2])


def test_reads_across_go_through_tiles(tmp_path: Path) -> None:
    x, z = sn.placeholder((3, 45, 70), name="x"), sn.placeholder((3, 70, 45), name="z")
    f = sn.function(
        [x, z], [sn.matrix_transpose(x) + z, sn.permute_dims(z, (2, 1, 0))], device="numpy"
    )
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=s).astype("f") for s in ((3, 45, 70), (3, 70, 45))]
    machine = check(f, feeds, tmp_path)
    assert "__shared__" in machine.program.body


def test_a_block_that_has_many_tiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(maps, "MAX_BLOCKS", 2)
    x, z = sn.placeholder((100, 130), name="x"), sn.placeholder((130, 100), name="z")
    f = sn.function([x, z], [sn.permute_dims(x, (1, 0)) + z, sn.tanh(x)], device="numpy")
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=s).astype("f") for s in ((100, 130), (130, 100))]
    machine = check(f, feeds, tmp_path)
    grids = [c.grid[0] for c in machine.program.launches if isinstance(c, Launch)]
    assert grids == [4], "two blocks for each map"


def test_several_sums_of_columns(tmp_path: Path) -> None:
    """They take turns in one shared array."""
    x = sn.placeholder((300, 40), name="x")
    y = sn.tanh(x)
    f = sn.function(x, [sn.sum(y, 0), sn.sum(y * y, 0), sn.max(y, 0)], device="numpy")
    feeds = [np.random.default_rng(0).normal(size=(300, 40)).astype("f")]
    machine = check(f, feeds, tmp_path)
    names = {c.function for c in machine.program.launches if isinstance(c, Launch)}
    assert len(names) == 2, "one kernel for blocks of rows, one for their combination"


def test_slices_whose_packs_are_not_aligned(tmp_path: Path) -> None:
    """Rows of 64 in memory of rows of 70, at odd beginnings, and joined."""
    x = sn.placeholder((33, 70), name="x")
    outputs = [x[:, :64] * 2, x[:, 1:65] + x[:, 4:68], sn.sum(x[:, :64], 1), x[2:, 3]]
    f = sn.function(x, outputs, device="numpy")
    check(f, [np.random.default_rng(0).normal(size=(33, 70)).astype("f")], tmp_path)


def test_nan_and_infinity_travel(tmp_path: Path) -> None:
    x = sn.placeholder((3, 70), name="x")
    feed = np.zeros((3, 70), np.float32)
    feed[0, 3], feed[1, 5], feed[2, 69] = np.nan, np.inf, -np.inf
    outputs = [
        sn.max(x, 1), sn.min(x, 1), sn.max(x, 0), sn.sum(x, 1), sn.prod(x, 1), sn.exp(x),
        sn.nn.softmax(x), sn.relu(x), sn.maximum(x, 0.0), sn.sum(x, 0), sn.sort(x), sn.argmax(x, 1),
        sn.argmin(x, 0), sn.argsort(x, 1, descending=True), x * 0, sn.sqrt(x),
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        check(sn.function(x, outputs, device="numpy"), [feed], tmp_path)


def test_integers_wrap(tmp_path: Path) -> None:
    for dtype in (np.int32, np.int64):
        x = sn.placeholder((37,), dtype, "x")
        feed = np.full(37, np.iinfo(dtype).max, dtype)
        f = sn.function(
            x, [x + 1, x * x, -(x + 1), x - (-2), sn.abs(x + 1), sn.sum(x)], device="numpy"
        )
        with np.errstate(over="ignore"):
            check(f, [feed], tmp_path)


def test_scatters_of_wide_rows_add_in_order(tmp_path: Path) -> None:
    """Repeated indices, and rows that several blocks have."""
    x, u = sn.placeholder((2, 70, 37), name="x"), sn.placeholder((2, 300, 37), name="u")
    i = sn.placeholder((300,), "int32", "i")
    f = sn.function([x, u, i], sn.scatter_add(x, i, u, 1), device="numpy")
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=s).astype("f") for s in ((2, 70, 37), (2, 300, 37))]
    machine = Machine(lower(f), tmp_path)
    feeds.append(rng.integers(-70, 70, 300).astype(np.int32))
    (result,) = machine.run(feeds, [])[1]
    np.testing.assert_array_equal(
        result, f(*feeds)[0] if isinstance(f(*feeds), list) else f(*feeds)
    )
    feeds[-1][7] = 70
    assert machine.run(feeds, [])[0] == 1


def guarded_step() -> tuple[Any, list[Any]]:
    """Updates by a kernel, a copy and a product, all after a read by index."""
    x, i = sn.placeholder((4, 4), name="x"), sn.placeholder((2,), "int64", "i")
    w, v, u = (sn.variable(np.zeros((4, 4), "f"), name) for name in "wvu")
    f = sn.function(
        [x, i], sn.take(x, i, 0), updates={w: w + x, v: x @ x, u: sn.matrix_transpose(u) + v},
        device="numpy",
    )  # fmt: skip
    return f, [np.ones((4, 4), "f"), np.array([0, 3])]


def test_a_bad_index_fails_and_updates_nothing(tmp_path: Path) -> None:
    f, feeds = guarded_step()
    machine = Machine(lower(f), tmp_path)
    products = [c for c in machine.program.launches if isinstance(c, Product)]
    assert [p.result.address.kind for p in products] == ["arena"]
    for bad in (4, -5):
        failed, _, after = machine.run([feeds[0], np.array([0, bad])], [np.zeros((4, 4), "f")] * 3)
        assert machine.program.sites[failed - 1].op.name == "take"
        assert not any(x.any() for x in after)
    check(f, feeds, tmp_path)


def test_an_index_into_nothing_fails(tmp_path: Path) -> None:
    x, i = sn.placeholder((0, 300), name="x"), sn.placeholder((2,), "int64", "i")
    u = sn.placeholder((2, 300), name="u")
    feeds = [np.zeros((0, 300), "f"), np.array([0, 0]), np.zeros((2, 300), "f")]
    for y in (sn.take(x, i, 0), sn.scatter_add(x, i, u, 0)):
        machine = Machine(lower(sn.function([x, i, u], y, device="numpy")), tmp_path)
        assert machine.run(feeds, [])[0] == 1


def test_swapped_state_is_read_before_it_is_written(tmp_path: Path) -> None:
    a, b = sn.variable(np.float32(1), "a"), sn.variable(np.float32(2), "b")
    f = sn.function([], [a, b], updates={a: b, b: a + b}, device="numpy")
    machine = Machine(lower(f), tmp_path)
    _, outputs, after = machine.run([], states(machine.graph))
    assert ([float(x) for x in outputs], [float(x) for x in after]) == ([1, 2], [2, 3])


def test_products_of_all_layouts(tmp_path: Path) -> None:
    """Transposed, batched, broadcast and sliced operands; of integers; of no elements."""
    a, b = sn.placeholder((5, 1, 3, 4), name="a"), sn.placeholder((2, 4, 6), name="b")
    c, e = sn.placeholder((3, 0), name="c"), sn.placeholder((0, 4), name="e")
    whole = sn.astype(a * 8, "int32")
    outputs = [
        a @ b, sn.matrix_transpose(b) @ sn.matrix_transpose(a), a[1:3] @ b[:, :, 1:5],
        b[0] @ sn.matrix_transpose(b[1]), whole @ sn.astype(b * 8, "int32"), c @ e, e @ b[0],
        sn.einsum("bij,bjk->ik", a[:, 0], sn.broadcast_to(b[:1], (5, 4, 6))),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=x.shape).astype("f") for x in (a, b, c, e)]
    check(sn.function([a, b, c, e], outputs, device="numpy"), feeds, tmp_path)


def test_a_gather_from_a_transposed_view(tmp_path: Path) -> None:
    """Its inner reads run across memory, but at places that only other reads tell."""
    x, i = sn.placeholder((40, 6, 50), name="x"), sn.placeholder((7,), "int64", "i")
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(40, 6, 50)).astype(np.float32), np.array([0, 5, 1, 2, 3, 3, -1])]
    taken = sn.take(sn.permute_dims(x, (1, 2, 0)), i, 0)
    check(sn.function([x, i], taken * 2, device="numpy"), feeds, tmp_path)


@st.composite
def many_graphs(draw: Any, count: int = 15) -> tuple[list[Any], list[Any], list[Any]]:
    made = [draw(graphs(steps=15, prefix=f"g{i}_")) for i in range(count)]
    inputs = [x for graph, _ in made for x in graph.inputs]
    outputs = [y for graph, _ in made for y in graph.outputs]
    return inputs, outputs, [feed for _, feeds in made for feed in feeds]


def random_programs(examples: int) -> Callable[[Any], Any]:
    steady = settings(
        max_examples=examples, deadline=None, derandomize=examples < 10,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return lambda test: steady(given(many_graphs())(test))


def check_random(case: Any, folder: Path) -> None:
    inputs, outputs, feeds = case
    note(str(sn.Graph("random", inputs, outputs)))
    f = sn.function(inputs, outputs, device="numpy")
    machine = Machine(lower(f), folder)
    failed, got, _ = machine.run(feeds, [])
    assert failed == 0
    for a, b in zip(got, f(*feeds), strict=True):
        close(a, b, 1e-9)


@random_programs(3)
def test_random_graphs(tmp_path_factory: pytest.TempPathFactory, case: Any) -> None:
    check_random(case, tmp_path_factory.mktemp("random"))


@pytest.mark.slow
@random_programs(60)
def test_nine_hundred_random_graphs(tmp_path_factory: pytest.TempPathFactory, case: Any) -> None:
    check_random(case, tmp_path_factory.mktemp("random"))
