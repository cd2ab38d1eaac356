"""Products and sums written as one would by hand: like factors are one power, like terms one term.

x * 2 * x / y / y   ->  2 * x**2 / y**2
cos(x) - x * sin(x) + cos(x)   ->  2 * cos(x) - x * sin(x)
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS
from staticnet.ops.arithmetic import pow as power
from staticnet.ops.base import Constant, Elementwise, constant
from staticnet.ops.shape import BroadcastTo
from staticnet.ops.transcendental import sqrt
from staticnet.rewrite.pattern import APPROXIMATES, Rule, structural

_PRODUCTS = ("multiply", "divide", "negative", "rsqrt")
_SUMS = ("add", "subtract")
_ROOTS = {"sqrt": 0.5, "rsqrt": -0.5}
Factors = dict[Node, float]  # bases with their exponents
Term = tuple[float, Factors]


def number_of(node: Node) -> float | None:
    """The number that a node is everywhere."""
    if isinstance(node.op, BroadcastTo):
        node = node.inputs[0]
    if not isinstance(node.op, Constant) or node.op.value.type.size != 1:
        return None
    return float(node.op.value.scalar)


def _flat(node: Node, exponent: float, found: Factors) -> float:
    """Put the factors of a node's power into `found`; -> the number before them."""
    name, inputs = node.op.name, node.inputs
    value = number_of(node)
    if value is not None and (value > 0 or (value and exponent == int(exponent))):
        return float(value**exponent)
    if name == "multiply":
        return _flat(inputs[0], exponent, found) * _flat(inputs[1], exponent, found)
    if name == "divide":
        return _flat(inputs[0], exponent, found) * _flat(inputs[1], -exponent, found)
    if name == "negative" and exponent == int(exponent):
        return float((-1) ** int(exponent)) * _flat(inputs[0], exponent, found)
    if name in _ROOTS:
        return _power(inputs[0], exponent * _ROOTS[name], found)
    if name == "pow" and (by := number_of(inputs[1])) is not None:
        return _power(inputs[0], exponent * by, found)
    return _power(node, exponent, found)


def _power(base: Node, exponent: float, found: Factors) -> float:
    found[base] = found.get(base, 0.0) + exponent
    return 1.0


def _term(node: Node) -> Term:
    found: Factors = {}
    number = _flat(node, 1.0, found)
    return number, {base: by for base, by in found.items() if by}


def _terms(node: Node, sign: float, found: list[Term]) -> None:
    if node.op.name in _SUMS:
        _terms(node.inputs[0], sign, found)
        _terms(node.inputs[1], -sign if node.op.name == "subtract" else sign, found)
        return
    number, factors = _term(node)
    found.append((sign * number, factors))


def _product(factors: Factors, number: float, dtype: Any) -> Value:
    """number * a**2 * b / (c * d), the number and its sign in front."""
    above: list[Value] = [_raised(base, by, dtype) for base, by in factors.items() if by > 0]
    below = [_raised(base, -by, dtype) for base, by in factors.items() if by < 0]
    if not above or number not in (1.0, -1.0):
        above.insert(0, constant(number, dtype))
    elif number < 0:
        above[0] = -above[0]
    made, under = _joined(above), _joined(below)
    return made if not below else made / under


def _joined(parts: list[Value]) -> Value:
    return functools.reduce(operator.mul, parts) if parts else constant(1.0)


def _raised(base: Node, by: float, dtype: Any) -> Value:
    if by == 1.0:
        return base
    return sqrt(base) if by == 0.5 else power(base, constant(by, dtype))


def _factors_collected(node: Node) -> Value | None:
    """Like factors are one power, and the number stands in front."""
    if node.op.name not in _PRODUCTS:
        return None
    number, factors = _term(node)
    if not _is_plain(number) or number == 0:
        return None
    return _product(factors, number, node.dtype)


def _is_plain(number: float) -> bool:
    return abs(number) < 1e15 and (number == 0 or abs(number) > 1e-15)


def _sum_collected(node: Node) -> Value | None:
    """Like terms are one, a positive one stands in front, and a number last if another does."""
    if node.op.name not in _SUMS:
        return None
    terms: list[Term] = []
    _terms(node, 1.0, terms)
    merged: dict[Any, Term] = {}
    for number, factors in terms:
        key = frozenset(factors.items())
        before = merged[key][0] if key in merged else 0.0
        merged[key] = before + number, factors
    left = [term for key, term in merged.items() if term[0] and key]
    left += [term for key, term in merged.items() if term[0] and not key]
    if not left:
        return constant(0.0, node.dtype)
    ahead = next((i for i, (number, _) in enumerate(left) if number > 0), 0)
    left.insert(0, left.pop(ahead))
    if not all(_is_plain(number) for number, _ in left):
        return None
    total = _product(left[0][1], left[0][0], node.dtype)
    for number, factors in left[1:]:
        part = _product(factors, abs(number), node.dtype)
        total = total + part if number > 0 else total - part
    return total


def _rule(name: str, example: Any, f: Callable[[Node], Value | None]) -> Rule:
    def rewrite(node: Node) -> Value | None:
        return f(node)

    rewrite.__name__ = name
    return structural(Elementwise, example, APPROXIMATES, FLOATS, "the result is finite")(rewrite)


collect_factors = _rule("collect_factors", lambda x: x * 2 * x, _factors_collected)
collect_terms = _rule("collect_like_terms", lambda x: x * 2 + x, _sum_collected)
