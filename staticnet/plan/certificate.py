"""The memory certificate: the bytes of a step as formulas in the symbolic dims, and its solver.

Blocks are stacked in a fixed order, so that each end is the largest of some sums of sizes: of
polynomials in the dims. What rounding and the scratch memory of reductions add is bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from staticnet.errors import ArgumentError, MemoryLimitError
from staticnet.ir.location import in_module
from staticnet.ir.node import Node, describe, modules_of
from staticnet.plan.analysis import analyse_memory, fullest
from staticnet.plan.by_module import ByModule, by_module
from staticnet.plan.formula import (
    Bytes,
    Formula,
    check_dims,
    largest,
    least_cases,
    piles,
    rounding,
    show,
    value,
)
from staticnet.plan.fusion import Group
from staticnet.plan.memory import ALIGNMENT
from staticnet.plan.plan import Plan, blocks_of
from staticnet.plan.symbolic import SAMPLES, SymbolicPlan
from staticnet.plan.weights import held_weight_bytes

MAX_SIZE = 1 << 40
MAX_CASES = 16  # beyond which the formula is that of one order of each loop, a bound


@dataclass(frozen=True)
class OwnerFormula:
    """A value in the arena at its fullest step when each dim is large, and whose it is."""

    value: str
    bytes: Bytes
    lines: str
    modules: tuple[str, ...] = ()


class ModuleFormula(NamedTuple):
    """The bytes of a module's values in the arena at its fullest step."""

    bytes: Bytes


@dataclass(frozen=True)
class MemoryCertificate:
    """Bytes of a step as formulas in the symbolic dims: the parts of `MemoryAnalysis`.

    `peak.at(batch=64)` are the bytes of that binding, allocated to the byte.

    Beside them each thread has a stack, and on the CPU 0.5 MiB for packed panels if there are
    products, whatever the sizes are; and what a BLAS or a GPU's library asks for is its own.
    """

    feeds: Bytes
    state: Bytes
    constants: Bytes
    outputs: Bytes
    arena: Formula
    owners: tuple[OwnerFormula, ...]

    @property
    def peak(self) -> Formula:
        """All bytes that lie in memory together."""
        return self.arena.plus(self.feeds + self.state + self.constants + self.outputs)

    def by_module(self, depth: int | None = None) -> ByModule[ModuleFormula]:
        """The bytes of the owners by the modules that made them; `depth` cuts the paths.

        Raises:
            ArgumentError: if the depth is not a positive int.
        """
        rows = ((o.modules, ModuleFormula(o.bytes)) for o in self.owners)
        return by_module(rows, depth, lambda _, value: show(value))

    def __str__(self) -> str:
        parts = ("feeds", "state", "constants", "outputs")
        lines = [f"{part:>10} {show(getattr(self, part))} bytes" for part in parts]
        for name, formula in (("arena", self.arena), ("peak", self.peak)):
            first, *more = formula.lines()
            lines += [f"{name:>10} {first}", *(f"{'':>10} {line}" for line in more)]
        for o in self.owners:
            where = o.lines + in_module(o.modules)
            lines.append(f"{'':>10} {show(o.bytes)} bytes: {o.value} ({where})")
        return "\n".join(lines)


def certify(plan: SymbolicPlan) -> MemoryCertificate:
    """The formulas of a plan. `owners` are those at the largest size that it has an order for."""
    dims = dict.fromkeys(plan.graph.symbols, SAMPLES[-1])
    order, sizes = plan.order_at(dims), plan.sizes_at(dims)
    alive = sorted(fullest(order, sizes), key=lambda node: -sizes.value(node))
    origins = [plan.origin(node) for node in alive]
    owners = [
        OwnerFormula(describe(n), n.type.nbytes, n.provenance.origin, modules_of([n]))
        for n in origins
    ]
    graph = plan.graph
    return MemoryCertificate(
        _bytes(graph.inputs),
        _bytes(graph.variables) + held_weight_bytes(graph),
        _bytes(order.constants),
        _bytes(graph.outputs),
        arena_formula(plan),
        tuple(owners),
    )


def _bytes(nodes: Iterable[Node]) -> Bytes:
    return total(node.type.nbytes for node in nodes)


def max_dim(plan: SymbolicPlan, name: str, limit: int, others: Mapping[str, int]) -> int:
    """The largest size of a dim with which a step takes at most `limit` bytes.

    Raises:
        ArgumentError: if the dims are not those of the graph, or bytes do not depend on this one.
        MemoryLimitError: if it takes more at size 1; names how many, and whose they are.
    """
    others = check_dims("max_dim", plan.graph.symbols, {**others, name: 1})
    graph, constants = plan.graph, plan.orders[0].constants
    outside = _bytes((*graph.inputs, *graph.variables, *constants, *graph.outputs))
    outside = outside + held_weight_bytes(graph)

    def fits(n: int) -> bool:
        dims = {**others, name: n}
        return value(outside, dims) + plan.arena_bytes(dims) <= limit

    if not fits(1):
        memory = analyse_memory(plan.bind({**others, name: 1}))
        raise MemoryLimitError(
            f"{graph.name}: no {name} fits into {limit} bytes; with {name} = 1 it needs "
            f"{memory.peak}\n{memory}"
        )
    above = 2
    while fits(above):
        above *= 2
        if above > MAX_SIZE:
            raise ArgumentError(f"max_dim: {limit} bytes hold a step with any size of {name}")
    below = above // 2
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if fits(middle) else (below, middle)
    while below > 1 and analyse_memory(plan.bind({**others, name: below})).peak > limit:
        below -= 1  # two values or kernels are one at this size, and the arena another
    return below


def largest_dims(plan: SymbolicPlan, limit: int, dims: Mapping[str, int]) -> dict[str, int]:
    """For each dim the largest size that fits `limit` bytes with the others as they are, if any."""
    found = {}
    for name in dims:
        others = {other: n for other, n in dims.items() if other != name}
        with contextlib.suppress(ArgumentError, MemoryLimitError):
            found[name] = max_dim(plan, name, max(limit, 0), others)
    return found


def arena_formula(plan: SymbolicPlan) -> Formula:
    """The arena's bytes."""
    found = [_cases(order, plan) for order in plan.orders]
    cases = least_cases(case for cases, _ in found for case in cases)
    slacks = largest(slack for _, slack in found)
    slack = slacks[0] if len(slacks) == 1 else total(slacks)
    return Formula(cases, slack, tuple(sorted(plan.graph.symbols)), plan.arena_bytes)


def _cases(order: Plan, plan: SymbolicPlan) -> tuple[list[tuple[Bytes, ...]], Bytes]:
    """Polynomials of which the largest is the arena in one order, and what it may be above.

    Several sets of them, the arena being the least of their largest, where loops have orders.
    """
    blocks = blocks_of(order, order.sizes)
    lives = [(blocks[node].first, blocks[node].last) for node in order.stacked]
    sizes = [rounding(plan.bytes_of(node)) for node in order.stacked]
    ends = piles([(*life, size) for life, (size, _) in zip(lives, sizes, strict=True)])
    rounded = piles([(*life, more) for life, (_, more) in zip(lives, sizes, strict=True)])
    slack = max((int(more) for (more,) in rounded), default=0)
    scratch = largest(total(_most_scratch(g, plan) for g in step.groups) for step in order.steps)
    top = largest([0, *(term for end in ends for term in end)])
    cases, more = _held([g for step in order.steps for g in step.groups if g.bodies], plan)
    sums = [largest(end + term for end in top for term in case) for case in cases]
    return sums, slack + total(scratch) + more


def _held(loops: list[Group], plan: SymbolicPlan) -> tuple[list[tuple[Bytes, ...]], Bytes]:
    """What loops need above all blocks, in sets like those of `_cases`; and what more it may be."""
    choices: list[list[tuple[Bytes, ...]]] = []
    slack: Bytes = 0
    for loop in loops:
        rooms, more = _rooms(loop, plan)
        slack = slack + more + plan.workspaces.most_routine(plan.origin(loop.nodes[0]))
        for formula in map(arena_formula, plan.held(loop)):
            choices.append([tuple(rooms + term for term in case) for case in formula.cases])
            slack = slack + formula.slack + (ALIGNMENT - 1 if formula.slack != 0 else 0)
    if math.prod(map(len, choices)) > MAX_CASES:
        choices = [each[:1] for each in choices]
    sets = itertools.product(*choices)
    return [largest([0, *(term for case in each for term in case)]) for each in sets], slack


def _rooms(group: Group, plan: SymbolicPlan) -> tuple[Bytes, int]:
    """The bytes of a routine's results that nobody reads, and what rounding them may add."""
    sizes = list(map(rounding, plan.rooms(group)))
    return total(size for size, _ in sizes), sum(more for _, more in sizes)


def _most_scratch(group: Group, plan: SymbolicPlan) -> Bytes:
    """A bound of the bytes of a group's scratch memory, but for a loop's, as `Workspaces.of`."""
    if group.bodies:
        return 0
    if not group.fused:
        rooms, more = _rooms(group, plan)
        return rooms + more + plan.workspaces.most_routine(plan.origin(group.nodes[0]))
    return plan.workspaces.most_kernel(group, plan.domain(group))


def total(values: Iterable[Bytes]) -> Bytes:
    """The sum."""
    result: Bytes = 0
    for each in values:
        result = result + each
    return result
