"""Composed functions against NumPy, with the array API standard's names and semantics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import CUBE, X, Y, distinct, pos, r

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

INDEX = np.array([2, 0, -1, 2])


def run(f: Callable[..., Any], *args: Any) -> Any:
    xs = [sn.placeholder(np.shape(a), np.asarray(a).dtype, f"x{i}") for i, a in enumerate(args)]
    y = f(*xs)
    return sn.function(xs, list(y) if isinstance(y, list | tuple) else y, device="numpy")(*args)


CASES: list[tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = [
    (lambda x: sn.mean(x, (0, 2)), lambda x: np.mean(x, (0, 2)), (CUBE,)),
    (lambda x: sn.var(x, 1, correction=1), lambda x: np.var(x, 1, ddof=1), (CUBE,)),
    (lambda x: sn.std(x, keepdims=True), lambda x: np.std(x, keepdims=True), (CUBE,)),
    (lambda x: sn.logsumexp(x, 1), lambda x: np.log(np.exp(x).sum(1)), (CUBE,)),
    (lambda x: sn.logsumexp(x * 1000, 1), lambda x: np.max(x * 1000, 1), (distinct(3, 4),)),
    (lambda x: sn.count_nonzero(x > 0, 0), lambda x: np.count_nonzero(x > 0, 0), (X,)),
    (lambda x: sn.cumulative_sum(x, 0, True), lambda x: np.cumsum(np.vstack([0 * x[:1], x]), 0), (X,)),
    (lambda x: sn.square(x), np.square, (X,)),
    (lambda x: sn.reciprocal(x), np.reciprocal, (X,)),
    (lambda x: sn.clip(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), (X,)),
    (lambda x: 1 - (2 / x) ** 2 % 3, lambda x: 1 - (2 / x) ** 2 % 3, (X,)),
    (lambda x: 2**x // -x, lambda x: 2**x // -x, (X,)),
    (lambda x: abs(-x) + +x, lambda x: abs(-x) + +x, (X,)),
    (lambda x: (x > 0) & ~(x >= 1) | (x != x) ^ (x < -1), lambda x: (x > 0) & ~(x >= 1) | (x < -1), (X,)),
    (lambda x: Y + x, lambda x: Y + x, (X,)),
    (lambda x: sn.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1)), (X,)),
    (lambda x: sn.squeeze(x[:1]), lambda x: np.squeeze(x[:1]), (X,)),
    (lambda x: sn.flatten(x, 1), lambda x: x.reshape(2, 12), (CUBE,)),
    (lambda x: sn.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1), (CUBE,)),
    (lambda x: sn.swapaxes(x, 0, 2), lambda x: np.swapaxes(x, 0, 2), (CUBE,)),
    (lambda x: x.T, np.transpose, (X,)),
    (lambda x, y: sn.stack([x, y], 1), lambda x, y: np.stack([x, y], 1), (X, Y)),
    (lambda x, y: sn.concat([x, y], None), lambda x, y: np.concatenate([x, y], None), (X, Y)),
    (lambda x: sn.split(x, 2, 1)[1], lambda x: np.split(x, 2, 1)[1], (X,)),
    (lambda x: sn.split(x, [1, 3], 1), lambda x: np.split(x, [1], 1), (X,)),
    (lambda x: sn.unstack(x, 1)[2], lambda x: x[:, 2], (CUBE,)),
    (lambda x: sn.roll(x, (1, -2), (0, 1)), lambda x: np.roll(x, (1, -2), (0, 1)), (X,)),
    (lambda x: sn.roll(x, 5), lambda x: np.roll(x, 5), (X,)),
    (lambda x: sn.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), (X,)),
    (lambda x: sn.repeat(x, 2, 1), lambda x: np.repeat(x, 2, 1), (X,)),
    (lambda x: sn.pad(x, (1, 2)), lambda x: np.pad(x, (1, 2)), (X,)),
    (lambda x: sn.broadcast_arrays(x, X), lambda x: np.broadcast_arrays(x, X), (X[:1],)),
    (lambda x: sn.tril(x, 1), lambda x: np.tril(x, 1), (CUBE,)),
    (lambda x: sn.triu(x > 0, -1), lambda x: np.triu(x > 0, -1), (X,)),
    (lambda x: sn.eye(3, 4, 1, "float64") * x, lambda x: np.eye(3, 4, 1) * x, (X,)),
    (lambda x: x * sn.linspace(0, 1, 4, "float64"), lambda x: x * np.linspace(0, 1, 4), (X,)),
    (lambda x: x + sn.arange(7, -1, -2, "float64"), lambda x: x + np.arange(7, -1, -2), (X,)),
    (lambda x: x + sn.full((4,), 0.1, "float64"), lambda x: x + 0.1, (X,)),
    (lambda x: sn.zeros_like(x) + sn.ones_like(x), lambda x: np.ones_like(x), (X,)),
    (lambda x: sn.sort(x, 0, descending=True), lambda x: -np.sort(-x, 0), (X,)),
    (lambda x: sn.top_k(x, 2)[0], lambda x: -np.sort(-x)[:, :2], (X,)),
    (lambda x: sn.top_k(x, 2, 0, largest=False)[1], lambda x: np.argsort(x, 0)[:2], (distinct(3, 4),)),
    (lambda x, y: sn.tensordot(x, y, ([1, 2], [0, 1])), lambda x, y: np.tensordot(x, y, ([1, 2], [0, 1])), (CUBE, r(3, 4, 5))),
    (lambda x, y: sn.tensordot(x, y, 0), lambda x, y: np.tensordot(x, y, 0), (X, Y)),
    (lambda x, y: sn.vecdot(x, y), lambda x, y: (x * y).sum(-1), (X, Y)),
    (lambda x, y: sn.outer(x, y), np.outer, (r(3), r(4))),
    (lambda x, y: sn.matmul(x, y), np.matmul, (r(4), r(4, seed=1))),
    (lambda x: sn.one_hot(x, 4), lambda x: np.eye(4)[x] * (x >= 0)[:, None], (INDEX,)),
    (lambda x: x[sn.constant(INDEX), sn.constant(INDEX)], lambda x: x[INDEX, INDEX], (r(3, 3),)),
    (lambda x: x[..., sn.constant(INDEX)], lambda x: x[..., INDEX], (CUBE,)),
    (lambda x: x[::-1, 1::-1], lambda x: x[::-1, 1::-1], (X,)),
    (lambda x: x[-1, ..., None, 1:3], lambda x: x[-1, ..., None, 1:3], (CUBE,)),
    (lambda x: sn.gather(x, np.array([[0, 1], [2, 3]])), lambda x: x[[0, 2], [1, 3]], (X,)),
    (lambda x: sn.take_along_axis(x, sn.argsort(x, 0), 0), lambda x: np.sort(x, 0), (X,)),
    (lambda x: sn.argmax(x), np.argmax, (CUBE,)),
    (lambda x: sn.argmin(x, keepdims=True), lambda x: np.argmin(x, keepdims=True), (CUBE,)),
    (lambda x: sn.prod(x), np.prod, (np.arange(1, 5, dtype=np.int8),)),
    (lambda x: sn.sum(x), np.sum, (np.full(9, 100, np.uint8),)),
    (lambda x: sn.sum(x > 0), lambda x: np.sum(x > 0), (X,)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_against_numpy(case: Any) -> None:
    ours, numpys, args = case
    result, expected = run(ours, *args), numpys(*args)
    pairs = zip(result, expected, strict=True) if isinstance(result, list) else [(result, expected)]
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-15)
        assert got.shape == np.shape(wanted)


EINSUMS = [
    ("ij,jk->ik", [(3, 4), (4, 5)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("ij,jk", [(3, 4), (4, 5)]),
    ("ii->i", [(4, 4)]),
    ("ii", [(4, 4)]),
    ("iji->j", [(4, 3, 4)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
    ("ij->", [(3, 4)]),
    ("ij,ij->ij", [(3, 4), (3, 4)]),
    ("i,j,k->kij", [(2,), (3,), (4,)]),
    ("ab,bc,cd,de->ae", [(2, 9), (9, 3), (3, 8), (8, 2)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("ijk,k,j->i", [(2, 3, 4), (4,), (3,)]),
    ("i...,i->...", [(3, 4, 2), (3,)]),
]


@pytest.mark.parametrize(("spec", "shapes"), EINSUMS)
def test_einsum(spec: str, shapes: list[tuple[int, ...]]) -> None:
    args = [r(*shape, seed=i) for i, shape in enumerate(shapes)]
    result = run(lambda *xs: sn.einsum(spec, *xs), *args)
    np.testing.assert_allclose(result, np.einsum(spec, *args), rtol=1e-12, atol=1e-13)


def test_einsum_leaves_dims_symbolic() -> None:
    x = sn.placeholder(("batch", 3, "time"), name="x")
    y = sn.einsum("bij,ik,kl->bjl", x, np.ones((3, 5), "f"), np.ones((5, 2), "f"))
    assert str(y.shape) == "(Dim('batch'), Dim('time'), 2)"
    result = sn.function(x, y)(np.ones((2, 3, 4), "f"))
    np.testing.assert_array_equal(result, np.full((2, 4, 2), 15, "f"))


@pytest.mark.parametrize("spec", ["ij,jk->iz", "ij,jk->ii", "i!", "ij->ij->", "ij"])
def test_malformed_einsum(spec: str) -> None:
    x = sn.placeholder((3, 4), name="x")
    with pytest.raises((ArgumentError, ShapeError), match="einsum"):
        sn.einsum(spec, x, x)


PROMOTIONS = [
    ("float32", "float64", "float64"),
    ("float16", "float32", "float32"),
    ("float16", "bfloat16", "float32"),
    ("int8", "int16", "int16"),
    ("uint8", "int8", "int16"),
    ("uint8", "uint64", "uint64"),
    ("bool", "bool", "bool"),
]


@pytest.mark.parametrize(("a", "b", "result"), PROMOTIONS)
def test_arrays_promote_within_their_kind(a: str, b: str, result: str) -> None:
    x, y = sn.placeholder((2,), a, "x"), sn.placeholder((2,), b, "y")
    assert sn.where(x == x, x, y).dtype == result
    assert sn.concat([y, x]).dtype == result


@pytest.mark.parametrize(("a", "b"), [("int8", "uint64"), ("int64", "uint64")])
def test_what_no_integer_holds_is_refused(a: str, b: str) -> None:
    x, y = sn.placeholder((2,), a, "x"), sn.placeholder((2,), b, "y")
    with pytest.raises(DTypeError, match="do not promote; cast one with sn.astype"):
        sn.where(x == x, x, y)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_python_scalar_never_widens(dtype: str) -> None:
    x = sn.placeholder((2,), dtype, "x")
    for y in (x + 1, 2.5 * x, x**2, 1 / x, sn.where(x > 0, x, 0.5), sn.maximum(x, 0)):
        assert y.dtype == dtype


def test_scalars_that_do_not_fit() -> None:
    i = sn.placeholder((2,), "int8", "i")
    with pytest.raises(DTypeError, match="300 is out of the range of int8"):
        i + 300
    with pytest.raises(DTypeError, match="logical_and: .*complex128 is not supported"):
        sn.logical_and(i, 1j)


def test_prod_and_cumulative_prod_are_exact_at_zeros() -> None:
    x = sn.placeholder((4,), "float64", "x")
    value = np.array([2.0, 0.0, 3.0, 0.0])
    for y in (sn.prod(x), sn.sum(sn.cumulative_prod(x))):
        (g,) = sn.grad(y, [x])
        jac = sn.function(x, g)(value)
        h = 1e-6
        f = sn.function(x, y)
        for k in range(4):
            e = np.eye(4)[k] * h
            assert jac[k] == pytest.approx((f(value + e) - f(value - e)) / (2 * h), abs=1e-6)


@pytest.mark.parametrize("key", [pos(3) > 1, [True, False, True]])
def test_bool_masks_are_refused(key: Any) -> None:
    x = sn.placeholder((3,), name="x")
    with pytest.raises(ArgumentError, match=r"getitem: a bool mask .* use sn.where"):
        x[key]
