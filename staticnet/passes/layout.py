"""`layout`: between convolutions channels lie last.

Users have channels first, [n, c, *s]; kernels want those of a pixel together, and turn what they
read and write. Here regions of convolutions, pools, elementwise ops, statistics and reductions are
computed in [n, *s, c]: each convolution says so in its attribute `layout`, and what is turned are
the values at a region's border, where permutes are nodes that fuse. Weights stay as they are.

A region is what is connected, less what is cheaper left out. It is turned where the bytes of its
border are at most half of those that its convolutions would have turned. The order of sums depends
on the axes: so the pass reassociates. See docs/adr/0041.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from staticnet.ir.dim import size_of, substitute
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.op import Axes, Op
from staticnet.ir.types import TupleType
from staticnet.ops.base import Elementwise, Item, Reduction
from staticnet.ops.moments import ChannelOp, Normalize
from staticnet.ops.movement import Concat, Pad, PermuteDims, Slice
from staticnet.ops.shape import BroadcastTo, Reshape
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics
from staticnet.spatial.convolution import MAX_SPATIAL, ConvolutionOp, ConvolutionWeight
from staticnet.spatial.pooling import MaxPool, MaxPoolGradient, WindowOp

NAME, CONVOLUTION = "layout", "convolution"
PACK_BYTES = 16  # that kernels read of a pixel at a time
TYPICAL = 32  # the size of a symbolic dim, to compare bytes
_PER_AXIS = (Pad, Slice, BroadcastTo)  # whose attributes have an entry an axis
_READERS = (ConvolutionWeight, ChannelOp, PermuteDims)  # of turned values, with results as they are
_TWO = (ConvolutionWeight, MaxPoolGradient)  # whose first two operands are turned


def layout(graph: Graph, context: Context) -> Graph:
    """The graph with channels last inside, if the backend prefers that."""
    if not context.channels_last:
        return graph
    for ndim in range(3, MAX_SPATIAL + 3):
        if any(_is_convolution(node, ndim) for node in graph.nodes):
            graph = _Region(graph, ndim, CONVOLUTION in context.calls).turned(context)
    return graph


def _is_convolution(node: Node, ndim: int) -> bool:
    op = node.op
    return isinstance(op, ConvolutionOp) and op.layout == "first" and node.inputs[0].ndim == ndim


class _Region:
    """What is computed with channels last, of the values of so many axes."""

    def __init__(self, graph: Graph, ndim: int, by_library: bool) -> None:
        self.graph, self.ndim, self.by_library = graph, ndim, by_library
        self.to_last: Axes = (0, *range(2, ndim), 1)
        self.users: dict[Node, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for x in dict.fromkeys(node.inputs):
                self.users[x].append(node)
        self.roots = set(graph.roots)
        self.nodes = {node for node in graph.nodes if self._may_turn(node)}
        self.last: dict[Node, Node] = {}

    def turned(self, context: Context) -> Graph:
        """The graph with those parts turned that gain by it."""
        self._prune()
        chosen = [part for part in self._parts() if self._gains(part)]
        if not chosen:
            return self.graph
        self.nodes = set[Node]().union(*chosen)
        count = sum(isinstance(node.op, ConvolutionOp) for node in self.nodes)
        context.notes["convolutions with channels last"] += count
        return rebuild(self.graph, NAME, self._replace)

    # what may be turned

    def _may_turn(self, node: Node) -> bool:
        op = node.op
        if op.where is not None:
            return False
        if isinstance(op, Item):
            return isinstance(node.inputs[0].op, MaxPool) and node.ndim == self.ndim
        if isinstance(op, ConvolutionOp | WindowOp):
            return op.layout == "first" and node.inputs[0].ndim == self.ndim
        if isinstance(op, ChannelOp):
            return node.inputs[0].ndim == self.ndim
        if isinstance(op, Reduction):
            return self._may_reduce(op, node.inputs[0])
        if isinstance(op, (PermuteDims, Concat, *_PER_AXIS)):
            return node.inputs[0].ndim == node.ndim == self.ndim
        return isinstance(op, Elementwise) and node.ndim == self.ndim

    def _may_reduce(self, op: Reduction, x: Node) -> bool:
        """Whether a reduction's result is the same, axis by axis, and its order may change."""
        if x.ndim != self.ndim:
            return False
        left = [axis for axis in self.to_last if axis not in op.axes]
        return op.keepdims or left == sorted(left)

    def _is_member(self, node: Node) -> bool:
        """Whether the node's own value is turned."""
        op = node.op
        reads = isinstance(op, _READERS) or (isinstance(op, Reduction) and not op.keepdims)
        return node in self.nodes and not reads

    @staticmethod
    def _turned_operands(node: Node) -> frozenset[Node]:
        """Those of a node's operands that it reads with channels last."""
        op = node.op
        if isinstance(op, Elementwise | Concat):
            return frozenset(node.inputs)
        if isinstance(op, ChannelOp):
            return frozenset(x for x in node.inputs if x.ndim > 1)
        return frozenset(node.inputs[: 2 if isinstance(op, _TWO) else 1])

    # what it costs

    def _prune(self) -> None:
        """Leave out nodes beside the border, as long as less is to be turned without them."""
        found = True
        while found:
            found = False
            for node in self.graph.nodes:
                if node in self.nodes and not self._must_stay(node):
                    values = {node, *self._turned_operands(node)}
                    before = self._border(values)
                    self.nodes.remove(node)
                    if self._border(values) < before:
                        found = True
                    else:
                        self.nodes.add(node)

    @staticmethod
    def _must_stay(node: Node) -> bool:
        """Convolutions, and what has several results, of which each is an item."""
        return isinstance(node.op, ConvolutionOp | MaxPool | Item)

    def _border(self, values: Iterable[Node]) -> int:
        """The bytes of those of some values that are turned by a permute."""
        return sum(self._turning(x) for x in values)

    def _turning(self, x: Node) -> int:
        if isinstance(x.type, TupleType):
            return 0
        if self._is_member(x):
            outside = x in self.roots or any(not self._reads_turned(u, x) for u in self.users[x])
            return _bytes(x) if outside and not self._is_flat(x) else 0
        inside = any(self._reads_turned(user, x) for user in self.users[x])
        return self._cost(x) if inside else 0

    def _reads_turned(self, user: Node, x: Node) -> bool:
        return user in self.nodes and x in self._turned_operands(user)

    def _cost(self, x: Node) -> int:
        """The bytes that are moved where a value from outside is turned."""
        if x.ndim < 2 or self._is_flat(x):
            return 0
        if isinstance(x.op, BroadcastTo):
            return _bytes(x.inputs[0])
        turned_back = isinstance(x.op, PermuteDims) and self._after(x.op) == tuple(range(x.ndim))
        return 0 if turned_back else _bytes(x)

    def _after(self, op: PermuteDims) -> Axes:
        """The axes of a permutation that is turned."""
        return tuple(op.axes[axis] for axis in self.to_last) if len(op.axes) == self.ndim else ()

    def _is_flat(self, x: Node) -> bool:
        """Whether elements lie in the same order when they are turned."""
        shape = (1,) * (self.ndim - x.ndim) + tuple(x.shape)
        moved = [axis for axis in self.to_last if shape[axis] != 1]
        return moved == sorted(moved)

    def _parts(self) -> list[list[Node]]:
        """The connected parts that have convolutions."""
        part: dict[Node, int] = {}
        parts: list[list[Node]] = []
        for start in self.graph.nodes:
            if start not in self.nodes or start in part:
                continue
            found, waiting = list[Node](), [start]
            while waiting:
                node = waiting.pop()
                if node in part:
                    continue
                part[node] = len(parts)
                found.append(node)
                waiting += self._beside(node)
            parts.append(found)
        return [p for p in parts if any(isinstance(node.op, ConvolutionOp) for node in p)]

    def _beside(self, node: Node) -> list[Node]:
        """What shares a turned value with a node."""
        near = [x for x in self._turned_operands(node) if self._is_member(x)]
        if self._is_member(node):
            near += [user for user in self.users[node] if self._reads_turned(user, node)]
        return near

    def _gains(self, part: Collection[Node]) -> bool:
        values = dict.fromkeys(x for node in part for x in (node, *self._turned_operands(node)))
        inside = sum(_bytes_turned(node, self.by_library) for node in part)
        return 2 * self._border(values) <= inside

    # the graph

    def _replace(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in self.nodes:
            return keep(node, inputs)
        turned = self._turned_operands(node)
        operands = tuple(
            self._turn(old, new) if old in turned else new
            for old, new in zip(node.inputs, inputs, strict=True)
        )
        op = self._turned_op(node.op)
        if isinstance(op, PermuteDims) and op.axes == tuple(range(self.ndim)):
            return operands[0]
        made = build(op, operands)
        if not self._is_member(node):
            return made
        self.last[node] = made
        return made if isinstance(node.type, TupleType) else self._back(made, node)

    def _turn(self, old: Node, new: Node) -> Node:
        """An operand with channels last."""
        if self._is_member(old):
            return self.last[old]
        if new.ndim == 0:
            return new
        shape = (1,) * (self.ndim - new.ndim) + tuple(new.shape)
        turned = tuple(shape[axis] for axis in self.to_last)
        if self._is_flat(new):
            return _reshaped(new, turned)
        if isinstance(new.op, PermuteDims) and (axes := self._after(new.op)):
            (x,) = new.inputs
            return x if axes == tuple(range(self.ndim)) else build(PermuteDims(axes), (x,))
        return build(PermuteDims(self.to_last), (_reshaped(new, shape),))

    def _back(self, made: Node, node: Node) -> Node:
        """The value with channels first, for those that are not turned."""
        if self._is_flat(node):
            return _reshaped(made, tuple(node.shape))
        return build(PermuteDims(self._places(range(self.ndim))), (made,))

    def _places(self, axes: Iterable[int]) -> Axes:
        """Where axes are when they are turned."""
        return tuple(self.to_last.index(axis) for axis in axes)

    def _turned_op(self, op: Op) -> Op:
        if isinstance(op, ConvolutionOp | WindowOp):
            return replace(op, layout="last")
        if isinstance(op, ChannelOp | Normalize | Concat):
            return replace(op, axis=self.to_last.index(op.axis))
        if isinstance(op, Reduction):
            return replace(op, axes=tuple(sorted(self._places(op.axes))))
        if isinstance(op, PermuteDims):
            return PermuteDims(self._places(op.axes))
        if isinstance(op, _PER_AXIS):
            values = op.attributes().values()
            return type(op)(*(tuple(v[axis] for axis in self.to_last) for v in values))
        return op


def _reshaped(x: Node, shape: tuple[Any, ...]) -> Node:
    return x if tuple(x.shape) == shape else build(Reshape(shape), (x,))


def _bytes(x: Node) -> int:
    typical = dict.fromkeys(x.type.symbols, TYPICAL)
    return int(size_of(substitute(dim, typical) for dim in x.shape)) * x.dtype.itemsize


def _bytes_turned(node: Node, by_library: bool) -> int:
    """What the kernel of a convolution turns if channels come first: x and y.

    Kernels of our own need not where its kernel is one element, or a pixel's channels are not whole
    packs of 16 bytes; a library does in any case.
    """
    op = node.op
    if not isinstance(op, ConvolutionOp):
        return 0
    arrays = dict(zip(op.roles, (*node.inputs, node), strict=True))
    kernel = op.apart("w", arrays["w"].shape)[2]
    alone = size_of(kernel) == 1 and not by_library
    if alone and set(op.strides) == {1} and not any((*op.low, *op.high)):
        return 0  # a product of matrices where they lie
    both = [arrays["x"], arrays["y"]]
    own = (x for x in both if op.apart("x", x.shape)[1] % (PACK_BYTES // x.dtype.itemsize) == 0)
    return sum(map(_bytes, both if by_library else own))


LAYOUT = Pass(NAME, layout, Numerics.REASSOCIATES)
