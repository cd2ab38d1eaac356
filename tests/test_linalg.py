"""`sn.linalg`: values beside NumPy's, equations, edges, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, LinAlgError, ShapeError

L = sn.linalg
RNG = np.random.default_rng(7)
BATCHES: list[tuple[int, ...]] = [(), (2, 3), (0,)]
DTYPES = ("float32", "float64")
Build = Callable[..., Any]


def square(*shape: int) -> Any:
    """Matrices far from singular."""
    return RNG.normal(size=shape) + 2 * np.eye(shape[-1])


def definite(*shape: int) -> Any:
    x = RNG.normal(size=shape)
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])


def together(device: str, *cases: Any) -> list[list[Any]]:
    """What functions of matrices give on a device, each `(function, *arrays)`, in one program."""
    if device == "dynamic":
        found = [_listed(build(*map(sn.dynamic.tensor, args))) for build, *args in cases]
        return [[y.numpy() for y in made] for made in found]
    nodes = [[sn.placeholder(a.shape, a.dtype) for a in args] for _, *args in cases]
    made = [_listed(build(*xs)) for (build, *_), xs in zip(cases, nodes, strict=True)]
    step = sn.function(
        [x for xs in nodes for x in xs], [y for ys in made for y in ys], device=device
    )
    got = iter(step(*(a for _, *args in cases for a in args)))
    return [[next(got) for _ in ys] for ys in made]


def _listed(made: Any) -> list[Any]:
    return list(made) if isinstance(made, list | tuple) else [made]


def on(device: str, build: Build, *arrays: Any) -> list[Any]:
    """What a function of matrices gives on a device, one result or several."""
    return together(device, (build, *arrays))[0]


def close(got: Any, want: Any, dtype: str = "float64") -> None:
    assert got.dtype == np.dtype(dtype)
    assert got.shape == want.shape
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


DEVICES = ["numpy", "cpu", "dynamic"]
every_device = pytest.mark.parametrize("device", DEVICES)


ONE = {
    "inv": (L.inv, np.linalg.inv, square),
    "det": (L.det, np.linalg.det, square),
    "cholesky": (L.cholesky, np.linalg.cholesky, definite),
    "upper": (
        lambda x: L.cholesky(x, upper=True),
        lambda x: np.swapaxes(np.linalg.cholesky(x), -1, -2),
        definite,
    ),
    "eigvalsh": (L.eigvalsh, np.linalg.eigvalsh, definite),
    "power 0": (lambda x: L.matrix_power(x, 0), lambda x: np.linalg.matrix_power(x, 0), square),
    "power 5": (lambda x: L.matrix_power(x, 5), lambda x: np.linalg.matrix_power(x, 5), square),
    "power -3": (lambda x: L.matrix_power(x, -3), lambda x: np.linalg.matrix_power(x, -3), square),
}


@every_device
def test_square_matrices_beside_numpy(device: str) -> None:
    cases, wanted = [], []
    for batch in BATCHES:
        for n in (0, 1, 4):
            for dtype in DTYPES:
                for ours, theirs, make in ONE.values():
                    x = make(*batch, n, n).astype(dtype)
                    cases.append((ours, x))
                    wanted.append((np.asarray(theirs(x.astype("float64"))), dtype))
    for (got,), want in zip(together(device, *cases), wanted, strict=True):
        close(got, *want)


def _decompose(x: Any) -> Any:
    made = [*L.qr(x), *L.qr(x, mode="complete"), *L.svd(x, full_matrices=False), *L.svd(x)]
    return [*made, L.svdvals(x), L.pinv(x)]


@every_device
def test_decompositions_make_up_the_matrix(device: str) -> None:
    shapes = [(4, 4), (5, 3), (2, 4), (3, 1), (0, 3), (3, 0)]
    args = [
        RNG.normal(size=(*batch, *shape)).astype(dtype)
        for batch in BATCHES
        for shape in shapes
        for dtype in DTYPES
    ]
    found = together(device, *((_decompose, x) for x in args))
    for x, (*made, values, inverse) in zip(args, found, strict=True):
        (*batch, m, n), dtype = x.shape, str(x.dtype)
        k = min(m, n)
        singular = np.linalg.svd(x, compute_uv=False)
        for columns, (q, r) in ((k, made[:2]), (m, made[2:4])):
            assert (q.shape, r.shape) == ((*batch, m, columns), (*batch, columns, n))
            close(q @ r, x, dtype)
            close(np.swapaxes(q, -1, -2) @ q, _units(batch, columns, dtype), dtype)
            np.testing.assert_array_equal(r, np.triu(r))
        for rows, columns, (u, s, vh) in ((k, k, made[4:7]), (m, n, made[7:])):
            assert (u.shape, vh.shape) == ((*batch, m, rows), (*batch, columns, n))
            close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x, dtype)
            close(np.swapaxes(u, -1, -2) @ u, _units(batch, rows, dtype), dtype)
            close(vh @ np.swapaxes(vh, -1, -2), _units(batch, columns, dtype), dtype)
            close(s, singular, dtype)
        close(values, singular, dtype)
        close(inverse, np.linalg.pinv(x.astype("float64")), dtype)


def _units(batch: Any, n: int, dtype: str) -> Any:
    return np.broadcast_to(np.eye(n, dtype=dtype), (*batch, n, n))


@every_device
def test_eigenvectors(device: str) -> None:
    args = [
        definite(*batch, n, n).astype(dtype)
        for batch in BATCHES
        for n in (0, 1, 5)
        for dtype in DTYPES
    ]
    for x, (w, v) in zip(args, together(device, *((L.eigh, x) for x in args)), strict=True):
        dtype = str(x.dtype)
        close(v * w[..., None, :] @ np.swapaxes(v, -1, -2), x, dtype)
        close(np.swapaxes(v, -1, -2) @ v, _units(x.shape[:-2], x.shape[-1], dtype), dtype)
        assert (np.diff(w, axis=-1) >= 0).all()


@every_device
def test_slogdet(device: str) -> None:
    args = [RNG.normal(size=(4, n, n)) for n in (0, 1, 2, 5)]
    for x, got in zip(args, together(device, *((L.slogdet, x) for x in args)), strict=True):
        for part, wanted in zip(got, np.linalg.slogdet(x), strict=True):
            close(part, wanted)


def test_determinants_of_singular_matrices() -> None:
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    for y in (x, x * 0, np.diag([0.0, 3.0, 0.0])):
        sign, size = on("numpy", L.slogdet, y)
        assert (sign, size) == (0, -np.inf)
        assert on("numpy", L.det, y)[0] == 0


NAMES = ("upper", "left", "unitriangular")
SYSTEMS = [((3, 3), (3,)), ((2, 3, 3), (3,)), ((3, 3), (4, 3, 2)), ((2, 1, 3, 3), (4, 3, 2)),
           ((2, 3, 3), (3, 0)), ((0, 0), (0, 2)), ((0, 3, 3), (3, 1))]  # fmt: skip


@every_device
def test_solve(device: str) -> None:
    args = [(square(*a), RNG.normal(size=b)) for a, b in SYSTEMS]
    for (a, b), (x,) in zip(
        args, together(device, *((L.solve, *pair) for pair in args)), strict=True
    ):
        close(x, np.linalg.solve(a, b))


@every_device
def test_solve_triangular(device: str) -> None:
    cases: list[Any] = []
    options = [dict(zip(NAMES, flags, strict=True)) for flags in product([False, True], repeat=3)]
    batches = [((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,))]
    for o, (a_batch, b_batch) in product(options, batches):
        b_shape = (3, 2) if o["left"] else (2, 3)
        build = partial(L.solve_triangular, **o)
        cases.append((build, square(*a_batch, 3, 3), RNG.normal(size=(*b_batch, *b_shape))))
    for (build, a, b), (x,) in zip(cases, together(device, *cases), strict=True):
        o = build.keywords
        unit = int(o["unitriangular"])
        t = np.triu(a, unit) if o["upper"] else np.tril(a, -unit)
        t = t + unit * np.eye(3)
        close(t @ x if o["left"] else x @ t, np.broadcast_to(b, x.shape))


def test_rank_counts_singular_values() -> None:
    x = np.stack([np.eye(3), np.diag([1.0, 1e-20, 2]), np.zeros((3, 3))])
    (rank,) = on("numpy", L.matrix_rank, x)
    assert rank.dtype == np.int64
    np.testing.assert_array_equal(rank, [3, 2, 0])
    y = np.diag([1.0, 0.1, 0.01])
    for rtol, want in ((0.5, 1), (0.05, 2), (0.001, 3)):
        assert on("numpy", lambda y, t=rtol: L.matrix_rank(y, rtol=t), y) == [want]
    tolerances = sn.constant(np.array([0.5, 0.05]))
    (ranks,) = on("numpy", lambda y: L.matrix_rank(y, rtol=tolerances), np.stack([y, y]))
    np.testing.assert_array_equal(ranks, [1, 2])
    (cut,) = on("numpy", lambda y: L.pinv(y, rtol=0.05), y)
    close(cut, np.linalg.pinv(y, rtol=0.05))


def test_norms_beside_numpy(subtests: Any) -> None:
    x = RNG.normal(size=(2, 3, 4))
    x[0, 1] = 0
    for order in (0, 1, 2, 3, 2.5, -1, -2, np.inf, -np.inf):
        with subtests.test(vector=order), np.errstate(divide="ignore"):
            for axis, kept in ((1, False), (-1, True), (0, False)):
                want = np.linalg.norm(x, order, axis, kept)
                for f in (L.norm, L.vector_norm):

                    def build(x: Any, f: Any = f, order: Any = order) -> Any:
                        return f(x, ord=order, axis=axis, keepdims=kept)  # noqa: B023

                    close(on("numpy", build, x)[0], want)
            want = np.linalg.vector_norm(x, ord=order)
            close(on("numpy", lambda x, o=order: L.vector_norm(x, ord=o), x)[0], np.asarray(want))
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        with subtests.test(matrix=order):
            for axes, kept in (((0, 1), False), ((2, 0), True)):
                want = np.linalg.norm(x, order, axes, kept)
                (got,) = on("numpy", lambda x, a=axes, k=kept, o=order: L.norm(x, o, a, k), x)
                close(got, want)
            want = np.linalg.matrix_norm(x, ord=order, keepdims=True)
            (got,) = on("numpy", lambda x, o=order: L.matrix_norm(x, ord=o, keepdims=True), x)
            close(got, want)
    for y in (x, x[0], x[0, 0]):
        close(on("numpy", L.norm, y)[0], np.asarray(np.linalg.norm(y)))
    for axes in ((0, 2), (1, 2)):
        close(on("numpy", lambda x, a=axes: L.norm(x, axis=a), x)[0], np.linalg.norm(x, axis=axes))


def test_condition_numbers_beside_numpy() -> None:
    x = square(2, 3, 3)
    for p in (None, 2, -2, 1, -1, "fro", "nuc", np.inf, -np.inf):
        close(on("numpy", lambda x, p=p: L.cond(x, p), x)[0], np.linalg.cond(x, p))
    y = RNG.normal(size=(4, 2))
    close(on("numpy", L.cond, y)[0], np.asarray(np.linalg.cond(y)))


def test_names_of_others_say_what_to_use() -> None:
    with pytest.raises(AttributeError, match=r"lstsq.*pinv\(a\) @ b"):
        _ = L.lstsq
    with pytest.raises(AttributeError, match="eigh"):
        _ = L.eig


@pytest.mark.parametrize("order", [0.5, -1, -3.5, 1.5, 3])
def test_gradients_of_norms_at_zeros_are_pytorchs(order: float) -> None:
    torch = pytest.importorskip("torch")
    for values in ([0.0, 1.0, -2.0, 0.0], [0.0, 0.0]):
        x = np.array(values)
        leaf = torch.tensor(x, requires_grad=True)
        torch.linalg.vector_norm(leaf, order).backward()
        (got,) = on("numpy", lambda x: sn.grad(L.vector_norm(x, ord=order), [x])[0], x)
        close(got, leaf.grad.numpy())


def test_norms_of_16_bits_are_rounded_once() -> None:
    x = np.full((40, 40), 200.0, "float16")  # whose squares add up to infinity
    for build in (L.norm, L.vector_norm, L.matrix_norm, lambda x: L.matrix_norm(x, ord=2)):
        (got,) = on("numpy", build, x)
        assert (got.dtype, float(got)) == (np.float16, 8000)


def test_diagonals_traces_and_products_beside_numpy() -> None:
    for shape in ((3, 4), (2, 4, 3), (3, 0), (0, 3), (2, 1, 1)):
        for dtype in ("float64", "int32"):
            x = RNG.integers(-9, 9, shape).astype(dtype)
            for k in range(-5, 6):
                want = np.diagonal(x, k, -2, -1)
                (got,) = on("numpy", lambda x, k=k: L.diagonal(x, offset=k), x)
                np.testing.assert_array_equal(got, want)
                (got,) = on("numpy", lambda x, k=k: L.trace(x, offset=k), x)
                np.testing.assert_array_equal(got, np.trace(x, k, -2, -1))
                assert got.dtype == (np.float64 if dtype == "float64" else np.int64)
    a, b = RNG.normal(size=(2, 1, 3)), RNG.normal(size=(4, 3))
    close(on("numpy", L.cross, a, b)[0], np.cross(a, b))
    c, d = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2))
    close(on("numpy", lambda a, b: L.cross(a, b, axis=0), c, d)[0], np.cross(c, d, axis=0))
    assert L.matmul is sn.matmul
    assert L.tensordot is sn.tensordot


def test_symbolic_batches_and_sizes() -> None:
    b, n = sn.Dim("b"), sn.Dim("n")
    x = sn.placeholder((b, 3, 3), "float64", "x")
    y = sn.placeholder((n, n), "float64", "y")
    outputs = [L.inv(x), L.det(x), *L.eigh(x), *L.svd(x), *L.qr(x), L.trace(x)]
    f = sn.function([x, y], [*outputs, L.inv(y), L.det(y), L.diagonal(y), L.svdvals(y)])
    for sizes in ((2, 3), (4, 1)):
        a, c = definite(sizes[0], 3, 3), square(sizes[1], sizes[1])
        got = f(a, c)
        close(got[0], np.linalg.inv(a))
        close(got[1], np.linalg.det(a))
        close(got[9], np.trace(a, axis1=1, axis2=2))
        close(got[10], np.linalg.inv(c))
        close(got[11], np.asarray(np.linalg.det(c)))
        np.testing.assert_array_equal(got[12], np.diagonal(c))
        close(got[13], np.linalg.svd(c, compute_uv=False))


def test_integers_and_lists_are_floats() -> None:
    assert on("numpy", L.det, np.array([[2, 1], [1, 3]]))[0].dtype == np.float32
    x = sn.dynamic.tensor([[2.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(L.solve(x, [2.0, 4.0]).numpy(), [1, 1])


# --- what can go wrong ---------------------------------------------------------------------------


@every_device
def test_matrices_without_an_answer_raise(device: str, subtests: Any) -> None:
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    for name, build, bad in (
        ("solve", lambda x: L.solve(x, np.ones(2)), singular),
        ("inv", L.inv, singular),
        ("power", lambda x: L.matrix_power(x, -1), singular),
        ("solve_triangular", lambda x: L.solve_triangular(x, x, upper=True), np.diag([1.0, 0])),
        ("cholesky", L.cholesky, -np.eye(2)),
        ("cholesky", L.cholesky, np.full((2, 2), np.nan)),
        ("eigh", L.eigh, np.full((2, 2), np.inf)),
        ("svd", L.svd, np.full((2, 3), np.nan)),
    ):
        with subtests.test(name=name), pytest.raises(LinAlgError, match=r"\(.*test_linalg.py:\d+"):
            on(device, build, bad)
    with pytest.raises(np.linalg.LinAlgError):
        on(device, L.inv, singular)


def test_a_step_that_fails_updates_nothing() -> None:
    state = sn.variable(np.zeros(2), "float64")
    a = sn.placeholder((2, 2), "float64")
    step = sn.function([a], [], updates=[(state, state + L.solve(a, np.ones(2)))])
    with pytest.raises(LinAlgError):
        step(np.zeros((2, 2)))
    np.testing.assert_array_equal(state.value, [0, 0])
    step(np.eye(2))
    np.testing.assert_array_equal(state.value, [1, 1])


def test_bad_arguments_name_the_function() -> None:
    x, v = sn.placeholder((2, 3), "float64", "x"), sn.placeholder((3,), "float64", "v")
    b = sn.Dim("b")
    for build, error, match in (
        (lambda: L.inv(x), ShapeError, r"inv: takes square matrices, not \[2,3\]: x f64\[2,3\]"),
        (lambda: L.det(v), ShapeError, "det: takes a matrix"),
        (lambda: L.solve(sn.eye(3), sn.zeros((2, 2))), ShapeError, r"solve: .*does not fit"),
        (lambda: L.solve(sn.zeros((2, 3, 3)), sn.zeros((4, 3, 1))), ShapeError, "broadcast"),
        (lambda: L.cholesky(sn.astype(x, "float16")), DTypeError, "float32 or float64"),
        (lambda: L.qr(x, mode="r"), ArgumentError, "mode must be"),
        (lambda: L.matrix_norm(x, ord=3), ArgumentError, "ord must be"),
        (lambda: L.vector_norm(x, ord="fro"), ArgumentError, "ord must be a number"),
        (lambda: L.norm(sn.zeros((2, 2, 2)), 2), ShapeError, "one axis, or two"),
        (lambda: L.matrix_power(sn.eye(2), 0.5), ArgumentError, "n must be an int"),
        (lambda: L.cross(x, sn.zeros((2, 2))), ShapeError, "3 long"),
        (lambda: L.svd(sn.placeholder((b, 3))), ShapeError, "fixed sizes"),
        (lambda: L.eigh(3.0), ShapeError, "eigh: takes a matrix"),
    ):
        with pytest.raises(error, match=match):
            build()
