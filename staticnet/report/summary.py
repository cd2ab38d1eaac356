"""What a notebook shows in place of a text: tables, and pictures of small graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from staticnet.ir.graph import Graph
from staticnet.ir.shown import html_table
from staticnet.plan.analysis import analyse_memory
from staticnet.plan.plan import Plan
from staticnet.report.document import Document, document, graph_document
from staticnet.report.picture import held_pictures, picture, picture_style
from staticnet.report.roles import ROLES
from staticnet.report.units import format_bytes

SMALL = 40  # nodes of a graph that is drawn; of others they are counted
_MOST_OPS = 10


def graph_summary(graph: Graph) -> str:
    """A picture of a small graph, or how many nodes a large one has of each kind."""
    head = f"<p><b>Graph {escape(graph.name)}</b>: {len(graph.nodes):,} nodes</p>"
    return head + _drawn(graph_document(graph))


def function_summary(
    graph: Graph, device: str, made: Sequence[tuple[Mapping[str, int], Plan]]
) -> str:
    """A function's feeds and results, what each specialisation takes, and its graph.

    graph: as declared; made: the dims of each specialisation, and its plan.
    """
    feeds = ", ".join(f"{node.name}: {node.type}" for node in graph.inputs)
    results = ", ".join(str(node.type) for node in graph.outputs)
    title = f"Function {graph.name}({feeds}) → {results or 'nothing'} on {device}"
    columns = (*sorted(graph.symbols), "launches", "moved a step", "peak memory")
    rows = [
        (
            *(f"{dims[name]:,}" for name in sorted(graph.symbols)),
            f"{plan.launches:,}",
            format_bytes(plan.bytes_moved),
            format_bytes(analyse_memory(plan).peak),
        )
        for dims, plan in made
    ]
    head = f"<p><b>{escape(title)}</b></p>" + (html_table(columns, rows) if rows else "")
    if len(made) != 1:
        return head + _drawn(graph_document(graph))
    return head + _drawn(document(graph, made[0][1]))


def _drawn(described: Document) -> str:
    graph = described["graphs"][-1]
    nodes = graph["nodes"]
    if 0 < len(nodes) <= SMALL:
        svg = picture(graph, described["kernels"])
        held = held_pictures(graph)
        return f'<style>{picture_style()}</style><div style="overflow-x: auto">{svg}</div>{held}'
    return _layers(graph) + _counted(nodes)


def _layers(graph: Mapping[str, Any]) -> str:
    """The closed boxes of a graph, a layer a row: what it does forward, backward and to update."""
    view = graph["views"][0]
    boxes = [item for item in _closed([*view["main"], *view["apart"]]) if isinstance(item, dict)]
    roles = [role for role in ROLES if any(role in box["ops"] for box in boxes)]
    rows = [
        (
            box["label"],
            *(box["ops"].get(role, "") for role in roles),
            f"{len(box['nodes']):,}",
            f"{box['parameters']:,}" if box["parameters"] else "",
        )
        for box in boxes
    ]
    return html_table(("layer", *roles, "nodes", "elements of its state"), rows) if rows else ""


def _closed(items: Sequence[Any]) -> list[Any]:
    """Nodes and closed boxes, those in open ones too."""
    found: list[Any] = []
    for item in items:
        is_open = isinstance(item, dict) and item["open"]
        found += _closed(item["items"]) if is_open else [item]
    return found


def _counted(nodes: Sequence[Mapping[str, Any]]) -> str:
    """How many nodes there are of each op and role, the most frequent ops first."""
    ops = Counter(node["op"] for node in nodes)
    columns = ("op", *ROLES, "all")
    by_role = Counter((node["op"], node["role"]) for node in nodes)
    rows = [
        (op, *(f"{by_role[op, role]:,}" for role in ROLES), f"{count:,}")
        for op, count in ops.most_common(_MOST_OPS)
    ]
    if len(ops) > _MOST_OPS:
        rest = ops.keys() - {row[0] for row in rows}
        counts = (sum(by_role[op, role] for op in rest) for role in ROLES)
        total = sum(ops[op] for op in rest)
        rows.append((f"{len(rest)} others", *(f"{n:,}" for n in counts), f"{total:,}"))
    return html_table(columns, rows)
