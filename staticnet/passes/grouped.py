"""`grouped`: products that share an operand are one, whose other operands lie side by side.

Three projections of one x, by weights that are variables, read x three times; so do the products of
their gradients. And the gradient by x is a sum of products, each of which is written and read. So

    x @ a, x @ b               are columns of    x @ [a b]
    ga.T @ x, gb.T @ x         are rows of       [ga gb].T @ x
    ga @ a.T + gb @ b.T        is                [ga gb] @ [a b].T

Weights are put together each time, by a copy; what is saved has to be more. Gradients are put
together where that costs nothing: where maps over one space make them, which then write the whole,
or an attention's gradient, which makes its parts there. Sizes must be known; where little is saved,
a step may be one kernel, or products run beside each other, and nothing changes. See docs/adr/0073.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.base import apply
from staticnet.ops.library import MatmulEpilogue
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import concat
from staticnet.passes.grouped_gradients import find_gradients
from staticnet.passes.grouped_operands import (
    OFFER,
    PRODUCTS,
    Users,
    Weight,
    columns,
    joined,
    nbytes,
    pays,
    reads_columns,
    users_of,
    weight_of,
)
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.pattern import Numerics
from staticnet.rewrite.replacement import Plan, Replacement, feasible, resolved, with_replaced

NAME = "grouped"
NEAR = 3  # products after the first is read, for which the others of a group may wait
Member = tuple[Node, Weight]


def grouped(graph: Graph, context: Context) -> Graph:
    """The graph whose products are grouped, where its backend's library makes them."""
    if OFFER not in context.epilogues:
        return graph
    for find in (_find_products, find_gradients):
        plans = feasible(graph, find(graph))
        if plans:
            graph = with_replaced(graph, resolved(graph, plans, NAME), NAME)
        for plan in plans:
            context.notes.update(plan.notes)
    return graph


def _find_products(graph: Graph) -> list[Plan]:
    """Products of one left operand by several weights."""
    users, roots = users_of(graph), set(graph.roots)
    found: dict[Any, list[Member]] = {}
    for node in graph.nodes:
        plain = isinstance(node.op, Matmul) or node.op == MatmulEpilogue("none")
        if plain and node.ndim == 2 and node not in roots:
            weight = weight_of(node.inputs[1])
            if weight is not None and reads_columns(node, users, roots):
                key = (node.inputs[0], node.op, weight.turned)
                found.setdefault(key, []).append((node, weight))
    ends = _ends(graph, users)
    plans = []
    for (x, *_), all_members in found.items():
        for members in _needed_as_long(all_members, ends):
            saved = (len(members) - 1) * nbytes(x)
            if pays(saved, [weight for _, weight in members]):
                notes = Counter({"products of one operand": len(members)})
                plans.append(Plan(_as_one(members), notes))
    return plans


def _ends(graph: Graph, users: Users) -> dict[Node, int]:
    """How many products come before the last that reads each node, or what it shows."""
    before, at, ends = 0, dict[Node, int](), dict[Node, int]()
    for node in graph.nodes:
        at[node] = before
        before += isinstance(node.op, PRODUCTS)
    for node in reversed(graph.nodes):
        read = (ends[user] if user.op.moves else at[user] for user in users.get(node, ()))
        ends[node] = max(read, default=at[node])
    return ends


def _needed_as_long(members: Sequence[Member], ends: Mapping[Node, int]) -> list[list[Member]]:
    """Those of products that are needed until about the same time: they lie in one array.

    That is the time of the first: of neighbours each a little later, all would wait for the last.
    """
    order = sorted(members, key=lambda member: ends[member[0]])
    groups: list[list[Member]] = []
    for member in order:
        if not groups or ends[member[0]] - ends[groups[-1][0][0]] > NEAR:
            groups.append([])
        groups[-1].append(member)
    return groups


def _as_one(members: Sequence[Member]) -> dict[Node, Replacement]:
    """Each product as columns of one."""
    products, weights = [node for node, _ in members], [weight for _, weight in members]
    count = len(members)
    needs = [products[0].inputs[0], *(weight.variable for weight in weights)]
    needs += [bias for node in products for bias in node.inputs[2:]]
    planned, first = {}, 0
    for node in products:
        (_, width), start = node.shape, first

        def make(new: list[Any], node: Node = node, start: Any = start) -> Any:
            x, variables, biases = new[0], new[1 : 1 + count], new[1 + count :]
            bias = [concat(biases, 0)] if biases else []
            right = joined(weights, variables, 1)
            return columns(apply(node.op, x, right, *bias), start, node.shape[1])

        planned[node] = Replacement(needs, make)
        first += width
    return planned


GROUPED = Pass(NAME, grouped, Numerics.REASSOCIATES)
