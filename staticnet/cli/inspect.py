"""`staticnet inspect FILE`: a graph's text, an ONNX model or saved tensors, read and shown."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import staticnet as sn
from staticnet import files
from staticnet.cli.models import ModelFile, is_onnx, read_model
from staticnet.compare.table import plain
from staticnet.cost import analyse
from staticnet.errors import ArgumentError
from staticnet.io import safetensors
from staticnet.ir.dim import Dim
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, modules_of
from staticnet.ir.types import format_shape
from staticnet.plan.by_module import by_module


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("inspect", help="show a graph's text, an ONNX model, or weights")
    parser.add_argument(
        "file", type=Path, help="a graph in its text form, such as graph.sn; .onnx; .safetensors"
    )
    parser.add_argument("--html", type=Path, metavar="OUT", help="write it as one HTML page")
    parser.add_argument("--dot", action="store_true", help="print Graphviz' language instead")
    parser.add_argument("--text", action="store_true", help="of an ONNX model, print the graph too")
    parser.add_argument(
        "--depth", type=int, metavar="N", help="names of a layer's path to tell apart (all)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a graph, or draw it; of an ONNX model its layers, what they cost, and its memory.

    Raises:
        ParseError, OnnxError, StateError: if the file is not what its name says.
        ArgumentError: if saved tensors are to be drawn, or the depth is not positive.
        OSError: if a file cannot be read or written.
    """
    if options.file.suffix == ".safetensors":
        if options.dot or options.html is not None:
            raise ArgumentError(f"{options.file}: tensors are no graph to draw")
        print(describe_tensors(options.file))
        return
    model = read_model(options.file)
    if options.dot:
        print(model.graph.to_dot())
    else:
        print(_told(model, options))
    if options.html is not None:
        from staticnet.report import graph_html

        files.write(options.html, graph_html(model.graph))
        print(f"wrote {options.html}", file=sys.stderr if options.dot else sys.stdout)


def _told(model: ModelFile, options: argparse.Namespace) -> str:
    graph = model.graph
    if not is_onnx(options.file):
        return f"{graph}\n{describe(graph)}"
    lines = [model.summary]
    for what, names, nodes in (
        ("input", model.inputs, graph.inputs), ("output", model.outputs, graph.outputs),
    ):  # fmt: skip
        lines += [f"{what} {name}: {n.type}" for name, n in zip(names, nodes, strict=True)]
    lines += ["", *([str(graph), ""] if options.text else []), layers(graph, options.depth)]
    lines += ["", describe(graph), "", "memory", str(memory(graph))]
    return "\n".join(lines)


class Layer(NamedTuple):
    """What a part of a model has and does."""

    parameters: int
    flops: int | Dim
    bytes: int | Dim


def layers(graph: Graph, depth: int | None = None) -> str:
    """A table of the parts of a model: elements of its weights, and what it costs a run.

    Raises:
        ArgumentError: if the depth is not positive.
    """
    cost = analyse(graph)
    rows = [(n.modules, Layer(0, n.flops, n.bytes)) for n in cost.nodes]
    of_first: dict[Node, tuple[str, ...]] = {}
    for node in graph.nodes:
        for x in node.inputs:
            if x.op.name == "variable":
                of_first.setdefault(x, modules_of([node]))
    rows += [(modules, Layer(int(x.type.size), 0, 0)) for x, modules in of_first.items()]
    found = by_module(rows, depth)
    sizes = [int(x.type.size) for x in of_first]
    total = Layer(sum(sizes), cost.flops, cost.bytes)
    told = [(path or "(no layer)", *row) for path, row in found.items()] + [("all", *total)]
    return _table(("layer", "parameters", "FLOPs", "bytes moved"), told)


def memory(graph: Graph) -> Any:
    """The bytes of a compiled run, as formulas where dims are symbolic."""
    updates: dict[Any, Any] = dict(graph.updates)
    compiled = sn.function(graph.inputs, graph.outputs, updates, name=graph.name)
    return compiled.memory_analysis()


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
    return _table(("op", "nodes", "FLOPs", "bytes moved"), told)


def describe_tensors(file: Path) -> str:
    """The tensors of a safetensors file, and their sums.

    Raises:
        StateError: if it is damaged.
        OSError: if it cannot be read.
    """
    tensors = safetensors.load(file)
    rows: list[tuple[Any, ...]] = [
        (name, str(x.dtype), format_shape(x.shape), x.size, x.nbytes) for name, x in tensors.items()
    ]
    rows.append(("all", "", "", *(sum(row[i] for row in rows) for i in (3, 4))))
    return _table(("tensor", "dtype", "shape", "elements", "bytes"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return "\n".join(plain(head, [_texts(row) for row in rows]))


def _texts(row: Sequence[str | int | Dim]) -> list[str]:
    return [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
