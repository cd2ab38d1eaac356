"""The plan of a graph with symbolic dims: made once, and bound to sizes afterwards.

It is made for sizes that no dim of the graph has by chance, large primes, so that what holds for
them holds for all. A binding takes from it which nodes share a kernel, the order of the steps, and
the order in which blocks are stacked in the arena; offsets follow from the sizes. So the bytes of
every binding are known from the sizes of the values, which are polynomials in the dims. Which order
is best depends on the sizes: there are several, and a binding takes the one that needs least.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import count

from staticnet.errors import ShapeError, StaticnetError
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.types import Shape, TupleType, members
from staticnet.ops.base import Reduction
from staticnet.passes.infer_shape import specialize
from staticnet.plan.formula import Bytes, value
from staticnet.plan.fusion import Fusion, Group, space_of
from staticnet.plan.memory import padded, stack
from staticnet.plan.plan import Plan, Sizes, blocks_of, lay_out, most_scratch
from staticnet.plan.planner import make_plan
from staticnet.plan.results import carries_of, rooms
from staticnet.plan.schedule import Step
from staticnet.plan.scratch import ON_HOST, Workspaces

LEAST_PRIMES = (1009, 61, 7, 1_000_003)  # where an op does not allow one size, the next is tried
SAMPLES = (64, 1024)  # of each dim, for which there is an order of the steps


class SymbolicPlan:
    """The plan of an optimised graph for all sizes of its symbolic dims.

    If some op allows none of the sizes that are tried, each binding has a plan of its own, and
    asking for what holds for all raises a ShapeError that says so.
    """

    def __init__(
        self, graph: Graph, fuse: bool = True, carries: int = 0, workspaces: Workspaces = ON_HOST
    ) -> None:
        self.graph = graph
        self.workspaces = workspaces
        self.fuse = fuse
        self.carries = carries
        self._held = {node: self._plan_held(node) for node in graph.nodes if node.op.graphs}
        self._origin: dict[Node, Node] = {}
        self._domains: dict[Group, Shape] = {}
        self._orders: list[Plan] = []
        self._problem = ""
        try:
            general, twins = _generalize(graph)
        except StaticnetError as error:
            self._problem = f"{graph.name}: none of the sizes tried allows a plan for all: {error}"
            return
        self._problem = next((p._problem for p in self._all_held() if p._problem), "")
        self._origin = {twin: node for node, twin in twins.items()}
        found = {}
        for sample in SAMPLES:
            sizes = self.sizes_at(dict.fromkeys(graph.symbols, sample))
            plan = make_plan(general, fuse, sizes, carries, workspaces=workspaces)
            found[_order(plan)] = plan
        self._orders = list(found.values())

    def _plan_held(self, node: Node) -> dict[str, SymbolicPlan]:
        """The plans of the graphs that a node's op holds."""
        op = node.op
        return {
            name: SymbolicPlan(held, self.fuse, carries_of(op, name), self.workspaces)
            for name, held in op.graphs.items()
        }

    def _all_held(self) -> Iterator[SymbolicPlan]:
        return (plan for plans in self._held.values() for plan in plans.values())

    def held(self, group: Group) -> Collection[SymbolicPlan]:
        """The plans of the graphs that a routine of the general plan holds."""
        return self._held.get(self._origin[group.nodes[0]], {}).values()

    @property
    def orders(self) -> list[Plan]:
        """Plans of the general graph, each in the order that is good for some size."""
        if self._problem:
            raise ShapeError(self._problem)
        return self._orders

    def bind(self, dims: Mapping[str, int]) -> Plan:
        """The plan for one binding of the dims.

        Raises:
            ShapeError: naming the user's line, if an op does not allow these sizes.
        """
        graph, twins = specialize(self.graph, dims)
        if self._problem:
            return self._own(graph)
        twin = {node: twins[origin] for node, origin in self._origin.items()}
        fusion = self._fusion(graph, twin)
        if fusion is None:  # two expressions are one at these sizes, or a kernel does not hold
            plan = self._own(graph)
            plan.arena_bytes = max(plan.arena_bytes, self.arena_bytes(dims))
            return plan
        for node, plans in self._held.items():
            group = fusion.group_of.get(twins[node])
            if group is not None:
                group.bodies = {name: plan.bind(dims) for name, plan in plans.items()}
        plan = Plan(graph, fusion, self.carries, self.workspaces)
        return _bound(plan, self.order_at(dims), twin)

    def _own(self, graph: Graph) -> Plan:
        """A plan of one binding alone."""
        return make_plan(graph, self.fuse, carries=self.carries, workspaces=self.workspaces)

    def order_at(self, dims: Mapping[str, int]) -> Plan:
        """The general plan whose order needs least for one binding."""
        return min(self.orders, key=lambda plan: self._arena_bytes(plan, dims))

    def arena_bytes(self, dims: Mapping[str, int]) -> int:
        """The arena's bytes for one binding."""
        return min(self._arena_bytes(plan, dims) for plan in self.orders)

    def _arena_bytes(self, plan: Plan, dims: Mapping[str, int]) -> int:
        sizes = self.sizes_at(dims)
        blocks = blocks_of(plan, sizes)
        return stack([blocks[node] for node in plan.stacked]) + most_scratch(plan, sizes)

    def origin(self, node: Node) -> Node:
        """The node with symbolic dims of which a node of the general plan is made."""
        return self._origin[node]

    def bytes_of(self, node: Node) -> Bytes:
        """The bytes of a node of the general plan, in the symbolic dims."""
        return self._origin[node].type.nbytes

    def domain(self, group: Group) -> Shape:
        """A group's index space, in the symbolic dims."""
        if group not in self._domains:
            self._domains[group] = self._find_domain(group)
        return self._domains[group]

    def sizes_at(self, dims: Mapping[str, int]) -> Sizes:
        """The sizes of the general plan's values and scratch memory for one binding."""

        def scratch(group: Group) -> int:
            if not group.fused:
                arenas = (int(padded(plan.arena_bytes(dims))) for plan in self.held(group))
                unread = (int(padded(max(0, value(n, dims)))) for n in self.rooms(group))
                node = self._origin[group.nodes[0]]
                own = self.workspaces.routine(node, lambda d: max(0, value(d, dims)))
                return sum(unread) + max(arenas, default=0) + own
            domain = tuple(max(0, value(dim, dims)) for dim in self.domain(group))
            return self.workspaces.kernel(replace(group, domain=domain))

        return Sizes(lambda node: max(0, value(self.bytes_of(node), dims)), scratch)

    def rooms(self, group: Group) -> list[Bytes]:
        """The bytes of a routine's results that nobody reads, in the symbolic dims."""
        type_ = self._origin[group.nodes[0]].type
        return [type_.types[i].nbytes for i in rooms(group)] if isinstance(type_, TupleType) else []

    def _find_domain(self, group: Group) -> Shape:
        if not group.fused:
            return space_of(self._origin[group.nodes[0]])
        for node in group.nodes:
            if node.shape == group.domain and node not in group.rows:
                return self._origin[node].shape
        for node in group.nodes:
            if isinstance(node.op, Reduction):
                shape, axes = self._origin[node.inputs[0]].shape, node.op.axes
                kept = [n for i, n in enumerate(shape) if i not in axes]
                return shape if group.columns else (*kept, *(shape[i] for i in axes))
        raise AssertionError(group)

    def _fusion(self, graph: Graph, twin: Mapping[Node, Node]) -> Fusion | None:
        """The kernels of the general plan for a binding; None if they do not hold there."""
        made = self.orders[0].fusion.group_of
        guide = {twin[node]: group for node, group in made.items()}
        rows = frozenset(twin[node] for group in set(made.values()) for node in group.rows)
        if len(guide) == len(made):
            for known in (None, guide):
                fusion = Fusion(graph, self.fuse, known, recompute=False, of_rows=rows)
                if self._is_alike(fusion, twin):
                    for node, group in made.items():
                        fusion.group_of[twin[node]].again = {twin[x]: None for x in group.again}
                    return fusion
        return None

    def _is_alike(self, fusion: Fusion, twin: Mapping[Node, Node]) -> bool:
        groups = [group for group in self.orders[0].fusion.groups if group.nodes]
        pairs = [(group, fusion.group_of.get(twin[group.nodes[0]])) for group in groups]
        return len(groups) == sum(bool(group.nodes) for group in fusion.groups) and all(
            other is not None
            and {twin[node] for node in group.nodes} == set(other.nodes)
            and {twin[node] for node in group.rows} == other.rows
            and (group.inner, group.columns) == (other.inner, other.columns)
            for group, other in pairs
        )


def _bound(plan: Plan, general: Plan, twin: Mapping[Node, Node]) -> Plan:
    """A general plan told in the nodes of a binding."""
    group_of = plan.fusion.group_of
    for step in general.steps:
        plan.steps.append(Step(tuple([group_of[twin[g.nodes[0]]] for g in step.groups])))
    plan.stored = {twin[node] for node in general.stored}
    plan.places = {twin.get(node, node): place for node, place in general.places.items()}
    plan.constants = [twin.get(node, node) for node in general.constants]  # or of a held graph
    plan.first_copies = [(twin[node], i) for node, i in general.first_copies]
    plan.last_copies = [(twin[node], place) for node, place in general.last_copies]
    plan.guard = general.guard
    plan.saved = {twin[node]: replace(block) for node, block in general.saved.items()}
    plan.blocks = {twin[node]: replace(block) for node, block in general.blocks.items()}
    plan.over = {twin[value]: twin[node] for value, node in general.over.items()}
    plan.stacked = [twin[node] for node in general.stacked]
    lay_out(plan, plan.sizes)
    return plan


def _order(plan: Plan) -> tuple[object, ...]:
    """What tells one plan of a graph from another."""
    steps = tuple(tuple(group.number for group in step.groups) for step in plan.steps)
    return steps, tuple(plan.stacked)


def _generalize(graph: Graph) -> tuple[Graph, dict[Node, Node]]:
    """The graph at sizes that stand for all, and what each node became."""
    types = [each for node in graph.nodes for each in members(node.type)]
    known = {dim for type_ in types for dim in type_.shape if isinstance(dim, int)}
    problem: StaticnetError | None = None
    for least in LEAST_PRIMES:
        primes = (n for n in _primes(least) if n not in known)
        try:
            return specialize(graph, dict(zip(sorted(graph.symbols), primes, strict=False)))
        except StaticnetError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _primes(least: int) -> Iterator[int]:
    return (n for n in count(least) if all(n % d for d in range(2, int(n**0.5) + 1)))
