"""Entries of a document: graphs, with those that their ops hold, and the lines of their nodes."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from staticnet.cost import analyse
from staticnet.ir.graph import Graph
from staticnet.ir.location import Location, common_module
from staticnet.ir.node import Node, modules_of
from staticnet.ir.op import format_attributes
from staticnet.ir.printer import format_graph, value_names
from staticnet.ops.base import Constant
from staticnet.plan.explain import BodyAccount, KernelAccount
from staticnet.report.boxes import folded, kernels, layers
from staticnet.report.roles import roles

Entry = dict[str, Any]
_ATTRIBUTE_CHARS = 200


class Lines:
    """Numbers the user's lines in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[Location, int] = {}

    def of(self, nodes: Iterable[Node]) -> list[int]:
        """The numbers of the lines of nodes."""
        found = dict.fromkeys(line for node in nodes for line in node.provenance.lines)
        return [self._numbers.setdefault(line, len(self._numbers)) for line in found]

    def told(self) -> list[dict[str, str]]:
        """The lines with their text, in order."""
        return [
            {"where": str(line), "text": linecache.getline(line.file, line.line).strip()}
            for line in self._numbers
        ]


def graph_entry(
    title: str, graph: Graph, lines: Lines, accounts: Sequence[KernelAccount] = ()
) -> Entry:
    """An entry of `graphs`: a graph and the nodes that are drawn in the boxes of `accounts`."""
    flops = analyse(graph).flops
    told = flops if isinstance(flops, int) else str(flops)
    return {
        "title": title,
        "text": format_graph(graph),
        "flops": told,
        "nodes": _nodes(graph, lines, accounts),
        "views": _views(graph, accounts),
    }


def _views(graph: Graph, accounts: Sequence[KernelAccount]) -> list[Entry]:
    """The graph as nested boxes: by layers, and by kernels if it has some."""
    parts, hidden = roles(graph), folded(graph)
    views = [layers(graph, parts, hidden)]
    if accounts:
        made_by = {node: kernel.number for kernel in accounts for node in kernel.nodes}
        labels = [(k.number, f"kernel {k.number} · {k.kind}") for k in accounts]
        views.append(kernels(graph, parts, hidden, labels, _boxes(graph, made_by)))
    return views


def _nodes(graph: Graph, lines: Lines, accounts: Sequence[KernelAccount]) -> list[Entry]:
    made_by = {node: kernel.number for kernel in accounts for node in kernel.nodes}
    runs = {kernel.nodes[0]: kernel.bodies for kernel in accounts}
    names = value_names(graph)
    parts = roles(graph)
    numbers = {node: i for i, node in enumerate(graph.nodes)}
    outputs = set(graph.outputs)
    hidden = folded(graph)
    targets: dict[Node, list[str]] = {}
    for target, value in graph.updates:
        targets.setdefault(value, []).append(f"%{names[target]}")
    boxes = _boxes(graph, made_by)
    nodes = []
    for node in graph.nodes:
        nodes.append(
            {
                "name": f"%{names[node]}",
                "label": _label(node, names[node]),
                "op": node.op.name,
                "type": str(node.type),
                "attributes": _short(format_attributes(node.op)),
                "role": parts[node],
                "lines": lines.of([node]),
                "module": common_module(modules_of([node])),
                "made_by": node.provenance.made_by,
                "operands": [numbers[operand] for operand in node.inputs],
                "kernel": made_by.get(node),
                "box": boxes[node],
                "folded": node in hidden,
                "output": node in outputs,
                "updates": targets.get(node, []),
                "graphs": _held(node, lines, runs.get(node, ())),
            }
        )
    return nodes


def _held(node: Node, lines: Lines, bodies: Sequence[BodyAccount]) -> list[Entry]:
    """The graphs that an op holds, with the kernels of those that a kernel runs."""
    kernels = {body.name: body.explanation.kernels for body in bodies}
    return [
        {
            "title": name,
            "nodes": _nodes(graph, lines, kernels.get(name, ())),
            "kernels": [_in_loop(kernel, lines) for kernel in kernels.get(name, ())],
        }
        for name, graph in node.op.graphs.items()
    ]


def _in_loop(account: KernelAccount, lines: Lines) -> Entry:
    return {
        "number": account.number,
        "label": account.label,
        "launch": account.launch,
        "kind": account.kind,
        "domain": list(account.domain),
        "bytes": account.bytes,
        "flops": account.flops,
        "lines": lines.of(account.nodes),
        "module": common_module(account.modules),
    }


def _label(node: Node, name: str) -> str:
    if node.op.name in ("placeholder", "variable"):
        return name
    if isinstance(node.op, Constant) and node.type.size == 1:
        return str(node.op.value.array.reshape(-1)[0])
    return node.op.name


def _boxes(graph: Graph, made_by: Mapping[Node, int]) -> dict[Node, int | None]:
    """The kernel with which each node is drawn.

    What no kernel makes is drawn where its first operand is; a constant, with its users if they
    have one box.
    """
    boxes: dict[Node, int | None] = {}
    users: dict[Node, set[int | None]] = {}
    for node in graph.nodes:
        boxes[node] = made_by.get(node, boxes[node.inputs[0]] if node.inputs else None)
        for operand in node.inputs:
            users.setdefault(operand, set()).add(boxes[node])
    for node, boxed in users.items():
        if not node.inputs and isinstance(node.op, Constant) and len(boxed) == 1:
            (boxes[node],) = boxed
    return boxes


def _short(text: str) -> str:
    return text if len(text) <= _ATTRIBUTE_CHARS else text[: _ATTRIBUTE_CHARS - 1] + "…"
