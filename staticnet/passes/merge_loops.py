"""`merge_loops`: loops that run alike are one loop, which carries, reads and gives no more than it
must.

The derivative of a scan stacks what it needs of the way there by a second scan: this makes the two
one, so that a training step has one loop there and one back. It goes from the outermost loops to
the innermost, whose results the outer ones may no longer need. Bits stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.control.cond import Cond
from staticnet.control.op import ControlOp
from staticnet.control.scan import Scan
from staticnet.control.union import CondUnion, LoopUnion, Place, may_share, united
from staticnet.control.while_loop import WhileLoop
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.passes.loops import replace_loops
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild

_KINDS = (Scan, WhileLoop, Cond)


def merge_loops(graph: Graph, context: Context) -> Graph:
    """The graph with loops and conditions merged, and without what nobody reads of them."""
    while any(isinstance(node.op, ControlOp) for node in graph.nodes):
        before = graph
        while (group := _alike(graph)) is not None:
            context.notes[f"merged {group[0].op.name}"] += len(group) - 1
            graph = replace_loops(graph, "merge_loops", [group], _make_one)
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
    alone = [[node] for node in graph.nodes if isinstance(node.op, _KINDS)]
    return replace_loops(graph, "merge_loops", alone, _make_one)


def _make_one(
    group: Sequence[Node], operands: Sequence[Sequence[Node]], used: Sequence[Sequence[int]]
) -> Mapping[Place, Node]:
    union = united([node.op for node in group], operands)
    assert union is not None
    return union.build(used)


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
                if not needs[node].isdisjoint(group) or not any(may_share(node, x) for x in group):
                    continue
                if _unite([*group, node]) is not None:
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


MERGE_LOOPS = Pass("merge_loops", merge_loops, inside=False)
