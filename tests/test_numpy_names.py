"""Functions that NumPy, SciPy and PyTorch have: values, derivatives, symbolic and empty axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy_names import CASES, COUNTS, Array, Call, Case
from samples import r

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError

every = pytest.mark.parametrize("name", list(CASES))
SMOOTH = [name for name, case in CASES.items() if case.smooth]


def nodes_of(args: tuple[Array, ...], symbolic: bool = False) -> list[Any]:
    shapes = [tuple(f"d{n}" for n in x.shape) if symbolic else x.shape for x in args]
    return [
        sn.placeholder(s, x.dtype, f"x{i}")
        for i, (s, x) in enumerate(zip(shapes, args, strict=True))
    ]


def reference(case: Case) -> Any:
    with np.errstate(all="ignore"):
        if not case.torch:
            return case.theirs(*case.args)
        torch = pytest.importorskip("torch")
        return case.theirs(torch, *map(torch.from_numpy, case.args)).numpy()


@every
def test_values(name: str) -> None:
    case = CASES[name]
    wanted = np.asarray(reference(case))
    xs = nodes_of(case.args)
    graph = sn.function(xs, case.ours(*xs), device="numpy")(*case.args)
    at_once = case.ours(*map(sn.dynamic.tensor, case.args)).numpy()
    for got in (graph, at_once):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(got, wanted, 1e-12, 1e-14)


SQUARE = {  # whose shapes need numbers
    "diagonal", "diagonal above", "diagonal below", "diagonal, turned", "diagonal beyond",
    "diag of a matrix", "trace", "trace of stacks", "gradient, places", "polyval", "logspace",
    "geomspace", "geomspace, open", "average, a vector",
}  # fmt: skip
_CONSTANTS = ("HOLES", "nan", "NaN", "heaviside at", "isclose, s", "beta 0", "bincount")
MIXED = {name for name in CASES if any(part in name for part in _CONSTANTS)}


@pytest.mark.parametrize("name", [n for n in CASES if n not in SQUARE | MIXED | {"interp"}])
def test_symbolic_dims(name: str) -> None:
    case = CASES[name]
    xs = nodes_of(case.args, symbolic=True)
    got = sn.function(xs, case.ours(*xs), device="numpy")(*case.args)
    np.testing.assert_allclose(got, reference(case), 1e-12, 1e-14)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_against_finite_differences(name: str) -> None:
    """The first and the second, along a random direction."""
    case = CASES[name]
    xs = nodes_of(case.args)
    rng = np.random.default_rng(4)
    y = case.ours(*xs)
    loss = sn.sum(y * rng.uniform(0.5, 1.5, y.shape))
    grads = sn.grad(loss, xs)
    slope = sum(
        (sn.sum(g * rng.uniform(0.5, 1.5, g.shape)) for g in grads), sn.constant(0.0, "f64")
    )
    curvature = sn.grad(slope, xs, allow_unused=True)
    f = sn.function(xs, [loss, slope, *grads, *curvature], device="numpy")
    ds, h, n = [rng.uniform(-1, 1, a.shape) for a in case.args], 1e-6, len(xs)
    plus = f(*(a + h * d for a, d in zip(case.args, ds, strict=True)))
    minus = f(*(a - h * d for a, d in zip(case.args, ds, strict=True)))
    here = f(*case.args)
    for order, found in ((0, here[2 : 2 + n]), (1, here[2 + n :])):
        along = sum(float(np.sum(g * d)) for g, d in zip(found, ds, strict=True))
        measured = (plus[order] - minus[order]) / (2 * h)
        assert along == pytest.approx(measured, rel=2e-6, abs=2e-7)
    tensors = [sn.dynamic.tensor(a, requires_grad=True) for a in case.args]
    again = np.random.default_rng(4).uniform(0.5, 1.5, y.shape)
    sn.sum(case.ours(*tensors) * again).backward()
    for tensor, g in zip(tensors, here[2:], strict=False):
        np.testing.assert_allclose(tensor.grad.numpy(), g, 1e-10, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", SMOOTH)
def test_narrow_dtypes_keep_theirs(name: str, dtype: str) -> None:
    case = CASES[name]
    if any(c in name for c in MIXED) or "quantile by" in name:
        pytest.skip("constants of float64 take part")
    xs = [sn.placeholder(x.shape, dtype, f"x{i}") for i, x in enumerate(case.args)]
    y = case.ours(*xs)
    assert y.dtype == dtype
    got = sn.function(xs, y, device="numpy")(*(x.astype(dtype) for x in case.args))
    rtol = 2e-5 if dtype == "float32" else 0.15
    np.testing.assert_allclose(got.astype("f8"), reference(case), rtol, rtol)


def test_integers() -> None:
    i, j = np.array([7, -7, 7, -7, 0, 5]), np.array([3, 3, -3, -3, 2, 0])

    def value(y: Any) -> Any:
        return sn.function([], y, device="numpy")()

    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(value(sn.fmod(i, j)), np.fmod(i, j))
    np.testing.assert_array_equal(value(sn.trace(np.ones((3, 3), "i4"))), 3)
    assert sn.trace(np.ones((3, 3), "i4")).dtype == np.int64
    np.testing.assert_array_equal(value(sn.diag(np.array([True, False]))), np.diag([True, False]))
    np.testing.assert_array_equal(value(sn.kron(i, j)), np.kron(i, j))
    np.testing.assert_array_equal(value(sn.fmax(i, j)), np.fmax(i, j))
    np.testing.assert_array_equal(value(sn.nansum(i)), i.sum())
    for f in (sn.median, sn.nanmean, sn.sinc, sn.exp2, sn.deg2rad):
        got = value(f(np.array([1, 2, 4])))
        assert got.dtype == np.float32
        name = f.__name__
        np.testing.assert_allclose(got, getattr(np, name)(np.array([1, 2, 4])), 1e-6, 1e-6)
    assert value(sn.isclose(2**53, np.array([2**53 + 2]))).all()


def test_empty_axes() -> None:
    def value(y: Any) -> Any:
        return sn.function([], y, device="numpy")()

    empty = np.zeros((0, 3))
    for f in (np.diagonal, np.trace, np.kron, np.nansum, np.trapezoid, np.rot90, np.diag):
        args = (empty, empty) if f is np.kron else (empty,)
        wanted = f(*args)
        got = value(getattr(sn, f.__name__)(*map(sn.constant, args)))
        np.testing.assert_array_equal(got, wanted, err_msg=f.__name__)
    for g in (sn.median, sn.nanmedian, lambda x: sn.quantile(x, 0.5, 0), sn.nanmax):
        with pytest.raises(ShapeError, match="no value on an empty axis"):
            g(sn.constant(empty))
    assert value(sn.median(sn.constant(empty), 1)).shape == (0,)
    assert value(sn.bincount(np.zeros(0, int), minlength=2)).tolist() == [0, 0]


class TestBincount:
    def test_of_tensors_the_length_follows_values(self) -> None:
        for length in (0, 3, 9):
            got = sn.bincount(sn.dynamic.tensor(COUNTS), minlength=length).numpy()
            np.testing.assert_array_equal(got, np.bincount(COUNTS, minlength=length))

    def test_of_nodes_it_is_given(self) -> None:
        x = sn.placeholder(("n",), "uint8", "x")
        f = sn.function([x], sn.bincount(x, minlength=300), device="numpy")
        got = f(COUNTS.astype("u1"))
        np.testing.assert_array_equal(got, np.bincount(COUNTS, minlength=300))
        with pytest.raises(ArgumentError, match="bincount: .*pass minlength="):
            sn.bincount(x)
        for wrong in (4, -1):
            y = sn.placeholder((1,), "int64", "y")
            g = sn.function([y], sn.bincount(y, minlength=4), device="numpy")
            with pytest.raises(OutOfRangeError):
                g([wrong])

    def test_bad_input(self) -> None:
        with pytest.raises(DTypeError, match="bincount: takes integer"):
            sn.bincount(np.ones(3), minlength=2)
        with pytest.raises(ShapeError, match=r"bincount: \[2\] weights for \[3\]"):
            sn.bincount(np.ones(3, int), np.ones(2), minlength=2)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: sn.median(x, method="linear"), "there is no argument 'method'"),
        (lambda x: sn.quantile(x, 1.5), r"quantile: q must be numbers in \[0, 1\]"),
        (lambda x: sn.quantile(x, 0.5, method="best"), "quantile: method must be one of linear"),
        (lambda x: sn.diagonal(x, 0, 1, 1), "diagonal: takes two axes"),
        (lambda x: sn.diagonal(sn.placeholder(("m", "n"))), r"diagonal: .*\[m, n\] has no length"),
        (lambda x: sn.addmm(x, x[0], x), "addmm: takes matrices"),
        (lambda x: sn.rot90(x, 1, (0, 0)), "rot90: takes two axes"),
        (lambda x: sn.cov(x[None]), "cov: takes a vector or a matrix"),
        (lambda x: sn.digitize(x, [0, 2, 1]), "digitize: bins must ascend or descend"),
        (lambda x: sn.interp(x, [1.0], [1.0]), "interp: takes two vectors of points"),
        (lambda x: sn.inner(x, x[:, :2]), "inner: lengths differ: 4 and 2"),
        (lambda x: sn.vander(x), "vander: takes a vector"),
        (lambda x: sn.cummax(x), "cummax: needs an axis for 2 axes"),
    ],
)  # fmt: skip
def test_bad_input(f: Call, message: str) -> None:
    with pytest.raises((ArgumentError, ShapeError), match=message):
        f(sn.placeholder((3, 4), name="x"))


def test_diagonals_of_symbolic_squares() -> None:
    x = sn.placeholder(("n", "n"), "float64", "x")
    value = r(4, 4)
    for k in (0, 1, -2):
        f = sn.function([x], [sn.diagonal(x, k), sn.trace(x, k)], device="numpy")
        diagonal, trace = f(value)
        np.testing.assert_array_equal(diagonal, np.diagonal(value, k))
        np.testing.assert_allclose(trace, np.trace(value, k))


FEW = ["lerp", "diagonal below", "median", "nanmean", "bincount", "interp", "sinc", "fmod"]


@pytest.mark.parametrize("name", [*FEW, "quantiles along", "kron", "diag above", "cummax"])
def test_many_examples(name: str) -> None:
    case = CASES[name]
    pairs = [np.stack([x, x[::-1]]) for x in case.args]
    xs = nodes_of(tuple(pairs))
    found = sn.function(xs, sn.vmap(case.ours)(*xs), device="numpy")(*pairs)
    one = nodes_of(case.args)
    alone = sn.function(one, case.ours(*one), device="numpy")
    for k in range(2):
        np.testing.assert_allclose(found[k], alone(*(x[k] for x in pairs)), 1e-12, 1e-13)


@pytest.mark.parametrize("names", [FEW, pytest.param(list(CASES), marks=pytest.mark.slow)])
def test_compiled(names: list[str]) -> None:
    """One C program of several."""
    cases = [CASES[name] for name in names]
    feeds = [x for case in cases for x in case.args]
    xs = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(feeds)]
    left = iter(xs)
    made = [case.ours(*(next(left) for _ in case.args)) for case in cases]
    ys = [sn.astype(y, "float64") for y in made]
    wanted = sn.function(xs, ys, device="numpy")(*feeds)
    got = sn.function(xs, ys, device="cpu")(*feeds)
    for name, a, b in zip(names, got, wanted, strict=True):
        np.testing.assert_allclose(a, b, 1e-12, 1e-14, err_msg=name)


def test_running_extrema_of_any_dtype_on_the_cpu() -> None:
    """NaN wins, empty axes stay, and integers have no infinity to start from."""
    value = np.array([[1, 3, np.nan, 2], [-np.inf, 0, np.inf, 1], [0, 0, 5, 4]])
    feeds = [value.astype(d) for d in ("float64", "float32", "float16")]
    whole = np.nan_to_num(value, posinf=7, neginf=1)
    feeds += [whole.astype(d) for d in ("int8", "uint8", "bool")]
    feeds.append(np.zeros((0, 3)))
    xs = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(feeds)]
    found = sn.function(xs, [f(x, 1) for x in xs for f in (sn.cummax, sn.cummin)], device="cpu")
    results = iter(found(*feeds))
    for x in feeds:
        for f in (np.maximum, np.minimum):
            got, wanted = next(results), f.accumulate(x, 1)
            assert got.dtype == wanted.dtype
            np.testing.assert_array_equal(got, wanted)


def test_sums_of_16_bits_do_not_overflow() -> None:
    x, w = np.full((4000, 1), 3, "f2"), np.full((4000, 1), 20, "f2")
    wide = sn.average(sn.constant(x), weights=sn.constant(w))
    counts, edges = sn.histogram(sn.constant(np.array([-6e4, 0, 6e4], "f2")), 2)
    slow = sn.polyval(sn.constant(np.array([1, 0, 0], "f2")), sn.constant(np.array([300], "f4")))
    got = sn.function([], [wide, counts, edges, slow], device="numpy")()
    for a, b in zip(got, (3, [1, 2], [-6e4, 0, 6e4], [9e4]), strict=True):
        np.testing.assert_allclose(a, np.array(b, a.dtype))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sn.histogram(x, range=(1,)), r"range must be \(low, high\)"),
        (lambda x: sn.histogram(x, range=(2, 1)), "range must ascend"),
        (lambda x: sn.histogram(x, [3, 2, 1]), "edges must ascend"),
        (lambda x: sn.percentile(x, 101), r"q must be numbers in \[0, 100\], not 101"),
        (lambda x: sn.unwrap(x, period=-3), "period must be positive"),
        (lambda x: sn.geomspace("a", 2, 3), "start and stop must be numbers"),
        (lambda x: sn.geomspace(-1, 2, 3), "must have one sign"),
        (lambda x: sn.gradient(x, axis=(0, 0)), "(?i)axes|axis"),
    ],
)
def test_what_curves_and_counts_refuse(call: Any, message: str) -> None:
    with pytest.raises(sn.errors.StaticnetError, match=message):
        call(sn.placeholder((4,), name="refused"))
