"""Ops of a user's own: on every device, with every pass, and named where they are wrong."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import own_ops
import pytest
from everywhere import DEVICES, grad_of, on
from own_ops import Spread, Turn, blend, bump, cube, first, halve, polar, softsign

import staticnet as sn
from staticnet.control.batching import batch_nodes
from staticnet.errors import (
    ArgumentError,
    DTypeError,
    ExecutionError,
    GradientError,
    OutOfRangeError,
    ParseError,
    ShapeError,
    VerifyError,
)
from staticnet.ir.op import OPS, OWN_OPS

COMPILES = True
X = np.random.default_rng(0).normal(size=(4, 3)).astype("f")


def turned(x: Any) -> Any:
    return Turn(1, (1, 1), np.dtype("float32"))(x)


BUILDS = {
    "fused": lambda x: softsign(x * 2) + blend(x, 3 * x) * bump(x),
    "host": lambda x: first(softsign(x) * 2, count=2) * 3,
    "host elementwise": lambda x: halve(x + 1) * sn.tanh(halve(x)),
    "class": lambda x: turned(x) * x,
    "two on the host": lambda x: halve(turned(halve(x)) * 2),
    "several results": lambda x: polar(x, x + 2)[0] * polar(x, x + 2)[1],
    "one of several": lambda x: polar(x * 2, x + 2)[1] + 1,
    "by a jvp alone": lambda x: cube(x) * x,
}
NUMPY: dict[str, Any] = {
    "fused": lambda x: 2 * x / (1 + np.abs(2 * x)) + 2.5 * x * np.exp(-x * x),
    "host": lambda x: 6 * (x / (1 + np.abs(x)))[:, :2],
    "host elementwise": lambda x: (x + 1) / 2 * np.tanh(x / 2),
    "class": lambda x: np.roll(x, 2, 1) * x,
    "two on the host": lambda x: np.roll(x / 2, 2, 1),
    "several results": lambda x: np.hypot(x, x + 2) * np.arctan2(x + 2, x),
    "one of several": lambda x: np.arctan2(x + 2, 2 * x) + 1,
    "by a jvp alone": lambda x: x**4,
}


def numeric_gradient(f: Any, x: Any) -> Any:
    x, step = x.astype("d"), 1e-5
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        found[at] = (f(x + moved).sum() - f(x - moved).sum()) / (2 * step)
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", BUILDS)
def test_values_and_gradients_everywhere(name: str, device: str, tmp_path: Path) -> None:
    y, g = on(device, tmp_path, grad_of(BUILDS[name]), X)
    np.testing.assert_allclose(y, NUMPY[name](X), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(g, numeric_gradient(NUMPY[name], X), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("device", ["cpu", "dynamic", "cuda"])
def test_dtypes(device: str, dtype: str, tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return [softsign(x), blend(x, x), halve(x), first(x, count=2)]

    x = X.astype(sn.placeholder((), dtype).dtype)
    wanted = on("numpy", tmp_path, build, x)
    for got, want in zip(on(device, tmp_path, build, x), wanted, strict=True):
        assert got.dtype == want.dtype == x.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), ()])
def test_sizes(device: str, shape: Any) -> None:
    x = sn.placeholder(shape, name="x")
    outputs = [softsign(x), halve(x)] + ([first(x, count=2)] if shape else [])
    f = sn.function(x, outputs, device=device)
    feed = np.ones(shape, "f")
    for y, node in zip(f(feed), outputs, strict=True):
        np.testing.assert_array_equal(y, np.full(node.shape, 0.5 if y.shape == shape else 1.0))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_symbolic_dims_and_many_steps(device: str) -> None:
    x = sn.placeholder(("n", 3), name="x")
    w = sn.variable(np.ones(3, "f"), "w")
    y = sn.sum(halve(x * w))
    f = sn.function(x, y, updates={w: halve(w)}, device=device)
    data = np.arange(24, dtype="f").reshape(8, 3)
    got = f.run(4, data, batch_size=2)
    wanted = [data[2 * i : 2 * i + 2].sum() * 0.5 ** (i + 1) for i in range(4)]
    np.testing.assert_allclose(got, wanted)
    np.testing.assert_allclose(w.value, 0.5**4)


def test_derivatives_of_any_order() -> None:
    x = sn.placeholder((), "float64", "x")
    y = softsign(x) * bump(x)
    for _ in range(3):
        (y,) = sn.grad(y, x)
    t = sn.jvp([cube(x) * softsign(x)], [x], [sn.ones((), "float64")])[0]
    f = sn.function(x, [y, t], device="numpy")
    at, h = 0.7, 1e-2

    def own(v: float) -> float:
        return v / (1 + abs(v)) * float(np.exp(-v * v))

    third = (own(at + 2 * h) - 2 * own(at + h) + 2 * own(at - h) - own(at - 2 * h)) / (2 * h**3)
    first_order = 3 * at**2 * at / (1 + at) + at**3 / (1 + at) ** 2
    got = f(np.float64(at))
    np.testing.assert_allclose(got[0], third, rtol=2e-3)
    np.testing.assert_allclose(got[1], first_order, rtol=1e-12)


def test_a_forward_rule_is_transposed() -> None:
    x = sn.placeholder((3,), "float64", "x")
    y = sn.sum(cube(x) * x)
    (g,) = sn.grad(y, x)
    (h,) = sn.grad(sn.sum(g), x)
    a = np.array([0.5, -1.0, 2.0])
    got = sn.function(x, [g, h], device="numpy")(a)
    np.testing.assert_allclose(got[0], 4 * a**3)
    np.testing.assert_allclose(got[1], 12 * a**2)


def test_the_fake_gpu_waits_for_the_host(gpu: Any) -> None:
    x = sn.placeholder((4, 3), name="x")
    w = sn.variable(np.ones(3, "f"), "w")
    f = sn.function(x, halve(softsign(x) * w) + 1, updates={w: halve(w)}, device="cuda")
    soft = X / (1 + np.abs(X))
    for scale in (1.0, 0.5, 0.25):
        np.testing.assert_allclose(f(X).get(), soft * scale / 2 + 1, rtol=1e-6)
    assert gpu.count("begin capture") == 0
    stacked = f.run(2, np.concatenate([X, X]), batch_size=4)
    np.testing.assert_allclose(stacked.get()[1], soft / 16 / 2 + 1, rtol=1e-6)
    assert "Python: halve f32[4,3]" in str(f._backend.program(f.plan))
    assert f.plan.host_syncs == 2


@pytest.mark.slow
def test_the_fake_gpu_times_the_host(gpu: Any) -> None:
    x = sn.placeholder((4, 3), name="x")
    assert "halve" in str(sn.function(x, halve(x) * 2, device="cuda").profile(X, repeat=1))


def test_explain_and_the_plan_say_where_it_runs() -> None:
    x = sn.placeholder((4, 3), name="x")
    f = sn.function(x, halve(softsign(x) * 2) * 2, device="cpu")
    text = str(f.explain())
    assert (
        "on the host: halve is a Python call between kernels (declared on tests/own_ops.py:" in text
    )
    assert "with a scalar form it would fuse" in text
    assert text.count("on the host") == 1
    assert f.plan.launches == 3
    assert f.plan.host_syncs == 1
    fused = sn.function(x, softsign(x) * 2 + blend(x, x), device="cpu")
    assert fused.plan.launches == 1
    assert fused.plan.host_syncs == 0
    assert "0.25f * t0 + 7.5e-1f * t0" in fused.source()
    assert f.cost_analysis().launches == 3


def test_export_needs_a_scalar_form(tmp_path: Path) -> None:
    x = sn.placeholder((4, 3), name="x")
    sn.function(x, softsign(x), device="numpy").export_c(tmp_path / "a.c")
    with pytest.raises(ArgumentError, match=r"halve \(declared on .*own_ops.py:\d+\) runs in Py"):
        sn.function(x, halve(x), device="numpy").export_c(tmp_path / "b.c")


def test_text_and_copies() -> None:
    x = sn.placeholder((4, 3), name="x")
    graph = sn.function(x, [first(turned(x), count=2), halve(x)], device="numpy").graph
    text = str(graph)
    assert "first_columns(%0, count=2, keep=True)" in text
    assert "turn_axis(%x, axis=1, steps=(1, 1), dtype=f32)" in text
    assert sn.parse(text) is graph
    assert copy.deepcopy(graph) is graph
    with pytest.raises(ParseError, match="unknown op 'halved'; if it is one of your own, run the"):
        sn.parse(text.replace("halve(", "halved("))
    assert "halve" in OWN_OPS
    assert "halve" not in OPS


def test_passes_see_it_like_any_op() -> None:
    x = sn.placeholder((4, 3), name="x")
    twice = softsign(x) * 1 + softsign(x)
    f = sn.function(x, [twice, halve(sn.constant(np.ones(3, "f")))], device="cpu")
    assert f.as_text(after="remat").count("softsign(") == 1
    assert "halve(" not in f.as_text(after="constant_folding")
    f.check_numerics(X)
    half = sn.function(x, halve(x) @ sn.ones((3, 2)), device="cpu", precision="bfloat16")
    np.testing.assert_allclose(half(X), X @ np.ones((3, 2)) / 2, atol=2e-2)


def test_batches() -> None:
    x = sn.placeholder((2, 3), name="x")
    xs = sn.placeholder((5, 2, 3), name="xs")
    scaled = sn.custom_op(
        "scaled_rows", lambda x, s: x * s, lambda x, s: x, vectorized=False,
        vjp=lambda y, g, x, s: (g * s, None),
    )  # fmt: skip
    s = sn.constant(np.float32(3))
    outputs: list[Any] = [softsign(x), first(x, count=2), turned(x), scaled(x, s)]
    made = batch_nodes(outputs, {x: xs}, 5)
    feed = np.random.default_rng(1).normal(size=(5, 2, 3)).astype("f")
    got = sn.function(xs, made, device="numpy")(feed)  # type: ignore[arg-type]
    one = sn.function(x, outputs, device="numpy")
    for i in range(5):
        for whole, wanted in zip(got, one(feed[i]), strict=True):
            np.testing.assert_array_equal(whole[i], wanted)
    empty = batch_nodes(outputs, {x: sn.placeholder((0, 2, 3), name="none")}, 0)
    assert [y.shape for y in empty if y is not None] == [(0, 2, 3), (0, 2, 2), (0, 2, 3), (0, 2, 3)]
    many = sn.placeholder(("n", 2, 3), name="many")
    looped = batch_nodes(outputs, {x: many}, many.shape[0])
    for whole, wanted in zip(sn.function(many, looped, device="numpy")(feed), got, strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(whole, wanted)


def test_vectorized_ops_take_all_examples_at_once() -> None:
    seen = []

    def norm(x: Any) -> Any:
        seen.append(x.shape)
        return np.sqrt((x * x).sum(-1))

    row_norm = sn.custom_op("row_norm", norm, lambda x: x.with_shape(x.shape[:-1]), vectorized=True)
    x, xs = sn.placeholder((3,), name="x"), sn.placeholder(("n", 3), name="xs")
    (y,) = batch_nodes([row_norm(x)], {x: xs}, xs.shape[0])  # type: ignore[list-item]
    got = sn.function(xs, y, device="numpy")(np.full((5, 3), 2, "f"))  # type: ignore[arg-type]
    np.testing.assert_allclose(got, np.sqrt(12), rtol=1e-6)
    assert seen == [(5, 3)]


def looped(x: Any) -> list[Any]:
    c, ys = sn.scan(lambda c, u: (halve(c) + u, softsign(c) * halve(u)), x[0], x)
    y = sn.cond(sn.sum(x) > 0, halve, sn.tanh, x)
    z = sn.while_loop(lambda c: sn.sum(c) > 0.1, halve, sn.abs(x))
    r, angle = sn.vmap(lambda r: polar(r, halve(r)))(x)
    return [c, ys, y, z, sn.vmap(lambda r: halve(r) * softsign(r))(x), r, angle]


def test_in_loops_and_conditions(gpu: Any) -> None:
    x = sn.placeholder((4, 3), name="x")
    wanted = sn.function(x, looped(x), device="numpy")(X)
    for device in ("cpu", "cuda"):
        f = sn.function(x, looped(x), device=device)
        for _ in range(2):
            for got, want in zip(f(X), wanted, strict=True):
                value = got if device == "cpu" else got.get()
                np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match="export_c: halve .* runs in Python"):
        sn.function(x, looped(x)[0], device="numpy").export_c("none.c")


# `check_op`


@pytest.mark.parametrize("op", [softsign, blend, halve, bump, cube, turned, first], ids=str)
def test_what_is_right_passes(op: Any) -> None:
    sn.check_op(op, *[X + 2] * (2 if op is blend else 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scalar": "{0} / (2 + fabs({0}))"}, r"its scalar form is not its eval: .* for .* at \["),
        ({"vjp": lambda y, g, x: 2 * g}, "its vjp is not the derivative of its eval: along a"),
        ({"jvp": lambda y, xs, ts: ts[0]}, "its vjp is not the derivative of its eval"),
        (
            {"vjp": lambda y, g, x: g / sn.square(1 + sn.abs(x)), "jvp": lambda y, xs, ts: ts[0]},
            "its jvp is not the derivative of its eval",
        ),
    ],
)
def test_what_does_not_agree_is_named(options: Any, message: str) -> None:
    op = sn.custom_op("almost", lambda x: x / (1 + np.abs(x)), **options)
    with pytest.raises(VerifyError, match=rf"almost \(declared on tests/.*:\d+\): {message}"):
        sn.check_op(op, X)


def test_a_vectorized_op_that_is_not() -> None:
    op = sn.custom_op(
        "sums_all", lambda x: x - x.sum(keepdims=True), lambda x: x, vectorized=True,
        vjp=lambda y, g, x: g - sn.sum(g),
    )  # fmt: skip
    with pytest.raises(VerifyError, match="sums_all .*: with examples along a first axis it"):
        sn.check_op(op, X)
    with pytest.raises(ExecutionError, match="its eval gives"):
        sn.check_op(sn.custom_op("short", lambda x: x[:1], lambda x: x), X)
    for wrong in ((3, X), (softsign,), (lambda x: 3, X)):
        with pytest.raises(ArgumentError, match="check_op"):
            sn.check_op(*wrong)  # type: ignore[arg-type]


# wrong ones


def where(f: Any) -> str:
    """The place of a function, as messages name it."""
    return f"tests/test_own_ops.py:{inspect.getsourcelines(f)[1]}"


def lying(name: str, eval: Any, infer: Any = lambda x: x) -> Any:
    return sn.custom_op(name, eval, infer)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("eval", "message"),
    [
        (lambda x: x[:1], r"its eval gives float32\[1,3\], but its shape rule says float32\[4,3\]"),
        (lambda x: x.astype("d"), r"its eval gives float64\[4,3\], but its shape rule says float3"),
        (lambda x: "text", "its eval gives <U4"),
        (lambda x: None, r"its eval gives object\[\]"),
        (lambda x: 1 // 0, "its eval failed: ZeroDivisionError"),
        (lambda x: np.add(x, 1, out=x), "its eval failed: ValueError: .*read-only"),
        (lambda x: [][0], "its eval failed: IndexError"),
    ],
)
def test_an_eval_that_lies_or_fails(device: str, eval: Any, message: str, tmp_path: Path) -> None:
    op = lying("liar", eval)
    with pytest.raises(ExecutionError, match=f"liar: {message}") as caught:
        on(device, tmp_path, lambda x: op(x * 2), X)
    text = str(caught.value)
    assert "declared on tests/test_own_ops.py:" in text
    assert text.count("tests/test_own_ops.py:") == 2  # the op's line, and that which uses it
    assert not isinstance(caught.value, OutOfRangeError)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_several_results_that_are_not_told(device: str) -> None:
    x = sn.placeholder((3,), name="x")
    for eval, message in (
        (lambda x: (x,), r"its eval gives \(array.*, but its shape rule says 2 results"),
        (lambda x: x, r"its eval gives float32\[3\], but its shape rule says 2 results"),
        (lambda x: (x, x[:1]), r"its eval gives float32\[1\], but its shape rule says float32\[3"),
    ):
        op = lying("two", eval, lambda x: [x, x])
        with pytest.raises(ExecutionError, match=message):
            sn.function(x, op(x)[0], device=device)(np.ones(3, "f"))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_failure_updates_nothing(device: str) -> None:
    fails = []

    def sometimes(x: Any) -> Any:
        if fails:
            raise RuntimeError("no more")
        return x + 1

    op = lying("sometimes", sometimes)
    x = sn.placeholder((3,), name="x")
    w, v = sn.variable(np.zeros(3, "f"), "w"), sn.variable(np.zeros(3, "f"), "v")
    f = sn.function(x, sn.sum(x), updates={w: op(w + x), v: v + 1}, device=device)
    f(np.ones(3, "f"))
    fails.append(1)
    before = [w.value, v.value]
    with pytest.raises(ExecutionError, match="sometimes: its eval failed: RuntimeError: no more"):
        f(np.ones(3, "f"))
    np.testing.assert_array_equal([w.value, v.value], before)
    fails.clear()
    f(np.ones(3, "f"))
    np.testing.assert_array_equal(v.value, 2)


def test_a_failure_on_the_gpu_updates_nothing(gpu: Any) -> None:
    calls: list[int] = []

    def second(x: Any) -> Any:
        calls.append(1)
        return x[:0] if len(calls) == 2 else x + 1

    op = lying("second_lies", second)
    x = sn.placeholder((3,), name="x")
    w = sn.variable(np.zeros(3, "f"), "w")
    f = sn.function(x, sn.sum(x), updates={w: op(w + x)}, device="cuda")
    f(np.ones(3, "f"))
    with pytest.raises(ExecutionError, match="second_lies: its eval gives"):
        f(np.ones(3, "f"))
    np.testing.assert_array_equal(w.value, 2)
    f(np.ones(3, "f"))
    np.testing.assert_array_equal(w.value, 4)


def test_an_index_out_of_range_before_the_host() -> None:
    x, i = sn.placeholder((3,), name="x"), sn.placeholder((2,), "int64", "i")
    seen: list[Any] = []

    def look(x: Any) -> Any:
        seen.append(x)
        return x * 1

    f = sn.function([x, i], lying("looks", look)(sn.take(x, i)), device="cpu")
    with pytest.raises(OutOfRangeError):
        f(np.ones(3, "f"), np.array([0, 7]))
    assert not seen


def test_a_signal_comes_out_of_the_call() -> None:
    def interrupted(x: Any) -> Any:
        raise KeyboardInterrupt

    x = sn.placeholder((3,), name="x")
    f = sn.function(x, lying("interrupted", interrupted)(x), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        f(np.ones(3, "f"))


def test_a_result_that_the_user_keeps_is_copied() -> None:
    kept = np.ones(3, "f")
    op = lying("keeps", lambda x: kept)
    x = sn.placeholder((3,), name="x")
    y = sn.function(x, op(x), device="numpy")(np.zeros(3, "f"))
    y[...] = 5
    np.testing.assert_array_equal(kept, 1)


@pytest.mark.parametrize(
    ("infer", "message"),
    [
        (lambda x: x.nothing, r"its infer failed: AttributeError: .*declared on tests/test_own_o"),
        (lambda x: 3, r"its shape rule \(tests/test_own_ops.py:\d+\) must give a type"),
        (lambda x: ((3,), "float99"), "must give a type"),
        (lambda x, y: x, "its infer failed: TypeError"),
    ],
)
def test_a_shape_rule_that_fails(infer: Any, message: str) -> None:
    x = sn.placeholder((3,), name="x")
    op = lying("ruled", lambda x: x, infer)
    with pytest.raises(ArgumentError, match=message) as caught:
        op(x)
    assert f"x f32[3] ({where(test_a_shape_rule_that_fails)[:21]}" in str(caught.value)


def test_a_shape_rule_may_give_a_pair() -> None:
    x = sn.placeholder((3,), name="x")
    op = lying("pair", lambda x: np.ones((2, 2), "d"), lambda x: ((2, 2), "float64"))
    assert str(op(x).type) == "f64[2,2]"
    f = sn.function(x, op(x), device="cpu")
    np.testing.assert_array_equal(f(np.ones(3, "f")), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("vjp", "message"),
    [
        (None, r"plain \(tests/test_own_ops.py:\d+\) has no vjp"),
        (lambda y, g, x: (g, g), "gives 2 products for 1 operands"),
        (lambda y, g, x: sn.sum(g), r"gives \[\] for operand 0, which is \[3\]"),
        (lambda y, g, x: "text", "for operand 0"),
    ],
)
def test_a_vjp_that_is_none(vjp: Any, message: str) -> None:
    x = sn.placeholder((3,), name="x")
    op = sn.custom_op("plain", lambda x: x, lambda x: x, vjp=vjp)
    with pytest.raises(GradientError, match=message):
        sn.grad(sn.sum(op(x)), x)
    silent = sn.custom_op("silent", lambda x: x, lambda x: x, differentiable=False)
    (g,) = sn.grad(sn.sum(silent(x) * x), x)
    np.testing.assert_array_equal(sn.function(x, g, device="numpy")(np.full(3, 2, "f")), 2)


def test_a_jvp_that_is_not_linear() -> None:
    op = sn.custom_op("bent", lambda x: x, jvp=lambda y, xs, ts: ts[0] * ts[0])
    x = sn.placeholder((3,), name="x")
    with pytest.raises(GradientError, match=r"bent \(tests/.*\): its jvp is not linear in the"):
        sn.grad(sn.sum(op(x)), x)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("add", abs), {}, "op 'add': the name is an op of staticnet"),
        (("a b", lambda x: x), {}, "op 'a b': the name must be letters"),
        ((3, abs), {}, "the name must be a string"),
        (("o", 3), {}, "eval must be a function"),
        (("o", abs, 3), {}, "infer must be a function, not 3"),
        (("o", lambda x: x), {"vjp": 3}, "vjp must be a function, not 3"),
        (("o", lambda x: x), {"scalar": "{1}"}, r"names \['1'\]; it may name \['0'\]"),
        (("o", lambda x: x), {"scalar": "{0"}, "expected '}'"),
        (("o", lambda x: x), {"scalar": "{0}; exit(1)"}, "must be one C expression"),
        (("o", lambda x: x), {"scalar": ""}, "must be one C expression"),
        (("o", lambda x: x), {"scalar": "gamma({0})"}, r"calls \['gamma'\]; there are .*fabs"),
        (("o", lambda *x: x[0]), {"scalar": "{0}"}, "needs a fixed number of operands"),
        (("o", lambda x: x), {"dtypes": "floats"}, "dtypes 'floats': use one of"),
        (("o", lambda x, *, k: x), {}, "the attribute k needs an annotation, as `k: int`"),
    ],
)
def test_declarations_that_are_none(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sn.custom_op(*arguments, **options)


def test_attributes_that_are_none() -> None:
    def scaled(x: Any, *, by: float) -> Any:
        return x * by

    with pytest.raises(ArgumentError, match="annotated 'float'; an attribute is one of int, bool"):
        sn.custom_op("scaled", scaled)
    x = sn.placeholder((3, 2), name="x")
    with pytest.raises(ArgumentError, match="takes the attributes .'count', 'keep'.; k is missing"):
        first(x, k=2)
    with pytest.raises(ArgumentError, match="first_columns: count must be an int, not 'a'"):
        first(x, count="a")
    assert softsign(sn.placeholder((3,), "int64", "n")).dtype == sn.sqrt(sn.arange(3)).dtype
    odd = sn.custom_op("odd", lambda x: x % 2, scalar="{0} % 2", dtypes="integer")
    with pytest.raises(DTypeError, match="odd: takes integer or unsigned operands, not float32"):
        odd(x)
    with pytest.raises(ArgumentError, match="blend: takes 2 operands, not 1"):
        blend(x)


def test_a_scalar_form_keeps_the_shape_of_its_elements() -> None:
    op = sn.custom_op(
        "is_big", lambda x: np.abs(x) > 1, lambda x: (x.shape, "bool"), scalar="fabs({0}) > 1"
    )
    x = sn.placeholder((4, 3), name="x")
    f = sn.function(x, sn.where(op(x), x, 0), device="cpu")
    np.testing.assert_array_equal(f(X), np.where(np.abs(X) > 1, X, 0))
    assert f.plan.launches == 1
    wrong = sn.custom_op("wrong", lambda x: x, lambda x: ((1,), "bool"), scalar="{0} > 1")
    with pytest.raises(ShapeError, match=r"its shape is \[4,3\] and not \[1\]"):
        wrong(x)


def test_an_op_may_be_declared_again() -> None:
    x = sn.placeholder((3,), name="x")
    results = []
    first_op = sn.custom_op("again", lambda x: x * 2, lambda x: x)
    y = first_op(x)
    second_op = sn.custom_op("again", lambda x: x * 3, lambda x: x)
    for node in (y, second_op(x)):
        results.append(sn.function(x, node, device="numpy")(np.ones(3, "f"))[0])
    assert results == [2, 3]


def test_reductions_of_ones_own() -> None:
    x = sn.placeholder((4, 3), name="x")
    for device in ("numpy", "cpu"):
        f = sn.function(x, Spread((1,), False)(x) * 2, device=device)
        np.testing.assert_allclose(f(X), 2 * np.ptp(X, 1), rtol=1e-6)


def test_representation_and_documentation() -> None:
    assert repr(softsign).startswith("<custom op softsign (")
    assert softsign.__name__ == "softsign"
    assert Path(own_ops.__file__).name in repr(halve)
