"""What products that become one have side by side: weights, and what reads a part of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.op import Attention
from staticnet.ir.dtype import DType
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.base import Elementwise, Reduction
from staticnet.ops.float8 import Float8Matmul
from staticnet.ops.library import MatmulEpilogue
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import Concat, PermuteDims, concat, matrix_transpose
from staticnet.ops.selection import Cast, astype
from staticnet.ops.shape import reshape
from staticnet.ops.state import VariableOp

OFFER = "grouped"  # of a backend's `epilogues`
LEAST_BYTES = 1 << 20  # that are not moved, below which a step is left as it is
TURN = PermuteDims((1, 0))
PRODUCTS = (Matmul, MatmulEpilogue, Float8Matmul)
_READERS = (Elementwise, Reduction, Concat, Attention, AttentionGradient, Matmul, MatmulEpilogue)
Users = Mapping[Node, Sequence[Node]]


class Weight(NamedTuple):
    """A matrix that a variable is, in a product's dtype, or its transpose if it is `turned`."""

    variable: Node
    dtype: DType
    turned: bool


def weight_of(operand: Node) -> Weight | None:
    """The weight that a product's operand is; None if it is none."""
    turned = operand.op == TURN
    below = operand.inputs[0] if turned else operand
    variable = below.inputs[0] if isinstance(below.op, Cast) else below
    known = isinstance(variable.type.size, int) and variable.ndim == 2
    if not isinstance(variable.op, VariableOp) or not known:
        return None
    return Weight(variable, below.dtype, turned)


def joined(weights: Sequence[Weight], variables: Sequence[Any], axis: int) -> Any:
    """The operands side by side along an axis, as a copy puts them.

    That along columns is another copy than along rows: so neither lies in memory from a product to
    that of its gradient.
    """
    dtype, turned = weights[0].dtype, weights[0].turned
    own = 1 - axis if turned else axis  # of the variables
    shapes = [(-1,) if own == 0 else x.shape for x in variables]
    shapes = [shape if axis else (1, *shape) for shape in shapes]
    lines = [astype(reshape(x, s), dtype) for x, s in zip(variables, shapes, strict=True)]
    rows, length = variables[0].shape
    whole = reshape(concat(lines, -1), (-1, length) if own == 0 else (rows, -1))
    return matrix_transpose(whole) if turned else whole


def columns(x: Any, start: Any, count: Any) -> Any:
    """x: [..., n] -> columns from `start` on: [..., count]"""
    return x[..., start : start + count]


def nbytes(x: Node) -> int:
    """Bytes of a node whose sizes are known; else 0, for which nothing pays."""
    size = x.type.size
    return size * x.dtype.itemsize if isinstance(size, int) else 0


def pays(saved: int, weights: Sequence[Weight]) -> bool:
    """Whether it saves more bytes than weights have that are read and written to be together."""
    copied = sum(2 * int(w.variable.type.size) * w.dtype.itemsize for w in weights)
    return len(weights) > 1 and saved - copied >= LEAST_BYTES


def users_of(graph: Graph) -> dict[Node, list[Node]]:
    """Who reads each node, once each."""
    users: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for operand in dict.fromkeys(node.inputs):
            users.setdefault(operand, []).append(node)
    return users


def reads_columns(node: Node, users: Users, roots: set[Node]) -> bool:
    """Whether all that reads a node could as well read it from columns of another one."""
    for user in users.get(node, ()):
        if user.op.moves:
            if user in roots or not reads_columns(user, users, roots):
                return False
        elif not isinstance(user.op, _READERS):
            return False
    return True
