"""`staticnet compare model.onnx`: one inference here, in onnxruntime and in PyTorch, by turns."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.cli.models import ModelFile, naming, read_dims, read_inputs, read_model
from staticnet.cli.run import feeds_of
from staticnet.compare import stats
from staticnet.compare.table import plain
from staticnet.compare.timing import round_of, warm_up
from staticnet.errors import ArgumentError, ComparisonError
from staticnet.io import onnx
from staticnet.io.onnx.library import onnx as library
from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.report.units import format_seconds

Array = np.ndarray[Any, Any]
SECONDS, LIMIT = 0.1, 2.0  # of a round, and of a warm-up
TOLERANCE = 1e-3
HEADER = ("contender", "time a run", "95 % interval", "to the best other", "verdict")
PEERS = ("onnxruntime", "torch", "torch.compile")


@dataclass
class Runner:
    """A way to run the model: `run()` gives its outputs; and what it took each round."""

    name: str
    run: Callable[[], Sequence[Array]]
    rounds: list[list[float]] = field(default_factory=list)
    calls: int = 1

    def warm_up(self) -> None:
        """Run until its times agree."""
        self.calls = warm_up(self._repeat, SECONDS, LIMIT)["calls"]

    def round(self) -> None:
        """One round's samples."""
        self.rounds.append(round_of(self._repeat, SECONDS, self.calls))

    def _repeat(self, n: int) -> None:
        for _ in range(n):
            self.run()


def run(options: argparse.Namespace, peers: Sequence[str]) -> None:
    """Check that all give the same outputs, time them by turns, and print a table.

    Raises:
        OnnxError: if the file is no model.
        ArgumentError: if a dim has no number, or an input is none of the model's.
        ComparisonError: if the outputs differ; nothing is timed then.
    """
    file = Path(options.workload)
    if options.rounds < 1:
        raise ArgumentError(f"--rounds {options.rounds}: give a positive number")
    if options.out is not None:
        raise ArgumentError("--out: a comparison of a model has no files; its table is printed")
    with naming(file):
        loaded = onnx.load(file)
    given = read_inputs(options.input, loaded.input_names)
    model = read_model(file, known=given)
    feeds = feeds_of(model, given or made_up(model, options.dim))
    runners, notes = contenders(file, model, feeds, options.device, peers)
    for runner in list(runners[1:]):
        check(runners[0], runner, model.outputs)
    for runner in runners:
        runner.warm_up()
    for _ in range(options.rounds):
        for runner in runners:
            runner.round()
    pairs = zip(model.inputs, feeds, strict=True)
    fed = ", ".join(f"{name} {x.dtype}{list(x.shape)}" for name, x in pairs)
    notes.append(f"on {fed}; medians of {options.rounds} interleaved rounds")
    print("\n".join([*plain(HEADER, [*_rows(runners)]), *notes]))


def made_up(model: ModelFile, dims: Sequence[str]) -> dict[str, Array]:
    """Arrays for all inputs: normal numbers, and integers of 0 and 1.

    Raises:
        ArgumentError: if a symbolic dim has no number.
    """
    graph = model.graph
    wanted = {str(d) for x in graph.inputs for dim in x.shape for d in _symbols(dim)}
    sizes = read_dims(dims, graph) if wanted else {}
    rng = np.random.default_rng(0)
    arrays = {}
    for name, node in zip(model.inputs, graph.substitute(sizes).inputs, strict=True):
        shape = tuple(map(int, node.shape))
        drawn = rng.normal(size=shape) if is_floating(node.dtype) else rng.integers(0, 2, shape)
        arrays[name] = np.asarray(drawn).astype(node.dtype)
    return arrays


def _symbols(dim: Any) -> frozenset[str]:
    return getattr(dim, "symbols", frozenset())


def contenders(
    file: Path, model: ModelFile, feeds: Sequence[Array], device: str, peers: Sequence[str]
) -> tuple[list[Runner], list[str]]:
    """staticnet and the peers that are installed; and what is to be said of the others."""
    step = _compiled(model.graph, device)
    runners, notes = [Runner("staticnet", lambda: step(*feeds))], []
    named = dict(zip(model.inputs, feeds, strict=True))
    for peer in peers:
        missing = _missing(peer)
        if missing:
            notes.append(f"{peer} was left out: {missing}")
            continue
        make = _onnxruntime if peer == "onnxruntime" else _torch
        try:
            runners.append(Runner(peer, make(file, named, peer)))
        except Exception as error:  # another library's, of any kind
            first = (str(error).splitlines() or [type(error).__name__])[0]
            notes.append(f"{peer} was left out: {first:.160}")
    return runners, notes


def _compiled(graph: Graph, device: str) -> Any:
    updates: dict[Any, Any] = dict(graph.updates)
    return sn.function(graph.inputs, list(graph.outputs), updates, name=graph.name, device=device)


def _missing(peer: str) -> str:
    needs = ("onnxruntime",) if peer == "onnxruntime" else ("torch", "onnx2torch")
    absent = [name for name in needs if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    why = ", which reads ONNX files for PyTorch," if absent == ["onnx2torch"] else ""
    return f"{' and '.join(absent)}{why} not found; pip install {' '.join(absent)}"


def _onnxruntime(file: Path, feeds: Mapping[str, Array], peer: str) -> Callable[[], Any]:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(feeds))


def _torch(file: Path, feeds: Mapping[str, Array], peer: str) -> Callable[[], Any]:
    import torch

    convert = importlib.import_module("onnx2torch").convert
    module = convert(library().load(str(file))).eval()
    module = torch.compile(module) if peer == "torch.compile" else module
    tensors = [torch.from_numpy(x) for x in feeds.values()]

    def run() -> list[Array]:
        with torch.inference_mode():
            made = module(*tensors)
        made = made if isinstance(made, tuple | list) else (made,)
        return [x.numpy() for x in made]

    run()  # compiles
    return run


def check(ours: Runner, other: Runner, names: Sequence[str]) -> None:
    """Raise ComparisonError unless another gives the same outputs."""
    for name, x, y in zip(names, ours.run(), other.run(), strict=True):
        a, b = np.asarray(x), np.asarray(y)
        scale = max(1.0, float(np.max(np.abs(b.astype(float)), initial=0)))
        if a.shape != b.shape or not np.allclose(
            a, b, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True
        ):
            raise ComparisonError(f"{other.name} gives another {name!r} than {ours.name}")


def _rows(runners: Sequence[Runner]) -> Iterator[list[str]]:
    for runner in runners:
        time = stats.median_interval(runner.rounds)
        others = [other.rounds for other in runners if other is not runner]
        row = [runner.name, format_seconds(time.value)]
        row.append(f"{format_seconds(time.low)} to {format_seconds(time.high)}")
        if others:
            ratio = stats.ratio_to_best(runner.rounds, others)
            row += [f"{ratio.value:.2f}", stats.verdict(ratio)]
        yield [*row, *["–"] * (len(HEADER) - len(row))]
