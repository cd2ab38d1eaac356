"""Functions that a user hands over: what goes wrong in them names them, their line and the caller.

Each rule of an op, each body of a loop, each pass and schedule, against errors of Python's and
against results that are none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, GradientError, ShapeError, StaticnetError, VerifyError

X = sn.placeholder((3,), name="x")
XS = sn.placeholder((2, 3), name="xs")
ONES = np.ones(3, "f")
NAME = "tests/test_user_functions.py"


def tensor() -> Any:
    return sn.dynamic.tensor(ONES, requires_grad=True)


def made(**functions: Any) -> Any:
    """An op whose other functions are right."""
    return sn.custom_op("made", **({"eval": lambda x: x, "infer": lambda x: x} | functions))


def written(rule: str, f: Any) -> Any:
    """The same as a class, whose methods take it along."""
    methods = {"infer": lambda self, x: x, "eval": lambda self, xp, x: x, "__module__": __name__}
    space = methods | {rule: f}
    return type(sn.Op)("Written", (sn.Op,), space, name="written")()


def derived(op: Any) -> Any:
    return sn.grad(sn.sum(op(X)), X)


def backward(op: Any) -> None:
    sn.sum(op(tensor())).backward()


def by_vjp(fwd: Any, bwd: Any) -> Any:
    f = sn.custom_vjp(lambda x: sn.sin(x))
    f.defvjp(fwd, bwd)
    return f


def by_jvp(rule: Any, each: bool = False) -> Any:
    f = sn.custom_jvp(lambda x: sn.sin(x))
    (f.defjvps if each else f.defjvp)(rule)
    return f


def compiled(*passes: Any) -> Any:
    return sn.function(X, X + 1, passes=(*passes, *sn.PIPELINE), device="numpy")


def costs(op: Any) -> Any:
    return sn.function(X, op(X), device="numpy").cost_analysis()


def batched(op: Any) -> Any:
    return sn.function(XS, sn.vmap(op)(XS), device="numpy")(np.ones((2, 3), "f"))


def right(x: Any) -> Any:
    return (x, x)


def stepped(lr: Any) -> Any:
    w = sn.variable(ONES, "w")
    return sn.optim.SGD(lr).minimize(sn.sum(w * w))


CALLS: dict[str, Callable[[Any], Any]] = {
    "infer": lambda f: made(infer=f)(X),
    "infer of elements": lambda f: made(infer=f, scalar="{0}")(X),
    "infer of examples": lambda f: batched(
        made(infer=lambda x: x if x.ndim == 1 else f(x), vectorized=True)
    ),
    "infer of a tensor": lambda f: made(infer=f)(tensor()),
    "vjp": lambda f: derived(made(vjp=f)),
    "vjp of elements": lambda f: derived(made(infer=None, vjp=f)),
    "vjp of a tensor": lambda f: backward(made(vjp=f)),
    "vjp, forward": lambda f: sn.jvp(made(vjp=f)(X), X, X),
    "vjp of elements, forward": lambda f: sn.jvp(made(infer=None, vjp=f)(X), X, X),
    "jvp": lambda f: sn.jvp(made(jvp=f)(X), X, X),
    "jvp, backward": lambda f: derived(made(jvp=f)),
    "jvp of a tensor": lambda f: backward(made(jvp=f)),
    "flops": lambda f: costs(made(flops=f)),
    "a class's infer": lambda f: written("infer", f)(X),
    "a class's vjp": lambda f: derived(written("vjp", f)),
    "a class's jvp": lambda f: sn.jvp(written("jvp", f)(X), X, X),
    "a class's batch": lambda f: batched(written("batch", f)),
    "a class's flops": lambda f: costs(written("flops", f)),
    "fwd": lambda f: derived(by_vjp(f, lambda kept, g: (g,))),
    "bwd": lambda f: derived(by_vjp(right, f)),
    "bwd of a tensor": lambda f: backward(by_vjp(right, f)),
    "defjvp": lambda f: derived(by_jvp(f)),
    "defjvp, forward": lambda f: sn.jvp(by_jvp(f)(X), X, X),
    "defjvps": lambda f: derived(by_jvp(f, each=True)),
}
NONSENSE: dict[str, Any] = {
    "text": lambda *_: "text",
    "five": lambda *_: [1, 2, 3, 4, 5],
    "another shape": lambda *_: sn.ones((4,)),
    "nothing": lambda *_: None,
}
PASSES: dict[str, Callable[[Any], Any]] = {
    "a pass": lambda f: compiled(sn.Pass("mine", f)),
    "a function as a pass": lambda f: compiled(f),
    "a replacement": lambda f: compiled(
        sn.Pass("mine", lambda graph: sn.passes.rebuild(graph, "mine", f))
    ),
    "a right side": lambda f: sn.rule(lambda x: sn.abs(sn.abs(x)), kinds="floating")(f),
}
BODIES: dict[str, Callable[[Any], Any]] = {
    "scan": lambda f: sn.scan(f, X, X),
    "scan of tensors": lambda f: sn.scan(f, tensor(), tensor()),
    "while_loop: cond_fun": lambda f: sn.while_loop(f, lambda c: c, X),
    "while_loop: body_fun": lambda f: sn.while_loop(lambda c: sn.sum(c) > 0, f, X),
    "fori_loop": lambda f: sn.fori_loop(0, 3, f, X),
    "fori_loop to a node": lambda f: sn.fori_loop(0, sn.placeholder((), "int64", "n"), f, X),
    "cond: true_fun": lambda f: sn.cond(sn.sum(X) > 0, f, lambda x: x, X),
    "cond: false_fun": lambda f: sn.cond(sn.sum(X) > 0, lambda x: x, f, X),
    "cond of tensors": lambda f: sn.cond(sn.dynamic.tensor(True), f, f, tensor()),
    "map": lambda f: sn.map(f, X),
    "vmap": lambda f: sn.vmap(f)(X),
    "vmap of tensors": lambda f: sn.vmap(f)(tensor()),
    "checkpoint": lambda f: sn.checkpoint(f)(X),
    "grad": lambda f: sn.grad(f)(X),
    "value_and_grad": lambda f: sn.value_and_grad(f)(X),
    "jacobian": lambda f: sn.jacobian(f)(X),
    "hessian": lambda f: sn.hessian(f)(X),
    "linearize": lambda f: sn.linearize(f, X),
    "custom_vjp": lambda f: wrapped_vjp(f),
    "check_op": lambda f: sn.check_op(f, ONES),
    "SGD: lr": stepped,
    "SequentialLR": lambda f: stepped(sn.optim.SequentialLR([f, f], [3])),
    "a left side": lambda f: sn.rule(f)(lambda *xs: 0),
}


def wrapped_vjp(f: Any) -> Any:
    g = sn.custom_vjp(f)
    g.defvjp(right, right)
    return g(X)


def fails_by_key(*_: Any) -> Any:
    return {}["w"]


def fails_by_type(*_: Any) -> Any:
    return 1 + "a"  # type: ignore[operator]


def fails_by_index(*_: Any) -> Any:
    return [][3]  # type: ignore[misc]


def fails_by_attribute(*_: Any) -> Any:
    return np.nothing  # type: ignore[attr-defined]


FAILURES = {
    fails_by_key: KeyError,
    fails_by_type: TypeError,
    fails_by_index: IndexError,
    fails_by_attribute: AttributeError,
}


def line_of(f: Any) -> str:
    return f"{NAME}:{inspect.getsourcelines(f)[1]}"


@pytest.mark.parametrize("name", [*CALLS, *BODIES, *PASSES])
def test_an_error_of_pythons_is_told_with_its_function(name: str) -> None:
    call = {**CALLS, **BODIES, **PASSES}[name]
    for f, kind in FAILURES.items():
        with pytest.raises(StaticnetError, match=f"{kind.__name__}: ") as caught:
            call(f)
        assert isinstance(caught.value.__cause__, kind)
        lines = str(caught.value).count(f"{NAME}:")
        assert lines >= 2, caught.value
        if name not in ("a replacement", "infer of examples"):  # called by another function
            assert line_of(f) in str(caught.value) or "declared on" in str(caught.value)


@pytest.mark.parametrize("name", CALLS)
def test_what_a_rule_may_not_give_is_told(name: str) -> None:
    for what, f in NONSENSE.items():
        if what == "nothing" and "jvp" in name and "vjp" not in name and "def" not in name:
            continue  # a tangent of None is zero
        if what == "another shape" and ("infer" in name or name == "defjvps"):
            continue  # is a type; a scalar's rule
        with pytest.raises(StaticnetError) as caught:
            CALLS[name](f)
        assert not isinstance(caught.value.__cause__, KeyError | TypeError | IndexError), what
        assert str(caught.value).count(f"{NAME}:") >= 2, (what, caught.value)


def test_what_a_rule_uses_wrongly_is_told_with_the_rule() -> None:
    def bad(y: Any, g: Any, x: Any) -> Any:
        return g + sn.ones((4,))

    for call in (CALLS["vjp"], CALLS["vjp of a tensor"], CALLS["vjp, forward"]):
        with pytest.raises(ShapeError, match=r"made: its vjp \(.*\) failed: add: shapes") as caught:
            call(bad)
        assert line_of(bad) in str(caught.value)


def test_what_is_meant_to_be_seen_is_left_alone() -> None:
    class Stop(Exception):
        pass

    for error in (Stop("enough"), AssertionError("no"), UserWarning("look")):

        def raises(*_: Any, error: Exception = error) -> Any:
            raise error

        for name in ("scan", "vmap", "checkpoint", "SGD: lr", "vjp"):
            call = {**CALLS, **BODIES}[name]
            with pytest.raises(type(error)) as caught:
                call((lambda y, g, x, raises=raises: raises()) if name == "vjp" else raises)
            assert caught.value is error


def test_a_forgotten_return_is_no_zero_gradient() -> None:
    forgets = made(vjp=lambda y, g, x: None)
    with pytest.raises(GradientError, match=r"its vjp \(.*\) gives None .* and \(None,\) for zero"):
        derived(forgets)
    with pytest.raises(GradientError, match=r"bwd \(.*\) gives None .* and \(None,\) for zero"):
        derived(by_vjp(right, lambda kept, g: None))
    for zero in (made(vjp=lambda y, g, x: (None,)), by_vjp(right, lambda kept, g: (None,))):
        (g,) = derived(zero)
        np.testing.assert_array_equal(sn.function(X, g, device="numpy")(ONES), 0)


def test_forward_mode_of_operands_that_broadcast() -> None:
    scaled = sn.custom_op("scaled", lambda a, b: a * b, vjp=lambda y, g, a, b: (g * b, g * a))
    added = sn.custom_op("added", lambda a, b: a + b, jvp=lambda y, xs, ts: ts[1])
    (moved,) = sn.jvp(scaled(XS, X), X, X)
    (told,) = sn.jvp(added(XS, X), X, X)
    a, b = np.arange(6, dtype="f").reshape(2, 3), np.arange(3, dtype="f") + 1
    got = sn.function([XS, X], [moved, told], device="numpy")(a, b)
    np.testing.assert_array_equal(got[0], a * b)
    np.testing.assert_array_equal(got[1], np.broadcast_to(b, (2, 3)))


def test_forward_mode_needs_no_derivative_of_the_rule() -> None:
    slope = sn.custom_op("slope_alone", lambda g, x: g * np.cos(x))
    sine = sn.custom_op("sine_with_slope", np.sin, vjp=lambda y, g, x: slope(g, x))
    (moved,) = sn.jvp(sine(X), X, X)
    (g,) = sn.grad(sn.sum(sine(X)), X)
    at = np.array([0.1, 0.5, 2], "f")
    got = sn.function(X, [moved, g], device="numpy")(at)
    np.testing.assert_allclose(got, [np.cos(at) * at, np.cos(at)], rtol=1e-6)


def test_passes_that_make_no_nodes_are_told() -> None:
    for f in NONSENSE.values():
        with pytest.raises(VerifyError, match=rf"{NAME}:\d+.*{NAME}:\d+"):
            PASSES["a pass"](f)
    with pytest.raises(VerifyError, match=r"rebuild: the function \(.*\) gives None for x f32"):
        PASSES["a replacement"](lambda *_: None)


def test_universal_functions_and_built_in_ones() -> None:
    hypot = sn.custom_op("hypotenuse", np.hypot)
    y = sn.function([XS, X], hypot(XS, X), device="numpy")(np.full((2, 3), 3, "f"), 4 * ONES)
    np.testing.assert_array_equal(y, 5)
    with pytest.raises(ArgumentError, match="hypotenuse: takes 2 operands, not 1"):
        hypot(X)
