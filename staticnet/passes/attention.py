"""Attention that is written by hand, as a softmax between two products, and its gradient.

    matmul(softmax(scores), v), scores = matmul(q, kᵀ), scaled, masked by where(…, -inf) or a sum

is `attention` where nothing else reads the weights; what differentiation made of `sn.nn.softmax`
there is `attention_gradient`. Nodes are interned: the expected gradient is built and looked up. A
query without keys then gives 0, where a softmax gives NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.op import Attention
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import BOOL, FLOAT32, FLOAT64
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.types import Shape
from staticnet.ops.arithmetic import Add, Divide, Multiply, Subtract
from staticnet.ops.base import Constant, apply, constant, items
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import PermuteDims, matrix_transpose
from staticnet.ops.reduction import Max
from staticnet.ops.selection import StopGradient, Where
from staticnet.ops.shape import BroadcastTo, Reshape, Sum, reshape, sum
from staticnet.ops.transcendental import Exp
from staticnet.passes.manager import Context
from staticnet.rewrite.replacement import Plan, Replacement, feasible, resolved, with_replaced

FAR_BELOW = -1e8  # a score of so little beside any other has weight 0


@dataclass
class _Match:
    """A weighted sum y of v by the softmax of scores; `powers` / `total` are its weights w."""

    y: Node
    w: Node
    powers: Node
    total: Node
    inverse: Node | None
    product: Node
    q: Node
    k: Node
    v: Node
    scale: Node | None
    mask: Node | None
    chosen: Node | None  # the condition of a mask by choice
    inverted: bool  # it says what is left out
    divides: bool  # the scale


def hand_written(graph: Graph, context: Context) -> Graph:
    """The graph with attentions and their gradients as nodes, where no scores are then left."""
    found = [m for m in map(_match, graph.nodes) if m is not None]
    known = set(graph.nodes)
    for _ in range(2):  # again without those whose weights are read elsewhere
        if not found:
            return graph
        plans = [Plan(_replacements(known, match)) for match in found]
        possible = feasible(graph, plans)
        found = [m for m, plan in zip(found, plans, strict=True) if plan in possible]
        if not found:
            return graph
        new = resolved(graph, possible, "library")
        changed = with_replaced(graph, new, "library")
        left = set(changed.nodes)
        kept = [m for m in found if new.get(m.product, m.product) not in left]
        if len(kept) == len(found):
            context.notes["found attention"] += len(found)
            return changed
        found = kept
    return graph


def _replacements(known: set[Node], match: _Match) -> dict[Node, Replacement]:
    """What an attention's result becomes, and what differentiation made of it."""
    options = [x for x in (match.scale, match.mask) if x is not None]
    needs = [match.q, match.k, match.v, *options]
    plans = {match.y: Replacement(needs, lambda new: _own(match, new)[0])}
    turned = _turned(match.y)
    plans[turned] = Replacement(needs, lambda new: matrix_transpose(_own(match, new)[0]))
    olds, a = _gradient(known, match)
    for i, old in enumerate(olds):
        if old in known and a is not None:
            plans[old] = Replacement([*needs, a], partial(_slope, match, i % 3, i >= 3, old.shape))
    return plans


def _match(y: Node) -> _Match | None:
    """The attention whose result a node is."""
    if not isinstance(y.op, Matmul) or y.dtype not in (FLOAT32, FLOAT64):
        return None
    w, v = y.inputs
    softmax = _softmax(w)
    if softmax is None:
        return None
    scores, powers, total, inverse = softmax
    scale = None
    scores, mask, chosen, inverted = _unmasked(scores)
    divides = isinstance(scores.op, Divide)
    if divides:
        scores, scale = scores.inputs
    elif isinstance(scores.op, Multiply):
        scores, scale = _with_product(scores)
    if not isinstance(scores.op, Matmul) or (scale is not None and scale.type.size != 1):
        return None
    q, turned = scores.inputs
    if min(x.ndim for x in (q, turned, v)) < 2:
        return None
    k = _turned(turned)
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        return None
    if mask is not None and _as_four(mask, w) is None:
        return None
    return _Match(
        y, w, powers, total, inverse, scores, q, k, v, scale, mask, chosen, inverted, divides
    )


def _unmasked(scores: Node) -> tuple[Node, Node | None, Node | None, bool]:
    """Scores before the mask, it, it if it chooses, and whether by what it leaves out."""
    if isinstance(scores.op, Add):
        scores, mask = _with_product(scores)
        return scores, mask, None, False
    if isinstance(scores.op, Where):
        mask, x, y = scores.inputs
        if _leaves_out(y, mask, False):
            return x, mask, mask, False
        if _leaves_out(x, mask, True):
            return y, mask, mask, True
    return scores, None, None, False


def _softmax(w: Node) -> tuple[Node, Node, Node, Node | None] | None:
    """Scores, powers, their sum and its inverse, if a node is a softmax along its last axis."""
    inverse = None
    if isinstance(w.op, Multiply) and isinstance(w.inputs[1].op, Divide):
        powers, inverse = w.inputs
        one, total = inverse.inputs
        if _number(one) != 1:
            return None
    elif isinstance(w.op, Divide):
        powers, total = w.inputs
    else:
        return None
    axes = (w.ndim - 1,)
    if (
        not isinstance(powers.op, Exp)
        or total.op != Sum(axes, True)
        or total.inputs[0] is not powers
    ):
        return None
    (shifted,) = powers.inputs
    if not isinstance(shifted.op, Subtract):
        return None
    scores, top = shifted.inputs
    if isinstance(top.op, StopGradient):
        (top,) = top.inputs
    shifts = top.op == Max(axes, True) and top.inputs[0] is scores
    return (scores, powers, total, inverse) if shifts else None


def _with_product(node: Node) -> tuple[Node, Node]:
    """The operand that scores are, and the other one."""
    a, b = node.inputs
    return (
        (b, a) if a.type.size == 1 or not isinstance(a.op, Matmul | Multiply | Divide) else (a, b)
    )


def _turned(x: Any) -> Any:
    """The transpose of matrices, as it is simplified: that of a product is one of transposes."""
    if isinstance(x.op, PermuteDims):
        axes = (*x.op.axes[:-2], x.op.axes[-1], x.op.axes[-2])
        (origin,) = x.inputs
        return origin if axes == tuple(range(x.ndim)) else apply(PermuteDims(axes), origin)
    if isinstance(x.op, Matmul):
        return apply(Matmul(), *(_turned(y) for y in reversed(x.inputs)))
    return matrix_transpose(x)


def _number(x: Node) -> float | None:
    """The number that a node has everywhere, if it is a constant."""
    while isinstance(x.op, BroadcastTo | Reshape):
        (x,) = x.inputs
    if not isinstance(x.op, Constant) or x.type.size != 1:
        return None
    return float(x.op.value.scalar)


def _leaves_out(x: Node, mask: Node, inverted: bool) -> bool:
    """Whether scores of x have no weight: -inf, or far below others that each query has."""
    number = _number(x)
    if number is None or number > FAR_BELOW:
        return False
    if number == -float("inf"):
        return True
    if not isinstance(mask.op, Constant) or mask.ndim == 0:
        return False
    return bool((mask.op.value.array ^ inverted).any(-1).all())


def _four(x: Node) -> Any:
    """x: [*b, m, n] -> y: [1, prod of b, m, n], or x where it has four axes"""
    return x if x.ndim == 4 else reshape(x, (1, size_of(x.shape[:-2]), *x.shape[-2:]))


def _as_four(mask: Node, w: Node) -> tuple[int | Dim, ...] | None:
    """The four axes of a mask that broadcasts to the weights; None if four do not tell it."""
    own = (*(1,) * (w.ndim - mask.ndim), *mask.shape)
    if mask.ndim > w.ndim or any(a not in (1, b) for a, b in zip(own, w.shape, strict=True)):
        return None
    if w.ndim == 4:
        return own
    if all(d == 1 for d in own[:-2]):
        return (1, 1, *own[-2:])
    return (1, size_of(own[:-2]), *own[-2:]) if own[:-2] == w.shape[:-2] else None


def _operands(match: _Match, new: list[Any]) -> tuple[bool, list[Any], list[Any]]:
    """Whether it is causal; q, k and v; scale and the mask if there is one."""
    operands, rest = [_four(x) for x in new[:3]], new[3:]
    dtype = match.y.dtype
    scale: Any = constant(1.0, dtype) if match.scale is None else reshape(rest.pop(0), ())
    scale = 1 / scale if match.divides else scale
    if match.mask is None or _is_causal(match.mask, match.inverted):
        return match.mask is not None, operands, [scale]
    mask = reshape(rest.pop(0), _as_four(match.mask, match.w))
    return False, operands, [scale, ~mask if match.inverted else mask]


def _is_causal(mask: Node, inverted: bool) -> bool:
    """Whether a mask is True up to the diagonal or, if inverted, after it."""
    if not isinstance(mask.op, Constant) or mask.dtype != BOOL or mask.ndim < 2:
        return False
    array = mask.op.value.array
    own = array.reshape(-1, *array.shape[-2:])
    return len(own) == 1 and np.array_equal(own[0] ^ inverted, np.tri(*own.shape[-2:]) > 0)


def _own(match: _Match, new: list[Any]) -> tuple[Any, Any, Any]:
    """The result in its shape; with four axes; the logarithms of the sums."""
    causal, operands, options = _operands(match, new)
    y, lse = items(apply(Attention(causal), *operands, *options))
    return reshape(y, match.y.shape), y, lse


def _slope(match: _Match, index: int, turned: bool, shape: Shape, new: list[Any]) -> Any:
    """The gradient by q, k or v, or its transpose."""
    *new, a = new
    _, y, lse = _own(match, new)
    causal, operands, (scale, *mask) = _operands(match, new)
    a = _four(a)
    given = (*operands, a, scale, lse, sum(a * y, -1), *mask)
    made = items(apply(AttentionGradient(causal), *given))[index]
    return reshape(matrix_transpose(made) if turned else made, shape)


def _gradient(known: set[Node], match: _Match) -> tuple[list[Any], Node | None]:
    """The gradients by q, k and v as differentiation wrote them, and what they are of.

    Each is a product or, where a transpose is shared, the transpose of one: six in all.
    """
    if match.inverse is None:
        return [], None
    turned = _turned(match.v)
    for to_w in known:
        if isinstance(to_w.op, Matmul) and to_w.inputs[1] is turned:
            to_s: Any = _slopes(match, to_w)
            if to_s not in known:
                continue
            if match.chosen is not None:
                zero = constant(0.0, to_s.dtype)
                kept = (zero, to_s) if match.inverted else (to_s, zero)
                to_s = apply(Where(), match.chosen, *kept)
            if match.scale is not None:
                to_s = to_s / match.scale if match.divides else to_s * match.scale
            a = to_w.inputs[0]
            pairs = (
                (to_s, match.k),
                (matrix_transpose(to_s), match.q),
                (matrix_transpose(match.w), a),
            )
            plain = [apply(Matmul(), x, y) for x, y in pairs]
            return [*plain, *(apply(Matmul(), _turned(y), _turned(x)) for x, y in pairs)], a
    return [], None


def _slopes(match: _Match, to_w: Node) -> Any:
    """The cotangent of the scores, as that of `sn.nn.softmax` is simplified."""
    powers, total, inverse = match.powers, match.total, match.inverse
    assert inverse is not None
    total_of = sum(to_w * powers, -1)
    back = reshape(total_of, total.shape) * inverse / total
    return (to_w * inverse - back) * powers
