"""The device code's factorisations, through the shim: odd shapes, hard matrices, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from everywhere import on
from gpu_cases import lower

import staticnet as sn

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
L = sn.linalg
RNG = np.random.default_rng(5)
TOLERANCE = {"float64": 1e-11, "float32": 3e-4}
every_dtype = pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)]
)


def low_rank(m: int, n: int, rank: int) -> Any:
    return RNG.normal(size=(m, rank)) @ RNG.normal(size=(rank, n))


HARD = {
    "square": RNG.normal(size=(3, 4, 4)),
    "tall": RNG.normal(size=(7, 3)),
    "wide": RNG.normal(size=(2, 3, 6)),
    "larger than a warp": RNG.normal(size=(37, 34)),
    "one": np.array([[-2.5]]),
    "of zeros": np.zeros((4, 3)),
    "unit": np.eye(5),
    "of rank 1": low_rank(5, 4, 1),
    "of rank 2": low_rank(4, 6, 2),
    "with a column of zeros": np.array([[1.0, 0, 2], [3, 0, 4], [5, 0, 7], [1, 0, 1]]),
    "of small numbers": RNG.normal(size=(4, 4)) * 1e-25,
    "of large numbers": RNG.normal(size=(4, 4)) * 1e25,
    "without rows": np.zeros((0, 3)),
    "without columns": np.zeros((2, 3, 0)),
}


def close(got: Any, want: Any, scale: float, tolerance: float, what: str) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(scale, 0), err_msg=what)


def turn(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


@every_dtype
def test_decompositions(dtype: str, tmp_path: Path) -> None:
    args = [x.astype(dtype) for x in HARD.values()]

    def build(*xs: Any) -> list[Any]:
        return [
            y
            for x in xs
            for y in (
                *L.qr(x, mode="complete"), *L.svd(x, full_matrices=False), *L.svd(x)[::2],
            )
        ]  # fmt: skip

    made = iter(on("cuda", tmp_path, build, *args))
    tolerance = TOLERANCE[dtype]
    for (name, _), x in zip(HARD.items(), args, strict=True):
        q, r, u, s, vh, whole_u, whole_vh = (next(made).astype("float64") for _ in range(7))
        m, n = x.shape[-2:]
        scale = float(np.abs(x).max(initial=0)) * 4
        close(q @ r, x, scale, tolerance, f"qr {name}")
        np.testing.assert_array_equal(r, np.triu(r))
        close((u * s[..., None, :]) @ vh, x, scale, tolerance, f"svd {name}")
        wanted = np.linalg.svd(x.astype("float64"), compute_uv=False)
        close(s, wanted, scale, tolerance, f"singular values {name}")
        for basis in (turn(q) @ q, turn(u) @ u, vh @ turn(vh), turn(whole_u) @ whole_u,
                      whole_vh @ turn(whole_vh)):  # fmt: skip
            unit = np.broadcast_to(np.eye(basis.shape[-1]), basis.shape)
            close(basis, unit, 1, tolerance, f"basis {name}")
        assert (whole_u.shape[-1], whole_vh.shape[-2]) == (m, n)


SYMMETRIC = {
    "square": HARD["square"] + turn(HARD["square"]),
    "larger than a warp": low_rank(35, 35, 35),
    "one": np.array([[-2.5]]),
    "unit": np.eye(4) * 3,
    "of rank 1": np.ones((5, 5)),
    "of zeros": np.zeros((3, 3)),
    "of two values": np.diag([2.0, 1, 2, 1, 2]),
    "of small numbers": np.array([[1e-30, 2e-30], [2e-30, 3e-30]]),
    "without rows": np.zeros((0, 0)),
}


@every_dtype
def test_eigenvalues(dtype: str, tmp_path: Path) -> None:
    args = [x.astype(dtype) for x in SYMMETRIC.values()]

    def build(*xs: Any) -> list[Any]:
        return [y for x in xs for y in L.eigh(x)]

    made = iter(on("cuda", tmp_path, build, *args))
    for (name, _), x in zip(SYMMETRIC.items(), args, strict=True):
        w, v = (next(made).astype("float64") for _ in range(2))
        x = (x.astype("float64") + turn(x)) / 2
        scale = float(np.abs(x).max(initial=0)) * 8
        close(v * w[..., None, :] @ turn(v), x, scale, TOLERANCE[dtype], name)
        unit = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
        close(turn(v) @ v, unit, 1, TOLERANCE[dtype], name)
        close(w, np.linalg.eigvalsh(x), scale, TOLERANCE[dtype], name)


@every_dtype
def test_systems(dtype: str, tmp_path: Path) -> None:
    sizes = [(3, 4, 4), (1, 1), (33, 33), (0, 0), (2, 0, 3, 3)]
    args = [(RNG.normal(size=shape) + 3 * np.eye(shape[-1])).astype(dtype) for shape in sizes]
    tolerance = TOLERANCE[dtype] * 10

    def build(*xs: Any) -> list[Any]:
        made: list[Any] = []
        for x in xs:
            made += [L.inv(x), L.det(x), *L.slogdet(x), L.cholesky(sn.matmul(x, x.mT))]
            for upper in (False, True):
                made.append(L.solve_triangular(x, x, upper=upper))
                made.append(L.solve_triangular(x, x, upper=upper, left=False))
        return made

    made = iter(on("cuda", tmp_path, build, *args))
    for x in args:
        x = x.astype("float64")
        inverse, det, sign, size, factor, *solved = (next(made).astype("float64") for _ in range(9))
        unit = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
        close(inverse @ x, unit, 1, tolerance, "inv")
        np.testing.assert_allclose(det, np.linalg.det(x), rtol=tolerance)
        np.testing.assert_array_equal(sign, np.linalg.slogdet(x)[0])
        np.testing.assert_allclose(size, np.linalg.slogdet(x)[1], rtol=tolerance)
        close(factor @ turn(factor), x @ turn(x), 100, tolerance, "cholesky")
        np.testing.assert_array_equal(factor, np.tril(factor))
        for (left, right), part in zip((solved[:2], solved[2:]), (np.tril, np.triu), strict=True):
            close(part(x) @ left, x, 100, tolerance, "left")
            close(right @ part(x), x, 100, tolerance, "right")


@pytest.mark.parametrize(
    ("build", "bad"),
    [
        (L.inv, np.zeros((3, 3))),
        (L.cholesky, np.diag([1.0, -1.0, 1.0])),
        (L.cholesky, np.full((2, 2), np.nan)),
        (L.eigvalsh, np.full((3, 3), np.nan)),
        (L.svdvals, np.full((2, 3), np.inf)),
    ],
    ids=["singular", "indefinite", "nan", "nan of eigh", "infinity of svd"],
)
def test_a_failure_is_told_and_nothing_updated(build: Any, bad: Any, tmp_path: Path) -> None:
    x = sn.placeholder(bad.shape, "float64")
    state = sn.variable(np.float64(1))
    step = sn.function([x], [], {state: state + sn.sum(build(x))}, device="numpy")
    machine = Machine(lower(step), tmp_path)
    failed, _, (after,) = machine.run([bad], [np.array(1.0)])
    assert machine.program.sites[failed - 1].op.error is sn.linalg.LinAlgError
    assert after == 1
    failed, _, (after,) = machine.run([np.eye(*bad.shape)], [np.array(1.0)])
    assert (failed, after > 1) == (0, True)


@pytest.mark.slow
def test_inside_of_loops_and_choices(tmp_path: Path) -> None:
    a, b = RNG.normal(size=(4, 3, 3)) + 3 * np.eye(3), RNG.normal(size=3)

    def build(a: Any, b: Any) -> list[Any]:
        last, sizes = sn.scan(lambda x, m: (L.solve(m, x), L.svdvals(m)[0]), b, a)
        chosen = sn.cond(sn.sum(b) > -1e9, L.inv, lambda m: m, a)
        return [last, sizes, chosen, *sn.grad(sn.sum(last) + sn.sum(sizes), [a, b])]

    for got, want in zip(
        on("cuda", tmp_path, build, a, b), on("numpy", tmp_path, build, a, b), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
