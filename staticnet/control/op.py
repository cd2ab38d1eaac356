"""What is the same for all ops that hold graphs."""

from __future__ import annotations

from collections.abc import Sequence

from staticnet.errors import DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL
from staticnet.ir.graph import Graph
from staticnet.ir.types import TensorType
from staticnet.ops.base import TensorOp
from staticnet.ops.own_rules import flops_of_node

PREDICATE = TensorType(BOOL, ())


class ControlOp(TensorOp):
    """An op that runs graphs, which are its attributes, on its operands."""

    arity = None
    widens = False

    @property
    def may_fail(self) -> bool:  # type: ignore[override]
        """Whether an op of its graphs can meet a wrong value."""
        return any(node.op.may_fail for held in self.graphs.values() for node in held.nodes)


def flops_of(graph: Graph) -> int | Dim:
    """Floating-point operations of one run of a graph."""
    total: int | Dim = 0
    for node in graph.nodes:
        total = total + flops_of_node(node)
    return total


def check_operands(graph: Graph, types: Sequence[TensorType]) -> None:
    """Raise ShapeError or DTypeError unless a graph takes operands of these types."""
    if len(types) != len(graph.inputs):
        raise ShapeError(f"{graph.name} takes {len(graph.inputs)} operands, not {len(types)}")
    for node, type_ in zip(graph.inputs, types, strict=True):
        check_type(f"{graph.name} takes %{node.name}", node.type, type_)


def check_type(what: str, wanted: TensorType, given: TensorType) -> None:
    """Raise ShapeError or DTypeError unless two types are one; says which two."""
    if wanted != given:
        differ = DTypeError if wanted.dtype != given.dtype else ShapeError
        raise differ(f"{what}: {wanted}, not {given}")
