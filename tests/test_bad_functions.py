"""Functions of functions called wrongly: the line, what there is, what is wanted, the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import StaticnetError

NAME = "tests/test_bad_functions.py:"
X = sn.placeholder((3,), name="x")
M = sn.placeholder((4, 3), name="m")
N = sn.placeholder(("n", 3), name="n")
S = sn.placeholder((), name="s")
I = sn.placeholder((), "int64", "i")  # noqa: E741
B = sn.placeholder((), "bool", "b")
T = sn.dynamic.tensor(np.ones(3, "f"))
TM = sn.dynamic.tensor(np.ones((4, 3), "f"))
Act = Callable[[], Any]


def same(x: Any) -> Any:
    return x


def pair(c: Any, x: Any) -> Any:
    return c, x


def positive(c: Any) -> Any:
    return sn.sum(c) > 0


def wide(c: Any) -> Any:
    return sn.astype(c, "float64")


LOOPS: dict[str, tuple[Act, str]] = {
    "carry's dtype": (
        lambda: sn.scan(lambda c, x: (wide(c), x), X, M), "x f32[3] cast f64[3] cast or",
    ),
    "carry's shape": (
        lambda: sn.scan(lambda c, x: (c[:2], x), X, M), "x f32[3] slice f32[2] reshape",
    ),
    "carry's rank": (
        lambda: sn.scan(lambda c, x: (sn.sum(c), x), X, M), "x f32[3] sum f32[] reshape",
    ),
    "carry's tree": (lambda: sn.scan(lambda c, x: ((c, c), x), X, M), "* (*, *) structure"),
    "carry's keys": (lambda: sn.scan(lambda c, x: ({"q": x}, x), {"p": X}, M), "{'p': *} {'q': *}"),
    "a carry of a tree": (
        lambda: sn.scan(lambda c, x: ((c[0], wide(c[1])), x), (X, X), M), "carry[1]",
    ),
    "no carry": (lambda: sn.scan(lambda c, x: (None, x), X, M), "* None structure"),
    "one result": (lambda: sn.scan(lambda c, x: c, X, M), "(carry, y) f32[3]"),
    "three results": (lambda: sn.scan(lambda c, x: (c, x, x), X, M), "(carry, y)"),
    "no result": (lambda: sn.scan(lambda c, x: None, X, M), "(carry, y) None"),
    "a result of text": (lambda: sn.scan(lambda c, x: (c, "y"), X, M), "'y' neither a value"),
    "no xs": (lambda: sn.scan(pair, X), "xs or length="),
    "empty xs": (lambda: sn.scan(pair, X, ()), "xs or length="),
    "xs without axes": (lambda: sn.scan(pair, X, S), "s f32[] no axis"),
    "xs of two lengths": (lambda: sn.scan(pair, X, (M, X)), "m f32[4,3] x f32[3] differ"),
    "another length": (lambda: sn.scan(pair, X, M, length=7), "m f32[4,3] length=7 differ"),
    "a negative length": (lambda: sn.scan(pair, X, length=-1), "length -1"),
    "a length that is no int": (lambda: sn.scan(pair, X, length=2.5), "length 2.5 int"),  # type: ignore[arg-type]
    "a length that is a node": (lambda: sn.scan(pair, X, length=I), "length i i64[]"),  # type: ignore[arg-type]
    "unroll": (lambda: sn.scan(pair, X, M, unroll=0), "unroll positive 0"),
    "reverse": (lambda: sn.scan(pair, X, M, reverse="yes"), "reverse True 'yes'"),  # type: ignore[arg-type]
    "arguments": (lambda: sn.scan(same, X, M), "called with 2 (x:"),  # type: ignore[arg-type]
    "no function": (lambda: sn.scan(None, X, M), "function None"),  # type: ignore[arg-type]
    "init of text": (lambda: sn.scan(pair, "zero", M), "init 'zero' neither"),
    "a number that becomes an array": (
        lambda: sn.scan(lambda c, x: (c + x, x), 0, M), "i64[] f32[3]",
    ),
    "tensors' shapes": (lambda: sn.scan(lambda c, x: (c[:2], x), T, TM), "tensor f32[3] f32[2]"),
    "tensors' dtypes": (lambda: sn.scan(lambda c, x: (wide(c), x), T, TM), "tensor f32[3] f64[3]"),
    "tensors' trees": (lambda: sn.scan(lambda c, x: ((c, c), x), T, TM), "* (*, *) structure"),
    "a test of floats": (lambda: sn.while_loop(sn.sum, same, X), "sum f32[] bool compare"),
    "a test of many": (lambda: sn.while_loop(lambda c: c > 0, same, X), "greater bool[3] sn.all"),
    "no test": (lambda: sn.while_loop(lambda c: None, same, X), "bool scalar nothing"),
    "two tests": (lambda: sn.while_loop(lambda c: (B, B), same, X), "b bool[], b bool[]"),
    "a while's dtype": (lambda: sn.while_loop(positive, wide, X), "x f32[3] cast f64[3]"),
    "a while's shape": (
        lambda: sn.while_loop(positive, lambda c: c[:2], X), "x f32[3] slice f32[2]",
    ),
    "a while's tree": (lambda: sn.while_loop(positive, lambda c: (c, c), X), "* (*, *)"),
    "a while's nothing": (lambda: sn.while_loop(positive, lambda c: None, X), "* None"),
    "max_steps": (lambda: sn.while_loop(positive, same, X, -1), "max_steps positive -1"),
    "max_steps of a node": (lambda: sn.while_loop(positive, same, X, I), "max_steps i i64[]"),  # type: ignore[arg-type]
    "a gradient of a while": (
        lambda: sn.grad(sn.sum(sn.while_loop(positive, same, X)), X), "reverse-mode max_steps=",
    ),
    "a tensor's test": (
        lambda: sn.while_loop(sn.sum, lambda c: c - 1, T), "tensor f32[] bool scalar",
    ),
    "a tensor's tests": (lambda: sn.while_loop(lambda c: c > 0, same, T), "tensor bool[3] sn.all"),
    "a tensor's while": (lambda: sn.while_loop(positive, lambda c: c[:0], T), "f32[3] f32[0]"),
    "bounds of floats": (lambda: sn.fori_loop(0.0, 3.0, lambda i, c: c, X), "bound integer 0.0"),
    "a bound of floats": (lambda: sn.fori_loop(0, S, lambda i, c: c, X), "bound integer s f32[]"),
    "a bound of text": (lambda: sn.fori_loop(0, "n", lambda i, c: c, X), "bound integer 'n'"),
    "no bound": (lambda: sn.fori_loop(None, 3, lambda i, c: c, X), "bound integer None"),
    "a for's shape": (lambda: sn.fori_loop(0, 3, lambda i, c: c[:1], X), "x f32[3] slice f32[1]"),
    "a for's shape, late": (
        lambda: sn.fori_loop(0, I, lambda i, c: c[:1], X), "carry begins x f32[3]",
    ),
    "a for's nothing": (lambda: sn.fori_loop(0, 3, lambda i, c: None, X), "* None"),
    "a for's arguments": (lambda: sn.fori_loop(0, 3, same, X), "called with 2 (x:"),  # type: ignore[arg-type]
    "nothing to map": (lambda: sn.map(same, []), "xs no arrays"),
    "a map of a scalar": (lambda: sn.map(same, S), "s f32[] no axis"),
    "a map of two lengths": (lambda: sn.map(same, (M, X)), "m f32[4,3] x f32[3]"),
    "a map to nothing": (lambda: sn.map(lambda x: None, X), "None must give values"),
}  # fmt: skip
CHOICES: dict[str, tuple[Act, str]] = {
    "a predicate of floats": (lambda: sn.cond(S, same, same, X), "s f32[] bool compare"),
    "a predicate of many": (lambda: sn.cond(X > 0, same, same, X), "greater bool[3] sn.any"),
    "a predicate of ints": (lambda: sn.cond(1, same, same, X), "bool scalar 1"),
    "no predicate": (lambda: sn.cond(None, same, same, X), "bool scalar None"),
    "a predicate of text": (lambda: sn.cond("yes", same, same, X), "bool scalar 'yes'"),
    "branches' shapes": (
        lambda: sn.cond(B, same, lambda x: x[:2], X), "f32[3] slice f32[2] reshape",
    ),
    "branches' dtypes": (lambda: sn.cond(B, same, wide, X), "f32[3] cast f64[3] cast or"),
    "branches' trees": (lambda: sn.cond(B, lambda x: (x, x), same, X), "(*, *) * agree"),
    "branches' keys": (
        lambda: sn.cond(B, lambda x: {"p": x}, lambda x: {"q": x}, X), "{'p': *} {'q': *}",
    ),
    "a branch of nothing": (lambda: sn.cond(B, same, lambda x: None, X), "* None agree"),
    "a branch's arguments": (lambda: sn.cond(B, same, lambda: 1, X), "false_fun called with 1"),
    "branches that are none": (lambda: sn.cond(B, X, X), "true_fun function x f32[3]"),  # type: ignore[arg-type]
    "a predicate of tensors": (lambda: sn.cond(T > 0, same, same, T), "tensor bool[3]"),
}  # fmt: skip
EXAMPLES: dict[str, tuple[Act, str]] = {
    "an axis": (lambda: sn.vmap(same, in_axes=2)(M), "in_axes 2 m f32[4,3] 2 axes None"),
    "a negative axis": (lambda: sn.vmap(same, in_axes=-3)(M), "in_axes -3 m f32[4,3]"),
    "a scalar's axis": (lambda: sn.vmap(same)(S), "in_axes 0 s f32[] 0 axes"),
    "sizes": (lambda: sn.vmap(pair)(M, X), "m f32[4,3] 4 x f32[3] 3 None"),
    "sizes that are unknown": (lambda: sn.vmap(pair)(N, M), "n f32[n,3] m f32[4,3]"),
    "sizes by name": (lambda: sn.vmap(lambda a, k: a)(M, k=X), "m f32[4,3] x f32[3]"),
    "sizes inside": (lambda: sn.vmap(sn.vmap(pair))(M, sn.ones((4, 2))), "f32[3] 3 f32[2] 2"),
    "a scalar inside": (lambda: sn.vmap(sn.vmap(same))(X), "in_axes 0 x f32[] 0 axes"),
    "nothing mapped": (lambda: sn.vmap(same, in_axes=None)(M), "no argument in_axes"),
    "no arguments": (lambda: sn.vmap(lambda: 1)(), "no argument"),
    "axes of another tree": (lambda: sn.vmap(pair, in_axes=(0,))(M, M), "in_axes=(0,) (*, *)"),
    "axes of text": (lambda: sn.vmap(same, in_axes="0")(M), "in_axes='0' int None"),
    "no axis of results": (lambda: sn.vmap(same, out_axes=None)(M), "out_axes None f32[3] differs"),
    "an axis of results": (lambda: sn.vmap(same, out_axes=5)(M), "out_axes 5 2 axes"),
    "axes of results": (lambda: sn.vmap(same, out_axes=(0, 0))(M), "out_axes=(0, 0) *"),
    "results of text": (lambda: sn.vmap(lambda a: "s")(M), "'s' neither a value"),
    "no results": (lambda: sn.vmap(lambda a: None)(M), "None must give values"),
    "no results of tensors": (lambda: sn.vmap(lambda a: None)(TM), "None must give values"),
    "a look at a value": (lambda: sn.vmap(lambda a: a if a[0] > 0 else -a)(M), "bool sn.where"),
    "sizes of tensors": (lambda: sn.vmap(pair)(TM, T), "f32[4,3] 4 f32[3] 3"),
}  # fmt: skip
DERIVATIVES: dict[str, tuple[Act, str]] = {
    "ints": (lambda: sn.jacobian(lambda a: a * 2.0)(I), "i i64[] sn.astype"),
    "by nothing": (lambda: sn.jacobian(X), "wrt [w]"),
    "by another": (lambda: sn.jacobian(X * 2, S), "multiply f32[3] s f32[] allow_unused"),
    "by no argument": (lambda: sn.jacobian(same, 3)(X), "argnums 3 called with 1"),
    "by text": (lambda: sn.jacobian(same, "a")(X), "argnums int 'a'"),
    "of nothing": (lambda: sn.jacobian(lambda a: None)(X), "None no value"),
    "a line of nothing": (lambda: sn.linearize(lambda a: None, X), "None no value"),
    "a hessian of many": (
        lambda: sn.hessian(lambda a: a * a)(X),
        "hessian: scalar multiply f32[3] sn.sum",
    ),
    "a value and gradient of many": (
        lambda: sn.value_and_grad(X * X, [X]),
        "value_and_grad: scalar multiply f32[3] sn.sum",
    ),
    "a hessian of two": (lambda: sn.hessian(lambda a: (S, S))(X), "one scalar (*, *)"),
    "a gradient of many": (lambda: sn.grad(same)(X), "scalar x f32[3] sn.sum"),
    "a gradient of nothing": (lambda: sn.grad(lambda a: None)(X), "scalar None"),
    "a gradient of text": (lambda: sn.grad(lambda a: S)("s"), "argument 0 's'"),
    "no more beside": (lambda: sn.grad(sn.sum, has_aux=True)(X), "(loss, more) *"),
    "no primals": (lambda: sn.linearize(same), "primals"),
    "tangents": (lambda: sn.linearize(same, X)[1](X, X), "1 tangents 2"),
    "a tangent's shape": (lambda: sn.linearize(same, X)[1](M), "x f32[3] m f32[4,3]"),
    "a tangent's dtype": (lambda: sn.linearize(same, X)[1](wide(X)), "x f32[3] cast f64[3]"),
    "jvp": (lambda: sn.jvp(X * 2, X, M), "tangent m f32[4,3] x f32[3]"),
    "jvp of text": (lambda: sn.jvp(X * 2, X, "s"), "nodes 's'"),  # type: ignore[arg-type]
    "vjp": (lambda: sn.vjp(X * 2, X, M), "cotangent m f32[4,3] multiply f32[3]"),
    "checkpoint's object": (lambda: sn.checkpoint(lambda a: object())(X), "object neither a value"),
    "checkpoint's nothing": (lambda: sn.checkpoint(lambda a: None)(X), "None must give values"),
    "no checkpoint": (lambda: sn.checkpoint(X), "function x f32[3]"),  # type: ignore[arg-type]
    "no such argument": (lambda: ruled(5)(X), "nondiff_argnums 5 of 1"),
    "too many arguments": (lambda: ruled(())(X, X), "too many positional"),
    "an argument of text": (lambda: ruled(())("s"), "argument 0 's' neither"),
}  # fmt: skip
CASES = {**LOOPS, **CHOICES, **EXAMPLES, **DERIVATIVES}


def ruled(nondiff: Any) -> Any:
    f = sn.custom_vjp(lambda a: a, nondiff_argnums=nondiff)
    f.defvjp(lambda a: (a, None), lambda kept, g: (g,))
    return f


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == sum(map(len, (LOOPS, CHOICES, EXAMPLES, DERIVATIVES)))


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told(name: str) -> None:
    act, words = CASES[name]
    with pytest.raises(StaticnetError) as caught:
        act()
    text = str(caught.value)
    assert NAME in text
    assert "iota" not in text
    for word in words.split(" "):
        assert word in text, text


def test_what_is_right_though_rare() -> None:
    ones = np.ones(3, "f")
    none, rows = sn.scan(lambda c, x: (c + 1, c * 2), X, length=0)
    back = sn.fori_loop(5, 2, lambda i, c: c + 1, X)
    kept = sn.while_loop(lambda c: False, lambda c: c, X)
    empty = sn.vmap(lambda a: a * 2)(sn.ones((0, 3)))
    got = sn.function(X, [none, rows, back, kept, empty], device="numpy")(ones)
    for y, wanted in zip(got, (ones, np.ones((0, 3)), ones, ones, np.ones((0, 3))), strict=True):
        np.testing.assert_array_equal(y, wanted)
    total, _ = sn.scan(lambda c, x: (c + sn.sum(x), None), 0, TM)
    assert float(total) == 12
    assert float(sn.while_loop(lambda c: c < 5, lambda c: c + sn.sum(T), 0)) == 6
