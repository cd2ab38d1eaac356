"""Where each node of a data-flow picture stands: layers by depth, order by barycentre.

The layered method of Sugiyama, Tagawa and Toda (1981) without dummy nodes: an edge that spans
layers is drawn as one curve under the nodes. Nodes of one kernel stand in a box, which is laid out
first and then placed as if it were a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

NODE_WIDTH, NODE_HEIGHT = 176, 36
GAP_X, GAP_Y, MARGIN = 20, 44, 24
BOX_GAP_X, BOX_GAP_Y, BOX_MARGIN, BOX_HEAD = 12, 26, 12, 24
SWEEPS = 6

Place = tuple[int, int]
Size = tuple[int, int]
Links = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Box:
    """A rectangle around nodes: its top-left corner and size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """The top-left corner of each node, the boxes by their numbers, and the picture's size."""

    corners: tuple[Place, ...]
    boxes: dict[int, Box]
    width: int
    height: int


def layout(operands: Links, boxes: Sequence[int | None]) -> Layout:
    """Place nodes below their operands, and near them, or in their boxes.

    operands: the numbers of each node's operands, which are smaller than its own; boxes: the number
    of each node's box, or None. Boxes are placed below those with smaller numbers that they read.
    """
    members: dict[int, list[int]] = {}
    for node, box in enumerate(boxes):
        if box is not None:
            members.setdefault(box, []).append(node)
    loose = [node for node, box in enumerate(boxes) if box is None]
    inside = {box: _inside(operands, members[box]) for box in sorted(members)}
    item_of = {node: i for i, node in enumerate(loose)}
    for i, box in enumerate(inside):
        item_of |= dict.fromkeys(members[box], len(loose) + i)
    sizes = [(NODE_WIDTH, NODE_HEIGHT)] * len(loose) + [size for _, size in inside.values()]
    links: list[dict[int, None]] = [{} for _ in sizes]
    for node, read in enumerate(operands):
        item = item_of[node]
        links[item].update((item_of[x], None) for x in read if item_of[x] < item)
    places, (width, height) = arrange(sizes, [list(link) for link in links], GAP_X, GAP_Y)
    corners = {node: _moved(places[i], MARGIN, MARGIN) for node, i in item_of.items()}
    found: dict[int, Box] = {}
    for item, (box, (within, size)) in enumerate(inside.items(), len(loose)):
        x, y = _moved(places[item], MARGIN, MARGIN)
        found[box] = Box(x, y, *size)
        for node, place in zip(members[box], within, strict=True):
            corners[node] = _moved(place, x + BOX_MARGIN, y + BOX_HEAD)
    ordered = tuple(corners[node] for node in range(len(operands)))
    return Layout(ordered, found, width + 2 * MARGIN, height + 2 * MARGIN)


def _moved(place: Place, x: int, y: int) -> Place:
    return place[0] + x, place[1] + y


def _inside(operands: Links, members: Sequence[int]) -> tuple[list[Place], Size]:
    """Where the nodes of a box stand in it, and the size of the box."""
    number = {node: i for i, node in enumerate(members)}
    links = [[number[x] for x in operands[node] if x in number] for node in members]
    sizes = [(NODE_WIDTH, NODE_HEIGHT)] * len(members)
    places, (width, height) = arrange(sizes, links, BOX_GAP_X, BOX_GAP_Y)
    return places, (width + 2 * BOX_MARGIN, height + BOX_HEAD + BOX_MARGIN)


def arrange(
    sizes: Sequence[Size], links: Links, gap_x: int, gap_y: int
) -> tuple[list[Place], Size]:
    """Items in layers, each below what it links to; -> their top-left corners, and the whole size.

    links: for each item the numbers of others, all smaller than its own.
    """
    users: list[list[int]] = [[] for _ in sizes]
    for item, linked in enumerate(links):
        for other in dict.fromkeys(linked):
            users[other].append(item)
    layers = _layers(links, users)
    widths = [width + gap_x for width, _ in sizes]
    centres = [0.0] * len(sizes)
    for layer in layers:
        _spread(layer, [0.0] * len(layer), widths, centres)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            _place(layer, links if down else users, widths, centres)
    lefts = [centre - width / 2 for centre, (width, _) in zip(centres, sizes, strict=True)]
    left = min(lefts, default=0.0)
    places: list[Place] = [(0, 0)] * len(sizes)
    top = 0
    for layer in layers:
        for item in layer:
            places[item] = round(lefts[item] - left), top
        top += max(sizes[item][1] for item in layer) + gap_y
    right = max((x + width for (x, _), (width, _) in zip(places, sizes, strict=True)), default=0)
    return places, (right, max(0, top - gap_y))


def _layers(links: Links, users: Links) -> list[list[int]]:
    """Longest path from the sources; then each item moves down to just above its first user."""
    depth: list[int] = []
    for linked in links:
        depth.append(max((depth[other] + 1 for other in linked), default=0))
    for item in reversed(range(len(links))):
        if users[item]:
            depth[item] = min(depth[user] for user in users[item]) - 1
    layers: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for item, layer in enumerate(depth):
        layers[layer].append(item)
    return layers


def _place(layer: list[int], near: Links, widths: Sequence[int], centres: list[float]) -> None:
    """Order a layer by the mean of its neighbours, and spread it around their places."""
    wanted = {i: fmean([centres[n] for n in near[i]] or [centres[i]]) for i in layer}
    layer.sort(key=wanted.__getitem__)
    _spread(layer, [wanted[i] for i in layer], widths, centres)


def _spread(
    layer: Sequence[int], wanted: Sequence[float], widths: Sequence[int], centres: list[float]
) -> None:
    """Centres that keep widths apart, in order, shifted to lie on average where wanted."""
    places: list[float] = []
    for item, want in zip(layer, wanted, strict=True):
        if places:
            before = layer[len(places) - 1]
            want = max(want, places[-1] + (widths[before] + widths[item]) / 2)
        places.append(want)
    shift = fmean(wanted) - fmean(places)
    for item, place in zip(layer, places, strict=True):
        centres[item] = place + shift
