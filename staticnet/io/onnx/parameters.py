"""Which of a file's floating initialisers are parameters: what says so, or else where they go.

An exporter that tells is believed. PyTorch's newer one tells in `metadata_props` of a value's
description, and so does `save`. What is left is a parameter if an operator takes it where its
weights stand; and, of a file that tells nothing, if arithmetic takes it and it has a name as
modules give them.
"""

from __future__ import annotations

import re
from collections import ChainMap
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
     "Expand", "Tile", "Slice", "Split", "Dropout"}
)  # fmt: skip
"""Operators whose result, Dropout's first, is of their first operand's values."""
CURVES = frozenset({"Abs", "Clip", "Exp", "Log", "Neg", "Sigmoid", "Softplus", "Tanh"})
"""Operators by which modules keep a number in its range: `exp(log_scale)`, `tanh(gate)`."""
SHAPES = frozenset({"Shape", "Size"})
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
    if not arrays and isinstance(trainable, bool):
        return {}
    uses = _uses(model, arrays)
    found = _parameters(model, arrays, uses)
    chosen = _chosen(trainable, arrays, found, uses.statistics)
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
    names = list(trainable)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"load: trainable must hold names, which {name!r:.60} is not")
        if name in fixed:
            raise ArgumentError(f"load: {name!r:.80} is a running statistic, which no step trains")
        if name not in arrays:
            raise ArgumentError(f"load: the file has no floating initialiser {name!r:.80} to train")
    return set(names)


def _uses(model: Model, arrays: Mapping[str, Array]) -> Uses:
    """Where initialisers go; only of those that nothing is told of it may say that they train."""
    facts = {x.name: VARYING for x in model.body.inputs if x.name not in model.body.initializers}
    for name, array in arrays.items():
        own = frozenset({name})
        is_open = array.ndim and name not in model.kinds
        facts[name] = Fact(made=own if is_open else frozenset(), held=own)
    uses = Uses(model.functions)
    uses.walk(model.body.steps, ChainMap(facts))
    return uses


def _parameters(model: Model, arrays: Mapping[str, Array], uses: Uses) -> set[str]:
    """The names of parameters."""
    told = model.kinds
    found = {name for name in arrays if told.get(name) == PARAMETER}
    found |= uses.weights | {name for name in uses.biases if _is_row(arrays[name])}
    if not told:
        found |= {name for name in uses.arithmetic if _is_path(name)}
    return found - uses.statistics


def _is_path(name: str) -> bool:
    """Whether it is a name as modules give them: `layers.0.gamma`, and no exporter's number."""
    return bool(_PATH.fullmatch(name)) and not _NUMBERED.fullmatch(name)


def _is_row(array: Array) -> bool:
    return sum(d != 1 for d in array.shape) <= 1


class Fact(NamedTuple):
    """What is known of a value.

    `made` are the initialisers of which alone it is made; `held`, those whose values it has, at a
    loop's first step or in one branch perhaps, told ones too. `varies` is whether it is computed
    from an input of the model.
    """

    made: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    stage: str | None = None
    varies: bool = False


NOTHING, VARYING = Fact(), Fact(varies=True)
Scope = ChainMap[str, Fact]
Key = tuple[Any, ...]


class Uses:
    """Where values go: `weights` where an operator's weights stand, `arithmetic` into sums.

    `biases` are added to what a product with weights gives, or scale and shift what was divided by
    a root of what varies, as a normalisation does; those that are rows are weights. `statistics`
    stand where an operator has its running ones.
    """

    def __init__(
        self,
        functions: Mapping[tuple[str, str], Function],
        known: dict[Key, tuple[Uses, list[Fact]]] | None = None,
    ) -> None:
        self.functions = functions
        self.weights: set[str] = set()
        self.biases: set[str] = set()
        self.arithmetic: set[str] = set()
        self.statistics: set[str] = set()
        self._known = {} if known is None else known

    def walk(self, steps: Sequence[Step], scope: Scope) -> None:
        """Follow values through steps; `scope` has what is known of each name, and gets more."""
        for step in steps:
            operands = [scope.get(name, NOTHING) for name in step.inputs]
            plain = VARYING if _varies(step, operands, scope) else NOTHING
            scope.update(dict.fromkeys(step.outputs, plain))
            results = self._bodies(step, operands, plain, scope)
            function = self.functions.get((step.domain, step.op))
            if function is not None:
                results = self._called(function, step, operands)
            elif step.op in MOVES and operands:
                moved = operands[0]._replace(varies=plain.varies)
                results = [moved] * (1 if step.op == "Dropout" else len(step.outputs))
            elif step.op in CURVES and operands:
                results = [plain._replace(made=operands[0].made)]
            elif step.op in WEIGHTS:
                results = [self._weighted(step, operands, plain)] * len(step.outputs)
            elif step.op in _STAGED:
                results = [self._staged(step, operands, plain)]
            scope.update(zip(step.outputs, results, strict=False))

    def _bodies(self, step: Step, operands: list[Fact], plain: Fact, scope: Scope) -> list[Fact]:
        """What a step's graphs give: one of a branch's results, or what a loop ends with."""
        given = []
        for body in step.bodies:
            inner = dict.fromkeys((x.name for x in body.inputs), plain)
            inner |= dict.fromkeys(body.initializers, NOTHING)
            inner |= _entering(step, body, operands, plain)
            child = scope.new_child(inner)
            self.walk(body.steps, child)
            given.append([child.get(x.name, NOTHING) for x in body.outputs])
        if step.op == "If":
            return [_either(facts, plain) for facts in zip(*given, strict=False)]
        if step.op in ("Loop", "Scan") and given:
            results = given[0][1:] if step.op == "Loop" else given[0]
            return [fact._replace(made=frozenset(), varies=plain.varies) for fact in results]
        return []

    def _called(self, function: Function, step: Step, operands: list[Fact]) -> list[Fact]:
        """What a function does with its inputs is done with the operands: as if it stood here."""
        padded = [*operands, *[NOTHING] * len(function.inputs)]
        given = dict(zip(function.inputs, padded, strict=False))
        own = {
            name: Fact(_of(name, fact.made), _of(name, fact.held), fact.stage, fact.varies)
            for name, fact in given.items()
        }
        key = (step.domain, step.op, *own.values())
        if key not in self._known:
            inner, scope = Uses(self.functions, self._known), ChainMap(own)
            inner.walk(function.steps, scope)
            self._known[key] = inner, [scope.get(name, NOTHING) for name in function.outputs]
        inner, results = self._known[key]
        self.weights |= _made(inner.weights, given)
        self.biases |= _made(inner.biases, given)
        self.arithmetic |= _made(inner.arithmetic, given)
        self.statistics |= _held(inner.statistics, given)
        return [
            fact._replace(made=_made(fact.made, given), held=_held(fact.held, given))
            for fact in results
        ]

    def _weighted(self, step: Step, operands: list[Fact], plain: Fact) -> Fact:
        count = len(operands)
        taken = [operands[i].made for i in WEIGHTS[step.op] if i < count and operands[i].made]
        self.weights = self.weights.union(*taken)
        fixed = [operands[i].held for i in STATISTICS.get(step.op, ()) if i < count]
        self.statistics = self.statistics.union(*fixed)
        return plain._replace(stage=_SUM) if taken and step.op in PRODUCTS else plain

    def _staged(self, step: Step, operands: list[Fact], plain: Fact) -> Fact:
        """Arithmetic: what is made of initialisers alone, and the affine part of a layer."""
        made = frozenset[str]().union(*(fact.made for fact in operands))
        stages = {fact.stage for fact in operands if fact.stage}
        if step.op in ARITHMETIC:
            self.arithmetic |= made
        if step.op == "Concat":
            held = frozenset[str]().union(*(fact.held for fact in operands))
            alone = all(fact.made for fact in operands)
            return plain._replace(made=made if alone else frozenset(), held=held)
        stage = _stage(step.op, stages, plain.varies)
        if stage and step.op in ("Add", "Mul") and _ROOT not in stages:
            self.biases |= made
        return plain._replace(stage=stage)


def _varies(step: Step, operands: list[Fact], scope: Scope) -> bool:
    """Whether results are computed from an input's values: a shape is not."""
    if step.op in SHAPES:
        return False
    around = (scope.get(name, NOTHING) for body in step.bodies for name in body.free)
    return any(fact.varies for fact in operands) or any(fact.varies for fact in around)


def _stage(op: str, stages: set[str], varies: bool) -> str | None:
    """What a result is, from what its operands are; None if it is nothing of the kind."""
    if (op == "Sqrt" and varies) or (op == "Reciprocal" and _ROOT in stages):
        return _ROOT
    if op in ("Div", "Mul") and _ROOT in stages:
        return _UNIT
    if op == "Mul" and _UNIT in stages:
        return _UNIT
    return _SUM if op == "Add" and stages & {_SUM, _UNIT} else None


_STAGED = ARITHMETIC | {"Sqrt", "Reciprocal"}


def _entering(step: Step, body: Body, operands: list[Fact], plain: Fact) -> dict[str, Fact]:
    """What is known of a loop's operands in its body: slices are as the whole, what is carried
    is the operand at the first step only."""
    if step.op not in ("Loop", "Scan"):
        return {}
    pairs = list(zip(reversed(body.inputs), reversed(operands), strict=False))
    count = step.attributes.get("num_scan_inputs", 0) if step.op == "Scan" else 0
    slices = max(count, 0) if isinstance(count, int) else 0
    return {
        inner.name: fact if i < slices else plain._replace(held=fact.held)
        for i, (inner, fact) in enumerate(pairs)
    }


def _either(facts: Sequence[Fact], plain: Fact) -> Fact:
    """What is known of a value that is one of these."""
    alone = all(fact.made for fact in facts)
    return Fact(
        frozenset().union(*(fact.made for fact in facts)) if alone else frozenset(),
        frozenset().union(*(fact.held for fact in facts)),
        next((fact.stage for fact in facts if fact.stage), None),
        plain.varies,
    )


def _of(name: str, names: frozenset[str]) -> frozenset[str]:
    return frozenset({name}) if names else frozenset()


def _made(names: Iterable[str], given: Mapping[str, Fact]) -> frozenset[str]:
    """Of what initialisers these inputs of a function are made."""
    return frozenset().union(*(given[name].made for name in names))


def _held(names: Iterable[str], given: Mapping[str, Fact]) -> frozenset[str]:
    """Of what initialisers these inputs of a function have the values."""
    return frozenset().union(*(given[name].held for name in names))
