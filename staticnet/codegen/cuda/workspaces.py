"""What kernels and routines work in on a GPU beside values: partial results, in global memory.

Attention, statistics and pools need none: their tiles lie in registers and shared memory. But for
the gradient of attention that is given the result and makes delta of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from staticnet.attention.gradient import AttentionGradient
from staticnet.codegen.cuda import columns, rows
from staticnet.codegen.cuda.convolution import most_partial_bytes, partial_bytes
from staticnet.codegen.cuda.matrices import most_room_bytes, room_bytes
from staticnet.control.while_loop import WhileLoop
from staticnet.ir.dim import size_of
from staticnet.ir.node import Node
from staticnet.ir.types import Shape
from staticnet.ops.base import Reduction
from staticnet.ops.matrices import MatrixOp
from staticnet.ops.sorting import Argsort
from staticnet.plan.attention import delta_bytes
from staticnet.plan.fusion import Group
from staticnet.plan.memory import ALIGNMENT, padded
from staticnet.plan.partials import SLOT
from staticnet.plan.scratch import Workspaces
from staticnet.spatial.convolution import ConvolutionOp
from staticnet.spatial.epilogue import ConvolutionEpilogue


def kernel_bytes(group: Group) -> int:
    """Bytes of what blocks that share rows or columns leave for each other."""
    outer = len(group.outer)
    cut = outer if group.inner else group.columns
    first, second = math.prod(group.domain[:cut]), math.prod(group.domain[cut:])
    if group.inner:
        results, parts = first, rows.chunks_of(first, second)
    elif group.columns:
        results, parts = second, columns.chunks_of(second, first)
    else:
        return 0
    return int(padded(results * parts * _reductions(group) * SLOT)) if parts > 1 else 0


def most_kernel_bytes(group: Group, domain: Shape) -> int:
    """A bound of `kernel_bytes` over all sizes of a domain."""
    if group.inner:
        return int(padded(rows.WANTED_BLOCKS * _reductions(group) * SLOT))
    if group.columns:
        results = columns.WANTED_BLOCKS * columns.TILE
        return int(padded(results * _reductions(group) * SLOT))
    return 0


def _reductions(group: Group) -> int:
    return sum(isinstance(node.op, Reduction) for node in group.nodes)


def routine_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """Bytes that a routine works in; `size` gives a dim's."""
    op = node.op
    if isinstance(op, ConvolutionOp | ConvolutionEpilogue):
        return int(padded(partial_bytes(node, size)))
    if isinstance(op, MatrixOp):
        return int(padded(room_bytes(node, size)))
    if isinstance(op, AttentionGradient):
        return int(delta_bytes(node, size))
    if isinstance(op, Argsort):
        shape = [size(dim) for dim in node.inputs[0].shape]
        halves = 2 * math.prod(shape) * node.dtype.itemsize
        return int(padded(halves)) if shape[op.axis] > 1 else 0
    return ALIGNMENT if isinstance(op, WhileLoop) else 0  # for whether it goes on


def most_routine_bytes(node: Node) -> Any:
    """A bound of `routine_bytes` where dims are symbolic."""
    op = node.op
    if isinstance(op, ConvolutionOp | ConvolutionEpilogue):
        return most_partial_bytes(node)
    if isinstance(op, MatrixOp):
        return padded(most_room_bytes(node))
    if isinstance(op, AttentionGradient):
        return delta_bytes(node, lambda dim: dim)
    if isinstance(op, Argsort):
        return padded(2 * size_of(node.inputs[0].shape) * node.dtype.itemsize)
    return ALIGNMENT if isinstance(op, WhileLoop) else 0


ON_DEVICE = Workspaces(kernel_bytes, most_kernel_bytes, routine_bytes, most_routine_bytes)
