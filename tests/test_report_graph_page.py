"""The graph page: complete, self-contained, escaped; and, where Chromium is, usable."""

import re
import shutil
import time
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import staticnet as sn
from staticnet.report import graph_html
from staticnet.report.layout import GAP_X, NODE_WIDTH, layout
from staticnet.report.roles import roles

VOID = {"meta", "link", "input", "path", "rect", "br"}


class Page(HTMLParser):
    """Checks that tags close in order; collects ids, links, addresses and cells."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.addresses, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                (self.links if value.startswith("#") else self.addresses).append(value)

    def handle_startendtag(self, tag, attributes):
        if tag in VOID:
            self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def training_graph(device="numpy"):
    x = sn.placeholder((4, 3), name="x")
    w = sn.variable(np.ones((3, 2), np.float32), name="w")
    loss = sn.mean(sn.square(sn.tanh(x @ w)))
    (g,) = sn.grad(loss, [w])
    step = sn.function([x], loss, updates={w: w - 0.1 * g}, name="step", device=device)
    return step.specialize().graph


def random_graph(size, seed=0):
    rng = np.random.default_rng(seed)
    nodes = [sn.placeholder((2,), name="x")]
    makers = [sn.add, sn.multiply, sn.subtract, sn.maximum]
    while len(nodes) < size:
        a, b = (nodes[-1 - rng.integers(min(len(nodes), 40))] for _ in range(2))
        node = makers[rng.integers(len(makers))](a, b)
        if not any(node is other for other in nodes[-50:]):
            nodes.append(node)
    return sn.Graph("big", nodes[:1], nodes[1:])


def test_every_node_is_drawn_and_listed_and_every_link_leads_somewhere():
    graph = training_graph()
    page = Page(graph_html(graph))
    for i in range(len(graph.nodes)):
        assert page.ids.count(f"v{i}") == 1
        assert page.ids.count(f"n{i}") == 1
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert str(graph) in "".join(page.text)


def test_the_page_loads_nothing():
    text = graph_html(training_graph())
    assert set(Page(text).addresses) <= {"data:,"}
    assert not re.search(r"https?:|//\w+\.|@import|url\(", text)
    assert "default-src 'none'" in text


def test_what_users_write_is_escaped():
    x = sn.placeholder((2,), name="x")
    w = sn.variable(np.float32([1, 2]), name='</script><img src=x onerror="alert(1)">&')
    graph = sn.Graph("f", [x], [x * w])
    text = graph_html(graph)
    assert "<img" not in text
    assert text.count("<script>") == 1
    Page(text)


def test_roles_are_told_apart_by_the_data_flow_even_after_reading_the_text_back():
    graph = training_graph()
    for known in (graph, sn.parse(str(graph))):
        by_op = {}
        for node, role in roles(known).items():
            by_op.setdefault(node.op.name, set()).add(role)
        assert by_op["variable"] == by_op["placeholder"] == {"input"}
        assert by_op["tanh"] == {"forward"}
        assert by_op["matmul"] == {"forward", "gradient"}
        ((_, value),) = known.updates
        assert roles(known)[value] == "update"


def test_a_gradient_that_is_an_output_is_one():
    x = sn.placeholder((2,), name="x")
    (g,) = sn.grad(sn.sum(sn.tanh(x)), [x])
    assert roles(sn.Graph("f", [x], [g]))[g] == "gradient"


@pytest.mark.parametrize("graph", [training_graph(), random_graph(300), sn.Graph("none", [], [])])
def test_operands_stand_above_their_users_and_boxes_never_overlap(graph):
    places = layout(graph)
    for node in graph.nodes:
        x, y = places.corners[node]
        assert 0 <= x <= places.width - NODE_WIDTH
        assert y < places.height
        assert all(places.corners[operand][1] < y for operand in node.inputs)
    for layer in places.layers:
        lefts = sorted(places.corners[node][0] for node in layer)
        assert all(b - a >= NODE_WIDTH + GAP_X - 1 for a, b in pairwise(lefts))
    Page(graph_html(graph))


def test_variables_that_are_only_written_and_share_a_value_are_all_named():
    x = sn.placeholder((2,), name="x")
    a, b = (sn.variable(np.float32([1, 2]), name=name) for name in "ab")
    text = graph_html(sn.Graph("f", [x], [x], ((a, x + 1), (b, x + 1))))
    assert "next value of %a, next value of %b" in text
    Page(text)


def test_a_page_of_5000_nodes_is_written_quickly():
    graph = random_graph(5000)
    start = time.perf_counter()
    text = graph_html(graph)
    assert time.perf_counter() - start < 5
    assert len(text) < 6_000_000


@pytest.fixture(scope="module")
def browser():
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
def opened(browser, tmp_path):
    """Opens a graph's page; fails if it logs an error or asks the network for anything."""
    faults = []

    def open_page(graph):
        file = tmp_path / "page.html"
        file.write_text(graph_html(graph), encoding="utf-8")
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda r: None if r.url.startswith("file:") else faults.append(r.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    assert [fault for fault in faults if not fault.startswith("data:")] == []


def test_a_click_shows_a_nodes_details_and_links_lead_on(opened):
    graph = training_graph()
    page = opened(graph)
    number = next(i for i, node in enumerate(graph.nodes) if node.op.name == "tanh")
    page.click(f"#v{number} rect")
    assert "tanh" in page.inner_text("#details")
    assert page.get_attribute("#near", "d").startswith("M")
    page.click("#details dd:nth-of-type(6) a")
    assert "matmul" in page.inner_text("#details")


def test_the_keyboard_reaches_every_part(opened):
    page = opened(training_graph())
    page.focus("#picture .n[tabindex='0']")
    assert "placeholder" in page.inner_text("#details")
    page.keyboard.press("ArrowDown")
    assert "matmul" in page.inner_text("#details")
    page.keyboard.press("ArrowUp")
    assert "placeholder" in page.inner_text("#details")
    before = page.get_attribute("#picture", "width")
    page.keyboard.press("+")
    assert float(page.get_attribute("#picture", "width")) > float(before)
    assert page.locator("#picture .n[tabindex='0']").count() == 1


def test_the_search_filters_the_table(opened):
    graph = training_graph()
    page = opened(graph)
    page.fill("#search", "TANH forward")
    assert page.locator("tbody tr:visible").count() == 1
    assert page.inner_text("#found") == f"1 of {len(graph.nodes)} nodes"
    page.fill("#search", "")
    assert page.locator("tbody tr:visible").count() == len(graph.nodes)


def test_a_page_of_5000_nodes_opens(opened):
    page = opened(random_graph(5000))
    assert page.locator("tbody tr").count() == 5000
    page.click("#fit")
