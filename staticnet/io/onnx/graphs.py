"""What a model's file says, checked and without the format: graphs of steps in an order to run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import OnnxError, ParseError, StaticnetError
from staticnet.io.onnx.library import onnx
from staticnet.io.onnx.registry import is_known
from staticnet.io.onnx.tensors import NAMES, Array, Folder, as_array, type_name
from staticnet.ir.dim import Dim, parse_dim
from staticnet.ir.dtype import DTYPES, DType

MAX_NAME = 100
MAX_DENSE = 1 << 22


@dataclass(frozen=True)
class Signature:
    """The declared type of a graph's input or output: `kind` is tensor, sequence, optional, or any.

    A shape of None is of any rank, and a dim of None of any length.
    """

    name: str
    kind: str = "any"
    dtype: DType | None = None
    shape: tuple[int | Dim | None, ...] | None = None


@dataclass(frozen=True)
class Reference:
    """An attribute of a function's step that has the value of the function's own attribute."""

    name: str


_NONE: Mapping[str, Any] = {}  # the attributes of all steps that have none


class Step(NamedTuple):
    """A node of a graph: an operator on named values; an empty name is an operand left out."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    source: bytes = b""  # as it is in the file, if it is made of others and holds graphs

    def __str__(self) -> str:
        own = f"{self.domain}::{self.op}" if self.domain else self.op
        if self.name:
            return f"node {self.name!r:.80} ({own})"
        return f"the node {own} of {', '.join(self.outputs)!r:.80}"

    @property
    def bodies(self) -> list[Body]:
        """The graphs among its attributes."""
        found: list[Body] = []
        if not self.attributes:
            return found
        for value in self.attributes.values():
            values = value if isinstance(value, list) else [value]
            found += [each for each in values if isinstance(each, Body)]
        return found


@dataclass
class Body:
    """A graph: a model's own, or that of a loop or a branch, which sees the names around it."""

    name: str
    inputs: list[Signature]
    outputs: list[Signature]
    initializers: dict[str, Array] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    free: frozenset[str] = frozenset()


@dataclass
class Function:
    """An operator that is made of others, with the opsets that these are of."""

    name: str
    inputs: list[str]
    outputs: list[str]
    steps: list[Step]
    attributes: dict[str, Any]
    opsets: dict[str, int]


class _Words(dict[Any, str]):
    """Names as they are read: each is kept once, however often it stands in a file."""

    def __missing__(self, text: Any) -> str:
        return self.setdefault(text, word(text))


@dataclass
class Reader:
    """Makes graphs of protos; external data lies in `folder`."""

    folder: Folder | None = None
    words: _Words = field(default_factory=_Words)

    def body(self, proto: Any, around: Collection[str] = (), what: str = "") -> Body:
        """A graph, checked: each name has one definition, and each operand is one.

        Raises:
            OnnxError: naming the node or the value.
        """
        body = Body(
            word(proto.name),
            [self.signature(x) for x in proto.input],
            [self.signature(x) for x in proto.output],
        )
        where = what or f"graph {proto.name!r:.60}"
        defined = _unique((x.name for x in body.inputs), f"{where}: the input")
        inputs = set(defined)
        for tensor in proto.initializer:
            name = word(tensor.name)
            self._initialize(
                body,
                name,
                as_array(tensor, f"{where}: the initializer {name!r:.80}", self.folder),
                where,
            )
        for sparse in proto.sparse_initializer:
            name = word(sparse.values.name)
            self._initialize(body, name, self._dense(sparse, f"{where}: {name!r:.80}"), where)
        defined |= body.initializers.keys()
        body.steps, body.free = self.steps(proto.node, defined, frozenset(around), where)
        made = {name for step in body.steps for name in step.outputs}
        for output in body.outputs:
            if not any(output.name in names for names in (made, defined, around)):
                raise OnnxError(f"{where}: the output {output.name!r:.80} is the result of no node")
        outside = {x.name for x in body.outputs} - defined - inputs
        body.free |= frozenset(outside - made)
        return body

    def _initialize(self, body: Body, name: str, value: Array, where: str) -> None:
        if not name or name in body.initializers:
            raise OnnxError(f"{where}: there are two initializers {name!r:.80}")
        body.initializers[name] = value

    def _dense(self, proto: Any, what: str) -> Array:
        """The array of a sparse tensor, whose indices are flat or one of each axis."""
        values = as_array(proto.values, what, self.folder)
        indices = as_array(proto.indices, f"{what}: its indices", self.folder)
        dims = tuple(int(d) for d in proto.dims)
        size = int(np.prod(dims, dtype=object)) if dims else 1
        if any(d < 0 for d in dims) or size > MAX_DENSE or indices.dtype != np.int64:
            raise OnnxError(f"{what}: a sparse tensor of dims {list(dims)} is not supported")
        try:
            flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dims)
            dense = np.zeros(size, values.dtype)
            dense[flat] = values
        except (ValueError, IndexError) as error:
            raise OnnxError(f"{what}: its indices do not fit {list(dims)}: {error}") from None
        return dense.reshape(dims)

    def steps(
        self, protos: Sequence[Any], defined: set[str], around: frozenset[str], where: str
    ) -> tuple[list[Step], frozenset[str]]:
        """The nodes of a graph in an order to run, and what they take from the graphs around.

        Raises:
            OnnxError: if a name has two definitions or none, or operands run in a circle.
        """
        results = [tuple(map(self.words.__getitem__, proto.output)) for proto in protos]
        outputs = _outputs(protos, results, defined, where)
        own = defined | outputs
        visible = own | around if around else own
        steps = [
            self.step(proto, given, visible, where)
            for proto, given in zip(protos, results, strict=True)
        ]
        needs = [_needs(step) for step in steps]
        free = set().union(*needs) - own
        if not free <= around:
            name = next(x for taken in needs for x in taken if x in free and x not in around)
            step = next(step for step, taken in zip(steps, needs, strict=True) if name in taken)
            raise OnnxError(f"{where}: {step} takes {name!r:.80}, which nothing defines")
        return _ordered(steps, needs, defined, outputs, where), frozenset(free)

    def step(
        self, proto: Any, outputs: tuple[str, ...], visible: Collection[str], where: str
    ) -> Step:
        """A node, whose outputs have been read."""
        words = self.words
        op, overload = words[proto.op_type], words[proto.overload]
        step = Step(
            f"{op}:{overload}" if overload else op,
            "" if proto.domain == "ai.onnx" else words[proto.domain],
            words[proto.name],
            tuple(map(words.__getitem__, proto.input)),
            outputs,
            self._attributes(proto, visible, where) if proto.attribute else _NONE,
        )
        if step.attributes and step.bodies and not is_known(step.domain, op):
            step = step._replace(source=proto.SerializeToString())
        return step

    def _attributes(self, proto: Any, visible: Collection[str], where: str) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        label = f"{where}: {_label(proto)}"
        for attribute in proto.attribute:
            if word(attribute.name) in attributes:
                raise OnnxError(f"{label}: the attribute {attribute.name!r:.60} is there twice")
            attributes[word(attribute.name)] = self.attribute(attribute, visible, label)
        return attributes

    def attribute(self, proto: Any, visible: Collection[str], label: str) -> Any:
        """An attribute's value: a number, a text, an array, a graph, or a list of such."""
        if proto.ref_attr_name:
            return Reference(word(proto.ref_attr_name))
        what = f"{label}: the attribute {proto.name!r:.60}"
        types: Any = onnx().AttributeProto.AttributeType
        kind: str = types.Name(proto.type)
        read = {
            "FLOAT": lambda: float(proto.f),
            "INT": lambda: int(proto.i),
            "STRING": lambda: _text(proto.s),
            "TENSOR": lambda: as_array(proto.t, what, self.folder),
            "GRAPH": lambda: self.body(proto.g, visible, what),
            "SPARSE_TENSOR": lambda: self._dense(proto.sparse_tensor, what),
            "TYPE_PROTO": lambda: _signature("", proto.tp),
            "FLOATS": lambda: [float(x) for x in proto.floats],
            "INTS": lambda: [int(x) for x in proto.ints],
            "STRINGS": lambda: [_text(x) for x in proto.strings],
            "TENSORS": lambda: [as_array(x, what, self.folder) for x in proto.tensors],
            "GRAPHS": lambda: [self.body(x, visible, what) for x in proto.graphs],
        }
        if kind not in read:
            raise OnnxError(f"{what} has the type {kind}, which is not supported")
        make: Any = read[kind]
        return make()

    def signature(self, proto: Any) -> Signature:
        """The declared type of a value."""
        return _signature(word(proto.name), proto.type)

    def function(self, proto: Any, whole: bool = True) -> Function:
        """A function of a model; or the body that a schema gives, with the outputs it has."""
        where = f"function {proto.name!r:.60}"
        inputs = list(map(word, proto.input))
        defined = _unique(inputs, f"{where}: the input")
        steps, _ = self.steps(proto.node, defined, frozenset(), where)
        known = defined | {name for step in steps for name in step.outputs}
        for name in map(word, proto.output):
            if name not in known and whole:
                raise OnnxError(f"{where}: the output {name!r:.80} is the result of no node")
        attributes: dict[str, Any] = dict.fromkeys(map(word, proto.attribute))
        for attribute in proto.attribute_proto:
            attributes[word(attribute.name)] = self.attribute(attribute, (), where)
        return Function(
            word(proto.name),
            inputs,
            list(map(word, proto.output)),
            steps,
            attributes,
            opsets(proto.opset_import),
        )


def opsets(protos: Iterable[Any]) -> dict[str, int]:
    """The versions of the domains."""
    return {("" if x.domain == "ai.onnx" else word(x.domain)): int(x.version) for x in protos}


def _label(proto: Any) -> str:
    return f"node {word(proto.name) or list(proto.output[:1])!r:.80} ({word(proto.op_type):.60})"


def word(text: Any) -> str:
    """A name; what is no UTF-8, which the library leaves as bytes, is escaped."""
    return text if isinstance(text, str) else bytes(text).decode("utf-8", "backslashreplace")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _outputs(
    protos: Sequence[Any], results: list[tuple[str, ...]], defined: set[str], where: str
) -> set[str]:
    """All that nodes define, each once."""
    outputs = set().union(*results)
    if len(outputs) == sum(map(len, results)) and outputs.isdisjoint(defined):
        return outputs
    seen: set[str] = set()
    for proto, names in zip(protos, results, strict=True):
        for name in names:
            if name and (name in seen or name in defined):
                raise OnnxError(
                    f"{where}: {_label(proto)} gives {name!r:.80}, which is defined already"
                )
            seen.add(name)
    return seen


def _unique(names: Iterable[str], what: str) -> set[str]:
    found: set[str] = set()
    for name in names:
        if name in found:
            raise OnnxError(f"{what} {name!r:.80} is there twice")
        found.add(name)
    return found


def _needs(step: Step) -> Collection[str]:
    """The names that a step takes, those that its bodies see included."""
    if all(step.inputs) and not step.attributes:
        return step.inputs  # of many steps sets would take much of the memory
    names = {name for name in step.inputs if name}
    return names.union(*(body.free for body in step.bodies))


def _ordered(
    steps: list[Step],
    needs: list[Collection[str]],
    defined: set[str],
    outputs: set[str],
    where: str,
) -> list[Step]:
    """The steps after those that they need; as they stand, if that is so."""
    ready = set(defined)
    for step, names in zip(steps, needs, strict=True):
        if not ready.issuperset(names) and not outputs.isdisjoint({*names} - ready):
            break
        ready.update(step.outputs)
    else:
        return steps
    readers: dict[str, list[int]] = {}
    waiting = []
    for i, names in enumerate(needs):
        own = [name for name in {*names} if name in outputs and name not in defined]
        waiting.append(len(own))
        for name in own:
            readers.setdefault(name, []).append(i)
    order = [i for i, count in enumerate(waiting) if count == 0]
    for i in order:
        for name in steps[i].outputs:
            for reader in readers.get(name, ()):
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    order.append(reader)
    if len(order) < len(steps):
        stuck = next(step for step, count in zip(steps, waiting, strict=True) if count)
        raise OnnxError(f"{where}: {stuck} needs its own result: the nodes run in a circle")
    return [steps[i] for i in order]


def _signature(name: str, proto: Any) -> Signature:
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        tensor = proto.tensor_type
        if tensor.elem_type not in NAMES:
            return Signature(name, type_name(tensor.elem_type).lower())
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(_dim(d, name) for d in tensor.shape.dim)
        return Signature(name, "tensor", DTYPES[NAMES[tensor.elem_type]], shape)
    if kind == "sequence_type":
        return Signature(name, "sequence", _signature(name, proto.sequence_type.elem_type).dtype)
    if kind == "optional_type":
        return Signature(name, "optional", _signature(name, proto.optional_type.elem_type).dtype)
    return Signature(name)


def _dim(proto: Any, name: str) -> int | Dim | None:
    if proto.HasField("dim_value"):
        length = int(proto.dim_value)
        if length < 0 and length != -1:
            raise OnnxError(f"the value {name!r:.80} is declared with a dim of {length}")
        return None if length == -1 else length
    return _named(word(proto.dim_param)) if proto.dim_param else None


def _named(text: str) -> int | Dim | None:
    """A dim by its name: `batch`, `2*width + 1`; a name that is none gets letters that are."""
    try:
        if len(text) <= MAX_NAME:
            return parse_dim(text)
    except (ParseError, StaticnetError, ValueError, RecursionError, MemoryError):
        pass
    try:
        return Dim(identifier(text))
    except StaticnetError:
        return None


def identifier(text: str) -> str:
    """A name as Python spells names: `input.1` is `input_1`."""
    word = re.sub(r"\W", "_", text) or "_"
    return f"_{word}" if word[0].isdigit() else word
