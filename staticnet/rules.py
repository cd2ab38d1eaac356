"""`sn.rule`: a rewrite of a user's own, an equation on patterns that is tried when it is written.

@sn.rule(lambda x, y: sn.log(x) + sn.log(y), numerics="approximates", domain=(0, sn.inf))
def log_of_product(x, y):
    return sn.log(x * y)
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import ml_dtypes
import numpy as np

from staticnet.errors import (
    ArgumentError,
    DTypeError,
    ExecutionError,
    ShapeError,
    StaticnetError,
    VerifyError,
)
from staticnet.ir.dtype import DTYPES, FLOAT32, DType, is_floating, kind
from staticnet.ir.graph import Graph
from staticnet.ir.location import user_line, written_at
from staticnet.ops.custom import KINDS
from staticnet.ops.state import placeholder
from staticnet.oracle.contract import check_numerics
from staticnet.passes.infer_shape import INFER_SHAPE
from staticnet.passes.rules import rules_pass
from staticnet.rewrite.pattern import EXACT, Pattern, Rule, algebraic, as_numerics

COUNT = 64  # random values that a rule is tried on, beside special ones
TAME = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -7.25)  # for rules that round: nothing overflows
SPECIAL = (math.nan, math.inf, -math.inf, 1e-3, 640.0, *TAME)
_MOST = 512  # combinations of values
_WHOLE = (-math.inf, math.inf)


def rule(
    left: Callable[..., Any],
    *,
    numerics: str = "exact",
    kinds: str = "any",
    domain: tuple[float, float] | None = None,
    check: bool = True,
) -> Callable[[Callable[..., Any]], Rule]:
    """A decorator: what it is given makes the right side of `left == right` for each match of left.

    `left` writes a pattern with staticnet's functions on variables; it may not look at shapes. The
    right side takes nodes for the same variables, and may be None, where the rule does not hold.

    numerics: "exact" keeps every bit, "reassociates" the value in real numbers, "approximates"
        neither. kinds: of dtypes for which it is an equation: floating, integer, numeric, bool or
        any. domain: the least and greatest value of each variable for which it is; exact
        compilation leaves such a rule out. Both sides are tried on special and random values.

    Raises:
        VerifyError: if the sides differ in value, shape or dtype; names the rule and its line.
        ArgumentError: if left is no pattern, or an option is none.
    """
    what = f"rule {getattr(left, '__name__', left)!r:.60}"
    if kinds not in KINDS:
        raise ArgumentError(f"{what}: kinds {kinds!r:.60}: use one of {', '.join(KINDS)}")
    how = as_numerics(numerics, what)
    bounds = _bounds(what, domain)
    told = "" if domain is None else f"each variable is from {bounds[0]} to {bounds[1]}"
    _check_left(left)

    def decorate(right: Callable[..., Any]) -> Rule:
        name = getattr(right, "__name__", "")
        if not callable(right) or not name.isidentifier():
            raise ArgumentError(
                f"rule: the right side is a function with a name, which the rule has too, not "
                f"{right!r:.60} ({user_line()})"
            )
        made = algebraic(left, how, KINDS[kinds], told)(right)
        if check:
            check_rule(made, bounds)
        return made

    return decorate


def _bounds(what: str, domain: Any) -> tuple[float, float]:
    if domain is None:
        return _WHOLE
    try:
        low, high = map(float, domain)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not low <= high:
        raise ArgumentError(f"{what}: domain must be (least, greatest), not {domain!r:.60}")
    return low, high


def _check_left(left: Any) -> None:
    """Raise ArgumentError unless the left side is an op of patterns."""
    if not callable(left):
        raise ArgumentError(
            f"rule: the left side must be a function of variables, not {left!r:.60} ({user_line()})"
        )
    place = f" ({where})" if (where := written_at(left)) else ""
    names = list(inspect.signature(left).parameters)
    try:
        pattern = left(*(Pattern(None, (), name) for name in names))
    except Exception as error:
        told = str(error) or "it asks a variable for its shape or dtype"
        if not isinstance(error, StaticnetError | NotImplementedError):
            told = f"{type(error).__name__}: {told}"
        raise ArgumentError(
            f"rule: the left side{place} is no pattern: {told}; it may hold elementwise functions "
            f"of variables and numbers. Write a pass for others ({user_line()})"
        ) from error
    if not isinstance(pattern, Pattern) or pattern.op is None:
        raise ArgumentError(
            f"rule: the left side{place} must be an op of its variables, not {pattern!r:.60} "
            f"({user_line()})"
        )


def check_rule(rule: Rule, bounds: tuple[float, float] = _WHOLE) -> None:
    """Evaluate both sides of a rule on special and random values, in each of its dtypes.

    Raises:
        VerifyError: if they are not equal as the rule's numerics says, or there is no left side.
    """
    applied = False
    for dtype in sorted(DTYPES.values(), key=_order):
        if kind(dtype) in rule.kinds:
            applied |= _check_in(rule, dtype, bounds)
    if not applied:
        raise VerifyError(f"the rule {rule}: its left side takes no {' or '.join(rule.kinds)}")


def _order(dtype: DType) -> tuple[bool, bool]:
    """float32 and float64 before all others."""
    return not is_floating(dtype), dtype.itemsize < FLOAT32.itemsize


def _check_in(rule: Rule, dtype: DType, bounds: tuple[float, float]) -> bool:
    """Whether a rule has left sides of a dtype; it keeps their values."""
    names = inspect.signature(rule.example).parameters
    feeds = _values(len(names), dtype, bounds, rule)
    xs = [placeholder(feed.shape, dtype, name) for name, feed in zip(names, feeds, strict=True)]
    try:
        left: Any = rule.example(*xs)
    except (DTypeError, ShapeError):
        return False
    if is_floating(left.dtype) and not is_floating(dtype):
        return False  # a function of real numbers casts others first
    p = rules_pass(rule.name, [rule], rule.where)
    numerics = "exact" if rule.is_exact else "fast"
    try:
        graph = Graph(rule.name, xs, [left])
        check_numerics(graph, feeds, [INFER_SHAPE, p], numerics=numerics)
    except (VerifyError, ExecutionError) as error:
        raise VerifyError(f"the rule {rule} is no equation in {dtype}: {error}") from (
            error.__cause__ or error
        )
    return True


def _values(
    count: int, dtype: DType, bounds: tuple[float, float], rule: Rule
) -> list[np.ndarray[Any, Any]]:
    """Arrays for the variables: combinations of special values, and random ones."""
    edges = _edges(dtype, bounds, rule)
    rng = np.random.default_rng(0)
    pairs = list(itertools.islice(itertools.product(edges, repeat=count), _MOST))
    drawn = [_draw(rng, dtype, bounds) for _ in range(count)]
    columns: Sequence[Any] = list(zip(*pairs, strict=True)) or [()] * count
    return [
        np.concatenate([np.array(column, dtype), more])
        for column, more in zip(columns, drawn, strict=True)
    ]


def _edges(dtype: DType, bounds: tuple[float, float], rule: Rule) -> list[Any]:
    if dtype.kind == "b":
        return [False, True]
    low, high = bounds
    if is_floating(dtype):
        limits: Any = cast(Any, ml_dtypes.finfo)(dtype)
        values = [*SPECIAL, float(limits.max), float(limits.smallest_subnormal)]
        if rule.numerics is not EXACT:
            values = list(TAME)
        if bounds == _WHOLE:
            return values
        return [v for v in values if low < v < high]
    ends = np.iinfo(dtype)
    near = {ends.min, ends.min + 1, ends.max, ends.max // 2, 0, 1, 2, 3}
    near |= {-1, -7} if dtype.kind == "i" else set()
    return sorted(v for v in near if low <= v <= high)


def _draw(rng: np.random.Generator, dtype: DType, bounds: tuple[float, float]) -> Any:
    low, high = bounds
    if dtype.kind == "b":
        return rng.integers(0, 2, COUNT).astype(dtype)
    if not is_floating(dtype):
        limits = np.iinfo(dtype)
        least, most = max(low, -50.0, float(limits.min)), min(high, 50.0)
        return rng.integers(math.ceil(least), math.floor(max(most, least)) + 1, COUNT).astype(dtype)
    least = low if math.isfinite(low) else min(high, 0.0) - 8 if low < 0 else 0.0
    most = high if math.isfinite(high) else max(least, 0.0) + 8
    return rng.uniform(least, most, COUNT).astype(dtype)
