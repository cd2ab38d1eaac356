"""Which of a file's floating initialisers are parameters: what says so, or else where they go.

An exporter that tells is believed. PyTorch's newer one tells in `metadata_props` of a value's
description, and so does `save`. What is left is a parameter if an operator takes it where its
weights stand; and, of a file that tells nothing, if arithmetic takes it and it has a name as
modules give them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from staticnet.errors import ArgumentError
from staticnet.io.onnx.graphs import Body, Function, Step
from staticnet.io.onnx.reading import PARAMETER, Model
from staticnet.io.onnx.tensors import Array
from staticnet.ir.dtype import is_floating

WEIGHTS = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "DeformConv": (1, 3), "Gemm": (0, 1, 2),
    "MatMul": (0, 1), "Einsum": (0, 1, 2, 3), "Gather": (0,), "PRelu": (1,),
    "LayerNormalization": (1, 2), "RMSNormalization": (1,), "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "BatchNormalization": (1, 2), "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3), "RNN": (1, 2, 3),
}  # fmt: skip
"""The operands of an operator that are its weights."""
STATISTICS = {"BatchNormalization": (3, 4)}
"""The operands of an operator that are no parameters though they are floating."""
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Sum", "Concat"})
MOVES = frozenset(
    {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "CastLike",
     "Expand", "Slice", "Split"}
)  # fmt: skip
"""Operators whose result is of their first operand's values."""
_PATH = re.compile(r"[A-Za-z]\w*(\.\w+)*")
_NUMBERED = re.compile(r"val_\d+|.*const.*", re.IGNORECASE)
_ROOT, _UNIT, _SUM = "root", "unit", "sum"

Choice = bool | Iterable[str] | Callable[[str], Any]


class Role(NamedTuple):
    """Whether an initialiser trains, and whether it is none that could."""

    trains: bool
    is_buffer: bool


def roles(model: Model, trainable: Choice) -> dict[str, Role]:
    """The roles of the initialisers that become Variables.

    Raises:
        ArgumentError: if `trainable` is none, or names what is no floating initialiser.
    """
    arrays = {
        name: array
        for name, array in model.body.initializers.items()
        if array.dtype != object and is_floating(array.dtype)
    }
    found = _parameters(model, arrays)
    fixed = _statistics(model.body.steps)
    chosen = _chosen(trainable, arrays, found, fixed)
    return {
        name: Role(name in chosen, name not in found | chosen)
        for name, array in arrays.items()
        if array.ndim or name in found | chosen
    }


def _chosen(
    trainable: Choice, arrays: Mapping[str, Array], found: set[str], fixed: set[str]
) -> set[str]:
    """The names of what trains."""
    if isinstance(trainable, bool):
        return found if trainable else set()
    if callable(trainable):
        return {name for name in arrays if name not in fixed and trainable(name)}
    if isinstance(trainable, str) or not isinstance(trainable, Iterable):
        raise ArgumentError(
            f"load: trainable must be a bool, names, or a function of a name, not {trainable!r:.60}"
        )
    names = set(trainable)
    for name in names:
        if name in fixed:
            raise ArgumentError(f"load: {name!r:.80} is a running statistic, which no step trains")
        if name not in arrays:
            raise ArgumentError(f"load: the file has no floating initialiser {name!r:.80} to train")
    return names


def _parameters(model: Model, arrays: Mapping[str, Array]) -> set[str]:
    """The names of parameters."""
    told = model.kinds
    found = {name for name in arrays if told.get(name) == PARAMETER}
    open_ones = {name: array for name, array in arrays.items() if name not in told and array.ndim}
    if not open_ones:
        return found
    uses = Uses(model.functions, {name: _is_row(array) for name, array in open_ones.items()})
    uses.walk(model.body.steps, {name: frozenset({name}) for name in open_ones})
    found |= uses.weights
    return found if told else found | {name for name in uses.arithmetic if _is_path(name)}


def _is_path(name: str) -> bool:
    """Whether it is a name as modules give them: `layers.0.gamma`, and no exporter's number."""
    return bool(_PATH.fullmatch(name)) and not _NUMBERED.fullmatch(name)


def _is_row(array: Array) -> bool:
    return sum(d != 1 for d in array.shape) <= 1


def _statistics(steps: Sequence[Step]) -> set[str]:
    """The names of running statistics."""
    return {
        step.inputs[i]
        for step in steps
        for i in STATISTICS.get(step.op, ())
        if i < len(step.inputs)
    }


class Uses:
    """Where values go: `weights` where an operator's weights stand, `arithmetic` into sums.

    `rows` says of each value that is followed whether it has one axis. A row that is added to what
    a product with weights gives is a bias; one by which what was divided by a root is multiplied,
    or which is added to that, belongs to a normalisation.
    """

    def __init__(
        self,
        functions: Mapping[tuple[str, str], Function],
        rows: Mapping[str, bool],
        known: dict[tuple[str, str], Uses] | None = None,
    ) -> None:
        self.functions = functions
        self.rows = rows
        self.weights: set[str] = set()
        self.arithmetic: set[str] = set()
        self._known = {} if known is None else known
        self._stages: dict[str, str] = {}

    def walk(self, steps: Sequence[Step], origins: dict[str, frozenset[str]]) -> None:
        """Follow values through steps: `origins` has what each name is made of alone."""
        for step in steps:
            function = self.functions.get((step.domain, step.op))
            if function is not None:
                self._called(function, step, origins)
            elif step.op in MOVES:
                self._moved(step, origins)
            elif step.op in WEIGHTS:
                self._weighted(step, origins)
            elif step.op in _STAGED:
                self._staged(step, origins)
            for body in step.bodies:
                self.walk(body.steps, origins | _scanned(step, body, origins))

    def _called(
        self, function: Function, step: Step, origins: Mapping[str, frozenset[str]]
    ) -> None:
        """What a function does with its inputs is done with the operands."""
        key = (step.domain, step.op)
        inner = self._known.get(key)
        if inner is None:
            inner = Uses(self.functions, dict.fromkeys(function.inputs, True), self._known)
            self._known[key] = inner
            inner.walk(function.steps, {name: frozenset({name}) for name in function.inputs})
        for name, operand in zip(function.inputs, step.inputs, strict=False):
            if name in inner.weights:
                self.weights |= origins.get(operand, frozenset())
            if name in inner.arithmetic:
                self.arithmetic |= origins.get(operand, frozenset())

    def _moved(self, step: Step, origins: dict[str, frozenset[str]]) -> None:
        first = step.inputs[0] if step.inputs else ""
        if first in origins:
            origins.update(dict.fromkeys(step.outputs, origins[first]))
        if first in self._stages:
            self._stages.update(dict.fromkeys(step.outputs, self._stages[first]))

    def _weighted(self, step: Step, origins: Mapping[str, frozenset[str]]) -> None:
        taken = [
            origins[step.inputs[i]]
            for i in WEIGHTS[step.op]
            if i < len(step.inputs) and step.inputs[i] in origins
        ]
        self.weights = self.weights.union(*taken)
        if taken and step.op in PRODUCTS:
            self._stages.update(dict.fromkeys(step.outputs, _SUM))

    def _staged(self, step: Step, origins: dict[str, frozenset[str]]) -> None:
        """Arithmetic: what is made of initialisers alone, and the affine part of a layer."""
        made = [origins[name] for name in step.inputs if name in origins]
        stages = {self._stages[name] for name in step.inputs if name in self._stages}
        if step.op in ARITHMETIC:
            self.arithmetic = self.arithmetic.union(*made)
        if step.op == "Concat" and len(made) == len(step.inputs):
            origins.update(dict.fromkeys(step.outputs, frozenset().union(*made)))
        stage = _stage(step.op, stages)
        if stage is None:
            return
        self._stages.update(dict.fromkeys(step.outputs, stage))
        if step.op in ("Add", "Mul") and _ROOT not in stages:
            rows = frozenset().union(*made)
            self.weights |= {name for name in rows if self.rows.get(name)}


def _stage(op: str, stages: set[str]) -> str | None:
    """What a result is, from what its operands are; None if it is nothing of the kind."""
    if op == "Sqrt" or (op == "Reciprocal" and _ROOT in stages):
        return _ROOT
    if op in ("Div", "Mul") and _ROOT in stages:
        return _UNIT
    if op == "Mul" and _UNIT in stages:
        return _UNIT
    return _SUM if op == "Add" and stages & {_SUM, _UNIT} else None


_STAGED = ARITHMETIC | {"Sqrt", "Reciprocal"}


def _scanned(
    step: Step, body: Body, origins: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """The origins of the slices that a scan's body is given."""
    count = step.attributes.get("num_scan_inputs", 0) if step.op == "Scan" else 0
    if not isinstance(count, int) or count <= 0:
        return {}
    pairs = zip(body.inputs[-count:], step.inputs[-count:], strict=False)
    return {inner.name: origins[name] for inner, name in pairs if name in origins}
