"""`staticnet inspect FILE`: a graph's text read, checked and shown."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from staticnet.cost import analyse
from staticnet.errors import ParseError
from staticnet.ir.graph import Graph
from staticnet.ir.text import parse


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("inspect", help="show a graph's text file")
    parser.add_argument("file", type=Path, help="a graph in its text form, such as graph.sn")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write it as one HTML page")
    parser.add_argument("--dot", action="store_true", help="print Graphviz' language instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a graph, or draw it.

    Raises:
        ParseError: if the file is no graph's text.
        OSError: if a file cannot be read or written.
    """
    graph = read_graph(options.file)
    if options.dot:
        print(graph.to_dot())
    else:
        print(graph)
        print(describe(graph))
    if options.html is not None:
        from staticnet.report import graph_html

        options.html.write_text(graph_html(graph), encoding="utf-8")


def describe(graph: Graph) -> str:
    """`58 nodes (matmul ×5, add ×3, …), 105314965 floating-point operations a run`."""
    ops = Counter(node.op.name for node in graph.nodes).most_common()
    counts = ", ".join(f"{name} ×{count}" for name, count in ops)
    cost = analyse(graph).flops
    return f"{len(graph.nodes)} nodes ({counts}), {cost} floating-point operations a run"


def read_graph(file: Path) -> Graph:
    """The graph whose text a file holds.

    Raises:
        ParseError: naming the file, if it is no graph's text.
        OSError: if it cannot be read.
    """
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (ParseError, UnicodeDecodeError) as error:
        raise ParseError(f"{file}: {error}") from None
