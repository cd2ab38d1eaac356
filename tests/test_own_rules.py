"""A user's own rewrites: equations on patterns, tried when they are written."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, VerifyError

COMPILES = True


@sn.rule(lambda x: sn.exp(x) * sn.exp(x), numerics="approximates", domain=(-10, 10))
def square_of_exp(x: Any) -> Any:
    return sn.exp(2 * x)


@sn.rule(
    lambda x, y: sn.log(x) + sn.log(y),
    numerics="approximates",
    kinds="floating",
    domain=(0, sn.inf),
)
def log_of_product(x: Any, y: Any) -> Any:
    return sn.log(x * y)


@sn.rule(lambda x: sn.maximum(sn.relu(x), 0), kinds="numeric")
def maximum_of_relu(x: Any) -> Any:
    return sn.relu(x)


@sn.rule(lambda x: sn.bitwise_xor(x, x), kinds="integer")
def xor_of_same(x: Any) -> Any:
    return 0


X = np.linspace(0.5, 2, 6, dtype="f").reshape(2, 3)


def graph_of(f: sn.Function, after: str) -> str:
    return f.as_text(after=after)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_rule_is_a_pass(device: str) -> None:
    x, y = sn.placeholder((2, 3), name="x"), sn.placeholder((3,), name="y")
    z = sn.log(x) + sn.log(y)
    f = sn.function([x, y], z, passes=(*sn.PIPELINE, log_of_product), device=device)
    assert f.as_text(after="log_of_product").count("log(") == 1
    assert f.passes()[-1].notes == {"log_of_product": 1}
    np.testing.assert_allclose(f(X, X[0]), np.log(X * X[0]), rtol=1e-5, atol=1e-6)
    assert f.check_numerics(X, X[0])[-1].rules == {"log_of_product": 1}
    left_out = sn.function(
        [x, y], z, passes=(*sn.PIPELINE, log_of_product), disabled_passes=["log_of_product"],
        device=device,
    )  # fmt: skip
    assert left_out.as_text(after="remat").count("log(") == 2


def test_exact_compilation_takes_exact_rules_alone() -> None:
    x = sn.placeholder((2, 3), name="x")
    y = sn.maximum(sn.relu(x), 0) + sn.exp(x) * sn.exp(x)
    mine = sn.rules_pass("mine", [maximum_of_relu, square_of_exp, log_of_product])
    for numerics, count in (("exact", 1), ("fast", 2)):
        f = sn.function(x, y, passes=(mine, *sn.PIPELINE), numerics=numerics, device="numpy")
        assert sum(f.passes()[0].notes.values()) == count
        f.check_numerics(X)
    assert str(mine).startswith("mine (tests/test_own_rules.py:")


def test_rules_for_dtypes() -> None:
    n = sn.placeholder((3,), "int32", "n")
    f = sn.function(n, sn.bitwise_xor(n, n), passes=(xor_of_same, *sn.PIPELINE), device="numpy")
    assert "bitwise_xor(" not in f.as_text(after="xor_of_same")
    np.testing.assert_array_equal(f(np.arange(3, dtype="int32")), 0)
    x = sn.placeholder((3,), name="x")
    floats = sn.function(x, sn.relu(x) * 1, passes=(xor_of_same, *sn.PIPELINE), device="numpy")
    assert floats.passes()[0].notes == {}


def test_a_right_side_may_decline() -> None:
    @sn.rule(lambda x, y: x * y, numerics="exact", kinds="floating")
    def ones_on_the_left(x: Any, y: Any) -> Any:
        return y * x if x.op.name == "constant" and y.op.name != "constant" else None

    x = sn.placeholder((3,), name="x")
    f = sn.function(x, sn.constant(2.0) * x, passes=(ones_on_the_left, *sn.PIPELINE), device="cpu")
    np.testing.assert_array_equal(f(np.ones(3, "f")), 2)


def no_equation() -> Any:
    @sn.rule(lambda x: x * 0, kinds="floating")
    def zero(x: Any) -> Any:
        return 0

    return zero


def almost() -> Any:
    @sn.rule(lambda x: sn.sin(x), numerics="approximates")
    def itself(x: Any) -> Any:
        return x * 1.001

    return itself


def other_dtype() -> Any:
    @sn.rule(lambda x: sn.sin(x))
    def wide(x: Any) -> Any:
        return sn.astype(x, "float16")

    return wide


def other_shape() -> Any:
    @sn.rule(lambda x: sn.sin(x))
    def column(x: Any) -> Any:
        return sn.reshape(sn.sin(x), (-1, 1))

    return column


def raises() -> Any:
    @sn.rule(lambda x: sn.sin(x))
    def lost(x: Any) -> Any:
        return x.nothing

    return lost


def no_value() -> Any:
    @sn.rule(lambda x: sn.sin(x))
    def text(x: Any) -> Any:
        return "x"

    return text


def endless() -> Any:
    @sn.rule(lambda x, y: sn.atan2(x, y))
    def swapped(x: Any, y: Any) -> Any:
        return sn.atan2(y, x)

    return swapped


def nowhere() -> Any:
    @sn.rule(lambda x: sn.sin(x), kinds="bool")
    def nothing(x: Any) -> Any:
        return x

    return nothing


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (no_equation, r"is no equation in float32: zero promises to be exact, but changes multi"),
        (almost, "is no equation in float32: itself promises to be approximates, but changes sin"),
        (other_dtype, r"the rule wide makes cast f16\[\d+\] of <sin f32\[\d+\]> \(written on"),
        (other_shape, r"the rule column makes reshape f32\[\d+,1\] of <sin f32\[\d+\]>"),
        (raises, "the rule lost .* failed on <sin f32.*AttributeError: .*nothing"),
        (no_value, "the rule text makes 'x' of <sin"),
        (endless, "is rewritten without end"),
        (nowhere, "the rule nothing .*: its left side takes no bool"),
    ],
)
def test_a_wrong_rule_is_named_with_its_line(declare: Any, message: str) -> None:
    with pytest.raises(VerifyError, match=message) as caught:
        declare()
    first = inspect.getsourcelines(declare)[1]
    assert f"(tests/test_own_rules.py:{first + 1})" in str(caught.value)


def test_a_rule_that_was_not_tried_is_found_on_demand() -> None:
    @sn.rule(lambda x: sn.sin(x), numerics="exact", check=False)
    def untried(x: Any) -> Any:
        return x

    x = sn.placeholder((3,), name="x")
    f = sn.function(x, sn.sin(x) * 2, passes=(*sn.PIPELINE, untried), device="numpy")
    with pytest.raises(
        VerifyError, match="untried promises to be exact, but changes sin"
    ) as caught:
        f.check_numerics(np.ones(3, "f"))
    line = inspect.getsourcelines(test_a_rule_that_was_not_tried_is_found_on_demand)[1] + 1
    assert f"by untried: written on tests/test_own_rules.py:{line}; " in str(caught.value)
    with pytest.raises(VerifyError, match="untried .* is no equation in float32"):
        sn.check_rule(untried)


def test_a_domain_is_where_it_is_an_equation() -> None:
    def declare(domain: Any) -> Any:
        return sn.rule(
            lambda x: sn.sqrt(x * x), numerics="approximates", kinds="floating", domain=domain
        )

    def root(x: Any) -> Any:
        return x

    assert not declare((0, 100))(root).is_exact
    with pytest.raises(VerifyError, match="no equation"):
        declare((-1, 1))(root)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "left side must be a function of variables, not 3"),
        ((lambda x: x,), {}, "must be an op of its variables"),
        ((lambda x: sn.sum(x),), {}, r"the left side \(.*:\d+\) is no pattern"),
        ((lambda x: x.nothing,), {}, r"the left side \(.*:\d+\) is no pattern"),
        ((lambda x: -x,), {"numerics": "fast"}, "numerics 'fast': use one of 'exact', 'rea"),
        ((lambda x: -x,), {"kinds": "float"}, "kinds 'float': use one of floating, integer"),
        ((lambda x: -x,), {"domain": 3}, r"domain must be \(least, greatest\), not 3"),
        ((lambda x: -x,), {"domain": (2, 1)}, r"domain must be \(least, greatest\), not \(2, 1\)"),
    ],
)
def test_rules_that_are_none(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sn.rule(*arguments, **options)


@pytest.mark.parametrize("right", [lambda x: -x, 3])
def test_a_right_side_without_a_name(right: Any) -> None:
    with pytest.raises(ArgumentError, match=r"right side is a function with a name.*own_rules.py:"):
        sn.rule(lambda x: sn.negative(sn.negative(x)))(right)


def test_passes_of_no_rules() -> None:
    with pytest.raises(ArgumentError, match="rules_pass mine: there is no rule"):
        sn.rules_pass("mine", [])
    with pytest.raises(ArgumentError, match="3 is no rule; make one with sn.rule"):
        sn.rules_pass("mine", [3])  # type: ignore[list-item]
