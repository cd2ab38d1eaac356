"""Rules about structure: what moves, repeats or sums elements, found by attributes and not by form.

Those of `passes/algebraic_simplify.py` that no pattern can write; its docstring says what a rule
declares.
"""

from __future__ import annotations

from typing import Any

from staticnet.ir.dtype import UINT64, is_floating
from staticnet.ir.node import Node
from staticnet.ir.op import Op
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS, NUMBERS, broadcast_shapes
from staticnet.ops.arithmetic import Maximum, Minimum, maximum
from staticnet.ops.base import Constant, Elementwise, apply, constant
from staticnet.ops.comparison import (
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    logical_and,
    logical_or,
)
from staticnet.ops.creation import eye
from staticnet.ops.evaluate import evaluate
from staticnet.ops.implicit import Implicit, PseudoInverse
from staticnet.ops.linalg import Matmul, matmul
from staticnet.ops.movement import (
    PermuteDims,
    Slice,
    concat,
    matrix_transpose,
    permute_dims,
)
from staticnet.ops.rearranging import Flip, flip
from staticnet.ops.selection import Cast, Where, astype, where
from staticnet.ops.shape import BroadcastTo, Reshape, Sum, broadcast_to, reshape, sum
from staticnet.ops.widening import widened
from staticnet.rewrite.pattern import EXACT, REASSOCIATES, is_number, structural


@structural(Where, lambda x, y: where(True, x, y))
def where_of_constant(node: Node) -> Value | None:
    """A choice that is made already."""
    condition, x, y = node.inputs
    if is_number(condition, True):
        return x
    return y if is_number(condition, False) else None


@structural(
    Where,
    lambda x: where(x >= astype(2, x.dtype), x, maximum(x, astype(2, x.dtype))),
    EXACT,
    NUMBERS,
)
def limit_by_number(node: Node) -> Value | None:
    """x limited by a number, written so that its derivative at a tie is 1: one choice.

    Where x is not beyond the number it is the result, NaN too, and else the number is.
    """
    within, x, extremum = node.inputs
    beyond: Op | None = None
    if isinstance(within.op, GreaterEqual) and isinstance(extremum.op, Maximum):
        beyond = Less()
    elif isinstance(within.op, LessEqual) and isinstance(extremum.op, Minimum):
        beyond = Greater()
    if beyond is None:
        return None
    first, limit = within.inputs
    if first is not x or extremum.inputs[0] is not x or extremum.inputs[1] is not limit:
        return None
    number = limit
    if isinstance(number.op, BroadcastTo):
        (number,) = number.inputs
    if not isinstance(number.op, Constant) or number.type.size != 1:
        return None
    value = number.op.value.scalar
    return where(apply(beyond, x, limit), limit, x) if value == value else None


@structural(Reshape, lambda x: reshape(reshape(x, (-1, 1)), -1))
def reshape_of_reshape(node: Node) -> Value | None:
    """Two reshapes in turn: the last."""
    (x,) = node.inputs
    return reshape(x.inputs[0], node.shape) if isinstance(x.op, Reshape) else None


@structural(
    PermuteDims, lambda x: permute_dims(permute_dims(reshape(x, (2, 3, -1)), (1, 2, 0)), (2, 1, 0))
)
def permute_of_permute(node: Node) -> Value | None:
    """Two permutations in turn: one."""
    (x,) = node.inputs
    if not isinstance(node.op, PermuteDims) or not isinstance(x.op, PermuteDims):
        return None
    return permute_dims(x.inputs[0], [x.op.axes[axis] for axis in node.op.axes])


@structural(
    PermuteDims, lambda x: (reshape(x, (3, 4)) @ reshape(x, (4, 3))).T, REASSOCIATES, NUMBERS
)
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


@structural(
    Matmul,
    lambda x: matmul(eye(x.type.size, dtype=x.dtype), reshape(x, (-1, 1))),
    REASSOCIATES,
    NUMBERS,
    domain="x is finite",
)
def product_with_identity(node: Node) -> Value | None:
    """I y = y and x I = x: Jacobians begin with one direction for each element."""
    x, y = node.inputs
    if _is_identity(x):
        return y
    return x if _is_identity(y) else None


def _is_identity(x: Node) -> bool:
    """Whether a matrix is what `eye` gives: equal expressions are one node."""
    is_square = x.ndim == 2 and x.shape[0] == x.shape[1]
    return is_square and isinstance(x.op, Cast) and x is eye(x.shape[0], dtype=x.dtype)


@structural(BroadcastTo, lambda x: broadcast_to(broadcast_to(x, (2, *x.shape)), (3, 2, *x.shape)))
def broadcast_of_broadcast(node: Node) -> Value | None:
    """Two broadcasts in turn: the last."""
    (x,) = node.inputs
    return broadcast_to(x.inputs[0], node.shape) if isinstance(x.op, BroadcastTo) else None


@structural(BroadcastTo, lambda x: broadcast_to(reshape(x[0], (1, 1)), (3, 2)))
def broadcast_of_reshaped_scalar(node: Node) -> Value | None:
    """A scalar broadcasts as it is."""
    (x,) = node.inputs
    if not isinstance(x.op, Reshape) or x.inputs[0].shape != ():
        return None
    return broadcast_to(x.inputs[0], node.shape)


@structural(Reshape, lambda x: reshape(broadcast_to(x[0], (3, 2)), (6,)))
def reshape_of_broadcast_scalar(node: Node) -> Value | None:
    """One number everywhere, in any shape."""
    (x,) = node.inputs
    if not isinstance(x.op, BroadcastTo) or x.inputs[0].shape != ():
        return None
    return broadcast_to(x.inputs[0], node.shape)


@structural(Elementwise, lambda x: broadcast_to(x[0], x.shape) < x)
def elementwise_of_broadcast(node: Node) -> Value | None:
    """An elementwise op broadcasts by itself: an operand's broadcast to its shape is not needed."""
    if _is_positional(node):
        return None
    for i, x in enumerate(node.inputs):
        if not isinstance(x.op, BroadcastTo):
            continue
        operands = [*node.inputs[:i], x.inputs[0], *node.inputs[i + 1 :]]
        if broadcast_shapes(*(operand.shape for operand in operands)) == node.shape:
            return apply(node.op, *operands)
    return None


@structural(Elementwise, lambda x: broadcast_to(x[0], x.shape) * 2)
def elementwise_of_scalars(node: Node) -> Value | None:
    """An elementwise op on scalars' broadcasts: it is done once, and its result is broadcast.

    Now, if all of them are numbers.
    """
    scalars = [x.inputs[0] if isinstance(x.op, BroadcastTo) else x for x in node.inputs]
    if node.ndim == 0 or any(x.ndim for x in scalars) or _is_positional(node):
        return None
    once = apply(node.op, *scalars)
    numbers = [x.op.value.array for x in scalars if isinstance(x.op, Constant)]
    if len(numbers) == len(scalars) and not node.op.on_host:
        once = constant(evaluate(once, numbers), node.dtype)
    return broadcast_to(once, node.shape)


@structural(Elementwise, lambda x: reshape(x, (1, -1, 1)) * 2 + reshape(-x, (1, -1, 1)))
def elementwise_of_vectors(node: Node) -> Value | None:
    """An elementwise op on vectors along a later axis: its result is a vector, put along that.

    So all that is computed of channels' numbers is over one space, whatever they are used with.
    Numbers of rows stay along the first axis, where kernels of rows have theirs.
    """
    vectors = [x.inputs[0] if isinstance(x.op, Reshape) else x for x in node.inputs]
    long = [v for v, x in zip(vectors, node.inputs, strict=True) if v is not x]
    if node.ndim < 2 or node.shape[0] != 1 or not long:
        return None
    if node.op.on_host or _is_positional(node):
        return None
    if any(v.ndim != 1 or v.shape != long[0].shape for v in long):
        return None
    if any(x.shape != node.shape for v, x in zip(vectors, node.inputs, strict=True) if v is not x):
        return None
    if node.type.size != long[0].type.size or any(
        v.ndim for v, x in zip(vectors, node.inputs, strict=True) if v is x
    ):
        return None
    return reshape(apply(node.op, *vectors), node.shape)


def _is_positional(node: Node) -> bool:
    """Whether an elementwise op is told of its operands' axes."""
    return isinstance(node.op, Elementwise) and node.op.positional


@structural(Where, lambda x, y: where(x > y, y, where(x < y, y, x)), EXACT, NUMBERS)
def choices_by_one_value(node: Node) -> Value | None:
    """Two choices by comparisons of one value, of which either gives the same: one choice.

    As in the derivative of what is limited on both sides, for which then one mask is kept.
    """
    first, x, y = node.inputs
    for chosen, inner, join in ((x, y, logical_or), (y, x, logical_and)):
        if not isinstance(inner.op, Where):
            continue
        second = inner.inputs[0]
        same, rest = inner.inputs[1:] if join is logical_or else inner.inputs[:0:-1]
        if same is chosen and _share_an_operand(first, second):
            both = join(first, second)
            return where(both, chosen, rest) if join is logical_or else where(both, rest, chosen)
    return None


def _share_an_operand(a: Node, b: Node) -> bool:
    """Whether two nodes are comparisons, one of whose operands is the same."""
    comparisons = (Greater, GreaterEqual, Less, LessEqual)
    if not (isinstance(a.op, comparisons) and isinstance(b.op, comparisons)):
        return False
    return any(x is y for x in a.inputs for y in b.inputs if not isinstance(x.op, Constant))


@structural(Flip, lambda x: flip(flip(x, 0), 0))
def flip_of_flip(node: Node) -> Value | None:
    """The same axes reversed twice."""
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


@structural(Cast, lambda x: astype(astype(x, "float64"), x.dtype), EXACT, FLOATS)
def cast_there_and_back(node: Node) -> Value | None:
    """A widening cast undone: every value of the narrow dtype is one of the wide dtype."""
    (x,) = node.inputs
    if not isinstance(x.op, Cast):
        return None
    origin = x.inputs[0]
    floats = is_floating(origin.dtype) and is_floating(x.dtype)
    widened = x.dtype.itemsize > origin.dtype.itemsize  # every float type holds all smaller ones
    return origin if floats and widened and origin.dtype == node.dtype else None


@structural(
    Sum, lambda x: sum(sum(expand(x), 0, dtype=x.dtype), 0, dtype=x.dtype), REASSOCIATES, NUMBERS
)
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


@structural(
    Sum,
    lambda x: sum(broadcast_to(astype(2, x.dtype), x.shape), dtype=x.dtype),
    REASSOCIATES,
    NUMBERS,
)
def sum_of_number(node: Node) -> Value | None:
    """The sum of n equal numbers: n times the number, which in integers wraps as the sum does."""
    (x,) = node.inputs
    if not isinstance(x.op, BroadcastTo) or not isinstance(x.inputs[0].op, Constant):
        return None
    total, each = x.type.size, node.type.size
    if x.inputs[0].shape != () or not isinstance(total, int) or not isinstance(each, int):
        return None
    if total == 0:
        return None
    (number,) = x.inputs
    count = total // each
    if is_floating(node.dtype):
        return broadcast_to(astype(widened(number) * count, node.dtype), node.shape)
    return broadcast_to(number * astype(constant(count % 2**64, UINT64), node.dtype), node.shape)


@structural(Implicit, lambda x: apply(PseudoInverse(), x, x), EXACT, FLOATS)
def value_of_implicit(node: Node) -> Value | None:
    """A value that was told apart for its derivative: the value."""
    return node.inputs[-1]


def expand(x: Any) -> Any:
    """x with one more axis, for the examples above."""
    return reshape(x, (1, *x.shape))


STRUCTURE_RULES = (
    where_of_constant,
    choices_by_one_value,
    limit_by_number,
    reshape_of_reshape,
    permute_of_permute,
    transpose_of_product,
    product_with_identity,
    broadcast_of_broadcast,
    broadcast_of_reshaped_scalar,
    reshape_of_broadcast_scalar,
    elementwise_of_broadcast,
    elementwise_of_scalars,
    elementwise_of_vectors,
    flip_of_flip,
    slice_of_everything,
    cast_there_and_back,
    sum_of_sum,
    sum_of_number,
    value_of_implicit,
)
