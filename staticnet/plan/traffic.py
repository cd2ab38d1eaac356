"""What a kernel moves: the bytes it reads from memory and writes there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from staticnet.control.cond import Cond
from staticnet.control.scan import Scan
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.indexing import ScatterAdd, ScatterAddAlongAxis, Take, TakeAlongAxis
from staticnet.ops.library import MatmulAdd
from staticnet.ops.scattering import Scatter
from staticnet.plan.fusion import Fusion, Group
from staticnet.plan.results import carries_of, room_bytes
from staticnet.plan.roles import Role, role

if TYPE_CHECKING:
    from staticnet.plan.plan import Plan

_ADDED = ScatterAdd | ScatterAddAlongAxis | Scatter


@dataclass(frozen=True)
class Traffic:
    """Bytes by the node whose memory it is, each buffer once a kernel; views belong to their base.

    A use that takes part of a buffer, as a slice or a gather does, counts for what it takes.
    `scratch` are bytes of a kernel's partial results, which are written and read; what a routine
    works in is not counted: blocks of it stay in the cache. `unread` are its results that nobody
    reads. `inside` are the bytes that the graphs of a loop move in all its steps: of a
    `while_loop`, whose number nobody knows, in one.
    """

    reads: dict[Node, int]
    writes: dict[Node, int]
    scratch: int = 0
    unread: int = 0
    inside: int | None = None

    @property
    def bytes(self) -> int:
        """All bytes, both ways."""
        if self.inside is not None:
            return self.inside
        return sum(self.reads.values()) + sum(self.writes.values()) + 2 * self.scratch + self.unread

    def in_place(self, node: Node, before: Node) -> Traffic:
        """That of a result which lies where it `begins_as` something: what it changes there."""
        if isinstance(node.op, MatmulAdd):
            return self
        changed = _bytes(node.inputs[1]) if isinstance(node.op, _ADDED) else 0
        reads = {x: min(n, changed) if x is before else n for x, n in self.reads.items()}
        return replace(self, reads=reads, writes={node: min(self.writes[node], changed)})


def traffic(group: Group, fusion: Fusion, stored: Collection[Node], scratch: int = 0) -> Traffic:
    """The bytes that a group moves when `stored` are the nodes that lie in memory."""
    reads: dict[Node, int] = {}
    runs = group.kind != "map" or 0 not in group.domain  # over no points nothing is read
    for (below, _), size in (_uses(group, fusion) if runs else {}).items():
        reads[below] = min(reads.get(below, 0) + size, _bytes(below))
    writes = {node: _bytes(node) for node in group.nodes if node in stored}
    if group.bodies:
        return Traffic(reads, writes, inside=_inside(group))
    return Traffic(reads, writes, scratch, room_bytes(group))


def _inside(group: Group) -> int:
    """What the graphs of a routine move, and the copies of what carries begin as."""
    op = group.nodes[0].op
    begin = group.nodes[0].inputs[: carries_of(op, "body")]
    return 2 * sum(map(_bytes, begin)) + over_steps(group, lambda body: body.bytes_moved)


def over_steps(group: Group, count: Callable[[Plan], int]) -> int:
    """A number of each graph that a routine holds, over all steps of a loop, or of one branch."""
    op, counts = group.nodes[0].op, list(map(count, group.bodies.values()))
    if isinstance(op, Cond):
        return max(counts)
    return sum(counts) * (fixed(op.length)[0] if isinstance(op, Scan) else 1)


def _uses(group: Group, fusion: Fusion) -> dict[tuple[Node, Node], int]:
    """The bytes of each use of memory: the buffer's node and the operand through which it is."""
    uses: dict[tuple[Node, Node], int] = {}
    members = dict.fromkeys((*group.nodes, *group.again))
    for node in members:
        for place, operand in enumerate(node.inputs):
            below = fusion.memory(operand, not group.fused)
            if below in members or (group.fused and role(below) is Role.INLINE):
                continue
            taken = operand
            if node.op.moves or (place == 0 and isinstance(node.op, Take | TakeAlongAxis)):
                taken = node
            size = int(taken.type.size) * operand.dtype.itemsize
            uses[below, operand] = max(uses.get((below, operand), 0), size)
    return uses


def _bytes(node: Node) -> int:
    return int(node.type.nbytes)
