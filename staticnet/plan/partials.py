"""Reductions that threads share: a long row, or few columns, is combined in blocks.

The blocks depend on the shape alone, so the bits of a result do not depend on how many threads
there are. What each block gives lies in scratch memory until all blocks are done.
"""

from __future__ import annotations

import math
from typing import Any

from staticnet.ir.dim import size_of
from staticnet.ir.types import Shape
from staticnet.ops.base import Reduction
from staticnet.plan.fusion import Group

FEW_ROWS = 4  # as many rows as this, or fewer, are shared element by element
FEW_COLUMNS = 512
BLOCK = 8192  # elements of a row that one thread combines
MAX_BLOCKS = 64  # of rows above a column
LONG_ROW = 16384  # elements from which the blocks of a GPU may share a row
SHARED_ROWS = 128  # as many rows as this, or fewer, they may share
SLOT = 8  # bytes for a partial result


def block_count(group: Group) -> int:
    """The blocks in which a group's reductions are combined; 0 if no two threads share one."""
    if group.inner:
        shape = group.domain[len(group.outer) :]
        rows, row = math.prod(group.outer), math.prod(shape)
        if rows > FEW_ROWS or row < 4 * BLOCK:
            return 0
        return math.ceil(shape[0] / _lines(shape))
    if group.columns:
        rows = math.prod(group.domain[: group.columns])
        columns = math.prod(group.domain[group.columns :])
        if columns > FEW_COLUMNS or rows * columns < 4 * BLOCK:
            return 0
        return min(MAX_BLOCKS, math.ceil(rows * columns / BLOCK), rows)
    return 0


def block_lines(group: Group) -> int:
    """How much of the first reduced axis is one block of a row."""
    return _lines(group.domain[len(group.outer) :])


def may_share_rows(group: Group) -> bool:
    """Whether on some device a row is for more threads than can wait for each other in a loop."""
    rows, row = math.prod(group.outer), math.prod(group.domain[len(group.outer) :])
    return (rows <= SHARED_ROWS and row >= LONG_ROW) or block_count(group) > 0


def partial_bytes(group: Group) -> int:
    """Bytes of partial results."""
    reductions = sum(isinstance(node.op, Reduction) for node in group.nodes)
    width = math.prod(group.domain[group.columns :]) if group.columns else 1
    return block_count(group) * reductions * width * SLOT


def most_partial_bytes(group: Group, domain: Shape) -> Any:
    """A bound of `partial_bytes` where the group's domain is symbolic."""
    count = SLOT * sum(isinstance(node.op, Reduction) for node in group.nodes)
    if group.columns:
        width = size_of(domain[group.columns :])
        few = width if isinstance(width, int) else FEW_COLUMNS
        return MAX_BLOCKS * count * few if few <= FEW_COLUMNS else 0
    if group.inner:
        outer = len(group.outer)
        rows, rest = size_of(domain[:outer]), size_of(domain[outer + 1 :])
        lines = max(1, BLOCK // max(rest, 1)) if isinstance(rest, int) else 1
        if not isinstance(rows, int) or rows <= FEW_ROWS:
            return domain[outer] * -(-count // lines) + count
    return 0


def _lines(shape: tuple[int, ...]) -> int:
    return max(1, BLOCK // math.prod(shape[1:]))
