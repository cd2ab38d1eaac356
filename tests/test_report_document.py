"""The document of a function: complete, JSON, and the same numbers as what it describes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from random_graphs import graphs
from report_cases import batch_of, classifier, random_graph, training_step

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cuda import CudaBackend
from staticnet.errors import ArgumentError, FeedError
from staticnet.plan.planner import make_plan
from staticnet.report import document, graph_document
from staticnet.report.layout import (
    BOX_GAP_X,
    BOX_HEAD,
    GAP_X,
    NODE_HEIGHT,
    NODE_WIDTH,
    Layout,
    layout,
)
from staticnet.report.roles import ROLES, roles

COMPILES = True
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")


@pytest.fixture(scope="module")
def step() -> Any:
    return classifier("numpy")


@pytest.fixture(scope="module")
def described(step: Any) -> Any:
    return step.document()


def test_a_document_is_json(step: Any, described: Any) -> None:
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    graph = graph_document(step.graph)
    assert json.loads(json.dumps(graph, allow_nan=False)) == graph
    assert graph.keys() == described.keys()


def test_its_graphs_are_those_before_and_after_the_passes(step: Any, described: Any) -> None:
    before, after = described["graphs"]
    for told, graph in ((before, step.graph), (after, step.plan.graph)):
        assert sn.parse(told["text"]).nodes == sn.parse(str(graph)).nodes
        assert [node["op"] for node in told["nodes"]] == [node.op.name for node in graph.nodes]
        for node, real in zip(told["nodes"], graph.nodes, strict=True):
            operands = [told["nodes"][i]["op"] for i in node["operands"]]
            assert operands == [operand.op.name for operand in real.inputs]
            assert all(i < told["nodes"].index(node) for i in node["operands"])
    assert {n["role"] for n in before["nodes"]} == set(ROLES)
    assert [name for n in after["nodes"] for name in n["updates"]]
    assert sum(n["output"] for n in after["nodes"]) == 1
    assert described["passes"][0]["before"] == len(before["nodes"])
    assert described["passes"][-1]["after"] == len(after["nodes"])


def test_its_totals_are_those_of_the_plan(step: Any, described: Any) -> None:
    totals, plan = described["totals"], step.plan
    for key in ("launches", "bytes_moved", "allocations", "output_allocations", "host_syncs"):
        assert totals[key] == getattr(plan, key)
    assert totals["kernels"] == len(described["kernels"])
    assert totals["flops"] == step.explain().flops == sum(k["flops"] for k in described["kernels"])
    assert totals["peak_bytes"] == step.memory_analysis().peak
    assert described["memory"]["arena"] == plan.arena_bytes


def test_each_node_belongs_to_the_kernel_that_says_so(described: Any) -> None:
    nodes = described["graphs"][1]["nodes"]
    for kernel in described["kernels"]:
        assert all(nodes[i]["kernel"] == kernel["number"] for i in kernel["nodes"])
        assert len(kernel["nodes"]) == len(kernel["statements"]) > 0
    told = [i for kernel in described["kernels"] for i in kernel["nodes"]]
    assert sorted(told) == [i for i, node in enumerate(nodes) if node["kernel"] is not None]
    assert [k["number"] for k in described["kernels"]] == list(range(len(described["kernels"])))


def test_kernels_tell_the_users_lines_with_their_text() -> None:
    x = sn.placeholder((4,), name="x")
    y = sn.exp(x) * 3  # this very line
    told = sn.function(x, y, device="numpy").document()
    lines = [told["lines"][i] for i in told["kernels"][0]["lines"]]
    assert [line["text"] for line in lines] == ["y = sn.exp(x) * 3  # this very line"]
    assert lines[0]["where"].split("/")[-1].startswith("test_report_document.py:")


def test_a_line_whose_file_is_gone_has_no_text() -> None:
    space: dict[str, Any] = {"sn": sn}
    code = "x = sn.placeholder((2,), name='of_a_file_that_is_gone')\ny = sn.tanh(x)"
    exec(compile(code, "gone.py", "exec"), space)
    told = graph_document(sn.Graph("f", [space["x"]], [space["y"]]))
    assert {line["where"].split("/")[-1]: line["text"] for line in told["lines"]} == {
        "gone.py:1": "",
        "gone.py:2": "",
    }


class TestSources:
    def test_of_the_reference_there_are_none(self, described: Any) -> None:
        assert described["sources"] == []
        assert {kernel["source"] for kernel in described["kernels"]} == {None}

    @compiled
    def test_of_each_kernel_on_the_cpu(self) -> None:
        step = classifier("cpu")
        told = step.document()
        whole = " ".join(step.source().split())
        for kernel in told["kernels"]:
            text = told["sources"][kernel["source"]]
            assert " ".join(text.split()) in whole

    @compiled
    def test_equal_kernels_share_one(self) -> None:
        x, y, w = (sn.placeholder((8, 8), name=name) for name in "xyw")
        told = sn.function([x, y, w], [sn.tanh(x) @ w, sn.tanh(y) @ w], device="cpu").document()
        numbers = [k["source"] for k in told["kernels"] if k["kind"] == "map"]
        assert len(numbers) == 2
        assert len(set(numbers)) == 1

    def test_of_each_launch_in_cuda(self, step: Any) -> None:
        program = CudaBackend().program(step.plan, ("persistent",))
        told = document(step.graph, step.plan, device="cuda", source=program)
        texts = [told["sources"][k["source"]] for k in told["kernels"]]
        assert any("cuBLASLt: [16,32] by [32,24] float32" in text for text in texts)
        for text, kernel in zip(texts, told["kernels"], strict=True):
            if kernel["kind"] in ("map", "rows", "columns"):
                assert "__global__" in text
                assert all(part in program.body for part in text.split("\n\n"))


class TestMemory:
    @pytest.mark.parametrize("make", [classifier, training_step])
    def test_live_blocks_never_overlap_and_fit_the_arena(self, make: Any) -> None:
        memory = make("numpy").document()["memory"]
        for a, b in itertools.combinations(memory["blocks"], 2):
            if a["first"] <= b["last"] and b["first"] <= a["last"]:
                apart = (
                    a["offset"] + a["bytes"] <= b["offset"]
                    or b["offset"] + b["bytes"] <= a["offset"]
                )
                assert apart or a["over"] == b["value"] or b["over"] == a["value"]
        assert all(b["offset"] + b["bytes"] <= memory["arena"] for b in memory["blocks"])
        assert max(memory["live"]) <= memory["arena"]

    def test_the_fullest_launch_is_that_of_the_memory_analysis(self, step: Any) -> None:
        memory = step.document()["memory"]
        at = memory["fullest"]
        assert memory["live"][at] == max(memory["live"])
        assert memory["live"][at] == sum(o.bytes for o in step.memory_analysis().owners)
        parts = ("feeds", "state", "constants", "outputs", "arena")
        assert memory["peak"] == sum(memory[part] for part in parts)

    def test_a_value_that_is_written_over_another_takes_no_room_of_its_own(self) -> None:
        x = sn.placeholder((8, 8), name="x")
        step = sn.function(x, sn.tanh(x @ x) @ x, device="numpy")
        memory = step.document()["memory"]
        first, second = memory["blocks"]
        assert second["over"] == first["value"]
        assert memory["live"] == [256, 256, 256]

    def test_what_is_saved_from_a_variable_lies_there_too(self) -> None:
        a, b = (sn.variable(np.full(8, n, np.float32), name) for n, name in ((1, "a"), (2, "b")))
        swap = sn.function([], a + b, updates={a: b, b: a}, device="numpy")
        blocks = swap.document()["memory"]["blocks"]
        assert [block["bytes"] for block in blocks if "before" in block["value"]]

    def test_partial_results_lie_above_all_values(self) -> None:
        x = sn.placeholder((1 << 17,), name="x")
        told = sn.function(x, sn.sum(sn.square(x)), device="numpy").document()
        partial = [b for b in told["memory"]["blocks"] if b["node"] is None]
        assert [b["value"] for b in partial] == ["partial results"]
        assert partial[0]["bytes"] == told["memory"]["arena"] == max(told["memory"]["live"])

    def test_without_an_arena_no_launch_is_the_fullest(self) -> None:
        x = sn.placeholder((4,), name="x")
        memory = sn.function(x, sn.tanh(x), device="numpy").document()["memory"]
        assert memory["arena"] == 0
        assert memory["fullest"] is None
        assert memory["blocks"] == []


class TestProfiles:
    @compiled
    def test_launches_are_told_in_order_with_their_share_of_the_floor(self) -> None:
        step = classifier("cpu")
        before = step.graph.variables[0].value  # type: ignore[attr-defined]
        told = step.document(*batch_of(16))
        assert np.array_equal(before, step.graph.variables[0].value)
        parts = told["profile"]["parts"]
        launches = [part["launch"] for part in parts if part["launch"] is not None]
        assert launches == list(range(told["totals"]["launches"]))
        assert sum(part["seconds"] for part in parts) == pytest.approx(told["profile"]["seconds"])
        starts = itertools.accumulate((part["seconds"] for part in parts), initial=0.0)
        assert [part["start"] for part in parts] == pytest.approx(list(starts)[:-1])
        assert any(part["share_of_products"] for part in parts)
        json.dumps(told, allow_nan=False)

    @compiled
    def test_on_a_gpu_too(self, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("staticnet.backends.cuda.rates.SIZES", (1 << 10, 1 << 12))
        monkeypatch.setattr("staticnet.backends.cuda.rates.PRODUCT", 64)
        told = training_step("cuda").document(np.ones((4, 3), np.float32))
        assert told["device"] == told["profile"]["device"] == "cuda"
        launches = [p["launch"] for p in told["profile"]["parts"] if p["launch"] is not None]
        assert launches == list(range(told["totals"]["launches"]))
        assert all(kernel["source"] is not None for kernel in told["kernels"])

    def test_on_numpy_the_parts_are_nodes(self) -> None:
        told = training_step().document(np.ones((4, 3), np.float32))
        nodes = told["graphs"][1]["nodes"]
        for part in told["profile"]["parts"]:
            assert nodes[part["node"]]["op"] == part["kind"]
            assert part["launch"] is None


class TestDims:
    def test_feeds_or_dims_or_the_one_specialisation_say_them(self) -> None:
        step = training_step(batch="batch")
        with pytest.raises(ArgumentError, match="say which"):
            step.document()
        assert step.document(batch=8)["dims"] == {"batch": 8}
        assert step.specializations == []
        assert step.document(np.ones((5, 3), np.float32))["dims"] == {"batch": 5}
        assert step.document()["dims"] == {"batch": 5}
        before, after = step.document(batch=8)["graphs"]
        assert "batch" in before["flops"]
        assert isinstance(after["flops"], int)

    def test_not_both_and_none_that_are_unknown(self) -> None:
        step = training_step(batch="batch")
        with pytest.raises(ArgumentError, match="leave out batch"):
            step.document(np.ones((4, 3), np.float32), batch=4)
        with pytest.raises(ArgumentError, match="symbolic dims"):
            step.document(rows=4)
        with pytest.raises(FeedError):
            step.document(np.ones((4, 7), np.float32))


def test_roles_are_told_apart_by_the_data_flow_even_after_reading_the_text_back() -> None:
    graph = training_step().plan.graph
    for known in (graph, sn.parse(str(graph))):
        by_op: dict[str, set[str]] = {}
        for node, role in roles(known).items():
            by_op.setdefault(node.op.name, set()).add(role)
        assert by_op["variable"] == by_op["placeholder"] == {"input"}
        assert by_op["tanh"] == {"forward"}
        assert by_op["matmul"] == {"forward", "backward"}
        ((_, value),) = known.updates
        assert roles(known)[value] == "update"


def test_a_gradient_that_is_an_output_is_one() -> None:
    x = sn.placeholder((2,), name="x")
    (g,) = sn.grad(sn.sum(sn.tanh(x)), [x])
    assert roles(sn.Graph("f", [x], [g]))[g] == "backward"


def placed(graph: Any) -> Layout:
    nodes = graph["nodes"]
    return layout([node["operands"] for node in nodes], [node["box"] for node in nodes])


def check_layout(graph: Any) -> None:
    """Nodes stand apart, and below their operands; boxes hold their nodes, and no others."""
    places, nodes = placed(graph), graph["nodes"]
    spots = [(x, y, NODE_WIDTH, NODE_HEIGHT) for x, y in places.corners]
    boxes = {n: (b.x, b.y, b.width, b.height) for n, b in places.boxes.items()}
    for node, (x, y, width, height) in zip(nodes, spots, strict=True):
        assert 0 <= x <= places.width - width
        assert 0 <= y <= places.height - height
        for operand in node["operands"]:
            if nodes[operand]["box"] in (node["box"], None):
                assert spots[operand][1] + height <= y
        if node["box"] is not None:
            left, top, wide, high = boxes[node["box"]]
            assert left < x
            assert x + width < left + wide
            assert top + BOX_HEAD <= y
            assert y + height < top + high
    loose = [s for s, n in zip(spots, nodes, strict=True) if n["box"] is None]
    inside = [s for s, n in zip(spots, nodes, strict=True) if n["box"] is not None]
    assert disjoint([*loose, *boxes.values()], min(GAP_X, 4))
    assert disjoint(inside, min(BOX_GAP_X, 4))


def disjoint(rectangles: list[Any], gap: int) -> bool:
    return all(
        ax + aw + gap <= bx or bx + bw + gap <= ax or ay + ah + gap <= by or by + bh + gap <= ay
        for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(rectangles, 2)
    )


def test_pictures_of_steps_have_no_overlaps(described: Any) -> None:
    for graph in described["graphs"]:
        check_layout(graph)
    assert placed(described["graphs"][1]).boxes.keys() == {
        k["number"] for k in described["kernels"]
    }
    check_layout(graph_document(random_graph(200))["graphs"][0])
    assert placed(graph_document(sn.Graph("none", [], []))["graphs"][0]).corners == ()


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_pictures_of_random_plans_have_no_overlaps(case: tuple[sn.Graph, Any]) -> None:
    graph, _ = case
    for told in document(graph, make_plan(graph))["graphs"]:
        check_layout(told)


def test_what_is_read_through_stands_in_the_box_of_its_base() -> None:
    x = sn.placeholder((4, 8), name="x")
    y = sn.tanh(x)
    told = sn.function(x, [y, sn.sum(sn.permute_dims(y, (1, 0)) @ y)], device="numpy").document()
    nodes = told["graphs"][1]["nodes"]
    (view,) = [n for n in nodes if n["kernel"] is None and n["role"] != "input" and n["operands"]]
    base = nodes[view["operands"][0]]
    assert base["op"] == "tanh"
    assert view["box"] == base["kernel"] is not None
