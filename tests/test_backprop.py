"""`sn.backprop` and `staticnet backprop`: values forward, gradients backward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.cli.main import main
from staticnet.errors import ArgumentError, ExpressionError, GradientError
from staticnet.explain.expression import parse

CIRCUIT = """forward
  x            -2
  y            5
  x + y        3
  z            -4
  (x + y) * z  -12

backward
  df/d((x + y) * z)  1   it is f itself
  df/d(z)            3   g * (x + y) = 3  through (x + y) * z
  df/d(x + y)        -4  g * z = -4       through (x + y) * z
  df/d(y)            -4  g = -4           through x + y
  df/d(x)            -4  g = -4           through x + y
"""
CASES = {
    "1/(1+exp(-(w*x+b)))": {"w": -1.0, "x": 2.0, "b": 3.0},
    "x*x*x + sin(x)*x": {"x": 0.7},
    "sum(tanh(x@w+b)^2)": {"x": [[1.0, 0.2], [0.3, 0.4]], "w": [[0.1, 0.2], [0.3, -0.4]],
                           "b": [0.1, 0.2]},
    "sum(top_k(x, 2)[0]*x[:2])": {"x": [1.0, 3.0, 2.0]},
    "logsumexp(x) - x[1]": {"x": [1.0, 3.0, 2.0]},
    "x if x > 1 else x^2": {"x": 0.5},
    "mean(relu(x)*floor(x))": {"x": [1.5, -2.5]},
    "maximum(x, y) * minimum(x, y)": {"x": 1.0, "y": 2.0},
}  # fmt: skip


def test_the_circuit_that_courses_draw() -> None:
    assert str(sn.backprop("(x + y) * z", x=-2, y=5, z=-4)) == CIRCUIT.rstrip("\n")


def test_gradients_are_those_of_finite_differences() -> None:
    for text, at in CASES.items():
        found = sn.backprop(parse(text, {k: np.shape(v) for k, v in at.items()}).node, **at)
        for name, value in at.items():
            array = np.asarray(value, np.float64)
            wanted = np.zeros_like(array)
            for index in np.ndindex(*array.shape):
                step = np.zeros_like(array)
                step[index] = 1e-6
                above, below = (
                    sn.backprop(found.y, **{**at, name: array + s * step}).value for s in (1, -1)
                )
                wanted[index] = (above - below) / 2e-6
            np.testing.assert_allclose(found.gradient(name), wanted, atol=1e-8, err_msg=text)


def test_each_gradient_is_the_sum_of_its_parts() -> None:
    found = sn.backprop("x*x + sin(x)", x=0.5)
    (x,) = (each for each in found.gradients if each.node.name == "x")
    assert len(x.parts) == 3
    assert x.value == pytest.approx(2 * 0.5 + np.cos(0.5), rel=1e-15)
    assert x.value == pytest.approx(sum(part.value for part in x.parts), rel=1e-15)


def test_a_network_with_its_own_variables() -> None:
    w = sn.variable(np.array([[1.0], [2.0]], np.float32), "w")
    x = sn.placeholder((3, 2), name="x")
    loss: Any = sn.mean((x @ w) ** 2)
    feed = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = sn.backprop(loss, x=feed)
    wanted = 2 / 3 * feed.T @ (feed @ np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(found.gradient(w), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "at", "error"),
    [
        ("x*", {"x": 1}, ExpressionError),
        ("x*y", {"x": 1}, ArgumentError),
        ("x", {"z": 1}, ArgumentError),
        ("x", {"x": "one"}, ArgumentError),
        ("x", {"x": [1, 2]}, ArgumentError),
        (3, {}, ArgumentError),
        ("x > 1", {"x": 1}, GradientError),
    ],
)
def test_bad_arguments(y: Any, at: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        sn.backprop(y, **at)


def test_too_large_to_read_and_no_such_gradient() -> None:
    x = sn.placeholder((), "float64", "x")
    y: Any = x
    for i in range(200):
        y = y * x + i
    with pytest.raises(ArgumentError, match="at most 200 can be read"):
        sn.backprop(y, x=1)
    with pytest.raises(ArgumentError, match="no gradient by 'z'"):
        sn.backprop("x*2", x=1).gradient("z")


def test_the_command(capsys: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    line = ["backprop", "(x + y) * z", "--at", "x=-2", "y=5", "z=-4", "--html", str(page)]
    assert main(line) == 0
    assert capsys.readouterr().out.startswith(CIRCUIT.rstrip("\n"))
    assert main(["backprop", "sum(x@w)", "--at", "x=[[1,2]]", "w=[[1],[2]]"]) == 0
    assert "g @ w.T" in capsys.readouterr().out
    for wrong in (["x"], ["x", "--at", "x"], ["x", "--at", "x=q"], ["x", "--at", "y=1"], ["x+"]):
        assert main(["backprop", *wrong]) == 2, wrong


def test_the_page_plays(opened: Any, tmp_path: Path) -> None:
    made = sn.backprop("(x + y) * z", x=-2, y=5, z=-4)
    page = opened(made.html(tmp_path / "b.html").read_text(encoding="utf-8"))
    assert "<svg" in made._repr_html_()
    page.locator("#first").click()
    assert page.locator("svg text.value.later").count() == 5
    for _ in range(6):
        page.locator("#next").click()
    assert page.locator("svg text.later").count() == 4
    assert page.locator("svg text.back.now").text_content() == "gradient 1"
    page.locator("svg [data-node]").first.click()
    assert "gradient -4" in page.locator("#details").text_content()


def test_names_of_inputs_are_not_taken_for_others() -> None:
    """Inputs of one name are one node: what an explanation adds has a name of its own."""
    found = sn.backprop("g*y", g=3, y=2)
    assert (found.gradient("g"), found.gradient("y")) == (2, 3)
    made = sn.derive(parse("sum(x*dx)", {"x": (3,), "dx": (3,)}).node, sn.placeholder(
        (3,), "float64", "x"))  # fmt: skip
    assert made.checked.points
    assert made.checked.agrees


def test_symbolic_sizes_come_from_what_is_given() -> None:
    x = sn.placeholder(("batch", 3), name="x")
    y = sn.mean(x * x)
    found = sn.backprop(y, x=np.ones((2, 3), np.float32))
    np.testing.assert_allclose(found.gradient("x"), np.full((2, 3), 1 / 3), rtol=1e-6)
    assert sn.derive(y, x).result.shape == ()
