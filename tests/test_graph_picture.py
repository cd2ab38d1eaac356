"""A graph's picture: which boxes it has, and, where Chromium is, where they and their edges lie."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

import char_gpt
import numpy as np
import pytest
from browsing import CROSSED, FITS, SERIOUS, axe
from report_cases import batch_of, classifier, random_graph

import staticnet as sn
from staticnet.cli.demo import build
from staticnet.cli.networks import NETWORKS, network
from staticnet.report import document_page, graph_document, graph_html
from staticnet.report.boxes import MOST


def layers(graph: Any) -> Any:
    return graph_document(graph)["graphs"][0]["views"][0]


def numbers(items: Any) -> Iterator[int]:
    for item in items:
        if isinstance(item, int):
            yield item
        else:
            yield from numbers(item["items"])


def boxes(items: Any) -> Iterator[Any]:
    for item in items:
        if not isinstance(item, int):
            yield item
            yield from boxes(item["items"])


def labels(items: Any) -> list[str]:
    return [item["label"] for item in items if not isinstance(item, int)]


@cache
def resnet() -> Any:
    x, y = sn.placeholder((2, 3, 32, 32), name="images"), sn.placeholder((2,), "int64", "labels")
    loss = sn.nn.cross_entropy(network(sn.nn, NETWORKS["resnet18"])(x), y)
    updates = sn.optim.SGD(lr=0.1, momentum=0.9).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device="numpy", name="resnet18")


@cache
def gpt() -> Any:
    config = char_gpt.Config(vocabulary=64, layers=12, heads=2, width=16, length=8)
    return char_gpt.training_step(char_gpt.GPT(config), 2, device="numpy")


@cache
def demo() -> Any:
    """The step that `staticnet demo` trains by, as one would write it."""
    gc.collect()  # nodes of other tests that are of the same form would have their lines
    model = build(0, "numpy", 100).model
    x, y = sn.placeholder(("batch", 64), name="images"), sn.placeholder(("batch",), "int64", "y")
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.Adam(sn.optim.CosineAnnealingLR(3e-3, T_max=100)).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device="numpy", name="demo")


def test_every_shown_node_is_in_one_box_of_each_view() -> None:
    for graph in classifier("numpy").document()["graphs"]:
        shown = {i for i, node in enumerate(graph["nodes"]) if not node["folded"]}
        for view in graph["views"]:
            held = list(numbers([*view["main"], *view["apart"]]))
            assert sorted(held) == sorted(shown)
            for box in boxes([*view["main"], *view["apart"]]):
                assert sorted(numbers(box["items"])) == box["nodes"]
                assert sum(box["counts"].values()) == len(box["nodes"])
                assert len(box["items"]) <= MOST


def test_layers_are_boxes_with_both_halves_and_the_update_is_apart() -> None:
    view = layers(demo().graph)
    assert labels(view["main"]) == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "loss = sn.nn.cross_entropy(model(x), y)",
    ]
    linear = next(box for box in view["main"] if not isinstance(box, int) and box["label"] == "1")
    assert linear["ops"] == {"forward": "matmul, add", "backward": "matmul, sum"}
    assert linear["parameters"] == 64 * 256 + 256
    (update,) = view["apart"]
    assert labels(update["items"]) == ["shared", "1.weight", "1.bias", "4.weight", "4.bias"]
    assert set(update["counts"]) == {"input", "update"}


def test_constants_and_random_bits_are_folded() -> None:
    told = graph_document(demo().graph)["graphs"][0]["nodes"]
    folded = {node["op"] for node in told if node["folded"]}
    assert {"constant", "random_bits", "less", "bitwise_right_shift"} <= folded
    shown = {node["op"] for node in told if not node["folded"]}
    assert not shown & {"constant", "random_bits"}
    assert not any(n["folded"] for n in told if n["op"] == "placeholder" or n["output"])
    drawn = sn.Graph("noise", [], [sn.random.uniform(sn.random.key(0), (3,))])
    assert [n["output"] for n in graph_document(drawn)["graphs"][0]["nodes"] if not n["folded"]]


def test_modules_nest_and_a_wrapper_is_open() -> None:
    class Model(sn.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = sn.nn.Sequential(sn.nn.Linear(3, 3), sn.nn.Sequential(sn.nn.Linear(3, 2)))

        def forward(self, x: Any) -> Any:
            return self.net(x)

    x = sn.placeholder((4, 3), name="x")
    view = layers(sn.Graph("g", [x], [Model()(x)]))
    net = next(boxes(view["main"]))
    assert (net["label"], net["open"]) == ("net", True)
    assert labels(net["items"]) == ["0", "1.0"]
    assert not any(box["open"] for box in boxes(net["items"]))


@pytest.mark.parametrize("size", [0, 1, 39, 41, 700])
def test_what_no_module_made_is_boxed_in_runs(size: int) -> None:
    graph = random_graph(size) if size else sn.Graph("none", [], [])
    view = layers(graph)
    assert len(list(numbers(view["main"]))) == len(graph.nodes)
    assert all(len(box["items"]) <= MOST for box in boxes(view["main"]))
    assert len(view["main"]) <= MOST


def test_a_step_of_updates_alone_has_nothing_apart() -> None:
    w = sn.variable(np.float32(1), name="w")
    view = layers(sn.function([], [], updates={w: w + 1}, device="numpy").graph)
    assert view["apart"] == []
    assert len(list(numbers(view["main"]))) == 2


class TestInTheBrowser:
    @pytest.mark.parametrize("step", [demo, pytest.param(resnet, marks=pytest.mark.slow), gpt])
    def test_the_whole_network_is_on_one_screen_and_no_label_is_crossed(
        self, opened: Any, step: Any
    ) -> None:
        page = opened(graph_html(step().graph), size=(1280, 800))
        held(page)
        assert ways_to_update(page) == givers(step().graph, page)
        empty = "document.querySelector('#view').clientHeight - picture().clientHeight"
        picture = "const picture = () => document.querySelector('#view svg');"
        assert 0 <= page.evaluate(f"() => {{ {picture} return {empty}; }}") <= 24
        page.click("#view .box >> nth=2")
        page.wait_for_selector("#view .box.open")
        uncrossed(page)
        assert ways_to_update(page) == givers(step().graph, page)

    def test_unfolded_it_can_be_read_and_all_gradients_have_a_way(self, opened: Any) -> None:
        page = opened(graph_html(demo().graph), size=(1280, 800))
        page.click("#unfold")
        page.wait_for_selector("#view .box.open[data-id='u0']")
        assert page.evaluate(FITS)["height"] >= 9
        uncrossed(page)
        assert len(givers(demo().graph, page)) == 4  # of two weights and two biases
        assert ways_to_update(page) == givers(demo().graph, page)

    @pytest.mark.slow
    @pytest.mark.parametrize("step", [demo, resnet, gpt])
    def test_so_it_is_after_the_passes_and_with_everything_unfolded_once(
        self, opened: Any, step: Any
    ) -> None:
        function = step()
        dims = {"batch": 32} if function.graph.symbols else {}
        page = opened(document_page(function.document(**dims)), size=(1280, 800))
        held(page)
        page.get_by_label("kernels", exact=True).check()
        page.wait_for_selector("#view .box[aria-label^='kernel']")
        uncrossed(page)
        page.get_by_label("after the passes").check()
        page.wait_for_selector("#view .box[data-id='u0']")
        page.click("#unfold")
        page.wait_for_selector("#view .box.open[data-id='u0']")
        uncrossed(page)

    def test_searching_unfolds_what_it_finds(self, opened: Any) -> None:
        page = opened(graph_html(classifier("numpy").graph), size=(390, 800))
        page.fill("#find", "matmul backward")
        assert page.inner_text("#found") == "3 found"
        page.press("#find", "Enter")
        page.wait_for_selector("#view .n.chosen")
        assert page.inner_text("#found") == "1 of 3"
        assert "matmul" in page.inner_text("#details h2")

    @pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
    def test_axe_finds_nothing_serious(self, opened: Any, width: int, scheme: str) -> None:
        checker = axe()
        text = document_page(classifier("numpy").document(*batch_of(16)))
        page = opened(text, size=(width, 844), color_scheme=scheme)
        for choice in ("after the passes", "kernels"):
            page.get_by_label(choice, exact=True).check()
            page.wait_for_selector("#view .box")
            page.click("#view .box >> nth=1")
            page.wait_for_selector("#view .box.open")
            page.evaluate(checker)
            assert page.evaluate(SERIOUS) == []


def held(page: Any) -> None:
    """What is on the screen: all of the picture, in letters that can be read, nothing crossed."""
    seen, lines = page.evaluate(FITS), page.evaluate(CROSSED)
    assert seen["fits"]
    assert seen["over"] == []
    assert seen["height"] >= 9  # pixels of a line of text
    assert lines["lines"] > 10
    assert lines["texts"] > 10
    assert lines["crossed"] == lines["through"] == []
    assert lines["slanted"] == []


def uncrossed(page: Any) -> None:
    """No edge runs over a label, or through a box that is not its own."""
    lines = page.evaluate(CROSSED)
    assert lines["crossed"] == lines["through"] == []


def ways_to_update(page: Any) -> list[str]:
    """What the drawn ways of gradients come from."""
    found = "lines => lines.map((line) => line.dataset.from)"
    return sorted(page.locator("#view .e.backward[data-to='u0']").evaluate_all(found))


def givers(graph: Any, page: Any) -> list[str]:
    """What they should come from: the closed boxes that hold the gradients of the update."""
    told = graph_document(graph)["graphs"][0]
    shown = set(
        page.locator("#view .item.closed").evaluate_all("all => all.map((a) => a.dataset.id)")
    )
    place: dict[int, str] = {}

    def walk(item: Any, name: str, above: str) -> None:
        name = f"n{item}" if isinstance(item, int) else name
        found = above or (name if name in shown else "")
        if isinstance(item, int):
            place[item] = found
        else:
            for i, each in enumerate(item["items"]):
                walk(each, f"{name}.{i}", found)

    for letter, part in (("b", "main"), ("u", "apart")):
        for i, item in enumerate(told["views"][0][part]):
            walk(item, f"{letter}{i}", "")
    nodes, apart = told["nodes"], set(numbers(told["views"][0]["apart"]))
    operands = {x for i in apart for x in nodes[i]["operands"] if x in place} - apart
    return sorted({place[x] for x in operands if nodes[x]["role"] == "backward"})
