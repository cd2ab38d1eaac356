"""`check_op`: what is right passes, and of what is wrong the rule and its line are named."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from own_ops import Spread, Turn, first, polar
from own_rank_ops import NORMS, fused, on_host, two

import staticnet as sn
from staticnet.errors import ArgumentError, ExecutionError, StaticnetError, VerifyError
from staticnet.ops.batching import spread_all

COMPILES = True
RNG = np.random.default_rng(3)
A, B = RNG.normal(size=(2, 3, 3)).astype("f") + 2
NAME = "tests/test_check_op.py"


def same(x: Any) -> Any:
    return x


def top(x: Any, *, by: int = 2) -> Any:
    order = np.argsort(-x, -1, kind="stable")[..., :by]
    return np.take_along_axis(x, order, -1), order


tops = sn.custom_op(
    "tops", top,
    lambda x, *, by: (x.with_shape((*x.shape[:-1], by)), x.with_shape((*x.shape[:-1], by))
                      .with_dtype("int64")),
    vectorized=True,
)  # fmt: skip
RIGHT: dict[str, tuple[Any, list[Any]]] = {
    "several results": (polar, [A, B]),
    "several results, all examples at once": (two, [A[0], B[0]]),
    "integers beside numbers": (tops, [A]),
    "operands that broadcast": (fused, [A, B[0]]),
    "on the host": (on_host, [A[0], B]),
    "a scalar": (fused, [A[0, 0], B[0, 0]]),
    "attributes": (lambda x: first(x, count=2, keep=True), [A]),
    "a class": (Turn(1, (1, 1), np.dtype("float32")), [A]),
    "a reduction": (Spread((1,), False), [A]),
    "a function of ops": (lambda x, y: fused(x, y) * 2 + on_host(y, x), [A, B]),
    "no elements": (on_host, [A[:0], B[0]]),
    **{name: (op, [A[0]]) for name, op in NORMS.items()},
}


slope_alone = sn.custom_op("slope_alone", lambda g, x: g * np.cos(x), lambda g, x: x)
RIGHT["a rule that has no derivative"] = (
    sn.custom_op("sine_alone", np.sin, lambda x: x, vjp=lambda y, g, x: slope_alone(g, x)), [A],
)  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name: str) -> None:
    op, arrays = RIGHT[name]
    sn.check_op(op, *arrays)


@pytest.mark.slow
def test_what_is_right_in_other_dtypes_passes() -> None:
    for dtype in ("float16", "bfloat16", "float64"):
        cast = sn.placeholder((), dtype).dtype
        sn.check_op(fused, A.astype(cast), B.astype(cast))
    odd = sn.custom_op("odd", lambda x: x % 2, scalar="{0} % 2", dtypes="integer")
    sn.check_op(odd, np.arange(5))
    flip = sn.custom_op("flip_all", lambda x: ~x, lambda x: x, differentiable=False)
    sn.check_op(flip, np.array([True, False]))


def wrong_slope(y: Any, g: Any, x: Any) -> Any:
    return g * 3  # of cos


def two_vjp(y: Any, g: Any, x: Any) -> Any:
    return 2 * g[0] * x + g[1]


def lying_length(x: Any) -> Any:
    return x.with_shape(tuple(d if isinstance(d, int) else 7 for d in x.shape))


slope_of_sine = sn.custom_op("slope_of_sine", np.cos, vjp=wrong_slope)
MADE: dict[str, tuple[Callable[[], Any], Any, str, Any]] = {
    "a second derivative": (
        lambda: sn.custom_op("sine", np.sin, vjp=lambda y, g, x: g * slope_of_sine(x)),
        VerifyError, r"its vjp has another derivative than its values: along a direction", None,
    ),
    "the derivative of one result": (
        lambda: sn.custom_op("pair", lambda x: (x * x, x * x), lambda x: [x, x], vjp=two_vjp),
        VerifyError, r"its vjp is not the derivative of its eval: .* \(vjp on ", two_vjp,
    ),
    "a dtype that is not kept": (
        lambda: sn.custom_op("narrow", lambda x: x.astype("f"), same),
        ExecutionError, r"its eval gives float32\[3,3\], but its shape rule says float64", None,
    ),
    "dims that are not known": (
        lambda: sn.custom_op("lengths", same, lying_length),
        VerifyError, r"its shape rule gives f32\[3,3\], and f32\[7,7\] where .* not known",
        lying_length,
    ),
    "a second result": (
        lambda: sn.custom_op("short", lambda x: (x, x[:1]), lambda x: (x, x)),
        ExecutionError, r"its eval gives float32\[1,3\], but its shape rule says float32\[3,3\]",
        None,
    ),
    "all rows at once": (
        lambda: sn.custom_op("rows", lambda x: x - x[0], same, vectorized=True),
        VerifyError, "with examples along a first axis it is not what it is of each", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_what_is_wrong_is_named(name: str) -> None:
    make, kind, message, rule = MADE[name]
    with pytest.raises(kind, match=message) as caught:
        sn.check_op(make(), A)
    assert f"declared on {NAME}:" in str(caught.value)
    if rule is not None:
        assert f"{NAME}:{inspect.getsourcelines(rule)[1]}" in str(caught.value)


class Weighted(sn.Op, name="weighted"):
    """y = x * w, whose rule for many examples is wrong where w alone has them."""

    arity = 2

    def infer(self, x: Any, w: Any) -> Any:
        return x

    def eval(self, xp: Any, x: Any, w: Any) -> Any:
        return x * w

    def vjp(self, y: Any, g: Any, x: Any, w: Any) -> Any:
        return g * w, g * x

    def batch(self, size: Any, batched: Any, *operands: Any) -> Any:
        x, w = spread_all(size, batched, operands)
        return x * w if batched[0] else x * w[0]


class Rows(sn.Op, name="centred_rows"):
    """y = x - mean(x) of a row: its vjp counts axes, and its rule for many examples does not."""

    def infer(self, x: Any) -> Any:
        return x

    def eval(self, xp: Any, x: Any) -> Any:
        return x - x.mean(-1, keepdims=True)

    def vjp(self, y: Any, g: Any, x: Any) -> Any:
        return (g - sn.mean(g),)

    def batch(self, size: Any, batched: Any, *operands: Any) -> Any:
        return self(*operands)


class Apart(sn.Op, name="told_apart"):
    def infer(self, x: Any) -> Any:
        return x.with_shape(list(x.shape)).with_dtype(x.dtype.name)

    def eval(self, xp: Any, x: Any) -> Any:
        return x * self.by  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False)
class Uncompared(Apart, name="uncompared"):
    by: int


class Undeclared(Apart, name="undeclared"):
    def __init__(self, by: int) -> None:
        object.__setattr__(self, "by", by)


@dataclass(frozen=True)
class Compared(Apart, name="compared"):
    by: int


def test_classes_that_are_wrong_are_named() -> None:
    with pytest.raises(VerifyError, match=r"weighted .*first axis of operand 1 it is not what"):
        sn.check_op(Weighted(), A, B)
    with pytest.raises(VerifyError, match=r"centred_rows .*its vjp is not what it is of") as caught:
        sn.check_op(Rows(), A[0])
    assert f"{NAME}:{inspect.getsourcelines(Rows.vjp)[1]}" in str(caught.value)


class Peak(sn.Reduction, name="peak"):
    def eval(self, xp: Any, x: Any) -> Any:
        return xp.max(x, self.axes, keepdims=self.keepdims)


def rolled(x: Any, *, kind: list[int]) -> Any:
    return np.roll(x, kind[0])


def test_attributes_by_the_names_of_others_are_refused() -> None:
    for name in ("where", "vjp", "scalar"):
        space = {"__annotations__": {name: int}, "__module__": __name__, "infer": Apart.infer}
        cls: Any = dataclass(frozen=True)(type(sn.Op)("Taken", (sn.Op,), space, name="taken"))
        with pytest.raises(ArgumentError, match=f"taken: its attribute {name} has a name that"):
            sn.check_op(cls(3), A)


def test_mistakes_of_calls_are_told_with_their_line() -> None:
    with pytest.raises(ArgumentError, match=rf"peak: axes must be a tuple .* 1 \({NAME}:\d+\)"):
        Peak(1, True)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="kind is annotated list.int.; an attribute is int"):
        sn.custom_op("rolled", rolled)
    three = sn.custom_op("three", lambda x: (x, x, x), lambda x: [x, x])
    with pytest.raises(
        ExecutionError, match=r"eval gives \((float32\[3,3\],? ?){3}\), but .* 2 res"
    ):
        sn.check_op(three, A)
    single = sn.custom_op("single", lambda x: (x, x), lambda x: [x, x], vjp=lambda y, g, x: g * x)
    with pytest.raises(StaticnetError, match="its vjp, given tuples for 2 results .* failed: mul"):
        sn.check_op(single, A)


def test_attributes_that_are_no_fields_are_named() -> None:
    sn.check_op(Compared(2), A)
    for op in (Uncompared(2), Undeclared(2)):
        with pytest.raises(ArgumentError, match=r"does not tell ops apart by by; declare .*:\d+\)"):
            sn.check_op(op, A)
