"""`small_places`: of a pool that only its gradients ask, the elements found are numbers of a byte.

A maximum of windows leaves with each result the place in the plane where it was found, an int32
that users may read. A training step keeps it until the way back. There it is read by the gradient
alone, which knows each window's first element: so a byte does, that says which element it is. On
the CPU, where such arrays lie in the cache, that took 2 % longer: the backend says if it wants it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.base import Item
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.spatial.pooling import MAX_NUMBERED, MaxPool, MaxPoolGradient

NAME = "small_places"
OFFER = "numbers"  # of a backend's `products`


def small_places(graph: Graph, context: Context) -> Graph:
    """The graph whose pools number the elements of windows, where gradients alone ask."""
    pools = [node for node in graph.nodes if _may_number(node)] if OFFER in context.products else ()
    if not pools:
        return graph
    users: dict[Node, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for x in dict.fromkeys(node.inputs):
            users[x].append(node)
    roots = set(graph.roots)
    asked = {node for node in graph.nodes if _is_places(node)}
    found = {
        places.inputs[0] for places in asked - roots
        if all(_is_own_gradient(user, places) for user in users[places])
    }.intersection(pools)  # fmt: skip
    if not found:
        return graph
    context.notes["numbers of elements in windows"] += len(found)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in found:
            return keep(node, inputs)
        assert isinstance(node.op, MaxPool)
        return build(replace(node.op, numbered=True), inputs)

    return rebuild(graph, NAME, change)


def _is_places(node: Node) -> bool:
    op = node.op
    return isinstance(op, Item) and op.index == 1 and isinstance(node.inputs[0].op, MaxPool)


def _may_number(node: Node) -> bool:
    op = node.op
    return isinstance(op, MaxPool) and not op.numbered and math.prod(op.kernel) <= MAX_NUMBERED


def _is_own_gradient(user: Node, places: Node) -> bool:
    """Whether a node is the gradient of the pool that found these places."""
    op, pool = user.op, places.inputs[0]
    if not isinstance(op, MaxPoolGradient) or user.inputs[0] is places:
        return False
    assert isinstance(pool.op, MaxPool)
    return op.own() == pool.op.own() and op.spatial == pool.op.spatial_of(pool.inputs[0])


SMALL_PLACES = Pass(NAME, small_places)
