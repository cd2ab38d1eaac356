"""Weights that the CPU packs once for many steps, and where they lie behind each other."""

from __future__ import annotations

from typing import Any

from staticnet.ir.dtype import compute_dtype
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.held import Held
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.plan.convolution import cut, geometry
from staticnet.plan.held import PANEL
from staticnet.plan.memory import ALIGNMENT, padded
from staticnet.spatial.convolution import ConvolutionOp


def held_weights(graph: Graph) -> dict[Node, int]:
    """The convolutions and products whose weights are held, and the places of these.

    Before them all lies a number that is not 0 where they are to be packed anew.
    """
    return _laid_out(graph)[0]


def held_weight_bytes(graph: Graph) -> int:
    """The bytes of all held weights and that number; 0 if there are none."""
    return _laid_out(graph)[1]


def is_held_product(node: Node) -> bool:
    """Whether it is a product of matrices whose right one is held."""
    return isinstance(node.op, Matmul | MatmulAdd) and isinstance(node.inputs[1].op, Held)


def _laid_out(graph: Graph) -> tuple[dict[Node, int], int]:
    places: dict[Node, int] = {}
    end = ALIGNMENT
    for node in graph.nodes:
        if size := _bytes(node):
            places[node] = end
            end += size
    return places, end if places else 0


def _bytes(node: Node) -> int:
    op = node.op
    if is_held_product(node):
        depth, columns = node.inputs[1].shape
        return int(padded(depth * -(-columns // PANEL) * PANEL * node.dtype.itemsize))
    if not isinstance(op, ConvolutionOp) or op.weights != "held":
        return 0
    shapes = [tuple(map(_known, x.shape)) for x in (*node.inputs, node)]
    if any(0 in shape for shape in shapes):
        return 0
    held = cut(op, geometry(op, _known(op.groups[0]), *shapes), node.dtype).held
    return int(padded(held * compute_dtype(node.dtype).itemsize))


def _known(size: Any) -> int:
    """A size; the number of examples, which alone may be symbolic, changes no weights."""
    return size if isinstance(size, int) else 1
