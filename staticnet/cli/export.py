"""`staticnet export FILE -o step.c`: a graph's text as one C program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.cli.inspect import read_graph
from staticnet.errors import ArgumentError, StateError
from staticnet.io import safetensors
from staticnet.ir.graph import Graph
from staticnet.ops.state import Variable


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("export", help="write a graph as one C program")
    parser.add_argument("file", type=Path, help="a graph in its text form, such as graph.sn")
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="(the file's name with .c)")
    parser.add_argument(
        "--dim", action="append", default=[], metavar="NAME=N", help="of a symbolic dim: batch=64"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="initial values, as safetensors; else zeros"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="of the function in the header (made from the file's name)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the C file, and say how it is compiled.

    Raises:
        ParseError: if the file is no graph's text.
        ArgumentError: if a symbolic dim has no number, or there is none of a given name,
            or --name is not free in C.
        StateError: if the state does not fit the graph's variables.
        OSError: if a file cannot be read or written.
    """
    graph = read_graph(options.file)
    dims = read_dims(options.dim, graph)
    zeros = set_state(graph, options.state)
    out = options.out or Path(options.file.with_suffix(".c").name)
    updates: dict[Any, Any] = dict(graph.updates)
    step = sn.function(graph.inputs, graph.outputs, updates, name=graph.name, device="numpy")
    files = step.export_c(out, options.name, **dims)
    print(f"wrote {' and '.join(map(str, files))}")
    if zeros:
        print(f"{len(zeros)} of {len(graph.variables)} variables begin as zeros: {_some(zeros)}")
    print(f"compile: cc -O3 -march=native -ffp-contract=off {out} -o {out.with_suffix('')} -lm")


def read_dims(given: Sequence[str], graph: Graph) -> dict[str, int]:
    """The numbers of a graph's symbolic dims, from `batch=64`.

    Raises:
        ArgumentError: if one is malformed, unknown or missing.
    """
    dims: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise ArgumentError(f"--dim {text}: give a name and a number, as --dim batch=64")
        dims[name] = int(number)
    if dims.keys() != graph.symbols:
        wanted = " ".join(f"--dim {name}=N" for name in sorted(graph.symbols)) or "none"
        raise ArgumentError(f"--dim: {graph.name} wants {wanted}; got {', '.join(given) or 'none'}")
    return dims


def set_state(graph: Graph, file: Path | None) -> list[str]:
    """Give a graph's variables the values of a file, the others zeros; -> the names of those.

    Raises:
        StateError: if the file has a name that no variable has, or a value does not fit.
    """
    values = {} if file is None else safetensors.load(file)
    names = [variable.name for variable in graph.variables]
    if unknown := sorted(values.keys() - set(names)):
        raise StateError(f"{file}: the graph has no {_some(unknown)}; it has {_some(names)}")
    zeros = []
    for variable in graph.variables:
        assert isinstance(variable, Variable)
        if variable.name in values:
            variable.value = values[variable.name]
        else:
            variable.value = np.zeros(variable.shape, variable.dtype)
            zeros.append(variable.name)
    return zeros


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
