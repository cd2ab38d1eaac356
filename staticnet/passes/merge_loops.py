"""`merge_loops`: loops that run alike are one loop, which carries, reads and gives no more than it
must.

The derivative of a scan stacks what it needs of the way there by a second scan: this makes the two
one, so that a training step has one loop there and one back. It goes from the outermost loops to
the innermost, whose results the outer ones may no longer need. Bits stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from staticnet.control.cond import Cond
from staticnet.control.op import ControlOp
from staticnet.control.scan import Scan
from staticnet.control.union import CondUnion, LoopUnion, united
from staticnet.control.while_loop import WhileLoop
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import Item
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild, substitute_roots

_KINDS = (Scan, WhileLoop, Cond)


def merge_loops(graph: Graph, context: Context) -> Graph:
    """The graph with loops and conditions merged, and without what nobody reads of them."""
    while any(isinstance(node.op, ControlOp) for node in graph.nodes):
        before = graph
        while (group := _alike(graph)) is not None:
            context.notes[f"merged {group[0].op.name}"] += len(group) - 1
            graph = _Merging(graph, [group]).run()
        graph = tidied(graph)
        graph = rebuild(graph, "merge_loops", lambda node, inputs: _inside(node, inputs, context))
        if graph is before:
            break
    return graph


def _inside(node: Node, inputs: tuple[Node, ...], context: Context) -> Node:
    op = node.op.with_graphs(lambda held: merge_loops(held, context))
    return keep(node, inputs) if op is node.op else build(op, inputs)


def tidied(graph: Graph) -> Graph:
    """The graph whose loops and conditions, each alone, do and give no more than they must."""
    return _Merging(graph, [[node] for node in graph.nodes if isinstance(node.op, _KINDS)]).run()


def _key(node: Node) -> Any:
    """What is equal for what could be merged."""
    op = node.op
    if isinstance(op, Scan):
        return Scan, op.length, op.reverse
    return (Cond, node.inputs[0]) if isinstance(op, Cond) else (WhileLoop,)


def _alike(graph: Graph) -> list[Node] | None:
    """The first loops, or conditions, that are better one, none of which needs another."""
    needs = _needs(graph)
    groups: dict[Any, list[list[Node]]] = {}
    for node in needs:
        groups.setdefault(_key(node), []).append([node])
    for ones in groups.values():
        first = [nodes[0] for nodes in ones]
        for i, leader in enumerate(first):
            group = [leader]
            for node in first[i + 1 :]:
                if needs[node].isdisjoint(group) and _unite([*group, node]) is not None:
                    group.append(node)
            if len(group) > 1:
                return group
    return None


def _needs(graph: Graph) -> dict[Node, frozenset[Node]]:
    """For each loop or condition, in order, those that it needs the results of."""
    none = frozenset[Node]()
    below: dict[Node, frozenset[Node]] = {}
    found: dict[Node, frozenset[Node]] = {}
    for node in graph.nodes:
        parts = {below[operand] for operand in node.inputs}
        below[node] = none.union(*parts) if len(parts) != 1 else parts.pop()
        if isinstance(node.op, _KINDS):
            found[node] = below[node]
            below[node] |= {node}
    return found


def _unite(group: Sequence[Node]) -> LoopUnion | CondUnion | None:
    return united([node.op for node in group], [node.inputs for node in group])


class _Merging:
    """A graph whose groups of loops, or conditions, are made one each."""

    def __init__(self, graph: Graph, groups: Iterable[list[Node]]) -> None:
        self.graph = graph
        self.groups = {node: group for group in groups for node in group}
        self.used: dict[Node, list[int]] = {node: [] for node in self.groups}
        for node in graph.nodes:
            if isinstance(node.op, Item) and node.inputs[0] in self.used:
                self.used[node.inputs[0]].append(node.op.index)
        self.new: dict[Node, Node] = {}
        self.results: dict[Node, dict[int, Node]] = {}

    def run(self) -> Graph:
        """The new graph."""
        stack = list(reversed(self.graph.nodes))
        saved = location.attribution()
        try:
            while stack:
                node = stack[-1]
                waits = [x for x in self._operands(node) if x not in self.new]
                if waits:
                    stack += reversed(waits)
                    continue
                stack.pop()
                if node not in self.new:
                    self._make(node)
        finally:
            location.set_attribution(saved)
        return substitute_roots(self.graph, self.new)

    def _operands(self, node: Node) -> list[Node]:
        group = self.groups.get(node, [node])
        return [operand for each in group for operand in each.inputs]

    def _make(self, node: Node) -> None:
        group = self.groups.get(node, [node])
        maker = node.provenance.made_by or "merge_loops"
        lines = location.merge([each.provenance for each in group], maker)
        location.set_attribution(lines if len(group) > 1 else node.provenance)
        if node in self.groups:
            self._make_one(group)
            return
        known = self.results.get(node.inputs[0], {}) if isinstance(node.op, Item) else {}
        if isinstance(node.op, Item) and node.op.index in known:
            self.new[node] = result = known[node.op.index]
        else:
            self.new[node] = result = keep(node, tuple([self.new[x] for x in node.inputs]))
        result.name = result.name or node.name

    def _make_one(self, group: list[Node]) -> None:
        operands = [[self.new[x] for x in node.inputs] for node in group]
        union = united([node.op for node in group], operands)
        assert union is not None
        results = union.build([self.used[node] for node in group])
        for m, node in enumerate(group):
            self.new[node] = node
            self.results[node] = {i: results[m, i] for i in self.used[node]}


MERGE_LOOPS = Pass("merge_loops", merge_loops, inside=False)
