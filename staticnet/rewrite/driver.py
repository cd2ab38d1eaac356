"""Rebuilding graphs: `rebuild` maps every node, `rewrite` applies rules until none fires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from staticnet.errors import VerifyError
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.value import Value
from staticnet.ops.shape import broadcast_to
from staticnet.rewrite.pattern import Rule

MAX_REWRITES_PER_NODE = 64


def rebuild(graph: Graph, made_by: str, replace: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
    """The graph with each node replaced by `replace(node, its new operands)`, operands first.

    What is built on the way carries the lines of the node that it replaces.
    """
    new: dict[Node, Node] = {}
    saved = location.attribution()
    try:
        for node in graph.nodes:
            location.set_attribution(location.Provenance(node.provenance.lines, made_by))
            inputs = tuple([new[operand] for operand in node.inputs])
            new[node] = result = replace(node, inputs)
            if node.name and not result.name and result is not node:
                result.name = node.name
    finally:
        location.set_attribution(saved)
    return substitute_roots(graph, new)


def substitute_roots(graph: Graph, new: dict[Node, Node]) -> Graph:
    """The graph whose inputs, outputs and updates' values are replaced."""
    return Graph(
        graph.name,
        [new[node] for node in graph.inputs],
        [new[node] for node in graph.outputs],
        tuple((target, new[value]) for target, value in graph.updates),
    )


def keep(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same op on new operands: the default of `rebuild`."""
    same = all(map(_is, inputs, node.inputs))
    return node if same else build(node.op, inputs)


def _is(a: Node, b: Node) -> bool:
    return a is b


def rewrite(graph: Graph, rules: Iterable[Rule], made_by: str, fired: Counter[str]) -> Graph:
    """The graph after applying rules at every node, operands first, until none fires.

    `fired` counts the rules' names.

    Raises:
        VerifyError: if a rule gives another dtype, or one node is rewritten 64 times over.
    """
    by_root: dict[str, list[Rule]] = {}
    for rule in rules:
        by_root.setdefault(rule.root.name, []).append(rule)
    done: dict[Node, Node] = {}

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        result = _normalize(keep(node, inputs), by_root, done, fired)
        done[node] = result
        return result

    return rebuild(graph, made_by, replace)


def _normalize(
    node: Node, by_root: dict[str, list[Rule]], done: dict[Node, Node], fired: Counter[str]
) -> Node:
    """The normal form of a node whose operands are in normal form."""
    chain: list[Node] = []
    while node not in done:
        chain.append(node)
        found = _first(node, by_root.get(node.op.name, ()), fired)
        if found is None:
            done[node] = node
            break
        if len(chain) > MAX_REWRITES_PER_NODE:
            raise VerifyError(f"{node!r} ({node.provenance}) is rewritten without end")
        node = _settle(found, by_root, done, fired)
    for earlier in chain:
        done[earlier] = done[node]
    return done[node]


def _settle(
    root: Node, by_root: dict[str, list[Rule]], done: dict[Node, Node], fired: Counter[str]
) -> Node:
    """A right side with the new nodes below its root in normal form."""
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready:
            inputs = tuple([done[operand] for operand in node.inputs])
            fresh = keep(node, inputs)
            if node is root:
                return fresh
            done[node] = _normalize(fresh, by_root, done, fired)
        else:
            stack.append((node, True))
            stack.extend((operand, False) for operand in node.inputs)
    return done[root]


def _first(node: Node, rules: Iterable[Rule], fired: Counter[str]) -> Node | None:
    for rule in rules:
        right: Value | None = rule.rewrite(node)
        if right is None or right is node:
            continue
        if right.shape != node.shape:
            right = broadcast_to(right, node.shape)
        if not isinstance(right, Node) or right.type != node.type:
            raise VerifyError(f"the rule {rule.name} makes {right!r} of {node!r}")
        fired[rule.name] += 1
        return right
    return None
