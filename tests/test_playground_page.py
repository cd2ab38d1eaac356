"""The playground in Chromium: trained by clicks, seen, heard and left alone by the network."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import CONTRASTS

COMPILES = True
pytest.importorskip("starlette", reason="needs starlette")
pytest.importorskip("uvicorn", reason="needs uvicorn")
pytest.importorskip("websockets", reason="needs websockets")


@pytest.fixture
def address() -> Iterator[str]:
    """A server in a thread; its sessions have ended when it has."""
    from staticnet.playground.server import listen, server

    bound = listen(0)
    port = bound.getsockname()[1]
    running = server(port)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    yield f"http://127.0.0.1:{port}/"
    running.should_exit = True
    thread.join(60)
    assert not thread.is_alive()
    wait(lambda: not [t for t in threading.enumerate() if t.name.startswith("playground")])


def wait(until: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Opens the playground; fails if it logs anything or asks another server for anything."""
    faults: list[str] = []
    pages = []

    def open_page(query: str = "", size: tuple[int, int] = (1400, 1000), **options: Any) -> Any:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda r: r.url.startswith((address, "data:")) or faults.append(r.url))
        page.goto(address + (f"#{query}" if query else ""))
        compiled(page)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert faults == []


def compiled(page: Any) -> None:
    page.locator("#cost", has_text=re.compile("s$")).wait_for()


def percent(page: Any, name: str) -> float:
    return float(page.inner_text(name).split()[0])


@pytest.mark.slow
def test_a_network_is_changed_and_trained_by_clicks(visit: Any) -> None:
    page = visit("seed=3&split=20")
    page.click("#more")
    page.locator("#count", has_text="3 hidden layers").wait_for()
    assert "layers=4%2C2%2C2" in page.url
    page.get_by_label("Add a unit of hidden layer 3").click()
    page.get_by_label("feature x²").click()
    page.locator("[data-name='u-2-2']").wait_for()
    compiled(page)
    page.select_option("#pace", "full")
    page.click("#play")
    wait(lambda: percent(page, "#train-accuracy") > 90)
    page.keyboard.press("Escape")
    page.locator("#play", has_text="Pause").click()
    page.locator("#play", has_text="Play").wait_for()
    page.click("[data-name='u-0-1']")
    assert page.inner_text("#weights h3 >> nth=0") == "Into hidden 1, unit 2"
    page.get_by_label("derive by x²").click()
    page.locator(".derivation h3", has_text="weight from x² to hidden 1, unit 2").wait_for()
    page.get_by_label("weight from x²").fill("0.125")
    page.keyboard.press("Tab")
    wait(lambda: page.input_value("[aria-label='weight from x²']") == "0.1250")
    page.focus("[data-name='u-0-1']")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.name") == "u-0-2"


@pytest.mark.slow
def test_a_weight_is_read_and_changed_where_it_is_drawn(visit: Any) -> None:
    page = visit("seed=1")
    box = page.locator("#net").bounding_box()
    ends = [page.locator(f"[data-name='{name}']").bounding_box() for name in ("f-x", "u-0-0")]
    a, b = ((each["x"] + each["width"] / 2, each["y"] + each["height"] / 2) for each in ends)
    page.mouse.move((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    card = page.locator("#net .card")
    said = re.fullmatch(
        r"weight from x to hidden 1, unit 1: (\S+), gradient \S+", card.inner_text()
    )
    assert said is not None
    page.mouse.click((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    field = page.get_by_label("weight from x to hidden 1, unit 1")
    assert float(field.input_value()) == pytest.approx(float(said[1].replace("−", "-")), abs=0.006)
    field.fill("0.75")
    wait(lambda: page.input_value("#weights [aria-label='weight from x']") == "0.7500")
    page.keyboard.press("Enter")
    assert not card.is_visible()
    corner = ends[1]["x"] - 6, ends[1]["y"] + ends[1]["height"] - 4
    page.mouse.move(*corner)
    assert card.inner_text().startswith("bias of hidden 1, unit 1: ")
    page.mouse.click(*corner)
    page.get_by_label("bias of hidden 1, unit 1").fill("-2")
    wait(lambda: page.input_value("#weights [aria-label='weight from bias']") == "-2.0000")
    page.keyboard.press("Escape")
    page.hover("[data-name='f-x2']")
    assert page.inner_text("#shown") == "the feature x²"
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 2)
    assert page.inner_text("#shown") == "hidden 1, unit 1"
    page.locator("body").press("Space")
    page.locator("#play", has_text="Pause").wait_for()


@pytest.mark.slow
def test_training_that_diverges_is_told(visit: Any) -> None:
    page = visit("seed=1&activation=relu&lr=100&dataset=plane&loss=square")
    page.locator("#weights tbody button").first.click()
    page.locator(".derivation .facts").first.wait_for()
    page.click("#play")
    page.locator(".derivation .facts dd", has_text="NaN").first.wait_for()
    page.locator("#weights td", has_text="NaN").first.wait_for()
    field = page.locator("#weights tbody input").first
    assert (field.input_value(), field.get_attribute("placeholder")) == ("", "NaN")
    page.click("#reset")
    page.locator("#train-loss", has_text=re.compile(r"^\d")).wait_for()


@pytest.mark.slow
def test_the_spiral_is_learned_by_clicks(visit: Any) -> None:
    page = visit()
    page.get_by_label("spiral").check(force=True)
    for _ in range(4):
        page.get_by_label("Add a unit of hidden layer 1").click()
    for _ in range(6):
        page.get_by_label("Add a unit of hidden layer 2").click()
    for feature in ("sin x", "sin y"):
        page.get_by_label(f"feature {feature}").click()
    page.select_option("#optimizer", "Adam")
    page.select_option("#lr", "0.01")
    page.select_option("#pace", "full")
    page.locator("[data-name='u-1-7']").wait_for()
    page.click("#play")
    wait(lambda: percent(page, "#test-accuracy") >= 98)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_read_and_fit(visit: Any, scheme: str) -> None:
    for size in ((1400, 1000), (820, 1180), (390, 844)):
        page = visit("dataset=xor&activation=relu&seed=1", size, color_scheme=scheme)
        page.click("#step")
        page.locator(".weights button").first.click()
        page.locator(".derivation li").first.wait_for()
        page.click("#code-panel summary")
        page.locator("#code pre").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = page.evaluate(CONTRASTS)
        faint = [c for c in found if c["ratio"] < 4.5 and "option" not in c["html"]]
        assert faint == []


AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = """
() => axe.run(document, { iframes: false }).then(({ violations }) => violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(" ")}`))
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Any, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("needs npm install axe-core in the checkout")
    for width in (1400, 390):
        page = visit("layers=4,8,2&activation=relu", (width, 900), color_scheme=scheme)
        page.locator(".weights button").first.click()
        for panel in ("code", "graph"):
            page.click(f"#{panel}-panel summary")
        page.locator("#code pre").wait_for()
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate(SERIOUS) == []


CLICKED = "button:visible, input[type=radio], input[type=checkbox]:visible, summary:visible"


@pytest.mark.slow
def test_a_minute_of_random_clicks_leaves_nothing_behind(visit: Any, address: str) -> None:
    rng = np.random.default_rng(0)
    page = visit("pace=full")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if rng.integers(4) == 0:
            select = page.locator("#settings select:enabled").nth(int(rng.integers(7)))
            options = select.locator("option:enabled").all()
            select.select_option(options[rng.integers(len(options))].get_attribute("value"))
        else:
            shown = page.locator(CLICKED).all()
            target = shown[rng.integers(len(shown))]
            target.dispatch_event("click")
    alive = [t for t in threading.enumerate() if t.name.startswith("playground")]
    assert len(alive) <= 2  # one trains, one compiles
    page.goto("about:blank")
    wait(lambda: not [t for t in threading.enumerate() if t.name.startswith("playground")])
    page.goto(address)
    compiled(page)
