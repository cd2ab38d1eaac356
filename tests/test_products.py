"""float32 products by our own loops, beside those in float64."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from guard import guarded

import staticnet as sn
from staticnet.backends.cpu import blas, products
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cpu.library import load
from staticnet.backends.cpu.products import pointers, source

COMPILES = True
SHAPES = [
    (50, 512, 128),
    (32, 128, 100),
    (4, 700, 300),
    (130, 97, 64),
    (65, 101, 257),
    (7, 384, 513),
    (3, 65, 2000),
    (29, 33, 300),
    (200, 600, 260),
    (300, 1000, 4),
    (33, 40, 1024),  # rows so far apart are packed
    (1, 37, 300),  # rows by a matrix as it lies
    (2, 70, 33),
    (1, 16, 7),
    (64, 1, 128),
    (8, 19, 24),
    (5, 4, 1),
]


def gemm(address: int, a: Any, b: Any, turned: tuple[bool, bool]) -> Any:
    """c = a b by a function with sgemm's signature; those `turned` are handed over transposed."""
    (m, k), n = a.shape, b.shape[1]
    left, right = (guarded(x.T if t else x) for x, t in zip((a, b), turned, strict=True))
    c = guarded(np.full((m, n), np.nan, np.float32))
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)
    letters = [ctypes.create_string_buffer(b"T" if t else b"N") for t in reversed(turned)]
    sizes = [ctypes.c_int(size) for size in (n, m, k, right.shape[1], left.shape[1], n)]
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    at = [x.ctypes.data for x in (right, left, c)]
    ref = [ctypes.addressof(x) for x in (*letters, *sizes, one, zero)]
    ta, tb, pn, pm, pk, ldb, lda, ldc, alpha, beta = ref
    function(ta, tb, pn, pm, pk, alpha, at[0], ldb, at[1], lda, beta, at[2], ldc)
    return c


@pytest.fixture(scope="module")
def ours() -> int:
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("needs a C compiler")
    load(source(), compiler)  # or all is BLAS' alone
    return pointers(compiler)[0]


def operands(m: int, n: int, k: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in ((m, k), (k, n)))


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_products(ours: int, m: int, n: int, k: int) -> None:
    a, b = operands(m, n, k)
    wanted = a.astype(np.float64) @ b
    for turned in itertools.product((False, True), repeat=2):
        c = gemm(ours, a, b, turned)
        np.testing.assert_allclose(c, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("turned", list(itertools.product((False, True), repeat=2)))
def test_an_element_has_the_same_bits_in_a_part_of_the_product(
    ours: int, turned: tuple[bool, bool]
) -> None:
    a, b = operands(75, 300, 520)
    whole = gemm(ours, a, b, turned)
    few = gemm(ours, a[:2], b, turned)
    np.testing.assert_array_equal(gemm(ours, a[:2], b[:, 16:133], turned), few[:, 16:133])
    for rows, columns in ((slice(0, 50), slice(0, 300)), (slice(13, 75), slice(32, 133))):
        part = gemm(ours, a[rows], b[:, columns], turned)
        np.testing.assert_array_equal(part, whole[rows, columns])


@pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")
def test_small_products_in_vectors_of_columns() -> None:
    """Columns fill vectors of two lengths, or lie apart, or are too few."""
    rng = np.random.default_rng(0)
    placeholders, fetches, feeds, wanted = list[Any](), list[Any](), list[Any](), list[Any]()
    for dtype, n in itertools.product(("float32", "int64"), (3, 16, 23, 64, 85)):
        a, b = (rng.integers(-9, 10, shape).astype(dtype) for shape in ((2, 5), (5, n)))
        x, y, z = (sn.placeholder(v.shape, dtype) for v in (a, b, b.T))
        placeholders += [x, y, z]
        fetches += [x @ y, x @ z.T]
        feeds += [a, b, np.ascontiguousarray(b.T)]
        wanted += [a @ b, a @ b]
    for got, value in zip(
        sn.function(placeholders, fetches, device="cpu")(*feeds), wanted, strict=True
    ):
        np.testing.assert_array_equal(got, value)


@pytest.fixture(scope="module")
def few(ours: int) -> Any:
    """A library of products that is given no strips of other heights than it begins with."""
    library = load(source() + "/* for itself */\n", find_compiler())  # type: ignore[arg-type]
    if not hasattr(library, "sn_set_strips"):
        pytest.skip("this machine's products have no strips")
    library.sn_set_sgemm(ctypes.c_void_p(blas.pointers(["sgemm"])["sgemm"]))
    return library


def test_few_heights_of_strips_have_the_bits_of_all(ours: int, few: Any) -> None:
    """A first program multiplies by the few, until a library of the others is built.

    Operands end where memory does, which none of both may read beyond.
    """
    compiler = find_compiler()
    assert compiler is not None
    products.complete(compiler)
    builder = products._complete(compiler, os.getpid())
    if builder is not None:
        builder.join()
    own = ctypes.cast(few.sn_sgemm, ctypes.c_void_p).value
    assert own is not None
    narrow = itertools.product(range(1, 18), (1, 4, 7, 16), (1, 2, 5, 19, 300))
    for m, n, k in [*narrow, *((m, 35, 19) for m in range(3, 32)), (250, 33, 530)]:
        a, b = operands(m, n, k)
        for turned in itertools.product((False, True), repeat=2):
            np.testing.assert_array_equal(gemm(own, a, b, turned), gemm(ours, a, b, turned))


@pytest.mark.parametrize("raised", [None, OSError("no space left on device")])
def test_strips_that_do_not_compile_are_told(
    few: Any,
    raised: OSError | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the log: the thread that builds them has no caller."""
    compiler = find_compiler()
    assert compiler is not None
    monkeypatch.setattr(products, "strips_source", lambda: "these are no strips")
    if raised:
        monkeypatch.setattr(products, "load", Mock(side_effect=raised))
    products._take_strips(few, compiler)
    assert re.search("few heights.*do not compile", caplog.text)
    assert "the C compiler failed" in caplog.text if raised is None else str(raised) in caplog.text
    a, b = operands(20, 30, 40)
    own = ctypes.cast(few.sn_sgemm, ctypes.c_void_p).value or 0
    np.testing.assert_allclose(gemm(own, a, b, (False, False)), a @ b, rtol=1e-4, atol=1e-4)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A compiler for which the library of products is no C."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    monkeypatch.setattr(products, "source", lambda: "this is no C")
    products._library.cache_clear()
    yield compiler
    products._library.cache_clear()


def test_that_our_own_do_not_compile_is_told(no_library: Any) -> None:
    """They would be BLAS' from then on, right and slower, and nobody would know."""
    with pytest.warns(RuntimeWarning, match="products are those of BLAS.*do not compile"):
        assert products.held_pointers(no_library) == (None, None)


@pytest.mark.parametrize("shape", [(1, 64, 17), (17, 64, 1), (1, 64, 1), (3, 64, 17)])
def test_the_references_bits_do_not_depend_on_the_order_in_memory(
    shape: tuple[int, int, int],
) -> None:
    """NumPy's products of one row or column do."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=s).astype(np.float32) for s in ((m, k), (k, n)))
    ways = [
        sn.ops.linalg.Matmul().eval(np, a, b)
        for a in (x, np.asfortranarray(x))
        for b in (y, np.asfortranarray(y))
    ]
    for z in ways:
        np.testing.assert_array_equal(z, ways[0])
    turned = sn.placeholder((n, k), name="turned")
    other = sn.function(turned, sn.constant(x) @ sn.matrix_transpose(turned), device="numpy")
    np.testing.assert_array_equal(other(np.ascontiguousarray(y.T)), ways[0])


@pytest.mark.parametrize(("m", "k", "n"), [(128, 50, 512), (128, 300, 512), (40, 50, 2100)])
def test_two_products_by_one_matrix_pack_it_once_and_anew_when_it_has_changed(
    m: int, k: int, n: int, set_threads: Callable[[int], None]
) -> None:
    """Gradients of two weights by one cotangent; it lies at one address from call to call."""
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(size=s).astype(np.float32) for s in ((k, m), (k, m), (k, n)))
    nodes = [sn.placeholder(a.shape, name=name) for a, name in ((x, "x"), (y, "y"), (z, "z"))]
    a, b, c = nodes
    outputs = [sn.matrix_transpose(a) @ c, sn.matrix_transpose(b) @ c]
    both = sn.function(nodes, outputs, device="cpu")
    alone = [
        sn.function([left, c], out, device="cpu") for left, out in zip((a, b), outputs, strict=True)
    ]
    assert re.search(r"sn_call_gemm_f32\(.*, 2\);", both.source())
    for threads in (1, 2, 3):
        set_threads(threads)
        for turn in range(3):
            for got, f, left in zip(both(x, y, z), alone, (x, y), strict=True):
                np.testing.assert_array_equal(got, f(left, z))
            if turn == 0:
                np.testing.assert_allclose(got, y.T @ z, rtol=1e-4, atol=1e-3)
            z += 1
        z -= 3
