"""What only one branch of a condition needs is computed in it, and so only where it is taken.

A branch captures what it uses from outside, be it a value that was there or one that is written in
the branch and depends on none of its operands: nodes do not tell. So what no one else needs moves
in, with all that is needed for it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from staticnet.control.cond import Cond
from staticnet.control.parts import remade
from staticnet.control.trace import close, numbered, parameters
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import Item
from staticnet.ops.state import Placeholder, VariableOp
from staticnet.rewrite.driver import keep, rebuild

_BOTH = "both"


def sunk(graph: Graph) -> Graph:
    """The graph whose conditions compute in a branch what that branch alone needs."""
    while True:
        users = _users(graph)
        conds = [node for node in reversed(graph.nodes) if isinstance(node.op, Cond)]
        found = next(((cond, m) for cond in conds if (m := _movable(graph, cond, users))), None)
        if found is None:
            return graph
        graph = rebuild(graph, "merge_loops", partial(_replace, *found))


def _replace(cond: Node, moved: set[Node], node: Node, inputs: tuple[Node, ...]) -> Node:
    return _with(node, moved) if node is cond else keep(node, inputs)


def _users(graph: Graph) -> Mapping[Node, set[Node]]:
    users: dict[Node, set[Node]] = {node: set() for node in graph.nodes}
    for node in graph.nodes:
        for operand in node.inputs:
            users[operand].add(node)
    return users


def _movable(graph: Graph, cond: Node, users: Mapping[Node, set[Node]]) -> set[Node]:
    """What is needed by one branch of a condition, the same everywhere, and by nothing else."""
    branches = _branches(cond)
    fixed = {*graph.roots, cond.inputs[0]}
    moved: dict[Node, str] = {}
    for node in reversed(graph.nodes):
        if not node.inputs or not users[node] or node in fixed:
            continue
        needing = {
            branches.get(node, _BOTH) if user is cond else moved.get(user, _BOTH)
            for user in users[node]
        }
        if len(needing) == 1 and needing != {_BOTH}:
            (moved[node],) = needing
    apart = [x for x in moved if isinstance(x.op, Item) and x.inputs[0] not in moved]
    return set(moved) - set(apart)


def _branches(cond: Node) -> dict[Node, str]:
    """For each operand of a condition the branch that reads it, or both."""
    op = cond.op
    assert isinstance(op, Cond)
    found: dict[Node, str] = {}
    for i, operand in enumerate(cond.inputs[1:]):
        reads = [name for name, held in op.graphs.items() if _reads(held, held.inputs[i])]
        name = reads[0] if len(reads) == 1 else _BOTH
        found[operand] = name if found.get(operand, name) == name else _BOTH
    return found


def _reads(graph: Graph, own: Node) -> bool:
    is_output = any(node is own for node in graph.outputs)
    return is_output or any(x is own for node in graph.nodes for x in node.inputs)


def _with(cond: Node, moved: set[Node]) -> Node:
    """A condition whose branches compute what is moved into them."""
    op = cond.op
    assert isinstance(op, Cond)
    given = _boundary(cond.inputs[1:], moved)
    own = dict(zip(given, parameters("operand", (node.type for node in given)), strict=True))
    operands = remade(cond.inputs[1:], own)
    graphs = {
        name: remade(held.outputs, dict(zip(held.inputs, operands, strict=True)))
        for name, held in op.graphs.items()
    }
    closed, _ = close(graphs, numbered("x", own.values()))
    return build(Cond(*closed), (cond.inputs[0], *given))


def _boundary(operands: Sequence[Node], moved: set[Node]) -> list[Node]:
    """What the condition is still handed: what is not moved, and no number."""
    found: dict[Node, None] = {}
    stack = list(reversed(operands))
    while stack:
        node = stack.pop()
        if node in moved:
            stack.extend(reversed(node.inputs))
        elif node.inputs or isinstance(node.op, Placeholder | VariableOp):
            found[node] = None
    return list(found)
