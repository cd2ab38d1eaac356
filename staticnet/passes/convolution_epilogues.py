"""`convolution_epilogues`: what follows a convolution is computed where its sums are stored.

    relu(convolution(x, w) + reshape(bias) + r) is convolution_epilogue(x, w, bias, r, …)

A convolution, or its gradient by the input, that one node alone uses takes that node in, and so on:
numbers of the channels that are multiplied or added, also those of a normalisation with fixed
statistics, one array of the result's shape that is added, then relu, or a mask. A mask of what is
above 0 is its operand, where that lies in memory in 16 bits. Casts between them go: a 16-bit result
is rounded at the end, also if it is used in float32, but for sums of float16: where those are used
so, they stay float32, which holds more. Of a convolution that others use, too, nothing is taken in:
what is computed is computed once.

Where the backend has no such kernels the nodes are expanded. See docs/adr/0067.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from staticnet.ir import location
from staticnet.ir.dtype import FLOAT16, HALVES, DType, compute_dtype, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.arithmetic import Add, Multiply, Subtract
from staticnet.ops.base import Constant
from staticnet.ops.comparison import Greater
from staticnet.ops.moments import Normalize
from staticnet.ops.selection import Cast, Relu, Where
from staticnet.ops.shape import Reshape
from staticnet.passes.manager import Context, Pass
from staticnet.passes.precision import cast, holds
from staticnet.rewrite.driver import keep, rebuild, rewrite
from staticnet.rewrite.pattern import Numerics
from staticnet.rewrite.structure import cast_there_and_back
from staticnet.spatial.convolution import Convolution, ConvolutionInput
from staticnet.spatial.epilogue import ConvolutionEpilogue

NAME = "convolution_epilogues"
OFFER = "convolution"  # of a backend's `epilogues`
_FOLLOW = (Cast, Relu, Where, Normalize, Add, Subtract, Multiply)
_ORDER = ("scale", "shift", "beside", "mask", "gate")


def convolution_epilogues(graph: Graph, context: Context) -> Graph:
    """The graph in terms of what the kernels of `context` do where they store a convolution."""
    if OFFER not in context.epilogues:
        return _expand(graph, context)
    if context.numerics == "exact":
        return graph
    found = _Finder(graph, context).found()
    if not found:
        return graph
    new: dict[Node, Node] = {}

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        new[node] = _fused(found[node], node, new) if node in found else keep(node, inputs)
        return new[node]

    for chain in found.values():
        context.notes[f"fused {chain.told}"] += 1
    return rewrite(rebuild(graph, NAME, change), (cast_there_and_back,), NAME, context.notes)


def _expand(graph: Graph, context: Context) -> Graph:
    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not isinstance(node.op, ConvolutionEpilogue):
            return keep(node, inputs)
        context.notes["expanded convolution_epilogue"] += 1
        made: Node = node.op.expand(*inputs)
        return made

    found = any(isinstance(node.op, ConvolutionEpilogue) for node in graph.nodes)
    return rebuild(graph, NAME, change) if found else graph


@dataclass
class _Chain:
    """A convolution and what follows it so far, in the order in which that is computed.

    `scales` and `shifts` are numbers of the channels: each shift is multiplied by the scales that
    came after it, which are those from its number on. A negative shift is subtracted.
    """

    convolution: Node
    scales: list[Node] = field(default_factory=list)
    shifts: list[tuple[Node, bool, int]] = field(default_factory=list)
    beside: Node | None = None
    activation: str = "none"
    mask: Node | None = None
    gate: Node | None = None
    covered: list[Node] = field(default_factory=list)

    @property
    def axis(self) -> int:
        """That of the channels."""
        first = self.convolution.op.attributes()["layout"] == "first"
        return 1 if first else self.convolution.ndim - 1

    @property
    def told(self) -> str:
        """What follows, in words."""
        parts = (
            "scale" * bool(self.scales),
            "shift" * bool(self.shifts),
            "add" * (self.beside is not None),
        )
        after = "" if self.activation == "none" else self.activation
        return " ".join(filter(None, (self.convolution.op.name, *parts, after)))

    def is_of_channels(self, x: Node) -> bool:
        """Whether an operand has a number for each channel, or one for all of them."""
        z = self.convolution
        if not is_floating(x.dtype) or x.ndim > z.ndim:
            return False
        sizes = (*(1,) * (z.ndim - x.ndim), *x.shape)
        return sizes[self.axis] == z.shape[self.axis] and x.type.size == z.shape[self.axis]

    def as_far_as(self, covered: Sequence[Node]) -> _Chain:
        """The chain as it is now, whatever is taken in yet."""
        own = replace(self, scales=[*self.scales], shifts=[*self.shifts])
        return replace(own, covered=[*covered])

    def take(self, node: Node, user: Node, fixed_statistics: bool) -> bool:
        """Whether the only user of the chain's last node is its next one, which it then is."""
        op = user.op
        uses = sum(x is node for x in user.inputs)
        if not isinstance(op, _FOLLOW) or user.shape != node.shape or uses != 1:
            return False
        if isinstance(op, Cast):
            return is_floating(user.dtype) and user.dtype in (
                self.convolution.dtype, compute_dtype(self.convolution.dtype)
            )  # fmt: skip
        if self.activation != "none":
            return False
        if isinstance(op, Relu):
            self.activation = "relu"
            return True
        if isinstance(op, Where):
            return self._take_mask(node, user)
        if isinstance(op, Normalize):
            return fixed_statistics and self._take_normalize(node, user)
        return self._take_operand(node, user)

    def _take_mask(self, node: Node, user: Node) -> bool:
        mask, kept, other = user.inputs
        if kept is not node or mask.shape != node.shape or not _is_zero(other):
            return False
        self.activation, self.mask = "mask", mask
        return True

    def _take_normalize(self, node: Node, user: Node) -> bool:
        x, mean, scale, shift = user.inputs
        numbers = all(self.is_of_channels(v) for v in (mean, scale, shift))
        if x is not node or not numbers or self.beside is not None:
            return False
        self.shifts.append((mean, True, len(self.scales)))
        self.scales.append(scale)
        self.shifts.append((shift, False, len(self.scales)))
        return True

    def _take_operand(self, node: Node, user: Node) -> bool:
        left, right = user.inputs
        other = right if left is node else left
        minus = isinstance(user.op, Subtract)
        if (minus and left is not node) or self.beside is not None:
            return False
        if self.is_of_channels(other):
            if isinstance(user.op, Multiply):
                self.scales.append(other)
            else:
                self.shifts.append((other, minus, len(self.scales)))
            return True
        if not isinstance(user.op, Add) or other.shape != node.shape:
            return False
        dtype = self.convolution.dtype
        if dtype == FLOAT16 and _as_stored(other, dtype).dtype != dtype:
            return False  # it may be what float16 does not hold
        self.beside = other
        return True


class _Finder:
    """Finds convolutions that something follows, each by the last node that it takes in."""

    def __init__(self, graph: Graph, context: Context) -> None:
        self.graph, self.context = graph, context
        self.roots = set(graph.roots)
        self.users: dict[Node, set[Node]] = {}
        for node in graph.nodes:
            for operand in node.inputs:
                self.users.setdefault(operand, set()).add(node)

    def found(self) -> dict[Node, _Chain]:
        """The chains by their last nodes."""
        chains: dict[Node, _Chain] = {}
        taken: set[Node] = set()
        for node in self.graph.nodes:
            if not _may_lead(node):
                continue
            chain = self._chain(node, taken)
            if chain.covered:
                self._find_gate(chain)
                chains[chain.covered[-1]] = chain
                taken.update(chain.covered)
        return chains

    def _chain(self, node: Node, taken: set[Node]) -> _Chain:
        """What follows a convolution, up to the last node that is more than a cast."""
        chain, covered = _Chain(node), list[Node]()
        ended = chain
        fixed = node.dtype in HALVES or self.context.precision == "tf32"
        while node not in self.roots and len(self.users.get(node, ())) == 1:
            (user,) = self.users[node]
            if user in taken or not chain.take(node, user, fixed):
                break
            covered.append(user)
            node = user
            if self._may_end(chain, user):
                ended = chain.as_far_as(covered)
        return _Chain(ended.convolution) if all(map(_is_cast, ended.covered)) else ended

    def _may_end(self, chain: _Chain, node: Node) -> bool:
        """Whether a chain's result may be the node: in float16, if no more is asked of it."""
        dtype = chain.convolution.dtype
        if node.dtype == dtype or isinstance(node.op, Cast):
            return node.dtype == dtype
        if not (chain.scales or chain.shifts or chain.beside is not None):
            return True  # a number of it, or 0
        return holds(dtype, node, self.users.get(node, ()), self.roots)

    def _find_gate(self, chain: _Chain) -> None:
        """Have what a mask is made of in the mask's place, where that is there anyway."""
        mask, dtype = chain.mask, chain.convolution.dtype
        if mask is None or not isinstance(mask.op, Greater) or dtype not in HALVES:
            return
        y, zero = mask.inputs
        if not _is_zero(zero) or y.shape != mask.shape:
            return
        there = isinstance(y.op, Cast) and y.inputs[0].dtype == dtype
        if dtype != FLOAT16:  # in which small numbers are 0
            there |= any(isinstance(x.op, Cast) and x.dtype == dtype for x in self.users[y])
        if there:
            chain.activation, chain.mask, chain.gate = "gate", None, y


def _is_cast(x: Node) -> bool:
    return isinstance(x.op, Cast)


def _is_zero(x: Node) -> bool:
    return isinstance(x.op, Constant) and x.type.size == 1 and x.op.value.scalar == 0


def _may_lead(node: Node) -> bool:
    op = node.op
    if not isinstance(op, Convolution | ConvolutionInput):
        return False
    known = isinstance(node.type.size, int) and node.type.size > 0
    return known and op.algorithm == "direct" and op.weights == "plain"


def _fused(chain: _Chain, root: Node, new: dict[Node, Node]) -> Node:
    """The one node, in the form of the last of a chain."""
    convolution = chain.convolution
    op: Any = convolution.op
    with location.attributed(
        location.merge([x.provenance for x in (convolution, *chain.covered)], NAME)
    ):
        parts = _operands(chain, new)
        made = ConvolutionEpilogue(
            op.name, op.strides, op.low, op.high, op.dilations, op.groups, op.layout,
            getattr(op, "spatial", ()), "scale" in parts, "shift" in parts, "beside" in parts,
            chain.activation,
        )  # fmt: skip
        operands = [new[x] for x in convolution.inputs]
        operands += [parts[name] for name in _ORDER if name in parts]
        fused = build(made, tuple(operands))
        return fused if fused.dtype == root.dtype else build(Cast(root.dtype), (fused,))


def _operands(chain: _Chain, new: dict[Node, Node]) -> dict[str, Node]:
    """What the node takes beside the convolution's operands, by name."""
    dtype = chain.convolution.dtype
    parts: dict[str, Any] = {}
    scales = [_vector(new[x]) for x in chain.scales]
    shifts = [(_vector(new[x]), minus, first) for x, minus, first in chain.shifts]
    if len(scales) + len(shifts) == 1:
        shifts = [(_as_stored(x, dtype), minus, first) for x, minus, first in shifts]
    else:
        wide = compute_dtype(dtype)
        scales = [cast(x, wide) for x in scales]
        shifts = [(cast(x, wide), minus, first) for x, minus, first in shifts]
    if scales:
        parts["scale"] = functools.reduce(operator.mul, scales)
    if shifts:
        moved = (functools.reduce(operator.mul, [x, *scales[first:]]) for x, _, first in shifts)
        signs = (minus for _, minus, _ in shifts)
        signed = [-x if minus else x for x, minus in zip(moved, signs, strict=True)]
        parts["shift"] = functools.reduce(operator.add, signed)
    if chain.beside is not None:
        parts["beside"] = cast(new[chain.beside], dtype)
    if chain.mask is not None:
        parts["mask"] = new[chain.mask]
    if chain.gate is not None:
        parts["gate"] = cast(new[chain.gate], dtype)
    return parts


def _vector(x: Node) -> Any:
    """Numbers of the channels along one axis."""
    while isinstance(x.op, Reshape):
        (x,) = x.inputs
    size = x.type.size
    return x if x.shape == (size,) else build(Reshape((size,)), (x,))


def _as_stored(x: Node, dtype: DType) -> Node:
    """x before it was widened from a dtype; else itself."""
    widened = isinstance(x.op, Cast) and x.inputs[0].dtype == dtype
    return x.inputs[0] if widened else x


CONVOLUTION_EPILOGUES = Pass(NAME, convolution_epilogues, Numerics.APPROXIMATES, selects=True)
