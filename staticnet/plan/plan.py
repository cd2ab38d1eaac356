"""The plan of a graph: steps in order, and where every value lies.

A step runs fused kernels side by side, or one routine. Values lie in feeds, state, constants,
outputs or the arena. An update is written straight into its variable where nothing reads the old
value afterwards and nothing can fail afterwards; else it is copied at the end. A map may also write
a value of the arena over one that nothing else needs any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.plan.fusion import Fusion, Group
from staticnet.plan.memory import Lifetime, stack
from staticnet.plan.roles import base
from staticnet.plan.schedule import Step
from staticnet.plan.scratch import ON_HOST, Workspaces
from staticnet.plan.text import format_plan
from staticnet.plan.traffic import Traffic, over_steps, traffic


@dataclass(frozen=True)
class Place:
    """Memory: `kind` is feed, state, constant, output or arena; `at` its number or byte offset."""

    kind: str
    at: int


@dataclass
class Plan:
    """Steps in the order they run, places of values, and copies before and after.

    Its numbers are known before a run and hold for each: assert them in tests of your own. In a
    loop's body the first `carries` inputs are state: the first outputs are their next values.
    """

    graph: Graph
    fusion: Fusion
    carries: int = 0
    workspaces: Workspaces = ON_HOST
    steps: list[Step] = field(default_factory=list)
    stored: set[Node] = field(default_factory=set)
    places: dict[Node, Place] = field(default_factory=dict)
    constants: list[Node] = field(default_factory=list)
    first_copies: list[tuple[Node, int]] = field(default_factory=list)
    last_copies: list[tuple[Node, Place]] = field(default_factory=list)
    saved: dict[Node, Lifetime] = field(default_factory=dict)
    guard: int = 0
    scratch: int = 0
    arena_bytes: int = 0
    blocks: dict[Node, Lifetime] = field(default_factory=dict)
    over: dict[Node, Node] = field(default_factory=dict)
    stacked: list[Node] = field(default_factory=list)

    def holder(self, node: Node) -> Node | None:
        """The node whose memory a node lies in: itself, or what it shows in order; None if none."""
        if node in self.places:
            return node
        below = base(node)
        return below if below in self.places else None

    def __str__(self) -> str:
        return format_plan(self)

    @property
    def outputs(self) -> tuple[Node, ...]:
        """What a run returns."""
        return self.graph.outputs[self.carries :]

    @property
    def updates(self) -> tuple[tuple[Node, Node], ...]:
        """What a run writes over, and its next values."""
        carried = zip(self.graph.inputs[: self.carries], self.graph.outputs, strict=False)
        return (*self.graph.updates, *carried)

    @property
    def launched(self) -> list[tuple[int, Group]]:
        """Each kernel or routine, in order, with the number of the launch that runs it."""
        return [(i, group) for i, step in enumerate(self.steps) for group in step.groups]

    @property
    def numbers(self) -> dict[Group, int]:
        """The number of each kernel or routine: all that tells of a plan calls it by that."""
        return {group: number for number, (_, group) in enumerate(self.launched)}

    @property
    def launches(self) -> int:
        """Kernels and routines that a step starts; kernels that run side by side are one launch."""
        return len(self.steps)

    @property
    def bytes_moved(self) -> int:
        """Bytes that kernels, routines and copies read and write: each buffer once a kernel."""
        copied = [*self.first_copies, *self.saved.items(), *self.last_copies]
        moved = sum(self.traffic(group).bytes for _, group in self.launched)
        return moved + sum(2 * int(node.type.nbytes) for node, _ in copied)

    @property
    def allocations(self) -> int:
        """How often the compiled step asks the system for memory: never, the arena holds all."""
        return 0

    @property
    def output_allocations(self) -> int:
        """Arrays that a call makes for its results."""
        return len(self.outputs)

    @property
    def host_syncs(self) -> int:
        """How often a step waits for Python: for its ops on the host, or else never."""
        own = sum(node.op.on_host for step in self.steps for node in step.nodes)
        inside = (over_steps(g, lambda body: body.host_syncs) for _, g in self.launched if g.bodies)
        return own + sum(inside)

    @property
    def calls_host(self) -> bool:
        """Whether it, or a graph that an op holds, has ops on the host."""
        groups = [group for _, group in self.launched]
        return any(node.op.on_host for group in groups for node in group.nodes) or any(
            body.calls_host for group in groups for body in group.bodies.values()
        )

    def traffic(self, group: Group) -> Traffic:
        """The bytes that a kernel or routine reads and writes."""
        scratch = self.workspaces.kernel(group) if group.fused else 0
        moved = traffic(group, self.fusion, self.stored, scratch)
        (node, *_) = group.nodes
        if node.op.begins_as is not None and node in self.places:
            before = self.fusion.memory(node.inputs[node.op.begins_as], True)
            if self.places.get(before) == self.places[node]:
                return moved.in_place(node, before)
        return moved

    @property
    def sizes(self) -> Sizes:
        """The bytes of its values, and of the scratch memory of its groups on its device."""
        return own_sizes(self.workspaces)


@dataclass(frozen=True)
class Sizes:
    """The bytes of values, and of the scratch memory of groups."""

    value: Callable[[Node], int]
    scratch: Callable[[Group], int]


def own_sizes(workspaces: Workspaces) -> Sizes:
    """The bytes of a graph's own values, and of scratch memory on a device."""
    return Sizes(lambda node: int(node.type.nbytes), workspaces.of)


def blocks_of(plan: Plan, sizes: Sizes) -> dict[Node, Lifetime]:
    """The arena's blocks, each by the first of the values that lie in it one after the other."""
    shared: dict[Node, Lifetime] = {}
    owner: dict[Node, Node] = {}
    for node, block in plan.blocks.items():
        below = plan.over.get(node)
        if below is None:
            owner[node] = node
            shared[node] = Lifetime(sizes.value(node), block.first, block.last)
        else:
            owner[node] = owner[below]
            shared[owner[node]].last = block.last
    saved = {node: Lifetime(sizes.value(node), b.first, b.last) for node, b in plan.saved.items()}
    return shared | saved


def most_scratch(plan: Plan, sizes: Sizes) -> int:
    """The bytes of scratch memory, which lies above all blocks, that some step needs."""
    return max((sum(map(sizes.scratch, step.groups)) for step in plan.steps), default=0)


def lay_out(plan: Plan, sizes: Sizes) -> None:
    """Give each value of the arena its place, stacking blocks in the plan's order."""
    blocks = blocks_of(plan, sizes)
    plan.scratch = stack([blocks[node] for node in plan.stacked])
    plan.arena_bytes = plan.scratch + most_scratch(plan, sizes)
    for node, block in plan.saved.items():
        block.size, block.offset = blocks[node].size, blocks[node].offset
    offsets: dict[Node, int] = {}
    for node, block in plan.blocks.items():
        below = plan.over.get(node)
        offsets[node] = blocks[node].offset if below is None else offsets[below]
        block.size, block.offset = sizes.value(node), offsets[node]
        plan.places[node] = Place("arena", block.offset)
