"""Loops and choices as commands of a GPU.

A loop's steps are written out into the step's graph, each at its own addresses; of one that has too
many the host launches each. A `while` is told by the host, which reads its bool. The kernels of
both sides of a choice are launched, and look on the device whether their side was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from staticnet.codegen.commands import Address, Branch, Command, Loop, While, walk
from staticnet.codegen.cuda.loops import one_kernel
from staticnet.codegen.cuda.routines import headers_of
from staticnet.codegen.cuda.unrolled import written_out
from staticnet.codegen.cuda.whiles import one_while
from staticnet.control.cond import Cond
from staticnet.control.scan import Scan
from staticnet.control.while_loop import WhileLoop
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.plan import Place, Plan
from staticnet.plan.results import results_of, room_bytes

if TYPE_CHECKING:
    from staticnet.codegen.cuda.steps import StepWriter
    from staticnet.plan.fusion import Group

MOST_COMMANDS = 4096  # that a loop is written out to


def write_control(outer: StepWriter, group: Group) -> None:
    """Write the commands of an op that holds graphs."""
    node = group.nodes[0]
    held = _Held(outer, group)
    if isinstance(node.op, Scan):
        _scan(outer, node, node.op, held)
    elif isinstance(node.op, WhileLoop):
        _while(outer, node, held)
    else:
        assert isinstance(node.op, Cond), node.op.name
        _cond(outer, node, held)


class _Held:
    """Writes the graphs that an op holds; their arenas are scratch memory of its step."""

    def __init__(self, outer: StepWriter, group: Group) -> None:
        self.outer = outer
        self.group = group
        self.first = 0
        outer.reserve(room_bytes(group))

    def write(
        self, name: str, inputs: Sequence[Address], outputs: Sequence[Address],
        chosen: tuple[Address, bool] | None = None,
    ) -> tuple[Command, ...]:  # fmt: skip
        """The commands of the graph of an attribute, on addresses of its inputs and outputs."""
        outer, plan = self.outer, self.group.bodies[name]
        constants = [outer.address(node) for node in plan.constants]
        arena = outer.reserve(0)
        known: Mapping[str, Sequence[Address]] = {
            "feed": inputs, "output": outputs, "constant": constants
        }  # fmt: skip

        def locate(place: Place) -> Address:
            if place.kind == "arena":
                return replace(arena, at=arena.at + place.at)
            return known[place.kind][place.at]

        frame = replace(
            outer.frame,
            locate=locate,
            label=f"{outer.label(self.group)}.",
            first=self.first,
            step=outer.step,
            guarded=outer.guarded,
            chosen=(*outer.frame.chosen, *([chosen] if chosen else [])),
        )
        writer = outer.inside(plan, frame)
        self.first += len(plan.launched)
        return tuple(writer.commands)

    def headers(self, *names: str) -> list[str]:
        """The files of kernels in which the routines of the graphs of attributes are."""
        nodes = [node for name in names for node in _routines(self.group.bodies[name])]
        return [header for node in nodes for header in headers_of(node)]


def _routines(plan: Plan) -> Iterator[Node]:
    """The nodes of a plan, and of all that its ops hold, that no kernel is written for."""
    for _, group in plan.launched:
        if not group.fused:
            yield group.nodes[0]
        for body in group.bodies.values():
            yield from _routines(body)


def _scan(outer: StepWriter, node: Node, op: Scan, held: _Held) -> None:
    (length,) = fixed(op.length)
    first, last = op.carries, op.carries + op.xs
    results = results_of(node)
    outer.parts.loops += 1
    number = outer.parts.loops
    xs = [_element(outer, x, number) for x in node.inputs[first:last]]
    ys = [_element(outer, y, number) for y in results[first:]]
    carries = _begin(outer, node, results[:first])
    captured = [outer.address(x) for x in node.inputs[last:]]
    commands = held.write("body", [*carries, *xs, *captured], ys)
    loop = Loop(number, commands, length, op.reverse, outer.step)
    if outer.parts.loops_stay and length > 1:
        launch = one_kernel(loop, carries, held.headers("body"), outer.parts)
        if launch is not None:
            outer.commands.append(launch)
            outer.parts.called.setdefault(held.group, {})[launch.function] = None
            return
    hosted = any(isinstance(each, Loop) for each in commands)
    if hosted or length * len(commands) > MOST_COMMANDS:
        outer.commands.append(loop)
    else:
        outer.commands.extend(written_out(loop, carries))


def _element(outer: StepWriter, node: Node, loop: int) -> Address:
    """Of a stack, the element that a step has."""
    row = node.type.with_shape(node.shape[1:])
    return outer.address(node).element(loop, int(row.nbytes))


def _begin(outer: StepWriter, node: Node, carried: Sequence[Node]) -> list[Address]:
    """The addresses of the carries, which begin as copies of the first operands."""
    addresses = [outer.address(result) for result in carried]
    for address, x in zip(addresses, node.inputs, strict=False):
        outer.copy(outer.address(x), address, x)
    return addresses


def _while(outer: StepWriter, node: Node, held: _Held) -> None:
    carries = _begin(outer, node, results_of(node))
    operands = [*carries, *(outer.address(x) for x in node.inputs[len(carries) :])]
    going = outer.reserve(8)  # below the graphs' arenas
    test = held.write("test", operands, [going])
    body = held.write("body", operands, [])
    loop = While(test, going, body, outer.step)
    outer.parts.loops += 1
    launch = None
    if outer.parts.loops_stay:
        headers = held.headers("test", "body")
        launch = one_while(loop, outer.parts.loops, outer.frame.chosen, headers, outer.parts)
    outer.commands.append(loop if launch is None else launch)
    if launch is not None:
        outer.parts.called.setdefault(held.group, {})[launch.function] = None


def _cond(outer: StepWriter, node: Node, held: _Held) -> None:
    taken = outer.address(node.inputs[0])
    operands = [outer.address(x) for x in node.inputs[1:]]
    results = [outer.address(x) for x in results_of(node)]
    commands = _told_by_device(outer, held, taken, operands, results)
    if commands is not None:
        outer.commands.extend(commands)
        return
    then, other = (held.write(side, operands, results) for side in ("then", "other"))
    outer.commands.append(Branch(taken, then, other, outer.step))


def _told_by_device(
    outer: StepWriter, held: _Held, taken: Address, operands: Sequence[Address],
    results: Sequence[Address],
) -> list[Command] | None:  # fmt: skip
    """The commands of both sides, which look whether they were chosen; None if some cannot."""
    plans = held.group.bodies.values()
    if any(plan.calls_host for plan in plans):
        return None
    has_while = any(map(_has_while, plans))
    if has_while and not outer.parts.loops_stay:
        return None
    kept, first = outer.parts.copy() if has_while else None, held.first
    commands = [
        command
        for side in ("then", "other")
        for command in held.write(side, operands, results, (taken, side == "then"))
    ]
    if kept is not None and any(isinstance(c, While) for c in walk(commands)):
        outer.parts.restore(kept)
        held.first = first
        return None
    return commands


def _has_while(plan: Plan) -> bool:
    """Whether a plan has a `while`, which one kernel may be."""
    groups = [group for _, group in plan.launched]
    return any(
        isinstance(group.nodes[0].op, WhileLoop) or any(map(_has_while, group.bodies.values()))
        for group in groups
    )
