"""`hoist`: what is the same at each step of a loop is computed before it, and products that can be
made for all steps at once are, before it or after it.

The first keeps bits. The second, under numerics="fast", makes one large product of many: before the
loop that of an x of each step with a matrix that stays, `x[t] @ w`; after it that of a value which
no later step reads, and the sum over the steps of `h[t].T @ z[t]`. See `passes/fission.py`. That
stacks factors and products of all steps, so not where a `memory_limit` is given; and of a long loop
on a CPU those of a block of steps after another: see `passes/loop_blocks.py`. There a carry that is
stacked is copied at each step, as well; elsewhere what it becomes is stacked, and moved on by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.control.parts import Carry, Given, Parts, remade
from staticnet.control.residuals import is_cheap
from staticnet.control.scan import Scan
from staticnet.control.union import Place
from staticnet.control.while_loop import WhileLoop
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, dependents, topological
from staticnet.ops.movement import concat
from staticnet.ops.shape import expand_dims
from staticnet.passes.loop_blocks import split
from staticnet.passes.loops import replace_loops
from staticnet.passes.manager import Context, Pass
from staticnet.passes.merge_loops import tidied
from staticnet.rewrite.pattern import Numerics


def hoist(graph: Graph, context: Context) -> Graph:
    """The graph whose loops do no more at a step than has to be done at each."""
    splits = context.numerics == "fast" and context.memory_limit is None
    stacks = context.loop_cache == 0 and context.memory_limit is None
    return _without_repeats(graph, context, splits, stacks)


def hoist_invariants(graph: Graph, context: Context) -> Graph:
    """The graph whose loops do at no step what is the same at each."""
    return _without_repeats(graph, context, splits=False, stacks=False)


def _without_repeats(graph: Graph, context: Context, splits: bool, stacks: bool) -> Graph:
    def make(
        group: Sequence[Node], operands: Sequence[Sequence[Node]], used: Sequence[Sequence[int]]
    ) -> Mapping[Place, Node]:
        (node,), (given,) = group, operands
        parts = Parts.of(node.op, given)  # type: ignore[arg-type]
        count = _hoist_invariants(parts)
        if count:
            context.notes["hoisted"] += count
        earlier = _stack_later_carries(parts) if stacks else {}
        if earlier:
            context.notes["carries of all steps"] += len(earlier)
        if splits and isinstance(node.op, Scan):
            results, products = split(parts, context.loop_cache)
            if products:
                context.notes["product of all steps"] += products
        else:
            carries, ys = parts.build()
            results = [*carries, *ys]
        for i, carry in earlier.items():
            results[i] = _before(carry, results[i], node.op)
        return {(0, i): results[i] for i in used[0]}

    loops = [[node] for node in graph.nodes if isinstance(node.op, Scan | WhileLoop)]
    if not loops:
        return graph
    after = replace_loops(graph, "hoist", loops, make)
    return after if after is graph else tidied(after)


def _hoist_invariants(parts: Parts) -> int:
    """Capture what does not vary from step to step and takes time; -> how many values."""
    order = topological(parts.outputs)
    steps = [*(carry.own for carry in parts.carries), *(x.own for x in parts.xs)]
    varying = dependents(order, steps)
    read = [x for node in order if node in varying for x in node.inputs if x not in varying]
    read += [node for node in parts.outputs if node not in varying]
    outside = {k.own: k.operand for k in parts.captured}
    chosen = [node for node in dict.fromkeys(map(_base, read)) if _is_worth(node, outside)]
    for node, value in zip(chosen, remade(chosen, outside), strict=True):
        parts.captured.append(Given(value, node))
    return len(chosen)


def _stack_later_carries(parts: Parts) -> dict[int, Carry]:
    """Stack what a carry becomes where the carry itself was stacked; -> those, by result.

    Both lie in memory of their own, so the carry would be copied at each step; now one kernel moves
    the rows of all.
    """
    known = {carry.own: carry for carry in parts.carries}
    found: dict[int, Carry] = {}
    if not isinstance(parts.op, Scan) or not _is_long(parts.op):
        return found
    for i, y in enumerate(parts.ys):
        if y in known:
            parts.ys[i] = known[y].after
            found[len(parts.carries) + i] = known[y]
    return found


def _is_long(op: Scan) -> bool:
    (length,) = op.length
    return isinstance(length, int) and length > 1


def _before(carry: Carry, stack: Any, op: Any) -> Node:
    """The carry of each step, of what it is after each."""
    first = expand_dims(carry.init, 0)
    parts = [stack[1:], first] if op.reverse else [first, stack[:-1]]
    return concat(parts, 0)  # type: ignore[return-value]


def _base(node: Node) -> Node:
    """What a view shows: the view itself is free to make at each step."""
    while node.op.moves:
        (node,) = node.inputs
    return node


def _is_worth(node: Node, outside: Mapping[Node, Node]) -> bool:
    """Whether a value is worth keeping, and may be computed though the loop makes no step."""
    if not node.inputs:
        return False
    below = topological([node])
    takes_time = any(each in outside or not is_cheap(each) for each in below)
    return takes_time and not any(each.op.may_fail for each in below)


HOIST = Pass("hoist", hoist, Numerics.REASSOCIATES, selects=True)
