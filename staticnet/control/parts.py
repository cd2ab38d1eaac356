"""A loop taken apart into what is carried, read, captured and stacked, and put together again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from staticnet.control.trace import close, numbered
from staticnet.control.traced import substitute
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import items

if TYPE_CHECKING:
    from staticnet.control.scan import Scan
    from staticnet.control.while_loop import WhileLoop


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
    """The parts of a loop, as nodes on the body's placeholders and operands outside.

    A `while_loop` reads no xs and stacks no ys; it has a `test`.
    """

    op: Scan | WhileLoop
    carries: list[Carry] = field(default_factory=list)
    xs: list[Given] = field(default_factory=list)
    captured: list[Given] = field(default_factory=list)
    ys: list[Node] = field(default_factory=list)
    test: list[Node] = field(default_factory=list)

    @classmethod
    def of(cls, op: Scan | WhileLoop, operands: Sequence[Node]) -> Parts:
        """The parts of an op on operands."""
        c, x = op.carries, op.carries + op.xs
        own, outputs = op.body.inputs, op.body.outputs
        given = [Given(*pair) for pair in zip(operands, own, strict=True)]
        carries = [Carry(*pair, after) for pair, after in zip(given[:c], outputs, strict=False)]
        test = applied(op.graphs["test"], own) if "test" in op.graphs else []
        return cls(op, carries, given[c:x], given[x:], list(outputs[c:]), test)

    @property
    def outputs(self) -> list[Node]:
        """What a step makes: the next carries, the elements of ys, and whether there is another."""
        return [*(carry.after for carry in self.carries), *self.ys, *self.test]

    def build(self) -> tuple[list[Node], list[Node]]:
        """The last carries and the stacked ys of the loop, without what no step reads."""
        carried = [carry.own for carry in self.carries]
        read = needed(self.outputs, {x.own for x in (*self.xs, *self.captured)} | set(carried))
        xs = [x for x in self.xs if x.own in read]
        captured = [k for k in self.captured if k.own in read]
        own = numbered("c", carried) | numbered("x", (x.own for x in xs))
        own |= numbered("k", (k.own for k in captured))
        end = len(carried) + len(self.ys)
        graphs = {"body": self.outputs[:end]} | ({"test": self.test} if self.test else {})
        closed, free = close(graphs, own)  # what a user's rule takes from outside is free
        changes: dict[str, Any] = dict(zip(graphs, closed, strict=True))
        if not self.test:
            changes |= {"carries": len(carried), "xs": len(xs)}
        operands = [carry.init for carry in self.carries]
        operands += [*(given.operand for given in (*xs, *captured)), *free]
        results = items(build(replace(self.op, **changes), tuple(operands)))
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
    return remade(graph.outputs, dict(zip(graph.inputs, operands, strict=True)))


def remade(outputs: Sequence[Node], values: Mapping[Node, Node]) -> list[Node]:
    """The outputs with some nodes replaced by others."""
    return cast(list[Node], substitute(outputs, values))
