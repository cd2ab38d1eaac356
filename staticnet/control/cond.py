"""`sn.cond`: one of two graphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.autodiff.forward import push
from staticnet.autodiff.reverse import pull
from staticnet.control import loop_batching
from staticnet.control.cotangent import cast, wide
from staticnet.control.op import PREDICATE, ControlOp, check_operands, check_type, flops_of
from staticnet.control.parts import applied, needed
from staticnet.control.trace import (
    call,
    checked,
    close,
    is_eager,
    leaves_of,
    numbered,
    parameters,
    place,
    tensors_of,
)
from staticnet.control.traced import evaluated
from staticnet.errors import ArgumentError, DTypeError, MixedValueError, ShapeError, StaticnetError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, births, build, describe
from staticnet.ir.tree import Tree, flatten
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.base import as_value, constant, function, items
from staticnet.ops.evaluate import interpret
from staticnet.ops.promotion import is_weak


@dataclass(frozen=True)
class Cond(ControlOp, name="cond"):
    """y = then(x) if pred else other(x); only one of them runs.

    Both graphs take all operands that either needs.

    pred: bool [], x: [*s] -> (y: [*t])
    """

    then: Graph
    other: Graph

    def infer(self, *operands: TensorType) -> TensorType:
        if operands[:1] != (PREDICATE,):
            raise DTypeError("the predicate must be a bool scalar")
        types = []
        for graph in (self.then, self.other):
            check_operands(graph, operands[1:])
            types.append([node.type for node in graph.outputs])
        if len(types[0]) != len(types[1]):
            raise ArgumentError("the branches give different numbers of results")
        for i, (a, b) in enumerate(zip(*types, strict=True)):
            check_type(f"result {i} of the two branches", a, b)
        return TupleType(types[0])

    def eval(self, xp: Any, pred: Any, *operands: Any) -> Any:
        return tuple(interpret(self.then if pred else self.other, operands))

    def run(self, *operands: Any) -> list[Any]:
        pred, *given = operands
        return evaluated(self.then if bool(pred) else self.other, given)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        return self.vjp_for([True] * len(operands), y, g, *operands)

    def vjp_for(self, asked: Sequence[bool], *args: Any) -> tuple[Any, ...]:
        """A cond of the branches' cotangents, each of which computes its branch again."""
        _, g, *operands = args
        inputs = self.then.inputs
        rows = [i for i, cotangent in enumerate(g) if cotangent is not None]
        gs = parameters("cotangent", (self.then.outputs[i].type for i in rows))
        pairs = zip(inputs, asked[1:], strict=True)
        wrt = [x for x, ask in pairs if ask and is_floating(x.dtype)]

        def pulled(graph: Graph) -> list[Any]:
            outputs = applied(graph, inputs)
            found = pull([outputs[i] for i in rows], gs, wrt)
            known = dict(zip(wrt, found, strict=True))
            return [known.get(x) for x in inputs]

        given = dict(zip((*inputs, *gs), (*operands[1:], *(g[i] for i in rows)), strict=True))
        types = [wide(x.type) for x in inputs]
        return (None, *self._derived(operands[0], given, pulled, types))

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        """A cond of the branches' tangents."""
        inputs = self.then.inputs
        given = dict(zip(inputs, operands[1:], strict=True))
        moved: dict[Node, Any] = {}
        for x, tangent in zip(inputs, tangents[1:], strict=True):
            if tangent is not None:
                (moved[x],) = parameters("tangent", [x.type])
                given[moved[x]] = tangent
        types = [x.type for x in self.then.outputs]
        return self._derived(
            operands[0], given, lambda graph: push(applied(graph, inputs), moved), types
        )

    def _derived(
        self,
        pred: Node,
        given: Mapping[Node, Node],
        derive: Callable[[Graph], list[Any]],
        types: Sequence[TensorType],
    ) -> list[Node | None]:
        """What one of the branches' derivatives gives; None where both are zero.

        `given` are the operands of the placeholders that the derivatives are made from.
        """
        found = [derive(self.then), derive(self.other)]
        places = [
            i for i, pair in enumerate(zip(*found, strict=True)) if any(x is not None for x in pair)
        ]
        then, other = ([cast(nodes[i], types[i]) for i in places] for nodes in found)
        read = needed([*then, *other], given)
        own = [x for x in given if x in read]
        graphs, free = close({"then": then, "other": other}, numbered("x", own))
        parts = items(build(Cond(*graphs), (pred, *(given[x] for x in own), *free)))
        results = dict(zip(places, parts, strict=True))
        return [results.get(i) for i in range(len(types))]

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return loop_batching.cond(self, size, batched, operands)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        """Those of the first branch: which one runs, only a run knows."""
        return flops_of(self.then)


@function
def cond(
    pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any
) -> Any:
    """true_fun(*operands) if pred else false_fun(*operands); only one of them runs.

    Both functions are called once, on nodes. Operands and results are trees; the results of the
    two have one structure, and the same shapes and dtypes.

    pred: bool [], x: [*s] -> y: [*t]

    Raises:
        DTypeError: if the predicate is no bool scalar, or the branches' results differ in dtype.
        ShapeError: if they differ in shape.
        ArgumentError: if they differ in structure.
    """
    count = len(operands)
    then = checked("cond", count, "true_fun", true_fun)
    other = checked("cond", count, "false_fun", false_fun)
    return choose(pred, then, other, operands)


def choose(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    operands: Any,
    made: Collection[Node] = (),
    lazy: bool = True,
) -> Any:
    """`cond`. Of what the functions make, and of what they `made` before, see `close`."""
    test = _predicate(pred)
    given, tree = leaves_of("cond: operands", operands)
    if is_eager((test, *given)):
        (chosen,) = tensors_of([test]) if isinstance(test, Node) else (test,)
        return (true_fun if bool(chosen) else false_fun)(*tree.unflatten(given))
    assert isinstance(test, Node)
    own = parameters("x", (node.type for node in given))
    try:
        with births() as inside:
            then, structure, then_given = _branch(true_fun, tree.unflatten(own))
            other, other_structure, other_given = _branch(false_fun, tree.unflatten(own))
    except MixedValueError:
        (chosen,) = tensors_of([test])
        return (true_fun if bool(chosen) else false_fun)(*tree.unflatten(tensors_of(given)))
    if structure != other_structure:
        raise ArgumentError(
            f"true_fun gives {structure} and false_fun {other_structure}; the two must agree"
        )
    then, other = _alike(then, then_given, other), _alike(other, other_given, then)
    for path, a, b in zip(structure.paths, then, other, strict=True):
        if a.type != b.type:
            differ = DTypeError if a.dtype != b.dtype else ShapeError
            raise differ(
                f"true_fun gives {describe(a)}{path} ({a.provenance}) and false_fun {describe(b)} "
                f"({b.provenance}); the two must agree: cast or reshape one"
            )
    branches = {"then": then, "other": other}
    inside = inside.union(made)
    graphs, captured = close(branches, numbered("x", own), inside, lazy)
    operands = (test, *given, *captured)
    return structure.unflatten(place(Cond(*graphs), operands, [*then, *other], own, inside))


def _predicate(given: Any) -> Any:
    """A predicate as a value; raises DTypeError unless it is a bool scalar."""
    try:
        test = as_value(given)
        fits = test.shape == () and test.dtype == BOOL
    except StaticnetError:
        fits = False
    if not fits:
        raise DTypeError(
            f"the predicate must be a bool scalar, not {describe(given)}; compare, or reduce with "
            "sn.all or sn.any"
        )
    return test


def _branch(f: Callable[..., Any], operands: Any) -> tuple[list[Node], Tree, list[Any]]:
    """The leaves of a branch, their structure, and the leaves as the function gave them."""
    results: list[Any] = []

    def noted(*args: Any) -> Any:
        results.append(f(*args))
        return results[0]

    leaves, structure = call("cond", noted, *operands)
    return leaves, structure, flatten(results[0])[0]


def _alike(own: Sequence[Node], given: Sequence[Any], others: Sequence[Node]) -> list[Node]:
    """A branch's leaves, Python's numbers in the dtypes of the other branch's."""
    triples = zip(own, given, others, strict=True)
    return [
        constant(x, b.dtype) if is_weak(x) and a.shape == b.shape and a.dtype != b.dtype else a
        for a, x, b in triples
    ]
