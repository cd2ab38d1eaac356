"""`sn.io.model_explorer.save`: files as Model Explorer's own classes describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError

nn = sn.nn
TEXT = {"key": str, "value": str}
EDGE = {"sourceNodeId": str, "sourceNodeOutputId": str, "targetNodeInputId": str}
NODE = {"id", "label", "namespace", "attrs", "incomingEdges", "outputsMetadata", "subgraphIds", "config"}  # noqa: E501 # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """A file, once its graphs are well formed: edges and subgraphs lead to what is there."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert data.keys() == {"label", "graphs"}
    graphs = {graph["id"]: graph for graph in data["graphs"]}
    assert len(graphs) == len(data["graphs"])
    for graph in graphs.values():
        assert graph.keys() == {"id", "nodes", "groupNodeAttributes"}
        nodes = {node["id"]: node for node in graph["nodes"]}
        assert len(nodes) == len(graph["nodes"])
        groups = {""}
        for node in nodes.values():
            assert node.keys() <= NODE
            assert all(isinstance(node[key], str) for key in ("id", "label", "namespace"))
            for pair in node["attrs"]:
                assert {key: type(value) for key, value in pair.items()} == TEXT
            for edge in node["incomingEdges"]:
                assert {key: type(value) for key, value in edge.items()} == EDGE
                source = nodes[edge["sourceNodeId"]]
                known = [each["id"] for each in source["outputsMetadata"]]
                assert edge["sourceNodeOutputId"] in known
            assert set(node.get("subgraphIds", [])) <= graphs.keys()
            parts = node["namespace"].split("/")
            groups |= {"/".join(parts[:i]) for i in range(1, len(parts) + 1)}
        assert graph["groupNodeAttributes"].keys() <= groups
    return data


def test_a_training_step_with_its_modules_and_updates(tmp_path: Path) -> None:
    x, y = sn.placeholder(("n", 4), name="x"), sn.placeholder(("n",), "int64", "y")
    net = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Tanh(), nn.Linear(8, 3)))
    loss = nn.cross_entropy(net(x), y)
    step = sn.function([x, y], loss, updates=sn.optim.SGD(lr=0.1).minimize(loss), device="numpy")
    sn.io.model_explorer.save(tmp_path / "step.json", step)
    data = read(tmp_path / "step.json")
    (graph,) = data["graphs"]
    labels = [node["label"] for node in graph["nodes"]]
    assert {"x", "y", "1.1.weight", "output", "1.1.weight becomes"} <= set(labels)
    product = next(n for n in graph["nodes"] if (n["label"], n["namespace"]) == ("matmul", "0"))
    told = {pair["key"]: pair["value"] for pair in product["attrs"]}
    assert told["op"] == "matmul"
    assert told["floating-point operations"] == "64*n"
    assert "test_model_explorer.py:" in told["line"]
    assert product["outputsMetadata"][0]["attrs"] == [{"key": "tensor_shape", "value": "f32[n,8]"}]
    assert {"", "0", "1/0", "1/1"} <= graph["groupNodeAttributes"].keys()


def test_graphs_that_ops_hold_open_from_their_nodes(tmp_path: Path) -> None:
    v, m = sn.placeholder((3,), name="v"), sn.placeholder(("n", 3), name="m")

    def step(c: Any, x: Any) -> Any:
        return sn.cond(sn.sum(x) > 0, lambda a: sn.sin(a), lambda a: a - x, c), c

    last, rows = sn.scan(step, v, m)
    graph = sn.Graph("loop", [v, m], [rows, last, sn.constant(np.arange(500.0))])
    sn.io.model_explorer.save(tmp_path / "loop.json", graph)
    data = read(tmp_path / "loop.json")
    assert len(data["graphs"]) == 4  # the loop's body is one, with two branches in it
    assert data["graphs"][0]["id"] == "loop"
    values = [p["value"] for n in data["graphs"][0]["nodes"] for p in n["attrs"]]
    assert max(map(len, values)) <= 201
    outputs = [n for n in data["graphs"][0]["nodes"] if n["id"].startswith("output:")]
    assert [n["incomingEdges"][0]["sourceNodeOutputId"] for n in outputs[:2]] == ["1", "0"]


def test_modules_need_inputs_and_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    net = nn.Linear(2, 3)
    sn.io.model_explorer.save(tmp_path / "net.json", net, inputs=[sn.placeholder((1, 2), name="x")])
    assert read(tmp_path / "net.json")["label"] == "Linear (staticnet)"
    with pytest.raises(ArgumentError, match="inputs="):
        sn.io.model_explorer.save(tmp_path / "none.json", net)
    with pytest.raises(OSError, match="none"):
        sn.io.model_explorer.save(tmp_path / "none" / "a.json", sn.Graph("g", [], [sn.constant(1)]))
    assert [file.name for file in tmp_path.iterdir()] == ["net.json"]
