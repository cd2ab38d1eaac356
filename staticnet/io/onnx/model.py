"""`OnnxModel`: an imported model as a `Module`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from staticnet.errors import OnnxError
from staticnet.io.onnx.execution import Execution, lifted
from staticnet.io.onnx.graphs import Signature, identifier
from staticnet.io.onnx.operators import FAMILIES
from staticnet.io.onnx.parameters import Choice, roles
from staticnet.io.onnx.reading import Model, read_model
from staticnet.ir.collector import paused
from staticnet.ir.dim import Dim
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.module import Module
from staticnet.ops.base import constant
from staticnet.ops.state import Variable, placeholder, variable


def read(source: Any, trainable: Choice = True) -> OnnxModel:
    """What `load` gives, once the table of operators is filled."""
    assert FAMILIES
    with paused():
        return OnnxModel(read_model(source), trainable)


class OnnxModel(Module):
    """y = the graph of an ONNX model, from values of its inputs.

    `input_names` and `output_names` are as in the file. A call takes values in that order or by
    name: nodes or tensors, and arrays, which are known while the graph is built. It gives a value,
    or a tuple of them where the model has several outputs. Dims may be others than declared where
    the file names them or leaves them open.

    Raises:
        OnnxError: if an input does not fit, or a step has no meaning here; names the node.
    """

    def __init__(self, model: Model, trainable: Choice = True) -> None:
        body = model.body
        self.model = model
        self.inputs = tuple(x for x in body.inputs if x.name not in body.initializers)
        self.outputs = tuple(body.outputs)
        self._defaults = {x.name: x for x in body.inputs if x.name in body.initializers}
        self._state: dict[str, Variable] = {}
        self.training = False
        for name, role in roles(model, trainable).items():
            held = variable(body.initializers[name], _printable(name), role.trains)
            held.buffer = role.is_buffer
            self._state[name] = held

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs that a call needs, in order."""
        return tuple(x.name for x in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return tuple(x.name for x in self.outputs)

    def _held(self) -> list[tuple[str, Any]]:
        return list(vars(self).get("_state", {}).items())

    def placeholders(self, dims: Mapping[str, int | str] | None = None) -> tuple[Any, ...]:
        """A placeholder for each input, of the type that the file declares.

        Its symbolic dims are numbers or other names where `dims` says so.

        Raises:
            OnnxError: if the file leaves the type of an input open.
        """
        return tuple(self._placeholder(x, dims or {}) for x in self.inputs)

    def _placeholder(self, given: Signature, dims: Mapping[str, Any]) -> Any:
        if given.kind != "tensor" or given.dtype is None or given.shape is None:
            raise OnnxError(f"the input {given.name!r:.60} is no tensor of known rank")
        name = identifier(given.name)
        shape = [
            f"{name}_{i}" if d is None else d.substitute(dims) if isinstance(d, Dim) else d
            for i, d in enumerate(given.shape)
        ]
        return placeholder(shape, given.dtype, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs, from the inputs in order or by name."""
        execution = Execution(self.model, self.training)
        values = self._operands(args, kwargs)
        for name, value in values.items():
            label = getattr(getattr(value, "op", None), "label", None)
            if label is not None:
                execution.labels[label] = name
        for name, array in self.model.body.initializers.items():
            if name not in values:
                state = self._state.get(name)
                values[name] = lifted(array) if state is None else state
        results = execution.run(values, self._path)
        return results[0] if len(results) == 1 else tuple(results)

    def _operands(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The values of inputs by name."""
        if len(args) > len(self.inputs):
            raise OnnxError(f"the model takes {len(self.inputs)} inputs, not {len(args)}")
        given = dict(zip(self.input_names, args, strict=False))
        names = {identifier(x.name): x.name for x in self._all_inputs()}
        names |= {x.name: x.name for x in self._all_inputs()}
        for key, value in kwargs.items():
            if key not in names or names[key] in given:
                raise OnnxError(
                    f"the model has no other input {key!r:.60}; its inputs are {self.input_names}"
                )
            given[names[key]] = value
        missing = [x.name for x in self.inputs if x.name not in given and x.kind != "optional"]
        if missing:
            raise OnnxError(f"the inputs {missing} are missing")
        for x in self.inputs:
            given.setdefault(x.name, None)
        return {x.name: _fitting(x, given[x.name]) for x in self._all_inputs() if x.name in given}

    def _all_inputs(self) -> Iterator[Signature]:
        yield from self.inputs
        yield from self._defaults.values()

    def extra_repr(self) -> str:
        """The name, the operands' names, and how many initialisers train."""
        signature = f"{list(self.input_names)} -> {list(self.output_names)}"
        state = [*self._state.values()]
        counts = {
            "trained": sum(v.trainable for v in state),
            "frozen": sum(not (v.trainable or v.buffer) for v in state),
            "constant": sum(v.buffer and not v.trainable for v in state),
        }
        told = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        return f"{self.model.name!r:.60}, {signature}{told and f', weights: {told}'}"


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def _fitting(declared: Signature, value: Any) -> Any:
    """A value of an input; arrays become constants.

    Raises:
        OnnxError: if its type is not the declared one.
    """
    if isinstance(value, list | tuple) and declared.kind != "tensor":
        return [_fitting(Signature(declared.name), x) for x in value]
    if value is None:
        return None
    if not isinstance(value, Value):
        is_plain = isinstance(value, bool | int | float | list | tuple)
        array = np.asarray(value, declared.dtype if is_plain else None)
        if array.dtype.kind in "OUST":
            return array.astype(object)
        value = constant(array)
    what = f"the input {declared.name!r:.60}"
    if declared.dtype is not None and declared.kind == "tensor" and value.dtype != declared.dtype:
        raise OnnxError(f"{what} is {declared.dtype}, not {value.dtype}; cast it with sn.astype")
    shape = declared.shape
    if shape is not None and declared.kind == "tensor":
        pairs = zip(shape, value.shape, strict=False)
        if len(shape) != value.ndim or any(
            isinstance(d, int) and isinstance(n, int) and d != n for d, n in pairs
        ):
            wanted = format_shape("?" if d is None else d for d in shape)
            raise OnnxError(f"{what} has the shape {wanted}, not {format_shape(value.shape)}")
    return value
