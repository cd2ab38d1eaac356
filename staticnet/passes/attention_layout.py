"""Attention whose heads lie behind its queries, where that is how they are read.

    permute_dims(y, [0,2,1,3]), y, _ = attention(…)    is    attention(…, layout="last")

So heads are joined to features by a reshape alone. Who else reads y looks through a permute. So it
is with the gradient's dq, dk and dv, and where a concatenation puts the rows of all three, or of
the last two, side by side, as that of what one projection made does, they are made there:

    concat([dq, dk, dv], 2), heads last    is    attention_gradient(…, layout="last", joined=3)
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.layout import LAYOUTS, back, taken_apart
from staticnet.attention.op import Attention
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.op import Op
from staticnet.ops.base import Item, items
from staticnet.ops.movement import Concat, PermuteDims
from staticnet.ops.shape import Reshape
from staticnet.passes.manager import Context
from staticnet.rewrite.driver import keep, rebuild

OF_LAYOUT: dict[Op, str] = {
    PermuteDims(axes): name for name, axes in LAYOUTS.items() if name != "first"
}
BEHIND_TOKENS: dict[Op, str] = {  # what turns a stack of arrays [n, h, t, d] to rows
    PermuteDims((1, 3, 0, 2, 4)): "last",
    PermuteDims((3, 1, 0, 2, 4)): "tokens",
}
Found = tuple[str, list[Node]]
"""A layout, and the nodes that are one array of parts in it."""


def heads_last(graph: Graph, context: Context) -> Graph:
    """The graph whose attentions write what is read next: bits stay."""
    layouts = _Layouts(graph)
    layouts.find()
    for node, (_, joined) in layouts.found.items():
        gradient = isinstance(node.op, AttentionGradient)
        where = "in one array" if joined else "with heads last"
        context.notes[f"{'gradients of ' * gradient}attention {where}"] += 1
    if not layouts.found:
        return graph
    return rebuild(graph, "library", layouts.change)


@dataclass
class _Layouts:
    """The attentions and gradients to change, each with its layout and how many results it joins.

    `wholes` are what concatenates those, or its permutes, each with the gradient.
    """

    graph: Graph
    found: dict[Node, tuple[str, int]] = field(default_factory=dict)
    wholes: dict[Node, Node] = field(default_factory=dict)
    users: dict[Node, list[Node]] = field(default_factory=dict)
    new: dict[Node, Node] = field(default_factory=dict)

    def find(self) -> None:
        """Find them."""
        for node in self.graph.nodes:
            for operand in dict.fromkeys(node.inputs):
                self.users.setdefault(operand, []).append(node)
        for root in self.graph.roots:
            self.users.setdefault(root, []).append(root)  # who returns it reads it as it is
        results: dict[Node, dict[int, Node]] = {}
        for node in self.graph.nodes:
            if isinstance(node.op, Item) and _has_heads_first(node.inputs[0]):
                results.setdefault(node.inputs[0], {})[node.op.index] = node
        for maker, made in results.items():
            if isinstance(maker.op, Attention):
                self._turn(maker, [y for i, y in made.items() if i == 0])
            elif not self._join(maker, made):
                self._turn(maker, list(made.values()))

    def _turn(self, maker: Node, made: Sequence[Node]) -> None:
        """Note the layout that a result is read in, of one that is not returned."""
        for y in made:
            users = dict.fromkeys(self.users.get(y, ()))
            layouts = [OF_LAYOUT[x.op] for x in users if x.op in OF_LAYOUT]
            if layouts and y not in users:
                self.found[maker] = (layouts[0], 0)
                return

    def _join(self, maker: Node, made: dict[int, Node]) -> bool:
        """Note what concatenates the results of a gradient, all or those by keys and values."""
        for first in (0, 1):
            parts = [made[i] for i in range(first, 3) if i in made]
            if len(parts) < 3 - first or len({x.shape[2] for x in parts}) > 1:
                continue
            layout, wholes = self._rows_of(parts) or self._stack_of(parts) or ("", [])
            if layout:
                self.found[maker] = (layout, len(parts))
                self.wholes |= dict.fromkeys(wholes, maker)
                return True
        return False

    def _rows_of(self, parts: Sequence[Node]) -> Found | None:
        """What has the rows of all parts side by side, and alone reads them."""
        views = self._only_users(parts)
        layout = _layout_of(views, OF_LAYOUT)
        if not layout:
            return None
        below = self._only_users(views)
        if below and all(isinstance(x.op, Reshape) for x in below):
            rows = all(x.shape[:2] == v.shape[:2] for x, v in zip(below, views, strict=True))
            views = below if rows else []
        whole = self._concat_of(views, 2)
        return (layout, [whole]) if whole is not None else None

    def _stack_of(self, parts: Sequence[Node]) -> Found | None:
        """What turns a stack of all parts so, and alone reads it."""
        stacked = self._only_users(parts)
        pairs = zip(stacked, parts, strict=False)
        if not all(isinstance(x.op, Reshape) and x.shape == (1, *p.shape) for x, p in pairs):
            return None
        whole = self._concat_of(stacked, 0)
        users = [] if whole is None else self.users.get(whole, [])
        layout = _layout_of(users, BEHIND_TOKENS)
        return (layout, users) if layout else None

    def _only_users(self, nodes: Sequence[Node]) -> list[Node]:
        """Of each node the one that alone reads it; nothing if others read one."""
        users = [self.users.get(x, []) for x in nodes]
        return [x for (x,) in users] if all(len(x) == 1 for x in users) else []

    def _concat_of(self, parts: Sequence[Node], axis: int) -> Node | None:
        """The node that concatenates just these, in order, each of which it alone reads."""
        wholes = set(self._only_users(parts))
        whole = wholes.pop() if len(wholes) == 1 else None
        if whole is None or whole.op != Concat(axis) or len(whole.inputs) != len(parts):
            return None
        return whole if all(map(operator.is_, whole.inputs, parts)) else None

    def change(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """A node of the new graph."""
        op = node.op
        if node in self.found:
            self.new[node] = build(self._changed(node), inputs)
            return self.new[node]
        if node in self.wholes:
            *_, whole = items(self.new[self.wholes[node]])
            return whole if whole.shape == node.shape else build(Reshape(node.shape), (whole,))
        if isinstance(op, Item) and node.inputs[0] in self.found:
            return _heads_first(op, inputs[0])
        if op in OF_LAYOUT and inputs[0].op == PermuteDims(back(OF_LAYOUT[op])):
            return inputs[0].inputs[0]
        return keep(node, inputs)

    def _changed(self, node: Node) -> Attention | AttentionGradient:
        op, (layout, joined) = node.op, self.found[node]
        if isinstance(op, Attention):
            return replace(op, layout=layout)
        assert isinstance(op, AttentionGradient)
        return replace(op, layout=layout, joined=joined)


def _layout_of(views: Sequence[Node], layouts: Mapping[Op, str]) -> str:
    """The layout that all of some views turn to; nothing if there is none, or they differ."""
    found = {layouts.get(view.op, "") for view in views}
    return found.pop() if len(found) == 1 else ""


def _has_heads_first(maker: Node) -> bool:
    return isinstance(maker.op, Attention | AttentionGradient) and maker.op.layout == "first"


def _heads_first(item: Item, maker: Node) -> Node:
    """A result, with heads first, of what has another layout."""
    op = maker.op
    if isinstance(op, Attention):
        y = build(item, (maker,))
        return y if item.index else build(PermuteDims(back(op.layout)), (y,))
    assert isinstance(op, AttentionGradient)
    made: Node = taken_apart(op, items(maker), maker.inputs[:3])[item.index]
    return made
