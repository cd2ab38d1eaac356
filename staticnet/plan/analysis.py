"""`memory_analysis`: the bytes a plan needs, and whose they are, known before a run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from staticnet.ir.location import in_module
from staticnet.ir.node import Node, describe, modules_of
from staticnet.ir.shown import Shown, Table
from staticnet.passes.remat import Layout
from staticnet.plan.by_module import ByModule, by_module
from staticnet.plan.plan import Plan, Sizes, blocks_of
from staticnet.plan.weights import held_weight_bytes

_PARTS = ("feeds", "state", "constants", "outputs", "arena", "peak")


@dataclass(frozen=True)
class Owner:
    """A value in the arena at the step that needs the most of it, and the modules that made it."""

    value: str
    bytes: int
    lines: str
    modules: tuple[str, ...] = ()


class ModuleBytes(NamedTuple):
    """The bytes of a module's values in the arena at its fullest step."""

    bytes: int


@dataclass(frozen=True, repr=False)
class MemoryAnalysis(Shown):
    """Bytes of a compiled step: what it is fed, keeps, returns, and the arena it works in.

    `owners` are the values alive at the arena's fullest step, largest first. State are variables,
    and weights of convolutions and products that stay packed from step to step.
    """

    feeds: int
    state: int
    constants: int
    outputs: int
    arena: int
    owners: tuple[Owner, ...]

    @property
    def peak(self) -> int:
        """All bytes that lie in memory together."""
        return self.feeds + self.state + self.constants + self.outputs + self.arena

    def by_module(self, depth: int | None = None) -> ByModule[ModuleBytes]:
        """The bytes of the owners by the modules that made them; `depth` cuts the paths.

        Raises:
            ArgumentError: if the depth is not a positive int.
        """
        return by_module(((o.modules, ModuleBytes(o.bytes)) for o in self.owners), depth)

    def tables(self) -> list[Table]:
        """The sums, and the values alive at the arena's fullest step."""
        sums = [(part, f"{getattr(self, part):,}") for part in _PARTS]
        owners = [(o.value, f"{o.bytes:,}", o.lines + in_module(o.modules)) for o in self.owners]
        fullest = Table("at the fullest step", ("value", "bytes", "from"), owners)
        return [Table("", ("memory", "bytes"), sums), *([fullest] if owners else [])]

    def __str__(self) -> str:
        lines = [f"{part:>10} {getattr(self, part):>14,} bytes" for part in _PARTS]
        for o in self.owners:
            lines.append(f"{o.bytes:>25,} bytes  {o.value} ({o.lines}{in_module(o.modules)})")
        return "\n".join(lines)


def analyse_memory(plan: Plan) -> MemoryAnalysis:
    """The bytes of a plan."""
    graph = plan.graph
    alive = fullest(plan, plan.sizes)
    owners = [
        Owner(describe(n), int(n.type.nbytes), n.provenance.origin, modules_of([n])) for n in alive
    ]
    return MemoryAnalysis(
        _bytes(graph.inputs),
        _bytes(graph.variables) + held_weight_bytes(graph),
        _bytes(plan.constants),
        _bytes(graph.outputs),
        plan.arena_bytes,
        tuple(sorted(owners, key=lambda owner: -owner.bytes)),
    )


def fullest(plan: Plan, sizes: Sizes) -> list[Node]:
    """The values in the arena at the step at which they take most."""
    alive = (_alive(plan, step) for step in range(len(plan.steps)))
    return max(alive, key=lambda nodes: sum(map(sizes.value, nodes)), default=[])


def _alive(plan: Plan, step: int) -> list[Node]:
    """The values in the arena at a step, without those that are written over in it."""
    blocks = plan.blocks
    gone = {plan.over[node] for node in plan.over if blocks[node].first == step}
    return [n for n, b in blocks.items() if b.first <= step <= b.last and n not in gone]


def _bytes(nodes: list[Node] | tuple[Node, ...]) -> int:
    return sum(int(node.type.nbytes) for node in nodes)


def layout_of(plan: Plan) -> Layout:
    """What `remat` has to know of a plan's memory."""
    memory = analyse_memory(plan)
    change = [0] * (len(plan.steps) + 2)
    change[0] = memory.peak - memory.arena
    for block in blocks_of(plan, plan.sizes).values():
        change[block.first] += block.padded
        change[block.last + 1] -= block.padded
    step = {node: i for i, now in enumerate(plan.steps) for node in now.nodes}
    uses: dict[Node, set[int]] = {node: set() for node in plan.blocks}
    for i, group in plan.launched:
        for read in plan.traffic(group).reads:
            if read in uses:
                uses[read].add(i)
    held = plan.stored - plan.blocks.keys() | {node for node, _ in plan.last_copies}
    alive = list(accumulate(change))[: len(plan.steps)]
    return Layout(memory.peak, alive, step, uses, held)
