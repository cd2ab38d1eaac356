"""Products that are added to what lies there: where they are, where not, and what they give."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import staticnet as sn

COMPILES = True
STEPS, M, N, K = 3, 64, 96, 80


def arrays(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("f") for shape in shapes]


def summed(k: int = K, **options: Any) -> tuple[Any, list[Any]]:
    """A loop that adds up products of what each of its steps makes from the one before."""
    given = arrays((M, N), (M, k), (k, N))
    c, x, y = (sn.placeholder(a.shape) for a in given)

    def body(carry: Any, _: Any) -> Any:
        total, x = carry
        return (total + x @ y, sn.tanh(x)), None

    (total, _), _ = sn.scan(body, (c, x), length=STEPS)
    return sn.function([c, x, y], total, device="cpu", **options), given


@pytest.mark.parametrize("k", [K, 600])
def test_a_loops_sum_is_written_where_it_lies(k: int) -> None:
    f, given = summed(k)
    assert "matmul_add" in f.as_text(after="library")
    (kernel,) = re.findall(r"kernel \S+: matmul_add.*?(?=kernel|\Z)", str(f.explain()), re.S)
    assert re.search(r"in place %\d+ over %c0", kernel)
    total, x, y = (a.astype(np.float64) for a in given)
    for _ in range(STEPS):
        total, x = total + x @ y, np.tanh(x)
    np.testing.assert_allclose(f(*given), total, rtol=1e-4, atol=1e-3)


def test_a_sum_of_one_part_has_the_bits_of_product_and_sum() -> None:
    fast, given = summed()
    exact, _ = summed(numerics="exact")
    assert "matmul_add" not in exact.as_text(after="library")
    assert fast(*given).tobytes() == exact(*given).tobytes()


def test_a_variable_is_added_to_where_it_lies() -> None:
    v0, *given = arrays((M, N), (M, K), (K, N))
    x, y = (sn.placeholder(a.shape) for a in given)
    v = sn.variable(v0)
    f = sn.function([x, y], sn.sum(x), updates={v: v + x @ y}, device="cpu")
    assert "matmul_add" in f.as_text(after="library")
    for _ in range(2):
        f(*given)
    wanted = v0 + 2.0 * (given[0].astype(np.float64) @ given[1])
    np.testing.assert_allclose(v.value, wanted, rtol=1e-4, atol=1e-4)


def test_what_others_need_stays() -> None:
    given = arrays((M, K), (K, N), (M, N))
    x, y, c = (sn.placeholder(a.shape) for a in given)
    first = sn.tanh(x) @ y
    f = sn.function([x, y, c], [first + x @ y, first * c], device="cpu")
    assert "matmul_add" not in f.as_text(after="library")
    x0, y0, c0 = (a.astype(np.float64) for a in given)
    both = f(*given)
    np.testing.assert_allclose(both[0], np.tanh(x0) @ y0 + x0 @ y0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(both[1], np.tanh(x0) @ y0 * c0, rtol=1e-4, atol=1e-4)
