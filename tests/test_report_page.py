"""Pages: complete, self-contained, escaped; and, where Chromium is, usable."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from report_cases import batch_of, classifier, random_graph, training_step

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import ArgumentError
from staticnet.plan.planner import make_plan
from staticnet.report import comparison_page, document, document_page, graph_html

COMPILES = True
VOID = {"meta", "link", "input", "path", "rect", "br"}
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")


class Page(HTMLParser):
    """Checks that tags close in order; collects ids, addresses and the JSON."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.json: dict[str, Any] = {}
        self.kept: list[str] = []  # ids of pictures that are not shown at first
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.last = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id"]
        loading = ("src", "href", "xlink:href", "action", "srcset")
        self.addresses += [value for name, value in attrs if name in loading]

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        if tag in VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script" and self.last.get("type") == "text/html":
            self.kept += Page(data).ids
        if self.open and self.open[-1] == "script" and self.last.get("type") == "application/json":
            self.json[self.last["id"]] = json.loads(data)


def comparison(function: Any = None) -> dict[str, Any]:
    return {
        "name": "tiny",
        "columns": [
            {"key": "time", "label": "time", "unit": "s"},
            {"key": "ci", "label": "95 % interval", "unit": "s"},
            {"key": "peak", "label": "peak", "unit": "bytes"},
            {"key": "launches", "label": "launches", "unit": ""},
            {"key": "ulp", "label": "error", "unit": "ulp"},
        ],
        "rows": [
            {
                "name": "dynamic",
                "values": {
                    "time": 2.5e-3,
                    "ci": [2.4e-3, 2.6e-3],
                    "peak": 3 << 20,
                    "launches": 210,
                    "ulp": None,
                },
            },
            {"name": "all <passes>", "values": {"time": 1.25e-5, "peak": 2048, "launches": 7}},
        ],
        "environment": {"cpu": "a <fast> one"},
        "notes": ["Medians of 20 runs."],
        "waterfall_svg": '<?xml version="1.0"?><svg width="40" height="20" role="img" '
        'aria-label="Waterfall"><rect width="40" height="20"/></svg>',
        "document": None if function is None else function.document(),
    }


def test_a_page_holds_its_document_and_every_node_twice_drawn() -> None:
    step = classifier("numpy")
    told = step.document()
    page = Page(document_page(told))
    assert page.json["document"] == told
    assert page.json["compared"] is None
    for graph, ids in zip(told["graphs"], (page.kept, page.ids), strict=True):
        for i in range(len(graph["nodes"])):
            assert ids.count(f"{graph['title']}-n{i}") == 1
    for kernel in told["kernels"]:
        assert page.ids.count(f"after-k{kernel['number']}") == 1
    assert len(page.ids) == len(set(page.ids))


def test_pages_load_nothing() -> None:
    step = training_step()
    waterfall = comparison(step)
    for text in (
        graph_html(step.graph),
        document_page(step.document()),
        comparison_page(waterfall),
    ):
        assert set(Page(text).addresses) <= {"data:,"}
        assert not re.search(r"https?:|//\w+\.|@import|url\(", text)
        assert "default-src 'none'" in text


def test_what_users_write_is_escaped() -> None:
    x = sn.placeholder((2,), name="x")
    w = sn.variable(np.float32([1, 2]), name='</script><img src=x onerror="alert(1)">&')
    step = sn.function(x, x * w, device="numpy", name="<b>")
    for text in (graph_html(step.graph), document_page(step.document())):
        assert "<img" not in text
        assert "<b>" not in text
        assert text.count("</script>") in (3, 4)  # two documents, the script, a hidden picture
        Page(text)


def test_a_page_without_nodes_is_a_page() -> None:
    Page(graph_html(sn.Graph("none", [], [])))
    Page(document_page(sn.function([], [], device="numpy").document()))


def test_a_comparison_needs_only_its_table() -> None:
    given = comparison()
    page = Page(comparison_page({key: given[key] for key in ("columns", "rows")}))
    assert page.json["document"] is None
    assert page.json["compared"]["rows"] == given["rows"]


def test_a_page_of_5000_nodes_stays_small() -> None:
    assert len(graph_html(random_graph(5000))) < 6_000_000


def holding(device: str = "numpy") -> Any:
    """A step with a loop in a loop, and a choice."""
    x, n = sn.placeholder((4, 4), name="x"), sn.placeholder((), "int64", "n")

    def inner(c: Any, _: Any) -> Any:
        return sn.tanh(c @ x) + 1, None

    nested, _ = sn.scan(lambda c, _: sn.scan(inner, c, None, length=3), x, None, length=2)
    chosen = sn.cond(n > 1, lambda: sn.exp(x), lambda: sn.cos(x) * 2)
    return sn.function([x, n], [nested, chosen], device=device, name="holding")


def drawn(nodes: Any) -> int:
    """Nodes, with those of the graphs that they hold."""
    return len(nodes) + sum(drawn(held["nodes"]) for node in nodes for held in node["graphs"])


def test_graphs_in_a_graph_are_pictures_that_open() -> None:
    step = holding()
    told = step.document()
    text = document_page(told)
    page = Page(text)
    for graph in told["graphs"]:
        for i, node in enumerate(graph["nodes"]):
            assert page.ids.count(f"{graph['title']}-g{i}") == bool(node["graphs"])
    assert text.count('<g class="n ') == sum(drawn(graph["nodes"]) for graph in told["graphs"])
    assert text.count('<details class="held"') == 2 * 3  # before and after: two loops, a choice
    account = next(kernel for kernel in step.explain().kernels if kernel.kind == "scan")
    (body,) = account.bodies
    (nested,) = body.explanation.kernels[0].bodies
    for kernel in (*body.explanation.kernels, *nested.explanation.kernels):
        assert f">kernel {kernel.label}  {kernel.kind}" in text
    assert set(page.addresses) <= {"data:,"}
    alone = graph_html(step.graph)
    assert sum(name.startswith("graph-g") for name in Page(alone).ids) == 2
    assert alone.count('<g class="n ') == drawn(told["graphs"][0]["nodes"])


def test_report_writes_a_page_and_says_where(tmp_path: Any) -> None:
    step = training_step(batch="batch")
    file = step.report(tmp_path / "report.html", batch=4)
    assert file == tmp_path / "report.html"
    held, told = Page(file.read_text(encoding="utf-8")).json["document"], step.document(batch=4)
    for number, (was, now) in enumerate(zip(held.pop("passes"), told.pop("passes"), strict=True)):
        assert was | {"seconds": 0} == now | {"seconds": 0}, number
    assert held == told
    with pytest.raises(ArgumentError, match="say which"):
        step.report(tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()
    with pytest.raises(FileNotFoundError):
        step.report(tmp_path / "no" / "folder.html", batch=4)


class TestNotebooks:
    def test_small_graphs_are_drawn_and_large_ones_counted(self) -> None:
        small, large = training_step().graph, random_graph(500)
        text = small._repr_html_()
        assert text.count("<svg") == 1
        assert text.count('class="n ') == len(small.nodes)
        assert "<script" not in text
        assert " id=" not in text  # many outputs share a notebook's page
        text = large._repr_html_()
        assert "<svg" not in text
        adds = sum(node.op.name == "add" for node in large.nodes)
        row = f"<td>add</td><td>0</td><td>{adds}</td><td>0</td><td>0</td><td>{adds}</td>"
        assert row in text

    def test_graphs_in_a_graph_open(self) -> None:
        graph = holding().graph
        text = graph._repr_html_()
        assert text.count('class="n ') == drawn(
            document(graph, make_plan(graph))["graphs"][0]["nodes"]
        )
        assert text.count("<details") == text.count("</details>") == 3
        assert " id=" not in text

    def test_rare_ops_share_a_row_and_none_is_lost(self) -> None:
        x = sn.placeholder((2,), name="x")
        unary = [sn.tanh, sn.exp, sn.sin, sn.cos, sn.sqrt, sn.abs, sn.log, sn.floor, sn.ceil]
        nodes = [f(x + i) for i in range(4) for f in [*unary, sn.sign, sn.erf, sn.negative]]
        text = sn.Graph("many", [x], nodes)._repr_html_() or ""
        last = [int(n) for n in re.findall(r"<td>(\d+)</td></tr>", text)]
        assert sum(last) == len(sn.Graph("many", [x], nodes).nodes)
        assert re.search(r"<td>\d others</td>", text)

    def test_functions_say_what_each_specialisation_takes(self) -> None:
        step = training_step(batch="batch")
        assert "launches" not in step._repr_html_()
        step.specialize(batch=2)
        assert step._repr_html_().count('class="k"') == step.plan.launches
        step.specialize(batch=3)
        text = step._repr_html_()
        assert "<td>2</td>" in text
        assert "<td>3</td>" in text
        assert "x: f32[batch,3]" in text

    def test_modules_are_tables(self) -> None:
        model = sn.nn.Sequential(sn.nn.Linear(3, 2), sn.nn.ReLU())
        text = model._repr_html_()
        assert text == model.summary()._repr_html_()
        assert text.count("<tr>") == 4
        assert "<td>8</td>" in text

    def test_names_are_escaped(self) -> None:
        x = sn.placeholder((2,), name="x")
        w = sn.variable(np.float32([1, 2]), name="<i>")
        step = sn.function(x, w * x, name="<b>", device="numpy")
        for text in (step._repr_html_(), step.graph._repr_html_() or ""):
            assert "<i>" not in text
            assert "Graph <b>" not in text
            assert "Function <b>" not in text

    def test_a_graph_alone_says_nothing_and_is_printed(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(sn.Graph, "draw", None)
        assert training_step().graph._repr_html_() is None


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

    def open_page(text: str, **options: Any) -> Any:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        page = browser.new_page(viewport={"width": 1400, "height": 900}, **options)
        page.set_default_timeout(0)  # a busy machine is no fault of the page
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda r: None if r.url.startswith("file:") else faults.append(r.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    assert [fault for fault in faults if not fault.startswith("data:")] == []


@pytest.fixture(scope="module")
def profiled() -> Any:
    """A compiled step with its profile."""
    if find_compiler() is None:
        pytest.skip("no C compiler on this machine")
    return classifier("cpu").document(*batch_of(16))


class TestInTheBrowser:
    def test_a_click_on_a_kernel_shows_its_source_lines_and_share_of_the_floor(
        self, opened: Any, profiled: Any
    ) -> None:
        page = opened(document_page(profiled))
        kernel = next(k for k in profiled["kernels"] if k["kind"] == "rows")
        page.click(f"#after-k{kernel['number']} rect", position={"x": 100, "y": 8})
        shown = page.inner_text("#details")
        assert profiled["sources"][kernel["source"]].strip() in shown
        line = profiled["lines"][kernel["lines"][0]]
        assert line["where"] in shown
        assert line["text"] in shown
        assert f"{kernel['bytes']:,}" in shown
        assert f"{kernel['flops']:,}" in shown
        assert "of a copy" in shown
        chosen = page.inner_text("#kernels tr.chosen th")
        assert chosen == f"kernel {kernel['number']}"

    def test_a_click_shows_a_node_and_links_lead_on(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        after = profiled["graphs"][1]["nodes"]
        number = next(i for i, node in enumerate(after) if node["op"] == "matmul")
        page.click(f"#after-n{number} rect")
        assert "matmul" in page.inner_text("#details h2")
        assert page.get_attribute("#view .near", "d").startswith("M")
        operand = after[after[number]["operands"][0]]
        page.click(f"#details dd >> text='{operand['name']}'")
        assert operand["name"] in page.inner_text("#details h2")

    def test_the_keyboard_reaches_a_kernels_source_and_comes_back(
        self, opened: Any, profiled: Any
    ) -> None:
        page = opened(document_page(profiled))
        page.focus("#view [tabindex='0']")
        for _ in range(6):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("k")
        assert page.inner_text("#details h2").startswith("kernel")
        first = page.inner_text("#details h2")
        page.keyboard.press("ArrowUp")
        assert page.inner_text("#details h2") != first
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "details"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id").startswith("after-k")
        assert page.locator("#view .n[tabindex='0'], #view .k[tabindex='0']").count() == 1
        before = page.get_attribute("#view svg", "width")
        page.keyboard.press("+")
        assert float(page.get_attribute("#view svg", "width")) > float(before)

    def test_the_tab_key_passes_every_part_and_is_not_caught(
        self, opened: Any, profiled: Any
    ) -> None:
        page = opened(document_page(profiled))
        seen = []
        for _ in range(600):
            page.keyboard.press("Tab")
            seen.append(
                page.evaluate(
                    "document.activeElement.closest('section')?.querySelector('h2').textContent"
                )
            )
            if seen[-1] is None and len(seen) > 3:
                break
        names = [name for name in dict.fromkeys(seen) if name]
        assert names == ["Data flow", "Kernels", "Memory", "Timeline", "Passes", "Nodes", "Text"]

    def test_before_the_passes_there_are_other_nodes(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        before = profiled["graphs"][0]["nodes"]
        page.get_by_label("before the passes").check()
        assert page.locator("#view .n").count() == len(before)
        assert page.locator("#view .k").count() == 0
        forward = sum(node["role"] == "forward" for node in before)
        assert f"forward ({forward})" in page.inner_text(".legend")
        page.click("#before-n3 rect")
        assert before[3]["name"] in page.inner_text("#details h2")
        page.click("#timeline tbody button >> nth=0")
        page.get_by_label("after the passes").check()
        assert page.locator("#view .k").count() == len(profiled["kernels"])

    def test_a_click_opens_what_a_node_holds(self, opened: Any) -> None:
        page = opened(document_page(holding().document()))
        loop = page.locator("#view .n.holds", has_text="scan")
        body = page.locator("#held-after > details", has_text="scan").first
        assert not body.locator("svg").first.is_visible()
        loop.click()
        assert body.locator("svg").first.is_visible()
        nested = body.locator("details")
        assert not nested.locator("svg").is_visible()
        nested.locator("summary").click()
        assert nested.locator("svg").is_visible()
        page.locator("#view .n.holds", has_text="cond").focus()
        page.keyboard.press("Enter")
        page.click("#details dd >> text='then, other'")
        assert "cond: then, other" in page.evaluate("document.activeElement.textContent")
        page.get_by_label("before the passes").check()
        assert not body.is_visible()
        page.locator("#view .n.holds", has_text="scan").click()
        assert page.locator("#held-before > details[open] svg").first.is_visible()

    @compiled
    def test_kernels_in_loops_have_their_rows(self, opened: Any) -> None:
        told = holding("cpu").document(np.full((4, 4), 0.1, np.float32), 0)
        page = opened(document_page(told))
        cells = page.locator("#loops tbody tr").all()
        rows = {
            row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in cells
        }
        loop = next(kernel["number"] for kernel in told["kernels"] if kernel["kind"] == "scan")
        kind, moved, flops, time, *_ = rows[f"{loop}.0.0"]
        assert kind.startswith("matmul")
        assert (moved, flops) == (str(3 * 4 * 4 * 4), str(2 * 4**3))
        assert time.endswith("s")
        tiny = next(kernel["number"] for kernel in told["kernels"] if kernel["kind"] == "cond")
        assert rows[f"{tiny}.0"][3] == ""  # not timed apart

    def test_blocks_and_bars_say_what_they_are(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        block = profiled["memory"]["blocks"][0]
        page.focus("#b0")
        assert block["value"] in page.inner_text("#details h2")
        page.keyboard.press("ArrowRight")
        assert profiled["memory"]["blocks"][1]["value"] in page.inner_text("#details h2")
        owner = max(block["bytes"] for block in at_the_fullest(profiled["memory"]))
        cells = page.locator("#memory tbody tr:first-child td").all_inner_texts()
        assert cells[0] == f"{owner:,}"
        assert "held" in cells
        page.focus("#t0")
        assert profiled["profile"]["parts"][0]["name"] in page.inner_text("#details h2")
        page.click("#details dd button >> nth=0")
        assert page.inner_text("#details h2").startswith("kernel")

    def test_everything_to_press_has_a_name(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        kernel = profiled["kernels"][0]
        assert page.get_by_role("button", name=f"kernel {kernel['number']}, ").count() == 1
        node = profiled["graphs"][1]["nodes"][-1]
        assert page.get_by_role("button", name=f"{node['name']} = {node['op']}").count() >= 1
        unnamed = page.evaluate(
            """[...document.querySelectorAll('button, input, [role=button], [role=region]')]
               .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length))
               .map((e) => e.outerHTML)"""
        )
        assert unnamed == []
        hidden = page.evaluate(
            """[...document.querySelectorAll('[tabindex="0"]')]
               .filter((e) => !e.getClientRects().length).length"""
        )
        assert hidden == 0

    def test_tables_sort_and_search(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        page.click("#kernels thead >> text='bytes'")
        page.click("#kernels thead >> text='bytes'")
        assert page.get_attribute("#kernels th[aria-sort]", "aria-sort") == "descending"
        largest = max(kernel["bytes"] for kernel in profiled["kernels"])
        assert f"{largest:,}" in page.inner_text("#kernels tbody tr:first-child")
        nodes = profiled["graphs"][1]["nodes"]
        page.get_by_label("Search Nodes").fill("MATMUL backward")
        found = [n for n in nodes if n["op"] == "matmul" and n["role"] == "backward"]
        assert page.locator("#nodes tbody tr").count() == len(found) > 0

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_stands_out_in_light_and_dark(
        self, opened: Any, profiled: Any, scheme: str
    ) -> None:
        page = opened(document_page(profiled), color_scheme=scheme)
        page.click("#after-k0 rect", position={"x": 60, "y": 8})
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 50
        assert [c for c in contrasts if c["ratio"] < 4.5] == []

    def test_without_source_the_page_says_why(self, opened: Any) -> None:
        page = opened(document_page(training_step().document()))
        page.click("#kernels tbody button >> nth=0")
        assert "generates no source" in page.inner_text("#details")

    def test_a_comparison_shows_its_table_and_the_function(self, opened: Any) -> None:
        page = opened(comparison_page(comparison(training_step())))
        cells = page.locator("#comparison tbody tr >> nth=0").locator("th, td").all_inner_texts()
        assert cells == ["dynamic", "2.5 ms", "2.4 ms to 2.6 ms", "3 MiB", "210", ""]
        cells = page.locator("#comparison tbody tr >> nth=1").locator("th, td").all_inner_texts()
        assert cells == ["all <passes>", "12.5 µs", "", "2 KiB", "7", ""]
        text = page.inner_text("#comparison")
        assert "a <fast> one" in text
        assert "Medians of 20 runs." in text
        assert page.get_by_role("img", name="Waterfall").count() == 1
        page.click("#kernels tbody button >> nth=0")
        assert page.inner_text("#details h2").startswith("kernel 0")

    def test_a_page_of_5000_nodes_opens(self, opened: Any) -> None:
        graph = random_graph(5000)
        told = document(graph, make_plan(graph))
        page = opened(document_page(told))
        assert page.locator("#view .n").count() == len(told["graphs"][1]["nodes"])
        page.click("#nodes >> text='Next'")
        assert "101 to 200 of 5,0" in page.inner_text("#nodes output")


def at_the_fullest(memory: Any) -> list[Any]:
    at = memory["fullest"]
    return [block for block in memory["blocks"] if block["first"] <= at <= block["last"]]


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
