"""The algebra of the passes, one rewrite at a time: what each does to a derivative that is read.

To the compiler's own rules come those that only a reader needs: like terms and factors are
collected, and what a rule of differentiation guards at single points is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from staticnet.control.traced import substitute
from staticnet.errors import StaticnetError
from staticnet.explain.collect import collect_factors, collect_terms, number_of
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, topological
from staticnet.ir.value import Value
from staticnet.ops.arguments import BOOLS, FLOATS
from staticnet.ops.arithmetic import Divide, hypot
from staticnet.ops.base import Constant, constant
from staticnet.ops.comparison import Equal, Isfinite, bitwise_and, bitwise_or, equal, isfinite
from staticnet.ops.evaluate import evaluate
from staticnet.ops.selection import relu, where
from staticnet.ops.shape import broadcast_to
from staticnet.ops.transcendental import sqrt
from staticnet.passes import algebraic_simplify as algebra
from staticnet.rewrite.pattern import APPROXIMATES, EXACT, Rule, algebraic, structural
from staticnet.rewrite.structure import STRUCTURE_RULES

MOST = 1000  # rewrites of one expression


class Rewrite(NamedTuple):
    """One rewrite: the rule's name, what it replaced by what, and the whole afterwards."""

    rule: str
    before: Node
    after: Node
    whole: Node


@algebraic(lambda x: x * 0, APPROXIMATES, FLOATS, domain="x is finite")
def multiply_by_zero(x: Any) -> Any:
    return 0


@algebraic(lambda x, y: hypot(x, y), APPROXIMATES, FLOATS)
def hypotenuse(x: Any, y: Any) -> Any:
    return sqrt(x**2 + y**2)


@algebraic(lambda x: bitwise_and(False, x), EXACT, BOOLS)
def and_false(x: Any) -> Any:
    return False


@algebraic(lambda x: bitwise_or(False, x), EXACT, BOOLS)
def or_false(x: Any) -> Any:
    return x


@algebraic(lambda x: relu(x) > 0, EXACT)
def where_relu_is_positive(x: Any) -> Any:
    return x > 0


@algebraic(lambda x, y: where(True, x, y), EXACT)
def where_true(x: Any, y: Any) -> Any:
    return x


@algebraic(lambda x, y: where(False, x, y), EXACT)
def where_false(x: Any, y: Any) -> Any:
    return y


@structural(Isfinite, isfinite, APPROXIMATES, domain="x is finite")
def away_from_poles(node: Node) -> Value | None:
    return constant(True)


@structural(Equal, lambda x: equal(x, 9), APPROXIMATES, domain="x is not that number")
def away_from_one_point(node: Node) -> Value | None:
    x, number = node.inputs if number_of(node.inputs[0]) is None else node.inputs[::-1]
    moves = is_floating(x.dtype) and not x.is_constant
    return constant(False) if moves and number_of(number) is not None else None


# Not those that make numbers faster to compute and harder to read, nor what moves the bounds
# of gradients: a derivative may be differentiated again.
_UNREAD = {"power_two", "power_three", "power_minus_one", "power_half", "drop_stop_gradient"}
_ALGEBRA = tuple(
    rule
    for rule in algebra.RULES
    if rule.name not in _UNREAD and not rule.kinds.isdisjoint(FLOATS | {"bool"})
)


@structural(Divide, lambda x: 0 / x, APPROXIMATES, domain="x is not 0")
def nothing_over_something(node: Node) -> Value | None:
    above = node.inputs[0]
    return constant(0.0, node.dtype) if number_of(above) == 0 else None


ALMOST_EVERYWHERE = (away_from_poles, away_from_one_point, nothing_over_something)
"""Rules for what a derivative's rule made, never for what the user wrote."""
RULES: tuple[Rule, ...] = (
    *(rule for rule in _ALGEBRA if rule not in STRUCTURE_RULES),
    multiply_by_zero,
    where_relu_is_positive,
    and_false,
    or_false,
    where_true,
    where_false,
    hypotenuse,
    *(rule for rule in STRUCTURE_RULES if rule in _ALGEBRA),
    collect_factors,
    collect_terms,
)


def rewrites(expression: Node, given: set[Node]) -> Iterator[Rewrite]:
    """The rewrites of an expression, one at a time, until no rule says anything of it.

    What a rule of differentiation guards at single points is left out, but nothing of `given`.
    """
    seen = {expression}
    for _ in range(MOST):
        found = _first(expression, given)
        if found is None or found.whole in seen:  # two rules that undo each other
            return
        seen.add(found.whole)
        yield found
        expression = found.whole


def simplified(expression: Node, given: Sequence[Node] = ()) -> Node:
    """An expression after all rewrites."""
    known = set(topological(given))
    for rewrite in rewrites(expression, known):
        expression = rewrite.whole
    return expression


def _first(expression: Node, given: set[Node]) -> Rewrite | None:
    order = topological([expression])
    for node in order:
        for rule in (*ALMOST_EVERYWHERE, *RULES):
            if not issubclass(type(node.op), rule.root):
                continue
            if node in given and (rule in ALMOST_EVERYWHERE or rule.root.name == ""):
                continue
            after = _right(rule, node)
            if after is not None and after is not node:
                return Rewrite(_title(rule), node, after, replaced(expression, node, after))
        if (number := _number(node)) is not None and node not in given:
            return Rewrite("arithmetic", node, number, replaced(expression, node, number))
    return None


def _title(rule: Rule) -> str:
    return rule.name.replace("_", " ")


def _right(rule: Rule, node: Node) -> Node | None:
    """What a rule makes of a node, in its type."""
    right: Any = rule.rewrite(node)
    if right is None:
        return None
    if not isinstance(right, Value):
        right = constant(right, node.dtype)
    if right.dtype != node.dtype:
        return None
    made: Any = right if right.shape == node.shape else broadcast_to(right, node.shape)
    return made


def replaced(expression: Node, node: Node, by: Value) -> Node:
    """An expression with one node replaced."""
    if expression is node:
        made: Any = by
        return made
    (result,) = substitute([expression], {node: by})
    made = result
    return made


def _number(node: Node) -> Node | None:
    """The number that a scalar expression of numbers is; None of others, and of numbers."""
    if not node.is_constant or isinstance(node.op, Constant) or node.shape != ():
        return None
    return folded(node)


def computed(expression: Node, given: set[Node]) -> Node:
    """An expression whose scalars without inputs are numbers, but for those of `given`."""
    known: dict[Node, Node] = {}
    for node in topological([expression]):
        if node not in given and (number := _number(node)) is not None:
            known[node] = number
    if expression in known:
        return known[expression]
    made: Any = substitute([expression], known)[0] if known else expression
    return made


def folded(node: Node) -> Node | None:
    """The value of a scalar that depends on no input, as a number."""
    known: dict[Node, Any] = {}
    try:
        for each in topological([node]):
            known[each] = np.asarray(evaluate(each, [known[x] for x in each.inputs]))
    except StaticnetError:  # it fails when it runs, or has the number of a symbolic dim
        return None
    return constant(known[node])
