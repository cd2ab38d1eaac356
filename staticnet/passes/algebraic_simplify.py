"""`algebraic_simplify`: rules that hold of real numbers, each with what it does to floating point.

A rule is exact if both sides have the same bits for every input, NaN, infinities and -0.0 included
(NaNs count as equal). `numerics="exact"` keeps only those.
"""

from __future__ import annotations

from typing import Any

from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.arguments import broadcast_shapes
from staticnet.ops.arithmetic import abs, maximum, minimum
from staticnet.ops.arithmetic import pow as power
from staticnet.ops.base import Constant, Elementwise, apply
from staticnet.ops.comparison import logical_not
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import (
    Flip,
    PermuteDims,
    Slice,
    concat,
    flip,
    matrix_transpose,
    permute_dims,
)
from staticnet.ops.selection import (
    Cast,
    Where,
    astype,
    relu,
    stop_gradient,
    where,
)
from staticnet.ops.shape import BroadcastTo, Reshape, Sum, broadcast_to, reshape, sum
from staticnet.ops.transcendental import exp, log, sqrt
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import rewrite
from staticnet.rewrite.pattern import (
    APPROXIMATES,
    EXACT,
    REASSOCIATES,
    Numerics,
    algebraic,
    is_number,
    structural,
)


@algebraic(lambda x: x * 1, EXACT)
def multiply_by_one(x: Any) -> Any:
    return x


@algebraic(lambda x: x / 1, EXACT)
def divide_by_one(x: Any) -> Any:
    return x


@algebraic(lambda x: x - 0, EXACT)
def subtract_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: x + (-0.0), EXACT)
def add_negative_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: x + 0, EXACT, domain="x is not -0.0")
def add_zero(x: Any) -> Any:
    return x


@algebraic(lambda x: 0 - x, EXACT, domain="x is not 0.0")
def subtract_from_zero(x: Any) -> Any:
    return -x


@algebraic(lambda x: x * -1, EXACT)
def multiply_by_minus_one(x: Any) -> Any:
    return -x


@algebraic(lambda x: -(-x), EXACT)
def negative_of_negative(x: Any) -> Any:
    return x


@algebraic(lambda x, y: x + (-y), EXACT)
def add_negative(x: Any, y: Any) -> Any:
    return x - y


@algebraic(lambda x, y: x - (-y), EXACT)
def subtract_negative(x: Any, y: Any) -> Any:
    return x + y


@algebraic(lambda x, y: (-x) * (-y), EXACT)
def multiply_negatives(x: Any, y: Any) -> Any:
    return x * y


@algebraic(lambda x: x * 0, EXACT, floating=False)
def integer_times_zero(x: Any) -> Any:
    return astype(0, x.dtype)


@algebraic(lambda x: x**1, EXACT)
def power_one(x: Any) -> Any:
    return x


@algebraic(lambda x: x**2, APPROXIMATES, floating=True)
def power_two(x: Any) -> Any:
    return x * x


@algebraic(lambda x: x**3, APPROXIMATES, floating=True)
def power_three(x: Any) -> Any:
    return x * x * x


@algebraic(lambda x: x**0.5, APPROXIMATES, domain="x is not -infinity or -0.0", floating=True)
def power_half(x: Any) -> Any:
    return sqrt(x)


@algebraic(lambda x: x**-1, APPROXIMATES, floating=True)
def power_minus_one(x: Any) -> Any:
    return 1 / x


@algebraic(lambda x: power(x, 0), EXACT)
def power_zero(x: Any) -> Any:
    return astype(1, x.dtype)


@algebraic(lambda x: log(exp(x)), APPROXIMATES, domain="e**x neither overflows nor underflows")
def log_of_exp(x: Any) -> Any:
    return x


@algebraic(lambda x: abs(abs(x)), EXACT)
def abs_of_abs(x: Any) -> Any:
    return abs(x)


@algebraic(lambda x: abs(-x), EXACT)
def abs_of_negative(x: Any) -> Any:
    return abs(x)


@algebraic(lambda x: relu(relu(x)), EXACT)
def relu_of_relu(x: Any) -> Any:
    return relu(x)


@algebraic(lambda x: maximum(x, x), EXACT)
def maximum_of_same(x: Any) -> Any:
    return x


@algebraic(lambda x: minimum(x, x), EXACT)
def minimum_of_same(x: Any) -> Any:
    return x


@algebraic(lambda x: logical_not(logical_not(x)), EXACT)
def not_of_not(x: Any) -> Any:
    return x


@algebraic(lambda x: stop_gradient(x), EXACT)
def drop_stop_gradient(x: Any) -> Any:
    return x


@algebraic(lambda c, x: where(c, x, x), EXACT)
def where_of_same(c: Any, x: Any) -> Any:
    return x


@structural(Where, lambda x, y: where(True, x, y))
def where_of_constant(node: Node) -> Value | None:
    condition, x, y = node.inputs
    if is_number(condition, True):
        return x
    return y if is_number(condition, False) else None


@structural(Reshape, lambda x: reshape(reshape(x, (-1, 1)), -1))
def reshape_of_reshape(node: Node) -> Value | None:
    (x,) = node.inputs
    return reshape(x.inputs[0], node.shape) if isinstance(x.op, Reshape) else None


@structural(
    PermuteDims, lambda x: permute_dims(permute_dims(reshape(x, (2, 3, -1)), (1, 2, 0)), (2, 1, 0))
)
def permute_of_permute(node: Node) -> Value | None:
    (x,) = node.inputs
    if not isinstance(node.op, PermuteDims) or not isinstance(x.op, PermuteDims):
        return None
    return permute_dims(x.inputs[0], [x.op.axes[axis] for axis in node.op.axes])


@structural(PermuteDims, lambda x: (reshape(x, (3, 4)) @ reshape(x, (4, 3))).T, REASSOCIATES)
def transpose_of_product(node: Node) -> Value | None:
    """(x y)' = y' x': gradients of weights come out as the weights lie."""
    (product,) = node.inputs
    rank = node.ndim
    if not isinstance(product.op, Matmul) or not isinstance(node.op, PermuteDims):
        return None
    if node.op.axes != (*range(rank - 2), rank - 1, rank - 2):
        return None
    x, y = product.inputs
    return apply(product.op, matrix_transpose(y), matrix_transpose(x))


@structural(BroadcastTo, lambda x: broadcast_to(broadcast_to(x, (2, *x.shape)), (3, 2, *x.shape)))
def broadcast_of_broadcast(node: Node) -> Value | None:
    (x,) = node.inputs
    return broadcast_to(x.inputs[0], node.shape) if isinstance(x.op, BroadcastTo) else None


@structural(BroadcastTo, lambda x: broadcast_to(reshape(x[0], (1, 1)), (3, 2)))
def broadcast_of_reshaped_scalar(node: Node) -> Value | None:
    (x,) = node.inputs
    if not isinstance(x.op, Reshape) or x.inputs[0].shape != ():
        return None
    return broadcast_to(x.inputs[0], node.shape)


@structural(Reshape, lambda x: reshape(broadcast_to(x[0], (3, 2)), (6,)))
def reshape_of_broadcast_scalar(node: Node) -> Value | None:
    (x,) = node.inputs
    if not isinstance(x.op, BroadcastTo) or x.inputs[0].shape != ():
        return None
    return broadcast_to(x.inputs[0], node.shape)


@structural(Elementwise, lambda x: broadcast_to(x[0], x.shape) < x)
def elementwise_of_broadcast(node: Node) -> Value | None:
    """An elementwise op broadcasts by itself: an operand's broadcast to its shape is not needed."""
    for i, x in enumerate(node.inputs):
        if not isinstance(x.op, BroadcastTo):
            continue
        operands = [*node.inputs[:i], x.inputs[0], *node.inputs[i + 1 :]]
        if broadcast_shapes(*(operand.shape for operand in operands)) == node.shape:
            return apply(node.op, *operands)
    return None


@structural(Elementwise, lambda x: broadcast_to(x[0], x.shape) * 2)
def elementwise_of_scalars(node: Node) -> Value | None:
    """An elementwise op on scalars' broadcasts: it is done once, and its result is broadcast."""
    scalars = [x.inputs[0] if isinstance(x.op, BroadcastTo) else x for x in node.inputs]
    if node.ndim == 0 or any(x.ndim for x in scalars):
        return None
    return broadcast_to(apply(node.op, *scalars), node.shape)


@structural(Flip, lambda x: flip(flip(x, 0), 0))
def flip_of_flip(node: Node) -> Value | None:
    (x,) = node.inputs
    return x.inputs[0] if x.op == node.op else None


@structural(Slice, lambda x: concat([x, x])[: x.shape[0]])
def slice_of_everything(node: Node) -> Value | None:
    """A slice that takes all, or one whole operand of a concat along its first axis."""
    (x,) = node.inputs
    if node.type == x.type:
        return x
    op = node.op
    assert isinstance(op, Slice)
    if x.op.name != "concat" or any(step != 1 for step in op.steps):
        return None
    axis = getattr(x.op, "axis", 0)
    at: Any = 0
    for part in x.inputs:
        starts = tuple(at if i == axis else 0 for i in range(x.ndim))
        if starts == op.starts and part.shape == node.shape:
            return part
        at = at + part.shape[axis]
    return None


@structural(Cast, lambda x: astype(astype(x, "float64"), x.dtype))
def cast_there_and_back(node: Node) -> Value | None:
    """A widening cast undone: every value of the narrow dtype is one of the wide dtype."""
    (x,) = node.inputs
    if not isinstance(x.op, Cast):
        return None
    origin = x.inputs[0]
    floats = is_floating(origin.dtype) and is_floating(x.dtype)
    widened = x.dtype.itemsize > origin.dtype.itemsize  # every float type holds all smaller ones
    return origin if floats and widened and origin.dtype == node.dtype else None


@structural(Sum, lambda x: sum(sum(expand(x), 0), 0), REASSOCIATES)
def sum_of_sum(node: Node) -> Value | None:
    """Sums over two sets of axes in turn: one sum over both."""
    (x,) = node.inputs
    if not isinstance(node.op, Sum) or not isinstance(x.op, Sum) or x.op.keepdims:
        return None
    if node.op.keepdims:
        return None
    left = [i for i in range(x.inputs[0].ndim) if i not in x.op.axes]
    axes = sorted([*x.op.axes, *(left[axis] for axis in node.op.axes)])
    return apply(Sum(tuple(axes), False), x.inputs[0])


@structural(Sum, lambda x: sum(broadcast_to(astype(2, x.dtype), x.shape)), REASSOCIATES)
def sum_of_number(node: Node) -> Value | None:
    """The sum of n equal numbers: n times the number."""
    (x,) = node.inputs
    if not isinstance(x.op, BroadcastTo) or not isinstance(x.inputs[0].op, Constant):
        return None
    if x.inputs[0].shape != () or not isinstance(x.type.size, int) or x.dtype.kind == "b":
        return None
    count = x.type.size // node.type.size if node.type.size else 0  # type: ignore[operator]
    return broadcast_to(x.inputs[0] * count, node.shape)


def expand(x: Any) -> Any:
    """x with one more axis, for the examples above."""
    return reshape(x, (1, *x.shape))


RULES = (
    multiply_by_one,
    divide_by_one,
    subtract_zero,
    add_negative_zero,
    add_zero,
    subtract_from_zero,
    multiply_by_minus_one,
    negative_of_negative,
    add_negative,
    subtract_negative,
    multiply_negatives,
    integer_times_zero,
    power_zero,
    power_one,
    power_two,
    power_three,
    power_half,
    power_minus_one,
    log_of_exp,
    abs_of_abs,
    abs_of_negative,
    relu_of_relu,
    maximum_of_same,
    minimum_of_same,
    not_of_not,
    drop_stop_gradient,
    where_of_same,
    where_of_constant,
    reshape_of_reshape,
    permute_of_permute,
    transpose_of_product,
    broadcast_of_broadcast,
    broadcast_of_reshaped_scalar,
    reshape_of_broadcast_scalar,
    elementwise_of_broadcast,
    elementwise_of_scalars,
    flip_of_flip,
    slice_of_everything,
    cast_there_and_back,
    sum_of_sum,
    sum_of_number,
)


def algebraic_simplify(graph: Graph, context: Context) -> Graph:
    """The graph in the rules' normal form; exact compilation uses the exact rules alone."""
    exact = context.numerics == "exact"
    rules = [rule for rule in RULES if rule.is_exact or not exact]
    return rewrite(graph, rules, "algebraic_simplify", context.notes)


ALGEBRAIC_SIMPLIFY = Pass(
    "algebraic_simplify", algebraic_simplify, Numerics.APPROXIMATES, selects=True
)
