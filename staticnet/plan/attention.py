"""The scratch memory that attention works in on the CPU: a room for each thread.

What a room holds is cut in `kernels/attention.h`; here it is as large as the widest vectors need.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.op import Attention
from staticnet.ir.dtype import HALVES, compute_dtype
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.layouts import strided_layout
from staticnet.plan.memory import padded

ATTENTION = (Attention, AttentionGradient)
OTHERS = {Attention: (3,), AttentionGradient: (4, 5, 6)}  # operands that may be rows or numbers
BLOCK_BYTES = 512  # of queries or keys in a block, a row of features
VECTOR_BYTES = 64  # of the widest
ALIGNED = 16  # elements


def reads_in_place(node: Node, operand: Node) -> bool:
    """Whether an attention reads a view where it lies: a mask by any steps, or rows of features.

    The features of a row lie side by side.
    """
    op = node.op
    assert isinstance(op, ATTENTION)
    layout = strided_layout(operand)
    places = {i for i, x in enumerate(node.inputs) if x is operand}
    if layout is None or places & (set(OTHERS[type(op)]) - set(op.rows)):
        return False
    return not places & set(op.rows) or layout[2][-1] == 1 or fixed(operand.shape)[-1] < 2


def delta_bytes(node: Node, size: Callable[[Any], Any] = int) -> Any:
    """What delta takes in a routine's scratch memory on a GPU, where the result is given."""
    op = node.op
    if not isinstance(op, AttentionGradient) or op.given == "delta":
        return 0
    return padded(math.prod(map(size, node.inputs[0].shape[:3])) * _wide(node))


class Rooms(NamedTuple):
    """How many threads share an attention, and how many elements each works in."""

    threads: int
    room: int


def attention_rooms(node: Node, size: Callable[[Any], int] = int) -> Rooms:
    """The rooms of an attention or its gradient; `size` gives a dim's."""
    n, heads, queries, features = map(size, node.inputs[0].shape)
    groups, keys, of_values = map(size, (*node.inputs[1].shape[1:3], node.inputs[2].shape[3]))
    block = _block(node)
    back = isinstance(node.op, AttentionGradient)
    tasks = n * groups if back else n * heads * -(-queries // block)
    threads = max(1, min(_cores(), tasks))
    most, keys = min(block, queries), keys if back else 0
    return Rooms(threads, _room(node, most, keys, features, of_values))


def attention_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """All rooms together."""
    rooms = attention_rooms(node, size)
    return rooms.threads * rooms.room * _wide(node)


def most_attention_bytes(node: Node) -> Any:
    """A bound of `attention_bytes` where dims are symbolic."""
    keys, features = node.inputs[1].shape[2:]
    keys = keys if isinstance(node.op, AttentionGradient) else 0
    room = _room(node, _block(node), keys, features, node.inputs[2].shape[3])
    return _cores() * room * _wide(node)


def _room(node: Node, most: Any, keys: Any, features: Any, of_values: Any) -> Any:
    """Elements of a room for `most` queries at a time; dims may be symbolic."""
    lanes = VECTOR_BYTES // _wide(node)
    block, most = _block(node), _up(most, lanes) + lanes
    wide, of_values_wide = _up(features, lanes), _up(of_values, lanes)
    if isinstance(node.op, AttentionGradient):
        copied = node.inputs[0].dtype in HALVES or node.op.attributes()["layout"] != "first"
        parts = [
            *(keys * up for n, up in ((features, wide), (of_values, of_values_wide))
              if copied or up != n),
            *(features * most, of_values * most, 2 * block * most),
            *(2 * most * wide, most * of_values_wide, block * wide, block * of_values_wide),
        ]  # fmt: skip
    else:
        rows = block * (wide + of_values_wide)
        parts = [features * most, most * of_values_wide, block * most, rows]
    total: Any = (len(parts) + 4) * ALIGNED
    for part in parts:
        total = total + part
    return _up(total, ALIGNED)


def _block(node: Node) -> int:
    return BLOCK_BYTES // _wide(node)


def _wide(node: Node) -> int:
    """Bytes of an element that is computed in."""
    return compute_dtype(node.inputs[0].dtype).itemsize


def _up(n: Any, unit: int) -> Any:
    """A multiple of the unit, or a bound of it where n is symbolic."""
    return -(-n // unit) * unit if isinstance(n, int) else n + unit


def _cores() -> int:
    return os.cpu_count() or 1
