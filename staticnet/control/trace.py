"""From a Python function to a graph: it is called once, on placeholders, and its result closed.

What depends on the placeholders is the graph. Of what does not, numbers are written into it and
the rest, which is the same each time the graph runs, is handed to it: *captured*. Views are not
worth keeping, so they are made inside, of what is captured below them.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from staticnet.errors import ArgumentError, MixedValueError, StaticnetError
from staticnet.ir import location, modes
from staticnet.ir.graph import Graph
from staticnet.ir.location import written_at
from staticnet.ir.node import (
    Node,
    build,
    dependents,
    describe,
    newer,
    remember,
    topological,
    with_context,
)
from staticnet.ir.op import Op
from staticnet.ir.tree import Tree, flatten
from staticnet.ir.types import TensorType
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.base import as_value, items
from staticnet.ops.evaluate import interpret
from staticnet.ops.state import Placeholder
from staticnet.ops.with_update import REMEDY, WithUpdate

_numbers = itertools.count()


def parameter(label: str, type_: TensorType) -> Node:
    """The placeholder of a name."""
    return build(Placeholder(label, type_.dtype, type_.shape), ())


def parameters(what: str, types: Iterable[TensorType]) -> list[Node]:
    """For each type a placeholder that no other is, to stand for a value while tracing."""
    return [parameter(f"{what}.{next(_numbers)}", type_) for type_ in types]


def flattened(what: str, tree: Any) -> tuple[list[Any], Tree]:
    """The leaves of a user's tree and its structure; the error of one says what it is."""
    try:
        return flatten(tree)
    except ArgumentError as error:
        raise with_context(error, what, []) from error.__cause__


def leaves_of(what: str, tree: Any) -> tuple[list[Any], Tree]:
    """The leaves of a tree, as Values.

    Raises:
        ArgumentError: if one is neither a value nor what becomes a constant.
    """
    leaves, structure = flattened(what, tree)
    return [_as_leaf(what, leaf) for leaf in leaves], structure


def _as_leaf(what: str, leaf: Any) -> Value:
    try:
        return as_value(leaf)
    except (StaticnetError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{what}: {leaf!r:.60} is neither a value nor a number ({location.user_line()}); trees "
            "hold tuples, lists, dicts, None, nodes, arrays and numbers"
        ) from error


def is_eager(leaves: Iterable[Any]) -> bool:
    """Whether some leaf is a tensor of dynamic execution, where functions just run."""
    return any(isinstance(leaf, Value) and not leaf.is_symbolic for leaf in leaves)


class Eager:
    """How dynamic execution makes tensors of arrays; it sets `tensor` when it is imported."""

    tensor: Callable[[Any], Any] = staticmethod(lambda x: x)


def tensors_of(leaves: Iterable[Any]) -> list[Any]:
    """Leaves for a function that turned out to compute on tensors; numbers stay weak.

    Raises:
        MixedValueError: if one depends on a placeholder.
    """
    found = []
    for leaf in leaves:
        if isinstance(leaf, Node):
            if not leaf.is_constant:
                raise MixedValueError(
                    f"{describe(leaf)} ({leaf.provenance}) has no value until a function runs, and "
                    "cannot meet the tensors that the function uses"
                )
            leaf = interpret(Graph("value", [], [leaf]), [])[0]
        found.append(Eager.tensor(leaf) if getattr(leaf, "ndim", 0) else leaf)
    return found


def close(
    outputs: Mapping[str, Sequence[Node]],
    own: Mapping[Node, str],
    inside: Collection[Node] = (),
    lazy: bool = False,
) -> tuple[list[Graph], list[Node]]:
    """Graphs of the names given, which take the parameters `own`, and what they capture.

    `own` gives parameters their names in the graphs. All graphs take them, and after them all that
    is captured by one, so equal computations are equal graphs. Of what was made `inside` the
    functions nothing that may fail is captured, and nothing at all if they are `lazy`: a graph that
    does not run computes nothing.
    """
    roots = [node for nodes in outputs.values() for node in nodes]
    closing = _Closing(own, _traced([*own, *roots], own, inside), inside, lazy)
    for node in closing.needed(roots):
        closing.make(node)
    new = closing.made
    inputs = [*(new[node] for node in own), *(new[node] for node in closing.captured)]
    graphs = [Graph(name, inputs, [new[x] for x in nodes]) for name, nodes in outputs.items()]
    return graphs, closing.captured


def _traced(roots: Iterable[Node], own: Iterable[Node], inside: Collection[Node]) -> list[Node]:
    """What a function made, operands first; of the rest the first nodes alone that it can take."""
    is_newer = newer(own)

    def enters(node: Node) -> bool:
        return is_newer(node) or node in inside or node.is_constant or node.op.moves

    return topological(roots, enters)


class _Closing:
    """Makes the nodes of closed graphs, operands first."""

    def __init__(
        self, own: Mapping[Node, str], order: Sequence[Node], inside: Collection[Node], lazy: bool
    ) -> None:
        self.own = own
        self.order = order
        self.captured: list[Node] = []
        self.named = sum(name.startswith("k") for name in own.values())
        self.made: dict[Node, Node] = {}
        self.handed: set[Node] = set()
        moving = dependents(order, own)
        kept = set[Node]()
        for node in order:
            if node in inside and (lazy or node.op.may_fail or not kept.isdisjoint(node.inputs)):
                kept.add(node)
            stays = node.is_constant or node.op.moves or (node in kept and node.inputs)
            if not stays and node not in moving:
                self.handed.add(node)

    def needed(self, roots: Sequence[Node]) -> list[Node]:
        """What the graphs have or are handed, operands first."""
        found = set(self.own)
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack.extend(() if node in self.handed else node.inputs)
        return [node for node in self.order if node in found]

    def make(self, node: Node) -> None:
        """Make what a node is in the graphs; its operands were made."""
        if node in self.own:
            made = parameter(self.own[node], node.type)
        elif node in self.handed:
            made = parameter(f"k{self.named + len(self.captured)}", node.type)
            self.captured.append(node)
        else:
            with location.attributed(node.provenance):
                made = build(node.op, tuple([self.made[operand] for operand in node.inputs]))
            remember(made, node.provenance)  # equal bodies of two loops are one
            made.name = made.name or node.name
        self.made[node] = made


def place(
    op: Op,
    operands: Sequence[Node],
    roots: Iterable[Node],
    own: Iterable[Node],
    inside: Collection[Node],
) -> tuple[Node, ...]:
    """The results of an op that holds graphs, made of `roots` as `close` did.

    It stands for all of that, in the modes of the modules that made it.
    """
    node = build(op, tuple(operands))
    is_newer = newer(own)
    for each in _traced(roots, own, inside):
        if isinstance(each.op, WithUpdate) and (is_newer(each) or each in inside):
            raise ArgumentError(
                f"{op.name}: the update of {describe(each.inputs[1])} ({each.provenance}) cannot "
                f"leave it; {REMEDY}"
            )
        modes.carry(each, node)
    return items(node)


def numbered(prefix: str, nodes: Iterable[Node]) -> dict[Node, str]:
    """Names for parameters: the prefix and a number."""
    return {node: f"{prefix}{i}" for i, node in enumerate(nodes)}


def checked(what: str, count: int, name: str, f: Any) -> Any:
    """The function that is an argument, if it takes `count` arguments; what it raises is told."""
    check_functions(count, **{name: f})
    return guarded(f"{what}: {name}", f)


def check_functions(count: int, **given: Any) -> None:
    """Raise ArgumentError unless each of the arguments is a function that takes `count` more."""
    for name, f in given.items():
        if not callable(f):
            raise ArgumentError(f"{name} must be a function of nodes, not {f!r:.60}")
        try:
            signature = inspect.signature(f)
        except (TypeError, ValueError):  # of a built-in function
            continue
        try:
            signature.bind(*range(count))
        except TypeError as error:
            place = f" ({where})" if (where := written_at(f)) else ""
            raise ArgumentError(
                f"{name}{place} is called with {count} arguments and takes {signature}: {error}"
            ) from None


def some(what: str, result: Any) -> Any:
    """What a function gives; raises ArgumentError if that is nothing, as without a `return`."""
    if result is None:
        error = ArgumentError(
            f"{what}: the function gives None; it must give values ({location.user_line()})"
        )
        error.located = True
        raise error
    return result


def call(what: str, f: Callable[..., Any], *args: Any) -> tuple[list[Node], Tree]:
    """The leaves of what a function gives for nodes, which must be nodes or numbers.

    Raises:
        ArgumentError: if one is something else; MixedValueError, if it is a tensor.
    """
    leaves, structure = leaves_of(f"{what}: what the function returns", f(*args))
    for leaf in leaves:
        if not isinstance(leaf, Node):
            raise MixedValueError(
                f"{what}: the function returns {leaf!r:.60}, a tensor of dynamic execution, for "
                "nodes of a graph"
            )
    return leaves, structure
