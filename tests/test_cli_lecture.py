"""`staticnet lecture`: a page whose figures are computed, and the curves on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staticnet.cli import lecture_demos as demos
from staticnet.cli import lecture_sections as sections
from staticnet.cli import lecture_topics as topics
from staticnet.cli.lecture_net import net_picture
from staticnet.cli.main import COMMANDS, main
from staticnet.report.curves import curves

ROOT = Path(__file__).parents[1]


def test_figures_are_right() -> None:
    told = "".join(sections.neuron("numpy"))
    for name, fires in (("and", "0001"), ("or", "0111"), ("not x", "1100")):
        row = re.search(rf"<td>{name}</td>(.*?)</tr>", told)
        assert row is not None
        assert "".join(re.findall(r'"number">(\d)', row[1])) == fires
    assert all(each in told for each in ("<td>x + y &gt; 1.5<", "<td>−x &gt; −0.5<"))
    assert "the same numbers" in "".join(sections.layers("numpy"))
    told = "".join(sections.training("numpy"))
    slopes = re.findall(r'"number">(-?\d\.\d+)</td><td class="number">(-?\d\.\d+)<', told)
    guess = np.tanh(0.35)
    by_hand = 2 * (guess - 1) * (1 - guess**2) * np.array([0.5, -1])
    for (found, difference), slope in zip(slopes, by_hand, strict=True):
        assert found == difference
        np.testing.assert_allclose(float(found), slope, atol=1e-6)
    assert '>0.01</td><td class="number">0.9801</td>' in "".join(sections.losses("numpy"))


def test_a_perceptron_learns_what_one_line_parts() -> None:
    told = "".join(sections.background("numpy"))
    assert "not both, gives 0110 on" in told
    inputs = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    for wanted, learned in (([0, 0, 0, 1], True), ([0, 1, 1, 1], True), ([0, 1, 1, 0], False)):
        mistakes = sections._perceptron(inputs, np.array(wanted))
        assert (mistakes[-5:] == 0).all() == learned


def test_the_slope_that_is_drawn_is_the_losses() -> None:
    told = "".join(sections.from_afar("numpy"))
    found = re.search(r"loss is (\S+) and its slope (\S+): the weight is too small", told)
    assert found is not None
    x = np.linspace(-2, 2, 21)
    given, wanted = np.tanh(0.3 * x), np.tanh(1.5 * x)
    assert float(found[1]) == pytest.approx(np.mean((given - wanted) ** 2), abs=1e-4)
    slope = np.mean(2 * (given - wanted) * (1 - given**2) * x)
    assert float(found[2]) == pytest.approx(slope, abs=1e-4)


def test_gradients_vanish_in_sigmoids_and_not_in_relus() -> None:
    sizes = {name: demos._gradients(getattr(demos.nn.functional, name), "numpy")
             for name in ("sigmoid", "relu")}  # fmt: skip
    assert sizes["sigmoid"][0] < 1e-4 * sizes["sigmoid"][-1]
    assert 0.1 < sizes["relu"][0] / sizes["relu"][-1] < 10


def test_a_network_is_drawn() -> None:
    surfaces = [[np.eye(4), -np.eye(4)], [np.eye(4)]]
    svg = net_picture("a & b", ["x", "<y>"], surfaces, [np.array([[2.0, -0.1]])], ["in", "out"])
    assert svg.count("<image") == svg.count("<rect") == 3
    lines = re.findall(r'stroke="rgb\((\d+) \d+ (\d+)\)" stroke-width="([\d.]+)"', svg)
    assert [(int(b) > int(r), width) for r, b, width in lines] == [(True, "6"), (False, "0.5")]
    assert "&lt;y&gt;" in svg
    assert 'aria-label="a &amp; b"' in svg


def test_every_command_is_there() -> None:
    told = "".join(topics.demonstrations("numpy"))
    shown = re.findall(r"<td>(staticnet \w+|python [^<\s]+)", told)
    names = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert len(shown) == 12
    for command in shown:
        program, name = command.split()
        assert name in names if program == "staticnet" else (ROOT / name).is_file()


@pytest.mark.slow
def test_the_page(tmp_path: Path, opened: Any, capsys: Any) -> None:
    assert main(["lecture", "-o", str(tmp_path / "l.html"), "--device", "cpu"]) == 0
    text = (tmp_path / "l.html").read_text(encoding="utf-8")
    page = opened(text)
    places = page.locator("nav a").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
    assert len(places) == len(topics.SECTIONS) == page.locator("h2").count()
    assert all(page.locator(f"h2{place}").count() == 1 for place in places)
    spiral = re.search(r"epochs (\S+)% of the test points", text)
    digits = re.search(r"not seen it gets (\S+)% right", text)
    fell = re.search(r"begins at (\S+), and is (\S+) after", text)
    assert spiral
    assert digits
    assert fell
    assert float(spiral[1]) >= 98
    assert float(digits[1]) >= 94
    assert float(fell[2]) < 2 < 4 < float(fell[1])
    page.click("#once")
    assert page.locator("#now").inner_text() == "1"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
    narrow = opened(text, (390, 800), color_scheme="dark")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("log", [False, True])
def test_curves_are_where_their_numbers_are(log: bool) -> None:
    xs, ys = np.arange(5.0), np.array([1.0, 10, 100, 1000, 10000])
    svg = curves("c & d", {"a": (xs, ys), "b": (xs, ys * 0 + 1)}, "x", "y", log=log)
    assert 'aria-label="c &amp; d"' in svg
    places = re.findall(r'polyline points="([^"]*)"', svg)
    first = np.array([[float(v) for v in pair.split(",")] for pair in places[0].split()])
    height = np.log10(ys) if log else ys
    share = (height - height.min()) / np.ptp(height)
    np.testing.assert_allclose(
        (first[0, 1] - first[:, 1]) / (first[0, 1] - first[-1, 1]), share, atol=0.01
    )
    np.testing.assert_allclose(np.diff(first[:, 0]), first[1, 0] - first[0, 0], atol=0.11)
    assert (">1e2<" in svg) == log
