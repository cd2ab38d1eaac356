"""Bools, integers and floats meet: dtypes and values are PyTorch's, in a graph and at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import DTypeError, ShapeError

Call = Callable[..., Any]
DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64"]
BINARY: dict[str, Call] = {
    "add": lambda m, x, y: x + y,
    "subtract": lambda m, x, y: x - y,
    "multiply": lambda m, x, y: x * y,
    "divide": lambda m, x, y: x / y,
    "floor_divide": lambda m, x, y: x // y,
    "remainder": lambda m, x, y: x % y,
    "pow": lambda m, x, y: x**y,
    "less": lambda m, x, y: x < y,
    "equal": lambda m, x, y: x == y,
    "maximum": lambda m, x, y: m.maximum(x, y),
    "minimum": lambda m, x, y: m.minimum(x, y),
    "atan2": lambda m, x, y: m.atan2(x, y),
    "logical_and": lambda m, x, y: m.logical_and(x, y),
    "bitwise_or": lambda m, x, y: x | y,
    "where": lambda m, x, y: m.where(x == x, x, y),
    "concat": lambda m, x, y: m.concat([x, y]),
}
UNARY = [
    "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "sigmoid",
]  # fmt: skip
NO_BOOLS = ("floor_divide", "remainder", "pow")  # of bools alone
NUMBERS = [True, 3, 0.5, 2.0]


def values(dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    """Small positive numbers, all of them exact in every dtype."""
    if dtype == "bool":
        return np.array([True, False, True] if seed else [True, True, False])
    return np.array([3, 1, 2] if seed else [1, 2, 4]).astype(dtype)


def at_once(f: Call, *arrays: Any) -> Any:
    return f(sn, *map(sn.dynamic.tensor, arrays)).numpy()


def in_a_graph(f: Call, *arrays: Any, device: str = "numpy") -> Any:
    nodes = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(arrays)]
    return sn.function(nodes, f(sn, *nodes), device=device)(*arrays)


def in_torch(f: Call, *arrays: Any) -> Any:
    """What PyTorch gives, or None where it refuses."""
    torch = pytest.importorskip("torch")
    try:
        return f(torch, *map(torch.from_numpy, arrays)).numpy()
    except (RuntimeError, TypeError):
        return None


def check(what: str, f: Call, *arrays: Any) -> bool:
    """Compare with PyTorch where it has an answer; -> whether it has."""
    wanted = in_torch(f, *arrays)
    if wanted is None:
        return False
    for got in (at_once(f, *arrays), in_a_graph(f, *arrays)):
        assert got.dtype == wanted.dtype, what
        rtol = 2e-3 if wanted.dtype == "float16" else 2e-6
        np.testing.assert_allclose(got, wanted, rtol, rtol, err_msg=what)
    return True


@pytest.mark.parametrize("name", list(BINARY))
def test_arrays_of_any_two_kinds(name: str) -> None:
    found = [
        check(f"{name} {a} {b}", BINARY[name], values(a), values(b, 1))
        for a in DTYPES
        for b in DTYPES
        if (a, b, name in NO_BOOLS) != ("bool", "bool", True)
    ]
    assert sum(found) >= {"bitwise_or": 13, "subtract": 64}.get(name, 75)


@pytest.mark.parametrize("name", ["add", "multiply", "divide", "less", "pow", "remainder"])
def test_numbers_beside_arrays(name: str) -> None:
    for dtype in DTYPES:
        for number in NUMBERS:
            if dtype == "bool" and number is True:
                continue
            for f in (
                lambda m, x, n=number: BINARY[name](m, x, n),
                lambda m, x, n=number: BINARY[name](m, n, x),
            ):
                check(f"{name} {dtype} {number}", f, values(dtype))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "uint64"])
def test_functions_of_real_numbers_take_integers(dtype: str) -> None:
    x = values("bool" if dtype == "bool" else "int32").astype(dtype)
    for name in UNARY:
        wanted = in_torch(lambda m, x, name=name: getattr(m, name)(x), x.astype("float32"))
        for got in (
            at_once(lambda m, x, name=name: getattr(m, name)(x), x),
            in_a_graph(lambda m, x, name=name: getattr(m, name)(x), x),
        ):
            assert got.dtype == np.float32, name
            if wanted is not None:
                np.testing.assert_allclose(got, wanted, 2e-6, err_msg=name)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_statistics_of_integers(dtype: str) -> None:
    x = values(dtype)
    reals = x.astype("float64")
    for f, wanted in (
        (lambda m, x: m.mean(x), reals.mean()),
        (lambda m, x: m.var(x), reals.var()),
        (lambda m, x: m.std(x, correction=1), reals.std(ddof=1)),
        (lambda m, x: m.logsumexp(x), np.log(np.exp(reals).sum())),
    ):
        for got in (at_once(f, x), in_a_graph(f, x)):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, wanted, 1e-6)


def test_a_mean_of_integers_is_summed_exactly() -> None:
    x = np.array([2**24, 1, 1, 1, 1, 1, 1, 1], "int32")
    assert in_a_graph(lambda m, x: m.mean(x), x) == np.float32(x.mean())
    assert in_a_graph(lambda m, x: m.sum(x), np.ones(300, bool)) == 300


def test_bools_have_an_order() -> None:
    x = np.array([[True, False], [False, False]])
    for f, wanted in (
        (lambda m, x: m.max(x, 0), x.max(0)),
        (lambda m, x: m.min(x), x.min()),
        (lambda m, x: m.argmax(x, 1), x.argmax(1)),
        (lambda m, x: m.argmin(x), x.argmin()),
        (lambda m, x: m.sort(x), np.sort(x)),
        (lambda m, x: m.argsort(x, 0), x.argsort(0, kind="stable")),
    ):
        for got in (at_once(f, x), in_a_graph(f, x)):
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)


def test_bools_alone_are_logic_as_in_numpy() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    for f in (
        lambda m, x, y: x + y,
        lambda m, x, y: x * y,
        lambda m, x, y: m.maximum(x, y),
        lambda m, x, y: m.minimum(x, y),
    ):
        for got in (at_once(f, a, b), in_a_graph(f, a, b)):
            assert got.dtype == bool
            np.testing.assert_array_equal(got, f(np, a, b))
    x, y = sn.placeholder((2,), "bool", "x"), sn.placeholder((3,), "bool", "y")
    with pytest.raises(ShapeError, match=r"^add: shapes do not broadcast: .*x bool\[2\] with y"):
        x + y
    with pytest.raises(DTypeError, match="subtract: takes .*not bool"):
        x - x


def test_a_mask_times_a_value_has_the_values_derivative() -> None:
    x, i = sn.placeholder((3,), name="x"), sn.placeholder((3,), "int32", "i")
    (dx,) = sn.grad(sn.sum((x > 0) * x * x + i * x), [x])
    f = sn.function([x, i], dx, device="numpy")
    feeds = np.array([-1, 2, 3], "f"), np.array([5, 6, 7], "i4")
    np.testing.assert_array_equal(f(*feeds), [5, 10, 13])
    t = sn.dynamic.tensor(feeds[0], requires_grad=True)
    sn.sum((t > 0) * t * t + sn.dynamic.tensor(feeds[1]) * t).backward()
    np.testing.assert_array_equal(t.grad.numpy(), [5, 10, 13])


@pytest.mark.parametrize("weak", [0.5, np.float64(0.5), np.float16(0.5), [0.5], np.array(0.5)])
def test_a_weak_float_makes_integers_float32(weak: Any) -> None:
    for dtype in ("bool", "int8", "int64", "uint64"):
        x = values("bool").astype(dtype)
        for got in (at_once(lambda m, x: m.multiply(x, weak), x),
                    in_a_graph(lambda m, x: m.multiply(weak, x), x)):  # fmt: skip
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, x * np.float32(0.5))


def test_scatters_promote() -> None:
    for f in (at_once, in_a_graph):
        got = f(lambda m, x: m.scatter_add(x, [0], [0.5]), np.array([1, 2]))
        np.testing.assert_array_equal(got, np.array([1.5, 2], "f"))


def test_compiled() -> None:
    """One C program of all of it."""
    x, i, b = np.array([-1.5, 2, 3], "f"), np.array([1, 2, 300]), np.array([True, False, True])

    def f(m: Any, x: Any, i: Any, b: Any) -> Any:
        found = [b * x, i * x, i / 2, m.sqrt(i), m.mean(b), b + i, b * b, b + (x > 0), i < 2.5]
        return m.concat([m.astype(m.reshape(y, -1), "float64") for y in found])

    wanted = in_a_graph(f, x, i, b)
    np.testing.assert_array_equal(in_a_graph(f, x, i, b, device="cpu"), wanted)
    np.testing.assert_array_equal(at_once(f, x, i, b), wanted)
