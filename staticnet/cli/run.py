"""`staticnet run FILE --input x.npy`: a model's outputs on arrays."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import files
from staticnet.backends.base import DEVICES
from staticnet.cli.models import ModelFile, is_onnx, naming, read_inputs, read_model
from staticnet.errors import ArgumentError
from staticnet.io import onnx

Array = np.ndarray[Any, Any]


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("run", help="run an ONNX model, or a graph, on arrays")
    parser.add_argument("file", type=Path, help="model.onnx, or a graph in its text form")
    parser.add_argument(
        "--input", action="append", default=[], metavar="FILE",
        help="x.npy for the next input, name=x.npy for one by name, or a .npz of several",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="y.npy for one output, .npz for all by name"
    )
    parser.add_argument("--state", type=Path, metavar="FILE", help="weights, as safetensors")
    parser.add_argument("--device", default="auto", help=f"of {', '.join(DEVICES)} (%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the model once; print each output, and write them.

    Raises:
        ParseError, OnnxError: if the file is no graph's text, or no model.
        ArgumentError: if an input is missing or there is none such, or several outputs are to be
            one array.
        FeedError: if an array does not fit.
        DeviceError: if the device is not there.
        OSError: if a file cannot be read or written.
    """
    known: dict[str, Array] = {}
    if is_onnx(options.file):
        with naming(options.file):
            known = read_inputs(options.input, onnx.load(options.file).input_names)
        model = read_model(options.file, options.state, known)
    else:
        model = read_model(options.file, options.state)
        known = read_inputs(options.input, model.inputs)
    if options.output is not None:
        check_output(options.output, model)
    results = outputs_of(model, known, options.device)
    for name, x in results.items():
        print(f"{name} {told(x)}")
    if options.output is not None:
        write(options.output, results)
        print(f"wrote {options.output}")


def feeds_of(model: ModelFile, given: Mapping[str, Array]) -> list[Array]:
    """The arrays of a graph's inputs in order.

    Raises:
        ArgumentError: if one is missing.
    """
    if missing := [name for name in model.inputs if name not in given]:
        pairs = zip(model.inputs, model.graph.inputs, strict=True)
        wanted = ", ".join(f"{name} {node.type}" for name, node in pairs if name in missing)
        raise ArgumentError(f"--input: give {missing[0]}=FILE; the model wants {wanted}")
    return [given[name] for name in model.inputs]


def outputs_of(model: ModelFile, given: Mapping[str, Array], device: str) -> dict[str, Array]:
    """What a run gives, by name."""
    feeds, graph = feeds_of(model, given), model.graph
    updates: dict[Any, Any] = dict(graph.updates)
    step = sn.function(graph.inputs, list(graph.outputs), updates, name=graph.name, device=device)
    results = step(*feeds)
    return dict(zip(model.outputs, map(np.asarray, results), strict=True))


def told(x: Array) -> str:
    """`float32 [2, 3] mean 0.1 least -1 greatest 2`, or the value itself."""
    head = f"{x.dtype} {list(x.shape)}"
    if x.size == 0:
        return head
    if x.size == 1:
        return f"{head} {x.reshape(-1)[0]}"
    wide = x.astype(np.float64)
    return f"{head} mean {wide.mean():.6g} least {wide.min():.6g} greatest {wide.max():.6g}"


def check_output(file: Path, model: ModelFile) -> None:
    """Raise ArgumentError if the outputs do not go into such a file."""
    if file.suffix not in (".npy", ".npz"):
        raise ArgumentError(f"--output {file}: the name must end in .npy or .npz")
    if file.suffix == ".npy" and len(model.outputs) != 1:
        raise ArgumentError(f"--output {file}: {len(model.outputs)} outputs go into a .npz")


def write(file: Path, results: Mapping[str, Array]) -> None:
    """Write the outputs; the file is complete or as it was.

    Raises:
        OSError: if it cannot be written.
    """
    with files.written(file) as stream:
        if file.suffix == ".npy":
            (only,) = results.values()
            np.save(stream, only)
        else:
            arrays: dict[str, Any] = dict(results)
            np.savez(stream, **arrays)
