"""The arena of a symbolic plan as a formula.

Blocks are stacked in a fixed order, so that each end is the largest of some sums of sizes: of
polynomials in the dims. What rounding and the scratch memory of reductions add is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from staticnet.ir.dim import size_of
from staticnet.ops.base import Reduction
from staticnet.plan.formula import Bytes, Formula, largest, least_cases, piles, rounding
from staticnet.plan.fusion import Group
from staticnet.plan.partials import BLOCK, FEW_COLUMNS, FEW_ROWS, MAX_BLOCKS, SLOT
from staticnet.plan.plan import OWN_SIZES, Plan, blocks_of
from staticnet.plan.symbolic import SymbolicPlan


def arena_formula(plan: SymbolicPlan) -> Formula:
    """The arena's bytes."""
    found = [_case(order, plan) for order in plan.orders]
    cases = least_cases(case for case, _ in found)
    slacks = largest(slack for _, slack in found)
    slack = slacks[0] if len(slacks) == 1 else total(slacks)
    return Formula(cases, slack, tuple(sorted(plan.graph.symbols)), plan.arena_bytes)


def _case(order: Plan, plan: SymbolicPlan) -> tuple[tuple[Bytes, ...], Bytes]:
    """Polynomials of which the largest is the arena in one order, and what it may be above."""
    blocks = blocks_of(order, OWN_SIZES)
    lives = [(blocks[node].first, blocks[node].last) for node in order.stacked]
    sizes = [rounding(plan.bytes_of(node)) for node in order.stacked]
    ends = piles([(*life, size) for life, (size, _) in zip(lives, sizes, strict=True)])
    rounded = piles([(*life, more) for life, (_, more) in zip(lives, sizes, strict=True)])
    slack = max((int(more) for (more,) in rounded), default=0)
    scratch = largest(total(_most_scratch(g, plan) for g in step.groups) for step in order.steps)
    return largest([0, *(term for end in ends for term in end)]), slack + total(scratch)


def _most_scratch(group: Group, plan: SymbolicPlan) -> Bytes:
    """A bound of the bytes of a group's scratch memory, as `scratch_bytes` gives them."""
    count = SLOT * sum(isinstance(node.op, Reduction) for node in group.nodes)
    domain = plan.domain(group)
    if group.columns:
        width = size_of(domain[group.columns :])
        few = width if isinstance(width, int) else FEW_COLUMNS
        return MAX_BLOCKS * count * few if few <= FEW_COLUMNS else 0
    if group.inner:
        outer = len(group.outer)
        rows, rest = size_of(domain[:outer]), size_of(domain[outer + 1 :])
        lines = max(1, BLOCK // max(rest, 1)) if isinstance(rest, int) else 1
        if not isinstance(rows, int) or rows <= FEW_ROWS:
            return domain[outer] * -(-count // lines) + count
    return 0


def total(values: Iterable[Bytes]) -> Bytes:
    """The sum."""
    result: Bytes = 0
    for value in values:
        result = result + value
    return result
