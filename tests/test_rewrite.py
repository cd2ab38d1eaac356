"""Every rewrite rule is an equation: both sides are evaluated on tensors with special values."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import VerifyError
from staticnet.passes.algebraic_simplify import RULES
from staticnet.rewrite.driver import rewrite
from staticnet.rewrite.pattern import EXACT, REASSOCIATES, Rule, algebraic

DTYPES = ("float32", "float64", "int32", "bool")
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1.5, 2.0, 3.0, 0.1, -7.25, 65504.0]
TAME = {  # where a rule's domain is limited, values inside it
    "x is not -0.0": [v for v in SPECIAL if not (v == 0 and np.signbit(v))],
    "x is not 0.0": [v for v in SPECIAL if v != 0 or np.signbit(v)],
    "x is not -infinity or -0.0": [v for v in SPECIAL if v not in (-np.inf, 0.0)] + [0.0],
    "e**x neither overflows nor underflows": [-5.0, -1.5, 0.25, 3.0, 7.0, 11.0],
}


def instance(rule: Rule, dtype: str) -> tuple[list[Any], Any] | None:
    """Placeholders and a left side of the rule in this dtype, or None where it has none."""
    names = list(inspect.signature(rule.example).parameters)
    xs = [sn.placeholder((12,), "bool" if name == "c" else dtype, name) for name in names]
    try:
        left = rule.example(*xs)
    except sn.errors.DTypeError:
        return None
    return (xs, left) if isinstance(left.op, rule.root) else None


def feeds(rule: Rule, xs: list[Any]) -> list[Any]:
    values = TAME[rule.domain] if rule.domain else SPECIAL
    rng = np.random.default_rng(0)
    result = []
    for x in xs:
        drawn = rng.permutation(np.resize(values, 12))
        if x.dtype.kind in "ib":
            drawn = np.nan_to_num(drawn, posinf=9, neginf=-9)
        result.append(drawn.astype(x.dtype))
    return result


def signs(a: Any) -> Any:
    """Where the sign bit is set, NaN aside: 0.0 is not -0.0."""
    return np.signbit(a) & ~np.isnan(a) if a.dtype.kind == "f" else a < 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_both_sides_agree(rule: Rule, dtype: str) -> None:
    made = instance(rule, dtype)
    if made is None:
        return  # test_every_rule_fires holds that some dtype has it
    xs, left = made
    right = rule.rewrite(left)
    if right is None:
        return
    right = sn.broadcast_to(right, left.shape)
    assert right.dtype == left.dtype
    a, b = sn.function(xs, [left, right], disabled_passes=["algebraic_simplify"])(*feeds(rule, xs))
    if rule.numerics is EXACT:
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(signs(a), signs(b))
    else:
        eps = np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0
        np.testing.assert_allclose(a, b, rtol=4 * eps)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_every_rule_fires(rule: Rule) -> None:
    fired = []
    for dtype in DTYPES:
        made = instance(rule, dtype)
        if made is not None:
            fired.append(rule.rewrite(made[1]) is not None)
    assert any(fired)


def test_rules_are_named_once() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_commutative_patterns_match_both_orders() -> None:
    x = sn.placeholder((3,), name="x")
    for y in (x * 1, 1 * x, sn.ones((3,)) * x):
        graph = rewrite(sn.Graph("g", [x], [y]), RULES, "test", Counter())
        assert graph.outputs == (x,)


def test_a_pattern_variable_stands_for_one_node() -> None:
    x, y = sn.placeholder((3,), name="x"), sn.placeholder((3,), name="y")
    fired: Counter[str] = Counter()
    rewrite(sn.Graph("g", [x, y], [sn.maximum(x, y), sn.maximum(x, x)]), RULES, "test", fired)
    assert fired == {"maximum_of_same": 1}


def test_a_new_right_side_is_rewritten_too() -> None:
    x = sn.placeholder((3,), name="x")
    y = (-x) * -1 - 0
    assert rewrite(sn.Graph("g", [x], [y]), RULES, "test", Counter()).outputs == (x,)


def test_endless_rules_are_caught() -> None:
    @algebraic(lambda x, y: x + y, REASSOCIATES)
    def swap(x: Any, y: Any) -> Any:
        return y + (x + 1.0)

    x, y = sn.placeholder((3,), name="x"), sn.placeholder((3,), name="y")
    with pytest.raises(VerifyError, match=r"add .*test_rewrite.py:\d+.*is rewritten without end"):
        rewrite(sn.Graph("g", [x, y], [x + y]), [swap], "test", Counter())


def test_a_rule_that_changes_the_type_is_caught() -> None:
    @algebraic(lambda x: sn.sin(x), EXACT)
    def widen(x: Any) -> Any:
        return sn.astype(x, "float64")

    x = sn.placeholder((3,), name="x")
    with pytest.raises(VerifyError, match="the rule widen makes"):
        rewrite(sn.Graph("g", [x], [sn.sin(x)]), [widen], "test", Counter())
