"""Loops and choices as commands of a GPU.

A loop's steps are written out into the step's graph, each at its own addresses; of one that has too
many the host launches each. A `while` is told by the host, which reads its bool. The kernels of
both sides of a choice are launched, and look on the device whether their side was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from staticnet.codegen.cuda.loops import one_kernel
from staticnet.codegen.cuda.routines import headers_of
from staticnet.codegen.cuda.unrolled import written_out
from staticnet.codegen.launches import Address, Branch, Command, Loop, While
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

    def routines(self, name: str) -> list[Node]:
        """The nodes of the graph of an attribute that no kernel is written for."""
        groups = [group for _, group in self.group.bodies[name].launched]
        return [group.nodes[0] for group in groups if not group.fused]


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
        headers = [h for node in held.routines("body") for h in headers_of(node)]
        if (launch := one_kernel(loop, carries, headers, outer.parts)) is not None:
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
    going = outer.reserve(1)  # below the graphs' arenas
    test = held.write("test", operands, [going])
    body = held.write("body", operands, [])
    outer.commands.append(While(test, going, body, outer.step))


def _cond(outer: StepWriter, node: Node, held: _Held) -> None:
    taken = outer.address(node.inputs[0])
    operands = [outer.address(x) for x in node.inputs[1:]]
    results = [outer.address(x) for x in results_of(node)]
    if any(_needs_host(plan) for plan in held.group.bodies.values()):
        then, other = (held.write(side, operands, results) for side in ("then", "other"))
        outer.commands.append(Branch(taken, then, other, outer.step))
        return
    for side in ("then", "other"):
        commands = held.write(side, operands, results, (taken, side == "then"))
        outer.commands.extend(commands)


def _needs_host(plan: Plan) -> bool:
    """Whether a plan has what the device cannot leave out: Python's ops, or a `while`."""
    if plan.calls_host:
        return True
    groups = [group for _, group in plan.launched]
    return any(
        isinstance(group.nodes[0].op, WhileLoop) or any(map(_needs_host, group.bodies.values()))
        for group in groups
    )
