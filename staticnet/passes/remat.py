"""`remat`: values that were computed early and are used late are computed again, to save memory.

Between its first and its last use a value takes memory. Where a step needs more than the limit,
values that lie idle while it is fullest are candidates: their late users get them computed anew,
from what lies in memory anyway. The copies stand behind an `optimization_barrier`, so that they are
no nodes that are there already. Elementwise values and reductions come first, the cheapest for
their bytes; products and convolutions only if those are not enough. Every choice is planned, and
kept if it helps. Loops come first: what one stacks for another is made again from its carries, see
`passes/remat_loops.py`.

The same ops run on the same operands, so results keep their bits on the reference; a compiled
kernel may fuse a multiplication with an addition that was apart from it before. After Chen et al.,
"Training deep nets with sublinear memory cost", 2016, and Jain et al., "Checkmate", 2020.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import Constant, Elementwise, Reduction, Size
from staticnet.ops.creation import Iota
from staticnet.ops.movement import Concat, Pad
from staticnet.ops.own_rules import flops_of_node
from staticnet.ops.random import RandomBits
from staticnet.ops.state import Placeholder, VariableOp
from staticnet.passes.manager import Context, Pass
from staticnet.passes.precision import PRODUCTS
from staticnet.passes.remat_loops import stack_carries_alone
from staticnet.rewrite.driver import keep, rebuild

MAX_ROUNDS = 40
MAX_CHAIN = 200  # nodes that one value is computed again from
_CHEAP = (Elementwise, Reduction, Pad, Concat, RandomBits)
_LEAVES = (Placeholder, VariableOp)
_NUMBERS = (Constant, Iota, Size)


@dataclass(frozen=True)
class Layout:
    """What a plan says of memory.

    `peak` is all its bytes, `alive` those that lie in memory at each step. `step` tells when a node
    is computed and `uses` when a value of the arena is read; `held` lie in memory to the end.
    """

    peak: int
    alive: Sequence[int]
    step: Mapping[Node, int]
    uses: Mapping[Node, Collection[int]]
    held: Collection[Node]

    @property
    def fullest(self) -> int:
        """The first step at which most bytes are alive."""
        return max(range(len(self.alive)), key=self.alive.__getitem__, default=0)

    def excess(self, limit: int) -> tuple[int, int]:
        """How far this is from a limit: the peak, and the bytes above it, summed over the steps."""
        return self.peak, sum(max(0, alive - limit) for alive in self.alive)


def remat(graph: Graph, context: Context) -> Graph:
    """The graph that stays under `context.memory_limit`, or comes nearest to it."""
    limit, layout = context.memory_limit, context.layout
    if limit is None or layout is None or graph.symbols:
        return graph
    peak = layout(graph, True).peak
    if peak <= limit:
        return graph

    def plan(graph: Graph) -> Layout:
        """As beside barriers: kernels compute nothing again by themselves."""
        found: Layout = layout(graph, False)
        return found

    less = stack_carries_alone(graph)
    best = less if less is not graph and plan(less).peak < plan(graph).peak else graph
    found = []
    for part in (1, 8):
        search = _Search(best, plan, limit, part)
        for products in (False, True):
            search.run(products)
        found.append(search)
        if search.layout.peak <= limit:
            break
    least = min(found, key=lambda search: search.layout.peak)
    best = least.graph if least.layout.peak < peak else graph
    if best is not graph:
        context.notes["computed again"] += len(best.nodes) - len(graph.nodes)
    return best


class _Search:
    """The best graph so far; each round drops some values that lie idle at its fullest step.

    A round aims at the limit, or at the `part`-th part of the peak less, whichever is nearer.
    """

    def __init__(
        self, graph: Graph, plan: Callable[[Graph], Layout], limit: int, part: int
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.layout = plan(graph)
        self.limit = limit
        self.part = part
        self.rounds = 0

    def run(self, products: bool) -> None:
        """Rounds until the limit is met or nothing helps."""
        refused: set[Node] = set()
        while self.layout.peak > self.limit and self.rounds < MAX_ROUNDS:
            target = max(self.limit, self.layout.peak - self.layout.peak // self.part)
            chosen = _Choice(self.graph, self.layout, products).choose(target, refused)
            if not chosen:
                return
            refused |= self._drop(chosen)

    def _drop(self, chosen: list[Node]) -> set[Node]:
        """Compute values again: all, or the first half, and so on; -> the one that is no help."""
        while True:
            self.rounds += 1
            graph = recompute(self.graph, chosen, self.layout, self.rounds)
            layout = self.plan(graph)
            if layout.excess(self.limit) < self.layout.excess(self.limit):
                self.graph, self.layout = graph, layout
                return set()
            if len(chosen) == 1:
                return set(chosen)
            chosen = chosen[: len(chosen) // 2]


class _Choice:
    """Which values to compute again: those that are idle while memory is fullest."""

    def __init__(self, graph: Graph, layout: Layout, products: bool) -> None:
        self.layout = layout
        self.products = products
        self.dropped: set[Node] = set()
        self.needed: set[Node] = {base(root) for root in graph.roots}

    def choose(self, limit: int, refused: Collection[Node]) -> list[Node]:
        """Values to drop, the cheapest for their bytes first, until the fullest step fits."""
        now = self.layout.fullest
        heap = [
            (cost, i, node)
            for i, (node, uses) in enumerate(self.layout.uses.items())
            if self._is_idle(node, uses, now) and node not in refused
            if (cost := self._cost(node)) is not None
        ]
        heapq.heapify(heap)
        excess = self.layout.peak - limit
        chosen: list[Node] = []
        while heap and excess > 0:
            before, i, node = heapq.heappop(heap)
            cost = None if node in self.needed else self._cost(node)
            if cost is None:
                continue
            if cost > before:
                heapq.heappush(heap, (cost, i, node))
                continue
            chain = self.chain(node)
            assert chain is not None
            self.dropped.add(node)
            self.needed |= chain[1]
            chosen.append(node)
            excess -= int(node.type.nbytes)
        return chosen

    def _is_idle(self, node: Node, uses: Collection[int], now: int) -> bool:
        early = self.layout.step[node] < now and now not in uses
        return early and max(uses, default=0) > now and node not in self.needed

    def _cost(self, node: Node) -> float | None:
        """Operations for a byte, or None if it cannot be computed again."""
        chain = self.chain(node)
        size = int(node.type.nbytes)
        return sum(map(_work, chain[0])) / size if chain is not None and size else None

    def chain(self, node: Node) -> tuple[list[Node], set[Node]] | None:
        """The nodes from which a value is computed again, and the values in memory that it takes.

        None if one of them cannot be, as a routine that may fail, or there are too many.
        """
        chain: dict[Node, None] = {}
        taken: set[Node] = set()
        stack = [node]
        while stack:
            current = stack.pop()
            if current in chain:
                continue
            if not self._can_repeat(current) or len(chain) == MAX_CHAIN:
                return None
            chain[current] = None
            for operand in current.inputs:
                below = base(operand)
                if self._is_in_memory(below):
                    taken.add(below)
                elif not isinstance(below.op, _NUMBERS):
                    stack.append(below)
        return list(chain), taken

    def _can_repeat(self, node: Node) -> bool:
        kinds = (*_CHEAP, *PRODUCTS) if self.products else _CHEAP
        return (isinstance(node.op, kinds) or node.op.moves) and not node.op.may_fail

    def _is_in_memory(self, node: Node) -> bool:
        """Whether a value lies in memory when most does, so that reading it later costs nothing."""
        if isinstance(node.op, _LEAVES) or node in self.layout.held:
            return True
        last = max(self.layout.uses.get(node, ()), default=-1)
        return last >= self.layout.fullest and node not in self.dropped


def _work(node: Node) -> int:
    """Operations of a node; random bits take about 40 an element."""
    flops, size = int(flops_of_node(node)), int(node.type.size)
    return max(flops, 40 * size if isinstance(node.op, RandomBits) else size)


def base(node: Node) -> Node:
    """The node whose elements a chain of views shows."""
    while node.op.moves:
        (node,) = node.inputs
    return node


def recompute(graph: Graph, chosen: Collection[Node], layout: Layout, number: int) -> Graph:
    """The graph in which users after the fullest step read copies of the chosen values.

    A copy is made of what lies in memory then, behind barriers of this number.
    """
    again = _Again(graph, chosen, layout, number)
    return rebuild(graph, "remat", again.replace)


class _Again:
    def __init__(self, graph: Graph, chosen: Collection[Node], layout: Layout, number: int) -> None:
        self.chosen = set(chosen)
        self.layout = layout
        self.barrier = OptimizationBarrier(number)
        self.copies: dict[Node, Node] = {}
        choice = _Choice(graph, layout, products=True)
        choice.dropped |= self.chosen
        self.made: set[Node] = set()
        for node in chosen:
            chain = choice.chain(node)
            assert chain is not None
            self.made |= set(chain[0])

    def replace(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """A node of the graph on its new operands."""
        if self.layout.step.get(node, -1) > self.layout.fullest:
            pairs = zip(node.inputs, inputs, strict=True)
            inputs = tuple([self._late(old, new) for old, new in pairs])
        return keep(node, inputs)

    def _late(self, old: Node, new: Node) -> Node:
        views = []
        while old not in self.chosen and old.op.moves:
            views.append(old)
            (old,) = old.inputs
        if old not in self.chosen:
            return new
        result = self._copy(old)
        for view in reversed(views):
            result = build(view.op, (result,))
        return result

    def _copy(self, root: Node) -> Node:
        """The copy of a value, and of those that it is computed from."""
        stack = [root]
        while stack:
            node = stack[-1]
            pending = [x for x in self._operands(node) if x not in self.copies]
            if pending:
                stack += pending
                continue
            stack.pop()
            maker = node.provenance.made_by or "remat"
            with location.attributed(node.provenance._replace(made_by=maker)):
                self.copies[node] = self._build(node)
        return self.copies[root]

    def _operands(self, node: Node) -> tuple[Node, ...]:
        return node.inputs if node in self.made or self._shows_made(node) else ()

    def _shows_made(self, node: Node) -> bool:
        return node.op.moves and base(node) in self.made

    def _build(self, node: Node) -> Node:
        if node in self.made or self._shows_made(node):
            return build(node.op, tuple([self.copies[x] for x in node.inputs]))
        return node if isinstance(node.op, _NUMBERS) else build(self.barrier, (node,))


REMAT = Pass("remat", remat)
