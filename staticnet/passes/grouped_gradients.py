"""The products of gradients that share an operand or are summed, for the pass `grouped`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, NamedTuple

from staticnet.attention.gradient import AttentionGradient
from staticnet.ir.dtype import FLOAT16, compute_dtype, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.index import Index, Symbol, linear
from staticnet.ir.node import Node, build
from staticnet.ir.types import fixed
from staticnet.ops.arithmetic import Add
from staticnet.ops.base import Elementwise, Item, Reduction, apply, items
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import concat, matrix_transpose
from staticnet.ops.selection import Cast, astype, widens
from staticnet.ops.shape import Reshape, Sum, reshape, sum
from staticnet.passes.grouped_operands import (
    LEAST_BYTES,
    TURN,
    Weight,
    columns,
    joined,
    nbytes,
    pays,
    users_of,
    weight_of,
)
from staticnet.rewrite.replacement import Plan, Replacement


@dataclass
class _Group:
    """Gradients by products of one x, as they are made, and the matrices of rows they are used as.

    `turned` says that the products by x are g.T @ x, and not x.T @ g.
    """

    x: Node
    turned: bool
    made: list[Node]
    rows: list[Node]
    products: list[Node]

    @property
    def maker(self) -> Node | None:
        """The attention's gradient that makes them."""
        (maker, *_) = self.made[0].inputs
        return maker if isinstance(maker.op, AttentionGradient) else None

    @property
    def widths(self) -> list[int]:
        """Columns of each matrix."""
        return [int(g.shape[1]) for g in self.rows]

    @property
    def starts(self) -> list[int]:
        """The first column of each in the whole."""
        return [0, *accumulate(self.widths)][:-1]


class _Summed(NamedTuple):
    """A sum of products by weights: its other terms, and the path from a product to it."""

    root: Node
    others: list[Node]
    path: list[Node]
    weights: list[Weight]


def find_gradients(graph: Graph) -> list[Plan]:
    """Products by weights' gradients and by x's, of gradients that can be made side by side."""
    return _Finder(graph).run()


@dataclass
class _Finder:
    graph: Graph
    plans: list[Plan] = field(default_factory=list)
    planned: set[Node] = field(default_factory=set)
    roots: set[Node] = field(default_factory=set)
    users: dict[Node, list[Node]] = field(default_factory=dict)

    def run(self) -> list[Plan]:
        """What the nodes of each group become."""
        self.users, self.roots = users_of(self.graph), set(self.graph.roots)
        for group in self._groups():
            if not self.planned.isdisjoint(self._results(group)):
                continue
            summed = self._summed(group)
            by_x = (len(group.made) - 1) * nbytes(group.x) >= LEAST_BYTES
            if not by_x and summed is None:
                continue
            self.plans.append(Plan())
            self._make(group)
            self._count("gradients side by side", len(group.made))
            if by_x:
                self._by_x(group)
            if summed is not None:
                self._by_weights(group, summed)
            self._sums(group)
        return self.plans

    def _plan(self, node: Node, needs: list[Node], make: Callable[[list[Any]], Any]) -> None:
        self.plans[-1].nodes[node] = Replacement(needs, make)
        self.planned.add(node)

    def _count(self, what: str, number: int) -> None:
        self.plans[-1].notes[what] += number

    def _groups(self) -> list[_Group]:
        found: dict[Any, list[tuple[Node, Node, Node]]] = {}
        for node in self.graph.nodes:
            if not isinstance(node.op, Matmul) or node.ndim != 2:
                continue
            left, right = node.inputs
            if left.op != TURN:
                continue
            for turned, g, x in ((True, left.inputs[0], right), (False, right, left.inputs[0])):
                made = _below(g)
                if made is not None:
                    found.setdefault((x, turned, _kind(made)), []).append((made, g, node))
        groups = []
        for (x, turned, _), members in found.items():
            last = self._last([made for made, _, _ in members])
            order = sorted(
                (m for m in members if m[0] in last), key=lambda m: getattr(m[0].op, "index", 0)
            )
            if len(order) > 1 and len(last) == len(order):
                group = _Group(x, turned, *(list(each) for each in zip(*order, strict=True)))
                groups += [group] if self._can_be_one(group) else []
        return groups

    def _last(self, nodes: Sequence[Node]) -> set[Node]:
        """Those of some nodes of which no other one is made."""
        last, seen = set(nodes), set[Node]()
        stack = [x for node in nodes for x in node.inputs]
        while stack:
            node = stack.pop()
            last.discard(node)
            if node not in seen:
                seen.add(node)
                stack.extend(node.inputs)
        return last

    def _can_be_one(self, group: _Group) -> bool:
        if not self.roots.isdisjoint(self._results(group)):
            return False
        maker = group.maker
        if maker is not None:
            tokens = {maker.inputs[i].shape[2] for i in _numbers(group)}
            return _numbers(group) in ([0, 1, 2], [1, 2]) and len(tokens) == 1
        return all(map(_is_of_a_map, group.made))

    def _results(self, group: _Group) -> list[Node]:
        """The gradients, with what else their maker gives."""
        return group.made if group.maker is None else self.users[group.maker]

    # what is made

    def _make(self, group: _Group) -> None:
        """Plan each gradient as a part of the whole."""
        maker = group.maker
        if maker is not None:
            self._make_attention(group, maker)
            return
        needs = [x for node in group.made for x in node.inputs]
        counts = [len(node.inputs) for node in group.made]
        for i, node in enumerate(group.made):

            def make(new: list[Any], i: int = i) -> Any:
                parts, rest = [], list(new)
                for each, count in zip(group.made, counts, strict=True):
                    parts.append(build(each.op, tuple(rest[:count])))
                    rest = rest[count:]
                whole = concat(parts, -1)
                return columns(whole, group.starts[i], group.widths[i])

            self._plan(node, needs, make)

    def _make_attention(self, group: _Group, maker: Node) -> None:
        op = maker.op
        assert isinstance(op, AttentionGradient)
        wide = replace(op, joined=len(group.made))
        first = 3 - wide.joined
        results = [node for node in self.users[maker] if isinstance(node.op, Item)]
        for node in results:

            def make(new: list[Any], node: Node = node) -> Any:
                made = items(apply(wide, *new))
                i = node.op.index - first  # type: ignore[attr-defined]
                if i < 0:
                    return made[i + first]
                part = columns(made[first], group.starts[i], group.widths[i])
                return reshape(part, node.shape)

            self._plan(node, list(maker.inputs), make)

    def _whole(self, group: _Group, made: Any) -> Any:
        """The matrix of all, of what the first of the parts became."""
        part = made if group.maker is None else made.inputs[0]
        (whole,) = part.inputs
        return reshape(whole, (-1, whole.shape[-1]))

    # what reads it

    def _by_x(self, group: _Group) -> None:
        """Plan the products by x as parts of one."""
        self._count("gradients by weights", len(group.made))
        parts = zip(group.products, group.starts, group.widths, strict=True)
        for node, start, width in parts:

            def make(new: list[Any], start: int = start, width: int = width) -> Any:
                x, made = new
                g = self._whole(group, made)
                if group.turned:
                    wide = apply(Matmul(), matrix_transpose(g), x)
                    return wide[start : start + width]
                return columns(apply(Matmul(), matrix_transpose(x), g), start, width)

            self._plan(node, [group.x, group.made[0]], make)

    def _summed(self, group: _Group) -> _Summed | None:
        """The sum of the products by weights."""
        products, weights = [], []
        for g in group.rows:
            mine = [
                (user, weight)
                for user in self.users.get(g, ())
                if isinstance(user.op, Matmul) and user.inputs[0] is g
                if (weight := weight_of(user.inputs[1])) is not None
            ]
            if len(mine) != 1:
                return None
            products.append(mine[0][0])
            weights.append(mine[0][1])
        pairs = zip(weights, products, strict=True)
        kinds = {(weight.turned, product.shape) for weight, product in pairs}
        saved = 2 * (len(products) - 1) * nbytes(products[0])
        if len(kinds) != 1 or not pays(saved, weights):
            return None
        paths = [self._path(p) for p in products]
        ends = [path[-1] for path in paths]
        root = self._root(ends[0])
        if root is None or root in self.planned:
            return None
        terms = self._terms(root)
        times = Counter(terms)
        if any(times[end] != 1 or self._only_user(end) is None for end in ends):
            return None
        if len({tuple((x.op, x.shape) for x in path[1:]) for path in paths}) != 1:
            return None
        return _Summed(root, [x for x in terms if x not in set(ends)], paths[0], weights)

    def _only_user(self, node: Node) -> Node | None:
        """The node that alone reads one, and once."""
        users = self.users.get(node, [])
        if len(users) != 1 or node in self.roots:
            return None
        return users[0] if Counter(users[0].inputs)[node] == 1 else None

    def _path(self, product: Node) -> list[Node]:
        """A product, and as what it is added: widened, and its rows cut."""
        path = [product]
        while (user := self._only_user(path[-1])) is not None:
            if not isinstance(user.op, Reshape) and not widens(user):
                break
            path.append(user)
        return path

    def _root(self, term: Node) -> Node | None:
        """The sum of all that a term is added to."""
        root: Node | None = None
        node: Node | None = self._only_user(term)
        while node is not None and isinstance(node.op, Add) and node.shape == term.shape:
            root, node = node, self._only_user(node)
        return root

    def _terms(self, root: Node) -> list[Node]:
        """What a sum adds."""
        found = []
        for x in root.inputs:
            inner = isinstance(x.op, Add) and x.shape == root.shape and self._only_user(x) is root
            found += self._terms(x) if inner else [x]
        return found

    def _by_weights(self, group: _Group, summed: _Summed) -> None:
        """Plan the sum of the products by weights as one product, added to the other terms."""
        self._count("sums of products", 1)
        weights = summed.weights
        needs = [group.made[0], *(w.variable for w in weights), *summed.others]

        def make(new: list[Any]) -> Any:
            made, variables, rest = new[0], new[1 : 1 + len(weights)], new[1 + len(weights) :]
            total = apply(Matmul(), self._whole(group, made), joined(weights, variables, 0))
            for like in summed.path[1:]:
                total = build(like.op, (total,))
            for x in rest:
                total = total + x
            return total

        self._plan(summed.root, needs, make)

    def _sums(self, group: _Group) -> None:
        """Plan the sums of the gradients' rows as parts of those of the whole."""
        below = {x: i for i, node in enumerate(group.made) for x in (node, _origin(node))}
        for node in self.graph.nodes:
            if not isinstance(node.op, Sum) or node.op.keepdims:
                continue
            made = _rows_in_order(node)
            i = None if made is None else below.get(made)
            if i is None or node.shape != (group.widths[i],):
                continue

            def make(new: list[Any], node: Node = node, i: int = i) -> Any:
                g = self._whole(group, new[0])
                total = sum(astype(g, compute_dtype(g.dtype)), 0)
                return astype(columns(total, group.starts[i], group.widths[i]), node.dtype)

            self._plan(node, [group.made[0]], make)


def _kind(made: Node) -> Any:
    """What gradients have in common that may be made side by side."""
    if isinstance(made.op, Item):
        return made.inputs[0]
    return (made.shape, made.dtype)


def _numbers(group: _Group) -> list[int]:
    return [node.op.index for node in group.made]  # type: ignore[attr-defined]


def _below(g: Node) -> Node | None:
    """The gradient that a matrix of rows shows, if it may be made beside others."""
    made = g
    while isinstance(made.op, Reshape):
        (made,) = made.inputs
    if isinstance(made.op, Item):
        op = made.inputs[0].op
        if not isinstance(op, AttentionGradient) or op.layout == "first" or op.joined:
            return None
        return made if g.shape[1:] == (made.shape[2] * made.shape[3],) else None
    rows = made.ndim > 1 and made.shape[-1:] == g.shape[-1:]
    return made if rows and isinstance(made.op, Elementwise) else None


def _is_of_a_map(node: Node) -> bool:
    """Whether a map makes a node, and not a kernel that sums along its rows."""
    seen, stack = {node}, [node]
    while stack:
        for x in stack.pop().inputs:
            if isinstance(x.op, Reduction):
                return False
            if x not in seen and (isinstance(x.op, Elementwise) or x.op.moves):
                seen.add(x)
                stack.append(x)
    return True


def _origin(node: Node) -> Node:
    """What a gradient is, before it was rounded, unless that may be what float16 does not hold."""
    rounded = isinstance(node.op, Cast) and is_floating(node.inputs[0].dtype)
    return node.inputs[0] if rounded and node.dtype != FLOAT16 else node


def _rows_in_order(total: Node) -> Node | None:
    """What a sum over all axes but the last sums, whose elements lie in order; else None."""
    (x,) = total.inputs
    assert isinstance(total.op, Sum)
    if x.ndim < 2 or total.op.axes != tuple(range(x.ndim - 1)):
        return None
    if not isinstance(x.type.size, int):
        return None
    index = tuple(Index.of(Symbol(f"i{axis}", n)) for axis, n in enumerate(fixed(x.shape)))
    whole = linear(index, fixed(x.shape))
    while True:
        if x.op.moves:
            (below,) = x.inputs
            index = x.op.source(index, fixed(below.shape))
        elif not widens(x):
            break
        (x,) = x.inputs
    return x if linear(index, fixed(x.shape)) == whole else None
