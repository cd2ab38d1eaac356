"""A scan split in three: what is computed of the xs alone, the steps, and what no step reads.

Only products are worth it: many small ones, one after another, become one large one.

- `x[t] @ w`, w the same at each step, is computed before the loop and read from there.
- `y[t] = f(h[t] @ w)` that no step reads is computed after it, of the stacked h.
- A carry that only sums, `c + h[t].T @ z[t]`, is one product of the stacked h and z after it; a
  plain sum of what is stacked anyway, one reduction.

A value is stacked for that where it has at most `MOST` times the bytes of the sum, or of the y,
that the steps are spared; never one that is computed again so as not to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import numpy as np

from staticnet.control.batching import batch_nodes
from staticnet.control.op import ControlOp
from staticnet.control.parts import Carry, Given, Parts, needed, remade
from staticnet.control.residuals import behind_barriers, usual_bytes
from staticnet.control.scan import Scan
from staticnet.control.trace import parameters
from staticnet.ir import location
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, build, dependents, topological
from staticnet.ops.arithmetic import Add
from staticnet.ops.base import Constant, Item
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import Pad, PermuteDims, Slice
from staticnet.ops.selection import Cast, astype
from staticnet.ops.shape import Sum, reshape
from staticnet.rewrite.pattern import is_number
from staticnet.rewrite.pieces import Piece, pieces_of

MOST = 16
_TRANSPOSE = PermuteDims((1, 0))


class Product(NamedTuple):
    """A node x @ y, or for what shows it transposed its transpose as a product x @ y."""

    node: Node
    x: Node
    y: Node


@dataclass
class Total:
    """A carry that only sums: the terms that each step adds, and those that are added up later."""

    carry: Carry
    terms: list[Node]
    products: list[Node] = field(default_factory=list)
    sums: list[Node] = field(default_factory=list)


class Fission:
    """The scan of `parts`, and what is made before and after it."""

    def __init__(self, parts: Parts, most: int = MOST) -> None:
        self.parts = parts
        self.most = most
        (self.length,) = cast(Scan, parts.op).length
        self.outside = {k.own: k.operand for k in parts.captured}
        self.rows = {x.own: x.operand for x in parts.xs}
        self.stacked: dict[Node, None] = {}  # the ys of the steps that are left
        self.late: dict[Node, None] = {}  # the ys that are made after them
        self.totals: dict[Node, Total] = {}
        self.pieces: dict[Node, tuple[Node, int, Piece]] = {}  # of what is stacked
        self.again = behind_barriers(topological(parts.outputs))
        self.found = 0

    def run(self) -> tuple[list[Node], int]:
        """The results of the scan, and how many products are made for all steps at once."""
        if self.length not in (0, 1):
            self._hoist_products()
            self._find_totals()
            self._delay_products()
            self._delay_ys()
        self._stack(y for y in self.parts.ys if y not in self.late)
        self._delay_sums()
        return self._results(), self.found

    def run_sums(self) -> tuple[list[Node], int]:
        """The same, where all but sums of products stay in the steps."""
        self._find_totals()
        self._delay_products()
        self._stack(self.parts.ys)
        return self._results(), self.found

    # before the steps

    def _hoist_products(self) -> None:
        """Make the last products on the ways from the xs alone, for all steps, and read them."""
        order = topological(self.parts.outputs)
        carried = dependents(order, [carry.own for carry in self.parts.carries])
        varying = dependents(order, self.rows) | carried
        chosen, seen = [], set[Node]()
        stack = list(self.parts.outputs)
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if _is_one_product(node, varying) and node not in carried and self._is_batchable(node):
                chosen.append(node)
            else:
                stack.extend(node.inputs)
        for node, value in zip(chosen, self._for_all(chosen, {}), strict=True):
            self.parts.xs.append(Given(value, node))
            self.rows[node] = value
        self.found += len(chosen)

    def _is_batchable(self, node: Node) -> bool:
        below = needed([node], self.outside)
        return node not in self.again and not any(map(_is_called, below))

    def _for_all(self, nodes: Sequence[Node], stacks: Mapping[Node, Node]) -> list[Node]:
        """The values of nodes for all steps, from those of the xs and of what is stacked."""
        given = {**self.rows, **stacks}
        own = dict(zip(given, parameters("row", (node.type for node in given)), strict=True))
        roots = remade(nodes, self.outside | own)
        examples = {own[node]: value for node, value in given.items()}
        return cast(list[Node], batch_nodes(roots, examples, self.length))

    # after the steps

    def _find_totals(self) -> None:
        order = topological(self.parts.outputs)
        carried = [carry.own for carry in self.parts.carries]
        self.varying = dependents(order, [*self.rows, *carried])
        users: dict[Node, list[Node | None]] = {}
        for node in order:
            for x in node.inputs:
                users.setdefault(x, []).append(node)
        for output in self.parts.outputs:
            users.setdefault(output, []).append(None)
        for carry in self.parts.carries:
            terms = _terms(carry, users)
            if terms:
                self.totals[carry.own] = Total(carry, terms)

    def _core(self) -> set[Node]:
        """What the steps have to make for later ones."""
        parts = self.parts
        others = [carry.after for carry in parts.carries if carry.own not in self.totals]
        terms = [term for total in self.totals.values() for term in total.terms]
        given = {*self.outside, *self.rows, *(carry.own for carry in parts.carries)}
        return needed([*others, *terms], given)

    def _delay_products(self) -> None:
        """Make sums of products after the steps; what one of them has stacked, others may read."""
        before = -1
        while before < self.found:
            before = self.found
            self._delay_more_products()

    def _delay_more_products(self) -> None:
        for total in self.totals.values():
            if not any(map(_product_under, total.terms)):
                continue
            terms, total.terms = total.terms, []
            core = self._core()
            for term in terms:
                factors = self._factors(term, core)
                cut = [self._shown(factor) for factor in factors]
                if cut and self._is_worth(cut, total.carry.own):
                    self._stack(cut)
                    total.products.append(term)
                    self.found += 1
                else:
                    total.terms.append(term)

    def _factors(self, term: Node, core: Set[Node]) -> list[Node]:
        """x.T and y of a term x @ y of matrices that vary, unless later steps need it."""
        found = _product_under(term)
        if found is None or found.node in core | self.again:
            return []
        return [_transposed(found.x), found.y] if {*found.node.inputs} <= self.varying else []

    def _delay_ys(self) -> None:
        core = self._core()
        for y in self.parts.ys:
            if y not in self.stacked and y not in self.late and y not in self.again:
                cut, products = self._cut(y, core)
                if products and self._is_worth(cut, y):
                    self._stack(cut)
                    self.late[y] = None
                    self.found += products

    def _cut(self, y: Node, core: Set[Node]) -> tuple[list[Node], int]:
        """What a y is made from after the steps, and the number of products on the way."""
        cut, products, seen = list[Node](), 0, set[Node]()
        stack = [y]
        while stack:
            node = stack.pop()
            if node in seen or node not in self.varying:
                continue
            seen.add(node)
            is_product = _is_one_product(node, self.varying)
            ends = self._is_there(node) or node in core or not node.inputs  # a carry has none
            if ends or not (is_product or _is_light(node)):
                cut.append(self._shown(node))
            else:
                products += is_product
                stack.extend(node.inputs)
        return cut, products

    def _delay_sums(self) -> None:
        for whole in self.stacked:
            axis, pieces = pieces_of(whole)
            self.pieces |= {piece.node: (whole, axis, piece) for piece in pieces}
        for total in self.totals.values():
            total.sums = [term for term in total.terms if self._is_sum_of_stacked(term)]
            total.terms = [term for term in total.terms if not self._is_sum_of_stacked(term)]

    def _is_sum_of_stacked(self, node: Node) -> bool:
        """Whether a term adds up what is stacked, or is put together in what is."""
        while not self._is_there(node) and node not in self.pieces:
            if not (isinstance(node.op, Sum | Cast | Pad) or node.op.moves):
                return False
            node, *number = node.inputs
            if self.varying.intersection(number):
                return False
        return True

    def _is_there(self, node: Node) -> bool:
        return node in self.rows or node in self.stacked

    def _shown(self, node: Node) -> Node:
        """What has to be stacked for a node: what it shows, if that has no more bytes."""
        least = node
        while not self._is_there(node) and node.op.moves:
            (node,) = node.inputs
            least = node if usual_bytes(node) <= usual_bytes(least) else least
        return node if self._is_there(node) else least

    def _is_worth(self, cut: Iterable[Node], spared: Node) -> bool:
        new = {node for node in cut if not self._is_there(node)} - set(self.parts.ys)
        return sum(map(usual_bytes, new)) <= self.most * usual_bytes(spared)

    def _stack(self, nodes: Iterable[Node]) -> None:
        self.stacked |= dict.fromkeys(node for node in nodes if not self._is_there(node))

    def _results(self) -> list[Node]:
        parts = self.parts
        left = [self._carry(carry) for carry in parts.carries]
        kept = [carry for carry in left if carry is not None]
        ys = list(dict.fromkeys([*self.stacked, *(y for y in parts.ys if y not in self.late)]))
        steps = replace(parts, carries=kept, ys=ys)
        carries, stacks = steps.build() if kept or ys else ([], [])
        known = dict(zip(ys, stacks, strict=True))
        last = dict(zip((carry.own for carry in kept), carries, strict=True))
        results = [self._last(carry, last.get(carry.own), known) for carry in parts.carries]
        late = dict(zip(self.late, self._for_all(list(self.late), known), strict=True))
        return [*results, *((known | late)[y] for y in parts.ys)]

    def _carry(self, carry: Carry) -> Carry | None:
        """A carry of the steps that are left."""
        total = self.totals.get(carry.own)
        if total is None or not (total.products or total.sums):
            return carry
        after = carry.own
        for term in reversed(total.terms):
            after = build(Add(), (after, term))
        return carry._replace(after=after) if total.terms else None

    def _last(self, carry: Carry, last: Node | None, known: Mapping[Node, Node]) -> Node:
        """The last value of a carry, with what is added up after the steps."""
        total = self.totals.get(carry.own, Total(carry, []))
        products = set(total.products)
        value = carry.init if last is None else last
        for term in (*total.products, *total.sums):
            with location.attributed(term.provenance):
                make = self._product if term in products else self._sum
                added = make(term, known)
                value = added if _is_nothing(value) else build(Add(), (value, added))
        return value

    def _product(self, term: Node, known: Mapping[Node, Node]) -> Node:
        """The sum over the steps of x @ y: one product, of the rows of all of them."""
        found = cast(Product, _product_under(term))
        factors = _transposed(found.x), found.y
        rows = [
            reshape(value, (self.length * node.shape[0], node.shape[1]))
            for node, value in zip(factors, self._for_all(factors, known), strict=True)
        ]
        product = build(Matmul(), (_transposed(cast(Node, rows[0])), cast(Node, rows[1])))
        return cast(Node, astype(product, term.dtype))

    def _sum(self, term: Node, known: Mapping[Node, Node]) -> Node:
        if isinstance(term.op, Pad) and is_number(term.inputs[1], 0):  # between sums of its operand
            inner, zero = term.inputs
            return build(term.op, (self._sum(inner, known), zero))
        below = needed([term], {*known, *self.rows, *self.pieces})
        pieces = {x: self._piece(x, known) for x in self.pieces if x in below}
        (values,) = self._for_all([term], {**known, **pieces})
        return build(Sum((0,), False), (values,))

    def _piece(self, node: Node, known: Mapping[Node, Node]) -> Node:
        """The values of a part of what is stacked, from those of the whole."""
        whole, axis, piece = self.pieces[node]
        values = known[whole]
        starts, stops = [0] * values.ndim, list(values.shape)
        starts[axis + 1], stops[axis + 1] = piece.start, piece.end
        return build(Slice(tuple(starts), tuple(stops), (1,) * values.ndim), (values,))


def _terms(carry: Carry, users: Mapping[Node, Sequence[Node | None]]) -> list[Node]:
    """What a carry adds up, the last first; none if it does, or is used for, anything else."""
    terms: list[Node] = []
    node = carry.own
    while node is not carry.after:
        found = users.get(node, ())
        user = found[0] if len(found) == 1 else None
        if user is None or not isinstance(user.op, Add) or user.type != carry.own.type:
            return []
        x, y = user.inputs
        terms.append(y if x is node else x)
        node = user
    fits = len(users[node]) == 1 and all(term.type == carry.own.type for term in terms)
    return terms[::-1] if fits else []


def _is_one_product(node: Node, varying: Set[Node]) -> bool:
    """Whether products of all steps are one: of rows that vary with a matrix that does not.

    What multiplies a single column with a single row adds nothing up, and gives more than it takes.
    """
    if not isinstance(node.op, Matmul) or node.inputs[0].shape[-1] == 1:
        return False
    x, y = node.inputs
    if x in varying:
        return y not in varying and y.ndim == 2
    return y in varying and x.ndim == 2 and y.shape[-1] == 1


def _is_light(node: Node) -> bool:
    """Whether it may as well be made after the steps, on the way to a product."""
    return not (_is_called(node) or isinstance(node.op, Matmul) or node.op.may_fail)


def _is_called(node: Node) -> bool:
    """Whether it is a loop's, a condition's, or a user's op, which are not made for all steps."""
    return isinstance(node.op, ControlOp | Item) or node.op.where is not None


def _is_nothing(node: Node) -> bool:
    """Whether it is -0.0 everywhere, the sum of nothing."""
    while node.op.moves:
        (node,) = node.inputs
    if not isinstance(node.op, Constant):
        return False
    value = node.op.value.array
    return bool((value == 0).all() and np.signbit(value).all())


def _transposed(x: Node) -> Node:
    return x.inputs[0] if x.op == _TRANSPOSE else build(_TRANSPOSE, (x,))


def _rounds(node: Node) -> bool:
    """Whether it is a float in another format: as well that of a sum as a sum of those."""
    is_cast = isinstance(node.op, Cast) and is_floating(node.dtype)
    return is_cast and is_floating(node.inputs[0].dtype)


def _product_under(term: Node) -> Product | None:
    """The product of matrices that a term is, or shows cast or transposed."""
    turned = False
    while _rounds(term) or term.op == _TRANSPOSE:
        turned ^= term.op == _TRANSPOSE
        (term,) = term.inputs
    if not isinstance(term.op, Matmul) or term.ndim != 2:
        return None
    x, y = term.inputs
    return Product(term, *((_transposed(y), _transposed(x)) if turned else (x, y)))
