"""Replacing nodes by what is made of nodes that may come after them in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def resolved(
    graph: Graph, planned: Mapping[Node, Replacement], made_by: str
) -> dict[Node, Node] | None:
    """What the nodes become that the roots then need; None if one would need itself."""
    new: dict[Node, Node] = {}
    begun: set[Node] = set()
    stack = [(root, False) for root in graph.roots]
    while stack:
        node, ready = stack.pop()
        if node in new:
            continue
        plan = planned.get(node)
        needs = list(node.inputs) if plan is None else plan.needs
        if ready:
            inputs = [new[x] for x in needs]
            if plan is None:
                new[node] = keep(node, tuple(inputs))
                continue
            with location.attributed(location.merge((node.provenance,), made_by)):
                new[node] = plan.make(inputs)
        elif node in begun:
            return None
        else:
            begun.add(node)
            stack.append((node, True))
            stack.extend((x, False) for x in needs if x not in new)
    return new


def with_replaced(graph: Graph, new: Mapping[Node, Node], made_by: str) -> Graph:
    """The graph in which nodes are what `resolved` says."""
    return rebuild(graph, made_by, partial(_chosen, new))


def _chosen(new: Mapping[Node, Node], node: Node, inputs: tuple[Node, ...]) -> Node:
    return new[node] if node in new else keep(node, inputs)
