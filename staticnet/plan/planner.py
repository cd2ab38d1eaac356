"""Making a plan: which values lie in memory, what is written over what, in which order."""

from __future__ import annotations

from collections.abc import Iterator

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Constant, Item
from staticnet.ops.movement import Concat
from staticnet.plan.failures import may_fail
from staticnet.plan.fusion import Fusion, Group
from staticnet.plan.memory import Lifetime, arrange, padded
from staticnet.plan.plan import Place, Plan, Sizes, blocks_of, lay_out, own_sizes
from staticnet.plan.reads import is_written_last, read_in_place
from staticnet.plan.results import carries_of, first_value, in_memory
from staticnet.plan.roles import Role, base, is_behind_barrier, role
from staticnet.plan.schedule import Ledger, Values, schedule
from staticnet.plan.scratch import ON_HOST, Workspaces


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
        return Values(size, makes, reads, late, over, scratch, self._on_demand())

    def _on_demand(self) -> frozenset[Group]:
        """The groups that are to run late: what computes from behind barriers alone, or puts
        together what lies in memory before the run."""
        late: set[Node] = set()
        for node in self.graph.nodes:
            behind = {x for x in node.inputs if is_behind_barrier(x) or base(x) in late}
            rest = (base(x) for x in node.inputs if x not in behind)
            free = all(role(x) in (Role.INLINE, Role.LEAF) for x in rest)
            joins = isinstance(node.op, Concat) and not behind
            if node in self.fusion.group_of and free and (behind or joins):
                late.add(node)
        return frozenset(group for group in self.groups if late.issuperset(group.nodes))

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
