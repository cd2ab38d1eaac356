"""Pages: complete, self-contained, escaped; and, where Chromium is, usable."""

from __future__ import annotations

import gc
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import CONTRASTS
from report_cases import batch_of, classifier, random_graph, training_step

import staticnet as sn
import staticnet.report
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.compare.result import COLUMNS
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
            {"name": "without remat", "values": {"time": 1.25e-5, "verdict": "the same program"}},
        ],
        "environment": {"cpu": "a <fast> one"},
        "warnings": ["The machine was <busy>."],
        "notes": ["Medians of 20 runs."],
        "waterfall_svg": '<?xml version="1.0"?><svg width="40" height="20" role="img" '
        'aria-label="Waterfall"><rect width="40" height="20"/></svg>',
        "document": None if function is None else function.document(),
    }


def own(text: str) -> str:
    """A page without the library that it carries."""
    start = text.index("<script>\n// elkjs")
    return text[:start] + text[text.index("</script>", start) :]


def test_a_page_holds_its_document_and_the_library_with_its_licence() -> None:
    told = classifier("numpy").document()
    text = document_page(told)
    page = Page(text)
    assert page.json["document"] == told
    assert page.json["compared"] is None
    assert len(page.ids) == len(set(page.ids))
    assert "Eclipse Public License 2.0" in text
    vendored = Path(staticnet.report.__file__).parent / "vendor"
    assert "Eclipse Public License" in (vendored / "LICENSE-elkjs.md").read_text(encoding="utf-8")


def test_pages_load_nothing() -> None:
    step = training_step()
    waterfall = comparison(step)
    for text in (
        graph_html(step.graph),
        document_page(step.document()),
        comparison_page(waterfall),
    ):
        assert set(Page(text).addresses) <= {"data:,"}
        assert not re.search(r"https?:|//\w+\.|@import|url\(", own(text))
        assert "default-src 'none'" in text


def test_what_users_write_is_escaped() -> None:
    x = sn.placeholder((2,), name="x")
    w = sn.variable(np.float32([1, 2]), name='</script><img src=x onerror="alert(1)">&')
    step = sn.function(x, x * w, device="numpy", name="<b>")
    for text in (graph_html(step.graph), document_page(step.document())):
        assert "<img" not in text
        assert "<b>" not in own(text)
        assert text.count("</script>") == 4  # two documents, the library, the script
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
    first = sum(len(graph["nodes"]) for graph in told["graphs"])
    held = sum(drawn(graph["nodes"]) for graph in told["graphs"]) - first
    assert text.count('<g class="n ') == held
    assert text.count('<details class="held"') == 2 * 3  # before and after: two loops, a choice
    account = next(kernel for kernel in step.explain().kernels if kernel.kind == "scan")
    (body,) = account.bodies
    (nested,) = body.explanation.kernels[0].bodies
    for kernel in (*body.explanation.kernels, *nested.explanation.kernels):
        assert f">kernel {kernel.label}  {kernel.kind}" in text
    assert set(page.addresses) <= {"data:,"}
    alone = graph_html(step.graph)
    assert sum(name.startswith("graph-g") for name in Page(alone).ids) == 2
    first = told["graphs"][0]["nodes"]
    assert alone.count('<g class="n ') == drawn(first) - len(first)


def test_report_writes_a_page_and_says_where(tmp_path: Any) -> None:
    gc.collect()  # nodes that other tests left, and that equal ours, have lines of theirs
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

    def test_a_network_is_a_row_a_layer(self) -> None:
        text = classifier("numpy").graph._repr_html_() or ""
        rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in text.split("<tr>")]
        told = {row[0]: row[1:] for row in rows if row}
        assert told["0"] == ["matmul, add", "matmul, sum", "", "9", "792"]
        assert told["1"][:2] == ["relu", "greater, where"]
        assert told["update"][:3] == ["", "", told["update"][2]]
        assert list(told)[:4] == ["0", "1", "2", "loss = sn.nn.cross_entropy(model(x), y)"]

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
        page.get_by_label("kernels", exact=True).check()
        page.click(f"#view .box[aria-label^='kernel {kernel['number']} ']")
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
        page.click("#view .box[aria-label^='0 ']")
        page.click(f"#view [data-id=n{number}]")
        assert "matmul" in page.inner_text("#details h2")
        assert page.locator("#view .e.near").count() > 1
        operand = after[after[number]["operands"][0]]
        page.click(f"#details dd >> text='{operand['name']}'")
        assert operand["name"] in page.inner_text("#details h2")

    def test_the_keyboard_unfolds_reads_and_comes_back(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        page.focus("#view [tabindex='0']")
        for _ in range(3):
            page.keyboard.press("ArrowDown")
        layer = page.evaluate("document.activeElement.dataset.id")
        shown = page.locator("#view .item").count()
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#view [data-id='{layer}'][aria-expanded='true']")
        assert page.locator("#view .item").count() > shown
        assert page.evaluate("document.activeElement.dataset.id") == layer
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.classList.contains('n')")
        node = page.evaluate("document.activeElement.dataset.id")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "details"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.dataset.id") == node
        page.keyboard.press("Escape")
        page.wait_for_selector(f"#view [data-id='{layer}'][aria-expanded='false']")
        assert page.locator("#view .item[tabindex='0']").count() == 1
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
        forward = sum(node["role"] == "forward" for node in before)
        assert f"forward ({forward})" in page.inner_text(".legend")
        page.click("#timeline tbody button >> nth=0")
        page.get_by_label("kernels", exact=True).check()
        page.wait_for_selector("#view .box[aria-label^='kernel 0 ']")
        folded = [n["folded"] for n in profiled["graphs"][1]["nodes"]]
        shown = [k for k in profiled["kernels"] if not all(folded[n] for n in k["nodes"])]
        assert page.locator("#view .box[aria-label^='kernel ']").count() == len(shown)

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
        page.get_by_label("kernels", exact=True).check()
        named = page.get_by_role("button", name=f"kernel {kernel['number']} · ")
        named.wait_for()
        assert named.count() == 1
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
        page.click("#view .box >> nth=1")
        page.wait_for_selector("#view .box.open")
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
        assert cells == ["all <passes>", "13 µs", "", "2 KiB", "7", ""]
        text = page.inner_text("#comparison")
        assert "a <fast> one" in text
        assert page.locator("#comparison tbody tr").count() == 2
        assert "the same without: remat" in text
        warned = page.locator(".warning").bounding_box()["y"]
        assert warned < page.locator("#comparison table").bounding_box()["y"]
        assert "Medians of 20 runs." in text
        assert page.get_by_role("img", name="Waterfall").count() == 1
        page.click("#kernels tbody button >> nth=0")
        assert page.inner_text("#details h2").startswith("kernel 0")

    @pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
    def test_tables_fit_the_screen_and_the_rest_is_there_on_demand(
        self, opened: Any, profiled: Any, size: tuple[int, int]
    ) -> None:
        compared = comparison() | {"columns": COLUMNS, "document": profiled}
        long = {column["key"]: 1234567.0 for column in COLUMNS}
        long |= {"verdict": "1.2x slower than dynamic", "time_interval": [1e-3, 2e-3]}
        compared["rows"] = [{"name": "static, many steps a call", "values": long}]
        page = opened(comparison_page(compared), size=size)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(TOO_WIDE) == []
        shown = page.locator("#kernels th:visible").count()
        page.locator(".demand:visible").first.click()
        page.click("section[aria-labelledby=kernels-title] .demand >> nth=0")
        assert page.locator("#kernels th:visible").count() > shown
        page.click("#kernels tbody button >> nth=0")
        assert page.locator("#details").is_visible()
        page.click("#details .close")
        assert not page.locator("#details").is_visible()

    def test_passes_that_did_nothing_are_one_line(self, opened: Any, profiled: Any) -> None:
        page = opened(document_page(profiled))
        passes = profiled["passes"]
        idle = [p["name"] for p in passes if p["before"] == p["after"] and not p["notes"]]
        assert page.locator("#passes tbody tr").count() == len(passes) - len(idle)
        assert f": {', '.join(idle)}." in page.inner_text("#passes > p")

    def test_a_page_of_5000_nodes_opens(self, opened: Any) -> None:
        graph = random_graph(5000)
        told = document(graph, make_plan(graph))
        page = opened(document_page(told))
        assert page.locator("#view .box").count() <= 40
        page.click("#nodes >> text='Next'")
        assert "101 to 200 of 5,0" in page.inner_text("#nodes output")


def at_the_fullest(memory: Any) -> list[Any]:
    at = memory["fullest"]
    return [block for block in memory["blocks"] if block["first"] <= at <= block["last"]]


TOO_WIDE = """
() => [...document.querySelectorAll('.rows')].filter((rows) => rows.scrollWidth > rows.clientWidth)
  .map((rows) => [rows.getAttribute('aria-label'), rows.scrollWidth, rows.clientWidth])
"""
