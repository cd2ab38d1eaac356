"""`sn.cond`: one of two graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from staticnet.control.op import ControlOp, check_operands, check_type, flops_of
from staticnet.control.trace import (
    call,
    check_functions,
    close,
    is_eager,
    leaves_of,
    numbered,
    parameters,
    place,
)
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, describe
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.base import as_value, function
from staticnet.ops.evaluate import interpret

_BOOL = TensorType(BOOL, ())


@dataclass(frozen=True)
class Cond(ControlOp, name="cond"):
    """y = then(x) if pred else other(x); only one of them runs.

    Both graphs take all operands that either needs.

    pred: bool [], x: [*s] -> (y: [*t])
    """

    then: Graph
    other: Graph

    def infer(self, *operands: TensorType) -> TensorType:
        if operands[:1] != (_BOOL,):
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
    check_functions(true_fun=true_fun, false_fun=false_fun)
    test = as_value(pred)
    if test.shape != () or test.dtype != BOOL:
        raise DTypeError(
            f"the predicate must be a bool scalar, not {describe(test)}; compare, or reduce with "
            "sn.all or sn.any"
        )
    given, tree = leaves_of("cond: operands", operands)
    if is_eager((test, *given)):
        return (true_fun if bool(test) else false_fun)(*tree.unflatten(given))
    assert isinstance(test, Node)
    own = parameters("x", (node.type for node in given))
    then, structure = call("cond", true_fun, *tree.unflatten(own))
    other, other_structure = call("cond", false_fun, *tree.unflatten(own))
    if structure != other_structure:
        raise ArgumentError(
            f"true_fun gives {structure} and false_fun {other_structure}; the two must agree"
        )
    for path, a, b in zip(structure.paths, then, other, strict=True):
        if a.type != b.type:
            differ = DTypeError if a.dtype != b.dtype else ShapeError
            raise differ(
                f"true_fun gives {describe(a)}{path} ({a.provenance}) and false_fun {describe(b)} "
                f"({b.provenance}); the two must agree: cast or reshape one"
            )
    graphs, captured = close({"then": then, "other": other}, numbered("x", own))
    return structure.unflatten(place(Cond(*graphs), (test, *given, *captured), [*then, *other]))
