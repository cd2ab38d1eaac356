"""What code generation does with a node: keep it, inline it, look through it, fuse it."""

from __future__ import annotations

import enum

from staticnet.ir.index import Index, Symbol, broadcast, linear, split
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.auxiliary import AuxiliaryProduct
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import Constant, Elementwise, Reduction, Size
from staticnet.ops.creation import Iota
from staticnet.ops.float8 import Float8Matmul
from staticnet.ops.indexing import Take, TakeAlongAxis
from staticnet.ops.library import MatmulAdd, MatmulEpilogue
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import Concat, Pad
from staticnet.ops.random import RandomBits
from staticnet.ops.shape import Reshape
from staticnet.ops.state import Placeholder, VariableOp


class Role(enum.Enum):
    """How a node reaches the program."""

    LEAF = "leaf"  # it lies in memory before the run
    INLINE = "inline"  # it is written into expressions: numbers, ramps
    VIEW = "view"  # it is another node's elements at other indices
    POINT = "point"  # each element is computed from elements
    REDUCE = "reduce"  # elements along axes are combined
    LIBRARY = "library"  # a product of matrices
    OPAQUE = "opaque"  # a routine of its own, or a call of Python


# A concatenation of few parts is written into kernels, whose every element loads all of them; but
# along the last axis, where neighbours in a vector are of different parts, each would be gathered.
FEW_PARTS = 4
_POINTS = (Elementwise, Pad, Concat, Take, TakeAlongAxis, RandomBits)


def role(node: Node) -> Role:
    """The role of a node."""
    op = node.op
    if op.on_host:
        return Role.OPAQUE
    if isinstance(op, Placeholder | VariableOp):
        return Role.LEAF
    if isinstance(op, Constant):
        return Role.INLINE if op.value.type.size == 1 else Role.LEAF
    if isinstance(op, Iota | Size):
        return Role.INLINE
    if op.moves:
        return Role.VIEW
    if isinstance(op, Concat) and (len(node.inputs) > FEW_PARTS or op.axis == node.ndim - 1):
        return Role.OPAQUE
    if isinstance(op, _POINTS):
        return Role.POINT
    if isinstance(op, Reduction):
        return Role.REDUCE
    products = Matmul | MatmulAdd | MatmulEpilogue | AuxiliaryProduct | Float8Matmul
    return Role.LIBRARY if isinstance(op, products) else Role.OPAQUE


def is_join(node: Node) -> bool:
    """Whether a node, in a kernel, is a concatenation, whose parts the kernel writes in turn."""
    return isinstance(node.op, Concat) and role(node) is Role.OPAQUE


def base(node: Node) -> Node:
    """The node whose elements a chain of views shows."""
    while node.op.moves:
        (node,) = node.inputs
    return node


def is_behind_barrier(node: Node) -> bool:
    """Whether a chain of views shows a value that is to be read later, and not where it is made."""
    while node.op.moves:
        if isinstance(node.op, OptimizationBarrier):
            return True
        (node,) = node.inputs
    return False


def resolve(node: Node, index: tuple[Index, ...]) -> tuple[Node, tuple[Index, ...]]:
    """The node below a chain of views, and its element that `node` shows at `index`."""
    while node.op.moves:
        (operand,) = node.inputs
        index = node.op.source(index, fixed(operand.shape))
        node = operand
    return node, index


def place(node: Node, index: tuple[Index, ...]) -> tuple[Node, Index]:
    """The node below a chain of views, and the place in its memory that `node` shows at `index`.

    A reshape keeps places: through it they need not be taken apart and put together.
    """
    flat: Index | None = None
    while node.op.moves:
        (operand,) = node.inputs
        if isinstance(node.op, Reshape):
            flat = linear(index, fixed(node.shape)) if flat is None else flat
        else:
            index = index if flat is None else split(flat, fixed(node.shape))
            index, flat = node.op.source(index, fixed(operand.shape)), None
        node = operand
    return node, linear(index, fixed(node.shape)) if flat is None else flat


def axes_of(shape: tuple[int, ...], prefix: str = "i") -> tuple[Index, ...]:
    """One loop variable an axis."""
    return tuple(Index.of(Symbol(f"{prefix}{k}", n)) for k, n in enumerate(shape))


def shows_all_in_order(node: Node) -> bool:
    """Whether a view has its base's elements, all of them, in memory order."""
    index = axes_of(fixed(node.shape))
    below, at = place(node, index)
    if below.type.size != node.type.size or below.type.size == 0:
        return below.type.size == node.type.size
    return at == linear(index, fixed(node.shape))


def operand_index(index: tuple[Index, ...], operand: Node) -> tuple[Index, ...]:
    """The element of an elementwise op's operand that the result's element at `index` takes."""
    return broadcast(index, fixed(operand.shape))
