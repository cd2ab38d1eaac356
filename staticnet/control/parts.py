"""A scan taken apart into what is carried, read, captured and stacked, and put together again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from staticnet.control.trace import close, numbered
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import items

if TYPE_CHECKING:
    from staticnet.control.scan import Scan


class Carry(NamedTuple):
    """What a step takes and makes again: its first value, its placeholder and its next value."""

    init: Node
    own: Node
    after: Node


class Given(NamedTuple):
    """What a step is handed: the operand of the loop, and what stands for it in the body."""

    operand: Node
    own: Node


@dataclass
class Parts:
    """The parts of a scan, as nodes on the body's placeholders and operands outside."""

    op: Scan
    carries: list[Carry] = field(default_factory=list)
    xs: list[Given] = field(default_factory=list)
    captured: list[Given] = field(default_factory=list)
    ys: list[Node] = field(default_factory=list)

    @classmethod
    def of(cls, op: Scan, operands: Sequence[Node]) -> Parts:
        """The parts of an op on operands."""
        c, x = op.carries, op.carries + op.xs
        own, outputs = op.body.inputs, op.body.outputs
        given = [Given(*pair) for pair in zip(operands, own, strict=True)]
        carries = [Carry(*pair, after) for pair, after in zip(given[:c], outputs, strict=False)]
        return cls(op, carries, given[c:x], given[x:], list(outputs[c:]))

    def build(self, reverse: bool | None = None) -> tuple[list[Node], list[Node]]:
        """The last carries and the stacked ys of the scan, without what no step reads."""
        carried = [carry.own for carry in self.carries]
        outputs = [*(carry.after for carry in self.carries), *self.ys]
        read = needed(outputs, {given.own for given in (*self.xs, *self.captured)} | set(carried))
        xs = [given for given in self.xs if given.own in read]
        captured = [given for given in self.captured if given.own in read]
        own = (
            numbered("c", carried)
            | numbered("x", (x.own for x in xs))
            | numbered("k", (k.own for k in captured))
        )
        (body,), free = close({"body": outputs}, own)
        assert not free
        op = replace(
            self.op,
            body=body,
            carries=len(carried),
            xs=len(xs),
            reverse=self.op.reverse if reverse is None else reverse,
        )
        operands = [carry.init for carry in self.carries]
        results = items(build(op, (*operands, *(given.operand for given in (*xs, *captured)))))
        return list(results[: len(carried)]), list(results[len(carried) :])


def needed(outputs: Iterable[Node], given: Collection[Node]) -> set[Node]:
    """The nodes from which outputs are made, down to those that are given."""
    found: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(() if node in given else node.inputs)
    return found


def applied(graph: Graph, operands: Sequence[Node]) -> list[Node]:
    """The outputs of a graph on these operands, as nodes."""
    new = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        if node not in new:
            with location.attributed(node.provenance):
                new[node] = build(node.op, tuple([new[operand] for operand in node.inputs]))
    return [new[node] for node in graph.outputs]
