"""`sink`: what a loop reads of all steps is made at each step, where that writes and reads less.

The rows of all steps that an elementwise function or `take` makes lie in memory until the loop
reads them: of an embedding behind an LSTM those that are looked up are many times the table, and
the bias of a product made for all steps is a pass over it. Where nobody else reads them, each step
makes its own row, of a table and numbers that stay in the caches. It is done where the backend
says `loop_cache`, to rows that together are more, and each large enough for vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from staticnet.control.parts import Given, Parts, remade
from staticnet.control.residuals import usual_bytes
from staticnet.control.scan import Scan
from staticnet.control.trace import parameters
from staticnet.control.union import Place
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.arithmetic import Add, Multiply, Subtract
from staticnet.ops.base import Constant
from staticnet.ops.indexing import Take
from staticnet.passes.loops import replace_loops
from staticnet.passes.manager import Context, Pass

LEAST_ROW = 1 << 12  # bytes of a row that is made at its step
SLACK = 8  # by the how many-th part of x what it is made of may be more
_ONE_EACH = (Add, Subtract, Multiply)  # what takes no longer than to read what it makes


class Sunk(NamedTuple):
    """What an x is at a step, and which xs and captured values that is made of."""

    value: Node
    xs: list[Given]
    captured: list[Given]


def sink(graph: Graph, context: Context) -> Graph:
    """The graph whose loops make at each step what only they read of it."""
    if not context.loop_cache:
        return graph
    users = Counter(operand for node in graph.nodes for operand in node.inputs)
    users.update((*graph.outputs, *(value for _, value in graph.updates)))
    loops = [
        [node]
        for node in graph.nodes
        if isinstance(node.op, Scan) and any(_candidates(node, users, context.loop_cache))
    ]
    if not loops:
        return graph

    def make(
        group: Sequence[Node], operands: Sequence[Sequence[Node]], used: Sequence[Sequence[int]]
    ) -> Mapping[Place, Node]:
        (node,), (given,) = group, operands
        parts = Parts.of(node.op, given)  # type: ignore[arg-type]
        candidates = _candidates(node, users, context.loop_cache)
        values, left = {}, list[Given]()
        for x, is_one in zip(parts.xs, candidates, strict=True):
            sunk = _at_its_step(x.operand) if is_one else None
            if sunk is None:
                left.append(x)
                continue
            context.notes["made at its step"] += 1
            left += sunk.xs
            parts.captured += sunk.captured
            values[x.own] = sunk.value
        parts.xs = left
        _put(parts, values)
        carries, ys = parts.build()
        results = [*carries, *ys]
        return {(0, i): results[i] for i in used[0]}

    return sink(replace_loops(graph, "sink", loops, make), context)


def _candidates(node: Node, users: Counter[Node], cache: int) -> list[bool]:
    """Of each x of a scan whether it can be made at its step, and is worth it."""
    op = node.op
    assert isinstance(op, Scan)
    xs = node.inputs[op.carries : op.carries + op.xs]
    return [users[x] == 1 and _is_worth(x, cache) and _at_its_step(x) is not None for x in xs]


def _is_worth(x: Node, cache: int) -> bool:
    size, steps = usual_bytes(x), x.shape[0]
    return isinstance(steps, int) and size > cache and size >= steps * LEAST_ROW


def _at_its_step(x: Node) -> Sunk | None:
    """A row of x from rows of its operands, if those take hardly more memory than x."""
    if (rows := _rows(x)) is None:
        return None
    places = list(zip(x.inputs, rows, strict=True))
    given, types = dict.fromkeys(places), []  # an operand twice is read once
    size = usual_bytes(x)
    if sum(usual_bytes(operand) for operand, row in given if row) > size + size // SLACK:
        return None
    for operand, row in given:
        types.append(operand.type.with_shape(operand.shape[1:]) if row else operand.type)
    sunk = Sunk(x, [], [])
    own: dict[tuple[Node, bool], Node] = {}
    for (operand, row), parameter in zip(given, parameters("sunk", types), strict=True):
        number = not row and isinstance(operand.op, Constant)
        own[operand, row] = operand if number else parameter
        if not number:
            (sunk.xs if row else sunk.captured).append(Given(operand, parameter))
    with location.attributed(x.provenance):
        return sunk._replace(value=build(x.op, tuple([own[place] for place in places])))


def _rows(x: Node) -> list[bool] | None:
    """Which operands a row of x takes a row of, and not all; None if that is not so, or of none."""
    steps = x.shape[0]
    if isinstance(x.op, Take):
        return [False, True] if x.op.axis == 0 and x.inputs[1].shape[:1] == (steps,) else None
    if not isinstance(x.op, _ONE_EACH):
        return None
    rows = [operand.ndim == x.ndim for operand in x.inputs]
    whole = all(y.shape[0] == steps for y, row in zip(x.inputs, rows, strict=True) if row)
    return rows if whole and any(rows) else None


def _put(parts: Parts, values: Mapping[Node, Node]) -> None:
    """Replace xs in what a step makes."""
    made = remade(parts.outputs, values)
    end = len(parts.carries)
    parts.carries = [
        carry._replace(after=after) for carry, after in zip(parts.carries, made, strict=False)
    ]
    parts.ys = made[end:]


SINK = Pass("sink", sink)
