"""A graph as nested boxes: layers in layers, or kernels; a page draws what is open of them.

A view is `{title, main, apart}`, two lists of items: `apart` is the update, which is drawn beside
the rest. An item is the number of a node, or a box
`{label, ops, counts, nodes, parameters, kernel, open, items}`:

    label       the last name of the module's path, the line's text, or the kernel's number
    ops         {"forward": "matmul, add", "backward": …}: what it mostly does, of each half it has
    counts      {role: nodes}, with those in boxes in it
    nodes       their numbers
    parameters  elements of the variables in it
    kernel      the number of the kernel that it is, else None
    open        whether it is open at first
    items       what it holds, operands first; of the backward half, users first

Constants, random bits and what is made of them alone are in no box: they are folded.
"""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from staticnet.ir.graph import Graph
from staticnet.ir.location import Location
from staticnet.ir.node import Node, modules_of
from staticnet.ir.printer import value_names
from staticnet.ops.random import RandomBits

MOST = 40  # items in a box; more are put into boxes of equally many
FEW = 12  # nodes that no module made, which are drawn as they are
WRAPPED = 16  # items of a box that is opened because it is the only one
NAMED = 3  # ops that a box names
LABEL_CHARS = 44
_MOVES = {"reshape", "permute_dims", "broadcast_to", "cast", "slice", "item", "stop_gradient"}

Item = Any  # int or a dict, for JSON
Entry = dict[str, Any]
Path = tuple[str, ...]


def folded(graph: Graph) -> set[Node]:
    """Constants, random bits with their counters, and what is made of these alone.

    Outputs and placeholders are never folded.
    """
    counters = {x for node in graph.nodes if isinstance(node.op, RandomBits) for x in node.inputs}
    kept = {*graph.outputs, *graph.inputs}
    found: set[Node] = set()
    for node in graph.nodes:
        if node.op.is_input:
            hidden = node in counters
        else:
            hidden = isinstance(node.op, RandomBits) or all(x in found for x in node.inputs)
        if hidden and node not in kept:
            found.add(node)
    return found


def layers(graph: Graph, roles: Mapping[Node, str], hidden: set[Node]) -> Entry:
    """The view of a graph by the modules that made its nodes, the update apart."""
    view = _View(graph, roles, hidden)
    update, main = view.parted()
    tree = _Tree()
    for node in main:
        tree.add(view.path(node), node)
    items = view.items(tree)
    boxes = [item for item in items if not isinstance(item, int)]
    while len(boxes) == 1 and len(boxes[0]["items"]) <= WRAPPED:
        boxes[0]["open"] = True
        boxes = [item for item in boxes[0]["items"] if not isinstance(item, int)]
    apart = [view.box("update", view.by_target(update), update)] if update else []
    return {"title": "layers", "main": items, "apart": apart}


def kernels(
    graph: Graph,
    roles: Mapping[Node, str],
    hidden: set[Node],
    labels: Sequence[tuple[int, str]],
    boxed: Mapping[Node, int | None],
) -> Entry:
    """The view of a graph by kernels, in the order they run; `boxed` says what each draws."""
    view = _View(graph, roles, hidden)
    members: dict[int, list[Node]] = {number: [] for number, _ in labels}
    loose: list[Node] = []
    for node in view.shown:
        number = boxed[node]
        (loose if number is None else members[number]).append(node)
    items: list[Item] = [view.numbers[n] for n in loose if n.op.name == "placeholder"]
    state = [node for node in loose if node.op.name != "placeholder"]
    if state:
        items.append(view.box("state", view.bounded([view.numbers[n] for n in state]), state))
    for number, label in labels:
        nodes = members[number]
        if nodes:
            inside = view.bounded([view.numbers[node] for node in nodes])
            items.append(view.box(label, inside, nodes) | {"kernel": number})
    return {"title": "kernels", "main": view.bounded(items), "apart": []}


class _Tree:
    """Nodes by the path of their module."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.below: dict[str, _Tree] = {}

    def add(self, path: Path, node: Node) -> None:
        """Put a node at the end of a path."""
        tree = self
        for name in path:
            tree = tree.below.setdefault(name, _Tree())
        tree.nodes.append(node)

    def all(self) -> list[Node]:
        """The nodes in it."""
        return [*self.nodes, *(node for tree in self.below.values() for node in tree.all())]


class _View:
    def __init__(self, graph: Graph, roles: Mapping[Node, str], hidden: set[Node]) -> None:
        self.graph, self.roles = graph, roles
        self.numbers = {node: i for i, node in enumerate(graph.nodes)}
        self.shown = [node for node in graph.nodes if node not in hidden]
        self.names = value_names(graph)
        self.paths = {path for node in self.shown for path in _paths(node)}
        self.runs: dict[str, tuple[str, str]] = {}
        self.users: dict[Node, list[Node]] = {}
        for node in self.shown:
            for operand in node.inputs:
                self.users.setdefault(operand, []).append(node)

    def parted(self) -> tuple[list[Node], list[Node]]:
        """The update's nodes, with the state that it alone reads; and the others."""
        update = {node for node in self.shown if self.roles[node] == "update"}
        placeholders = set(self.graph.inputs)
        for node in self.shown:
            read = self.users.get(node, [])
            state = node.op.is_input and node not in placeholders
            if state and read and all(user in update for user in read):
                update.add(node)
        if all(node.op.is_input or node in update for node in self.shown):
            return [], self.shown  # there is nothing that it could be apart from
        return [n for n in self.shown if n in update], [n for n in self.shown if n not in update]

    def path(self, node: Node) -> Path:
        """The path of the module that made a node; of a variable, of what reads it."""
        if node.op.name == "placeholder":
            return ()
        if node.op.is_input:
            named = tuple(node.name.split(".")[:-1])
            if named in self.paths:
                return named
            users = self.users.get(node, ())
            forward = [user for user in users if self.roles[user] == "forward"]
            return _shared(self.path(user) for user in forward or users)
        return _shared(_paths(node))

    def items(self, tree: _Tree, depth: int = 0) -> list[Item]:
        """What a box of modules holds: boxes of those in it, and its own nodes."""
        made: list[Item] = []
        for name, below in tree.below.items():
            made.append(self.module(name, below, depth + 1))
        inputs = set(self.graph.inputs)
        own = [node for node in tree.nodes if node not in inputs]
        if len(own) > FEW or (tree.below and depth == 0):
            made += self.by_line(own)
        else:
            made += [self.numbers[node] for node in own]
        made += [self.numbers[node] for node in tree.nodes if node in inputs]
        return self.bounded(sorted(made, key=self.order))

    def module(self, name: str, tree: _Tree, depth: int) -> Item:
        """The box of a module; modules that hold nothing but one other share its box."""
        while not tree.nodes and len(tree.below) == 1:
            ((inner, tree),) = tree.below.items()
            name = f"{name}.{inner}"
        return self.box(name, self.items(tree, depth), tree.all())

    def by_line(self, nodes: Iterable[Node]) -> list[Item]:
        """Boxes of the nodes of a line, unless one line wrote them all."""
        lines: dict[Location | None, list[Node]] = {}
        for node in nodes:
            first = node.provenance.lines[:1]
            lines.setdefault(first[0] if first else None, []).append(node)
        made: list[Item] = []
        for line, written in lines.items():
            inside = [self.numbers[node] for node in sorted(written, key=self.numbers.__getitem__)]
            if len(inside) < 3 or line is None:
                made += inside
            else:
                made.append(self.box(_text(line), self.bounded(self.ordered(inside)), written))
        return made

    def by_target(self, update: Sequence[Node]) -> list[Item]:
        """The update in boxes by the parameter that it is of, and one for what they share."""
        targets = {value: target.name for target, value in self.graph.updates}
        owners = _owners(targets.values())
        within = set(update)
        reached: dict[Node, set[str]] = {}
        for node in reversed(update):
            own = {owners[targets[node]]} if node in targets else set()
            read = (reached.get(user, set()) for user in self.users.get(node, ()) if user in within)
            reached[node] = own.union(*read)
        boxes: dict[str, list[Node]] = {}
        shared: list[Node] = []
        for node in update:
            names = reached[node]
            (boxes.setdefault(next(iter(names)), []) if len(names) == 1 else shared).append(node)
        made: list[Item] = [
            self.box(name, self.bounded([self.numbers[node] for node in nodes]), nodes)
            for name, nodes in boxes.items()
        ]
        if len(shared) > FEW or (shared and made):
            numbers = self.bounded([self.numbers[node] for node in shared])
            made.insert(0, self.box("shared", numbers, shared))
        else:
            made += [self.numbers[node] for node in shared]
        return self.bounded(made)

    def box(self, label: str, items: Sequence[Item], nodes: Sequence[Node]) -> Entry:
        """A box, closed at first."""
        numbers = sorted(self.numbers[node] for node in nodes)
        variables = [node for node in nodes if node.op.name == "variable"]
        counts = Counter(self.roles[node] for node in nodes)
        return {
            "label": short_label(label),
            "ops": self.ops(nodes),
            "counts": dict(counts),
            "nodes": numbers,
            "parameters": sum(n.type.size for n in variables if isinstance(n.type.size, int)),
            "kernel": None,
            "open": False,
            "items": list(items),
        }

    def ops(self, nodes: Iterable[Node]) -> dict[str, str]:
        """What the halves of a box mostly do; the update is one of its own."""
        halves: dict[str, dict[str, None]] = {}
        moves: dict[str, dict[str, None]] = {}
        for node in sorted(nodes, key=self.numbers.__getitem__):
            if not node.op.is_input:
                kind = moves if node.op.name in _MOVES else halves
                kind.setdefault(self.roles[node], {})[node.op.name] = None
        named = {role: list(halves.get(role) or moves[role]) for role in {**halves, **moves}}
        return {
            role: ", ".join(names[:NAMED]) + ", …" * (len(names) > NAMED)
            for role, names in sorted(named.items())
        }

    def order(self, item: Item) -> tuple[int, int]:
        """Forward items by their last node; then backward ones, those that are made last first."""
        numbers = [item] if isinstance(item, int) else item["nodes"]
        forward = [n for n in numbers if self.roles[self.graph.nodes[n]] != "backward"]
        return (0, forward[-1]) if forward else (1, -numbers[-1])

    def ordered(self, numbers: Iterable[int]) -> list[int]:
        """Numbers of nodes in the order of items."""
        return sorted(numbers, key=self.order)

    def bounded(self, items: Sequence[Item]) -> list[Item]:
        """At most `MOST` items: runs of more become boxes."""
        made = list(items)
        while len(made) > MOST:
            runs = -(-len(made) // MOST)
            bounds = [len(made) * i // runs for i in range(runs + 1)]
            made = [self._run(made[a:b]) for a, b in pairwise(bounds)]
        return made

    def _run(self, items: Sequence[Item]) -> Item:
        """A box of neighbours, named by the first and the last."""
        parts = [[item] if isinstance(item, int) else item["nodes"] for item in items]
        nodes = [self.graph.nodes[number] for numbers in parts for number in numbers]
        ends = self._ends(items[0])[0], self._ends(items[-1])[1]
        box = self.box(" to ".join(ends), items, nodes)
        self.runs[box["label"]] = ends
        return box

    def _ends(self, item: Item) -> tuple[str, str]:
        if isinstance(item, int):
            name = f"%{self.names[self.graph.nodes[item]]}"
            return name, name
        return self.runs.get(item["label"], (item["label"], item["label"]))


def _paths(node: Node) -> list[Path]:
    """The paths of the modules that made a node."""
    return [tuple(path.split(".")) if path else () for path in modules_of([node])]


def _shared(paths: Iterable[Path]) -> Path:
    """What all paths begin with."""
    found = list(paths)
    first = found[0] if found else ()
    for length in range(len(first), 0, -1):
        if all(path[:length] == first[:length] for path in found):
            return first[:length]
    return ()


def _owners(names: Iterable[str]) -> dict[str, str]:
    """`1.weight` for `1.weight.exp_avg`: the parameter that a state of an optimizer belongs to."""
    known = set(names)
    prefixes = {name: [name[:i] for i, c in enumerate(name) if c == "."] for name in known}
    return {name: next((p for p in prefixes[name] if p in known), name) for name in known}


def _text(line: Location) -> str:
    """The text of a line, or where it is."""
    return linecache.getline(line.file, line.line).strip() or str(line)


def short_label(text: str) -> str:
    """A label of at most `LABEL_CHARS` characters."""
    return text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…"
