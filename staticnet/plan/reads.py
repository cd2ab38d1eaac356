"""Which buffers a kernel reads only at the element that it makes: it may write over no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from staticnet.ir.index import Index, linear
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Elementwise, Reduction
from staticnet.ops.indexing import TakeAlongAxis
from staticnet.plan.fusion import Group
from staticnet.plan.partials import may_share_rows
from staticnet.plan.roles import axes_of, base, is_join, operand_index, place, resolve

At = tuple[Index, ...] | None  # the element of a node; None where it is computed


def loop_numbers(group: Group) -> dict[Node, int]:
    """Of a kernel of rows, how many loops a row value needs, or the loop a full one is first in."""
    numbers: dict[Node, int] = {}
    for node in group.nodes:
        made = [x if x in numbers else base(x) for x in node.inputs]
        needs = max((numbers[x] for x in made if x in numbers), default=0)
        numbers[node] = needs + isinstance(node.op, Reduction)
    return numbers


def read_in_place(group: Group, stored: Set[Node]) -> frozenset[Node]:
    """The buffers over which a group may write the values that `is_written_last` names.

    At each point it reads that point's element alone, and none once the value is written. A kernel
    computes what it stores at the point that it is at, and what that is made of at the index that
    leads there, which a view between two nodes of the group changes. Index maps of views and of
    elementwise ops are followed; what any other op reads may lie anywhere. A map stores after all
    that it reads of an element, and so does the last loop over a row; before it, the threads of a
    row have waited for each other, and what was read at an index is a value of the row. But a
    reduction of the last loop may read what lies in memory as a whole, behind the loop.
    """
    if group.kind == "map":
        return _at_own_place(group, [x for x in group.nodes if x in stored])
    if group.kind != "rows":
        return frozenset()
    numbers = loop_numbers(group)
    last = _last_loop(group, numbers)
    taken = (x for x in group.rows if isinstance(x.op, TakeAlongAxis))
    early = frozenset(x for x in taken if numbers[x] < last and not may_share_rows(group))
    reductions = (x for x in group.nodes if isinstance(x.op, Reduction))
    late = frozenset(x for x in reductions if numbers[x] > last)
    return _at_own_place(group, group.nodes, early, late)


def is_written_last(group: Group, value: Node) -> bool:
    """Whether a value is one of a kernel's last loop: a map has no other."""
    if group.kind != "rows":
        return True
    numbers = loop_numbers(group)
    return numbers[value] >= _last_loop(group, numbers)


def _last_loop(group: Group, numbers: Mapping[Node, int]) -> int:
    full = (x for x in group.nodes if isinstance(x.op, Reduction) or x not in group.rows)
    return max(numbers[x] - isinstance(x.op, Reduction) for x in full)


def _at_own_place(
    group: Group,
    nodes: Iterable[Node],
    early: frozenset[Node] = frozenset(),
    late: frozenset[Node] = frozenset(),
) -> frozenset[Node]:
    """The buffers read at own places by what makes `nodes`.

    Those in `early` may read any place; what those in `late` read is read once all is written.
    """
    members = {*group.nodes, *group.again}
    domain = axes_of(group.domain)
    own = linear(domain, group.domain)
    found: dict[Node, bool] = {}
    waiting = [(node, _home(node, group, domain)) for node in nodes]
    seen = set(waiting)
    while waiting:
        node, element = waiting.pop()
        for operand, index in _operands(node, element, early):
            below, at = (base(operand), None) if index is None else resolve(operand, index)
            if below not in members:
                here = index is not None and place(operand, index)[1].is_same(own)
                here = here and node not in late
                found[below] = found.get(below, True) and here
            elif below not in group.rows and (below, at) not in seen:
                seen.add((below, at))
                waiting.append((below, at))
    return frozenset(node for node, here in found.items() if here)


def _home(node: Node, group: Group, domain: tuple[Index, ...]) -> At:
    """The element that a kernel makes at each point of its domain; None where it is of a row."""
    if isinstance(node.op, Reduction):  # that of its operand, whose reduced axes come last
        axes = node.op.axes
        order = [*(i for i in range(node.inputs[0].ndim) if i not in axes), *axes]
        return tuple(domain[order.index(i)] for i in range(len(order)))
    return None if node in group.rows else domain


def _operands(node: Node, index: At, early: frozenset[Node]) -> Iterator[tuple[Node, At]]:
    """What a node's element is made of, and at which index of each operand."""
    if node.op.moves:  # a view that lies in memory for others
        yield node.inputs[0], None if index is None else _source(node, index)
        return
    if isinstance(node.op, Reduction):
        yield node.inputs[0], index
        return
    known = index if isinstance(node.op, Elementwise) or is_join(node) else None
    for operand in node.inputs[1:] if node in early else node.inputs:
        yield operand, None if known is None else operand_index(known, operand)


def _source(node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
    return node.op.source(index, fixed(node.inputs[0].shape))
