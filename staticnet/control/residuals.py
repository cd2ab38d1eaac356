"""What a loop's forward body keeps for its derivative, and what that computes again.

Of the forward values that a derivative reads, those are kept from which the others are computed
again with elementwise functions and movement alone, and which are the fewest bytes of all such
sets: the minimum cut between what is costly to compute, or carried, and what is read. So is chosen
in Chen et al., "Training deep nets with sublinear memory cost", 2016, by hand, and in "min-cut
rematerialization" of PyTorch's partitioner. Of equal cuts it is the latest, which leaves least to
compute again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from staticnet.ir.node import Node, dependents, topological
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import Constant, Elementwise, Size
from staticnet.ops.creation import Iota
from staticnet.ops.indexing import Take, TakeAlongAxis
from staticnet.ops.movement import Concat, Pad

if TYPE_CHECKING:
    import networkx as nx

_CHEAP = (Elementwise, Pad, Concat, Take, TakeAlongAxis, Constant, Size, Iota)
_USUAL_SIZE = 64  # of a symbolic dim, where bytes are compared
_SOURCE, _SINK = -1, -2


def is_cheap(node: Node) -> bool:
    """Whether it is computed as quickly as it is read: an elementwise function, or movement."""
    return isinstance(node.op, _CHEAP) or node.op.moves


@dataclass(frozen=True)
class Step:
    """The values of a step that are given.

    `carried` are gone after it. `rows` are there for each step, as elements of an x or a y. What
    else is there is the same at each step.
    """

    carried: Set[Node]
    rows: Set[Node]

    def varying(self, order: Iterable[Node]) -> set[Node]:
        """What differs from step to step, and has to be kept or computed."""
        return dependents(order, [*self.carried, *self.rows]) - set(self.rows)


def kept(read: Sequence[Node], step: Step) -> list[Node]:
    """The nodes to keep so that those that are read can be computed again."""
    flow, order = _flow(read, step)
    if _SOURCE not in flow or _SINK not in flow:
        return []
    import networkx as nx

    _, (_, late) = nx.minimum_cut(flow, _SOURCE, _SINK)
    cut = [node for i, node in enumerate(order) if 2 * i + 1 in late and 2 * i not in late]
    return list(dict.fromkeys(map(_shown, cut)))


def _shown(node: Node) -> Node:
    """What a view of all elements shows: as many bytes, and others may read it as it lies."""
    while node.op.moves and usual_bytes(node.inputs[0]) == usual_bytes(node):
        (node,) = node.inputs
    return node


def _flow(read: Sequence[Node], step: Step) -> tuple[nx.DiGraph[int], list[Node]]:
    """From what is costly to what is read: node i is an edge from 2i to 2i + 1, of its bytes."""
    import networkx as nx

    flow = nx.DiGraph()
    nodes = topological(read)
    varying, again = step.varying(nodes), behind_barriers(nodes)
    place = {node: i for i, node in enumerate(node for node in read if node in varying)}
    stack = list(place)
    for i in place.values():
        flow.add_edge(2 * i + 1, _SINK)
    while stack:
        node = stack.pop()
        i = place[node]
        flow.add_edge(2 * i, 2 * i + 1, capacity=usual_bytes(node))
        if node in step.carried or not (is_cheap(node) or node in again):
            flow.add_edge(_SOURCE, 2 * i)
            continue
        for operand in node.inputs:
            if operand in varying:
                stack.extend(() if operand in place else (operand,))
                flow.add_edge(2 * place.setdefault(operand, len(place)) + 1, 2 * i)
    return flow, list(place)


def behind_barriers(order: Sequence[Node]) -> set[Node]:
    """What is to be computed again, whatever it costs: `checkpoint` put it behind a barrier."""
    return dependents(order, [x for x in order if isinstance(x.op, OptimizationBarrier)])


def usual_bytes(node: Node) -> int:
    """The bytes of a node, of a usual size where a dim is symbolic."""
    type_ = node.type
    return int(type_.substitute(dict.fromkeys(type_.symbols, _USUAL_SIZE)).nbytes)
