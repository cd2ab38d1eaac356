"""The scratch memory that sorts work in on the CPU: a room for each thread, of a row's elements."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from staticnet.ir.node import Node
from staticnet.ops.sorting import Argsort, TopK

ENTRY = 16  # bytes of an element: its key, and its place
HALVES = 2  # of a room, between which what is sorted goes to and fro
LEAST_AT_ONCE = 512  # elements that are sorted at once, of which only the first are kept


class Rooms(NamedTuple):
    """How many threads share the rows of a sort, and how many elements each sorts at once."""

    threads: int
    elements: int


def sort_rooms(node: Node, size: Callable[[Any], int] = int) -> Rooms:
    """The rooms of a sort; `size` gives a dim's."""
    op, shape = node.op, [size(dim) for dim in node.inputs[0].shape]
    assert isinstance(op, Argsort), op
    rows = math.prod(n for axis, n in enumerate(shape) if axis != op.axis)
    return Rooms(max(1, min(_cores(), rows)), min(shape[op.axis], _at_once(op, shape[op.axis])))


def sort_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """All rooms together."""
    rooms = sort_rooms(node, size)
    return rooms.threads * rooms.elements * HALVES * ENTRY


def most_sort_bytes(node: Node) -> Any:
    """A bound of `sort_bytes` where dims are symbolic."""
    op = node.op
    assert isinstance(op, Argsort), op
    return _cores() * _at_once(op, node.inputs[0].shape[op.axis]) * HALVES * ENTRY


def _at_once(op: Argsort, n: Any) -> Any:
    """Elements that are sorted at once of n, or more; what they say bounds what can be kept."""
    return max(LEAST_AT_ONCE, 4 * op.count) if isinstance(op, TopK) else n


def _cores() -> int:
    return os.cpu_count() or 1
