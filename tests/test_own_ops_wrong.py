"""Ops of a user's own that are wrong are named, and `check_op` finds what is not seen at once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import DEVICES, grad_of, on
from own_ops import Spread, blend, bump, cube, first, halve, softsign
from test_own_ops import X, turned

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import (
    ArgumentError,
    CompileError,
    DTypeError,
    ExecutionError,
    GradientError,
    OutOfRangeError,
    ShapeError,
    VerifyError,
)

COMPILES = True


RIGHT = {
    "softsign": softsign, "blend": blend, "halve": halve, "bump": bump, "cube": cube,
    "turned": turned, "first": first,
}  # fmt: skip


@pytest.mark.parametrize("op", RIGHT.values(), ids=RIGHT)
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
    of_all = sn.custom_op("of_all", lambda x: x * 0 + x.max(), lambda x: x, vectorized=True)
    with pytest.raises(VerifyError, match="of_all .*: with examples along a first axis it"):
        sn.check_op(of_all, np.eye(3, dtype="f"))  # in any order its rows are the same
    with pytest.raises(ExecutionError, match="its eval gives"):
        sn.check_op(sn.custom_op("short", lambda x: x[:1], lambda x: x), X)
    for wrong in ((3, X), (softsign,), (lambda x: 3, X)):
        with pytest.raises(ArgumentError, match="check_op"):
            sn.check_op(*wrong)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Turned(sn.Op, name="turned_flat"):
    """y = x; its vjp has as many elements as x, in another shape."""

    count: int

    def infer(self, x: Any) -> Any:
        return x

    def eval(self, xp: Any, x: Any) -> Any:
        return x

    def vjp(self, y: Any, g: Any, x: Any) -> Any:
        return [sn.reshape(g, (3, 4))] * self.count


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_a_vjp_of_a_class_is_held_to_its_operands(device: str, tmp_path: Path) -> None:
    for count, message in (
        (1, r"gives \[3,4\] for operand 0, which is \[4,3\]"),
        (2, "gives 2 prod"),
    ):
        with pytest.raises(GradientError, match=rf"turned_flat: its vjp \(tests/.*\) {message}"):
            on(device, tmp_path, grad_of(Turned(count)), X)


def by_kind(x: Any, *, flag: bool = True, word: str = "2", size: int = 3) -> Any:
    return x * flag * size


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("{0:d}", "nothing else in the braces"),
        ("{0!r}", "nothing else in the braces"),
        ("{size:x} * {0}", "nothing else in the braces"),
        ("{{0}}", "nothing else in the braces"),
        ("{0}{0}", "nothing else in the braces"),
        ("{0} ** 2", r"has \*\*, which is no C here: pow"),
        ("{0} // 2", "has //, which is no C here: floor_divide"),
        ("{0} /* twice */", r"has /\*, which is no C here"),
        ("{0} * {word}", "reads word; of attributes it may read int and bool alone"),
    ],
)
def test_a_form_that_is_pythons(form: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sn.custom_op("form", by_kind, scalar=form)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_attributes_in_a_form(device: str) -> None:
    op = sn.custom_op("scaled_by_kind", by_kind, scalar="{0} * {flag} * {size}")
    x = sn.placeholder((4, 3), name="x")
    f = sn.function(x, [op(x), op(x, flag=False), op(x, size=-2)], device=device)
    for got, by in zip(f(X), (3, 0, -2), strict=True):
        np.testing.assert_array_equal(got, X * np.float32(by))


class Formless(sn.Elementwise, name="formless"):
    scalar = "{0} * {1}"

    def eval(self, xp: Any, x: Any) -> Any:
        return x


def test_a_form_of_a_class_that_does_not_fit() -> None:
    x = sn.placeholder((3,), name="x")
    with pytest.raises(CompileError, match=r"formless: its scalar form .* 1 operands: IndexError"):
        sn.function(x, Formless()(x), device="cpu")


@pytest.mark.parametrize("form", ["{0} * a1", "share + {0}", "{0} * (double)2"])
def test_a_form_reads_its_operands_alone(form: str) -> None:
    with pytest.raises(ArgumentError, match="reads .* operands and attributes in braces"):
        sn.custom_op("reads", lambda x: x, scalar=form)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_negative_attribute_in_a_form(device: str) -> None:
    def lowered(x: Any, *, b: int) -> Any:
        return x - b

    op = sn.custom_op("lowered", lowered, scalar="{0} -{b}")
    x = sn.placeholder((4, 3), name="x")
    f = sn.function(x, [op(x, b=-2), op(x, b=2)], device=device)
    for got, b in zip(f(X), (-2, 2), strict=True):
        np.testing.assert_array_equal(got, X - np.float32(b))


@pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")
def test_a_form_that_is_no_c() -> None:
    op = sn.custom_op("no_c", lambda x: x, scalar="{0} +* 2")
    x = sn.placeholder((3,), name="x")
    with pytest.raises(
        CompileError, match=r"of your own: no_c '\{0\} \+\* 2' \(declared on tests/tes"
    ):
        sn.function(x, op(x), device="cpu")


def where(f: Any) -> str:
    """The place of a function, as messages name it."""
    return f"tests/test_own_ops_wrong.py:{inspect.getsourcelines(f)[1]}"


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
    assert "declared on tests/test_own_ops_wrong.py:" in text
    assert text.count("tests/test_own_ops_wrong.py:") == 2  # the op's line, and that which uses it
    assert not isinstance(caught.value, OutOfRangeError)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_several_results_that_are_not_told(device: str) -> None:
    x = sn.placeholder((3,), name="x")
    for eval, message in (
        (lambda x: (x,), r"its eval gives \(float32\[3\]\), but its shape rule says 2 results"),
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
        (lambda x: 3, r"its shape rule \(tests/test_own_ops_wrong.py:\d+\) must give a type"),
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
        (None, r"plain \(tests/test_own_ops_wrong.py:\d+\) has no vjp"),
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


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"vjp": lambda y, g: g}, "its vjp .* is called with 3 arguments .* takes \\(y, g\\)"),
        ({"jvp": lambda y: y}, "its jvp .* is called with 3 arguments .* takes \\(y\\)"),
    ],
)
def test_a_rule_of_another_arity(rule: Any, message: str) -> None:
    x = sn.placeholder((3,), name="x")
    y = sn.custom_op("plain", lambda x: x, lambda x: x, **rule)(x)
    with pytest.raises(ArgumentError, match=message) as caught:
        sn.grad(sn.sum(y), x)
    assert "gradient of tests/test_own_ops_wrong.py:" in str(caught.value)


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

    with pytest.raises(ArgumentError, match="is annotated float; an attribute is int, bool, str"):
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


def test_reductions_of_ones_own() -> None:
    x = sn.placeholder((4, 3), name="x")
    for device in ("numpy", "cpu"):
        f = sn.function(x, Spread((1,), False)(x) * 2, device=device)
        np.testing.assert_allclose(f(X), 2 * np.ptp(X, 1), rtol=1e-6)


def test_representation_and_documentation() -> None:
    assert repr(softsign).startswith("<custom op softsign (")
    assert softsign.__name__ == "softsign"
    assert "own_ops.py" in repr(halve)
