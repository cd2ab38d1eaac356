"""Pages in Chromium: fixtures for those that look at them, and what is read from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Any:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Any) -> Any:
    """Opens a page; fails if it logs anything or asks the network for anything."""
    faults: list[str] = []

    def open_page(text: str, size: tuple[int, int] = (1400, 900), **options: Any) -> Any:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)
        page.set_default_timeout(0)  # a busy machine is no fault of the page
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda r: None if r.url.startswith("file:") else faults.append(r.url))
        page.goto(file.as_uri())
        if page.locator("#view").count():
            page.wait_for_selector("#view svg", state="attached")
        return page

    yield open_page
    assert [fault for fault in faults if not fault.startswith("data:")] == []


def axe() -> str:
    """The script of axe-core, which looks for what keeps people out; skips without it."""
    file = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        pytest.skip("needs npm install axe-core in the checkout")
    return file.read_text(encoding="utf-8")


SERIOUS = """
() => axe.run().then(({ violations }) => violations
  .filter(({ impact }) => ['serious', 'critical'].includes(impact))
  .map(({ id, nodes }) => [id, nodes.length, nodes[0].html]))
"""

CONTRASTS = """
() => {
  const channel = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255)
    + 0.0722 * channel(b / 255);
  const over = (top, below) => {
    const a = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
  };
  const ground = (element) => {
    const own = parse(getComputedStyle(element).backgroundColor);
    if (element === document.documentElement || !element.parentElement) return own.length > 3
      && own[3] === 0 ? parse(getComputedStyle(document.body).backgroundColor) : own;
    return own.length > 3 && own[3] === 0 ? ground(element.parentElement)
      : over(own, ground(element.parentElement));
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest('.unseen')) continue;
    const style = getComputedStyle(element);
    let below = ground(element), ink = parse(style.color);
    if (element instanceof SVGElement) {
      ink = parse(style.fill);
      const rect = element.closest('g')?.querySelector('rect');
      const fill = rect && getComputedStyle(rect).fill;
      if (rect && fill !== 'none' && element.tagName === 'text') below = over(parse(fill), below);
      if (element.tagName !== 'text') continue;
    }
    const [a, b] = [light(over(ink, below)), light(below)].sort((x, y) => y - x);
    found.push({ ratio: (a + 0.05) / (b + 0.05), text: element.textContent.slice(0, 40),
                 html: element.outerHTML.slice(0, 80) });
  }
  return found;
}
"""

CROSSED = """
() => {
  const drawn = document.querySelector('#view svg'), { width, height } = drawn.viewBox.baseVal;
  const sizes = ['width', 'height'].map((name) => drawn.getAttribute(name));
  drawn.setAttribute('width', width); // small letters are of other widths than their pictures
  drawn.setAttribute('height', height);
  const lines = [...document.querySelectorAll('#view .e .way')].flatMap((path) => {
    const points = path.getAttribute('d').slice(1).split('L').map((p) => p.split(' ').map(Number));
    return points.slice(1).map((p, i) => [points[i], p, path.parentNode.dataset]);
  });
  const apart = (a, b) => Math.abs(a - b) > 0.1;
  const slanted = lines.filter(([[x, y], [u, v]]) => apart(x, u) && apart(y, v));
  const texts = [...document.querySelectorAll('#view text')].map((text) => {
    const { x, y, width, height } = text.getBBox(), m = text.getCTM();
    const group = text.ownerSVGElement.getCTM().inverse().multiply(m);
    return { text: text.textContent, left: x + group.e, top: y + group.f, width, height };
  });
  const crossed = texts.flatMap(({ text, left, top, width, height }) => lines.filter(
    ([[x, y], [u, v]]) => Math.max(x, u) > left && Math.min(x, u) < left + width
      && Math.max(y, v) > top && Math.min(y, v) < top + height).map((line) => [text, ...line]));
  const cells = [...document.querySelectorAll('#view .item.closed .cell rect:not(.under)')];
  const through = cells.flatMap((cell) => {
    const { x, y, width, height } = cell.getBBox(), m = cell.getCTM();
    const { e, f } = cell.ownerSVGElement.getCTM().inverse().multiply(m);
    const { id } = cell.closest('.item').dataset;
    return lines.filter(([[a, b], [u, v], { from, to }]) => from !== id && to !== id
      && Math.max(a, u) > x + e + 0.1 && Math.min(a, u) < x + e + width - 0.1
      && Math.max(b, v) > y + f + 0.1 && Math.min(b, v) < y + f + height - 0.1)
      .map((line) => [id, ...line]);
  });
  ['width', 'height'].forEach((name, i) => drawn.setAttribute(name, sizes[i]));
  return { crossed, slanted, through, texts: texts.length, lines: lines.length };
}
"""
FITS = """
() => {
  const inside = (inner, outer) => inner.left >= outer.left - 1 && inner.right <= outer.right + 1
    && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  const view = document.getElementById('view').getBoundingClientRect();
  const shape = document.querySelector('#view svg').getBoundingClientRect();
  const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  const texts = [...document.querySelectorAll('#view text')];
  const over = texts.filter((text) => {
    const rect = text.parentNode.querySelector('rect:not(.under)');
    return text.getBoundingClientRect().right > rect.getBoundingClientRect().right + 1;
  }).map((text) => text.textContent);
  return { fits: inside(shape, view) && inside(view, screen), over,
    height: Math.min(...texts.map((text) => text.getBoundingClientRect().height)) };
}
"""
