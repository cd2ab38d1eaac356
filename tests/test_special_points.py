"""Values and derivatives where formulas break down, on NumPy, compiled and dynamic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ShapeError
from staticnet.ir.dtype import DTYPES, is_integer

COMPILES = True
inf, nan = np.inf, np.nan
INTEGERS = [name for name, dtype in DTYPES.items() if is_integer(dtype)]


def everywhere(f: Callable[..., Any], *xs: Any) -> list[Any]:
    """The result of f on the reference, on the CPU, and dynamically."""
    nodes = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(xs)]
    results = [sn.function(nodes, f(*nodes), device=device)(*xs) for device in ("numpy", "cpu")]
    return [*results, np.asarray(f(*map(sn.dynamic.tensor, xs)).data)]


def check(f: Callable[..., Any], *xs: Any, equal: Any) -> None:
    """The value everywhere; the sign of a zero is part of it."""
    for got in everywhere(f, *xs):
        np.testing.assert_array_equal(got, equal)
        if got.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(got), np.signbit(equal))


def derivatives(f: Callable[[Any], Any], at: float, order: int, dtype: str = "float64") -> Any:
    """f and its derivatives at a point, in a graph and on a tape."""
    x = sn.placeholder((), dtype, "x")
    nodes = [f(x)]
    for _ in range(order):
        nodes += sn.grad(nodes[-1], [x], allow_unused=True)
    t = sn.dynamic.tensor(at, dtype, requires_grad=True)
    tensors = [f(t)]
    for _ in range(order):
        y = tensors[-1]
        if y.requires_grad:
            tensors += sn.dynamic.grad(y, [t], create_graph=True, allow_unused=True)
        else:
            tensors.append(sn.zeros_like(t))
    made = sn.function(x, nodes, device="numpy", numerics="exact")(np.asarray(at, dtype))
    np.testing.assert_array_equal(made, [y.data for y in tensors])
    return np.array(made)


@pytest.mark.parametrize("n", range(6))
def test_powers_at_zero_have_all_derivatives(n: int) -> None:
    """Those of x**n at 0: n! for order n, else 0."""
    wanted = [float(np.prod(np.arange(1.0, n + 1))) if k == n else 0.0 for k in range(n + 4)]
    for at in (0.0, -0.0, 5e-324):
        np.testing.assert_allclose(derivatives(lambda x: x**n, at, n + 3), wanted, atol=1e-300)


def test_an_array_of_powers_at_zero() -> None:
    for exponents in (sn.arange(4, dtype="float64"), np.arange(4.0)):
        found = derivatives(lambda x, e=exponents: sn.sum(x**e), 0.0, 4)
        np.testing.assert_array_equal(found, [1, 1, 2, 6, 0])


def test_the_mixed_derivative_of_a_power_of_exponent_zero() -> None:
    """d(x**y) / dx dy is 1 / x at y = 0."""
    x, y = sn.placeholder((), "float64", "x"), sn.placeholder((), "float64", "y")
    (dx,) = sn.grad(x**y, [x])
    (mixed,) = sn.grad(dx, [y])
    assert sn.function([x, y], mixed, device="numpy")(0.25, 0.0) == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_half_powers_are_those_of_c99(dtype: str) -> None:
    x = np.array([0, -0.0, inf, -inf, 4, -4, nan], dtype)
    wanted = np.array([0, 0, inf, inf, 2, nan, nan], dtype)
    half = np.full(1, 0.5, dtype)
    nodes = [sn.placeholder(a.shape, dtype, name) for a, name in ((x, "x"), (half, "y"))]
    z = nodes[0] ** nodes[1]
    results = [sn.function(nodes, z, device=device)(x, half) for device in ("numpy", "cpu")]
    results += [(sn.dynamic.tensor(x) ** y).data for y in (0.5, sn.dynamic.tensor(half))]
    for device in ("numpy", "cpu"):
        results.append(sn.function(nodes[0], nodes[0] ** 0.5, device=device, numerics="exact")(x))
    for got in results:
        np.testing.assert_array_equal(got, wanted)
        assert not np.signbit(got[:4]).any()


@pytest.mark.parametrize("dtype", [name for name in INTEGERS if name[0] == "i"])
def test_integers_to_negative_powers_are_truncated(dtype: str) -> None:
    x = np.array([2, 1, -1, -1, 0, -2, 7, -1], dtype)
    y = np.array([-1, -3, -1, -2, -1, -1, 2, 3], dtype)
    check(lambda x, y: x**y, x, y, equal=np.array([0, 1, -1, 1, 0, 0, 49, -1], dtype))


def test_clip() -> None:
    """NaN wins, the upper limit beats the lower, and at a limit the slope is 1: as in PyTorch."""
    x = np.array([-2, -1, 0, 1, 2, nan], "f")
    check(lambda x: sn.clip(x, -1, 1), x, equal=np.array([-1, -1, 0, 1, 1, nan], "f"))
    check(lambda x: sn.clip(x, 1, -1), x, equal=np.array([-1, -1, -1, -1, -1, nan], "f"))
    check(lambda x: sn.clip(x, nan, 1.0), x, equal=np.full(6, nan, "f"))
    check(lambda x: sn.clip(x, -1.0, nan), x, equal=np.full(6, nan, "f"))
    check(lambda x: sn.clip(x, 3, 0), np.arange(5), equal=np.zeros(5, int))
    node = sn.placeholder((6,), "float32", "x")
    for low, high, slope in ((-1, 1, [0, 1, 1, 1, 0, 0]), (1, -1, [0] * 6), (nan, 1.0, [0] * 6)):
        (g,) = sn.grad(sn.sum(sn.clip(node, low, high)), [node])
        np.testing.assert_array_equal(sn.function(node, g, device="numpy")(x), slope)


def test_clip_by_arrays_gives_the_gradient_to_the_limit_that_holds() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    x = np.array([-2, 0.5, 3, 0.5, nan, 1])
    low, high = np.array([-1.0, 0, 0, 2, 0, 1]), np.array([1.0, 1, 2, 0, 1, 2])
    ts = [torch.tensor(a, requires_grad=True) for a in (x, low, high)]
    torch.clip(*ts).sum().backward()
    nodes = [sn.placeholder((6,), "float64", name) for name in ("x", "low", "high")]
    slopes = sn.grad(sn.sum(sn.clip(*nodes)), nodes)
    for got, t in zip(sn.function(nodes, slopes, device="numpy")(x, low, high), ts, strict=True):
        np.testing.assert_array_equal(got, t.grad.numpy())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_relu_of_negative_zero(dtype: str) -> None:
    for n in (1, 7, 40):
        x = np.resize(np.array([-0.0, 0, -1, 2, nan, -inf], dtype), n)
        check(sn.relu, x, equal=np.where(x <= 0, dtype == "", x).astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_slopes_do_not_overflow_where_squares_do(dtype: str) -> None:
    """At large arguments, against closed forms in float64."""
    most = float(np.finfo(dtype).max)
    tolerance = 2e-3 if dtype == "float16" else 1e-6
    for x, order in ((np.sqrt(most) * 2, 2), (most / 4, 1)):
        cases: list[tuple[Callable[[Any], Any], float]] = [
            (lambda x: sn.nn.gelu(x, "tanh"), 1), (sn.asinh, 1 / x), (sn.acosh, 1 / x),
            (lambda y: sn.atan2(y, y), 0), (lambda y: sn.hypot(y, 2 * y), 5**0.5),
            (lambda y, x=x: sn.atan2(y, float(x)), 1 / (2 * x)), (sn.atan, 1 / x / x),
            (lambda y: sn.nn.gelu(-y, "tanh"), 0),
        ]  # fmt: skip
        for f, wanted in cases:
            found = derivatives(f, float(np.asarray(x, dtype)), order, dtype)
            assert np.isfinite(found).all()
            least = 4 * float(np.finfo(dtype).smallest_subnormal)
            assert float(found[1]) == pytest.approx(wanted, rel=tolerance, abs=least)


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("target", INTEGERS)
def test_casts_beyond_the_range_of_integers(source: str, target: str) -> None:
    """Toward zero; the nearest end beyond the range; 0 of NaN."""
    info = np.iinfo(target)
    some = [0, -0.0, 0.9, -0.9, 1.5, -1.5, 127.5, 128, -128.5, 255.5, 256, 32768, 65536, -70000]
    powers = [sign * 2.0**n for n in (31, 32, 63, 64, 100) for sign in (1, -1)]
    with np.errstate(over="ignore"):
        x = np.array([*some, *powers, inf, -inf, nan]).astype(DTYPES[source])
    wanted = [
        0 if v != v else min(max(int(np.clip(v, -(2.0**70), 2.0**70)), info.min), info.max)
        for v in x.astype(np.float64).tolist()
    ]
    check(lambda x: sn.astype(x, target), x, equal=np.array(wanted, target))


def test_casts_to_16_bits_round_once() -> None:
    """A double just above a tie, which a float in between would hide."""
    x = np.array([1 + 2**-11 + 2**-40, -(1 + 2**-11 + 2**-40), 1e-300, 1e300, -inf, nan, 3])
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16)
    check(lambda x: sn.astype(x, "float16"), x, equal=wanted)


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("correction", [3, 4, 2.5])
def test_moments_of_too_few_elements(name: str, correction: float) -> None:
    """The divisor is never negative: as NumPy and PyTorch have it."""
    x = np.array([[2, 2, 2], [1, 2, 3], [nan, 0, 0]])
    squares = np.sum((x - np.mean(x, 1, keepdims=True)) ** 2, 1)
    with np.errstate(all="ignore"):
        wanted = squares / max(3 - correction, 0)
        wanted = np.sqrt(wanted) if name == "std" else wanted
    check(lambda x: getattr(sn, name)(x, 1, correction=correction), x, equal=wanted)
    for got in everywhere(lambda x: getattr(sn, name)(x[:, :1], 1, correction=1), x):
        assert np.isnan(got).all()


def test_the_slope_of_std_of_equal_elements_is_zero() -> None:
    for shape in ((2, 3), (2, 1)):
        x = sn.placeholder(shape, "float64", "x")
        (g,) = sn.grad(sn.sum(sn.std(x, 1)), [x])
        assert not sn.function(x, g, device="numpy")(np.ones(shape)).any()


LOSSES: list[tuple[str, list[Any], list[Any], list[Any]]] = [
    # of rows or elements: predictions, targets, losses
    ("cross_entropy", [[-inf, 0, 0], [-inf, -inf, 1]], [[0, 1, 0], [0, 0, 1]], [np.log(2), 0]),
    ("cross_entropy", [[-inf, 0, 0]], [[0.5, 0.5, 0]], [inf]),
    ("binary_cross_entropy_with_logits", [inf, -inf, inf, -inf], [1, 0, 0, 1], [0, 0, inf, inf]),
    ("kl_div", [-inf, -inf], [0, 0.5], [0, inf]),
    ("huber_loss", [inf, -inf], [0, 0], [inf, inf]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "x", "target", "wanted"), LOSSES)
def test_losses_at_infinity(name: str, x: Any, target: Any, wanted: Any) -> None:
    """0 ln 0 is 0."""
    loss = getattr(sn.nn, name)
    arrays = [np.asarray(a, np.float64) for a in (x, target)]
    for got in everywhere(lambda x, t: loss(x, t, reduction="none"), *arrays):
        np.testing.assert_allclose(got, wanted)


def test_slopes_of_losses_at_infinity() -> None:
    x = np.array([inf, -inf])
    for name, target, wanted in (
        ("huber_loss", [0, 0], [1, -1]), ("binary_cross_entropy_with_logits", [1, 0], [0, 0])
    ):  # fmt: skip
        node = sn.placeholder((2,), "float64", "x")
        y = sn.sum(getattr(sn.nn, name)(node, np.asarray(target, float), reduction="none"))
        (g,) = sn.grad(y, [node])
        np.testing.assert_array_equal(sn.function(node, g, device="numpy")(x), wanted)


def test_a_confident_right_answer_has_a_small_loss_not_none() -> None:
    """ln(1 + e**-20), where (1 - t) x + ln(1 + e**-x) cancels to 0."""
    for got in everywhere(
        lambda x: sn.nn.binary_cross_entropy_with_logits(x, sn.zeros((1,))), np.full(1, -20, "f")
    ):
        np.testing.assert_allclose(got, np.log1p(np.exp(-20.0)), rtol=1e-6)


REPEATED: list[Callable[[Any], Any]] = [
    lambda x: sn.moveaxis(x, (0, 1), (2, 2)), lambda x: sn.moveaxis(x, (0, -3), (1, 2)),
    lambda x: sn.permute_dims(x, (0, -3, 1)), lambda x: sn.sum(x, (0, -3)),
    lambda x: sn.flip(x, (1, 1)), lambda x: sn.squeeze(x[:1], (0, 0)),
    lambda x: sn.expand_dims(x, (0, -5)), lambda x: sn.tensordot(x, x, ((0, 0), (0, 0))),
    lambda x: sn.tensordot(x, x, ((0, -3), (0, 0))), lambda x: sn.flatten(x, 2, 1),
    lambda x: sn.var(x, (1, 1)), lambda x: sn.logsumexp(x, (1, -2)),
]  # fmt: skip


@pytest.mark.parametrize("f", REPEATED, ids=range(len(REPEATED)))
def test_axes_named_twice_are_refused(f: Callable[[Any], Any]) -> None:
    for x in (sn.placeholder((2, 3, 4), name="x"), sn.dynamic.tensor(np.zeros((2, 3, 4)))):
        with pytest.raises(ShapeError):
            f(x)
