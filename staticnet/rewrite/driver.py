"""Rebuilding graphs: `rebuild` maps every node, `rewrite` applies rules until none fires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from staticnet.errors import ShapeError, VerifyError
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.location import written_at
from staticnet.ir.node import Node, build, describe
from staticnet.ir.op import Op
from staticnet.ops.arguments import broadcast_shapes
from staticnet.ops.base import constant
from staticnet.ops.shape import broadcast_to
from staticnet.rewrite.pattern import Rule

MAX_REWRITES_PER_NODE = 64


def rebuild(graph: Graph, made_by: str, replace: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
    """The graph with each node replaced by `replace(node, its new operands)`, operands first.

    What is built on the way carries the lines and modules of the node that it replaces.
    """
    new: dict[Node, Node] = {}
    saved = location.attribution()
    try:
        for node in graph.nodes:
            maker = node.provenance.made_by or made_by  # a gradient stays one
            location.set_attribution(node.provenance._replace(made_by=maker))
            inputs = tuple([new[operand] for operand in node.inputs])
            result: Any = replace(node, inputs)
            if type(result) is not Node:
                _check_node(result, node, replace)
            new[node] = result
            if node.name and not result.name and result is not node:
                result.name = node.name
    finally:
        location.set_attribution(saved)
    return substitute_roots(graph, new)


def _check_node(made: Any, node: Node, replace: Callable[..., Any]) -> None:
    """Raise VerifyError unless what a function made in the place of a node is one."""
    if not isinstance(made, Node):
        raise VerifyError(
            f"rebuild: the function ({written_at(replace)}) gives {made!r:.60} for "
            f"{describe(node)} ({node.provenance}); it must give a node, as "
            "sn.passes.keep(node, inputs)"
        )


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
        VerifyError: if a rule gives another type, or a node is rewritten without end.
    """
    rewriter = _Rewriter(rules, fired)

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        return rewriter.normalize(keep(node, inputs), 0)

    return rebuild(graph, made_by, replace)


class _Rewriter:
    """Normal forms under rules, remembered node by node."""

    def __init__(self, rules: Iterable[Rule], fired: Counter[str]) -> None:
        self.fired = fired
        self.done: dict[Node, Node] = {}
        self.rules = tuple(rules)
        self.by_op: dict[type[Op], list[Rule]] = {}

    def normalize(self, node: Node, steps: int) -> Node:
        """The normal form of a node whose operands are in normal form.

        `steps` counts the rewrites that led to it: a right side whose parts are rewritten in turn
        goes on counting, so rules that feed each other without end are caught.
        """
        chain: list[Node] = []
        while node not in self.done:
            chain.append(node)
            right = self._first(node)
            if right is None:
                self.done[node] = node
                break
            if steps + len(chain) > MAX_REWRITES_PER_NODE:
                raise VerifyError(
                    f"<{describe(node)}> ({node.provenance}) is rewritten without end"
                )
            node = self._settle(right, steps + len(chain))
        for earlier in chain:
            self.done[earlier] = self.done[node]
        return self.done[node]

    def _settle(self, root: Node, steps: int) -> Node:
        """A right side with the new nodes below its root in normal form."""
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if node in self.done:
                continue
            if not ready:
                stack.append((node, True))
                stack.extend((operand, False) for operand in node.inputs)
                continue
            fresh = keep(node, tuple([self.done[operand] for operand in node.inputs]))
            if node is root:
                return fresh
            self.done[node] = self.normalize(fresh, steps)
        return self.done[root]

    def _rules_of(self, op: type[Op]) -> list[Rule]:
        found = self.by_op.get(op)
        if found is None:
            found = self.by_op[op] = [rule for rule in self.rules if issubclass(op, rule.root)]
        return found

    def _first(self, node: Node) -> Node | None:
        for rule in self._rules_of(type(node.op)):
            right = _right(rule, node)
            if right is None or right is node:
                continue
            if not isinstance(right, Node) or right.type != node.type:
                made = describe(right) if isinstance(right, Node) else repr(right)
                where = "" if rule.where is None else f" (written on {rule.where})"
                raise VerifyError(f"the rule {rule.name} makes {made} of <{describe(node)}>{where}")
            self.fired[rule.name] += 1
            return right
        return None


def _right(rule: Rule, node: Node) -> Any:
    """What a rule makes of a node, in that one's shape; a number is one of the node's dtype."""
    if rule.where is None:
        right: Any = rule.rewrite(node)
    else:
        try:
            right = rule.rewrite(node)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise VerifyError(f"the rule {rule} failed on <{describe(node)}>: {what}") from error
    if isinstance(right, bool | int | float):
        right = constant(right, node.dtype)
    if isinstance(right, Node) and right.shape != node.shape and _broadcasts(right, node):
        right = broadcast_to(right, node.shape)
    return right


def _broadcasts(right: Node, node: Node) -> bool:
    try:
        return broadcast_shapes(right.shape, node.shape) == node.shape
    except ShapeError:
        return False
