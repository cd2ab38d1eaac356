"""Runs a model's steps on values, which makes the nodes of a graph or, of tensors, computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from staticnet.errors import DependencyError, OnnxError, StaticnetError
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.graphs import Body, Function, Reader, Reference, Step
from staticnet.io.onnx.known import Knowledge
from staticnet.io.onnx.library import newest, onnx, schema
from staticnet.io.onnx.reading import MAX_DEPTH, Model
from staticnet.io.onnx.registry import find
from staticnet.io.onnx.tensors import NAMES
from staticnet.io.onnx.typing import check_operands
from staticnet.ir import location
from staticnet.ir.collector import paused
from staticnet.ir.value import Value
from staticnet.ops.base import constant

_MALFORMED = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""What Python raises where a file's operands or attributes are not those of an operator."""


@dataclass
class Scope:
    """Values by name, those of the scopes around included; and a function's attributes."""

    opsets: Mapping[str, int]
    around: Scope | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    path: str = ""

    def __getitem__(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.around
        raise OnnxError(f"the value {name!r:.80} is not there yet")


def _kind(operand: Any) -> Any:
    """All that a schema says of an operand: its dtype, or that it is missing, or no tensor."""
    return operand.dtype if isinstance(operand, Value) else operand is None


@dataclass
class Execution:
    """One building of a model's graph. `operators` are the schemas and rules of what it met."""

    model: Model
    training: bool = False
    knowledge: Knowledge = field(default_factory=Knowledge)
    labels: dict[str, str] = field(default_factory=dict)
    operators: dict[tuple[str, str, int], tuple[Any, Any]] = field(default_factory=dict)
    fitting: set[tuple[Any, ...]] = field(default_factory=set)  # operands that were checked
    depth: int = 0
    draws: int = 0

    def draw(self) -> int:
        """A number that no other draw of random numbers has."""
        self.draws += 1
        return self.draws

    def names_of(self, labels: Sequence[str]) -> list[str]:
        """The names of the model's inputs among those of placeholders."""
        return [self.labels.get(label, label) for label in labels]

    def run(self, values: dict[str, Any], path: str) -> list[Any]:
        """The outputs of the model's graph from its inputs and initializers by name."""
        scope = Scope(self.model.opsets, values=values, path=path)
        with paused(), location.at_user_line():
            self.steps(self.model.body.steps, scope)
        return [scope[output.name] for output in self.model.body.outputs]

    def body(self, body: Body, operands: Sequence[Any], around: Scope) -> list[Any]:
        """The outputs of a graph inside another, which sees the names around it."""
        if len(operands) != len(body.inputs):
            raise OnnxError(
                f"graph {body.name!r:.60} takes {len(body.inputs)} operands, not {len(operands)}"
            )
        scope = Scope(around.opsets, around, around.attributes, path=around.path)
        scope.values = {name: lifted(array) for name, array in body.initializers.items()}
        scope.values |= {x.name: value for x, value in zip(body.inputs, operands, strict=True)}
        self.steps(body.steps, scope)
        return [scope[output.name] for output in body.outputs]

    def steps(self, steps: Sequence[Step], scope: Scope) -> None:
        """Run steps, one after another."""
        values, before = scope.values, location.set_module(scope.path)
        try:
            for step in steps:
                operands = [
                    values[x] if x in values else scope[x] if x else None for x in step.inputs
                ]
                while operands and operands[-1] is None:
                    operands.pop()
                location.set_module(_path(scope.path, step))
                results = self._results(step, operands, scope)
                for name, value in zip(step.outputs, results, strict=False):
                    if name:
                        values[name] = value
        finally:
            location.set_module(before)

    def _results(self, step: Step, operands: list[Any], scope: Scope) -> Sequence[Any]:
        """What a step gives. Its errors name it, and all are of the family."""
        try:
            results = self._called(step, operands, scope)
        except DependencyError:
            raise
        except OnnxError as error:
            told = OnnxError(f"{step}: {error}" if not error.located else str(error))
            told.inputs, told.located = error.inputs, True
            raise told from error.__cause__
        except StaticnetError as error:
            raise _told(step, str(error)) from error
        except _MALFORMED as error:
            what = f"its operands or attributes do not fit: {type(error).__name__}: {error}"
            raise _told(step, what) from error
        missing = [name for name in step.outputs[len(results) :] if name]
        if missing:
            raise _told(step, f"it has no result for {missing[0]!r:.60}")
        return results

    def _called(self, step: Step, operands: list[Any], scope: Scope) -> Sequence[Any]:
        function = self.model.functions.get((step.domain, step.op))
        if function is not None:
            return self._function(function, step, operands, scope)
        version = scope.opsets.get(step.domain) or newest(step.domain)
        key = (step.domain, step.op, version)
        if key not in self.operators:
            self.operators[key] = schema(*key), find(*key)
        known, rule = self.operators[key]
        call = Call(step, self, scope, known)
        kinds = (key, *map(_kind, operands))
        if kinds not in self.fitting:
            check_operands(known, operands)
            self.fitting.add(kinds)
        if rule is None:
            return self._function(self._composed(call, operands), step, operands, scope, known)
        results = rule(call, *operands)
        return results if isinstance(results, tuple) else (results,)

    def _function(
        self,
        function: Function,
        step: Step,
        operands: list[Any],
        scope: Scope,
        known: Any = None,
    ) -> list[Any]:
        """The outputs of a function's steps."""
        if len(operands) > len(function.inputs) or self.depth > MAX_DEPTH:
            raise OnnxError(f"it takes {len(function.inputs)} operands, not {len(operands)}")
        call = Call(step, self, scope, known)
        attributes = dict(function.attributes)
        for name in {*step.attributes, *(known.attributes if known is not None else ())}:
            value = call.attribute(name)
            if value is not None:
                attributes[name] = value
        given = [*operands, *[None] * (len(function.inputs) - len(operands))]
        inner = Scope(function.opsets or scope.opsets, attributes=attributes, path=scope.path)
        inner.values = dict(zip(function.inputs, given, strict=True))
        self.depth += 1
        try:
            self.steps(function.steps, inner)
        finally:
            self.depth -= 1
        return [inner[name] if name in inner.values else None for name in function.outputs]

    def _composed(self, call: Call, operands: list[Any]) -> Function:
        """The function that a schema says an operator is."""
        known = call.schema
        package = onnx()
        if known is None or not (known.has_function or known.has_context_dependent_function):
            raise OnnxError("the operator is not supported; docs/onnx.md lists those that are")
        if known.has_function:
            versions = [v for v in known.function_opset_versions if v <= call.opset]
            proto = known.get_function_with_opset_version(max(versions))
        else:
            versions = [
                v for v in known.context_dependent_function_opset_versions if v <= call.opset
            ]
            proto = known.get_context_dependent_function_with_opset_version(
                max(versions),
                call.step.source or _proto(call, operands).SerializeToString(),
                [_type(x).SerializeToString() for x in operands],
            )
        if isinstance(proto, bytes):
            proto = package.FunctionProto.FromString(proto)
        function = Reader().function(proto, whole=False)
        opset = call.scope.opsets.get("") or newest("")
        function.opsets = {"": opset, **call.scope.opsets, **function.opsets}
        return function


def _told(step: Step, what: str) -> OnnxError:
    error = OnnxError(f"{step}: {what}")
    error.located = True
    return error


def _path(path: str, step: Step) -> str:
    """The step's name as that of a module, which its nodes carry."""
    own = (step.name and step.name.strip("/").replace("/", ".")) or step.op
    return f"{path}.{own}" if path else own


def lifted(array: Any) -> Any:
    """An array as a constant; strings as they are."""
    return array if array.dtype == object else constant(array)


def _proto(call: Call, operands: Sequence[Any]) -> Any:
    step = call.step
    attributes = {name: call.attribute(name) for name in step.attributes}
    made = {
        name: onnx().numpy_helper.from_array(x) if isinstance(x, np.ndarray) else x
        for name, x in attributes.items()
        if x is not None and not isinstance(x, Reference)
    }
    inputs = [name if x is not None else "" for name, x in zip(step.inputs, operands, strict=False)]
    return onnx().helper.make_node(step.op, inputs, step.outputs, domain=step.domain, **made)


def _type(value: Any) -> Any:
    helper = onnx().helper
    if not isinstance(value, Value):
        return onnx().TypeProto()
    number = {name: k for k, name in NAMES.items()}[value.dtype.name]
    shape = [d if isinstance(d, int) else str(d) for d in value.shape]
    return helper.make_tensor_type_proto(number, shape)
