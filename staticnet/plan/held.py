"""Right operands of a loop's products that stay: the CPU packs their panels once, before the loop.

A step of a recurrent network multiplies few rows by a matrix that is the same at each step. To pack
it takes as long as the product of several rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from staticnet.control.scan import Scan
from staticnet.ir.dtype import FLOAT32
from staticnet.ops.held import held_right
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.plan.memory import padded

MOST_ROWS = 256  # of a product, beyond which packing takes little of its time
LEAST_WORK, MOST_WORK = 1 << 19, 1 << 30  # multiply-adds that `kernels/products.h` takes itself
PANEL = 32  # columns of a panel, the last of which is filled up


class Held(NamedTuple):
    """What stays, an operand of the loop: b: [k, n], or if `turned` its transpose."""

    place: int
    turned: bool
    depth: Any
    columns: Any


def held_operands(op: Any, size: Callable[[Any], int] = int) -> dict[Held, int]:
    """What is packed before a loop, and where behind each other; `size` gives a dim's."""
    offsets: dict[Held, int] = {}
    at = 0
    for rows, held in _candidates(op):
        known = held._replace(depth=size(held.depth), columns=size(held.columns))
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
    for held, rows in {held: rows for rows, held in _candidates(op)}.items():
        sizes = (rows, held.depth, held.columns)
        if not all(isinstance(n, int) for n in sizes[1:]):
            total = total + padded(held.depth * (held.columns + PANEL) * FLOAT32.itemsize)
        elif not isinstance(rows, int) or _is_worth(rows, held):
            total = total + padded(_elements(held) * FLOAT32.itemsize)
    return total


def _candidates(op: Any) -> Iterator[tuple[Any, Held]]:
    """The products of a loop with what stays: their rows, and that."""
    if not isinstance(op, Scan) or op.length == (1,):
        return
    inputs, first = op.body.inputs, op.carries + op.xs
    stays = {x: first + i for i, x in enumerate(inputs[first:])}
    for node in op.body.nodes:
        if isinstance(node.op, Matmul | MatmulAdd) and node.dtype == FLOAT32 and node.ndim == 2:
            operand, turned = held_right(node)
            if operand in stays and operand.ndim == 2:
                depth, columns = operand.shape[::-1] if turned else operand.shape
                yield node.shape[0], Held(stays[operand], turned, depth, columns)


def _is_worth(rows: int, held: Held) -> bool:
    work = rows * held.depth * held.columns
    few = 3 <= rows <= MOST_ROWS and held.columns >= PANEL and held.depth >= 4
    return few and LEAST_WORK < work <= MOST_WORK


def _elements(held: Held) -> int:
    """Of all panels, the last filled up."""
    return int(held.depth * -(-held.columns // PANEL) * PANEL)
