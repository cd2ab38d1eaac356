"""Derivatives of a scan: a scan of the body's derivative, in either direction.

Cotangents run from the last step to the first: a carry's is carried, and so is the sum of those of
what the body captures. The forward values that the steps of the way back read are stacked by a
second scan beside the first, which computes no more: the pass `merge_loops` makes the two one.
Sums are made step by step, as reverse mode makes those of an unrolled graph whose loss is summed
step by step, too. They begin with -0.0, to which anything can be added without a change of bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from staticnet.autodiff.reverse import pull
from staticnet.control.cotangent import cast, nothing, push_around, wide
from staticnet.control.parts import Carry, Given, Parts
from staticnet.control.residuals import Step, kept
from staticnet.control.trace import parameters
from staticnet.ir import modes
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, dependents, topological
from staticnet.ops.base import items

if TYPE_CHECKING:
    from staticnet.control.scan import Scan


def vjp(
    op: Scan,
    asked: Sequence[bool],
    y: Node,
    gs: Sequence[Node | None],
    operands: Sequence[Node],
) -> tuple[Any, ...]:
    """The cotangents of the operands of a scan that are asked for, from those of its results."""
    if op.length == (0,):  # no step is made: the carries pass
        passed = [*gs[: op.carries]]
        return (*passed, *[None] * (len(operands) - len(passed)))
    return _Back(op, asked, y, gs, operands).products()


class _Back:
    """A step's way back: its body's cotangents, on placeholders for those of its results."""

    def __init__(
        self,
        op: Scan,
        asked: Sequence[bool],
        y: Node,
        gs: Sequence[Node | None],
        operands: Sequence[Node],
    ) -> None:
        self.op = op
        self.parts = parts = Parts.of(op, operands)
        self.y = y
        self.gs = list(gs)
        carries = [carry.own.type for carry in parts.carries]
        self.carried = parameters("cotangent", map(wide, carries))
        self.rows = parameters("cotangent", (node.type for node in parts.ys))
        captured = [k.own for k in parts.captured]
        self.sums = parameters("sum", (wide(k.type) for k in captured))
        moved = _moved(parts, [x for x, ask in zip(op.body.inputs, asked, strict=True) if ask])
        self.wrt = [x for x in op.body.inputs if is_floating(x.dtype) and x in moved]
        self.active = [i for i, g in enumerate(self.gs[: op.carries]) if g is not None]
        self.found = self._fixpoint()
        begun = {k: s for k, s in zip(captured, self.sums, strict=True) if k in self.found}
        self.found = self._pull(begun)

    def _fixpoint(self) -> dict[Node, Node]:
        """The cotangents once all carries are known that have one."""
        while True:
            found = self._pull({})
            pairs = enumerate(self.parts.carries)
            new = [i for i, carry in pairs if carry.own in found and i not in self.active]
            if not new:
                return found
            self.active = sorted([*self.active, *new])

    def _pull(self, begun: dict[Node, Node]) -> dict[Node, Node]:
        parts, gy = self.parts, self.gs[len(self.parts.carries) :]
        rows = zip(parts.ys, self.rows, gy, strict=True)
        pairs = [(y, row) for y, row, g in rows if g is not None]
        pairs += [(parts.carries[i].after, self.carried[i]) for i in self.active]
        found = pull([y for y, _ in pairs], [g for _, g in pairs], self.wrt, begun)
        return {w: g for w, g in zip(self.wrt, found, strict=True) if isinstance(g, Node)}

    def products(self) -> tuple[Any, ...]:
        """For each operand of the scan its cotangent, or None."""
        parts, found = self.parts, self.found
        back = Parts(replace(self.op, reverse=not self.op.reverse))
        for i in self.active:
            carry, own = parts.carries[i], self.carried[i]
            after = cast(found.get(carry.own), own.type)
            back.carries.append(Carry(cast(self.gs[i], own.type), own, after))
        for k, total in zip(parts.captured, self.sums, strict=True):
            if k.own in found:
                after = cast(found[k.own], total.type)
                back.carries.append(Carry(nothing(total.type), total, after))
        reached = [x for x in parts.xs if x.own in found]
        back.ys = [cast(found[x.own], x.own.type) for x in reached]
        self._give_values(back)
        carries, ys = back.build()
        results: dict[Node, Node] = dict(zip([x.own for x in reached], ys, strict=True))
        owners = [parts.carries[i].own for i in self.active]
        owners += [k.own for k in parts.captured if k.own in found]
        results |= zip(owners, carries, strict=True)
        return tuple(results.get(own) for own in parts.op.body.inputs)

    def _give_values(self, back: Parts) -> None:
        """Hand the way back the cotangents of the ys, and what it reads of the way there."""
        parts = self.parts
        gy = list(zip(self.gs[len(parts.carries) :], self.rows, strict=True))
        back.xs = [Given(g, row) for g, row in gy if g is not None]
        own = [*(carry.own for carry in back.carries), *(x.own for x in back.xs)]
        stacked = zip(parts.ys, items(self.y)[len(parts.carries) :], strict=True)
        there = {x.own: x.operand for x in parts.xs}
        there |= {row: y for (row, y), (g, _) in zip(stacked, gy, strict=True) if g is not None}
        step = Step({carry.own for carry in parts.carries}, there.keys())
        read = [node for node in kept(_read(back.outputs, own), step) if node not in there]
        if read:
            forward = Parts(parts.op, parts.carries, parts.xs, parts.captured, read)
            _, stacks = forward.build()
            modes.carry(self.y, stacks[0].inputs[0])
            there |= zip(read, stacks, strict=True)
        back.xs += [Given(there[node], node) for node in there]
        back.captured = parts.captured


def _moved(parts: Parts, asked: Iterable[Node]) -> set[Node]:
    """The body's inputs that depend on those asked for, through the carries of any steps."""
    moved = set(asked)
    order = topological(carry.after for carry in parts.carries)
    while True:
        differ = dependents(order, moved)
        new = {carry.own for carry in parts.carries if carry.after in differ} - moved
        if not new:
            return moved
        moved |= new


def jvp(op: Scan, operands: Sequence[Node], tangents: Sequence[Node | None]) -> tuple[Any, ...]:
    """The tangents of a scan's results, from those of its operands: a scan of both.

    None where one is zero.
    """
    parts, inputs = Parts.of(op, operands), op.body.inputs
    given = dict(zip(inputs, tangents, strict=True))
    moved = dict(zip(inputs, parameters("tangent", (x.type for x in inputs)), strict=True))
    pushed = push_around(op.body, op.carries, given, moved)
    both = Parts(op, list(parts.carries), list(parts.xs), list(parts.captured))
    active = []
    for i, (carry, after) in enumerate(zip(parts.carries, pushed, strict=False)):
        if given[carry.own] is not None or after is not None:
            active.append(i)
            own = moved[carry.own]
            new = Carry(cast(given[carry.own], own.type), own, cast(after, own.type))
            both.carries.append(new)
    for part, new_part in ((parts.xs, both.xs), (parts.captured, both.captured)):
        pairs = ((given[x.own], moved[x.own]) for x in part)
        new_part += [Given(tangent, own) for tangent, own in pairs if tangent is not None]
    rows = [i for i, tangent in enumerate(pushed) if i >= op.carries and tangent is not None]
    both.ys = [pushed[i] for i in rows]
    carries, ys = both.build()
    results = dict(zip([*active, *rows], [*carries[op.carries :], *ys], strict=True))
    return tuple(results.get(i) for i in range(len(pushed)))


def _read(outputs: Sequence[Node], own: Sequence[Node]) -> list[Node]:
    """The nodes that do not depend on any of `own`, which outputs are or are made from."""
    order = topological(outputs)
    differ = dependents(order, own)
    read = [x for node in order if node in differ for x in node.inputs if x not in differ]
    return list(dict.fromkeys([*read, *(node for node in outputs if node not in differ)]))
