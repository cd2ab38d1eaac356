"""A function called on placeholders, and what it gives made again of its arguments.

So a derivative is by the arguments alone, whatever else they are used for, and the arguments may be
nodes, arrays, or tensors of dynamic execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.autodiff.reverse import as_nodes
from staticnet.control.trace import call, is_eager, leaves_of, parameters
from staticnet.errors import ArgumentError, GradientError, OutOfRangeError, StaticnetError
from staticnet.ir import location, modes
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, newer, topological, with_context
from staticnet.ir.op import Op
from staticnet.ir.tree import Tree, flatten
from staticnet.ir.types import TensorType
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_tuple, normalize_axis
from staticnet.ops.base import Item, apply, as_values
from staticnet.ops.with_update import WithUpdate, with_update


def substitute(outputs: Sequence[Node], values: Mapping[Node, Value]) -> list[Value]:
    """The outputs with some nodes replaced by values of their types.

    A new node has the lines, the name and the modes of the one that it is for.
    """
    known: dict[Node, Any] = dict(values)
    written: set[tuple[Node, ...]] = set()
    saved = location.attribution()
    try:
        for node in topological(outputs, newer(known)):
            if node in known or not any(operand in known for operand in node.inputs):
                continue
            location.set_attribution(node.provenance)
            operands = [known.get(operand, operand) for operand in node.inputs]
            if isinstance(node.op, WithUpdate) and is_eager(operands[:1]):
                once = node.inputs[1:]  # it stands on a value and on its gradient, and is one
                known[node] = operands[0] if once in written else with_update(*operands)
                written.add(once)
                continue
            known[node] = new = _applied(node.op, operands)
            modes.stand_for(new, node)
    finally:
        location.set_attribution(saved)
    found = [known.get(node, node) for node in outputs]
    return lifted(found, values.values())


def lifted(values: Sequence[Any], beside: Iterable[Any]) -> list[Any]:
    """The values as tensors of dynamic execution, if there is one beside them."""
    tensor = next((x for x in beside if is_eager([x])), None)
    return list(values) if tensor is None else [tensor.lift(x) for x in values]


def _applied(op: Op, operands: Sequence[Any]) -> Any:
    """The value of an op; of several results on tensors a list of them."""
    if isinstance(op, Item) and isinstance(operands[0], list):
        return operands[0][op.index]
    if isinstance(op, WithUpdate):
        return with_update(*operands)
    if op.graphs and is_eager(operands):
        return op.run(*as_values(*operands))
    return apply(op, *operands)


def evaluated(graph: Graph, operands: Sequence[Any]) -> list[Any]:
    """The outputs of a graph, of values of whatever kind."""
    return substitute(graph.outputs, dict(zip(graph.inputs, operands, strict=True)))


@dataclass(frozen=True)
class Traced:
    """What a function gives for placeholders in the place of some arguments.

    `given` are the leaves of those arguments, `trees` their structures, and `stand_ins` the
    placeholders; `single` says that one argument was named, and not several. `results` are the
    leaves of what the function gives, of structure `structure`.
    """

    given: list[Any]
    trees: list[Tree]
    single: bool
    stand_ins: list[Node]
    results: list[Node]
    structure: Tree

    @classmethod
    def of(
        cls, what: str, f: Callable[..., Any], argnums: Any, args: Any, kwargs: Any = None
    ) -> Traced:
        """The function called once.

        Raises:
            ArgumentError, OutOfRangeError: if `argnums` names no argument.
        """
        try:
            numbers = [_number(n, len(args)) for n in as_tuple(argnums)]
        except StaticnetError as error:
            raise with_context(error, what, []) from error.__cause__
        parts = [leaves_of(f"{what}: argument {n}", args[n]) for n in numbers]
        given = [leaf for leaves, _ in parts for leaf in leaves]
        stand_ins = parameters(what, (TensorType(x.dtype, x.shape) for x in given))
        for x, stand_in in zip(given, stand_ins, strict=True):
            stand_in.name = getattr(x, "name", "") or stand_in.name
        trees = [tree for _, tree in parts]
        own = list(args)
        for n, value in zip(numbers, _cut(stand_ins, trees), strict=True):
            own[n] = value
        body = guarded(f"{what}: f", f)
        results, structure = call(what, lambda: body(*own, **(kwargs or {})))
        single = not isinstance(argnums, tuple | list)
        return cls(given, trees, single, stand_ins, results, structure)

    def some(self, what: str) -> list[Node]:
        """The results; raises ArgumentError if there is none."""
        if not self.results:
            raise ArgumentError(
                f"{what}: the function gives {self.structure}, and no value to differentiate "
                f"({location.user_line()})"
            )
        return self.results

    def made(self, nodes: Sequence[Node]) -> list[Value]:
        """Nodes on the placeholders, as values of the arguments."""
        return substitute(nodes, dict(zip(self.stand_ins, self.given, strict=True)))

    def by_argument(self, leaves: Sequence[Any]) -> Any:
        """Values, one for each leaf of the arguments, in their structures."""
        values = _cut(leaves, self.trees)
        return values[0] if self.single else tuple(values)


def _number(argnum: Any, count: int) -> int:
    """The number of an argument, from the front; raises OutOfRangeError if there is none."""
    try:
        return normalize_axis(argnum, count, "argnums")
    except OutOfRangeError:
        raise OutOfRangeError(
            f"argnums names argument {argnum}, and the function is called with {count} by position"
        ) from None


def _cut(leaves: Sequence[Any], trees: Sequence[Tree]) -> list[Any]:
    rest = iter(leaves)
    return [tree.unflatten([next(rest) for _ in range(tree.leaves)]) for tree in trees]


def nodes_of(what: str, tree: Any) -> tuple[list[Node], Tree]:
    """The leaves of a tree of floating-point nodes.

    Raises:
        GradientError: if there are none, or one is no node.
        DTypeError: if one is not floating-point.
    """
    if tree is None:
        raise GradientError(
            f"{what}: by what? wrt names nodes, as in sn.{what}(y, [w]) ({location.user_line()})"
        )
    leaves, structure = flatten(tree)
    if not leaves or not all(isinstance(leaf, Node) for leaf in leaves):
        raise GradientError(
            f"{what}: expected graph nodes, got {tree!r:.60} ({location.user_line()}); of arrays "
            f"and tensors give a function, as in sn.{what}(f)(x)"
        )
    return as_nodes(leaves, what), structure
