"""`staticnet export FILE -o step.c`: a graph's text, or an ONNX model, as one C program."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import staticnet as sn
from staticnet.cli.models import read_dims, read_inputs, read_model, some
from staticnet.io import onnx


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("export", help="write a graph or an ONNX model as one C program")
    parser.add_argument(
        "file", type=Path, help="a graph in its text form, such as graph.sn, or model.onnx"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="(the file's name with .c)")
    parser.add_argument(
        "--dim", action="append", default=[], metavar="NAME=N", help="of a symbolic dim: batch=64"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="initial values, as safetensors; else zeros, or "
        "an ONNX model's own",
    )  # fmt: skip
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=FILE",
        help="a .npy array for an input on whose values shapes depend",
    )  # fmt: skip
    parser.add_argument(
        "--name", metavar="NAME", help="of the function in the header (made from the file's name)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the C file, and say how it is compiled.

    Raises:
        ParseError, OnnxError: if the file is no graph's text, or no model.
        ArgumentError: if a symbolic dim has no number, or there is none of a given name,
            or --name is not free in C.
        StateError: if the state does not fit the graph's variables.
        OSError: if a file cannot be read or written.
    """
    known = {}
    if options.input:
        known = read_inputs(options.input, onnx.load(options.file).input_names)
    model = read_model(options.file, options.state, known)
    graph = model.graph
    dims = read_dims(options.dim, graph)
    out = options.out or Path(options.file.with_suffix(".c").name)
    updates: dict[Any, Any] = dict(graph.updates)
    step = sn.function(graph.inputs, graph.outputs, updates, name=graph.name, device="numpy")
    files = step.export_c(out, options.name, **dims)
    print(f"wrote {' and '.join(map(str, files))}")
    if model.zeros:
        told = f"{len(model.zeros)} of {len(graph.variables)} variables begin as zeros"
        print(f"{told}: {some(model.zeros)}")
    print(f"compile: cc -O3 -march=native -ffp-contract=off {out} -o {out.with_suffix('')} -lm")
