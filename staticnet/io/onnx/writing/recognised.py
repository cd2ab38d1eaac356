"""Groups of nodes that ONNX has one operator for: a softmax, a normalised layer, a mean, a bias.

Nodes are interned. So a guess of what a node may be, from the ops right below it, is checked by
making that anew: if it is the same node, all between it and the operands is known to be the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from staticnet.errors import StaticnetError
from staticnet.ir.dtype import FLOAT32, FLOAT64
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.nn.functional.activation import log_softmax, softmax
from staticnet.nn.functional.normalization import batch_norm, layer_norm
from staticnet.ops.arithmetic import Add, Divide, Multiply, Subtract
from staticnet.ops.base import Constant
from staticnet.ops.linalg import Matmul
from staticnet.ops.moments import Normalize
from staticnet.ops.movement import PermuteDims
from staticnet.ops.reduction import Max, mean
from staticnet.ops.selection import StopGradient
from staticnet.ops.shape import Reshape, Sum
from staticnet.ops.transcendental import Exp, Rsqrt
from staticnet.spatial.convolution import Convolution


@dataclass
class Group:
    """Nodes that become one operator of some operands: nodes, arrays or None."""

    operator: str
    operands: Sequence[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    axes: Sequence[int] = ()  # that it reduces
    keepdims: bool = True

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The operands that are nodes."""
        return tuple(x for x in self.operands if isinstance(x, Node))


class Groups:
    """The groups of a graph, by their last nodes, that nothing outside reads the inside of."""

    def __init__(self, graph: Graph, opset: int) -> None:
        self.opset = opset
        self._readers: dict[Node, set[Node]] = {}
        self._roots: set[Node] = set()
        self._known: dict[Node, Group | None] = {}
        self._read(graph)

    def _read(self, graph: Graph) -> None:
        self._roots.update(graph.roots)
        for node in graph.nodes:
            self._readers.setdefault(node, set())
            for x in node.inputs:
                self._readers.setdefault(x, set()).add(node)
            for inner in node.op.graphs.values():
                self._read(inner)

    def of(self, node: Node) -> Group | None:
        """The group that ends in a node, if there is one."""
        if node not in self._known:
            found = None
            if node in self._readers and type(node.op) in _GUESSES:
                guesses = _guesses(node, self.opset)
                found = next((group for group in guesses if self._is_apart(node, group)), None)
            self._known[node] = found
        return self._known[node]

    def _is_apart(self, last: Node, group: Group) -> bool:
        inside = set(_between(last, group.nodes))
        return all(
            node is last or (node not in self._roots and self._readers[node] <= inside)
            for node in inside
        )


def _between(last: Node, operands: Iterable[Node]) -> Iterator[Node]:
    """The nodes from operands to the last one; constants, which anyone may read, are none."""
    seen, waiting = set(operands), [last]
    while waiting:
        node = waiting.pop()
        if node not in seen and node.inputs:
            seen.add(node)
            yield node
            waiting += node.inputs


def _guesses(node: Node, opset: int) -> Iterator[Group]:
    """What a node may be the last one of; not in 16-bit floats, which are rounded in between."""
    for guess in _GUESSES[type(node.op)] if node.dtype in (FLOAT32, FLOAT64) else ():
        if opset >= (17 if guess is _layer_norm else 13):
            try:
                group = guess(node)
            except StaticnetError:  # what was tried cannot be made
                continue
            if group is not None:
                yield group


def _is(node: Node, *ops: type[Any]) -> bool:
    return isinstance(node.op, ops)


def _shifted(node: Node) -> tuple[Node, int] | None:
    """(x, axis) of x - max(x, axis)."""
    if not _is(node, Subtract) or not _is(node.inputs[1], StopGradient):
        return None
    top = node.inputs[1].inputs[0]
    if not isinstance(top.op, Max) or len(top.op.axes) != 1:
        return None
    return top.inputs[0], top.op.axes[0]


def _softmax(node: Node) -> Group | None:
    powers = node.inputs[0]
    found = _shifted(powers.inputs[0]) if _is(powers, Exp) else None
    if found is None or softmax(*found) is not node:
        return None
    return Group("Softmax", [found[0]], {"axis": found[1]})


def _log_softmax(node: Node) -> Group | None:
    found = _shifted(node.inputs[0])
    if found is None or log_softmax(*found) is not node:
        return None
    return Group("LogSoftmax", [found[0]], {"axis": found[1]})


def _mean(node: Node) -> Group | None:
    total = node.inputs[0]
    if not isinstance(total.op, Sum):
        return None
    (x,), axes, keepdims = total.inputs, total.op.axes, total.op.keepdims
    if not axes or mean(x, axes, keepdims=keepdims) is not node:
        return None
    return Group("ReduceMean", [x], axes=axes, keepdims=keepdims)


def _layer_norm(node: Node) -> Group | None:
    """With weight and bias, with a weight, or with neither, of which the weight is then 1."""
    bias = weight = None
    inner = node
    if _is(inner, Add):
        inner, bias = inner.inputs
    if _is(inner, Multiply) and not _is(inner.inputs[1], Rsqrt):
        inner, weight = inner.inputs
    if not _is(inner, Multiply) or not _is(inner.inputs[1], Rsqrt):
        return None
    centred, rate = inner.inputs
    if not _is(centred, Subtract) or not _is(rate.inputs[0], Add):
        return None
    x, eps = centred.inputs[0], rate.inputs[0].inputs[1]
    ratio = rate.inputs[0].inputs[0]
    if not isinstance(eps.op, Constant) or eps.type.size != 1 or not _is(ratio, Divide):
        return None
    total = ratio.inputs[0]
    if not isinstance(total.op, Sum) or (bias is not None and weight is None):
        return None
    shape, value = x.shape[total.op.axes[0] :], float(eps.op.value.scalar)
    if layer_norm(x, shape, weight, bias, value) is not node:
        return None
    if weight is None and not all(isinstance(d, int) for d in shape):
        return None
    scale = np.ones([int(d) for d in shape], x.dtype) if weight is None else weight
    return Group("LayerNormalization", [x, scale, bias], {"axis": -len(shape), "epsilon": value})


def _batch_norm(node: Node) -> Group | None:
    """By running statistics, with or without weight and bias."""
    x, average, scale, shift = node.inputs
    rate, weight = scale.inputs if _is(scale, Multiply) else (scale, None)
    bias = shift.inputs[1] if _is(shift, Add) else None
    if not _is(rate, Rsqrt) or not _is(rate.inputs[0], Add):
        return None
    variance, eps = rate.inputs[0].inputs
    laid = [v for v in (average, variance, weight, bias) if v is not None]
    if not isinstance(eps.op, Constant) or eps.type.size != 1:
        return None
    if not all(_is(v, Reshape) for v in laid):
        return None
    m, v, w, b = (None if a is None else a.inputs[0] for a in (average, variance, weight, bias))
    value = float(eps.op.value.scalar)
    if batch_norm(x, m, v, w, b, eps=value) is not node or not isinstance(x.shape[1], int):
        return None
    by = np.ones(x.shape[1], x.dtype) if w is None else w
    plus = np.zeros(x.shape[1], x.dtype) if b is None else b
    return Group("BatchNormalization", [x, by, plus, m, v], {"epsilon": value})


def _gemm(node: Node) -> Group | None:
    """x w' + b, as `linear` makes it, of matrices."""
    product, bias = node.inputs
    if not _is(product, Matmul) or product.ndim != 2 or bias.ndim != 1:
        return None
    x, w = product.inputs
    turned = isinstance(w.op, PermuteDims)
    if x.ndim != 2 or w.ndim != 2 or bias.shape != product.shape[1:]:
        return None
    operand = w.inputs[0] if turned else w
    return Group("Gemm", [x, operand, bias], {"transB": int(turned)})


def _biased_convolution(node: Node) -> Group | None:
    made, bias = node.inputs
    op = made.op
    if not isinstance(op, Convolution) or op.layout != "first" or not _is(bias, Reshape):
        return None
    (b,) = bias.inputs
    channels = made.shape[1]
    wanted = (channels, *(1,) * len(op.strides))
    if b.shape != (channels,) or bias.shape != wanted or not isinstance(op.groups[0], int):
        return None
    attributes = {
        "strides": list(op.strides), "pads": [*op.low, *op.high],
        "dilations": list(op.dilations), "group": op.groups[0],
    }  # fmt: skip
    return Group("Conv", [*made.inputs, b], attributes)


_GUESSES: dict[type[Any], tuple[Callable[[Node], Group | None], ...]] = {
    Add: (_layer_norm, _gemm, _biased_convolution),
    Divide: (_mean,),
    Multiply: (_softmax, _layer_norm),
    Normalize: (_batch_norm,),
    Subtract: (_log_softmax,),
}
