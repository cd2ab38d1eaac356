"""The plan of a graph: steps in order, and where every value lies.

A step runs fused kernels side by side, or one routine. Values lie in feeds, state, constants,
outputs or the arena. An update is written straight into its variable where nothing reads the old
value afterwards and nothing can fail afterwards; else it is copied at the end. A map may also write
a value of the arena over one that nothing else needs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Constant, Item
from staticnet.plan.failures import may_fail
from staticnet.plan.fusion import Fusion, Group
from staticnet.plan.memory import (
    Lifetime,
    arrange,
    padded,
    stack,
)
from staticnet.plan.reads import is_written_last, read_in_place
from staticnet.plan.results import carries_of, first_value, in_memory
from staticnet.plan.roles import Role, base, is_behind_barrier, role
from staticnet.plan.schedule import Ledger, Step, Values, schedule
from staticnet.plan.scratch import ON_HOST, Workspaces
from staticnet.plan.text import format_plan
from staticnet.plan.traffic import Traffic, allocations, over_steps, traffic


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
        """How often the compiled step asks the system for memory: only to sort."""
        return sum(allocations(group) for _, group in self.launched)

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


def make_plan(
    graph: Graph, fuse: bool = True, sizes: Sizes | None = None, carries: int = 0,
    recompute: bool = True, workspaces: Workspaces = ON_HOST,
) -> Plan:  # fmt: skip
    """The plan of an optimised graph whose shapes are fixed; its order is good for `sizes`.

    Those are its own, if none are given.

    Its kernels compute cheap values again if `recompute`, and if the graph itself does not say what
    is computed again, by barriers.
    """
    fusion = Fusion(graph, fuse, recompute=recompute)
    plan_bodies(fusion, workspaces)
    sizes = sizes or own_sizes(workspaces)
    plan = _Planner(Plan(graph, fusion, carries, workspaces), sizes).plan
    blocks = blocks_of(plan, sizes)
    first = {id(block): node for node, block in blocks.items()}
    plan.stacked = [first[id(block)] for block in arrange(list(blocks.values()))]
    lay_out(plan, plan.sizes)
    return plan


def plan_bodies(fusion: Fusion, workspaces: Workspaces) -> None:
    """Plan the graphs that routines hold."""
    for group in fusion.groups:
        op = group.nodes[0].op if group.nodes else None
        if op is not None and not group.fused:
            group.bodies = {
                name: make_plan(
                    held, fusion.enabled, carries=carries_of(op, name), workspaces=workspaces
                )
                for name, held in op.graphs.items()
            }


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


class _Planner:
    def __init__(self, plan: Plan, sizes: Sizes) -> None:
        self.plan = plan
        self.graph = plan.graph
        self.fusion = plan.fusion
        self.groups: list[Group] = []
        self.readers: dict[Node, set[Group]] = {}
        self._at_own_place: dict[Group, frozenset[Node]] = {}
        self._find_readers()
        self._leaves()
        self._find_stored()
        self._outputs()
        self._updates()
        values = self._values(sizes)
        self.plan.steps = schedule(self.groups, self.fusion.order, values)
        self._guard()
        self._lifetimes(values)

    def _memory(self, node: Node) -> Node:
        """The node in memory that a use of `node` reads."""
        return node if node in self.fusion.group_of else base(node)

    def _find_readers(self) -> None:
        """Who reads what, the last first: what all readers compute again needs no kernel."""
        needed = {self._memory(root) for root in self.graph.roots}
        order = self.fusion.order
        made = [group for group in self.fusion.groups if group.nodes]
        for group in sorted(made, key=lambda g: order.waits_for(g.number).bit_count())[::-1]:
            if group.fused and not any(x in needed or x in self.readers for x in group.nodes):
                continue
            self.groups.append(group)
            for read in self._reads(group):
                self.readers.setdefault(read, set()).add(group)
        self.groups.sort(key=lambda group: group.number)

    def _reads(self, group: Group) -> Iterator[Node]:
        """What a group reads, be it its own or another's; numbers are written into kernels."""
        for node in (*group.nodes, *group.again):
            for operand in node.inputs:
                read = self.fusion.memory(operand, not group.fused)
                if read in group.again or (group.fused and role(read) is Role.INLINE):
                    continue
                yield read

    def _leaves(self) -> None:
        plan = self.plan
        for i, node in enumerate(self.graph.inputs):
            plan.places[node] = Place("feed", i)
        for i, node in enumerate(self.graph.variables):
            plan.places[node] = Place("state", i)
        own = [n for n in self.graph.nodes if isinstance(n.op, Constant) and role(n) is Role.LEAF]
        bodies = [body for group in self.groups for body in group.bodies.values()]
        held = [node for body in bodies for node in body.constants]
        plan.constants = list(dict.fromkeys([*own, *held]))
        for i, node in enumerate(plan.constants):
            plan.places[node] = Place("constant", i)

    def _find_stored(self) -> None:
        for root in self.graph.roots:
            node = self._memory(root)
            if node in self.fusion.group_of:
                self.plan.stored.add(node)
        for node, groups in self.readers.items():
            own = self.fusion.group_of.get(node)
            if own is not None and groups - {own}:
                self.plan.stored.add(node)
        for group in self.groups:
            if not group.fused:
                self.plan.stored.update(in_memory(group))

    def _outputs(self) -> None:
        for i, root in enumerate(self.plan.outputs):
            node = self._memory(root)
            if node not in self.fusion.group_of:
                self.plan.first_copies.append((node, i))
            elif node in self.plan.places:
                self.plan.last_copies.append((node, Place("output", i)))
            else:
                self.plan.places[node] = Place("output", i)

    def _updates(self) -> None:
        state = {target: self.plan.places[target] for target, _ in self.plan.updates}
        failing = {g for g in self.groups if may_fail(g)}
        order = self.fusion.order
        for target, root in self.plan.updates:
            value, home = self._memory(root), state[target]
            writer = self.fusion.group_of.get(value)
            if writer is not None and value not in self.plan.places:
                before = set(self.readers.get(target, ()))
                before |= failing if home.kind == "state" else set()
                before -= {writer}
                numbers = [group.number for group in before]
                waiting = order.waits_for_any(numbers, writer.number)
                if self._in_place(target, value, writer, home) and not waiting:
                    order.require(writer.number, numbers)
                    self.plan.places[value] = home
                    continue
            if value in state and value is not target:  # it may have been written by then
                self.plan.saved[value] = Lifetime(int(value.type.nbytes), 0, len(self.groups))
            self.plan.last_copies.append((value, home))

    def _in_place(self, target: Node, value: Node, writer: Group, home: Place) -> bool:
        """Whether the group that makes the value may write it over the old one."""
        if home.kind == "state" and may_fail(writer):
            return False
        if not any(
            base(operand) is target for n in (*writer.nodes, *writer.again) for operand in n.inputs
        ):
            return True
        return self._may_write_over(writer, value, target)

    def _may_write_over(self, group: Group, value: Node, other: Node) -> bool:
        """Whether a group may write a value into the memory of another one that it reads."""
        if not group.fused:
            return self._begins_as(value, other)
        alike = value.dtype == other.dtype and value.type.size == other.type.size
        whole = alike and fixed(value.shape) == group.domain and value not in group.rows
        in_place = whole and other in self._read_in_place(group)
        return in_place and is_written_last(group, value)

    def _begins_as(self, value: Node, other: Node) -> bool:
        """Whether a routine's result begins as a value in memory that it reads nowhere else."""
        first = first_value(value)
        if first is None or self.fusion.memory(first, True) is not other:
            return False
        read = value.inputs[0].inputs if isinstance(value.op, Item) else value.inputs
        return sum(self.fusion.memory(x, True) is other for x in read) == 1

    def _read_in_place(self, group: Group) -> frozenset[Node]:
        if group not in self._at_own_place:
            self._at_own_place[group] = read_in_place(group, self.plan.stored)
        return self._at_own_place[group]

    def _values(self, sizes: Sizes) -> Values:
        """What lies in the arena: what the order of the groups has to keep small."""
        stored = self.plan.stored - self.plan.places.keys()
        makes = {g: [node for node in g.nodes if node in stored] for g in self.groups}
        reads: dict[Group, list[Node]] = {}
        for node, groups in self.readers.items():
            if node in stored:
                for group in groups - {self._group(node)}:
                    reads.setdefault(group, []).append(node)
        late = frozenset(node for node, _ in self.plan.last_copies)
        over = {
            value: [
                node for node in reads.get(group, ()) if self._may_write_over(group, value, node)
            ]
            for group, values in makes.items()
            for value in values
        }
        size = {node: int(padded(sizes.value(node))) for node in stored}
        scratch = {group: sizes.scratch(group) for group in self.groups}
        return Values(size, makes, reads, late, over, scratch, self._computed_again())

    def _computed_again(self) -> frozenset[Group]:
        """The groups that compute from behind barriers alone: they are to run late."""
        again: set[Node] = set()
        for node in self.graph.nodes:
            behind = {x for x in node.inputs if is_behind_barrier(x) or base(x) in again}
            rest = (base(x) for x in node.inputs if x not in behind)
            free = all(role(x) in (Role.INLINE, Role.LEAF) for x in rest)
            if node in self.fusion.group_of and behind and free:
                again.add(node)
        return frozenset(group for group in self.groups if again.issuperset(group.nodes))

    def _guard(self) -> None:
        """The step before which a failure must be noticed: the first that writes state."""
        state_writers = {n for n, p in self.plan.places.items() if p.kind == "state"}
        for i, step in enumerate(self.plan.steps):
            if any(node in state_writers for node in step.nodes):
                self.plan.guard = i
                return
        self.plan.guard = len(self.plan.steps)

    def _lifetimes(self, values: Values) -> None:
        """First and last steps of the arena's values, and which are written over which."""
        plan = self.plan
        end = len(plan.steps)
        ledger = Ledger(values)
        last = dict.fromkeys(values.late, end)
        for i, step in enumerate(plan.steps):
            for group in step.groups:
                plan.over |= dict(ledger.written_over(group))
                for node in values.makes[group]:
                    plan.blocks[node] = Lifetime(values.size[node], i, last.get(node, i))
                for node in values.reads.get(group, ()):
                    plan.blocks[node].last = max(i, plan.blocks[node].last)
            ledger.run(step.groups)
        for block in plan.saved.values():
            block.last = end

    def _group(self, node: Node) -> Group:
        return self.fusion.group_of[node]
