"""`sn.derive` and `staticnet derive`: the steps, the result, numbers beside it, the page."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.cli.main import main
from staticnet.errors import ArgumentError, ExpressionError, GradientError
from staticnet.explain.derivation import MAX_ORDER, Derivation
from staticnet.explain.expression import parse
from staticnet.explain.rules import local
from staticnet.explain.simplify import ALMOST_EVERYWHERE, RULES
from staticnet.explain.values import evaluated
from staticnet.ir.node import topological
from staticnet.passes import algebraic_simplify as algebra
from staticnet.rewrite.pattern import Rule
from staticnet.rules import check_rule

STEPS = """y = sin(x) * x

dy/dx
  = d/dx[sin(x)] * x + d/dx[x] * sin(x)      product rule: d(u * v) = du * v + dv * u
  = d/dx[x] * cos(x) * x + d/dx[x] * sin(x)  chain rule: d(sin(u)) = du * cos(u)
  = 1 * cos(x) * x + 1 * sin(x)              variable
  = cos(x) * x + 1 * sin(x)                  multiply by one
  = cos(x) * x + sin(x)                      multiply by one

dy/dx = cos(x) * x + sin(x)

"""
SCALARS = [
    "sin(x)*x", "x^3 + 2*x", "tanh(x*y)", "x/(1+x^2)", "x^x", "relu(x - 1)", "sigmoid(x)",
    "exp(-x*x)", "atan(x)", "log(cosh(x))", "abs(x - 1)", "sqrt(x)", "asin(x/4)", "maximum(x, 1)",
    "floor(x)*x", "x - x", "2", "y", "gelu(x)", "hypot(x, y)", "logaddexp(x, y)", "atan2(x, y)",
    "x if x > 1 else x^2", "clip(x, 0.5, 1)", "erf(x)", "softplus(x)", "log1p(x)/expm1(x)",
    "rsqrt(x)", "x^y", "y^x", "x^2.5 + x^-1", "(x*2)/(x/3)", "-(x*-x)", "silu(x)", "x*x*x*x",
]  # fmt: skip
ARRAYS = [
    "sum(x*x)", "x @ x", "exp(x)", "sum(softmax(x)*x)", "max(x)", "prod(x)", "cumulative_sum(x)",
    "mean(tanh(x))", "x[0]*x", "logsumexp(x)", "var(x)", "stack([x, x*x])", "sum(sort(x)[1:])",
]  # fmt: skip


def test_the_steps_are_those_of_a_textbook() -> None:
    assert str(sn.derive("sin(x) * x", "x")).startswith(STEPS)


@pytest.mark.parametrize("order", [1, 2])
def test_what_is_derived_is_the_derivative(order: int) -> None:
    torch = pytest.importorskip("torch")
    functions: dict[str, Any] = {
        "sin(x)*x": lambda x: torch.sin(x) * x,
        "x/(1+x^2)": lambda x: x / (1 + x**2),
        "exp(-x*x)": lambda x: torch.exp(-x * x),
        "x^x": lambda x: x**x,
        "gelu(x)": torch.nn.functional.gelu,
        "log(cosh(x))": lambda x: torch.log(torch.cosh(x)),
    }
    for text, f in functions.items():
        made = sn.derive(text, "x", order)
        for value in (0.4, 1.3, 2.2):
            x = torch.tensor(value, dtype=torch.float64, requires_grad=True)
            wanted = f(x)
            for _ in range(order):
                (wanted,) = torch.autograd.grad(wanted, x, create_graph=True)
            (got,) = evaluated([made.result], {made.x: np.float64(value)})
            assert got == pytest.approx(wanted.item(), rel=1e-12, abs=1e-12), text


@pytest.mark.slow
@pytest.mark.parametrize("text", SCALARS)
def test_scalars_of_orders_up_to_four(text: str) -> None:
    read = parse(text)
    x = read.variables["x"] if "x" in read.variables else sn.placeholder((), "float64", "x")
    for order in (1, 2, 3, 4):
        made = sn.derive(read.node, x, order)
        assert made.checked.agrees, str(made.checked)
        assert no_derivative_left(made)


@pytest.mark.slow
@pytest.mark.parametrize("text", ARRAYS)
def test_arrays_have_differentials(text: str) -> None:
    read = parse(text, {"x": (3,)})
    for order in (1, 2):
        made = sn.derive(read.node, read.variables["x"], order)
        assert made.checked.points
        assert made.checked.agrees, f"{made}"
        assert made.result.shape == read.node.shape


def no_derivative_left(made: Derivation) -> bool:
    return not any(node.op.name == "derivative" for node in topological([made.result]))


def test_every_step_is_an_equation() -> None:
    """Each whole, with what is left to derive worked out, has one value."""
    x = np.float64(0.7)
    made = sn.derive("tanh(x^2) / (x + 3)", "x")
    plain = [step for step in made.steps if "d/dx" not in repr(step.expression)]
    values = [float(evaluated([s.expression], {made.x: x})[0]) for s in plain]
    np.testing.assert_allclose(values, values[0], rtol=1e-13)
    assert len(values) > 4


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule not in algebra.RULES], ids=lambda rule: rule.name
)
def test_the_rules_of_the_reader_are_equations(rule: Rule) -> None:
    check_rule(rule, (0.5, 8.0))


def test_guards_at_single_points_are_left_out_of_derivatives_alone() -> None:
    names = {rule.name for rule in ALMOST_EVERYWHERE}
    assert names == {"away_from_poles", "away_from_one_point", "nothing_over_something"}
    x = sn.placeholder((), "float64", "x")
    y: Any = sn.where(x == 1, 3.0, x * x)
    assert "x == 1" in str(sn.derive(y, x).result)
    assert "where" not in str(sn.derive("x^x", "x").result)


def test_a_point_of_ones_own() -> None:
    made = sn.derive("x^2 * w", "x").at(x=3, w=2)
    (point,) = made.checked.points
    assert (point.value, point.derived) == (18, 12)
    assert sn.derive("x^2", "x").check(x=5).points[0].derived == 10


def test_nodes_of_a_network() -> None:
    w = sn.variable(np.array([[1.0, 2.0]], np.float32), "w")
    x = sn.placeholder((3, 1), name="x")
    loss: Any = sn.mean(sn.relu(x @ w) ** 2)
    made = sn.derive(loss, w)
    assert made.symbol == "dy"
    assert made.checked.agrees


@pytest.mark.parametrize(
    ("y", "x", "order", "what"),
    [
        (3, "x", 1, "must be a node"),
        ("x^2", "z", 1, "has no variable 'z'"),
        ("x^2", "x", 0, "order"),
        ("x^2", "x", MAX_ORDER + 1, "order must be at most 12"),
        ("x^2", 7, 1, "has no variable 7"),
    ],
)
def test_bad_arguments(y: Any, x: Any, order: int, what: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(what)):
        sn.derive(y, x, order)


def test_integers_have_no_derivative() -> None:
    n = sn.placeholder((), "int64", "n")
    with pytest.raises(GradientError, match="is not floating-point"):
        sn.derive(n * n, n)


def test_notebook_and_latex() -> None:
    made = sn.derive("1/x", "x")
    assert made.latex() == r"\frac{-1}{x^{2}}" or "x^{2}" in made.latex()
    assert made._repr_latex_().startswith("$")
    assert "<math" in made._repr_html_()
    assert "\\begin{align*}" in made.steps_latex()


HOSTILE = [
    "", " ", "2x", "sin x", "foo(x)", "x(y)", "2(x+1)", "x^^2", "__import__('os')", "x.__class__",
    "(lambda: 1)()", "[x for x in y]", "softmax(x)", "sin", "-" * 1500 + "x", "(" * 300 + "x",
    "sum(x, axis=5)", "1j*x", "x[0]", "x & y", "sin()", "ones((100000,100000))", "dropout(x)",
    "x = 3", "x; y", "'a'+x", "None", "f'{x}'", "x<y<z", "\x00", "cond(x)", "x := 3", "*x",
    "sin(*x)", "sin(**x)", "x" * 3000, "{x: 1}", "x and y", "not x", "~x", "1" + "0" * 400,
    "x²3", "x²e3", "x².5", "πx", "1e400*x", "log(x, 1)", "log(x, 0)",
    "é+2y", "lambda x: x", "await x", "(x, y)", "x[::0]", "einsum('i,i', x, y)", "top_k(x, 2)",
]  # fmt: skip


def test_what_is_no_expression_is_pointed_at() -> None:
    for text in HOSTILE:
        with pytest.raises(ExpressionError) as caught:
            parse(text)
        if text.strip():
            assert "^" in caught.value.pointed, text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("max(x, 1)", lambda x: 1.0), ("min(x, 9) * 2", lambda x: 2.0),
        ("log(x, 2)", lambda x: 1 / (x * math.log(2))),
        ("sec(x)", lambda x: math.tan(x) / math.cos(x)),
        ("csc(x)", lambda x: -math.cos(x) / math.sin(x) ** 2),
        ("cot(x)", lambda x: -1 / math.sin(x) ** 2), ("cbrt(x)", lambda x: x ** (-2 / 3) / 3),
        ("2×x² − π·x ÷ 4", lambda x: 4 * x - math.pi / 4), ("x¹²", lambda x: 12 * x**11),
        ("max(stack([x, x²]), 0)", lambda x: 2 * x),
        ("exp(300*x)", lambda x: 300 * math.exp(300 * x)),
    ],
)  # fmt: skip
def test_what_students_write(text: str, wanted: Any) -> None:
    made = sn.derive(text, "x").at(x=1.3)
    (point,) = made.checked.points
    assert point.derived == pytest.approx(wanted(1.3), rel=1e-12)
    assert made.checked.agrees


def test_nothing_over_something_is_nothing() -> None:
    assert "0 /" not in str(sn.derive("x/(1+abs(x))", "x", 3).result)


def test_a_product_of_sums_is_told_with_its_brackets() -> None:
    with pytest.raises(ExpressionError, match=re.escape("write (x + 1) * (x + 2)")):
        parse("(x+1)(x+2)")


@pytest.mark.parametrize("text", ["x^2 + é·foo(x)", "  π²*foo(x)"])
def test_the_caret_counts_what_was_typed(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    shown, below = caught.value.pointed.splitlines()
    assert below.index("^") == shown.index("foo")


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("x²3", 2, "does not parse"), ("1 + x¹²e3", 7, "does not parse"),
        ("πx", 1, "does not parse"), ("x*1e400", 2, "the number is too large"),
        ("2*log(x, 1)", 2, "has the base 1: .* log.1. is 0"),
        ("log(x, -2)", 0, "has the base -2: it is positive"),
    ],
)  # fmt: skip
def test_what_would_be_another_number_is_refused(text: str, at: int, what: str) -> None:
    with pytest.raises(ExpressionError, match=what) as caught:
        parse(text)
    assert caught.value.pointed.splitlines()[1].index("^") == at + 2


def test_no_number_beside_a_finite_difference_is_told() -> None:
    """The slope of the root is infinite where that of relu is 0."""
    for text, order in (("sqrt(relu(-x))", 1), ("relu(-x)**1.5", 2)):
        checked = sn.derive(text, "x", order).checked
        assert len(checked.points) == 3
        assert not checked.agrees
        assert str(checked).endswith(checked.why)
        assert "divides 0 by 0" in checked.why
    for text in ("sqrt(x - 5)", "sqrt(relu(x))"):
        checked = sn.derive(text, "x").checked
        assert checked.agrees
        assert not checked.why


def test_the_caret_stands_at_the_place(capsys: Any) -> None:
    assert main(["derive", "x^2 + sin(x) * foo(x)"]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[1].index("^") == shown[0].index("foo")
    assert "foo is no function of sn" in shown[2]


def test_the_command(capsys: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["derive", "sin(x)*x", "--wrt", "x", "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(STEPS)
    text = page.read_text(encoding="utf-8")
    assert "product rule" in text
    assert "https://" not in text
    assert main(["derive", "w*x^2", "--wrt", "x", "--order", "2", "--latex"]) == 0
    assert capsys.readouterr().out.startswith("\\begin{align*}")
    assert main(["derive", "w*x^2", "--wrt", "x", "--at", "x=2", "w=3"]) == 0
    assert "x = 2" in capsys.readouterr().out
    assert main(["derive", "sum(x*x)", "--shape", "x=3"]) == 0
    capsys.readouterr()
    assert main(["derive", "sum(w*x)", "--wrt", "w", "--at", "x=[1,2]", "w=[3,4]"]) == 0
    assert re.search(r"dw = \[\S+, \S+\]  11  ", capsys.readouterr().out)
    for wrong in (
        ["w*x"], ["w*x", "--wrt", "z"], ["x", "--shape", "x"], ["x", "--shape", "x=-1"],
        ["x", "--at", "y=1"], ["x", "--at", "x"], ["x*w", "--wrt", "x", "--at", "x=2"],
        ["x", "--shape", "y=3"], ["x", "--shape", "x=3", "--at", "x=[1,2]"], ["x", "--order", "0"],
    ):  # fmt: skip
        assert main(["derive", *wrong]) == 2, wrong
        assert capsys.readouterr().err.startswith(("staticnet derive: ", "  "))


def test_the_page_plays_and_tells_rules(opened: Any, tmp_path: Path) -> None:
    text = sn.derive("sin(x)*x", "x").html(tmp_path / "d.html").read_text(encoding="utf-8")
    page = opened(text)
    assert page.locator("#where").text_content() == "5 of 5"
    page.keyboard.press("Home")
    assert page.locator("li.later").count() == 5
    page.keyboard.press("ArrowRight")
    assert page.locator("li.now b").text_content() == "product rule"
    page.locator("svg [data-node]").last.press("Enter")
    assert "product rule" in page.locator("#details").text_content()
    page.keyboard.press("Escape")
    assert page.locator("#details").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_derivative_of_a_block_is_by_its_own_operands() -> None:
    """That of x * sin(x) by x is sin(x) there: what goes through sin is the other block's."""
    x = sn.placeholder((), "float64", "x")
    y: Any = x * sn.sin(x)
    assert [str(slope) for _, slope in local(y)] == ["sin(x): f64[]", "x: f64[]"]


def test_by_something_that_is_computed() -> None:
    x = sn.placeholder((), "float64", "x")
    u: Any = x * 2
    made = sn.derive(sn.sin(u) * u, u)
    assert "d/d(x * 2)[" in str(made)
    assert str(made.result) == "2 * cos(x * 2) * x + sin(x * 2): f64[]"
