"""Every rewrite rule is an equation: both sides are evaluated on tensors with special values."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from everywhere import DEVICES, on

import staticnet as sn
from staticnet.errors import VerifyError
from staticnet.ir.dtype import DTYPES as ALL_DTYPES
from staticnet.ir.dtype import kind
from staticnet.ops.base import Elementwise
from staticnet.ops.selection import Cast
from staticnet.passes.algebraic_simplify import RULES
from staticnet.rewrite.driver import rewrite
from staticnet.rewrite.pattern import EXACT, REASSOCIATES, Rule, algebraic, is_number

DTYPES = tuple(ALL_DTYPES.values())
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, -1.5, 2.0, 3.0, 0.1, -7.25]
TAME = {  # where a rule's domain is limited, values inside it
    "x is not -0.0": [v for v in SPECIAL if not (v == 0 and np.signbit(v))],
    "x is not 0.0": [v for v in SPECIAL if v != 0 or np.signbit(v)],
    "x is not -infinity or -0.0": [v for v in SPECIAL if v not in (-np.inf, 0.0)] + [0.0],
    "e**x neither overflows nor underflows": [-5.0, -1.5, 0.25, 3.0, 7.0, 11.0],
}
FINITE = [0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.0, 3.0, 0.1, -7.25, 640.0, 1e-3]
SHAPES = [(), (1,), (0,), (2, 0), (3, 1, 2)]


def edges(rule: Rule, dtype: Any) -> Any:
    """Values at which a rule may fail: those of the dtype's ends, and around 0."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        near = {ends.min, ends.min + 1, ends.max - 1, ends.max, ends.max // 2, 0, 1, 2, 3, 7}
        return np.array(sorted(near | ({-1, -2, -7} if dtype.kind == "i" else set())), dtype)
    if rule.numerics is REASSOCIATES:
        return np.array(FINITE).astype(dtype)
    limits = ml_dtypes.finfo(dtype)
    names = ("max", "min", "smallest_normal", "smallest_subnormal")
    ends = [] if rule.domain.startswith("e**x") else [float(getattr(limits, n)) for n in names]
    with np.errstate(over="ignore"):
        values = [*(TAME[rule.domain] if rule.domain else SPECIAL), *ends]
        return np.array([v for v in values if v == 0 or dtype.type(v) != 0]).astype(dtype)


def instance(
    rule: Rule, dtype: Any, shapes: list[Any], number: int
) -> tuple[list[Any], Any] | None:
    """Placeholders and a left side of the rule in this dtype, or None where it has none."""
    xs = [
        sn.placeholder(shape, "bool" if name == "c" else dtype, f"{name}{number}")
        for name, shape in zip(inspect.signature(rule.example).parameters, shapes, strict=True)
    ]
    try:
        left = rule.example(*xs)
    except (sn.errors.DTypeError, sn.errors.ShapeError):
        return None
    return (xs, left) if isinstance(left.op, rule.root) else None


def sizes(rule: Rule, dtype: Any) -> list[list[Any]]:
    """Shapes of the example's tensors: all pairs of edges, every rank, sizes 0 and 1."""
    count = len(inspect.signature(rule.example).parameters)
    pairs = len(edges(rule, dtype)) ** count
    same = [[shape] * count for shape in ((pairs,), (12,), (12, 2), *SHAPES)]
    return (
        same if count == 1 else [*same, [(3, 1), (2,)], [(), (4,)], [(2, 0), (1,)], [(0, 1), (3,)]]
    )


def feeds(rule: Rule, xs: list[Any], dtype: Any) -> list[Any]:
    grids = np.meshgrid(*[edges(rule, dtype)] * len(xs), indexing="ij")
    drawn = []
    for x, grid in zip(xs, grids, strict=True):
        values = grid.reshape(-1) if x.dtype == dtype else np.array([True, False])
        drawn.append(np.resize(values, x.shape).astype(x.dtype))
    return drawn


def differ(rule: Rule, a: Any, b: Any) -> Any:
    """Where two sides do not agree as the rule's numerics say; NaNs are equal."""
    wide_a, wide_b = a.astype("float64"), b.astype("float64")
    nan = np.isnan(wide_a) & np.isnan(wide_b)
    bits = f"u{a.dtype.itemsize}"
    equal = nan | (a.view(bits) == b.view(bits))
    if rule.numerics is EXACT or a.dtype.kind in "biu":
        return ~equal
    eps, least = (
        float(getattr(ml_dtypes.finfo(a.dtype), k)) for k in ("eps", "smallest_subnormal")
    )
    scale = np.maximum(np.abs(wide_a), np.abs(wide_b))
    if rule.name == "log_of_exp":  # e**x has a relative error, so its logarithm an absolute one
        scale = np.maximum(scale, 1)
    if rule.numerics is REASSOCIATES and scale.size:
        scale = np.full_like(scale, np.max(scale))
    with np.errstate(invalid="ignore"):
        return ~equal & ~(wide_a == wide_b) & ~(np.abs(wide_a - wide_b) <= 4 * eps * scale + least)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_both_sides_agree(rule: Rule) -> None:
    """On each dtype, at its edges, in every rank and of sizes 0 and 1."""
    fired = Counter[str]()
    for dtype in DTYPES:
        xs: list[Any] = []
        pairs: list[Any] = []
        for number, shapes in enumerate(sizes(rule, dtype)):
            made = instance(rule, dtype, shapes, number)
            if made is None:
                continue
            right = rule.rewrite(made[1])
            if kind(made[1].dtype) not in rule.kinds:
                assert right is None
            if right is None:
                continue
            fired[kind(made[1].dtype)] += 1
            assert right.dtype == made[1].dtype
            xs.append(made[0])
            pairs += [made[1], sn.broadcast_to(right, made[1].shape)]
        if not pairs:
            continue
        flat = [x for each in xs for x in each]
        f = sn.function(flat, pairs, disabled_passes=["algebraic_simplify"], device="numpy")
        values = f(*[a for each in xs for a in feeds(rule, each, dtype)])
        for a, b in zip(values[::2], values[1::2], strict=True):
            wrong = differ(rule, a, b)
            assert not wrong.any(), (dtype, a[wrong][:5], b[wrong][:5])
    assert fired
    if rule.root not in (Elementwise, Cast):  # whose results have other dtypes than their operands
        assert set(fired) == set(rule.kinds)


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


@pytest.mark.parametrize("device", DEVICES)
def test_unsigned_negatives_wrap(device: str, tmp_path: Path) -> None:
    """|-x| is |x| where -x is the other sign of x, and 256 - x in uint8."""

    def build(x: Any, y: Any) -> Any:
        return [sn.abs(-x), x * 255, sn.abs(-y)]

    unsigned, signed = np.array([0, 1, 2, 255], "uint8"), np.array([-128, -1, 0, 127], "int8")
    wrapped, product, magnitude = on(device, tmp_path, build, unsigned, signed)
    assert wrapped.tolist() == [0, 255, 254, 1]
    assert product.tolist() == [0, 255, 254, 1]
    assert magnitude.tolist() == [-128, 1, 0, 127]


@pytest.mark.parametrize("device", DEVICES)
def test_sums_of_one_number(device: str, tmp_path: Path) -> None:
    """Integers wrap as often as they are added, and a count that float16 has not is no infinity."""

    def build() -> Any:
        return [
            sn.sum(sn.full((300,), 1, "int8"), dtype="int8"),
            sn.sum(sn.full((300, 2), 200, "uint8"), 0, dtype="uint8"),
            sn.sum(sn.full((70_000,), 2.0**-10, "float16")),
            sn.sum(sn.full((0, 3), float("inf")), 0),
            sn.sum(sn.full((0, 3), -1.0), 0),
            sn.sum(sn.full((257,), 3.0, "bfloat16")),
        ]

    small, unsigned, half, nothing, signed, brain = on(device, tmp_path, build)
    assert small == 300 - 256
    assert unsigned.tolist() == [300 * 200 % 256] * 2
    assert half == np.float16(70_000 / 1024)
    assert nothing.tolist() == [0, 0, 0]
    assert not np.signbit(signed).any()
    assert float(brain) == 772  # of 771: bfloat16 has every fourth number there


def test_a_number_that_a_dtype_lacks_is_none_of_its_values() -> None:
    def constant(x: float, dtype: str) -> Any:
        return sn.full((2,), x, dtype)

    assert is_number(constant(3, "uint8"), 3)
    assert not is_number(constant(44, "uint8"), 300)
    assert not is_number(constant(255, "uint8"), -1)
    assert not is_number(constant(0, "int32"), 0.5)
    assert not is_number(constant(0, "int32"), float("nan"))
    assert not is_number(constant(9, "int32"), float("inf"))
    assert is_number(constant(float("nan"), "float32"), float("nan"))
    assert is_number(constant(float("inf"), "float16"), float("inf"))
    assert not is_number(constant(float("inf"), "float16"), 1e9)
    assert is_number(constant(0.1, "float16"), 0.1)
    assert not is_number(constant(-0.0, "float32"), 0.0)
    assert not is_number(constant(2**53, "int64"), 2**53 + 1)


@pytest.mark.parametrize("device", DEVICES)
def test_extrema_of_both_zeros_keep_their_operands_order(device: str, tmp_path: Path) -> None:
    """Merged, one of the two would have the other's sign."""

    def both(x: Any, y: Any) -> Any:
        return [sn.maximum(x, y), sn.maximum(y, x), sn.minimum(x, y), sn.minimum(y, x)]

    x, y = np.float32([0.0, -0.0] * 8), np.float32([-0.0, 0.0] * 8)
    alone = [
        on(device, tmp_path, f, a, b)[0]
        for f in (sn.maximum, sn.minimum)
        for a, b in ((x, y), (y, x))
    ]
    for got, wanted in zip(on(device, tmp_path, both, x, y), alone, strict=True):
        assert got.tobytes() == wanted.tobytes()


def test_a_choice_between_nodes_that_are_no_number_is_left() -> None:
    """Nodes are told apart by what they are, not by whether they are equal."""
    x, y, z = (sn.placeholder((3,), name=name) for name in ("left_x", "left_y", "left_z"))
    f = sn.function([x, y, z], sn.where(x <= y, x, sn.minimum(z, y)), device="numpy")
    a, b, c = np.array([[1, 2, 3], [2, 2, 2], [0, 1, 5]], "f")
    np.testing.assert_array_equal(f(a, b, c), np.where(a <= b, a, np.minimum(c, b)))
