"""`sink`: what only a loop reads of all steps is made at each step, with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu import CpuBackend
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import OutOfRangeError

COMPILES = True
needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
STEPS, BATCH, WIDTH, VOCABULARY = 6, 24, 64, 5
RNG = np.random.default_rng(3)
TABLE = RNG.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
BIAS = RNG.normal(size=WIDTH).astype(np.float32)
INDICES = RNG.integers(-VOCABULARY, VOCABULARY, (STEPS, BATCH))


@pytest.fixture(autouse=True)
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row has 6144 bytes, all have 36,864."""
    monkeypatch.setattr(CpuBackend, "loop_cache", 1 << 15)


def looked_up(
    device: str, reverse: bool = False, read: bool = False, without: tuple[str, ...] = ()
) -> sn.Function:
    """A loop over rows of a table, of whose halves a step has two gates; `read` by others, too."""
    table, bias = (
        sn.placeholder(a.shape, name=name) for name, a in (("table", TABLE), ("bias", BIAS))
    )
    i = sn.placeholder(INDICES.shape, "int64", "i")
    rows = sn.take(table, i, axis=0) - bias

    def step(h: Any, row: Any) -> Any:
        z = row + sn.concat([h, h], 1)
        h = sn.tanh(z[:, : WIDTH // 2]) * sn.sigmoid(z[:, WIDTH // 2 :])
        return h, h

    start = np.zeros((BATCH, WIDTH // 2), np.float32)
    last, states = sn.scan(step, start, rows, reverse=reverse)
    outputs = [last, states, *([rows] * read)]
    return sn.function([table, bias, i], outputs, device=device, disabled_passes=without)


def kept(f: sn.Function) -> list[Any]:
    """What the plan stores of the rows' size outside of the loop."""
    return [x for x in f.plan.places if getattr(x, "shape", ()) == (STEPS, BATCH, WIDTH)]


@needs_cc
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_a_table_are_looked_up_at_their_step(
    reverse: bool, set_threads: Callable[[int], None]
) -> None:
    f = looked_up("cpu", reverse)
    assert not kept(f)
    expected = looked_up("numpy", reverse)(TABLE, BIAS, INDICES)
    before = looked_up("cpu", reverse, without=("sink",))
    assert kept(before)
    whole = before(TABLE, BIAS, INDICES)
    for threads in (1, 2, 3):
        set_threads(threads)
        for a, b, c in zip(f(TABLE, BIAS, INDICES), whole, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, c, rtol=2e-6, atol=1e-7)


@needs_cc
def test_an_index_is_checked_once_a_row_and_the_loop_is_of_vectors() -> None:
    body = looked_up("cpu").source()
    kernel = next(k for k in body.split("SN_KERNEL") if "sn_index" in k)
    checked, loop = kernel.index("sn_index"), kernel.index("#pragma omp simd")
    assert checked < loop
    assert "sn_index" not in kernel[loop:]


@needs_cc
def test_a_wrong_index_is_told_by_its_line() -> None:
    wrong = INDICES.copy()
    wrong[4, 7] = VOCABULARY
    with pytest.raises(OutOfRangeError, match=r"take: .*test_sink\.py"):
        looked_up("cpu")(TABLE, BIAS, wrong)


@needs_cc
def test_what_others_read_stays() -> None:
    f = looked_up("cpu", read=True)
    rows = f(TABLE, BIAS, INDICES)[2]
    np.testing.assert_array_equal(rows, TABLE[INDICES] - BIAS)
    assert "take" in [node.op.name for node in f.plan.graph.nodes]


@needs_cc
def test_a_loop_makes_the_sum_with_a_constant_of_all_steps_itself() -> None:
    """A constant of all steps is read row by row, a number as it is, and one of each step, too."""
    x = sn.placeholder((STEPS, BATCH, WIDTH), name="x")
    known = np.arange(STEPS, dtype=np.float32)[:, None, None]
    start = np.zeros((BATCH, WIDTH), np.float32)
    last, _ = sn.scan(lambda h, row: (h * 0.5 + row, None), start, (x + known) * 3.0)
    fed = RNG.normal(size=(STEPS, BATCH, WIDTH)).astype(np.float32)
    f, g = (sn.function(x, last, device=device) for device in ("cpu", "numpy"))
    np.testing.assert_array_equal(f(fed), g(fed))
    assert len(kept(f)) == 1, "x itself"


@needs_cc
@pytest.mark.parametrize("stacked", [True, False])
def test_a_sum_of_products_waits_for_the_loop_where_its_factors_are_stacked(
    monkeypatch: pytest.MonkeyPatch, stacked: bool
) -> None:
    monkeypatch.setattr(CpuBackend, "loop_cache", 1 << 13)  # products stay in the step
    monkeypatch.setattr("staticnet.passes.loop_blocks._NEAR", 16 if stacked else 0)
    x = sn.placeholder((STEPS, BATCH, WIDTH), "float64", "x")

    def step(carry: Any, row: Any) -> Any:
        h, total = carry
        z = sn.tanh(row + h)
        return (z, total + sn.matrix_transpose(row) @ z), z

    zeros = (np.zeros((BATCH, WIDTH)), np.zeros((WIDTH, WIDTH)))
    (_, total), states = sn.scan(step, zeros, x)
    f = sn.function(x, [total, states], device="cpu")
    names = [node.op.name for node in f.plan.graph.nodes]
    assert names.count("matmul") == stacked
    fed = RNG.normal(size=(STEPS, BATCH, WIDTH))
    found, z = f(fed)
    np.testing.assert_allclose(found, np.einsum("tbi,tbj->ij", fed, z), rtol=1e-11, atol=1e-11)


@needs_cc
@pytest.mark.parametrize("width", [16, 32, 40, 257])
@pytest.mark.parametrize("over", [False, True])
def test_threads_add_rows_side_by_side(
    width: int, over: bool, set_threads: Callable[[int], None]
) -> None:
    """Each takes some columns of all rows; what is added to lies elsewhere first, or not."""
    x, u, i = (
        sn.placeholder((2, 3, width), name="x"),
        sn.placeholder((2, 3000, width), name="u"),
        sn.placeholder((3000,), "int64", "i"),
    )
    base = x * 2.0 if over else x
    fed = [
        RNG.normal(size=(2, 3, width)).astype(np.float32),
        RNG.normal(size=(2, 3000, width)).astype(np.float32),
        RNG.integers(-3, 3, 3000),
    ]
    f, g = (
        sn.function([x, u, i], sn.scatter_add(base, i, u, 1), device=device)
        for device in ("cpu", "numpy")
    )
    expected = g(*fed)
    for threads in (1, 2, 3):
        set_threads(threads)
        np.testing.assert_array_equal(f(*fed), expected)
    fed[2][2999] = 3
    with pytest.raises(OutOfRangeError, match="scatter_add"):
        f(*fed)
