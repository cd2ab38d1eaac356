"""The files that subcommands take: a graph's text, or an ONNX model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.declaration import declare
from staticnet.errors import ArgumentError, OnnxError, ParseError, StateError
from staticnet.io import onnx, safetensors
from staticnet.ir.dim import Dim
from staticnet.ir.graph import Graph
from staticnet.ir.location import Location, Provenance, attributed
from staticnet.ir.text import parse
from staticnet.ir.tree import flatten
from staticnet.ops.state import Variable

Array = np.ndarray[Any, Any]


@dataclass
class ModelFile:
    """A graph that a file holds, and the names that the file gives its inputs and outputs.

    `fixed` are inputs on whose values shapes depend: they are in the graph as they were given.
    `summary` tells what the file says of itself.
    """

    graph: Graph
    inputs: Sequence[str]
    outputs: Sequence[str]
    fixed: Sequence[str] = ()
    summary: str = ""
    zeros: Sequence[str] = field(default_factory=list)  # variables whose values are not known


def is_onnx(file: Path) -> bool:
    """Whether a file is taken for an ONNX model, by its name."""
    return file.suffix.lower() == ".onnx"


def read_model(
    file: Path, state: Path | None = None, known: Mapping[str, Array] | None = None
) -> ModelFile:
    """The model of a file; its variables have values, of `state` if that is given.

    `known` are arrays for inputs: they settle symbolic dims, and are used where a shape depends on
    their values.

    Raises:
        ParseError, OnnxError: naming the file, if it is no graph's text or no ONNX model.
        StateError: if the state does not fit the model's variables.
        DependencyError: if `onnx` is needed and not installed.
        OSError: if a file cannot be read.
    """
    if is_onnx(file):
        with naming(file):
            made = _read_onnx(file, known or {})
        if state is not None:
            set_state(made.graph, state, keep=True)
        return made
    graph = read_graph(file)
    outputs = [node.name or f"output{i}" for i, node in enumerate(graph.outputs)]
    zeros = set_state(graph, state)
    return ModelFile(graph, [node.name for node in graph.inputs], outputs, zeros=zeros)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with a model."""
    try:
        yield
    except OnnxError as error:
        told = str(error)
        raise (error if str(file) in told else OnnxError(f"{file}: {told}")) from None


def _read_onnx(file: Path, known: Mapping[str, Array]) -> ModelFile:
    model = onnx.load(file)
    dims = _sizes(dict(zip(model.input_names, model.placeholders(), strict=True)), known)
    fixed: list[str] = []
    while True:
        with attributed(Provenance((Location(str(file), 1),))):  # it is nobody's line
            xs = dict(zip(model.input_names, model.placeholders(dims), strict=True))
        try:
            made = model(*(known[name] if name in fixed else x for name, x in xs.items()))
            break
        except OnnxError as error:
            more = [name for name in error.inputs if name not in fixed]
            missing = [name for name in more if name not in known]
            if not more or missing:
                hint = f"; give their values: --input {missing[0]}=FILE" if missing else ""
                raise OnnxError(f"{error}{hint}") from None
            fixed += more
    fed = {name: x for name, x in xs.items() if name not in fixed}
    outputs, _ = flatten(made)
    name = model.model.name
    graph = declare(name if name.isprintable() and name else "main", [*fed.values()], outputs, None)
    versions = ", ".join(f"{k or 'ai.onnx'} {v}" for k, v in sorted(model.model.opsets.items()))
    operators = len(model.model.body.steps)
    told = f"{file.name}: {operators} operators of {versions}"
    return ModelFile(graph, list(fed), model.output_names, fixed, told)


def _sizes(inputs: Mapping[str, Any], known: Mapping[str, Array]) -> dict[str, int]:
    """The symbolic dims of inputs whose arrays are known."""
    sizes: dict[str, int] = {}
    for name, array in known.items():
        for dim, size in zip(inputs[name].shape, array.shape, strict=False):
            if isinstance(dim, Dim) and dim.symbols == {str(dim)}:
                sizes.setdefault(str(dim), size)
    return sizes


def read_graph(file: Path) -> Graph:
    """The graph whose text a file holds.

    Raises:
        ParseError: naming the file, if it is no graph's text.
        OSError: if it cannot be read.
    """
    try:
        return parse(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        told = "no graph's text; the name of an ONNX model ends in .onnx"
        raise ParseError(f"{file}: {told}, that of saved tensors in .safetensors") from None
    except ParseError as error:
        raise ParseError(f"{file}: {error}") from None


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


def read_inputs(given: Sequence[str], names: Sequence[str]) -> dict[str, Array]:
    """Arrays for inputs: from `name=file.npy`, from `file.npz` by name, or in order.

    Raises:
        ArgumentError: if there is no such input, a file is no array, or one is given twice.
        OSError: if a file cannot be read.
    """
    found: dict[str, Array] = {}
    for text in given:
        name, _, path = text.partition("=")
        if path and name not in names and not Path(text).exists():
            raise ArgumentError(
                f"--input {text}: there is no input {name!r}; the inputs are {list(names)}"
            )
        if not path or name not in names:
            name, path = "", text
        for key, array in _arrays(Path(path)).items():
            free = [each for each in names if each not in found]
            wanted = key or name or (free[0] if free else "")
            if wanted not in free:
                what = f"is no input {wanted!r} to give" if wanted else "are no more inputs"
                raise ArgumentError(f"--input {text}: there {what}; the inputs are {list(names)}")
            found[wanted] = array
    return found


def _arrays(file: Path) -> dict[str, Array]:
    """The arrays of a file by name; that of a .npy has none."""
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"--input {file}: no .npy or .npz file: {error}") from None


def set_state(graph: Graph, file: Path | None, keep: bool = False) -> list[str]:
    """Give a graph's variables the values of a file; -> the names of those that it has not.

    They become zeros, unless `keep` says that they have values.

    Raises:
        StateError: if the file has a name that no variable has, or a value does not fit.
    """
    values = {} if file is None else safetensors.load(file)
    names = [variable.name for variable in graph.variables]
    if unknown := sorted(values.keys() - set(names)):
        raise StateError(f"{file}: the graph has no {some(unknown)}; it has {some(names)}")
    missing = []
    for variable in graph.variables:
        assert isinstance(variable, Variable)
        if variable.name in values:
            variable.value = values[variable.name]
        elif not keep:
            variable.value = np.zeros(variable.shape, variable.dtype)
            missing.append(variable.name)
    return missing


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
