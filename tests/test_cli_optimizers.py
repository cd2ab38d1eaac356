"""`staticnet optimizers`: the ways over landscapes, and the page that plays them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.cli.landscapes import LANDSCAPES, rules, searched, surface, walked
from staticnet.cli.main import main
from staticnet.cli.optimizers import described
from staticnet.report.paths import paths_page

VALLEY, _, _, SADDLE, HOLLOWS = LANDSCAPES


def test_gradient_descent_goes_down_the_valley_as_on_paper() -> None:
    ways = walked(VALLEY, steps=20, device="numpy")
    times = np.arange(21)[:, None]
    expected = np.array(VALLEY.start) * (1 - VALLEY.rate * np.array([1, 100])) ** times
    np.testing.assert_allclose(ways["Gradient descent"], expected, rtol=1e-12)
    assert list(ways) == list(rules(VALLEY))
    for points in ways.values():
        np.testing.assert_array_equal(points[0], VALLEY.start)
        assert points.shape == (21, 2)


@pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda each: each.name)
def test_rings_mark_the_lowest_places(landscape: Any) -> None:
    heights = surface(landscape, 60)
    for x, y in landscape.optima:
        at = landscape.f(sn.constant(np.float64(x)), sn.constant(np.float64(y)))
        assert float(sn.function([], at, device="numpy")()) <= heights.min() + 1e-9
    left, right, low, high = landscape.extent
    assert left < landscape.start[0] < right
    assert low < landscape.start[1] < high


def test_an_ellipse_is_of_the_covariance() -> None:
    shown = described(VALLEY, 5, "numpy")
    found = searched(VALLEY, 5, "numpy")
    for (a, b, angle), covariance in zip(shown["ellipses"], found.covariances, strict=True):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        found_again = turn @ np.diag([a * a, b * b]) @ turn.T
        np.testing.assert_allclose(found_again, covariance, atol=1e-3 * np.trace(covariance))
    assert len(shown["populations"]) == len(shown["ellipses"]) - 1 == 5
    assert len(json.dumps(shown["ways"])) < 20_000


@pytest.mark.slow
def test_the_page_plays(opened: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["optimizers", "-o", str(tmp_path / "o.html"), "--device", "numpy"]) == 0
    shown = capsys.readouterr().out
    assert f"{HOLLOWS.name:22} CMA-ES is lowest" in shown
    text = (tmp_path / "o.html").read_text(encoding="utf-8")
    page = opened(text)
    assert page.locator("#choice option").count() == 5
    page.select_option("#choice", label=SADDLE.name)
    assert page.locator("#formula").inner_text() == f"f = {SADDLE.formula}"
    before = page.locator("#height0").inner_text()
    page.click("#play")
    while int(page.locator("#now").inner_text()) <= 20:
        page.wait_for_timeout(50)
    page.click("#play")
    now = int(page.locator("#now").inner_text())
    assert page.locator("#height0").inner_text() != before
    page.click("#once")
    assert int(page.locator("#now").inner_text()) == now + 1
    before = page.evaluate("document.querySelector('canvas').toDataURL()")
    page.get_by_label("CMA-ES").uncheck()
    assert page.evaluate("document.querySelector('canvas').toDataURL()") != before
    narrow = opened(text, (390, 800), color_scheme="dark")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_names_cannot_end_the_script() -> None:
    shown = {**described(VALLEY, 2, "numpy"), "name": "</script><b>"}
    assert "</script><b>" not in paths_page("x", [shown])
