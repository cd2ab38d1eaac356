"""Products of gathered rows: made for a table's rows where those are fewer, right all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import OutOfRangeError

COMPILES = True
ROWS, WIDTH, UNITS = 5, 3, 4
EXAMPLES, LENGTH = 4, 6


def step(rows: int = ROWS, dtype: str = "float64", **options: Any) -> Any:
    """y and the gradients by table and weight of an embedding, turned, before a layer."""
    i = sn.placeholder((EXAMPLES, LENGTH), "int64", name="i")
    table = sn.placeholder((rows, WIDTH), dtype, name="table")
    w = sn.placeholder((WIDTH, UNITS), dtype, name="w")
    g = sn.placeholder((LENGTH, EXAMPLES, UNITS), dtype, name="g")
    x = sn.swapaxes(sn.take(table, i, 0), 0, 1)
    y = x @ w
    return sn.function([i, table, w, g], [y, *sn.grad(sn.sum(y * g), [table, w])], **options)


def feeds(rows: int = ROWS) -> list[Any]:
    rng = np.random.default_rng(0)
    indices = rng.integers(-rows, rows, (EXAMPLES, LENGTH))
    shapes = ((rows, WIDTH), (WIDTH, UNITS), (LENGTH, EXAMPLES, UNITS))
    return [indices, *(rng.normal(size=shape) for shape in shapes)]


def product_rows(f: Any) -> list[int]:
    """Of each product, the elements of its longest side."""
    products = [n for n in f.as_text(after="algebraic_simplify").splitlines() if "= matmul(" in n]
    shapes = [line.split("[", 1)[1].split("]", 1)[0] for line in products]
    return [max(map(int, shape.split(","))) for shape in shapes]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_values_and_gradients_are_the_definitions(device: str) -> None:
    given = feeds()
    i, table, w, g = given
    y, by_table, by_w = step(device=device)(*given)
    x = table[i].swapaxes(0, 1)
    wanted = np.zeros_like(table)
    np.add.at(wanted, i.T, g @ w.T)
    np.testing.assert_allclose(y, x @ w, rtol=1e-13)
    np.testing.assert_allclose(by_table, wanted, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(by_w, np.einsum("tni,tno->io", x, g), rtol=1e-13, atol=1e-14)


def test_no_product_has_a_row_for_each_example() -> None:
    found = product_rows(step(device="numpy"))
    assert len(found) == 3
    assert max(found) <= ROWS


@pytest.mark.parametrize("options", [{"rows": 13}, {"numerics": "exact"}])
def test_products_stay_as_they_are(options: dict[str, Any]) -> None:
    """Where the table has more than half as many rows as are gathered, and where bits are kept."""
    f = step(device="numpy", **options)
    assert max(product_rows(f)) >= EXAMPLES * LENGTH


def test_any_number_of_examples() -> None:
    i = sn.placeholder((sn.Dim("n"),), "int64", name="i")
    table, w = sn.placeholder((3, 2), name="table"), sn.placeholder((2, 4), name="w")
    f = sn.function([i, table, w], sn.take(table, i, 0) @ w, device="numpy")
    x, y = np.eye(3, 2, dtype=np.float32), np.ones((2, 4), np.float32)
    for count in (0, 1, 50):
        indices = np.arange(count) % 3
        np.testing.assert_array_equal(f(indices, x, y), x[indices] @ y)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_an_index_out_of_range_fails(device: str) -> None:
    i, *rest = feeds()
    i[2, 3] = ROWS
    with pytest.raises(OutOfRangeError):
        step(device=device)(i, *rest)
