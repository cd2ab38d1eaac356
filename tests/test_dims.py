"""Dims as numbers beside values of a graph: what Python ints of their sizes would be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

COMPILES = True
X = np.array([[1.5, -2, 3], [4, 5, -6]])
I = np.array([1, 2])  # noqa: E741

# f(module, x, i, b, t): of staticnet and dims, and of NumPy and ints
CASES: dict[str, Callable[..., Any]] = {
    "x / b": lambda m, x, i, b, t: x / b,
    "b / x": lambda m, x, i, b, t: b / x,
    "x * b": lambda m, x, i, b, t: x * b,
    "b * x": lambda m, x, i, b, t: b * x,
    "x + b": lambda m, x, i, b, t: x + b,
    "b - x": lambda m, x, i, b, t: b - x,
    "x - b": lambda m, x, i, b, t: x - b,
    "x ** b": lambda m, x, i, b, t: x**b,
    "x // b": lambda m, x, i, b, t: x // b,
    "b // x": lambda m, x, i, b, t: b // x,
    "x % t": lambda m, x, i, b, t: x % t,
    "t % x": lambda m, x, i, b, t: t % x,
    "expression": lambda m, x, i, b, t: x / (2 * b + 1) - (b - 5) * x + t // 2 + t**2 + (t % 2),
    "mean": lambda m, x, i, b, t: m.sum(x) / b,
    "scaled products": lambda m, x, i, b, t: (x @ x.T) / m.sqrt(m.astype(t, x.dtype)),
    "where": lambda m, x, i, b, t: m.where(x > 0, b, 0),
    "where with x": lambda m, x, i, b, t: m.where(x > 0, b, x),
    "where of dims": lambda m, x, i, b, t: m.where(i > 1, b, t),
    "x < b": lambda m, x, i, b, t: x < b,
    "b < x": lambda m, x, i, b, t: b < x,
    "i == b": lambda m, x, i, b, t: i == b,
    "b == i": lambda m, x, i, b, t: b == i,
    "i != b": lambda m, x, i, b, t: i != b,
    "b != i": lambda m, x, i, b, t: b != i,
    "b >= i": lambda m, x, i, b, t: b >= i,
    "i + b": lambda m, x, i, b, t: i + b,
    "i % b": lambda m, x, i, b, t: i % b,
    "-b + i": lambda m, x, i, b, t: -b + i,
    "i & b": lambda m, x, i, b, t: i & b,
    "full": lambda m, x, i, b, t: m.full((t, b), 2 * b + 1),
    "full of a dtype": lambda m, x, i, b, t: m.full((3,), b, dtype="float32"),
    "full_like": lambda m, x, i, b, t: m.full_like(x, b),
    "maximum": lambda m, x, i, b, t: m.maximum(x, b),
    "clip": lambda m, x, i, b, t: m.clip(x, 0, b),
    "stack": lambda m, x, i, b, t: m.stack([b, t]),
    "less 5": lambda m, x, i, b, t: i + (b - 5),
    "take": lambda m, x, i, b, t: m.take(i, b - 1),
    "one of i": lambda m, x, i, b, t: i[b - 1],
    "ramp": lambda m, x, i, b, t: m.arange(1, b + 1) * b,
    "broadcast": lambda m, x, i, b, t: m.broadcast_to(b, (3,)),
}


class Module:
    """NumPy with `astype` of numbers."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def astype(self, x: Any, dtype: Any) -> Any:
        return np.asarray(x).astype(dtype)


def values(shape: Any, device: str) -> list[Any]:
    """All cases at placeholders of these dims, run on X and I."""
    x, i = sn.placeholder(shape, "float64", "x"), sn.placeholder(shape[:1], "int64", "i")
    nodes = [case(sn, x, i, *x.shape) for case in CASES.values()]
    return sn.function([x, i], nodes, device=device)(X, I)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("shape", [("b", "t"), ("b", 3), (2, 3)], ids=str)
def test_dims_are_the_numbers_that_numpy_computes_with(shape: Any, device: str) -> None:
    for (name, case), got in zip(CASES.items(), values(shape, device), strict=True):
        wanted = np.asarray(case(Module(), X, I, 2, 3))
        np.testing.assert_allclose(got, wanted, rtol=1e-14, err_msg=name, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint64"])
def test_they_take_the_dtype_that_they_meet(dtype: str) -> None:
    x = sn.placeholder(("b",), dtype, "x")
    (b,) = x.shape
    for y in (x * b, b + x, sn.maximum(x, 2 * b), sn.where(x > b, x, b), sn.full_like(x, b)):
        assert y.dtype == x.dtype
    assert sn.astype(b, dtype).dtype == x.dtype
    assert sn.constant(b).dtype == sn.full((2,), b).dtype == "int64"


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("shape", [("b",), (4,)], ids=str)
def test_functions_of_real_numbers(shape: Any, device: str) -> None:
    x = sn.placeholder(shape, name="x")
    (b,) = x.shape
    nodes = [sn.sqrt(b), sn.log(b), sn.exp(2 * b - 9), sn.divide(b, 3), x / sn.sqrt(b)]
    got = sn.function(x, nodes, device=device)(np.ones(4, "f"))
    wanted = [2.0, np.log(4), np.exp(-1), 4 / 3, np.full(4, 0.5)]
    for a, w in zip(got, wanted, strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a, w, rtol=1e-6)


def test_one_program_serves_every_size() -> None:
    x = sn.placeholder(("b", "t"), "float64", "x")
    loss = sn.sum(x * x) / (x.shape[0] * x.shape[1] + 1)
    f = sn.function(x, [loss, *sn.grad(loss, [x])], device="cpu")
    for shape in ((2, 3), (4, 1), (1, 1), (0, 5)):
        value, slope = f(np.ones(shape))
        count = shape[0] * shape[1]
        assert value == count / (count + 1)
        np.testing.assert_allclose(slope, np.full(shape, 2 / (count + 1)), rtol=1e-15)
    assert sn.parse(f.as_text()) is f.graph


def test_a_size_out_of_the_dtypes_range_is_an_error_with_its_line() -> None:
    x = sn.placeholder(("b",), "uint8", "x")
    f = sn.function(x, x + x.shape[0])
    assert f(np.zeros(255, "uint8"))[0] == 255
    with pytest.raises(DTypeError, match=r"256 is out of the range of uint8 .*test_dims.py"):
        f(np.zeros(256, "uint8"))


def test_dims_and_dims() -> None:
    b, t = sn.Dim("b"), sn.Dim("t")
    assert b % 1 == 0
    assert (7 * b) % 7 == 0
    assert b**2 == b * b
    assert b**0 == 1
    assert np.int64(3) * b == b * np.int32(3) == 3 * b
    assert (b < b + 1, b <= b, b > b, b + 2 >= b) == (True, True, False, True)
    assert (b == 3, b != 3, b == t, b == "b") == (False, True, False, False)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b: b / 2, lambda b: 1 / b, lambda b: b / b, lambda b: 1.5 * b, lambda b: b + 0.5,
        lambda b: 0.5 - b, lambda b: b**0.5, lambda b: b < 3, lambda b: b >= 2 * b, lambda b: b**-1,
        lambda b: b**b, lambda b: b // 1.5,
    ],
)  # fmt: skip
def test_what_is_no_dimension_says_what_to_write(wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(ShapeError, match=r"astype\(b|is no number|exponent must be an int"):
        wrong(sn.Dim("b"))


def test_beside_what_has_a_value_a_dim_is_none() -> None:
    with pytest.raises(DTypeError, match="the dimension b is symbolic"):
        sn.dynamic.tensor([1.0]) * sn.Dim("b")
    with pytest.raises((DTypeError, ArgumentError)):
        sn.constant([sn.Dim("b"), 2])
    mask = sn.placeholder(("b",), "bool", "m")
    assert sn.where(mask, sn.placeholder((), "bool", "y"), sn.Dim("b")).dtype == "int64"


def _loops(n: Any) -> dict[str, Any]:
    """Loops and choices that a number made of a dim goes into, and what they give of 4."""
    number = sn.constant(n)
    return {
        "while_loop": (
            sn.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + n), (0, 0))[1],
            16,
        ),
        "fori_loop": (sn.fori_loop(0, n, lambda i, c: (c[0] + i, c[1] + n), (0, 0))[1], 16),
        "scan": (sn.scan(lambda c, _: (c + n, c), number, None, length=3)[1], [4, 8, 12]),
        "cond": (sn.cond(number > 3, lambda a: (a, a + 1), lambda a: (a - 1, a), number)[1], 5),
        "vmap": (sn.vmap(lambda a: a * n)(sn.arange(3)), [0, 4, 8]),
    }


@pytest.mark.parametrize("name", ["while_loop", "fori_loop", "scan", "cond", "vmap"])
def test_a_number_of_a_dim_goes_into_what_has_several_results(name: str) -> None:
    x = sn.placeholder(("n",))
    node, wanted = _loops(x.shape[0])[name]
    for device in ("numpy", "cpu"):
        np.testing.assert_array_equal(
            sn.function([x], node, device=device)(np.ones(4, "f4")), wanted
        )


def test_attention_scales_by_a_symbolic_width() -> None:
    x = sn.placeholder(("n", "m"), "float64")
    array = np.cos(np.arange(8.0).reshape(4, 2))
    made, wanted = (
        sn.nn.functional.scaled_dot_product_attention(v, v, v) for v in (x, sn.constant(array))
    )
    for device in ("numpy", "cpu"):
        of_constants = sn.function([], wanted, device=device)()
        np.testing.assert_allclose(sn.function([x], made, device=device)(array), of_constants)
