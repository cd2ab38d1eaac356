"""`staticnet inspect FILE`: a graph's text read, checked and shown."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from staticnet.compare.table import plain
from staticnet.cost import analyse
from staticnet.errors import ParseError
from staticnet.ir.dim import Dim
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
        print(f"wrote {options.html}", file=sys.stderr if options.dot else sys.stdout)


def describe(graph: Graph) -> str:
    """How much there is of each op, and what it costs a run: the most costly first.

    op      nodes  FLOPs        bytes moved
    ------  -----  -----------  -----------
    matmul  5      105,314,304  1,581,056
    all     58     105,314,965  1,711,104
    """
    counts = Counter(node.op.name for node in graph.nodes)
    cost = analyse(graph)
    work: dict[str, tuple[int | Dim, int | Dim]] = {op: (0, 0) for op in counts}
    for node in cost.nodes:
        flops, moved = work[node.op]
        work[node.op] = flops + node.flops, moved + node.bytes
    numbers = all(isinstance(size, int) for sizes in work.values() for size in sizes)
    ordered = sorted(counts, key=lambda op: ([*work[op]] if numbers else [], counts[op]))
    rows = [(op, counts[op], *work[op]) for op in reversed(ordered)]
    told = [*rows, ("all", len(graph.nodes), cost.flops, cost.bytes)]
    return "\n".join(plain(("op", "nodes", "FLOPs", "bytes moved"), [_texts(row) for row in told]))


def _texts(row: tuple[str | int | Dim, ...]) -> list[str]:
    return [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]


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
