"""What a notebook shows: results as tables, expressions as mathematics, lines by their cell."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_cases import batch_of, classifier
from samples import SAMPLES

import staticnet as sn
from staticnet.ir.formula import MOST
from staticnet.ir.location import Location
from staticnet.ir.shown import MOST as ROWS

x = sn.placeholder(("n",), name="x")
a, w = sn.placeholder((2, 4), name="a"), sn.variable(np.ones((4, 3), "f"), "w_1")


class Tables(HTMLParser):
    """Checks that tags close in order; collects the cells of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (sn.sin(x) * x, "sin(x) * x: f32[n]"),
        (x - (x - 2), "x - (x - 2): f32[n]"),
        ((x + 1) * x / (x * 2), "(x + 1) * x / (x * 2): f32[n]"),
        ((-x) ** 3, "(-x)**3: f32[n]"),
        (-(x**3), "-x**3: f32[n]"),
        (x ** (-x), "x**(-x): f32[n]"),
        (a @ w, "a @ w_1: f32[2,3]"),
        (w.T @ a.T, "w_1.T @ a.T: f32[3,2]"),
        (sn.sum(a, axis=1), "sum(a, axis=1): f32[2]"),
        (sn.sum(a), "sum(a): f32[]"),
        (sn.where(x > 0, x, sn.exp(x)), "where(x > 0, x, exp(x)): f32[n]"),
        (sn.astype(x, "float64") * 0.1, "x * 0.1: f64[n]"),
        (sn.maximum(x, -2.0), "maximum(x, -2): f32[n]"),
        (x + -2.0, "x + -2: f32[n]"),
        (sn.grad(sn.sum(sn.sin(x) * x), [x])[0], "sin(x) + x * cos(x): f32[n]"),
        (sn.grad(sn.sum(sn.exp(2 * x)), [x])[0], "exp(2 * x) * 2: f32[n]"),
    ],
)
def test_expressions_print_as_mathematics(node: Any, text: str) -> None:
    assert repr(node) == text


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (sn.sin(x) * x, r"$\sin\left(x\right) \cdot x$"),
        (x / (x + 1), r"$\frac{x}{x + 1}$"),
        (sn.sqrt(x) ** 2.5, r"$\sqrt{x}^{2.5}$"),
        ((x + 1) ** 2.5, r"$\left(x + 1\right)^{2.5}$"),
        (a @ w, r"$a \, \mathrm{w\_1}$"),
        (w.T @ a.T, r"$\mathrm{w\_1}^{\top} \, a^{\top}$"),
        (sn.abs(x) >= 1, r"$\left|x\right| \ge 1$"),
        (sn.log1p(x), r"$\operatorname{log1p}\left(x\right)$"),
        (sn.logaddexp(x, x), r"$\operatorname{logaddexp}\left(x, x\right)$"),
    ],
)
def test_and_as_latex(node: Any, text: str) -> None:
    assert node._repr_latex_() == text


def test_formulas_are_bounded() -> None:
    y = x
    for _ in range(300):
        y = y * y + sn.tanh(y)
    for node in (y, sn.stack([x * i for i in range(100)])):
        assert len(repr(node)) < 200
        assert "…" in repr(node)
        assert len(node._repr_latex_()) < 60 * MOST
        assert node._repr_latex_().count(r"\left(") == node._repr_latex_().count(r"\right)")


def test_every_op_prints() -> None:
    for sample in SAMPLES:
        nodes = [sn.placeholder(v.shape, v.dtype, f"x{i}") for i, v in enumerate(sample.args)]
        node = sample.build(*nodes)
        for each in node if isinstance(node, tuple | list) else [node]:
            text, latex = repr(each), each._repr_latex_()
            assert "{0}" not in text
            assert text.count("(") == text.count(")") or "…" in text
            assert latex.count("{") == latex.count("}")


def test_results_print_as_they_show_and_are_tables_in_a_notebook() -> None:
    step = classifier("numpy")
    feeds = batch_of(16)
    loss = step.graph.outputs[0]
    shown = [
        step.explain(), step.profile(*feeds, repeat=1), step.cost_analysis(),
        step.memory_analysis(), step.passes(), step.probe(loss, *feeds),
    ]  # fmt: skip
    for result in shown:
        assert repr(result) == str(result)
        assert len(str(result).splitlines()) >= 3
        rows = Tables(result._repr_html_()).rows
        assert len(rows) >= 3
        assert "class=" not in result._repr_html_()  # the colours are the notebook's
    explain, _, cost, memory, passes, _ = (Tables(r._repr_html_()).rows for r in shown)
    assert len(explain) == 1 + len(step.explain().kernels)
    names = ["feeds", "state", "constants", "outputs", "arena", "peak"]
    assert [row[0] for row in memory[1:7]] == names
    assert memory[6][1] == f"{step.memory_analysis().peak:,}"
    assert int(cost[1][3].replace(",", "")) == max(n.flops for n in step.cost_analysis().nodes)
    assert len(cost) == 1 + min(ROWS, len(step.cost_analysis().nodes))
    assert passes[-1][4] == "nothing to do"


def test_passes_are_a_list_whose_idle_ones_share_a_line() -> None:
    step = classifier("numpy")
    records = step.passes()
    assert isinstance(records, list)
    idle = [r.name for r in records if r.before == r.after and not r.notes]
    lines = str(records).splitlines()
    assert lines[-1] == f"nothing to do: {', '.join(idle)}"
    assert len(lines) == len(records) - len(idle) + 1


def test_lines_name_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython names cells by files that nobody knows, and has their numbers."""
    names = {"/tmp/ipykernel_7/123.py": ("Cell", "In[3]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=names.get))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert str(Location("/tmp/ipykernel_7/123.py", 2)) == "In[3]:2"
    assert str(Location("/tmp/ipykernel_7/9.py", 2)) == "/tmp/ipykernel_7/9.py:2"
    assert str(Location("train.py", 2)) == "train.py:2"
    monkeypatch.delitem(sys.modules, "IPython")
    assert str(Location("/tmp/ipykernel_7/123.py", 2)) == "/tmp/ipykernel_7/123.py:2"
