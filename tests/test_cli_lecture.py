"""`staticnet lecture`: a page whose figures are computed, and the curves on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staticnet.cli import lecture_sections as sections
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


def test_every_command_is_there() -> None:
    told = "".join(sections.demonstrations("numpy"))
    shown = re.findall(r"<td>(staticnet \w+|python [^<\s]+)", told)
    names = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert len(shown) == 12
    for command in shown:
        program, name = command.split()
        assert name in names if program == "staticnet" else (ROOT / name).is_file()


@pytest.mark.slow
def test_the_page(tmp_path: Path, opened: Any, capsys: Any) -> None:
    assert main(["lecture", "-o", str(tmp_path / "l.html"), "--device", "numpy"]) == 0
    text = (tmp_path / "l.html").read_text(encoding="utf-8")
    assert text.count("<h2>") == len(sections.SECTIONS)
    page = opened(text)
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
