"""`staticnet compare model.onnx`: one inference here, in onnxruntime and in PyTorch, by turns.

Each of the others runs in a process of its own, where it first checks its outputs against ours.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.cli.models import ModelFile, naming, read_dims, read_inputs, read_model
from staticnet.cli.run import feeds_of
from staticnet.cli.torch_model import TorchModel
from staticnet.compare import environment, result, stats
from staticnet.compare.contenders import Contender, Elsewhere, Here, Pace, race
from staticnet.compare.peers import packed, start
from staticnet.compare.process import WorkerError
from staticnet.compare.steps import Facts, Steps
from staticnet.compare.table import plain
from staticnet.errors import ArgumentError, ComparisonError
from staticnet.io import onnx
from staticnet.ir.dtype import is_floating
from staticnet.report.units import format_seconds

Array = np.ndarray[Any, Any]
SECONDS, LIMIT = 0.1, 300.0  # of a round, and of all rounds
TOLERANCE = 1e-3
HEADER = ("contender", "time a run", "95 % interval", "to the best other", "verdict")
PEERS = ("onnxruntime", "torch", "torch.compile")
_DIFFERS = "ComparisonError: "


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
    graph, updates = model.graph, dict[Any, Any](model.graph.updates)
    about = environment.describe(environment.usable_cores())
    step = sn.function(
        graph.inputs, list(graph.outputs), updates, name=graph.name, device=options.device
    )
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="staticnet-compare-")))
        values = {f"output.{i}": np.asarray(y) for i, y in enumerate(step(*feeds))}
        values |= {f"fixed.{name}": given[name] for name in model.fixed}
        others = _others(file, peers, packed([tuple(feeds)], values), folder, stack, notes)
        contenders = [Contender("staticnet", result.ALL, _here(step, feeds)), *others]
        pace = Pace(options.rounds, SECONDS, LIMIT)
        finished = race(contenders, pace, notes.append, lambda text: None)
    fed = ", ".join(
        f"{n} {x.dtype}{list(x.shape)}" for n, x in zip(model.inputs, feeds, strict=True)
    )
    notes.append(f"on {fed}; medians of {options.rounds} interleaved rounds")
    if (about["load"] or 0) > environment.BUSY:
        told = "medians may not be fair, least to threads that wait for each other"
        notes.append(f"other processes were running (load {about['load']}): {told}")
    print("\n".join([*plain(HEADER, [*_rows(finished)]), *notes]))


def made_up(model: ModelFile, dims: Sequence[str]) -> dict[str, Array]:
    """Arrays for all inputs: normal numbers, and integers of 0 and 1.

    Raises:
        ArgumentError: if a symbolic dim has no number.
    """
    graph = model.graph
    sizes = read_dims(dims, graph)
    rng = np.random.default_rng(0)
    arrays = {}
    for name, node in zip(model.inputs, graph.substitute(sizes).inputs, strict=True):
        shape = tuple(map(int, node.shape))
        drawn = rng.normal(size=shape) if is_floating(node.dtype) else rng.integers(0, 2, shape)
        arrays[name] = np.asarray(drawn).astype(node.dtype)
    return arrays


def _here(step: sn.Function, feeds: Sequence[Array]) -> Here:
    return Here(_steps(lambda: step(*feeds)), lambda: None, lambda: Facts(0, 0, 0, 0, (), 0.0))


def _steps(run: Callable[[], Any]) -> Steps:
    def repeat(n: int) -> None:
        for _ in range(n):
            run()

    return Steps(repeat, lambda n: [0.0] * n)


def _others(
    file: Path,
    peers: Sequence[str],
    arrays: Mapping[str, Array],
    folder: Path,
    stack: contextlib.ExitStack,
    notes: list[str],
) -> Iterator[Contender]:
    """The peers that are installed and can run the model.

    Raises:
        ComparisonError: if one gives other outputs.
    """
    for name in peers:
        module = name.partition(".")[0]
        if importlib.util.find_spec(module) is None:
            notes.append(f"{name} was left out: {module} not found; pip install {module}")
            continue
        setup: dict[str, Any] = {"name": name, "kind": result.PEER, "device": "cpu", "seed": 0}
        setup["target"] = f"{__name__}:{peer.__name__}"
        setup["options"] = {"file": str(file.resolve()), "peer": name}
        process = stack.enter_context(start(folder, setup, arrays))
        try:
            process.ready()
        except WorkerError as error:
            if str(error).startswith(_DIFFERS):
                raise ComparisonError(str(error).removeprefix(_DIFFERS)) from None
            notes.append(f"{name} was left out: {str(error).splitlines()[0]:.160}")
            continue
        yield Contender(name, result.PEER, Elsewhere(process))


def peer(
    feeds: Sequence[Any], values: Mapping[str, Array], device: str, file: str, peer: str
) -> Steps:
    """Another runtime's runs of a model, in this process.

    Raises:
        ComparisonError: if its outputs are not those among `values`.
    """
    fixed = {k.removeprefix("fixed."): x for k, x in values.items() if k.startswith("fixed.")}
    model = read_model(Path(file), known=fixed)
    make = _onnxruntime if peer == "onnxruntime" else _torch
    run = make(Path(file), model, feeds[0] if feeds else (), fixed, peer)
    ours = [values[f"output.{i}"] for i in range(len(model.outputs))]
    check(peer, model.outputs, ours, run())
    return _steps(run)


def _onnxruntime(
    file: Path, model: ModelFile, feeds: Sequence[Array], fixed: Mapping[str, Array], peer: str
) -> Callable[[], Any]:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # its threads would go on spinning, on the cores of the contender whose turn is next
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    named = dict(zip(model.inputs, feeds, strict=True)) | dict(fixed)
    return lambda: session.run(None, named)


def _torch(
    file: Path, model: ModelFile, feeds: Sequence[Array], fixed: Mapping[str, Array], peer: str
) -> Callable[[], Any]:
    torch = importlib.import_module("torch")
    sizes = {
        str(dim): size
        for node, x in zip(model.graph.inputs, feeds, strict=True)
        for dim, size in zip(node.shape, x.shape, strict=True)
        if not isinstance(dim, int)
    }
    made: Any = TorchModel(model.graph.substitute(sizes))
    made = torch.compile(made.__call__) if peer == "torch.compile" else made
    tensors = [torch.from_numpy(np.array(x)) for x in feeds]

    def run() -> list[Array]:
        with torch.inference_mode():
            return [x.numpy() for x in made(*tensors)]

    return run


def check(peer: str, names: Sequence[str], ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Raise ComparisonError unless a peer gives the same outputs."""
    for name, x, y in zip(names, ours, theirs, strict=True):
        a, b = np.asarray(x), np.asarray(y)
        scale = max(1.0, float(np.max(np.abs(b.astype(float)), initial=0)))
        if a.shape != b.shape or not np.allclose(
            a, b, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True
        ):
            raise ComparisonError(f"{peer} gives another {name!r} than staticnet")


def _rows(contenders: Sequence[Contender]) -> Iterator[list[str]]:
    rounds = {c.name: c.record["samples"] for c in contenders}
    for name, samples in rounds.items():
        time = stats.median_interval(samples)
        others = [each for other, each in rounds.items() if other != name]
        row = [name, format_seconds(time.value)]
        row.append(f"{format_seconds(time.low)} to {format_seconds(time.high)}")
        if others:
            ratio = stats.ratio_to_best(samples, others)
            row += [f"{ratio.value:.2f}", stats.verdict(ratio)]
        yield [*row, *["–"] * (len(HEADER) - len(row))]
