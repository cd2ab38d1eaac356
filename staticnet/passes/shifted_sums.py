"""`shifted_sums`: a mean and its variance are two sums of one pass over what they are of.

    sum((x - mean)²) = sum((x - k)²) - sum(x - k)² / n,    mean = k + sum(x - k) / n,    any k

The sum of squares about the mean waits for the mean, and so reads all of x once more; these two are
summed side by side. With k = 0 they would cancel where means are far from 0. Here k is the mean of
`SAMPLES` elements that lie spread over x, and of all whose sums those may be: what cancels is at
most n / SAMPLES of what is left, whatever x is, and about nothing if the sample is like the rest.
Where all is equal k is that number, to the bit, and the variance 0. Chan, Golub and LeVeque,
"Algorithms for computing the sample variance", 1983. See docs/adr/0071.

It is done where a backend's kernels fuse sums with what they are of, down columns of many rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from staticnet.ir.dtype import HALVES
from staticnet.ir.graph import Graph
from staticnet.ir.index import Index, Symbol, broadcast
from staticnet.ir.node import Node, build
from staticnet.ops.arithmetic import Divide, Multiply, Subtract, maximum
from staticnet.ops.base import Constant, Elementwise
from staticnet.ops.comparison import isfinite
from staticnet.ops.indexing import Take, TakeAlongAxis
from staticnet.ops.movement import Concat, Pad, Slice, permute_dims
from staticnet.ops.random import RandomBits
from staticnet.ops.selection import Cast, astype, where
from staticnet.ops.shape import Sum, reshape
from staticnet.ops.shape import sum as total
from staticnet.passes.channel_sums import LEAST_ELEMENTS, OFFER
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics

NAME = "shifted_sums"
SAMPLES = 64  # elements that k is the mean of, or somewhat more
LEAST_COLUMNS = 8  # fewer are no columns to a kernel, but a row each
MOST_ABOVE = 16  # elementwise nodes between a sample and what lies in memory
_MADE = (Elementwise, Pad, Concat, Take, TakeAlongAxis, RandomBits)  # within kernels


class Pair(NamedTuple):
    """The sum of x's squares about its mean along axes, as it stands in a graph."""

    x: Node
    axes: tuple[int, ...]
    squares: Node


def shifted_sums(graph: Graph, context: Context) -> Graph:
    """The graph whose variances of many rows do not wait for their means, if the backend fuses."""
    found = list(_pairs(graph)) if OFFER in context.products else []
    if not found:
        return graph
    context.notes["variances in one pass"] += len(found)
    squares = {pair.squares: pair for pair in found}
    of = {(pair.x, pair.axes): pair for pair in found}
    means = {node: of[key] for node in graph.nodes if (key := _mean_of(node)) in of}
    new: dict[Node, Node] = {}

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node in means:
            new[node] = _mean(node, means[node], new)
        elif node in squares:
            new[node] = _squares(squares[node], new)
        else:
            new[node] = keep(node, inputs)
        return new[node]

    return rebuild(graph, NAME, change)


def _pairs(graph: Graph) -> Iterator[Pair]:
    """The sums of squares about means of the same axes, of sizes that pay."""
    for node in graph.nodes:
        match node:
            case Node(op=Sum(axes=axes), inputs=(Node(op=Multiply(), inputs=(d, e)),)) if d is e:
                pair = _pair(node, axes, d)
                if pair is not None:
                    yield pair


def _pair(node: Node, axes: tuple[int, ...], d: Node) -> Pair | None:
    if not isinstance(d.op, Subtract):
        return None
    x, shown = d.inputs
    of = _mean_of(_below(shown))
    if of is None or of[0] is not x or of[1] != axes or x.shape != d.shape:
        return None
    if not _pays(x, axes) or not _spreads(shown, x, axes):
        return None
    if _sample(x, _places(x, axes), [MOST_ABOVE]) is None:
        return None
    return Pair(x, axes, node)


def _mean_of(node: Node) -> tuple[Node, tuple[int, ...]] | None:
    """Of what, and along which axes, a node is the mean."""
    match node:
        case Node(op=Divide(), inputs=(Node(op=Sum(axes=axes), inputs=(x,)), n)):
            fixed = all(isinstance(x.shape[axis], int) for axis in axes)
            return (x, axes) if fixed and _is(n, _count(x, axes)) else None
    return None


def _pays(x: Node, axes: tuple[int, ...]) -> bool:
    """Whether x has many rows and several columns, of numbers that are not of 16 bits."""
    if x.dtype in HALVES or not all(isinstance(n, int) for n in x.shape):
        return False
    columns = math.prod(x.shape[len(axes) :])
    leading = axes == tuple(range(len(axes)))
    return leading and columns >= LEAST_COLUMNS and _count(x, axes) >= LEAST_ELEMENTS


def _count(x: Node, axes: Sequence[int]) -> int:
    return math.prod(int(x.shape[axis]) for axis in axes)


def _is(n: Node, number: int) -> bool:
    return isinstance(n.op, Constant) and n.type.size == 1 and n.op.value.scalar == number


def _below(node: Node) -> Node:
    """What a chain of views shows."""
    while node.op.moves:
        (node,) = node.inputs
    return node


def _spreads(shown: Node, x: Node, axes: tuple[int, ...]) -> bool:
    """Whether each element of x meets its own column's mean."""
    own = tuple(Index.of(Symbol(f"i{k}", n)) for k, n in enumerate(_fixed(x)))
    index, node = broadcast(own, _fixed(shown)), shown
    while node.op.moves:
        (operand,) = node.inputs
        index, node = node.op.source(index, _fixed(operand)), operand
    if node.ndim == x.ndim:
        return index == broadcast(own, _fixed(node))
    return index == tuple(at for axis, at in enumerate(own) if axis not in axes)


def _fixed(node: Node) -> tuple[int, ...]:
    return tuple(int(n) for n in node.shape)


Places = Mapping[int, tuple[int, int, int]]  # by axis: start, stop and step


def _places(x: Node, axes: Sequence[int]) -> Places:
    """Where the sample lies: on each axis about as many places, in the middle of equal parts."""
    places, left = {}, SAMPLES
    by_length = sorted(axes, key=lambda axis: int(x.shape[axis]))
    for number, axis in enumerate(by_length):
        size = int(x.shape[axis])
        count = min(size, math.ceil(left ** (1 / (len(by_length) - number)) - 1e-9))
        left = -(-left // count)
        step = size // count
        start = (size - (count - 1) * step) // 2
        places[axis] = (start, start + (count - 1) * step + 1, step)
    return places


def _sample(node: Node, places: Places, room: list[int]) -> Node | None:
    """A node's elements at some places of some axes, made of what lies in memory; or None.

    room: how many nodes may be made again
    """
    if all(node.shape[axis] == 1 for axis in places):
        return node
    if isinstance(node.op, Elementwise) and not (node.op.on_host or node.op.positional):
        room[0] -= 1
        parts = [_sample_operand(node, x, places, room) for x in node.inputs]
        if room[0] < 0 or any(part is None for part in parts):
            return None
        return build(node.op, tuple(part for part in parts if part is not None))
    below = _below(node)
    if isinstance(below.op, _MADE) and not below.op.on_host:
        return None
    rows = [places.get(axis, (0, n, 1)) for axis, n in enumerate(node.shape)]
    starts, stops, steps = zip(*rows, strict=True)
    return build(Slice(starts, stops, steps), (node,))


def _sample_operand(node: Node, x: Node, places: Places, room: list[int]) -> Node | None:
    """The operand of a sample of an elementwise node; axes of one element have no places."""
    missing = node.ndim - x.ndim
    own = {axis - missing: at for axis, at in places.items() if axis >= missing}
    return _sample(x, {axis: at for axis, at in own.items() if x.shape[axis] != 1}, room)


def _sums(pair: Pair, new: Mapping[Node, Node]) -> tuple[Any, Any, Any, float]:
    """k, the sums of x - k and of its squares, all of the shape of `squares`; and n."""
    x, axes, keepdims = new[pair.x], pair.axes, len(pair.squares.shape) == pair.x.ndim
    k = _shift(x, axes)
    d = x - reshape(k, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))
    s, q = (total(y, axes, keepdims=keepdims) for y in (d, d * d))
    return reshape(k, pair.squares.shape), s, q, float(_count(x, axes))


def _shift(x: Node, axes: tuple[int, ...]) -> Any:
    """k, of each column a number near its mean, which is finite.

    As rows the sample's sums are complete within their kernel, and what follows is in it.
    """
    sample: Any = _sample(x, _places(x, axes), [MOST_ABOVE])
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    rows = permute_dims(sample, (*kept, *axes))
    first = rows[(..., *(slice(0, 1) for _ in axes))]
    own = tuple(range(len(kept), x.ndim))
    apart = total(rows - first, own, keepdims=True)
    k = _on_grid(first + apart / float(_count(sample, axes)), x)
    return where(isfinite(k), k, 0.0)


def _on_grid(k: Any, x: Node) -> Any:
    """k among the numbers that x has where these are of 16 bits: as exact a difference.

    Else all differences have the same last bits, those of k, and all sums round the same way.
    """
    source = x.inputs[0].dtype if isinstance(x.op, Cast) else x.dtype
    return astype(astype(k, source), x.dtype) if source in HALVES else k


def _mean(node: Node, pair: Pair, new: Mapping[Node, Node]) -> Any:
    k, s, _, n = _sums(pair, new)
    return reshape(k + s / n, node.shape)


def _squares(pair: Pair, new: Mapping[Node, Node]) -> Any:
    """It is not below 0, and infinite where the squares are too large for the dtype."""
    _, s, q, n = _sums(pair, new)
    too_large = isfinite(s) & (q == np.inf)
    return where(too_large, q, maximum(q - s * (s / n), 0.0))


SHIFTED_SUMS = Pass(NAME, shifted_sums, Numerics.REASSOCIATES)
