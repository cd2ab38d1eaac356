"""A graph of a document as an SVG picture: nodes by their roles, kernels as boxes around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from staticnet.report.layout import NODE_HEIGHT, NODE_WIDTH, Box, Layout, Place, layout

BAND = 400  # of the picture's height; edges that end in one are one path, painted when in sight
_LABEL_CHARS = 23
_CHAR_WIDTH = 6.7


def picture(graph: Mapping[str, Any], kernels: Sequence[Mapping[str, Any]] = ()) -> str:
    """The <svg> of an entry of a document's `graphs`; `kernels` are those that have boxes.

    It needs no script and has no ids: many of them may share a page. Its colours are those of
    `picture_style`.
    """
    nodes, title = graph["nodes"], graph["title"]
    places = layout([n["operands"] for n in nodes], [n["box"] for n in nodes])
    size = f'width="{places.width}" height="{places.height}"'
    told = {"graph": "", "before": " before the passes", "after": " after the passes"}
    what = told.get(title, f" of {escape(title)}")
    return (
        f'<svg class="staticnet" {size} viewBox="0 0 {places.width} {places.height}" '
        f'role="img" '
        f'aria-label="Data flow{what}, operands above their users">'
        f"{_boxes(kernels, places)}{_edges(nodes, places)}{_nodes(nodes, places)}</svg>"
    )


def held_pictures(graph: Mapping[str, Any], named: bool = False) -> str:
    """A closed <details> for each node that holds graphs: opened, it shows them as pictures.

    Those of nodes in them are within it. If `named`, that of node 3 of the graph "after" has the id
    `after-g3`.
    """
    prefix = f"{graph['title']}-g" if named else ""
    held = [(i, node) for i, node in enumerate(graph["nodes"]) if node["graphs"]]
    return "".join(_held(prefix and f' id="{prefix}{i}"', node) for i, node in held)


def _held(name: str, node: Mapping[str, Any]) -> str:
    titles = ", ".join(graph["title"] for graph in node["graphs"])
    inside = "".join(
        f"<figure><figcaption>{escape(graph['title'])} of {escape(node['name'])}</figcaption>"
        f'<div style="overflow-x: auto">{picture(graph, graph["kernels"])}</div>'
        f"{held_pictures(graph)}</figure>"
        for graph in node["graphs"]
    )
    head = f"{node['name']} = {node['op']}: {titles}"
    return f'<details class="held"{name}><summary>{escape(head)}</summary>{inside}</details>'


def picture_style() -> str:
    """The style sheet of pictures; a page may set the variables that it reads."""
    return (Path(__file__).parent / "picture.css").read_text(encoding="utf-8")


def _boxes(kernels: Sequence[Mapping[str, Any]], places: Layout) -> str:
    drawn = [(k, places.boxes[k["number"]]) for k in kernels if k["number"] in places.boxes]
    return "".join(_box(kernel, box) for kernel, box in drawn)


def _box(kernel: Mapping[str, Any], box: Box) -> str:
    space = f"{kernel['kind']} [{','.join(map(str, kernel['domain']))}]"
    head = f"kernel {kernel.get('label', kernel['number'])}  {space}"
    chars = int((box.width - 20) / _CHAR_WIDTH)
    return (
        f'<g class="k" transform="translate({box.x} {box.y})">'
        f'<rect width="{box.width}" height="{box.height}"/>'
        f'<text x="10" y="16">{escape(short(head, chars))}</text></g>'
    )


def _edges(nodes: Sequence[Mapping[str, Any]], places: Layout) -> str:
    """One path a band and role: few elements, and what is out of sight is not painted."""
    curves: dict[tuple[int, str], list[str]] = {}
    for node, corner in zip(nodes, places.corners, strict=True):
        band = curves.setdefault((corner[1] // BAND, node["role"]), [])
        band += [_curve(places.corners[i], corner) for i in dict.fromkeys(node["operands"])]
    return "".join(
        f'<path class="e {role}" d="{"".join(drawn)}"/>' for (_, role), drawn in curves.items()
    )


def _nodes(nodes: Sequence[Mapping[str, Any]], places: Layout) -> str:
    return "".join(map(_node, nodes, places.corners))


def _node(node: Mapping[str, Any], corner: Place) -> str:
    classes = ["n", node["role"]]
    classes += ["root"] * bool(node["output"] or node["updates"])
    classes += ["seen"] * (node["box"] is not None and node["kernel"] is None)
    classes += ["holds"] * bool(node["graphs"])
    lines = (node["label"] + " ▾" * bool(node["graphs"]), f"{node['name']} {node['type']}")
    if node["role"] == "input":
        lines = (node["label"], f"{node['op']} {node['type']}")
    upper, lower = (escape(short(line, _LABEL_CHARS)) for line in lines)
    inner = f'<rect x="4" y="4" width="{NODE_WIDTH - 8}" height="{NODE_HEIGHT - 8}"/>'
    return (
        f'<g class="{" ".join(classes)}" '
        f'transform="translate({corner[0]} {corner[1]})">'
        f'<rect width="{NODE_WIDTH}" height="{NODE_HEIGHT}"/>'
        f"{inner if node['graphs'] else ''}"
        f'<text x="10" y="15">{upper}</text><text x="10" y="29">{lower}</text></g>'
    )


def _curve(start: Place, end: Place) -> str:
    """From the middle of a node's lower edge to the middle of another's upper edge."""
    x1, y1 = start[0] + NODE_WIDTH // 2, start[1] + NODE_HEIGHT
    x2, y2 = end[0] + NODE_WIDTH // 2, end[1]
    bend = min(abs(y2 - y1) // 2, 60)
    return f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"


def short(text: str, limit: int) -> str:
    """A text of at most `limit` characters, cut with an ellipsis."""
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"
