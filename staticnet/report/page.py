"""Documents as HTML pages: each is one file that loads nothing.

Python draws the charts and says which boxes the graph has; the script lays them out with elkjs,
fills tables and answers clicks, from the documents that the page holds as JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

from staticnet.ir.graph import Graph
from staticnet.report.charts import arena_chart, timeline_chart
from staticnet.report.document import Document, graph_document
from staticnet.report.picture import held_pictures, picture_style
from staticnet.report.roles import ROLES
from staticnet.report.shell import html_page, part
from staticnet.report.units import format_bytes, format_seconds

_SCRIPTS = ("table.js", "lay.js", "ways.js", "picture.js", "page.js")
_COMPARED = ("columns", "rows", "environment", "warnings", "notes")
_LIBRARY = """<script>
// elkjs 0.12.1, copyright Kiel University and others, under the Eclipse Public License 2.0; its
// source and licence: github.com/kieler/elkjs
"""


def document_page(document: Document) -> str:
    """The page of what `document` or `graph_document` gave."""
    kind = "Graph" if document["totals"] is None else "Function"
    return _page(f"{kind} {document['name']}", _facts(document), "", document, None)


def graph_html(graph: Graph) -> str:
    """The page of a graph that was not compiled."""
    return document_page(graph_document(graph))


def comparison_page(comparison: Mapping[str, Any]) -> str:
    """The page of a comparison: its table, its waterfall, and the document of the function.

    Of its keys these are shown, and only `columns` and `rows` must be there:

        name            the title
        columns         [{key, label, unit, place}]; unit: "", "s", "bytes", or what is to stand in
                        the head. Seconds and bytes are scaled to what is easy to read. place: that
                        of a column that is shown on demand: "more", or on a phone, "wide"; else
                        "always", which it need not say
        rows            [{name, values: {key: number, text, None, or [low, high] of an interval}}]
        environment     {what: text}
        warnings        [text], above the figures
        notes           [text]
        waterfall_svg   an <svg>, put into the page as it is: `currentColor`, `var(--quiet)`,
                        `var(--line)`, `var(--forward)`, `var(--backward)` and `var(--update)` suit
                        light and dark pages; its ids should begin with "waterfall"
        document        what `Function.document` gave, or None
    """
    document = comparison.get("document")
    shown = {key: comparison.get(key) for key in _COMPARED}
    svg = str(comparison.get("waterfall_svg") or "")
    figure = '<figure class="scroll" tabindex="0" aria-label="Picture of the times">'
    waterfall = f"{figure}{svg[svg.find('<svg') :]}</figure>" if svg else ""
    section = _section("comparison", "Comparison", waterfall)
    name = f"Comparison {comparison.get('name', '')}".strip()
    facts = _facts(document) if document else ""
    return _page(name, facts, section, document, shown)


def _page(
    title: str,
    facts: str,
    comparison: str,
    document: Document | None,
    compared: Mapping[str, Any] | None,
) -> str:
    body = Template(part("page.html")).substitute(
        title=escape(title),
        script="\n".join(map(part, _SCRIPTS)),
        library=f"{_LIBRARY}{part('vendor/elk.js')}</script>" if document else "",
        facts=facts,
        comparison=comparison,
        sections=_sections(document) if document else "",
        document=_json(document),
        compared=_json(compared),
    )
    return html_page(title, page_style(), body)


def page_style() -> str:
    """The style sheet of pages: colours, light and dark, tables, buttons."""
    return picture_style() + part("page.css")


def _json(value: Any) -> str:
    """JSON that may stand in a <script>."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _facts(document: Document) -> str:
    """What the head says of a graph or a function."""
    graphs, totals, profile = document["graphs"], document["totals"], document["profile"]
    sizes = " → ".join(f"{len(graph['nodes']):,}" for graph in graphs)
    facts = {"nodes": sizes}
    if document["device"]:
        facts["device"] = document["device"]
    facts |= {dim: f"{size:,}" for dim, size in document["dims"].items()}
    if totals is None:
        facts["floating-point operations"] = _number(graphs[0]["flops"])
    else:
        facts["launches"] = _number(totals["launches"])
        facts["kernels"] = _number(totals["kernels"])
        facts["floating-point operations"] = _number(totals["flops"])
        facts["moved a step"] = format_bytes(totals["bytes_moved"])
        facts["peak memory"] = format_bytes(totals["peak_bytes"])
    if profile is not None:
        facts["a step"] = format_seconds(profile["seconds"])
    cells = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    return f'<dl class="facts">{"".join(cells)}</dl>'


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _sections(document: Document) -> str:
    compiled = document["totals"] is not None
    parts = [_graph_section(document)]
    if compiled:
        parts.append(_section("kernels", "Kernels"))
        parts.append(_section("memory", "Memory", _chart(arena_chart(document), _NO_ARENA)))
    if document["profile"] is not None:
        parts.append(_section("timeline", "Timeline", _chart(timeline_chart(document), "")))
    if compiled:
        parts.append(_section("passes", "Passes"))
    parts.append(_section("nodes", "Nodes"))
    parts.append(_section("text", "Text"))
    return "".join(parts)


_NO_ARENA = "<p>Nothing lies in the arena.</p>"


def _section(name: str, title: str, body: str = "") -> str:
    return (
        f'<section aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}'
        f'<div id="{name}"></div></section>'
    )


def _chart(svg: str, otherwise: str) -> str:
    return f'<div class="scroll">{svg}</div>' if svg else otherwise


def _graph_section(document: Document) -> str:
    graphs = document["graphs"]
    return Template(part("graph.html")).substitute(
        held="".join(_held(graph, graph is graphs[-1]) for graph in graphs),
        choice=_choice(document) if len(graphs) > 1 else "",
        legend=_legend(document),
    )


def _held(graph: Mapping[str, Any], shown: bool) -> str:
    """The graphs in a graph, below its picture."""
    inside, hidden = held_pictures(graph, named=True), " hidden" * (not shown)
    return f'<div id="held-{graph["title"]}"{hidden}>{inside}</div>'


def _choice(document: Document) -> str:
    """Radio buttons that switch between the views of the graphs, the last graph's layers chosen."""
    last = document["graphs"][-1]
    views = [(graph, view) for graph in document["graphs"] for view in graph["views"]]
    buttons = "".join(
        f'<label><input type="radio" name="graph" value="{i}"'
        f"{' checked' * (graph is last and view['title'] == 'layers')}> "
        f"{graph['title'] + ' the passes' if view['title'] == 'layers' else 'kernels'}</label>"
        for i, (graph, view) in enumerate(views)
    )
    return f'<fieldset><legend class="unseen">Graph</legend>{buttons}</fieldset>'


def _legend(document: Document) -> str:
    nodes = document["graphs"][-1]["nodes"]
    counts = Counter(node["role"] for node in nodes)
    items = [
        f'<li class="{role}"><span class="swatch"></span>'
        f'<span>{role} (<span data-role="{role}">{counts[role]:,}</span>)</span></li>'
        for role in ROLES
        if any(node["role"] == role for graph in document["graphs"] for node in graph["nodes"])
    ]
    if counts["backward"]:
        items.append('<li><span class="swatch kept"></span>kept for the backward half</li>')
    return "".join(items)
