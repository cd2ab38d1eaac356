"""The text of a plan, at each of its stages: fusion, schedule, plan_memory.

The first two are the graph's text with comments, which are not read back: `sn.parse` gives the
graph again. Nodes without a comment are not made at all: they are looked through, or written into
the expressions that use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from staticnet.ir.node import Node
from staticnet.ir.printer import format_graph, statements, value_names
from staticnet.ir.types import format_shape
from staticnet.plan.fusion import Group
from staticnet.plan.results import bodies_of

if TYPE_CHECKING:
    from staticnet.plan.memory import Lifetime
    from staticnet.plan.plan import Place, Plan


def format_groups(plan: Plan) -> str:
    """The graph's text, with the kernel that makes each node."""
    notes = {
        node: f"// kernel {number}: {space(group)}"
        for number, (_, group) in enumerate(plan.launched)
        for node in group.nodes
    }
    lines = []
    for node, statement in statements(plan.graph).items():
        lines += [notes[node], statement] if node in notes else [statement]
    return _text(plan, lines)


def _text(plan: Plan, lines: list[str]) -> str:
    """The graph's text with these lines for its statements."""
    whole = format_graph(plan.graph).splitlines()
    inside = sum(text.count("\n") + 1 for text in statements(plan.graph).values())
    body = [f"  {line}" for text in lines for line in text.splitlines()]
    return "\n".join([whole[0], *body, *whole[1 + inside :]])


def format_steps(plan: Plan) -> str:
    """The graph's text in the order in which nodes are made, with the launch that makes them."""
    left = statements(plan.graph)
    lines = []
    for number, (launch, group) in enumerate(plan.launched):
        lines.append(f"// launch {launch}, kernel {number}: {space(group)}")
        lines += [line for node in group.nodes for line in _take(node, left)]
    return _text(plan, [*lines, *left.values()])


def _take(node: Node, left: dict[Node, str]) -> Iterator[str]:
    """The statements of a node and of what it needs, those that are left, operands first."""
    stack = [node]
    while stack:
        pending = [x for x in stack[-1].inputs if x in left]
        if pending:
            stack += reversed(pending)
        else:
            line = left.pop(stack.pop(), None)
            if line is not None:
                yield line


def space(group: Group) -> str:
    """`rows [64,10]`: a kernel's kind and index space."""
    return f"{group.kind} {format_shape(group.domain)}"


def format_plan(plan: Plan, inside: str = "", first: int = 0) -> str:
    """Launches in order, and where each value lies that a kernel stores.

    `arena+0..4096` are bytes of the arena. `reuses` names the values that lay there before, and
    `in place of` those that the same kernel reads there. The plans of graphs that an op holds are
    indented; of those `inside` and `first` tell what their kernels are called.
    """
    names = {node: f"%{name}" for node, name in value_names(plan.graph).items()}
    lines = [
        f"plan {plan.graph.name}: launches {plan.launches}, arena {plan.arena_bytes} bytes, "
        f"moved {plan.bytes_moved} bytes"
    ]
    lines += [f"copy {names[node]} to output {i}" for node, i in plan.first_copies]
    lines += [f"copy {names[node]} to {_range(block)}" for node, block in plan.saved.items()]
    before, places = _reused(plan), Locations(plan)
    for number, (launch, group) in enumerate(plan.launched, first):
        lines.append(f"launch {launch}, kernel {inside}{number}: {space(group)}")
        for body in bodies_of(group, f"{inside}{number}"):
            text = format_plan(body.plan, body.inside, body.first)
            lines += [f"  {line}" for line in text.splitlines()]
        for node in plan.traffic(group).writes:
            over = ", ".join(names[x] for x in overwritten(plan, group, node))
            old = ", ".join(names[x] for x in before.get(node, ()))
            note = f" (in place of {over})" if over else f" (reuses {old})" if old else ""
            lines.append(f"  {names[node]} {node.type} {places.of(node)}{note}")
    for node, place in plan.last_copies:
        lines.append(f"copy {names[node]} to {places.spell(place)}")
    return "\n".join(lines)


class Locations:
    """Spells where the values of a plan lie: `arena+0..4096`, `state w`, `feed x`, `output 0`."""

    def __init__(self, plan: Plan) -> None:
        self._places = plan.places
        self._owners = {"feed": plan.graph.inputs, "state": plan.graph.variables}

    def of(self, node: Node) -> str:
        """Where a value lies."""
        place = self._places[node]
        if place.kind == "arena":
            return f"arena+{place.at}..{place.at + int(node.type.nbytes)}"
        return self.spell(place)

    def spell(self, place: Place) -> str:
        """A place outside the arena."""
        owners = self._owners.get(place.kind)
        name = owners[place.at].name if owners else ""
        return f"{place.kind} {name or place.at}"


def _range(block: Lifetime) -> str:
    return f"arena+{block.offset}..{block.offset + block.size}"


def overwritten(plan: Plan, group: Group, node: Node) -> list[Node]:
    """What a kernel reads in the memory into which it writes a node."""
    reads = plan.traffic(group).reads
    return [x for x in reads if x is not node and _overlap(plan, x, node)]


def _overlap(plan: Plan, one: Node, other: Node) -> bool:
    a, b = plan.places[one], plan.places[other]
    if a.kind != b.kind or a.kind != "arena":
        return a == b
    return a.at < b.at + int(other.type.nbytes) and b.at < a.at + int(one.type.nbytes)


def _reused(plan: Plan) -> dict[Node, list[Node]]:
    """For each value in the arena, those whose bytes were last in its place."""
    reused: dict[Node, list[Node]] = {}
    owners: list[tuple[int, int, Node]] = []  # whose the bytes from and to are, each byte once
    for node, block in sorted(plan.blocks.items(), key=lambda item: item[1].first):
        first, end = block.offset, block.offset + block.size
        reused[node] = list(dict.fromkeys(n for a, b, n in owners if a < end and first < b))
        cut = [(a, min(b, first), n) for a, b, n in owners if a < first]
        cut += [(max(a, end), b, n) for a, b, n in owners if end < b]
        owners = [*cut, (first, end, node)]
    return reused


STAGES = {"fusion": format_groups, "schedule": format_steps, "plan_memory": format_plan}
