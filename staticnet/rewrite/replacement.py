"""Replacing nodes by what is made of nodes that may come after them in the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.rewrite.driver import keep, rebuild


@dataclass
class Replacement:
    """What a node becomes, made of what some others become."""

    needs: list[Node]
    make: Callable[[list[Any]], Any]


@dataclass(eq=False)
class Plan:
    """Replacements that are made together or not at all, and what they are, counted."""

    nodes: dict[Node, Replacement] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)


def feasible(graph: Graph, plans: Sequence[Plan]) -> list[Plan]:
    """The plans by all of which no node would need itself; which closes a circle is left out."""
    if _order(graph, _union(plans)) is not None:
        return list(plans)
    kept: list[Plan] = []
    for plan in plans:
        if _order(graph, _union([*kept, plan])) is not None:
            kept.append(plan)
    return kept


def resolved(graph: Graph, plans: Sequence[Plan], made_by: str) -> dict[Node, Node]:
    """What the nodes become that the roots then need, by feasible plans."""
    planned = _union(plans)
    new: dict[Node, Node] = {}
    for node in _order(graph, planned) or ():
        plan = planned.get(node)
        if plan is None:
            new[node] = keep(node, tuple([new[x] for x in node.inputs]))
            continue
        with location.attributed(location.merge((node.provenance,), made_by)):
            new[node] = plan.make([new[x] for x in plan.needs])
    return new


def with_replaced(graph: Graph, new: Mapping[Node, Node], made_by: str) -> Graph:
    """The graph in which nodes are what `resolved` says."""
    return rebuild(graph, made_by, partial(_chosen, new))


def _union(plans: Sequence[Plan]) -> dict[Node, Replacement]:
    return {node: plan for each in plans for node, plan in each.nodes.items()}


def _order(graph: Graph, planned: Mapping[Node, Replacement]) -> list[Node] | None:
    """What the roots then need, each node after its own needs; None if one would need itself."""
    order: dict[Node, None] = {}
    begun: set[Node] = set()
    stack = [(root, False) for root in graph.roots]
    while stack:
        node, ready = stack.pop()
        if node in order:
            continue
        if ready:
            order[node] = None
        elif node in begun:
            return None
        else:
            begun.add(node)
            plan = planned.get(node)
            needs = node.inputs if plan is None else plan.needs
            stack.append((node, True))
            stack.extend((x, False) for x in needs if x not in order)
    return list(order)


def _chosen(new: Mapping[Node, Node], node: Node, inputs: tuple[Node, ...]) -> Node:
    return new[node] if node in new else keep(node, inputs)
