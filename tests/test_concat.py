"""Many arrays one after the other: each is copied once to its place, from wherever it lies."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler

COMPILES = True
PARTS = 9
HEADER = Path(__file__).resolve().parents[1] / "kernels" / "concat.h"
WATCHED = f"""
#include <omp.h>
#include <stdint.h>
#include <string.h>
#define SN_TOGETHER 1
#define SN_THREAD const int64_t share = omp_get_thread_num(), shares = omp_get_num_threads();
static int moved[2];
static void watched(void *to, const void *from, size_t size) {{
  ++moved[omp_get_thread_num()];
  memcpy(to, from, size);
}}
#define memcpy watched
#include "{HEADER}"
int fewest(int64_t before, int64_t unit, const char *x, char *y) {{
  const char *const part[] = {{x, x + unit, x}};
  const int64_t step[] = {{2 * unit, 2 * unit, 2 * unit}}, end[] = {{0, unit, 2 * unit, 3 * unit}};
  moved[0] = moved[1] = 0;
  omp_set_num_threads(2);
  sn_concat(before, 3, unit, part, step, end, y);
  return moved[0] < moved[1] ? moved[0] : moved[1];
}}
"""


def programs(dtype: str) -> tuple[Any, list[Any], list[Any]]:
    """Concatenations of parts that are fed, computed, constant, empty, repeated, and views."""
    x = sn.placeholder((PARTS, 3, 4), dtype, name="x")
    lengths = enumerate((1, 0, 2, 5, 1, 3))
    rows = [sn.placeholder((2, n, 3), dtype, name=f"r{k}") for k, n in lengths]
    one = sn.constant(1, dtype)
    pieces = sn.unstack(x)
    views = [
        *pieces[::-1],
        sn.flip(pieces[0], 1),
        sn.broadcast_to(x[1, 0], (3, 4)),
        sn.broadcast_to(one, (3, 4)),
        x[:3, 1],
        x[2:5, 2],
        sn.matrix_transpose(sn.reshape(x[3], (4, 3))),
        pieces[4] + pieces[5],
    ]
    outputs = [sn.stack(pieces, axis) for axis in (0, 1, 2)]
    outputs += [sn.concat(views, axis) for axis in (0, 1)]
    outputs += [sn.concat(rows, 1), sn.concat([r[::-1, :, 1:] for r in rows], 1)]
    outputs += [sn.concat([x[:, :, k] for k in range(4)] * 2, 1) * one]
    rng = np.random.default_rng(0)
    feeds = [(rng.uniform(-9, 9, node.shape)).astype(node.dtype) for node in (x, *rows)]
    return [x, *rows], outputs, feeds


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "int64"])
def test_many_parts(dtype: str) -> None:
    inputs, outputs, feeds = programs(dtype)
    got, wanted = (sn.function(inputs, outputs, device=d)(*feeds) for d in ("cpu", "numpy"))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
def test_short_runs_of_any_width() -> None:
    """Of 1 to 35 bytes, which are moves of two sizes where they are short, and copies else."""
    rng = np.random.default_rng(0)
    feeds = [rng.integers(0, 256, (300, n)).astype("u1") for n in range(1, 36)]
    xs = [sn.placeholder(x.shape, "uint8", f"x{i}") for i, x in enumerate(feeds)]
    groups = [[k, k + 1, (3 * k) % 32 + 3, 9] for k in range(3, 34)]
    f = sn.function(xs, [sn.concat([xs[k] for k in g], 1) for g in groups], device="cpu")
    for got, g in zip(f(*feeds), groups, strict=True):
        np.testing.assert_array_equal(got, np.concatenate([feeds[k] for k in g], 1))


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("unit", [2, 4, 8])
def test_threads_share_a_large_concatenation(unit: int, tmp_path: Path) -> None:
    """Whatever its runs are; a small one stays with the thread that asks for it."""
    compiler = find_compiler()
    assert compiler is not None
    if not compiler.openmp:
        pytest.skip("the compiler has no OpenMP")
    (tmp_path / "watched.c").write_text(WATCHED)
    command = (*compiler.command, "-fopenmp", "-O1", "-shared", "-fPIC", "watched.c", "-o", "w.so")
    subprocess.run(command, cwd=tmp_path, check=True)
    fewest = ctypes.CDLL(str(tmp_path / "w.so")).fewest
    for before, least in ((1 << 21, 1 << 20), (1000, 0)):
        x = np.arange(before * 2 * unit).astype("uint8").reshape(before, 2, unit)
        y = np.zeros((before, 3, unit), "uint8")
        moved = fewest(
            ctypes.c_int64(before),
            ctypes.c_int64(unit),
            *map(ctypes.c_void_p, (x.ctypes.data, y.ctypes.data)),
        )
        assert moved >= least if least else moved == 0
        np.testing.assert_array_equal(y, x[:, [0, 1, 0]])


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_many_parts_on_a_gpu(dtype: str, tmp_path: Path) -> None:
    inputs, outputs, feeds = programs(dtype)
    f = sn.function(inputs, outputs, device="numpy")
    failed, got, _ = Machine(lower(f), tmp_path).run(feeds, [])
    assert failed == 0
    for a, b in zip(got, f(*feeds), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize(
    ("widths", "first", "pack"),
    [((16, 32, 16), 0, 16), ((16, 32, 24), 0, 1), ((16, 16), 3, 1), ((16, 48), 16, 16)],
    ids=["whole", "a short part", "a part amid a row", "a part at a piece"],
)
def test_runs_are_copied_by_sixteen_bytes(
    widths: tuple[int, ...], first: int, pack: int, tmp_path: Path
) -> None:
    """Where all begin at, and are, multiples of them; the first part is a view from `first` on."""
    rng = np.random.default_rng(1)
    feeds = [rng.integers(0, 99, (5, n), "uint8") for n in (widths[0] + first, *widths[1:])]
    feeds[0] = np.pad(feeds[0], ((0, 0), (0, -feeds[0].shape[1] % 16)))
    xs = [sn.placeholder(a.shape, "uint8") for a in feeds]
    view = xs[0][:, first : first + widths[0]]
    f = sn.function(xs, sn.concat([view, *xs[1:]], 1), device="numpy")
    machine = Machine(lower(f), tmp_path)
    failed, (got,), _ = machine.run(feeds, [])
    assert failed == 0
    np.testing.assert_array_equal(got, f(*feeds))
    assert f"const sn_pack<uint8_t, {pack}> *part[{len(widths)}]" in machine.program.body


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
def test_more_parts_than_a_launch_takes(tmp_path: Path) -> None:
    x = sn.placeholder((300, 3), name="x")
    order = np.random.default_rng(0).permutation(300)
    f = sn.function(x, sn.stack([x[int(i)] for i in order], 1), device="numpy")
    feed = np.arange(900, dtype="float32").reshape(300, 3)
    machine = Machine(lower(f), tmp_path)
    failed, (got,), _ = machine.run([feed], [])
    assert failed == 0
    assert len(machine.program.launches) == 3
    np.testing.assert_array_equal(got, feed[order].T)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
def test_each_part_is_copied_once_from_where_it_lies() -> None:
    """Pieces of one array need no copy of their own: the step is one launch."""
    x = sn.placeholder((64, 5, 7), name="x")
    f = sn.function(x, sn.stack(sn.unstack(x)[::-1], 1), device="cpu")
    assert f.specialize().plan.launches == 1
    assert f.specialize().plan.bytes_moved == 2 * 64 * 5 * 7 * 4
    feed = np.random.default_rng(0).normal(size=(64, 5, 7)).astype("float32")
    np.testing.assert_array_equal(f(feed), np.stack(feed[::-1], 1))


@pytest.mark.parametrize("order", ["forwards", "mixed"])
def test_the_gradient_of_pieces_is_their_concatenation(order: str) -> None:
    """Not a sum of as many padded arrays, each element of which would load them all."""
    x = sn.placeholder((12, 3), "float64", name="x")
    picked = np.arange(12) if order == "forwards" else np.random.default_rng(0).permutation(12)[:9]
    loss = sn.sum(sn.stack([sn.tanh(x[int(i)] * (k + 1)) for k, i in enumerate(picked)]) ** 2)
    (gradient,) = sn.grad(loss, [x])
    f = sn.function(x, gradient, device="numpy")
    optimised = f.specialize().graph
    assert not [node for node in optimised.nodes if node.op.name == "pad"]
    feed = np.random.default_rng(1).normal(size=(12, 3))
    wanted = np.zeros_like(feed)
    for k, i in enumerate(picked):
        y = np.tanh(feed[i] * (k + 1))
        wanted[i] += 2 * y * (1 - y * y) * (k + 1)
    np.testing.assert_allclose(f(feed), wanted, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 1)])
def test_a_padded_array_that_is_broadcast_is_added(shape: tuple[int, ...]) -> None:
    """It lies in all rows or columns of the other one, and not beside them."""
    x, y = sn.placeholder((2, 4), name="x"), sn.placeholder(shape, name="y")
    before = [(n, 0) if n > 1 else (0, 0) for n in shape]
    total = sn.pad(x, ((0, 2), (0, 4))) + sn.pad(y, before)
    a, b = np.ones((2, 4), "float32"), np.full(shape, 2, "float32")
    wanted = np.pad(a, ((0, 2), (0, 4))) + np.pad(b, before)
    np.testing.assert_array_equal(sn.function([x, y], total, device="numpy")(a, b), wanted)


def test_padded_arrays_that_overlap_are_added() -> None:
    x = sn.placeholder((2, 3), "float64", name="x")
    widths = [((0, 0), (0, 2)), ((0, 0), (1, 1)), ((0, 0), (2, 0))]
    outputs = [sn.pad(x, a) + sn.pad(x * 2, b) for a in widths for b in widths]
    feed = np.arange(6.0).reshape(2, 3)
    for got, (a, b) in zip(
        sn.function(x, outputs, device="numpy")(feed),
        [(a, b) for a in widths for b in widths],
        strict=True,
    ):
        np.testing.assert_array_equal(got, np.pad(feed, a) + np.pad(feed * 2, b))
