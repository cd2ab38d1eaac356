"""Where each node of a data-flow picture stands: layers by depth, order by barycentre.

The layered method of Sugiyama, Tagawa and Toda (1981) without dummy nodes: an edge that spans
layers is drawn as one curve under the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node

NODE_WIDTH, NODE_HEIGHT = 176, 36
GAP_X, GAP_Y, MARGIN = 20, 44, 24
SWEEPS = 6


@dataclass(frozen=True)
class Layout:
    """The layers from top to bottom, the top-left corner of each node, and the picture's size."""

    layers: tuple[tuple[Node, ...], ...]
    corners: dict[Node, tuple[int, int]]
    width: int
    height: int


def users_of(graph: Graph) -> dict[Node, list[Node]]:
    """For each node the nodes that read it, each once, in the graph's order."""
    users: dict[Node, dict[Node, None]] = {node: {} for node in graph.nodes}
    for node in graph.nodes:
        for operand in node.inputs:
            users[operand][node] = None
    return {node: list(found) for node, found in users.items()}


def layout(graph: Graph) -> Layout:
    """Place every node below its operands and near what it is connected to."""
    users = users_of(graph)
    layers = _layers(graph, users)
    centres = {node: float(i * _PITCH) for layer in layers for i, node in enumerate(layer)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            _place(layer, centres, users, down)
    left = min(centres.values(), default=0.0)
    corners = {
        node: (
            round(centres[node] - left) + MARGIN,
            MARGIN + depth * (NODE_HEIGHT + GAP_Y),
        )
        for depth, layer in enumerate(layers)
        for node in layer
    }
    right = max((x for x, _ in corners.values()), default=0)
    height = 2 * MARGIN + len(layers) * (NODE_HEIGHT + GAP_Y) - GAP_Y
    return Layout(
        tuple(map(tuple, layers)), corners, right + NODE_WIDTH + MARGIN, max(height, 2 * MARGIN)
    )


_PITCH = NODE_WIDTH + GAP_X


def _layers(graph: Graph, users: dict[Node, list[Node]]) -> list[list[Node]]:
    """Longest path from the sources; then each node moves down to just above its first user."""
    depth: dict[Node, int] = {}
    for node in graph.nodes:
        depth[node] = max((depth[operand] + 1 for operand in node.inputs), default=0)
    for node in reversed(graph.nodes):
        if users[node]:
            depth[node] = min(depth[user] for user in users[node]) - 1
    layers: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in graph.nodes:
        layers[depth[node]].append(node)
    return layers


def _place(
    layer: list[Node], centres: dict[Node, float], users: dict[Node, list[Node]], down: bool
) -> None:
    """Order a layer by the mean of its neighbours, and spread it around their places."""
    wanted = {
        node: fmean([centres[n] for n in near] or [centres[node]])
        for node in layer
        for near in [node.inputs if down else users[node]]
    }
    layer.sort(key=wanted.__getitem__)
    places = _spread([wanted[node] for node in layer])
    centres.update(zip(layer, places, strict=True))


def _spread(wanted: Sequence[float]) -> list[float]:
    """Places at least one pitch apart, in order, shifted to lie on average where wanted."""
    places: list[float] = []
    for want in wanted:
        places.append(max(want, places[-1] + _PITCH) if places else want)
    shift = fmean(wanted) - fmean(places)
    return [place + shift for place in places]
