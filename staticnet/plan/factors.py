"""The scratch memory that LAPACK works in: a room for each thread that factors matrices of a stack.

How much each of its routines takes is what its documentation asks for, or what it would rather
have, where it cuts a matrix in blocks, if that is more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from staticnet.ir.node import Node

BLOCK = 32  # columns at a time, as LAPACK's own `ilaenv` says
FACTORS = ("qr", "eigh", "svd")
"""The ops whose routines take memory to work in."""


class Rooms(NamedTuple):
    """How many threads share a stack; the numbers and the integers that LAPACK gives each.

    `copied` numbers more are a matrix that LAPACK overwrites, or what it makes beside its results.
    """

    threads: int
    copied: Any
    numbers: Any
    integers: Any

    @property
    def elements(self) -> Any:
        """Of one room; an integer takes no more than a number."""
        return self.copied + self.numbers + self.integers


def factor_rooms(node: Node, size: Callable[[Any], int] = int) -> Rooms:
    """The rooms of a factorisation; `size` gives a dim's."""
    *batch, m, n = map(size, node.inputs[0].shape)
    threads = max(1, min(os.cpu_count() or 1, math.prod(batch)))
    return Rooms(threads, *_room(node, m, n, min(m, n), max(m, n)))


def factor_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """All rooms together."""
    rooms = factor_rooms(node, size)
    return int(rooms.threads * rooms.elements * node.inputs[0].dtype.itemsize)


def most_factor_bytes(node: Node) -> Any:
    """A bound of `factor_bytes` where dims are symbolic."""
    x = node.inputs[0]
    m, n = x.shape[-2:]
    if isinstance(m, int) and isinstance(n, int):
        room = _room(node, m, n, min(m, n), max(m, n))
    else:
        less = n if isinstance(n, int) else m
        room = _room(node, m, n, less, m + n, lambda *terms: sum(terms))
    threads = os.cpu_count() or 1
    return threads * Rooms(threads, *room).elements * x.dtype.itemsize


def _room(
    node: Node, m: Any, n: Any, less: Any, more: Any, largest: Callable[..., Any] = max
) -> tuple[Any, Any, Any]:
    """Copied, numbers and integers of `Rooms`, of a matrix m by n, whose lesser dim is `less`."""
    if node.op.name == "qr":
        return n, largest(1, BLOCK * n, BLOCK * (m if node.op.attributes()["complete"] else n)), 0
    if node.op.name == "eigh":
        return 0, largest(1 + 6 * n + 2 * n * n, (2 + BLOCK) * n), 3 + 5 * n
    asked = 4 * less * less + 7 * less + more
    wanted = less * less + 3 * less + BLOCK * (m + n)
    return m * n, largest(asked, wanted, 1), 8 * less
