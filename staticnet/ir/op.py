"""`Op`: what a node does. Its fields are its attributes; everything known of it is in its class."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_origin

import numpy as np

from staticnet.errors import (
    ArgumentError,
    ExecutionError,
    GradientError,
    OutOfRangeError,
    ParseError,
    StaticnetError,
)
from staticnet.ir.dim import Dim, parse_dim, substitute, symbols_of
from staticnet.ir.dtype import DTYPES, DType, as_dtype, short_name
from staticnet.ir.index import Index
from staticnet.ir.literal import Literal, parse_literal
from staticnet.ir.location import Location, current, user_line
from staticnet.ir.own_ops import declare, find, label_of
from staticnet.ir.types import MAX_BYTES, Shape, TensorType, TupleType, format_shape, tensor_type

if TYPE_CHECKING:
    from staticnet.ir.graph import Graph

Axes = tuple[int, ...]
OPS: dict[str, type[Op]] = {}  # the house's
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Op:
    """An operation with its attributes; frozen and hashable, so that equal ones are one.

    A subclass is a frozen dataclass declared with `name=`. It gives at least `infer` and `eval`;
    `vjp` where it is differentiable; `scalar`, a one-line C expression in `{0}`, `{1}`, …, where it
    acts on elements. Attributes are int, bool, str, DType, Shape, Axes, Literal or Graph:
    floating-point numbers are operands, never attributes, so equality of attributes is equality of
    bits. A graph as an attribute is what the op does, to operands that its inputs stand for; it
    needs nothing else. An op of several results infers a `TupleType`, and evaluates to a tuple.
    `differentiable` is False where every derivative is zero or there is none. `arity` is the number
    of operands; None is any number. `is_input` marks placeholders and variables, whose values are
    given to a graph. `moves` marks movement ops, which have a `source`. `may_fail`
    marks those whose operands' values can be wrong, as an index out of range. `widens` says that
    16-bit floats are computed in float32 and rounded once. Where one fails while it runs, it raises
    `error`, which says what is the `problem`; `failure` is what is most often meant then. A result
    that `begins_as` an operand is a copy of it that is changed, or lies where it lay.

    A class outside this package is a user's own, written on the line `where`. Such an op is
    `on_host`, a Python call between kernels, unless it has a `scalar` form or `moves`; its `eval`
    gets read-only arrays, and must give what `infer` says. One that `transposes` has no vjp but a
    jvp, which is linear in the tangents.
    """

    name: ClassVar[str] = ""
    scalar: ClassVar[str] = ""
    differentiable: ClassVar[bool] = True
    arity: ClassVar[int | None] = 1
    is_input: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    may_fail: ClassVar[bool] = False
    widens: ClassVar[bool] = True
    begins_as: ClassVar[int | None] = None
    error: ClassVar[type[ExecutionError]] = OutOfRangeError
    problem: ClassVar[str] = "an index is out of range"
    failure: ClassVar[str] = ""
    where: ClassVar[Location | None] = None
    on_host: ClassVar[bool] = False
    transposes: ClassVar[bool] = False

    def __init_subclass__(cls, name: str = "") -> None:
        if not name:
            return
        cls.name = name
        if cls.__module__.partition(".")[0] == _PACKAGE:
            OPS[name] = cls
            return
        if name in OPS or not _is_name(name):
            what = "is an op of staticnet" if name in OPS else "must be letters, digits and _"
            raise ArgumentError(f"op {name!r:.60}: the name {what}; choose another")
        cls.where = vars(cls).get("where") or user_line()
        declare(cls)
        cls.on_host = not (cls.scalar or cls.moves)
        cls.may_fail = cls.may_fail or cls.on_host

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, attribute in _attributes_of(cls):
            value = getattr(self, name)
            if not attribute.check(value):
                place = f" ({user_line()})" if self.where else ""
                raise ArgumentError(
                    f"{self.name}: {name} must be {attribute.what}, not {value!r:.60}{place}"
                )

    def __reduce__(self) -> Any:
        cls: Any = type(self)
        texts = {n: a.format(getattr(self, n)) for n, a in _attributes_of(cls)}
        return parse_op, (label_of(cls), texts)

    def infer(self, *args: Any, **kwargs: Any) -> TensorType:
        """The result's type from the operands' types; raises ShapeError or DTypeError."""
        raise NotImplementedError(f"{self.name}.infer")

    def eval(self, *args: Any, **kwargs: Any) -> Any:
        """The result from the array module `xp` and the operands' arrays."""
        raise NotImplementedError(f"{self.name}.eval")

    def vjp(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """From (y, g, *operands): for each operand the product of g with dy/doperand, or None.

        Raises:
            GradientError: if the class has no such rule.
        """
        where = f" ({self.where})" if self.where else ""
        raise GradientError(
            f"{self.name}{where} has no vjp: give it one, or differentiable=False ({current()})"
        )

    def vjp_for(self, asked: Sequence[bool], *args: Any) -> Sequence[Any]:
        """`vjp` for the operands that are asked for; what it gives for others is not used.

        Of an op that holds graphs the others need not have a derivative.
        """
        return self.vjp(*args)

    def jvp(self, *args: Any, **kwargs: Any) -> Any:
        """From (y, operands, tangents): y's tangent; NotImplemented derives it from `vjp`."""
        return NotImplemented

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        """The result for each of `size` examples, along its first axis.

        So have the operands that are `batched`, at least one; the others are every example's. Of
        several results it gives a sequence.
        """
        raise NotImplementedError(f"{self.name}.batch")

    def run(self, *operands: Any) -> list[Any]:
        """Of an op that holds graphs: its results on tensors of dynamic execution."""
        raise NotImplementedError(f"{self.name}.run")

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        """Floating-point operations; an elementwise function of any kind counts as one."""
        return 0

    def attributes(self) -> dict[str, Any]:
        """The fields by name."""
        cls: Any = type(self)
        return {name: getattr(self, name) for name in _fields_of(cls)}

    @property
    def graphs(self) -> dict[str, Graph]:
        """The attributes that are graphs."""
        cls: Any = type(self)
        return {name: getattr(self, name) for name in _graphs_of(cls)}

    def with_graphs(self, change: Callable[[Graph], Graph]) -> Op:
        """The op with its graphs changed; itself where none is."""
        held = self.graphs
        new: dict[str, Any] = {name: change(graph) for name, graph in held.items()}
        return self if all(new[name] is held[name] for name in held) else replace(self, **new)

    def source(self, index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
        """Of a movement op: the operand's element that the result has at `index`."""
        raise NotImplementedError(f"{self.name}.source")

    def substitute(self, values: dict[str, int]) -> Op:
        """The op with symbolic dims in its attributes replaced by numbers."""
        shapes = {k: v for k, v in self.attributes().items() if _is_symbolic_shape(v)}
        new = {k: tuple(substitute(d, values) for d in v) for k, v in shapes.items()}
        op = type(self)(**(self.attributes() | new)) if new else self
        return op.with_graphs(lambda graph: graph.substitute(values))

    def __str__(self) -> str:
        return f"{label_of(type(self))}({format_attributes(self)})"


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier()


def _is_symbolic_shape(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(entry, Dim) for entry in value)


class Attribute(NamedTuple):
    """How attributes of one annotation are checked, described, printed and read."""

    check: Callable[[Any], bool]
    what: str
    format: Callable[[Any], str]
    parse: Callable[[str], Any]


def _is_int(value: Any) -> bool:
    return type(value) is int and -MAX_BYTES <= value <= MAX_BYTES


def _is_shape(value: Any) -> bool:
    return type(value) is tuple and all(
        isinstance(d, Dim) or (_is_int(d) and d >= 0) for d in value
    )


def _parse_axes(text: str) -> Axes:
    return tuple(int(word) for word in text.strip("()").split(",") if word.strip())


def _parse_shape(text: str) -> Shape:
    return tuple(parse_dim(word) for word in text.strip("[]").split(",") if word)


def _parse_bool(text: str) -> bool:
    if text not in ("True", "False"):
        raise ParseError(f"expected True or False, got {text!r}")
    return text == "True"


ATTRIBUTES = {
    "int": Attribute(_is_int, "an int", str, int),
    "bool": Attribute(lambda v: type(v) is bool, "True or False", str, _parse_bool),
    "str": Attribute(lambda v: type(v) is str, "a string", json.dumps, json.loads),
    "DType": Attribute(
        lambda v: any(v is d for d in DTYPES.values()), "a dtype", short_name, as_dtype
    ),
    "Shape": Attribute(_is_shape, "a tuple of dims", format_shape, _parse_shape),
    "Axes": Attribute(
        lambda v: type(v) is tuple and all(map(_is_int, v)), "a tuple of ints", str, _parse_axes
    ),
    "Literal": Attribute(lambda v: isinstance(v, Literal), "a literal", str, parse_literal),
}  # `ir.text`, which reads graphs, adds "Graph"


TYPES = {
    int: "int", bool: "bool", str: "str", np.dtype: "DType", DType: "DType", Shape: "Shape",
    Axes: "Axes", Literal: "Literal",
}  # fmt: skip
SPELLINGS = {  # in files with `from __future__ import annotations`
    "np.dtype": "DType", "numpy.dtype": "DType", "tuple[int, ...]": "Axes",
}  # fmt: skip


def attribute_of(annotation: Any, what: str) -> Attribute:
    """The kind of an attribute, from its annotation, a type or its name.

    Raises:
        ArgumentError: if no attribute is of that type.
    """
    if isinstance(annotation, str):
        spelling = annotation.removesuffix("[Any]")
        name = SPELLINGS.get(spelling) or spelling.rpartition(".")[2]
    else:
        name = TYPES.get(np.dtype if get_origin(annotation) is np.dtype else annotation, "")
    found = ATTRIBUTES.get(name)
    if found is None:
        shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        raise ArgumentError(
            f"{what} is annotated {shown or repr(annotation):.60}; an attribute is int, bool, str, "
            "np.dtype or tuple[int, ...]. Numbers with a point are operands"
        )
    return found


@cache
def _attributes_of(cls: Any) -> tuple[tuple[str, Attribute], ...]:
    return tuple((f.name, attribute_of(f.type, f"{cls.name}: {f.name}")) for f in fields(cls))


@cache
def _fields_of(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


@cache
def _required_of(cls: Any) -> frozenset[str]:
    """The attributes that have no default."""
    return frozenset(field.name for field in fields(cls) if field.default is MISSING)


@cache
def _graphs_of(cls: Any) -> tuple[str, ...]:
    return tuple(
        field.name
        for field in fields(cls)
        if attribute_of(field.type, field.name) is ATTRIBUTES["Graph"]
    )


def format_attributes(op: Op) -> str:
    """`axes=(0,), keepdims=False`."""
    cls: Any = type(op)
    return ", ".join(f"{n}={a.format(getattr(op, n))}" for n, a in _attributes_of(cls))


def parse_op(name: str, attributes: dict[str, str]) -> Op:
    """The op of this name with attributes given as text; those with a default may lack.

    Raises:
        ParseError: on an op that is unknown or of which there are several, an unknown attribute, or
            a value that does not parse.
    """
    cls = OPS.get(name) or find(name)
    hashable: Any = cls
    kinds = dict(_attributes_of(hashable))
    if not _required_of(hashable) <= attributes.keys() <= kinds.keys():
        raise ParseError(f"{name} takes the attributes {list(kinds)}, not {list(attributes)}")
    try:
        return cls(**{key: kinds[key].parse(text) for key, text in attributes.items()})
    except (ValueError, TypeError) as error:
        raise ParseError(f"{name}: {error}") from None


def infer(op: Op, types: Sequence[TensorType]) -> Any:
    """What an op says of its result; a user's own may fail in any way.

    Raises:
        StaticnetError: if the op does not allow these operands.
    """
    if op.where is None:
        return op.infer(*types)
    _check_fields(op)
    try:
        found = _normal(op.infer(*types))
    except StaticnetError as error:
        if not error.located:
            raise
        told = f"its infer failed: {error} (declared on {op.where})"  # of what is used inside it
        raise type(error)(told) from error
    except Exception as error:
        what = f"its infer failed: {type(error).__name__}: {error} (declared on {op.where})"
        raise ArgumentError(what) from error
    if not isinstance(found, TensorType | TupleType):
        raise ArgumentError(
            f"its infer must give a TensorType, as x.with_shape(shape), not {found!r:.60} "
            f"(declared on {op.where})"
        )
    return found


def _normal(found: Any) -> Any:
    """A type that a user's op gives, its sizes as Python's ints; anything else as it is."""
    if isinstance(found, list | tuple) and found and all(isinstance(x, TensorType) for x in found):
        found = TupleType(found)
    if isinstance(found, TupleType):
        return TupleType(map(_normal, found.types))
    return tensor_type(found.shape, found.dtype) if isinstance(found, TensorType) else found


def _check_fields(op: Op) -> None:
    """Raise ArgumentError if a user's op has what its class does not compare and print."""
    cls: Any = type(op)
    for name in _fields_of(cls):
        if hasattr(Op, name):
            raise ArgumentError(
                f"its attribute {name} has a name that every op has; choose another (declared on "
                f"{op.where})"
            )
    compares: Any = next(each for each in cls.__mro__ if "__eq__" in vars(each))
    by_fields = hasattr(compares, "__dataclass_fields__")
    told = _fields_of(compares) if by_fields else ()
    hidden = [name for name in vars(op) if name not in told and not hasattr(cls, name)]
    if hidden or (by_fields and told != _fields_of(cls)):
        missing = ", ".join(dict.fromkeys([*hidden, *set(_fields_of(cls)).difference(told)]))
        raise ArgumentError(
            f"its class does not tell ops apart by {missing}; declare attributes as fields, below "
            f"@dataclass(frozen=True) (declared on {op.where})"
        )


def symbols_of_op(op: Op) -> frozenset[str]:
    """The names of symbolic dims in an op's attributes."""
    found: frozenset[str] = frozenset()
    for value in op.attributes().values():
        if _is_symbolic_shape(value):
            found |= symbols_of(value)
    return found.union(*(graph.symbols for graph in op.graphs.values()))
