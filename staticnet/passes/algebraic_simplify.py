"""`algebraic_simplify`: rules that hold of real numbers, each with what it does to floating point.

A rule is exact if both sides have the same bits for every input, NaN, infinities and -0.0 included
(NaNs count as equal). `numerics="exact"` keeps only those. Each names the kinds of dtypes for whose
values it is an equation, integers' wrapped ones included, and is tried on no others.
"""

from __future__ import annotations

from typing import Any

from staticnet.ir.graph import Graph
from staticnet.ops.arguments import ANY, BOOLS, FLOATS, INTEGERS, NUMBERS, SIGNED
from staticnet.ops.arithmetic import abs, maximum, minimum
from staticnet.ops.arithmetic import pow as power
from staticnet.ops.comparison import logical_not
from staticnet.ops.selection import astype, relu, stop_gradient, where
from staticnet.ops.transcendental import exp, log, sqrt
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import rewrite
from staticnet.rewrite.gathered import GATHERED_RULES
from staticnet.rewrite.one_index import ONE_INDEX_RULES
from staticnet.rewrite.pattern import APPROXIMATES, EXACT, Numerics, algebraic
from staticnet.rewrite.pieces import sum_of_pieces
from staticnet.rewrite.structure import STRUCTURE_RULES


@algebraic(lambda x: x * 1, EXACT, NUMBERS)
def multiply_by_one(x: Any) -> Any:
    return x


@algebraic(lambda x: x / 1, EXACT, FLOATS)
def divide_by_one(x: Any) -> Any:
    return x


@algebraic(lambda x: x - 0, EXACT, NUMBERS)
def subtract_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: x + (-0.0), EXACT, FLOATS)
def add_negative_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: x + 0, EXACT, INTEGERS)
def add_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: x + 0, EXACT, FLOATS, domain="x is not -0.0")
def add_positive_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: 0 - x, EXACT, INTEGERS)
def subtract_from_zero(x: Any) -> Any:
    return -x


@algebraic(lambda x: 0 - x, EXACT, FLOATS, domain="x is not 0.0")
def subtract_from_positive_zero(x: Any) -> Any:
    return -x


@algebraic(lambda x: x * -1, EXACT, SIGNED)
def multiply_by_minus_one(x: Any) -> Any:
    return -x


@algebraic(lambda x: -(-x), EXACT, NUMBERS)
def negative_of_negative(x: Any) -> Any:
    return x


@algebraic(lambda x, y: x + (-y), EXACT, NUMBERS)
def add_negative(x: Any, y: Any) -> Any:
    return x - y


@algebraic(lambda x, y: x - (-y), EXACT, NUMBERS)
def subtract_negative(x: Any, y: Any) -> Any:
    return x + y


@algebraic(lambda x, y: (-x) * (-y), EXACT, NUMBERS)
def multiply_negatives(x: Any, y: Any) -> Any:
    return x * y


@algebraic(lambda x: x * 0, EXACT, INTEGERS)
def integer_times_zero(x: Any) -> Any:
    return astype(0, x.dtype)


@algebraic(lambda x: x**1, EXACT, NUMBERS)
def power_one(x: Any) -> Any:
    return x


@algebraic(lambda x: x**2, APPROXIMATES, FLOATS)
def power_two(x: Any) -> Any:
    return x * x


@algebraic(lambda x: x**3, APPROXIMATES, FLOATS)
def power_three(x: Any) -> Any:
    return x * x * x


@algebraic(lambda x: x**0.5, APPROXIMATES, FLOATS, domain="x is not -infinity or -0.0")
def power_half(x: Any) -> Any:
    return sqrt(x)


@algebraic(lambda x: x**-1, APPROXIMATES, FLOATS)
def power_minus_one(x: Any) -> Any:
    return 1 / x


@algebraic(lambda x: power(x, 0), EXACT, NUMBERS)
def power_zero(x: Any) -> Any:
    return astype(1, x.dtype)


@algebraic(
    lambda x: log(exp(x)), APPROXIMATES, FLOATS, domain="e**x neither overflows nor underflows"
)
def log_of_exp(x: Any) -> Any:
    return x


@algebraic(lambda x: abs(abs(x)), EXACT, NUMBERS)
def abs_of_abs(x: Any) -> Any:
    return abs(x)


@algebraic(lambda x: abs(-x), EXACT, SIGNED)
def abs_of_negative(x: Any) -> Any:
    return abs(x)


@algebraic(lambda x: relu(relu(x)), EXACT, NUMBERS)
def relu_of_relu(x: Any) -> Any:
    return relu(x)


@algebraic(lambda x: maximum(x, x), EXACT, NUMBERS)
def maximum_of_same(x: Any) -> Any:
    return x


@algebraic(lambda x: minimum(x, x), EXACT, NUMBERS)
def minimum_of_same(x: Any) -> Any:
    return x


@algebraic(lambda x: logical_not(logical_not(x)), EXACT, BOOLS)
def not_of_not(x: Any) -> Any:
    return x


@algebraic(lambda x: stop_gradient(x), EXACT, ANY)
def drop_stop_gradient(x: Any) -> Any:
    return x


@algebraic(lambda c, x: where(c, x, x), EXACT, ANY)
def where_of_same(c: Any, x: Any) -> Any:
    return x


RULES = (
    multiply_by_one,
    divide_by_one,
    subtract_zero,
    add_negative_zero,
    add_zero,
    add_positive_zero,
    subtract_from_zero,
    subtract_from_positive_zero,
    multiply_by_minus_one,
    negative_of_negative,
    add_negative,
    subtract_negative,
    multiply_negatives,
    integer_times_zero,
    power_zero,
    power_one,
    power_two,
    power_three,
    power_half,
    power_minus_one,
    log_of_exp,
    abs_of_abs,
    abs_of_negative,
    relu_of_relu,
    maximum_of_same,
    minimum_of_same,
    not_of_not,
    drop_stop_gradient,
    where_of_same,
    *STRUCTURE_RULES,
    *ONE_INDEX_RULES,
    *GATHERED_RULES,
    sum_of_pieces,
)


def algebraic_simplify(graph: Graph, context: Context) -> Graph:
    """The graph in the rules' normal form; exact compilation uses the exact rules alone."""
    exact = context.numerics == "exact"
    rules = [rule for rule in RULES if rule.is_exact or not exact]
    return rewrite(graph, rules, "algebraic_simplify", context.notes)


ALGEBRAIC_SIMPLIFY = Pass(
    "algebraic_simplify", algebraic_simplify, Numerics.APPROXIMATES, selects=True
)
