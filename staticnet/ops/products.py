"""Products and sums of products under names that users know: dot, inner, kron, addmm, lerp."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.value import Value
from staticnet.ops.arithmetic import multiply
from staticnet.ops.base import function, promoted
from staticnet.ops.linalg import matmul, tensordot
from staticnet.ops.promotion import is_scalar
from staticnet.ops.selection import where
from staticnet.ops.shape import reshape
from staticnet.ops.widening import rounded_once


@function
def dot(x: Any, y: Any) -> Value:
    """z = x @ y of vectors and matrices; of more axes, the sum over x's last and y's last but one.

    x: [*s, k], y: [*t, k, n] -> z: [*s, *t, n]; y: [k] gives [*s]; a scalar multiplies
    """
    x, y = promoted("dot", x, y)
    if x.ndim == 0 or y.ndim == 0:
        return multiply(x, y)
    return _paired(x, y, max(y.ndim - 2, 0))


@function
def inner(x: Any, y: Any) -> Value:
    """z = the sum of products along the last axes.  x: [*s, k], y: [*t, k] -> z: [*s, *t]

    A scalar multiplies.

    Raises:
        ShapeError: if the last axes differ in length.
    """
    x, y = promoted("inner", x, y)
    if x.ndim == 0 or y.ndim == 0:
        return multiply(x, y)
    return _paired(x, y, y.ndim - 1)


def _paired(x: Value, y: Value, axis: int) -> Value:
    if x.shape[-1] != y.shape[axis]:
        raise ShapeError(f"lengths differ: {x.shape[-1]} and {y.shape[axis]}")
    return tensordot(x, y, ([x.ndim - 1], [axis]))


@function
def kron(x: Any, y: Any) -> Value:
    """z = the Kronecker product: y as a block for each element of x, times that.

    x: [m, n, …], y: [p, q, …] -> z: [m * p, n * q, …]
    """
    x, y = promoted("kron", x, y)
    rank = max(x.ndim, y.ndim)
    left = (1,) * (rank - x.ndim) + x.shape
    right = (1,) * (rank - y.ndim) + y.shape
    blocks = reshape(x, [d for m in left for d in (m, 1)])
    cells = reshape(y, [d for p in right for d in (1, p)])
    return reshape(blocks * cells, [m * p for m, p in zip(left, right, strict=True)])


@function
@rounded_once(3)
def addmm(input: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Value:
    """z = beta * input + alpha * (x @ y); of beta = 0, input may be anything.

    input: broadcastable to [m, n], x: [m, k], y: [k, n] -> z: [m, n]

    Raises:
        ShapeError: if x or y is no matrix.
    """
    input, x, y = promoted("addmm", input, x, y)
    if x.ndim != 2 or y.ndim != 2:
        raise ShapeError(f"takes matrices, not {x.ndim} and {y.ndim} axes; of stacks use baddbmm")
    return _added(input, matmul(x, y), beta, alpha)


@function
@rounded_once(3)
def baddbmm(input: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Value:
    """z = beta * input + alpha * (x @ y) of stacks; of beta = 0, input may be anything.

    input: broadcastable to [b, m, n], x: [b, m, k], y: [b, k, n] -> z: [b, m, n]

    Raises:
        ShapeError: if x or y is no stack of matrices.
    """
    input, x, y = promoted("baddbmm", input, x, y)
    if x.ndim != 3 or y.ndim != 3:
        raise ShapeError(f"takes stacks of matrices, not {x.ndim} and {y.ndim} axes")
    return _added(input, matmul(x, y), beta, alpha)


def _added(input: Value, product: Value, beta: Any, alpha: Any) -> Value:
    scaled = product if _is(alpha, 1) else alpha * product
    if _is(beta, 0):
        return scaled
    return (input if _is(beta, 1) else beta * input) + scaled


def _is(factor: Any, number: int) -> bool:
    return is_scalar(factor) and bool(factor == number)


@function
@rounded_once(3)
def addcmul(input: Any, x: Any, y: Any, value: Any = 1) -> Value:
    """z = input + value * x * y, broadcast.  input, x, y: [*s] -> z: [*s]"""
    input, x, y = promoted("addcmul", input, x, y)
    return input + (x * y if _is(value, 1) else value * x * y)


@function
@rounded_once(3)
def addcdiv(input: Any, x: Any, y: Any, value: Any = 1) -> Value:
    """z = input + value * x / y, broadcast.  input, x, y: [*s] -> z: [*s]"""
    input, x, y = promoted("addcdiv", input, x, y)
    return input + (x / y if _is(value, 1) else value * x / y)


@function
@rounded_once(3)
def lerp(start: Any, end: Any, weight: Any) -> Value:
    """y = start + weight * (end - start), which is `end` at weight 1.  start, end, weight: [*s]

    From the nearer end, as PyTorch has it, so that both ends are met exactly.
    """
    start, end, weight = promoted("lerp", start, end, weight)
    step = end - start
    return where(abs(weight) < 0.5, start + weight * step, end - step * (1 - weight))
