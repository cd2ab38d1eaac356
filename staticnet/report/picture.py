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


def picture(
    graph: Mapping[str, Any], kernels: Sequence[Mapping[str, Any]] = (), still: bool = False
) -> str:
    """The <svg> of an entry of a document's `graphs`; `kernels` are those that have boxes.

    Its nodes and boxes are buttons for a script, unless it is `still`: node 3 of the graph "after"
    has the id `after-n3`, kernel 2 `after-k2`. Its colours are those of `picture_style`.
    """
    nodes, title = graph["nodes"], graph["title"]
    places = layout([n["operands"] for n in nodes], [n["box"] for n in nodes])
    size = f'width="{places.width}" height="{places.height}"'
    told = {"graph": "", "before": " before the passes", "after": " after the passes"}
    what = told.get(title, f" of {escape(title)}")
    prefix = "" if still else f"{title}-"
    return (
        f'<svg class="staticnet" {size} viewBox="0 0 {places.width} {places.height}" '
        f'role="{"img" if still else "group"}" '
        f'aria-label="Data flow{what}, operands above their users">'
        f"{_boxes(prefix, kernels, places)}{_edges(nodes, places)}"
        f'<path class="near" d=""/>{_nodes(prefix, nodes, places)}</svg>'
    )


def held_pictures(graph: Mapping[str, Any], still: bool = False) -> str:
    """A closed <details> for each node that holds graphs: opened, it shows them as pictures.

    Those of nodes in them are within it. That of node 3 of the graph "after" has the id `after-g3`,
    unless it is `still`.
    """
    prefix = "" if still else f"{graph['title']}-g"
    held = [(i, node) for i, node in enumerate(graph["nodes"]) if node["graphs"]]
    return "".join(_held(prefix and f' id="{prefix}{i}"', node) for i, node in held)


def _held(name: str, node: Mapping[str, Any]) -> str:
    titles = ", ".join(graph["title"] for graph in node["graphs"])
    inside = "".join(
        f"<figure><figcaption>{escape(graph['title'])} of {escape(node['name'])}</figcaption>"
        f'<div style="overflow-x: auto">{picture(graph, graph["kernels"], still=True)}</div>'
        f"{held_pictures(graph, still=True)}</figure>"
        for graph in node["graphs"]
    )
    head = f"{node['name']} = {node['op']}: {titles}"
    return f'<details class="held"{name}><summary>{escape(head)}</summary>{inside}</details>'


def picture_style() -> str:
    """The style sheet of pictures; a page may set the variables that it reads."""
    return (Path(__file__).parent / "picture.css").read_text(encoding="utf-8")


def _button(name: str, label: str) -> str:
    """The attributes of a group that a script answers clicks on; none without a name."""
    if not name:
        return ""
    return f' id="{name}" role="button" tabindex="-1" aria-label="{escape(label)}"'


def _boxes(prefix: str, kernels: Sequence[Mapping[str, Any]], places: Layout) -> str:
    drawn = [(k, places.boxes[k["number"]]) for k in kernels if k["number"] in places.boxes]
    return "".join(_box(prefix, kernel, box) for kernel, box in drawn)


def _box(prefix: str, kernel: Mapping[str, Any], box: Box) -> str:
    space = f"{kernel['kind']} [{','.join(map(str, kernel['domain']))}]"
    head = f"kernel {kernel.get('label', kernel['number'])}  {space}"
    label = f"kernel {kernel['number']}, {space}, launch {kernel['launch']}"
    chars = int((box.width - 20) / _CHAR_WIDTH)
    button = _button(prefix and f"{prefix}k{kernel['number']}", label)
    return (
        f'<g class="k"{button} transform="translate({box.x} {box.y})">'
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


def _nodes(prefix: str, nodes: Sequence[Mapping[str, Any]], places: Layout) -> str:
    top = min((y for _, y in places.corners), default=0)
    corners = zip(nodes, places.corners, strict=True)
    return "".join(_node(prefix and f"{prefix}n{i}", *p, top) for i, p in enumerate(corners))


def _node(name: str, node: Mapping[str, Any], corner: Place, top: int) -> str:
    classes = ["n", node["role"]]
    classes += ["top"] * (corner[1] == top)
    classes += ["root"] * bool(node["output"] or node["updates"])
    classes += ["seen"] * (node["box"] is not None and node["kernel"] is None)
    classes += ["holds"] * bool(node["graphs"])
    lines = (node["label"] + " ▾" * bool(node["graphs"]), f"{node['name']} {node['type']}")
    if node["role"] == "input":
        lines = (node["label"], f"{node['op']} {node['type']}")
    upper, lower = (escape(short(line, _LABEL_CHARS)) for line in lines)
    label = f"{node['name']} = {node['op']}, {node['type']}, {node['role']}"
    inner = f'<rect x="4" y="4" width="{NODE_WIDTH - 8}" height="{NODE_HEIGHT - 8}"/>'
    return (
        f'<g class="{" ".join(classes)}"{_button(name, label)} '
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
