"""Several loops that run alike, as one; or one, without what it need not carry, read or give.

Two carries that begin equal and are made equal by each step are one: they begin in one class, which
is split until the steps keep the classes (partition refinement, Hopcroft 1971; equal expressions
are one node, so steps are compared by making them). Operands that are the same are one, and so are
results that are made alike. A carry that never changes is captured; what only feeds itself is not
carried.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from staticnet.control.cond import Cond
from staticnet.control.parts import Carry, Given, Parts, applied, needed, remade
from staticnet.control.residuals import is_cheap
from staticnet.control.scan import Scan
from staticnet.control.trace import close, numbered, parameters
from staticnet.ir.node import Node, build, topological
from staticnet.ir.op import Op
from staticnet.ops.base import items
from staticnet.ops.shape import broadcast_to, expand_dims

Place = tuple[int, int]
"""A member, and one of its results."""


def united(ops: Sequence[Op], operands: Sequence[Sequence[Node]]) -> LoopUnion | CondUnion | None:
    """Loops, or conditions, as one; None if they do not run alike or share nothing."""
    if all(isinstance(op, Cond) for op in ops):
        return CondUnion(ops, operands)
    union = LoopUnion(ops, operands)
    alone = len(ops) == 1
    return union if alone or (union.shares and union.tests_agree) else None


def may_share(a: Node, b: Node) -> bool:
    """Whether loops, or conditions, can have something in common, by their operands alone."""
    shared = set(a.inputs) & set(b.inputs)
    return any(not x.is_constant for x in shared) or a.op.graphs == b.op.graphs


class LoopUnion:
    """Loops of equal length and direction, or with equal tests, none of which needs another."""

    def __init__(self, ops: Sequence[Any], operands: Sequence[Sequence[Node]]) -> None:
        self.members = [Parts.of(*pair) for pair in zip(ops, operands, strict=True)]
        self.rows: dict[Node, Node] = {}  # what stands for an element of an operand
        self.captured: dict[Node, Node] = {}
        self.carried: dict[Place, Carry] = {
            (m, i): carry
            for m, parts in enumerate(self.members)
            for i, carry in enumerate(parts.carries)
        }
        types = (carry.own.type for carry in self.carried.values())
        self.fresh = dict(zip(self.carried, parameters("carry", types), strict=True))
        self.own = dict(self.fresh)
        self.made: list[list[Node]] = []
        while self._refine() or self._capture():
            pass

    def _capture(self) -> bool:
        """Capture the carries that never change; -> whether there is one."""
        still = [at for at in self.carried if self.made[at[0]][at[1]] is self.own[at]]
        for at in still:
            self.own[at] = _stand_in(self.captured, self.carried.pop(at).init)
        return bool(still)

    def _refine(self) -> bool:
        """Give the carries of each of the coarsest classes that steps keep one placeholder."""
        classes: dict[Place, Any] = {at: carry.init for at, carry in self.carried.items()}
        while True:
            leaders: dict[Any, Place] = {}
            for at, key in classes.items():
                leaders.setdefault(key, at)
            self.own |= {at: self.fresh[leaders[key]] for at, key in classes.items()}
            self.made = [self._step(m) for m in range(len(self.members))]
            classes = {(m, i): (self.own[m, i], self.made[m][i]) for m, i in classes}
            if len(set(classes.values())) == len(leaders):
                return False

    def _step(self, m: int) -> list[Node]:
        """What a step of a member makes: next carries, ys, and its test."""
        parts = self.members[m]
        operands = [self.own[m, i] for i in range(len(parts.carries))]
        operands += [_stand_in(self.rows, x.operand, 1) for x in parts.xs]
        operands += [_stand_in(self.captured, k.operand) for k in parts.captured]
        test = parts.op.graphs.get("test")
        made = applied(parts.op.body, operands)
        return made + (applied(test, operands) if test else [])

    @property
    def shares(self) -> bool:
        """Whether several members read, carry or compute the same, and it is worth making once."""
        fed = {own for operand, own in self.rows.items() if not operand.is_constant}
        worth = fed | {self.own[at] for at in self.carried}
        owners: dict[Node, int] = {}
        for m, made in enumerate(self.made):
            for node in topological(made):
                is_worth = not is_cheap(node) if node.inputs else node in worth
                if owners.setdefault(node, m) != m and is_worth:
                    return True
        return False

    @property
    def tests_agree(self) -> bool:
        """Whether one and the same test tells the members to stop."""
        tests = [
            made[len(parts.op.body.outputs) :]
            for made, parts in zip(self.made, self.members, strict=True)
        ]
        return all(a is b for test in tests for a, b in zip(test, tests[0], strict=True))

    def build(self, used: Sequence[Sequence[int]]) -> dict[Place, Node]:
        """The results that are used, member by member, as those of one loop, or without any."""
        results: dict[Place, Node] = {}
        ys: dict[Node, list[Place]] = {}
        last: dict[Node, list[Place]] = {}
        for m, parts in enumerate(self.members):
            for i in used[m]:
                if i < len(parts.carries) and (m, i) in self.carried:
                    last.setdefault(self.own[m, i], []).append((m, i))
                elif i < len(parts.carries):
                    results[m, i] = parts.carries[i].init
                elif (known := self._without_loop(self.made[m][i])) is not None:
                    results[m, i] = known
                else:
                    ys.setdefault(self.made[m][i], []).append((m, i))
        if not ys and not last:
            return results
        parts = self._parts(list(ys), last)
        carries, stacks = parts.build()
        for carry, value in zip(parts.carries, carries, strict=True):
            results |= dict.fromkeys(last.get(carry.own, ()), value)
        for places, value in zip(ys.values(), stacks, strict=True):
            results |= dict.fromkeys(places, value)
        return results

    def _parts(self, ys: list[Node], last: Collection[Node]) -> Parts:
        """The parts of the one loop, of whose carries those are left that something reads."""
        first = self.members[0]
        op: Any = first.op
        if isinstance(op, Scan):
            op = replace(op, unroll=max(parts.op.unroll for parts in self.members))  # type: ignore[union-attr]
        test = self.made[0][len(op.body.outputs) :]
        carries = {self.own[m, i]: (m, i) for m, i in reversed(self.carried)}
        live = set(last)
        while True:
            afters = [self.made[m][i] for own, (m, i) in carries.items() if own in live]
            found = needed([*afters, *ys, *test], carries) & carries.keys()
            if found <= live:
                break
            live |= found
        kept = [
            Carry(self.carried[at].init, own, self.made[at[0]][at[1]])
            for own, at in reversed(carries.items())
            if own in live
        ]
        rows, captured = (
            [Given(*x) for x in given.items()] for given in (self.rows, self.captured)
        )
        return Parts(op, kept, rows, captured, ys, test)

    def _without_loop(self, y: Node) -> Node | None:
        """A stacked y that is an x, or the same at each step; None if it is neither."""
        for operand, own in self.rows.items():
            if own is y:
                return operand
        varying = set(self.rows.values()) | {self.own[at] for at in self.carried}
        order = topological([y])
        if any(node in varying or node.op.may_fail for node in order):
            return None
        (once,) = remade([y], {own: operand for operand, own in self.captured.items()})
        (length,) = self.members[0].op.length  # type: ignore[union-attr]
        result = broadcast_to(expand_dims(once, 0), (length, *y.shape))
        assert isinstance(result, Node)
        return result


class CondUnion:
    """Conditions by one predicate, none of which needs another's result."""

    def __init__(self, ops: Sequence[Any], operands: Sequence[Sequence[Node]]) -> None:
        self.pred = operands[0][0]
        self.known: dict[Node, Node] = {}
        self.made: list[list[tuple[Node, Node]]] = []  # by both branches, member by member
        for op, (_, *given) in zip(ops, operands, strict=True):
            own = [_stand_in(self.known, operand) for operand in given]
            branches = applied(op.then, own), applied(op.other, own)
            self.made.append(list(zip(*branches, strict=True)))

    def build(self, used: Sequence[Sequence[int]]) -> dict[Place, Node]:
        """The results that are used, member by member, as those of one condition."""
        outside = {own: operand for operand, own in self.known.items()}
        pairs: dict[tuple[Node, Node], list[Place]] = {}
        results: dict[Place, Node] = {}
        for m, made in enumerate(self.made):
            for i in used[m]:
                then, other = made[i]
                if then is other and then in outside:
                    results[m, i] = outside[then]
                else:
                    pairs.setdefault((then, other), []).append((m, i))
        if not pairs:
            return results
        outputs = {"then": [a for a, _ in pairs], "other": [b for _, b in pairs]}
        read = needed([*outputs["then"], *outputs["other"]], outside)
        own = [x for x in outside if x in read]
        graphs, _ = close(outputs, numbered("x", own))
        node = build(Cond(*graphs), (self.pred, *(outside[x] for x in own)))
        for places, value in zip(pairs.values(), items(node), strict=True):
            results |= dict.fromkeys(places, value)
        return results


def _stand_in(known: dict[Node, Node], operand: Node, axes: int = 0) -> Node:
    """What stands in a body for an operand, without its first axes."""
    if operand not in known:
        type_ = operand.type.with_shape(operand.shape[axes:])
        (known[operand],) = parameters("operand", [type_])
    return known[operand]
