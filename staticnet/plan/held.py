"""Right operands of a loop's products that stay: the CPU packs their panels once, before the loop.

A step of a recurrent network multiplies few rows by a matrix that is the same at each step. To pack
it takes as long as the product of several rows. One or two rows need no panels, but the lines of a
matrix in memory: of a small one that lies transposed they are made before the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from staticnet.control.scan import Scan
from staticnet.ir.dtype import FLOAT32
from staticnet.ir.node import Node
from staticnet.ops.held import held_right
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.plan.layouts import matrix_layout
from staticnet.plan.memory import padded

MOST_ROWS = 256  # of a product, beyond which packing takes little of its time
MOST_WORK = 1 << 30  # multiply-adds of a product that `kernels/products.h` takes itself
PANEL = 32  # columns of a panel, the last of which is filled up
FEWEST_ROWS = 3  # that panels are multiplied by
SMALL_PRODUCT = 4096  # multiply-adds below which a loop beats a call of BLAS
LEAST_LINE = 4  # columns of a line that is multiplied by vectors


class Held(NamedTuple):
    """What stays, in the memory of an operand of the loop: b: [k, n], or if `turned` its transpose.

    There it begins at `first`, and its rows, or columns if turned, lie `apart`. It is packed as
    panels, or as `lines`, which are b as it is.
    """

    place: int
    turned: bool
    depth: Any
    columns: Any
    apart: Any
    first: int = 0
    lines: bool = False

    def sized(self, rows: int, size: Callable[[Any], int] = int) -> Held:
        """The same for so many rows to be multiplied by it; `size` gives a dim's."""
        depth, columns, apart = map(size, (self.depth, self.columns, self.apart))
        lines = rows < FEWEST_ROWS
        return self._replace(depth=depth, columns=columns, apart=apart, lines=lines)


def held_operands(op: Any, size: Callable[[Any], int] = int) -> dict[Held, int]:
    """What is packed before a loop, and where behind each other; `size` gives a dim's."""
    offsets: dict[Held, int] = {}
    at = 0
    for rows, held in _candidates(op):
        known = held.sized(size(rows), size)
        if known in offsets or not _is_worth(size(rows), known):
            continue
        offsets[known] = at
        at += int(padded(_elements(known) * FLOAT32.itemsize))
    return offsets


def held_bytes(op: Any, size: Callable[[Any], int] = int) -> int:
    """Bytes of all panels."""
    packed = held_operands(op, size)
    return sum(int(padded(_elements(held) * FLOAT32.itemsize)) for held in packed)


def most_held_bytes(op: Any) -> Any:
    """A bound of `held_bytes` where dims are symbolic."""
    total: Any = 0
    counted = set[Held]()
    for rows, held in _candidates(op):
        is_known = isinstance(rows, int)
        held = held._replace(lines=is_known and rows < FEWEST_ROWS)
        elements = held.depth * (held.columns + PANEL)
        if isinstance(held.depth, int) and isinstance(held.columns, int):
            if is_known and not _is_worth(rows, held):
                continue
            elements = _elements(held)
        if held not in counted:
            counted.add(held)
            total = total + padded(elements * FLOAT32.itemsize)
    return total


def _candidates(op: Any) -> Iterator[tuple[Any, Held]]:
    """The products of a loop with what stays: their rows, and that."""
    if not isinstance(op, Scan) or op.length == (1,):
        return
    inputs, first = op.body.inputs, op.carries + op.xs
    stays = {x: first + i for i, x in enumerate(inputs[first:])}
    for node in op.body.nodes:
        if isinstance(node.op, Matmul | MatmulAdd) and node.dtype == FLOAT32 and node.ndim == 2:
            held = held_in(node, stays)
            if held is not None:
                yield node.shape[0], held


def held_in(node: Node, places: Mapping[Node, int]) -> Held | None:
    """The right operand of a product of matrices if it shows one of those that have places."""
    operand, turned = held_right(node)
    if operand in places and operand.ndim == 2:
        depth, columns = operand.shape[::-1] if turned else operand.shape
        return Held(places[operand], turned, depth, columns, operand.shape[1])
    right = node.inputs[1]
    known = all(isinstance(n, int) for x in _shown(right) for n in x.shape)
    layout = matrix_layout(right) if known and right.op.moves else None
    if layout is None or layout[0] not in places:
        return None
    below, first, turned, apart = layout
    depth, columns = right.shape
    return Held(places[below], turned, depth, columns, apart, first.constant)


def _shown(x: Node) -> Iterator[Node]:
    """A view and what it shows, step by step."""
    yield x
    while x.op.moves:
        (x,) = x.inputs
        yield x


def _is_worth(rows: int, held: Held) -> bool:
    work = rows * held.depth * held.columns
    if held.lines:
        return held.turned and held.columns >= LEAST_LINE and 0 < work <= SMALL_PRODUCT
    few = FEWEST_ROWS <= rows <= MOST_ROWS and held.columns >= PANEL // 2
    return few and SMALL_PRODUCT < work <= MOST_WORK


def _elements(held: Held) -> int:
    """Of all lines, or of panels, the last filled up."""
    if held.lines:
        return int(held.depth * held.columns)
    return int(held.depth * -(-held.columns // PANEL) * PANEL)
