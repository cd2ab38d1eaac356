"""What a GPU's kernels work in is what its launches take, and what the certificate says of it."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
from gpu_cases import lower

import staticnet as sn
from staticnet.backends.cpu import CpuBackend
from staticnet.backends.cuda import CudaBackend
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation
from staticnet.ir.dim import substitute
from staticnet.plan.certificate import certify
from staticnet.plan.factors import factor_rooms
from staticnet.plan.planner import make_plan
from staticnet.plan.symbolic import SymbolicPlan

ON_DEVICE = CudaBackend.workspaces


def attention(n: Any, t: Any) -> tuple[Any, Any]:
    q = sn.placeholder((n, 2, t, 16), name="q")
    y = sn.nn.scaled_dot_product_attention(q, q, q)
    return [q], sn.grad(sn.sum(y * y), q)


def convolution(n: Any, t: Any) -> tuple[Any, Any]:
    x, w = sn.placeholder((n, 16, t, 32), name="x"), sn.placeholder((16, 16, 3, 3), name="w")
    y = sn.nn.functional.conv2d(x, w, padding=1)
    return [x, w], sn.grad(sn.sum(y * y), [x, w])


def columns(n: Any, t: Any) -> tuple[Any, Any]:
    x = sn.placeholder((n, t, 40), name="x")
    return [x], [sn.sum(x * x, (0, 1)), sn.mean(x, 0)]


def rows(n: Any, t: Any) -> tuple[Any, Any]:
    x = sn.placeholder((n, 1 + 40 * t * t), name="x")
    return [x], [sn.mean(x, 1), sn.max(x)]


def factors(n: Any, t: Any) -> tuple[Any, Any]:
    x, y = sn.placeholder((n, 7, 5), name="x"), sn.placeholder((n, t), name="y")
    return [x, y], [*sn.linalg.svd(x, full_matrices=False), sn.sort(y, 1)]


def decomposed(n: Any, t: Any) -> tuple[Any, Any]:
    x, y = sn.placeholder((n, t, t), name="x"), sn.placeholder((n, 9, 4), name="y")
    results = [*sn.linalg.eigh(x), *sn.linalg.svd(x), *sn.linalg.qr(y)]
    return [x, y], results


def chosen(n: Any, t: Any) -> tuple[Any, Any]:
    x = sn.placeholder((n, 40 * t), name="x")
    return [x], [*sn.top_k(x, 9), sn.top_k(x, 1, 0, largest=False)[1], sn.argsort(x, 0)]


def loop(n: Any, t: Any) -> tuple[Any, Any]:
    x = sn.placeholder((n, t), name="x")
    return [x], sn.while_loop(lambda y: sn.max(y) < 10, lambda y: y + sn.sort(y, 1) * 2, x)


CASES = (attention, convolution, columns, rows, factors, decomposed, chosen, loop)
SIZES = [dict(zip("nt", sizes, strict=True)) for sizes in itertools.product((1, 3, 40), (1, 2, 64))]


@pytest.mark.parametrize("make", CASES)
def test_launches_take_what_the_plan_says(make: Any) -> None:
    for sizes in ({"n": 1, "t": 1}, {"n": 3, "t": 30}, {"n": 8, "t": 64}):
        inputs, outputs = make(**sizes)
        f = sn.function(inputs, outputs, device="numpy")
        plan = make_plan(lower(f), workspaces=ON_DEVICE)
        assert write_cuda_program(plan).arena_bytes == plan.arena_bytes, sizes


@pytest.mark.parametrize(
    ("make", "backend"),
    [*((make, CudaBackend) for make in CASES),
     *((make, CpuBackend) for make in (factors, decomposed, chosen, loop))],
)  # fmt: skip
def test_the_certificate_holds_at_all_sizes(make: Any, backend: Any) -> None:
    inputs, outputs = make(*(sn.Dim(name) for name in "nt"))
    f = sn.function(inputs, outputs, device="numpy")
    made = Compilation(f.graph, backend(), "fast", "float32", (), None)
    plan = made.symbolic_plan()
    arena = certify(plan).arena
    for dims in SIZES:
        bytes_ = plan.bind(dims).arena_bytes
        least = min(max(int(substitute(term, dims)) for term in case) for case in arena.cases)
        slack = int(substitute(arena.slack, dims))
        assert bytes_ == arena.at(**dims)
        assert least <= bytes_ <= least + slack


def test_a_gpu_has_no_rooms_of_threads() -> None:
    """On the CPU each thread of an attention has a room; a GPU's tiles lie in its registers."""
    inputs, outputs = attention(2, 300)
    graph = lower(sn.function(inputs, outputs, device="numpy"))
    host, device = (make_plan(graph, workspaces=w) for w in (CpuBackend.workspaces, ON_DEVICE))
    assert device.arena_bytes < host.arena_bytes
    assert device.arena_bytes == device.scratch
    assert device.bytes_moved == host.bytes_moved, "what stays in the cache is not moved"


def test_graphs_in_loops_are_planned_for_their_device() -> None:
    x, t = sn.placeholder((5, 2, 2, 100, 16), name="x"), sn.Dim("t")

    def step(total: Any, q: Any) -> Any:
        return total + sn.sum(sn.nn.scaled_dot_product_attention(q, q, q)), None

    f = sn.function(x, sn.scan(step, sn.constant(0.0), x)[0], device="numpy")
    plan = make_plan(lower(f), workspaces=ON_DEVICE)
    assert plan.arena_bytes < make_plan(lower(f)).arena_bytes
    x = sn.placeholder((5, 2, 2, t, 16), name="x")
    f = sn.function(x, sn.scan(step, sn.constant(0.0), x)[0], device="numpy")
    symbolic = SymbolicPlan(f.graph, workspaces=ON_DEVICE)
    assert symbolic.bind({"t": 100}).arena_bytes == symbolic.arena_bytes({"t": 100})
    assert symbolic.arena_bytes({"t": 100}) < SymbolicPlan(f.graph).arena_bytes({"t": 100})


def test_a_sort_has_a_room_for_each_thread() -> None:
    """Two entries of 16 bytes for each element that is sorted at once; of a few, not all."""
    x, cores = sn.placeholder((7, 5000), name="x"), min(os.cpu_count() or 1, 7)

    def scratch(y: Any) -> int:
        plan = make_plan(sn.Graph("g", [x], [y]))
        return int(plan.arena_bytes - plan.scratch)

    assert scratch(sn.argsort(x)) == cores * 5000 * 32
    assert scratch(sn.top_k(x, 5)[1]) == cores * 512 * 32
    assert scratch(sn.top_k(x, 500)[1]) == cores * 2000 * 32
    assert scratch(sn.top_k(x, 4999)[1]) == cores * 5000 * 32


def test_threads_are_gathered_for_more_than_one_long_row() -> None:
    def gathers(*shape: int) -> bool:
        x = sn.placeholder(shape, name="x")
        return "omp parallel if" in sn.function(x, sn.argsort(x), device="cpu").source()

    assert gathers(2, 1 << 14) == (os.cpu_count() != 1)
    assert not gathers(1, 1 << 16)
    assert not gathers(20, 50)


def test_lapack_has_what_it_would_rather_have() -> None:
    """A routine that is asked says how much: no less is planned, so that it cuts as it would."""
    from scipy.linalg import lapack

    for m, n in [(1, 1), (2, 3), (40, 7), (7, 40), (65, 64), (300, 20), (20, 300)]:
        x = sn.placeholder((m, n), "float64", name="x")
        for full in (False, True):
            node = sn.linalg.svd(x, full_matrices=full)[0].inputs[0]
            wanted, info = lapack.dgesdd_lwork(n, m, compute_uv=1, full_matrices=int(full))
            assert info == 0
            assert factor_rooms(node).numbers >= wanted
    for n in (1, 2, 13, 14, 40, 300):
        wanted, integers, _ = lapack.dsyevd_lwork(n)
        node = sn.linalg.eigh(sn.placeholder((n, n), "float64", name="x"))[0].inputs[0]
        rooms = factor_rooms(node)
        assert rooms.numbers >= wanted
        assert rooms.integers >= integers
