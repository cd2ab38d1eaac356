"""A node that takes an operand twice is one user with two uses: every pass counts both.

The graphs a GPU gets, of all that it may be offered, are evaluated by NumPy, and so are those of a
CPU: they give what the graphs as they were written give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.numpy import NumpyBackend
from staticnet.control.scan import Scan
from staticnet.nn import functional as F
from staticnet.ops.auxiliary import AUXILIARY
from staticnet.ops.library import EPILOGUES
from staticnet.passes import auxiliary, sink, sums_of_products
from staticnet.passes.convolution_epilogues import OFFER as CONVOLUTION
from staticnet.passes.manager import run_passes

COMPILES = True
N = 8
A, B, V = (sn.placeholder(s, name=n) for s, n in (((N, N), "a"), ((N, N), "b"), ((N,), "v")))
XS = sn.placeholder((5, N, N), name="xs")
IMAGES, KERNEL = (sn.placeholder(s, name=n) for s, n in (((2, N, 6, 6), "i"), ((N, N, 3, 3), "k")))
BATCH = sn.placeholder((2, 2, N, N), name="q")
INPUTS = [A, B, V, XS, IMAGES, KERNEL, BATCH]


def summed(x: Any) -> Any:
    """What a loop's carry becomes that adds x[t].T @ x[t] twice at each step."""
    zeros = np.zeros((N, N), np.float32)

    def step(total: Any, row: Any) -> Any:
        product = row.T @ row
        return (total + product) + product, None

    return sn.scan(step, zeros, x)[0]


def by_hand(q: Any, k: Any, v: Any) -> Any:
    return F.softmax(q @ sn.matrix_transpose(k) * 0.5, -1) @ v


def with_gradient(f: Callable[..., Any], *x: Any) -> list[Any]:
    y = f(*x)
    return [y, *sn.grad(sn.sum(sn.sin(y)), list(dict.fromkeys(x)))]


CASES: dict[str, Callable[[], Any]] = {
    "a row added to itself": lambda: with_gradient(lambda v, a: (v @ a) + (v @ a), V, A),
    "a product added to itself": lambda: with_gradient(lambda a, b: (a @ b) + (a @ b), A, B),
    "a product's square": lambda: with_gradient(lambda a, b: (a @ b) * (a @ b), A, B),
    "a product by itself": lambda: with_gradient(lambda a: (a @ a) @ (a @ a), A),
    "a choice of one": lambda: with_gradient(lambda a, b: sn.where(a > 0, a @ b, a @ b), A, B),
    "relu added to itself": lambda: with_gradient(
        lambda a, b: sn.relu(a @ b) + sn.relu(a @ b), A, B
    ),
    "gelu's slope of itself": lambda: sn.vjp([F.gelu(A @ B, approximate="tanh")], [A @ B], [A @ B]),
    "products' sum": lambda: with_gradient(lambda a, b: (a @ b + b) + (a @ b + b), A, B),
    "attention": lambda: with_gradient(lambda q: F.scaled_dot_product_attention(q, q, q), BATCH),
    "attention by hand": lambda: with_gradient(lambda q: by_hand(q, q, q), BATCH),
    "a convolution and itself": lambda: with_gradient(
        lambda i, k: F.conv2d(i, k, padding=1) + F.conv2d(i, k, padding=1), IMAGES, KERNEL
    ),
    "a convolution's square": lambda: with_gradient(
        lambda i, k: sn.relu(F.conv2d(i, k, padding=1) * F.conv2d(i, k, padding=1)), IMAGES, KERNEL
    ),
    "a pool's": lambda: with_gradient(lambda i: F.max_pool2d(i, 2) * F.max_pool2d(i, 2), IMAGES),
    "a loop's terms": lambda: with_gradient(summed, XS),
    "a loop's rows": lambda: with_gradient(lambda x: summed(x * x), XS),
}
OFFERED = EPILOGUES | AUXILIARY | {CONVOLUTION}
FEEDS = [np.random.default_rng(3).normal(0, 0.5, x.shape).astype("f") for x in INPUTS]


@pytest.fixture(autouse=True)
def small_ones_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auxiliary, "LEAST_ELEMENTS", 1)
    monkeypatch.setattr(sums_of_products, "LEAST_WORK", 0)
    monkeypatch.setattr(sink, "LEAST_ROW", 1)


def run(graph: sn.Graph) -> list[Any]:
    return NumpyBackend().build(graph).run(FEEDS)


def agree(found: list[Any], wanted: list[Any]) -> None:
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x, y, 1e-4, 1e-4 * np.abs(y).max())


@pytest.mark.parametrize("name", CASES)
def test_what_the_passes_make_of_it_is_the_same(name: str) -> None:
    graph = sn.Graph("twice", INPUTS, CASES[name]())
    wanted = run(graph)
    for options in ({"epilogues": OFFERED}, {"loop_cache": 64}):
        agree(run(run_passes(graph, sn.PIPELINE, **options)[0]), wanted)


@pytest.mark.slow
@pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
def test_kernels_write_over_nothing_that_is_still_read() -> None:
    outputs = [y for make in CASES.values() for y in make()]
    f = sn.function(INPUTS, outputs, device="cpu")
    agree(f(*FEEDS), run(sn.Graph("twice", INPUTS, outputs)))


def names(graph: sn.Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_no_product_is_made_a_second_time() -> None:
    """One that is its own bias, or that its own activation's gradient multiplies, is made once."""
    z: Any = A @ B
    outputs: list[Any] = [(V @ A) + (V @ A)]
    outputs += sn.vjp([F.gelu(z, approximate="tanh")], [z], [z])
    for output in outputs:
        graph, _ = run_passes(sn.Graph("g", INPUTS, [output]), sn.PIPELINE, epilogues=OFFERED)
        assert len([name for name in names(graph) if "matmul" in name]) == 1


def test_what_a_loop_takes_twice_is_read_once() -> None:
    """A square of all steps is made at its step, of one x; a table may be its own indices."""
    zeros = np.zeros((N, N), np.float32)
    last, _ = sn.scan(lambda total, row: (total + row, None), zeros, XS * XS)
    graph = sn.Graph("g", INPUTS, [last])
    made, _ = run_passes(graph, [sink.SINK], loop_cache=64)
    (loop,) = [node for node in made.nodes if isinstance(node.op, Scan)]
    assert [x.name for x in loop.inputs[1:]] == ["xs"]
    agree(run(made), run(graph))
    own = sn.placeholder((4,), "int64", "own")
    last, _ = sn.scan(lambda total, i: (total * 5 + i, None), np.int64(0), sn.take(own, own))
    graph = sn.Graph("g", [own], [last])
    made, _ = run_passes(graph, [sink.SINK], loop_cache=1)
    for each in (graph, made):
        assert NumpyBackend().build(each).run([np.array([3, 0, 1, 2])])[0] == 2 * 125 + 3 * 25 + 1


def test_products_that_become_ints_are_not_added_up_before() -> None:
    zeros = np.zeros((N, N), np.int32)
    last, _ = sn.scan(lambda total, row: (total + sn.astype(row.T @ row, "int32"), None), zeros, XS)
    (found,) = run(run_passes(sn.Graph("g", INPUTS, [last]), sn.PIPELINE)[0])
    xs = FEEDS[3]
    np.testing.assert_array_equal(found, sum((x.T @ x).astype(np.int32) for x in xs))


def test_what_follows_a_convolution_behind_its_end_is_not_done_there_too() -> None:
    """In float16 a chain ends where float32 is asked of it: a scale behind it stays outside."""
    shapes = ((2, N, 6, 6), (N, N, 3, 3), (N, 1, 1))
    i, k, v = (sn.placeholder(s, "float16", f"x{n}") for n, s in enumerate(shapes))
    scale = sn.placeholder((N, 1, 1), name="scale")
    wide: Any = sn.astype(F.conv2d(i, k, padding=1) + v, "float32")
    rng = np.random.default_rng(5)
    feeds = [rng.normal(size=s).astype("float16") for s in shapes]
    feeds.append(rng.normal(2, 1, scale.shape).astype("f"))
    beside = sn.astype(i, "float32")
    ends: list[Any] = [wide * scale, wide + beside, sn.relu(wide * 2 + scale), wide * wide]
    for output in ends:
        graph = sn.Graph("g", [i, k, v, scale], [output])
        made, _ = run_passes(graph, sn.PIPELINE, epilogues=OFFERED)
        assert "convolution_epilogue" in names(made)
        (found,), (wanted,) = (NumpyBackend().build(x).run(feeds) for x in (made, graph))
        np.testing.assert_allclose(found, wanted, 0, 2e-3 * np.abs(wanted).max())
