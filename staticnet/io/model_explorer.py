"""Graphs for Google's Model Explorer: a `GraphCollection`, as its adapters give and its UI opens.

The format is that of `model_explorer.graph_builder` of ai-edge-model-explorer; the package is not
needed to write it. `model-explorer graph.json` shows the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from staticnet import files
from staticnet.cost import CostAnalysis, NodeCost, analyse
from staticnet.io.onnx.writing.target import Target, target_of
from staticnet.ir.graph import Graph
from staticnet.ir.location import common_module
from staticnet.ir.node import Node
from staticnet.ir.text import value_names
from staticnet.ir.types import TupleType
from staticnet.ops.base import Constant, Item
from staticnet.ops.state import Placeholder

LONGEST = 200  # characters of an attribute


def save(path: str | os.PathLike[str], model: Any, *, inputs: Any = None) -> None:
    """Write a graph, what `sn.function` made of one, or a module on `inputs`, for Model Explorer.

    Modules are boxes that open, the graphs of loops and branches open from their nodes. A node
    shows its attributes, line, and cost. The file is complete or as it was.

    Raises:
        ArgumentError: if `model` is none of these, or a module is given no inputs.
        OSError: if the file cannot be written.
    """
    files.write(path, json.dumps(collection(target_of(model, inputs)), ensure_ascii=False))


def collection(target: Target) -> dict[str, Any]:
    """The GraphCollection of a graph: it, and the graphs that its ops hold."""
    graph = target.graph
    return {"label": f"{graph.name} (staticnet)", "graphs": list(_graphs(graph.name, target))}


def _graphs(name: str, target: Target) -> Iterator[dict[str, Any]]:
    graph = target.graph
    names, cost = value_names(graph), analyse(graph)
    held = [
        (f"{name}/{names[node]}/{what}", inner)
        for node in graph.nodes
        for what, inner in node.op.graphs.items()
    ]
    yield {
        "id": name,
        "nodes": [*_nodes(name, graph, names, cost), *_results(target, names)],
        "groupNodeAttributes": _groups(cost),
    }
    for inner_name, inner in held:
        yield from _graphs(inner_name, Target(inner))


def _nodes(
    path: str, graph: Graph, names: dict[Node, str], cost: CostAnalysis
) -> Iterator[dict[str, Any]]:
    costs = {each.name: each for each in cost.nodes}
    for node in graph.nodes:
        if isinstance(node.op, Item):
            continue
        made: dict[str, Any] = {
            "id": names[node],
            "label": node.name or node.op.name,
            "namespace": _namespace(node),
            "attrs": _attributes(node, costs.get(f"%{names[node]}")),
            "incomingEdges": _edges(node.inputs, names),
            "outputsMetadata": _types(node),
        }
        if graphs := node.op.graphs:
            made["subgraphIds"] = [f"{path}/{names[node]}/{what}" for what in graphs]
        if isinstance(node.op, Placeholder):
            made["config"] = {"pinToGroupTop": True}
        yield made


def _namespace(node: Node) -> str:
    """The module of a node as a path; what several made is the whole graph's."""
    module = common_module(node.provenance.modules)
    return "" if " + " in module else module.replace(".", "/")


def _results(target: Target, names: dict[Node, str]) -> Iterator[dict[str, Any]]:
    """A node for each output and each next value of a variable."""
    graph = target.graph
    several = len(graph.outputs) > 1
    for i, node in enumerate(graph.outputs):
        label = target.outputs[i] if target.outputs else f"output {i}" if several else "output"
        yield _result(f"output:{i}", label, node, names)
    for variable, value in graph.updates:
        yield _result(f"update:{names[variable]}", f"{variable.name} becomes", value, names)


def _result(id: str, label: str, node: Node, names: dict[Node, str]) -> dict[str, Any]:
    edges = _edges([node], names)
    return {"id": id, "label": label, "namespace": "", "attrs": [], "incomingEdges": edges}


def _edges(operands: Iterable[Node], names: dict[Node, str]) -> list[dict[str, str]]:
    edges = []
    for place, operand in enumerate(operands):
        source, index = operand, 0
        if isinstance(operand.op, Item):
            (source,), index = operand.inputs, operand.op.index
        edge = {"sourceNodeId": names[source], "sourceNodeOutputId": str(index)}
        edges.append(edge | {"targetNodeInputId": str(place)})
    return edges


def _types(node: Node) -> list[dict[str, Any]]:
    types = node.type.types if isinstance(node.type, TupleType) else (node.type,)
    return [
        {"id": str(i), "attrs": [_pair("tensor_shape", str(type_))]}
        for i, type_ in enumerate(types)
    ]


def _attributes(node: Node, cost: NodeCost | None) -> list[dict[str, str]]:
    held = node.op.graphs
    pairs = [_pair("op", node.op.name)]
    if isinstance(node.op, Constant):
        pairs.append(_pair("value", str(node.op.value)))
    else:
        pairs += [_pair(k, str(v)) for k, v in node.op.attributes().items() if k not in held]
    pairs.append(_pair("line", node.provenance.origin))
    if cost is not None:
        pairs.append(_pair("floating-point operations", f"{cost.flops}"))
        pairs.append(_pair("bytes moved", f"{cost.bytes}"))
    return pairs


def _pair(key: str, value: str) -> dict[str, str]:
    return {"key": key, "value": value if len(value) <= LONGEST else f"{value[:LONGEST]}…"}


def _groups(cost: CostAnalysis) -> dict[str, dict[str, str]]:
    """What is told of the whole graph and of each module: what it costs."""
    groups = {"": {"floating-point operations": str(cost.flops), "bytes moved": str(cost.bytes)}}
    for module, (flops, moved) in cost.by_module().items():
        if module and " + " not in module:
            told = {"floating-point operations": str(flops), "bytes moved": str(moved)}
            groups[module.replace(".", "/")] = told
    return groups
