"""`cudnn`: what cuDNN computes in a call is given what that call takes.

Its gradient of attention makes delta itself, of the result y and of y's cotangent a:

    delta = sum(a y, -1); attention_gradient(…, a, scale, l, delta)
    is    attention_gradient(…, a, scale, l, y, given="result")

where y and l are those of one attention. The cotangent that is summed is a, rounded as it is fed.
It adds a mask to the scores, and says nothing of rows that this leaves without a key. So a constant
one that leaves each query a key, whose number is near 0, becomes numbers that are finite, of which
exp is 0 where it was.
What the backend's library lacks is given delta again. Which of its calls run is decided when they
are bound; see docs/adr/0062.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.layout import back, in_layout
from staticnet.attention.op import Attention
from staticnet.attention.operands import is_added, leaves_keys
from staticnet.ir.dtype import BOOL, FLOAT16, FLOAT32, HALVES, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.index import Index, Symbol
from staticnet.ir.node import Node, build
from staticnet.ir.types import fixed
from staticnet.ops.arithmetic import Multiply
from staticnet.ops.base import Constant, Item, constant
from staticnet.ops.evaluate import compute
from staticnet.ops.movement import PermuteDims
from staticnet.ops.selection import Cast
from staticnet.ops.shape import Sum
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics

NAME = "cudnn"
ATTENTION, GRADIENT = "attention", "attention_gradient"
_CONVOLUTIONS = ("convolution", "convolution_input", "convolution_weight", "convolution_epilogue")
CALLS = frozenset({ATTENTION, GRADIENT, *_CONVOLUTIONS})
_DELTA = 6  # which operand of the gradient it is
_LOW = -1e30  # beside any score of 16-bit rows it is no key
Seen = tuple[Node, tuple[Index, ...]]


def cudnn(graph: Graph, context: Context) -> Graph:
    """The graph in terms of what `context.calls` take."""
    if GRADIENT in context.calls and context.numerics != "exact":
        graph = _with_numbers(graph, context)
    gradients = [node for node in graph.nodes if isinstance(node.op, AttentionGradient)]
    if GRADIENT not in context.calls:
        return _by_delta(graph, context, gradients)
    if context.numerics == "exact":
        return graph
    found = {node: y for node in gradients if (y := _result(node)) is not None}
    if not found:
        return graph
    context.notes["attention_gradient given the result"] += len(found)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in found:
            return keep(node, inputs)
        assert isinstance(node.op, AttentionGradient)
        attention = inputs[_DELTA - 1].inputs[0]  # l is an item of it
        y: Node = build(Item(0), (attention,))
        layout = attention.op.attributes()["layout"]
        if layout != "first":
            y = build(PermuteDims(back(layout)), (y,))
        given = (*inputs[:_DELTA], y, *inputs[_DELTA + 1 :])
        return build(replace(node.op, given="result"), given)

    return rebuild(graph, NAME, change)


def _with_numbers(graph: Graph, context: Context) -> Graph:
    """The graph whose constant masks are added, where they leave each query a key."""
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, Attention | AttentionGradient) and not node.op.drops:
            at = len(node.op.names)
            numbers = _numbers(node, node.inputs[at]) if len(node.inputs) > at else None
            if numbers is not None:
                new[node] = numbers
    if not new:
        return graph
    context.notes["masks as numbers"] += len(new)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        return build(node.op, (*inputs[:-1], new[node])) if node in new else keep(node, inputs)

    return rebuild(graph, NAME, change)


def _numbers(node: Node, mask: Node) -> Node | None:
    """A constant mask as an array that is added, of all queries and keys; None if it cannot be."""
    q, k = node.inputs[:2]
    if (
        q.dtype not in HALVES
        or not isinstance(q.type.size, int)
        or not isinstance(k.type.size, int)
    ):
        return None
    sizes, causal = (fixed(q.shape)[2], fixed(k.shape)[2]), node.op.attributes()["causal"]
    given = None if is_added(mask, sizes, causal) else _constant_of(mask)
    if given is None:
        return None
    if mask.dtype == BOOL:
        added, dtype = np.where(given, 0.0, _LOW), q.dtype
    else:
        wide = given.astype(np.float64)
        added, dtype = np.where(wide == -np.inf, _LOW, wide), mask.dtype
    whole = np.broadcast_to(added, (*added.shape[:2], *sizes))
    if not leaves_keys(whole, causal):
        return None
    return constant(whole.astype(FLOAT32 if dtype == FLOAT16 else dtype, order="C"))


def _constant_of(x: Node) -> Any:
    """The array that constants, viewed and cast, are; None if they are none."""
    if isinstance(x.op, Constant):
        return x.op.value.array
    if not (x.op.moves or isinstance(x.op, Cast)):
        return None
    below = _constant_of(x.inputs[0])
    return None if below is None else np.asarray(compute(x.op, x.dtype, [below]))


def _by_delta(graph: Graph, context: Context, gradients: Sequence[Node]) -> Graph:
    """The graph whose gradients are all given delta."""
    found = {x for x in gradients if x.op.attributes()["given"] == "result"}
    if not found:
        return graph
    context.notes["attention_gradient given delta"] += len(found)

    def change(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not (isinstance(node.op, Item) and node.inputs[0] in found):
            return keep(node, inputs)
        (old,) = inputs
        assert isinstance(old.op, AttentionGradient)
        made: Node = old.op.by_delta(*old.inputs)[node.op.index]
        return made

    return rebuild(graph, NAME, change)


def _result(node: Node) -> Node | None:
    """The attention whose result a gradient's delta is made of, if it may be given instead."""
    op = node.op
    assert isinstance(op, AttentionGradient)
    q, a, lse, delta = (node.inputs[i] for i in (0, 3, 5, _DELTA))
    if op.given == "result" or op.drops or q.dtype not in HALVES:
        return None
    pairs = q.shape[2], node.inputs[1].shape[2]
    if not all(is_added(mask, pairs, op.causal) for mask in node.inputs[_DELTA + 1 :]):
        return None
    if not (isinstance(lse.op, Item) and lse.op.index == 1):
        return None
    (attention,) = lse.inputs
    known = isinstance(a.type.size, int) and a.type.size > 0
    if not isinstance(attention.op, Attention) or not known:
        return None
    index = tuple(Index.of(Symbol(f"i{axis}", n)) for axis, n in enumerate(fixed(a.shape)))
    y_index = in_layout(attention.op.layout, index)
    wanted = (_seen(a, index), _seen(build(Item(0), (attention,)), y_index))
    factors = _factors(delta, index)
    return attention if factors in (wanted, wanted[::-1]) else None


def _factors(delta: Node, index: tuple[Index, ...]) -> tuple[Seen, ...]:
    """What is multiplied and summed along the last of the axes, at an element of all."""
    total, at = _seen(delta, index[:-1])
    if not isinstance(total.op, Sum) or total.op.keepdims or len(total.op.axes) != 1:
        return ()
    (axis,) = total.op.axes
    product, at = _seen(total.inputs[0], (*at[:axis], index[-1], *at[axis:]))
    if not isinstance(product.op, Multiply) or any(
        x.shape != product.shape for x in product.inputs
    ):
        return ()
    return tuple(_seen(x, at) for x in product.inputs)


def _seen(node: Node, index: tuple[Index, ...]) -> Seen:
    """The node below views and floating casts, and its element that `node` shows at `index`."""
    while True:
        if node.op.moves:
            index = node.op.source(index, fixed(node.inputs[0].shape))
        elif not (isinstance(node.op, Cast) and is_floating(node.inputs[0].dtype)):
            return node, index
        (node,) = node.inputs


CUDNN = Pass(NAME, cudnn, Numerics.APPROXIMATES, selects=True)
