"""One self-contained HTML page of a graph: its picture, every node in a table, and its text."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from string import Template

from staticnet.cost import analyse
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.op import format_attributes
from staticnet.ir.text import format_graph, value_names
from staticnet.report.layout import NODE_HEIGHT, NODE_WIDTH, Layout, layout, users_of
from staticnet.report.roles import ROLES, roles

_HERE = Path(__file__).parent
_LABEL_CHARS = 23
_ATTRIBUTE_CHARS = 200


def graph_html(graph: Graph) -> str:
    """The page as text. It loads nothing: styles and script are inside, pictures are SVG."""
    page = _Page(graph)
    return Template(_file("graph_page.html")).substitute(
        title=escape(f"{graph.name}: {len(graph.nodes)} nodes"),
        name=escape(graph.name),
        style=_file("graph_page.css"),
        script=_file("graph_page.js"),
        summary=page.summary(),
        legend=page.legend(),
        picture=page.picture(),
        rows=page.rows(),
        text=escape(format_graph(graph)),
    )


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


class _Page:
    """What the parts of the page share: each node's number, name, role and users."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = value_names(graph)
        self.roles = roles(graph)
        self.users = users_of(graph)
        self.numbers = {node: i for i, node in enumerate(graph.nodes)}
        self.outputs = set(graph.outputs)
        self.targets: dict[Node, list[Node]] = {}
        for target, value in graph.updates:
            self.targets.setdefault(value, []).append(target)

    def summary(self) -> str:
        graph = self.graph
        counts = {
            "node": len(graph.nodes),
            "input": len(graph.inputs),
            "variable": len(graph.variables),
            "output": len(graph.outputs),
            "update": len(graph.updates),
            "floating-point operation": analyse(graph).flops,
        }
        return "".join(
            f"<div><dt>{what}{'' if str(count) == '1' else 's'}</dt><dd>{_number(count)}</dd></div>"
            for what, count in counts.items()
        )

    def legend(self) -> str:
        counts = Counter(self.roles.values())
        return "".join(
            f'<li class="{role}"><span class="swatch"></span>{role} ({counts[role]})</li>'
            for role in ROLES
        )

    def picture(self) -> str:
        places = layout(self.graph)
        size = f'width="{places.width}" height="{places.height}"'
        return (
            f'<svg id="picture" {size} viewBox="0 0 {places.width} {places.height}" '
            'role="group" aria-label="Data flow, operands above their users">'
            f'{self._edges(places)}<path id="near"/>{self._boxes(places)}</svg>'
        )

    def _edges(self, places: Layout) -> str:
        """One path a layer and role: few elements, and what is out of sight is not painted."""
        paths: list[str] = []
        for layer in places.layers:
            curves: dict[str, list[str]] = {}
            for node in layer:
                for operand in dict.fromkeys(node.inputs):
                    curve = _curve(places.corners[operand], places.corners[node])
                    curves.setdefault(self.roles[node], []).append(curve)
            paths += [f'<path class="e {role}" d="{"".join(c)}"/>' for role, c in curves.items()]
        return "".join(paths)

    def _boxes(self, places: Layout) -> str:
        return "".join(self._box(node, *places.corners[node]) for node in self.graph.nodes)

    def _box(self, node: Node, x: int, y: int) -> str:
        name, role = f"%{self.names[node]}", self.roles[node]
        root = " root" if node in self.targets or node in self.outputs else ""
        label = escape(f"{name} = {node.op.name}, {node.type}, {role}")
        lines = (name, f"{node.op.name} {node.type}")
        if role != "input":
            lines = (node.op.name, f"{name} {node.type}")
        upper, lower = (escape(_short(line, _LABEL_CHARS)) for line in lines)
        return (
            f'<g id="v{self.numbers[node]}" class="n {role}{root}" role="button" tabindex="-1" '
            f'aria-label="{label}" transform="translate({x} {y})">'
            f'<rect width="{NODE_WIDTH}" height="{NODE_HEIGHT}"/>'
            f'<text x="10" y="15">{upper}</text><text x="10" y="29">{lower}</text></g>'
        )

    def rows(self) -> str:
        return "\n".join(map(self._row, self.graph.nodes))

    def _row(self, node: Node) -> str:
        attributes = _short(format_attributes(node.op), _ATTRIBUTE_CHARS)
        cells = [
            escape(node.op.name),
            escape(str(node.type)),
            self._role(node),
            escape(attributes),
            escape(str(node.provenance)),
            ", ".join(map(self._link, node.inputs)),
            ", ".join(map(self._link, self.users[node])),
        ]
        head = f'<th scope="row">{self._link(node)}</th>'
        columns = "".join(f"<td>{cell}</td>" for cell in cells)
        return f'<tr id="n{self.numbers[node]}">{head}{columns}</tr>'

    def _role(self, node: Node) -> str:
        parts = [self.roles[node]]
        if node in self.outputs:
            parts.append("output")
        for target in self.targets.get(node, ()):
            parts.append(f"next value of %{escape(self.names[target])}")
        return ", ".join(parts)

    def _link(self, node: Node) -> str:
        return f'<a href="#n{self.numbers[node]}">%{escape(self.names[node])}</a>'


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    """From the middle of a box's lower edge to the middle of another's upper edge."""
    x1, y1 = start[0] + NODE_WIDTH // 2, start[1] + NODE_HEIGHT
    x2, y2 = end[0] + NODE_WIDTH // 2, end[1]
    bend = min((y2 - y1) // 2, 60)
    return f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
