"""A rule about sums of arrays that are zero where the others are not: they lie side by side.

The gradient of an array that is read in slices is such a sum, and as long as it has slices: each
element of it would load them all.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS
from staticnet.ops.arithmetic import Add
from staticnet.ops.base import constant
from staticnet.ops.movement import Concat, Pad, concat, pad
from staticnet.ops.shape import broadcast_to, reshape
from staticnet.rewrite.pattern import EXACT, is_number, structural


class Piece(NamedTuple):
    """What lies from `start` to `end` along an axis."""

    start: int
    end: int
    node: Node


def apart(x: Any) -> Any:
    """x, and x again behind it, as a sum: an instance of what the rule is about."""
    rows = reshape(x, (-1, 1) if x.type.size else (0, 1))
    n = rows.shape[0]
    return pad(rows, ((0, n + 1), (0, 0))) + pad(rows, ((n + 1, 0), (0, 0)))


@structural(Add, apart, EXACT, FLOATS, domain="x is not -0.0")
def sum_of_pieces(node: Node) -> Value | None:
    """Sums of padded arrays that do not overlap: one after the other, zeros between them."""
    x, y = node.inputs
    if x.shape != y.shape:
        return None  # one is broadcast
    for axis in range(node.ndim):
        left, right = _pieces(x, axis), _pieces(y, axis)
        if left and right:
            pieces = sorted(left + right, key=lambda piece: piece.start)
            if all(a.end <= b.start for a, b in itertools.pairwise(pieces)):
                return _side_by_side(pieces, node, axis)
    return None


def pieces_of(x: Node) -> tuple[int, list[Piece]]:
    """An axis, and what an array is put together of along it; nothing if it is not.

    So is a concatenation, and a sum of padded arrays that do not overlap.
    """
    for axis in range(x.ndim):
        pieces = sorted(_all_pieces(x, axis), key=lambda piece: piece.start)
        if pieces and all(a.end <= b.start for a, b in itertools.pairwise(pieces)):
            return axis, pieces
    return 0, []


def _all_pieces(x: Node, axis: int) -> list[Piece]:
    if not isinstance(x.op, Add):
        return _pieces(x, axis)
    left, right = (_all_pieces(y, axis) if y.shape == x.shape else [] for y in x.inputs)
    return left + right if left and right else []


def _pieces(x: Node, axis: int) -> list[Piece]:
    """Where along an axis an array is not known to be zero; nothing if it is nowhere known."""
    if isinstance(x.op, Pad):
        return _padded(x, x.op, axis)
    if not isinstance(x.op, Concat) or x.op.axis != axis:
        return []
    pieces, at = [], 0
    for part in x.inputs:
        length = part.shape[axis]
        if not isinstance(length, int):
            return []
        if not is_number(part, 0):
            pieces.append(Piece(at, at + length, part))
        at += length
    return pieces


def _padded(x: Node, op: Pad, axis: int) -> list[Piece]:
    inner, value = x.inputs
    low, length = op.low[axis], inner.shape[axis]
    whole = all(
        i == axis or (a, b) == (0, 0) for i, (a, b) in enumerate(zip(op.low, op.high, strict=True))
    )
    fixed = isinstance(low, int) and isinstance(length, int) and isinstance(op.high[axis], int)
    if any(op.interior) or not whole or not fixed or not is_number(value, 0):
        return []
    assert isinstance(low, int)
    assert isinstance(length, int)
    return [Piece(low, low + length, inner)]


def _side_by_side(pieces: list[Piece], like: Node, axis: int) -> Value | None:
    parts: list[Value] = []
    at, end = 0, like.shape[axis]
    assert isinstance(end, int)
    for start, stop, part in [*pieces, Piece(end, end, like)]:
        if start > at:
            gap = (*like.shape[:axis], start - at, *like.shape[axis + 1 :])
            parts.append(broadcast_to(constant(0, like.dtype), gap))
        if part is not like:
            parts.append(part)
        at = stop
    return concat(parts, axis)
