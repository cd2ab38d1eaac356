"""Graphs in which loops and conditions are replaced, one by one or several by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from staticnet.control.union import Place
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.base import Item
from staticnet.rewrite.driver import keep, substitute_roots

Make = Callable[
    [Sequence[Node], Sequence[Sequence[Node]], Sequence[Sequence[int]]], Mapping[Place, Node]
]
"""From nodes of several results, their new operands and which results are used: new results."""


def replace_loops(
    graph: Graph, made_by: str, groups: Iterable[Sequence[Node]], make: Make
) -> Graph:
    """The graph in which each group of nodes of several results is replaced by what `make` gives.

    No member of a group needs another. What is built carries the lines of what it replaces.
    """
    replacing = _Replacing(graph, made_by, groups, make)
    return replacing.run()


class _Replacing:
    def __init__(
        self, graph: Graph, made_by: str, groups: Iterable[Sequence[Node]], make: Make
    ) -> None:
        self.graph = graph
        self.made_by = made_by
        self.make = make
        self.groups = {node: group for group in groups for node in group}
        self.used: dict[Node, list[int]] = {node: [] for node in self.groups}
        for node in graph.nodes:
            if isinstance(node.op, Item) and node.inputs[0] in self.used:
                self.used[node.inputs[0]].append(node.op.index)
        self.new: dict[Node, Node] = {}
        self.results: dict[Node, dict[int, Node]] = {}

    def run(self) -> Graph:
        """The new graph, made operands first; a group's are those of all its members."""
        stack = list(reversed(self.graph.nodes))
        saved = location.attribution()
        try:
            while stack:
                node = stack[-1]
                group = self.groups.get(node, [node])
                waits = [x for each in group for x in each.inputs if x not in self.new]
                if waits:
                    stack += reversed(waits)
                    continue
                stack.pop()
                if node not in self.new:
                    self._replace(node, group)
        finally:
            location.set_attribution(saved)
        return substitute_roots(self.graph, self.new)

    def _replace(self, node: Node, group: Sequence[Node]) -> None:
        maker = node.provenance.made_by or self.made_by
        location.set_attribution(location.merge([each.provenance for each in group], maker))
        if node in self.groups:
            self._replace_group(group)
            return
        known = self.results.get(node.inputs[0], {}) if isinstance(node.op, Item) else {}
        if isinstance(node.op, Item) and node.op.index in known:
            result = known[node.op.index]
        else:
            result = keep(node, tuple([self.new[x] for x in node.inputs]))
        result.name = result.name or node.name
        self.new[node] = result

    def _replace_group(self, group: Sequence[Node]) -> None:
        operands = [[self.new[x] for x in node.inputs] for node in group]
        results = self.make(group, operands, [self.used[node] for node in group])
        for m, node in enumerate(group):
            self.new[node] = node
            self.results[node] = {i: results[m, i] for i in self.used[node]}
