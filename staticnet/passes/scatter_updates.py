"""`scatter_updates`: a variable that is updated by a sum of rows is added to where they belong.

The gradient of an embedding is zero but for the rows that a batch looked up. Where its step is a
multiple of it, as of gradient descent, `w - c * scatter_add(0, rows, indices)` becomes
`scatter_add(w, -c * rows, indices)`, which plans put in the place of w: a step then costs what its
rows do, however large the table. What decays all rows, or has a moment of each, stays as it is.

The rows are added one by one to w, not to 0 first, so sums may round otherwise. The indices are
read from an iota beforehand, so that a wrong one fails the run before any variable is written.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.arithmetic import Add, Divide, Multiply, Negative, Subtract
from staticnet.ops.base import apply
from staticnet.ops.creation import iota
from staticnet.ops.indexing import ScatterAdd, take
from staticnet.ops.shape import BroadcastTo, reshape
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import REASSOCIATES, is_number

NAME = "scatter_updates"


def scatter_updates(graph: Graph, context: Context) -> Graph:
    """The graph in which variables get sums of rows where these belong."""
    users = Counter(operand for node in graph.nodes for operand in node.inputs)
    users.update((*graph.outputs, *(value for _, value in graph.updates)))
    updates = {value: target for target, value in graph.updates if _pays(target, value, users)}
    if not updates:
        return graph
    context.notes["scattered updates"] += len(updates)

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in updates:
            return keep(node, inputs)
        target = updates[node]
        (step,) = (x for x in inputs if x is not target)
        return _added(target, step, isinstance(node.op, Subtract))

    return rebuild(graph, NAME, replace)


def _pays(target: Node, value: Node, users: Counter[Node]) -> bool:
    """Whether an update adds a multiple of rows, and of fewer elements than the variable has."""
    step = _step(target, value)
    if step is None or step.shape != value.shape or users[value] > 1:
        return False
    while users[step] == 1 and (multiple := _multiple(step)) is not None:
        step = step.inputs[multiple]
    if users[step] > 1 or not isinstance(step.op, ScatterAdd):
        return False
    base, rows, _ = step.inputs
    few, many = rows.type.size, base.type.size
    if not (isinstance(few, int) and isinstance(many, int) and few < many):
        return False
    return is_number(base, 0.0) or is_number(base, -0.0)


def _step(target: Node, value: Node) -> Node | None:
    """What is added to a variable, or taken from it, to give its next value."""
    if not isinstance(value.op, Add | Subtract):
        return None
    left, right = value.inputs
    if left is target:
        return None if right is target else right
    return left if right is target and isinstance(value.op, Add) else None


def _multiple(x: Node) -> int | None:
    """The operand that x is a multiple of, by one number for all elements."""
    if isinstance(x.op, Negative):
        return 0
    if isinstance(x.op, Multiply | Divide) and _is_one_number(x.inputs[1]):
        return 0
    return 1 if isinstance(x.op, Multiply) and _is_one_number(x.inputs[0]) else None


def _is_one_number(x: Node) -> bool:
    return x.type.size == 1 or (isinstance(x.op, BroadcastTo) and _is_one_number(x.inputs[0]))


def _added(target: Node, step: Node, taken: bool) -> Node:
    """The variable with a multiple of rows added, or taken away."""
    factors: list[tuple[Node, int]] = []
    while (multiple := _multiple(step)) is not None:
        factors.append((step, multiple))
        step = step.inputs[multiple]
    (_, rows, indices), op = step.inputs, step.op
    assert isinstance(op, ScatterAdd)
    for factor, multiple in reversed(factors):
        operands: list[Any] = [_number(x) for x in factor.inputs]
        operands[multiple] = rows
        rows = apply(factor.op, *operands)
    known = take(iota((step.shape[op.axis],)), indices, 0)
    return apply(op, target, -rows if taken else rows, known)


def _number(x: Node) -> Any:
    """The number that all elements of x are, without axes."""
    while isinstance(x.op, BroadcastTo) and x.type.size != 1:
        (x,) = x.inputs
    return reshape(x, ()) if x.type.size == 1 else x


SCATTER_UPDATES = Pass(NAME, scatter_updates, REASSOCIATES)
