"""How routines read operands from the memory of what they show, without a copy."""

from __future__ import annotations

from staticnet.ir.index import Index
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.roles import Role, axes_of, place, role


def matrix_layout(node: Node) -> tuple[Node, Index, bool, int] | None:
    """How BLAS reads a stack of matrices from the memory of what it shows, or None if it cannot.

    -> base, place of the matrix's first element as a function of the leading axes, whether it lies
    transposed, and the leading dimension.
    """
    shape = fixed(node.shape)
    index = axes_of(shape)
    below, total = place(node, index)
    if role(below) is Role.INLINE:
        return None
    if 0 in shape:  # nothing is read
        return below, Index(), False, 1
    steps = {symbol.text: coefficient for symbol, coefficient in total.terms}
    row, column = (steps.pop(f"i{len(shape) - k}", 0) for k in (2, 1))
    first = Index(tuple((s, c) for s, c in total.terms if s.text in steps), total.constant)
    if any(not name.startswith("i") for name in steps):
        return None
    rows, columns = shape[-2:]
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return below, first, False, max(row, columns, 1)
    if (row == 1 or rows == 1) and (column >= rows or columns == 1):
        return below, first, True, max(column, rows, 1)
    return None


def lies_in_rows(node: Node, multiple: int) -> bool:
    """Whether the rows of a matrix lie one by one in the memory of what it shows, well aligned.

    multiple: of elements, between rows and before the first of them
    """
    layout = matrix_layout(node)
    if layout is None:
        return False
    _, first, transposed, leading = layout
    return not transposed and leading % multiple == 0 and first.constant % multiple == 0


def strided_layout(node: Node) -> tuple[Node, int, tuple[int, ...]] | None:
    """How a view is read from the memory of what it shows by a step for each axis, or None.

    -> base, place of the first element, and elements between neighbours along each axis.
    """
    shape = fixed(node.shape)
    below, total = place(node, axes_of(shape))
    if role(below) is Role.INLINE:
        return None
    if 0 in shape:  # nothing is read
        return below, 0, (0,) * len(shape)
    steps = {symbol.text: coefficient for symbol, coefficient in total.terms}
    found = tuple(steps.pop(f"i{k}", 0) for k in range(len(shape)))
    return None if steps else (below, total.constant, found)


def part_layout(node: Node, axis: int) -> tuple[Node, int, int] | None:
    """How a part of a concatenation lies in the memory of what it shows; None if in no such way.

    From `axis` on its elements must lie side by side. -> base, place of the first element, and how
    far apart what lies along the axes before is.
    """
    shape = fixed(node.shape)
    below, total = place(node, axes_of(shape))
    if role(below) is Role.INLINE:
        return None
    steps = {symbol.text: coefficient for symbol, coefficient in total.terms}
    found = [steps.pop(f"i{k}", 0) for k in range(len(shape))]
    inner = _dense(shape[axis:], found[axis:], 1)
    if steps or inner is None:
        return None
    longest = next((k for k in reversed(range(axis)) if shape[k] > 1), None)
    step = inner if longest is None else found[longest]
    if _dense(shape[:axis], found[:axis], step) is None:
        return None
    return below, total.constant, step


def _dense(shape: tuple[int, ...], steps: list[int], step: int) -> int | None:
    """Where the next element lies after all that lie `step` apart in C order, if they do."""
    for n, own in zip(reversed(shape), reversed(steps), strict=True):
        if n != 1 and own != step:
            return None
        step *= n
    return step
