"""`Node(op, inputs, type)`: immutable and hash-consed, so equal expressions are one object."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from staticnet.errors import ArgumentError, StaticnetError
from staticnet.ir import location
from staticnet.ir.dtype import DType
from staticnet.ir.formula import formula, latex
from staticnet.ir.location import Provenance
from staticnet.ir.op import Op, infer
from staticnet.ir.types import Shape, TensorType, TupleType, format_shape
from staticnet.ir.value import Value

SHOWN = 8  # operands that an error tells; there may be thousands


class Node(Value):
    """One value of a graph: an op applied to nodes, with its inferred type.

    `name` (for reading) and `provenance` (lines, modules and maker) lie beside the
    identity: they are not part of what makes two nodes the same. `number` counts nodes as they are
    made, so operands have lower ones; `is_constant` says that no placeholder and no variable is
    among what it is made of.
    """

    __slots__ = (
        "__weakref__",
        "inputs",
        "is_constant",
        "name",
        "number",
        "op",
        "provenance",
        "type",
    )
    op: Op
    inputs: tuple[Node, ...]
    type: TensorType
    name: str
    provenance: Provenance
    number: int
    is_constant: bool

    def __init__(self, op: Op, inputs: tuple[Node, ...], type: TensorType) -> None:
        self.op = op
        self.inputs = inputs
        self.type = type
        self.name = getattr(op, "label", "")
        self.provenance = location.current()
        self.number = next(_numbers)
        self.is_constant = not op.is_input and all([x.is_constant for x in inputs])

    @classmethod
    def apply(cls, op: Op, operands: Sequence[Any]) -> Node:
        """The node of `op` on operands that are nodes already."""
        return build(op, tuple(operands))

    @property
    def shape(self) -> Shape:
        """The dims, each an int or a `Dim`."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"{formula(self)}: {self.type}"

    def _repr_latex_(self) -> str:
        return f"${latex(self)}$"

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        """The same expression of copies of its variables."""
        return remake([(copy.deepcopy(x, memo), at) for x, at in recipe(self)])

    def __reduce__(self) -> Any:
        raise ArgumentError("a node does not pickle; print its graph and read it with sn.parse")


_table: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()
_lock = threading.Lock()
_numbers = itertools.count()


class _Births(threading.local):
    """The nodes that this thread has asked for since `births` began; None where nobody asks."""

    nodes: set[Node] | None = None


_births = _Births()


@contextmanager
def births() -> Iterator[set[Node]]:
    """The nodes that are asked for inside, were they there before or not."""
    saved = _births.nodes
    made: set[Node] = set()
    _births.nodes = made
    try:
        yield made
    finally:
        _births.nodes = saved
        if saved is not None:
            saved |= made


def build(op: Op, inputs: tuple[Node, ...], given: Sequence[Any] = ()) -> Node:
    """The one node of `op` on `inputs`; infers its type when it is new.

    `given` are the operands as the user wrote them, for error messages.

    Raises:
        ShapeError, DTypeError, ArgumentError: naming op, operands and the user's line.
    """
    key = (op.name, op, *map(id, inputs))
    found = _table.get(key)
    if found is not None:
        if not location.is_attributed():
            remember(found, location.current())
        if _births.nodes is not None:
            _births.nodes.add(found)
        return found
    try:
        if op.arity not in (None, len(inputs)):
            raise ArgumentError(f"takes {op.arity} operands, not {len(inputs)}")
        type_ = infer(op, [node.type for node in inputs])
    except StaticnetError as error:
        raise with_context(error, op.name, given or inputs) from error.__cause__
    with _lock:
        node = _table.setdefault(key, node_class(op)(op, inputs, type_))
    if _births.nodes is not None:
        _births.nodes.add(node)
    return node


def node_class(op: Op) -> type[Node]:
    """The class of an op's nodes: `Node`, unless the op declares another."""
    return getattr(op, "node_class", Node)


def remember(node: Node, here: Provenance) -> None:
    """Add the lines and modules that write a node once more."""
    known = node.provenance
    if not (set(here.lines) <= set(known.lines) and set(here.modules) <= set(known.modules)):
        node.provenance = location.followed(known, here)


def modules_of(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The paths of the modules that made them, or what is in the graphs that they hold, each once.

    An item is of the modules of what it is taken from. Equal bodies of loops are one graph, whose
    nodes know the modules of all: those that are not below the loop's own are another loop's.
    """
    found: dict[str, None] = {}
    pending = list(nodes)[::-1]
    while pending:
        node = pending.pop()
        pending += [x for x in node.inputs if isinstance(x.type, TupleType)]
        own = node.provenance.modules
        found |= dict.fromkeys(own)
        for graph in node.op.graphs.values():
            inner = modules_of(x for x in graph.nodes if x.inputs)  # a constant is everyone's
            found |= dict.fromkeys(within(inner, own))
    return tuple(found)


def within(inner: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """The modules in a loop's body that are below the loop's own, which it is of if none is."""
    if not own:
        return inner
    below = [p for p in inner if any(f"{p}.".startswith(f"{module}.") for module in own)]
    return tuple(below) or own


def describe(value: Any) -> str:
    """`x f32[batch,3]`: a value as error messages name it."""
    if isinstance(value, Node):
        return f"{value.name or value.op.name} {value.type}"
    if isinstance(value, Value) and not value.is_symbolic:
        return f"a tensor {TensorType(value.dtype, value.shape)}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array {value.dtype}{format_shape(value.shape)}"
    return repr(value)[:40]


def failure(node: Node, what: str = "") -> str:
    """The text of a node's failure while it runs: the op, what is wrong, operands and lines."""
    what = what or node.op.problem
    meant = f"; {node.op.failure}" if node.op.failure else ""
    return f"{node.op.name}: {what}: {_shown(node.inputs)} ({node.provenance.user}){meant}"


def with_context(error: StaticnetError, what: str, operands: Iterable[Any]) -> StaticnetError:
    """The error as a user should read it: the op, what is wrong, the operands and the line.

    Of an error that has these already, the op becomes `what` and that op, if the user's line called
    `what`, which called it: `softmax: max: axis 7 is out of range …`.
    """
    line, operands = str(location.current()), list(operands)
    if error.located and error.line != line:
        return error  # of a function that `what` was given, or of another stage
    told = error.told or str(error)
    told = told if told.startswith(f"{what}: ") else f"{what}: {told}"
    shown = _shown(operands) if operands else error.operands
    located = type(error)(f"{told}{': ' + shown if shown else ''} ({line})")
    located.located, located.line = True, line
    located.told, located.operands = error.told or told, shown
    return located


def values_in(args: Iterable[Any]) -> list[Value]:
    """The values among arguments, and in lists and tuples of them."""
    flat = (x for a in args for x in (a if isinstance(a, list | tuple) else (a,)))
    return [x for x in flat if isinstance(x, Value)]


def _shown(operands: Sequence[Any]) -> str:
    left_out = len(operands) - SHOWN
    named = " with ".join(describe(operand) for operand in operands[:SHOWN])
    return f"{named} and {left_out} more" if left_out > 0 else named


def recipe(node: Node) -> list[tuple[Op | Node, tuple[int, ...]]]:
    """How a node is made: for each that it needs its op, or itself where it is told apart by more.

    With each come the places of its operands; the node is the last.
    """
    place: dict[Node, int] = {}
    made: list[tuple[Op | Node, tuple[int, ...]]] = []
    for each in topological([node]):
        place[each] = len(made)
        stands_alone = type(each) is not Node
        made.append((each if stands_alone else each.op, tuple(place[i] for i in each.inputs)))
    return made


def remake(steps: Iterable[tuple[Op | Node, tuple[int, ...]]]) -> Node:
    """The node that `recipe` told of."""
    made: list[Node] = []
    for what, at in steps:
        made.append(what if isinstance(what, Node) else build(what, tuple(made[i] for i in at)))
    return made[-1]


def topological(roots: Iterable[Node], enters: Callable[[Node], bool] | None = None) -> list[Node]:
    """Every node that the roots need, operands first, in a fixed order.

    Of a node that it does not enter, what that needs is left out.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack = list(roots)[::-1]
    while stack:
        node = stack[-1]
        is_end = node in seen or (enters is not None and not enters(node))
        pending = () if is_end else [i for i in node.inputs if i not in seen]
        if pending:
            stack.extend(reversed(pending))
            continue
        stack.pop()
        if node not in seen:
            seen.add(node)
            order.append(node)
    return order


def newer(given: Iterable[Node]) -> Callable[[Node], bool]:
    """Whether a node was made after one of the given ones; only then may it depend on them."""
    oldest = min((node.number for node in given), default=None)
    return lambda node: oldest is not None and node.number > oldest


def dependents(order: Iterable[Node], given: Iterable[Node]) -> set[Node]:
    """The given nodes, and of `order`, operands first, those that depend on one of them."""
    found = set(given)
    for node in order:
        if not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def depends(roots: Iterable[Node], given: Node) -> bool:
    """Whether a root needs the given node, or is it."""
    return given in set(topological(roots, newer([given])))
