"""Functions with wrong derivative rules: which of them, where it is written, and what is wrong."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, GradientError


def vjp_of(fwd: Any, bwd: Any) -> Any:
    @sn.custom_vjp
    def f(x: Any) -> Any:
        return sn.sin(x)

    f.defvjp(fwd, bwd)
    return f


@pytest.mark.parametrize(
    ("fwd", "bwd", "message"),
    [
        (lambda x: x, lambda r, g: g, r"fwd \(.*:\d+\) must give \(result, residuals\), not x"),
        (lambda x: ((x, x), x), lambda r, g: g, r"fwd \(.*:\d+\) is \(\*, \*\), and the function"),
        (lambda x: (sn.sum(x), x), lambda r, g: g, r"is f32\[\], and the function gives f32\[3\]"),
        (lambda x: (x, x), lambda r, g: (g, g), "gives 2 cotangents for 1 arguments"),
        (lambda x: (x, x), lambda r, g: (sn.sum(g),), r"gives f32\[\] as cotangent 0 of f32\[3\]"),
        (lambda x: (x, x), lambda r, g: ({"x": g},), "gives {'x': .* as cotangent 0 of"),
        (lambda x: ("x", x), lambda r, g: g, "neither a value nor a number"),
        (lambda x, y: (x, y), lambda r, g: g, r"fwd \(.*:\d+\) is called with 1 .* takes \(x, y\)"),
        (lambda x: (x, x), lambda g: g, r"bwd \(.*:\d+\) is called with 2 arguments and takes \(g"),
        (lambda x: (x, x), lambda r, g: ({1: g, "a": g},), "gives {1: .* as cotangent 0 of"),
    ],
)
def test_a_wrong_rule_is_named(fwd: Any, bwd: Any, message: str) -> None:
    x = sn.placeholder((3,), name="x")
    y = vjp_of(fwd, bwd)(x)
    with pytest.raises((GradientError, ArgumentError), match=message) as caught:
        sn.grad(sn.sum(y), x)
    assert "custom_vjp f (tests/test_own_derivatives_wrong.py:" in str(caught.value)


def test_a_wrong_forward_rule_is_named() -> None:
    x = sn.placeholder((3,), name="x")

    def derived(rule: Any) -> Any:
        f = sn.custom_jvp(lambda x: sn.sin(x))
        f.defjvp(rule)
        return sn.grad(sn.sum(f(x)), x)

    with pytest.raises(GradientError, match=r"its rule \(.*:\d+\) must give \(result, tangent\)"):
        derived(lambda primals, tangents: tangents[0])
    with pytest.raises(GradientError, match=r"tangent is f32\[\], and the function gives f32\[3\]"):
        derived(lambda primals, tangents: (primals[0], sn.sum(tangents[0])))
    with pytest.raises(GradientError, match=r"its jvp is not linear in the tangents \(.*\.py:\d+"):
        derived(lambda primals, tangents: (primals[0], tangents[0] ** 2))
    with pytest.raises(ArgumentError, match=r"rule \(.*:\d+\) is called with 2 .* takes \(primals"):
        derived(lambda primals: primals)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([lambda t: t], r"rule 0 \(.*:\d+\) is called with 3 arguments and takes \(t\)"),
        ([lambda t, y, x: t, None], "has 2 rules for 1 arguments"),
        ([], "has 0 rules for 1 arguments"),
    ],
)
def test_wrong_rules_of_arguments_are_named(rules: Any, message: str) -> None:
    x = sn.placeholder((3,), name="x")
    f = sn.custom_jvp(lambda x: sn.sin(x))
    f.defjvps(*rules)
    with pytest.raises(ArgumentError, match=message) as caught:
        sn.jvp(f(x), x, x)
    assert "(tests/test_own_derivatives_wrong.py:" in str(caught.value)


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_what_is_taken_from_outside_has_no_derivative(kind: str) -> None:
    w, x = sn.placeholder((3,), name="w"), sn.placeholder((3,), name="x")
    make = {"vjp": sn.custom_vjp, "jvp": sn.custom_jvp}[kind]
    f: Any = make(lambda x: sn.sin(x) * w)
    if kind == "vjp":
        f.defvjp(lambda x: (sn.sin(x) * w, x), lambda kept, g: (sn.cos(kept) * w * g,))
    else:
        f.defjvp(lambda p, t: (sn.sin(p[0]) * w, sn.cos(p[0]) * w * t[0]))
    got = sn.function([x, w], sn.grad(sn.sum(f(x)), x), device="numpy")(*np.ones((2, 3), "f"))
    np.testing.assert_allclose(got[0], np.cos(1), rtol=1e-6)
    with pytest.raises(GradientError, match=r"it takes w f32\[3\] .* from outside, .*: make it an"):
        sn.grad(sn.sum(f(x)), w)


def test_functions_without_a_rule() -> None:
    def f(x: Any, *, k: int = 1) -> Any:
        return x * k

    x = sn.placeholder((3,), name="x")
    line = inspect.getsourcelines(f)[1]
    with pytest.raises(
        ArgumentError, match=rf"custom_vjp f \(.*:{line}\): it has no rule yet; give"
    ):
        sn.custom_vjp(f)(x)
    with pytest.raises(ArgumentError, match=r"give it one by f.defjvp\(rule\)"):
        sn.custom_jvp(f)(x)
    ruled = sn.custom_jvp(f)
    ruled.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(ArgumentError, match=r"\['k'\] have no position"):
        ruled(x, k=2)
    with pytest.raises(ArgumentError, match="too many positional arguments"):
        ruled(x, x)
    for make in (sn.custom_vjp, sn.custom_jvp, sn.checkpoint):
        with pytest.raises(ArgumentError, match="takes a function, not 3"):
            make(3)  # type: ignore[operator]
    with pytest.raises(ArgumentError, match="nondiff_argnums must be positions, not 'x'"):
        sn.custom_vjp(f, nondiff_argnums="x")
    with pytest.raises(ArgumentError, match="fwd must be a function, not 3"):
        sn.custom_vjp(f).defvjp(3, f)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="the rule must be a function, not 3"):
        sn.custom_jvp(f).defjvp(3)  # type: ignore[arg-type]
    with pytest.raises(
        ArgumentError, match="checkpoint: what the function returns: 'x' is neither"
    ):
        sn.checkpoint(lambda x: "x")(x)
