"""A step under way, as an operator's rule sees it: attributes, and what is known of operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from staticnet.errors import OnnxError
from staticnet.io.onnx.graphs import Body, Reference, Step
from staticnet.io.onnx.known import MAX_ELEMENTS, sources
from staticnet.io.onnx.library import onnx
from staticnet.io.onnx.tensors import Array
from staticnet.ir.dim import Dim

if TYPE_CHECKING:
    from staticnet.io.onnx.execution import Execution, Scope


class Call:
    """One step: `version` is that of its operator, the greatest not above the model's opset."""

    def __init__(self, step: Step, execution: Execution, scope: Scope, schema: Any) -> None:
        self.step = step
        self.execution = execution
        self.scope = scope
        self.schema = schema
        self.version: int = schema.since_version if schema is not None else 1
        self.opset: int = scope.opsets.get(step.domain, 1)
        self.training: bool = execution.training

    def fail(self, reason: str) -> NoReturn:
        """Raise OnnxError: the step cannot be computed, for this reason."""
        raise OnnxError(reason)

    @property
    def outputs(self) -> int:
        """How many results the step has, up to the last that is wanted."""
        return len(self.step.outputs)

    def wants(self, i: int) -> bool:
        """Whether the step's result number `i` is used."""
        return i < len(self.step.outputs) and self.step.outputs[i] != ""

    def has(self, name: str) -> bool:
        """Whether the step sets an attribute itself."""
        return self._given(name) is not None

    def attribute(self, name: str) -> Any:
        """An attribute of any type: as the step sets it, or the schema's default."""
        value = self._given(name)
        return self._default(name) if value is None else value

    def _given(self, name: str) -> Any:
        value = self.step.attributes.get(name)
        return self.scope.attributes.get(value.name) if isinstance(value, Reference) else value

    def _read(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.attribute(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            self.fail(f"the attribute {name} is {value!r:.60}, which has another type")
        return value

    def _default(self, name: str) -> Any:
        """What the schema says of an attribute that is left out."""
        known = self.schema.attributes.get(name) if self.schema is not None else None
        if known is None or not known.default_value.name:
            return None
        value = onnx().helper.get_attribute_value(known.default_value)
        return value.decode() if isinstance(value, bytes) else value

    def integer(self, name: str, default: int | None = None) -> Any:
        """An attribute that is an int; the schema's default, or this one."""
        return self._read(name, int, default)

    def flag(self, name: str) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self._read(name, int, 0))

    def number(self, name: str, default: float | None = None) -> Any:
        """An attribute that is a number."""
        value = self._read(name, float, default)
        return value if value is None else shortest(value)

    def text(self, name: str, default: str = "") -> Any:
        """An attribute that is a string."""
        return self._read(name, str, default)

    def ints(self, name: str, default: Sequence[int] | None = None) -> Any:
        """An attribute that is a list of ints."""
        return self._list(name, int, default)

    def floats(self, name: str, default: Sequence[float] | None = None) -> Any:
        """An attribute that is a list of numbers."""
        value = self._list(name, float, default)
        return value if value is None else [shortest(x) for x in value]

    def texts(self, name: str, default: Sequence[str] | None = None) -> Any:
        """An attribute that is a list of strings."""
        return self._list(name, str, default)

    def _list(self, name: str, kind: type, default: Any) -> Any:
        value = self._read(name, list, default)
        if value is not None:
            value = [x.decode() if isinstance(x, bytes) else x for x in value]
            if any(not isinstance(x, kind) for x in value):
                self.fail(f"the attribute {name} is {value!r:.60}, which has another type")
        return value

    def tensor(self, name: str) -> Array | None:
        """An attribute that is an array; None if it is left out."""
        value = self._given(name)
        if value is not None and not isinstance(value, np.ndarray):
            self.fail(f"the attribute {name} is {value!r:.60} and no tensor")
        return value

    def graph(self, name: str) -> Body:
        """An attribute that is a graph."""
        value = self._given(name)
        if not isinstance(value, Body):
            self.fail(f"the attribute {name} must be a graph")
        return value

    def knowledge(self, value: Any) -> Array | None:
        """The value, if it is known while the graph is built: numbers, or dims as objects."""
        if isinstance(value, np.ndarray):
            return value
        return None if value is None else self.execution.knowledge(value)

    def known(self, value: Any, what: str) -> Array:
        """The value of an operand that must be known.

        Raises:
            OnnxError: if it is not, with the inputs that it comes from.
        """
        found = self.knowledge(value)
        if found is None:
            names = self.execution.names_of(sources(value))
            error = OnnxError(
                f"{what} depends on values that only a run gives"
                + (
                    f", those of {', '.join(map(repr, names))}: give them as arrays"
                    if names
                    else ""
                )
            )
            error.inputs = tuple(names)
            raise error
        return found

    def sizes(self, value: Any, what: str) -> list[Any]:
        """The known ints and dims of an operand with one axis or none."""
        return [
            x if isinstance(x, Dim) else int(x)
            for x in np.atleast_1d(self.known(value, what)).ravel().tolist()
        ]

    def numbers(self, value: Any, what: str) -> list[float]:
        """The known floats of an operand with one axis or none."""
        return [shortest(x) for x in np.atleast_1d(self.known(value, what)).ravel()]

    def limit(self, count: Any, what: str, most: int = MAX_ELEMENTS) -> None:
        """Raise OnnxError unless a number that a file gives is no more than a graph can hold."""
        if not isinstance(count, int) or count > most:
            self.fail(f"{what} is {count}; at most {most} is supported")

    def axis(self, ndim: int, name: str = "axis", default: int | None = None) -> int:
        """An attribute that is an axis of an array of so many axes."""
        return self.place(self.integer(name, default), ndim, name)

    def place(self, axis: Any, ndim: int, name: str = "axis") -> int:
        """An axis, counted from the front."""
        if not isinstance(axis, int) or not -ndim <= axis < ndim:
            self.fail(f"the {name} {axis} is none of {ndim} axes")
        return axis % ndim


def shortest(value: Any) -> float:
    """A number whose float32 is the given one's, as people write it: 0.1 for 0.10000000149."""
    if isinstance(value, Dim):
        return value  # type: ignore[return-value]
    if isinstance(value, np.floating) and value.dtype != np.float32:
        return float(value)
    number = float(value)
    with np.errstate(all="ignore"):
        single = np.float32(number)
    return float(str(single)) if float(single) == number else number
