"""`memory_analysis`: the bytes a plan needs, and whose they are, known before a run."""

from __future__ import annotations

from dataclasses import dataclass

from staticnet.ir.node import Node, describe
from staticnet.plan.plan import Plan


@dataclass(frozen=True)
class Owner:
    """A value in the arena at the step that needs the most of it."""

    value: str
    bytes: int
    lines: str


@dataclass(frozen=True)
class MemoryAnalysis:
    """Bytes of a compiled step: what it is fed, keeps, returns, and the arena it works in.

    `owners` are the values alive at the arena's fullest step, largest first.
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

    def __str__(self) -> str:
        parts = ("feeds", "state", "constants", "outputs", "arena", "peak")
        lines = [f"{part:>10} {getattr(self, part):>14,} bytes" for part in parts]
        lines += [f"{o.bytes:>25,} bytes  {o.value} ({o.lines})" for o in self.owners]
        return "\n".join(lines)


def analyse_memory(plan: Plan) -> MemoryAnalysis:
    """The bytes of a plan."""
    graph = plan.graph
    alive: list[Node] = []
    for step in range(len(plan.steps)):
        now = [node for node, block in plan.blocks.items() if block.first <= step <= block.last]
        if _bytes(now) > _bytes(alive):
            alive = now
    owners = [Owner(describe(n), int(n.type.nbytes), str(n.provenance)) for n in alive]
    return MemoryAnalysis(
        _bytes(graph.inputs),
        _bytes(graph.variables),
        _bytes(plan.constants),
        _bytes(graph.outputs),
        plan.arena_bytes,
        tuple(sorted(owners, key=lambda owner: -owner.bytes)),
    )


def _bytes(nodes: list[Node] | tuple[Node, ...]) -> int:
    return sum(int(node.type.nbytes) for node in nodes)
