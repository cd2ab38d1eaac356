"""Right operands of a loop's products that stay are packed once: the same bits, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn

COMPILES = True
ROWS, INNER, OUTER, STEPS = 10, 300, 332, 3


def step(rows: Any = ROWS, unrolled: bool = False) -> Any:
    """c' = tanh(tanh(c u) v'), a few times: sums of two parts, and a panel that is not full."""
    first = sn.placeholder((rows, INNER), name="c")
    u, v = (sn.placeholder((INNER, OUTER), name=name) for name in "uv")

    def body(c: Any, _: Any = None) -> Any:
        c = sn.tanh(sn.tanh(c @ u) @ v.T)
        return c, c

    if unrolled:
        c, ys = first, list[Any]()
        for _ in range(STEPS):
            c, y = body(c)
            ys.append(y)
        states = sn.stack(ys)
    else:
        _, states = sn.scan(body, first, length=STEPS)
    return sn.function([first, u, v], states, device="cpu")


def feeds(rows: int = ROWS) -> list[Any]:
    rng = np.random.default_rng(0)
    shapes = ((rows, INNER), (INNER, OUTER), (INNER, OUTER))
    return [rng.normal(size=shape).astype("f") / 8 for shape in shapes]


def test_the_loop_is_the_definition() -> None:
    f = step()
    assert f.source().count("sn_hold_f32(") == 2
    c, u, v = (x.astype(np.float64) for x in feeds())
    for got in f(*feeds()):
        c = np.tanh(np.tanh(c @ u) @ v.T)
        np.testing.assert_allclose(got, c, rtol=0, atol=1e-5)


def test_bits_are_those_of_products_one_by_one_on_any_threads(
    set_threads: Callable[[int], None],
) -> None:
    set_threads(1)
    wanted = step(unrolled=True)(*feeds()).tobytes()
    for threads in (1, 2, 3):
        set_threads(threads)
        assert step()(*feeds()).tobytes() == wanted


def test_panels_are_in_the_certificate() -> None:
    packed = (INNER * 352 + OUTER * 320) * 4
    assert step().plan.arena_bytes > packed
    symbolic = step(sn.Dim("rows"))
    for rows in (1, 10, 200):
        assert symbolic.memory_analysis(rows=rows).peak == step(rows).memory_analysis().peak
        np.testing.assert_array_equal(symbolic(*feeds(rows)), step(rows)(*feeds(rows)))


@pytest.mark.parametrize("rows", [1, 300])
def test_many_rows_and_one_are_multiplied_as_elsewhere(rows: int) -> None:
    assert "sn_hold_f32(" not in step(rows).source()


@pytest.mark.parametrize("rows", [1, 2])
def test_lines_of_a_small_matrix_that_lies_transposed_are_made_once(rows: int) -> None:
    """It may be a part of what the loop takes; bits are those without a loop."""
    rng = np.random.default_rng(0)
    first, ws = rng.normal(size=(rows, 9)).astype("f"), rng.normal(size=(2, 21, 9)).astype("f")
    c, w = sn.placeholder(first.shape, name="c"), sn.placeholder(ws.shape, name="w")

    def body(c: Any) -> Any:
        return sn.tanh((c @ w[1].T)[:, 3:12])

    looped, unrolled = sn.scan(lambda c, _: (body(c), None), c, length=3)[0], c
    for _ in range(3):
        unrolled = body(unrolled)
    f = sn.function([c, w], [looped, unrolled], device="cpu")
    assert f.source().count("sn_lines_f32(21, 9, ") == 1
    got, wanted = f(first, ws)
    np.testing.assert_array_equal(got, wanted)
    for _ in range(3):
        first = np.tanh((first @ ws[1].T.astype("d"))[:, 3:12])
    np.testing.assert_allclose(got, first, rtol=0, atol=1e-5)


def test_a_product_by_what_a_loop_in_the_loop_gives() -> None:
    """Of several results one is shown; no shape is asked of all."""
    x = sn.placeholder((3, 4, 4), name="x_of_loops")

    def body(c: Any, row: Any) -> Any:
        last, rows = sn.scan(lambda s, r: (sn.tanh(s + r), s), row[0], row)
        return sn.tanh(c @ rows.T + last), None

    def follow(c: Any, row: Any) -> Any:
        last, rows = row[0], []
        for r in row:
            rows.append(last)
            last = np.tanh(last + r)
        return np.tanh(c @ np.stack(rows).T + last)

    feed = np.random.default_rng(0).normal(size=x.shape).astype("f")
    c = np.ones((4, 4), "f")
    got = sn.function([x], sn.scan(body, c, x)[0], device="cpu")(feed)
    for row in feed:
        c = follow(c, row)
    np.testing.assert_allclose(got, c, rtol=1e-5, atol=1e-6)
