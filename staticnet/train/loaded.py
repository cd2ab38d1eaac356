"""A trainer from a file alone: its programs are read from their graphs' text.

So a checkpoint is used where the code that made it is not, and nothing in it can run but a graph.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.control.traced import substitute
from staticnet.errors import ArgumentError, ParseError, StateError
from staticnet.function import Function, function
from staticnet.ir.dtype import as_dtype
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.text import parse
from staticnet.ir.tree import LEAF, Tree, flatten
from staticnet.ir.value import Value
from staticnet.nn.module import Module
from staticnet.ops.selection import astype
from staticnet.ops.state import Variable, VariableOp, variable
from staticnet.optim.plateau import ReduceLROnPlateau
from staticnet.optim.updates import Updates
from staticnet.train import metrics
from staticnet.train.data.source import Layout
from staticnet.train.metrics.base import Metric
from staticnet.train.optimizers import rate_of
from staticnet.train.programs import Evaluation, Prediction, Step, Sums

if TYPE_CHECKING:
    from staticnet.train.built import Built

_VARIABLE = re.compile(r"= variable\(id=(\d+),")
_KINDS: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict, "None": type(None)}


class LoadedModel(Module):
    """A model read from a file: its state under the names that it had, and its graph to predict."""

    def __init__(self, call: Callable[[list[Any]], Any]) -> None:
        self._call = call

    def hold(self, name: str, value: Variable, buffer: bool, persistent: bool) -> None:
        """Hold a variable under a dotted name."""
        *above, last = name.split(".")
        module: Module = self
        for part in above:
            if part not in vars(module):
                setattr(module, part, _Part())
            module = vars(module)[part]
        if buffer:
            module.register_buffer(last, value, persistent)
        else:
            setattr(module, last, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives in evaluation.

        Raises:
            ArgumentError: if it is set to train: only its trainer has that graph.
        """
        if self.training:
            raise ArgumentError(
                "a model read from a file evaluates; call model.eval(), or train it by its trainer"
            )
        return self._call(flatten(kwargs or args)[0])


class _Part(Module):
    """What holds the state of a part."""


def description(trainer: Built) -> dict[str, Any]:
    """What has to be known beside the state, so that a trainer can be made of it."""
    layout, step = trainer.layout, trainer.training_step()
    names = {v: name for name, v in trainer.named_state().items()}
    evaluation, prediction = trainer.evaluation(), trainer.prediction()
    programs = {"step": step.function, "evaluate": evaluation.function}
    programs["predict"] = prediction.function
    rate = rate_of(trainer.optimizer)
    if isinstance(rate, Function):
        programs["rate"] = rate
    owned: dict[str, Any] = {}
    for name, v, kept in trainer.model._all_state():
        owned[name] = {"id": _id(v), "buffer": v.buffer, "trainable": v.trainable, "kept": kept}
    return {
        "graphs": {name: str(each.graph) for name, each in programs.items()},
        "layout": {
            "inputs": _tree_record(layout.inputs),
            "targets": _tree_record(layout.targets),
            "types": [[dtype.name, list(shape)] for dtype, shape in layout.types],
        },
        "outputs": _tree_record(prediction.tree),
        "model": owned,
        "variables": {name: _id(v) for v, name in names.items()},
        "rate": None if isinstance(rate, Function) else rate,
        "shadows": {_id(w): _id(s) for w, s in step.updates.shadows.items()},
        "counter": None if step.updates.step is None else _id(step.updates.step),
        "metrics": [_metric_record(metric) for metric in trainer.metrics],
        "sums": {"step": _sums_record(step.sums), "evaluate": _sums_record(evaluation.sums)},
        "plateaus": [_plateau_record(each) for each in trainer.schedules()],
        "options": {k: v for k, v in trainer.options.items() if k != "device"},
    }


def _id(v: Variable) -> int:
    assert isinstance(v.op, VariableOp)
    return v.op.id


def _tree_record(tree: Tree) -> Any:
    if tree.kind is None:
        return "*"
    names = {kind: name for name, kind in _KINDS.items()}
    name = names.get(tree.kind, "tuple")
    return {"kind": name, "keys": list(tree.keys), "of": [_tree_record(x) for x in tree.children]}


def _tree(record: Any) -> Tree:
    if record == "*":
        return LEAF
    children = tuple(_tree(each) for each in record["of"])
    return Tree(_KINDS[record["kind"]], children, tuple(record["keys"]))


def _metric_record(metric: Metric) -> dict[str, Any] | None:
    """A metric of `sn.train.metrics` by its class and fields; one of a user's own is left out."""
    name = type(metric).__name__
    if name == "Mean" or getattr(metrics, name, None) is not type(metric):
        return None
    return {"class": name, "fields": dataclasses.asdict(metric)}


def _sums_record(sums: Sums) -> dict[str, dict[str, int]]:
    return {
        name: {part: _id(v) for part, v in parts.items()} for name, parts in sums.variables.items()
    }


def _plateau_record(schedule: ReduceLROnPlateau) -> dict[str, Any]:
    fields = {f.name: getattr(schedule, f.name) for f in dataclasses.fields(schedule) if f.init}
    return {"fields": fields, "state": _id(schedule.state)}


class Reader:
    """The graphs of a record, on variables of their own, whatever ids they had."""

    def __init__(self, file: Path, record: Mapping[str, Any]) -> None:
        self.record, self._file = record, file
        held = variable(np.float32(0))  # no other has an id above it
        self._offset = _id(held)
        self.graphs = {name: self._parsed(text) for name, text in record["graphs"].items()}
        found = [v for graph in self.graphs.values() for v in graph.variables]
        self._by_id: dict[int, Any] = {_id(v): v for v in found if isinstance(v, Variable)}
        for v in self._by_id.values():
            v.value = np.zeros(v.shape, v.dtype)

    def _parsed(self, text: str) -> Graph:
        moved = _VARIABLE.sub(lambda match: f"= variable(id={int(match[1]) + self._offset},", text)
        try:
            return parse(moved)
        except ParseError as error:
            raise StateError(
                f"{self._file}: its graph cannot be read: {error}; ops of your own must be "
                "declared before, and a newer file needs a newer staticnet"
            ) from None

    def variable(self, number: int) -> Variable:
        """The variable that had an id; one that no graph reads is not there."""
        found: Variable = self._by_id[int(number) + self._offset]
        return found

    def model(self) -> LoadedModel:
        """The model, in evaluation."""
        shadows = {self.variable(s): self.variable(w) for w, s in self.record["shadows"].items()}
        weights: dict[Node, Value] = {s: astype(w, s.dtype) for s, w in shadows.items()}
        graph, tree = self.graphs["predict"], _tree(self.record["outputs"])

        def call(leaves: list[Any]) -> Any:
            """The outputs by the weights, where a trainer predicts by their averages."""
            values = weights | dict(zip(graph.inputs, leaves, strict=True))
            return tree.unflatten(substitute(graph.outputs, values))

        made = LoadedModel(call)
        for name, told in self.record["model"].items():
            if told["id"] + self._offset not in self._by_id:
                continue  # no program reads it
            v = self.variable(told["id"])
            v.name = ""
            made.hold(name, v, told["buffer"], told["kept"])
            v.trainable = told["trainable"]
        return made.eval()

    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that are staticnet's own."""
        told = [each for each in self.record["metrics"] if each is not None]
        return tuple(getattr(metrics, each["class"])(**each["fields"]) for each in told)

    def layout(self) -> Layout:
        """What a batch is."""
        told = self.record["layout"]
        types = tuple((as_dtype(name), tuple(shape)) for name, shape in told["types"])
        return Layout(_tree(told["inputs"]), _tree(told["targets"]), types)

    def programs(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The step, the evaluation and the prediction."""
        made = {
            name: function(graph.inputs, graph.outputs, _updates(graph), name=name, **options)
            for name, graph in self.graphs.items()
            if name != "rate"
        }
        updates = Updates(_updates(self.graphs["step"]))
        shadows = self.record["shadows"].items()
        updates.shadows = {self.variable(w): self.variable(s) for w, s in shadows}
        counter = self.record["counter"]
        updates.step = None if counter is None else self.variable(counter)
        chosen = self.metrics()
        step = Step(made["step"], updates, self._sums(chosen, "step"))
        evaluation = Evaluation(made["evaluate"], self._sums(chosen, "evaluate"))
        return {
            "step": step,
            "evaluate": evaluation,
            "predict": Prediction(made["predict"], _tree(self.record["outputs"])),
            "rate": self._rate(),
        }

    def _rate(self) -> Function | float | None:
        """The rate of the step, as `rate_of` gives it."""
        if "rate" not in self.graphs:
            return self.record["rate"]
        graph = self.graphs["rate"]
        return function(graph.inputs, graph.outputs[0], name="rate", device="numpy")

    def _sums(self, chosen: Sequence[Metric], program: str) -> Sums:
        told = self.record["sums"][program]
        named = {
            metric.name: {part: self.variable(n) for part, n in told[metric.name].items()}
            for metric in chosen
        }
        return Sums(chosen, named)

    def state(self) -> dict[str, Variable]:
        """Every variable by its name in the checkpoint."""
        told = self.record["variables"].items()
        return {n: self.variable(i) for n, i in told if i + self._offset in self._by_id}

    def plateaus(self) -> list[ReduceLROnPlateau]:
        """The schedules that need measured values, on the step's state."""
        found = []
        for told in self.record["plateaus"]:
            schedule = ReduceLROnPlateau(**told["fields"])
            object.__setattr__(schedule, "state", self.variable(told["state"]))
            found.append(schedule)
        return found


def _updates(graph: Graph) -> dict[Variable, Node]:
    return {target: value for target, value in graph.updates if isinstance(target, Variable)}
