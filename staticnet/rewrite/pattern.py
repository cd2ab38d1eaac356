"""Patterns and rules. A pattern is an expression of pattern variables, written with the graph's own
operators; a rule is an equation with a pattern on its left.

    @algebraic(lambda x: x * 1, EXACT, NUMBERS)
    def multiply_by_one(x): return x

The same lambda, given tensors, builds an instance of the left side: the tests evaluate both sides.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import is_floating, kind
from staticnet.ir.location import Location, written_at
from staticnet.ir.node import Node
from staticnet.ir.op import Op
from staticnet.ir.value import Value
from staticnet.ops.arguments import ANY
from staticnet.ops.base import Constant
from staticnet.ops.shape import BroadcastTo

# The extrema are not: of 0.0 and -0.0 they give the second.
COMMUTATIVE = frozenset({"add", "multiply", "equal", "not_equal"})


class Numerics(enum.Enum):
    """What a rewrite does to the result: keeps its bits, its real value, or neither."""

    EXACT = "exact"
    REASSOCIATES = "reassociates"
    APPROXIMATES = "approximates"


EXACT, REASSOCIATES, APPROXIMATES = Numerics


def as_numerics(value: Any, what: str) -> Numerics:
    """What a user says of the numbers, as a member of `Numerics` or its value.

    Raises:
        ArgumentError: if it is neither.
    """
    try:
        return Numerics(value)
    except ValueError:
        names = ", ".join(repr(each.value) for each in Numerics)
        raise ArgumentError(f"{what}: numerics {value!r:.60}: use one of {names}") from None


class Pattern(Value):
    """An op applied to patterns and numbers, or a variable (an op of None)."""

    __slots__ = ("name", "op", "operands")
    apply_priority = 2

    def __init__(self, op: Op | None, operands: Sequence[Any], name: str = "") -> None:
        self.op = op
        self.operands = tuple(operands)
        self.name = name

    @classmethod
    def apply(cls, op: Op, operands: Sequence[Any]) -> Pattern:
        """The pattern of `op` on patterns and numbers."""
        return cls(op, operands)

    def match(self, node: Node, found: dict[str, Node]) -> bool:
        """Whether `node` has this form; `found` gets what the variables stand for."""
        if self.op is None:
            return found.setdefault(self.name, node) is node
        if node.op != self.op:
            return False
        orders = [node.inputs]
        if self.op.name in COMMUTATIVE:
            orders.append(node.inputs[::-1])
        for inputs in orders:
            trial = dict(found)
            pairs = zip(self.operands, inputs, strict=True)
            if all(_match(operand, operand_node, trial) for operand, operand_node in pairs):
                found.update(trial)
                return True
        return False


def _match(operand: Any, node: Node, found: dict[str, Node]) -> bool:
    if isinstance(operand, Pattern):
        return operand.match(node, found)
    return is_number(node, operand)


def is_number(node: Node, number: float) -> bool:
    """Whether a node is this number everywhere, to the bit (0.0 is not -0.0).

    A number that the node's dtype does not have, as 300 or 0.5 of uint8, is none of its values.
    """
    if isinstance(node.op, BroadcastTo):
        node = node.inputs[0]
    if not isinstance(node.op, Constant) or node.op.value.type.size != 1:
        return False
    value = node.op.value.scalar
    if not is_floating(node.dtype):
        return bool(int(value) == number)
    with np.errstate(over="ignore"):
        wanted = np.array(number).astype(node.dtype)
    same_kind = np.isfinite(wanted.astype(np.float64)) == np.isfinite(number)
    return bool(same_kind and wanted.tobytes() == node.op.value.data)


@dataclass(frozen=True)
class Rule:
    """A rewrite of nodes of one op or family: what it keeps, where it holds, and an instance.

    `rewrite(node)` gives the right side or None. The two sides agree, as `numerics` says, for
    results of `kinds` of dtypes, of which alone the rule makes rewrites, and for the inputs of
    `domain`, or all if that is empty. `right` is the rewrite without the check, and
    `example(*tensors)` builds a left side. `where` is the line of a user's own rule.
    """

    name: str
    root: type[Op]
    numerics: Numerics
    kinds: frozenset[str]
    domain: str
    right: Callable[[Node], Value | None]
    example: Callable[..., Value]
    where: Location | None = None

    def __str__(self) -> str:
        return self.name if self.where is None else f"{self.name} ({self.where})"

    @property
    def is_exact(self) -> bool:
        """Whether the rule keeps every bit for every input."""
        return self.numerics is EXACT and not self.domain

    def rewrite(self, node: Node) -> Value | None:
        """The right side for a node that is a left side of a dtype of `kinds`, else None."""
        return self.right(node) if kind(node.dtype) in self.kinds else None


def algebraic(
    left: Callable[..., Any],
    numerics: Numerics,
    kinds: frozenset[str] = ANY,
    domain: str = "",
) -> Callable[[Callable[..., Any]], Rule]:
    """A rule `left == right` of patterns, for results of these kinds and inputs of `domain`."""
    names = list(inspect.signature(left).parameters)
    pattern = left(*(Pattern(None, (), name) for name in names))

    def decorate(right: Callable[..., Any]) -> Rule:
        def rewrite(node: Node) -> Value | None:
            found: dict[str, Node] = {}
            if not pattern.match(node, found):
                return None
            return right(*(found[name] for name in names))

        root = type(pattern.op)
        where = written_at(right)
        return Rule(right.__name__, root, numerics, kinds, domain, rewrite, left, where)

    return decorate


def structural(
    root: type[Op],
    example: Callable[..., Any],
    numerics: Numerics = EXACT,
    kinds: frozenset[str] = ANY,
    domain: str = "",
) -> Callable[[Callable[[Node], Value | None]], Rule]:
    """A rule on nodes of `root` that looks at attributes, given as a function of the node."""

    def decorate(rewrite: Callable[[Node], Value | None]) -> Rule:
        return Rule(rewrite.__name__, root, numerics, kinds, domain, rewrite, example)

    return decorate
