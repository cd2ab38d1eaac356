"""Rules about one index a row: what `take_along_axis` reads, and where a scatter adds.

A comparison with an iota fuses, and a routine does not. So a gradient that has one element a row
which is not 0, as that of cross entropy at the labels, never lies in memory. Where an index is out
of its range the run fails, as before: what is compared is read from an iota with that index.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.ir.dtype import INT32, INT64
from staticnet.ir.node import Node
from staticnet.ir.op import Op
from staticnet.ir.types import Shape
from staticnet.ir.value import Value
from staticnet.ops.arguments import NUMBERS
from staticnet.ops.arithmetic import Negative, add
from staticnet.ops.base import Elementwise, apply, constant
from staticnet.ops.comparison import Equal
from staticnet.ops.creation import Iota, iota
from staticnet.ops.indexing import (
    ScatterAddAlongAxis,
    TakeAlongAxis,
    scatter_add_along_axis,
    take_along_axis,
)
from staticnet.ops.movement import concat
from staticnet.ops.selection import Where, astype, where
from staticnet.ops.shape import Sum, broadcast_to, reshape, squeeze, sum
from staticnet.rewrite.pattern import EXACT, is_number, structural


def _along(x: Value) -> Value:
    """For the examples: x on one axis, which is not empty."""
    return concat([reshape(x, (-1,)), astype([1], x.dtype)])


def _one(x: Value) -> Value:
    """For the examples: the first element, or 1.  x: [*s] -> [1]"""
    return _along(x)[:1]


def _last() -> Value:
    return constant([-1], INT64)


@structural(TakeAlongAxis, lambda x: take_along_axis(-_along(x), _last(), 0), EXACT, NUMBERS)
def take_of_elementwise(node: Node) -> Value | None:
    """An element of an elementwise result is made of its operands': the others are not needed.

    What has one element along the axis is taken as it is. Something is indexed, which checks.
    """
    x, indices = node.inputs
    op, axis = _along_axis(node)
    if not isinstance(x.op, Elementwise) or x.op.where is not None or indices.shape[axis] != 1:
        return None
    if not any(_is_long(operand, axis - x.ndim) for operand in x.inputs):
        return None
    taken = [
        apply(op, broadcast_to(operand, x.shape), indices)
        if _is_long(operand, axis - x.ndim)
        else operand
        for operand in x.inputs
    ]
    return apply(x.op, *taken)


@structural(
    ScatterAddAlongAxis,
    lambda x: scatter_add_along_axis(_along(x), _last(), _one(x), 0),
    EXACT,
    NUMBERS,
)
def scatter_of_one(node: Node) -> Value | None:
    """One addition a row: where the place is the index, and nowhere else."""
    x, updates, indices = node.inputs
    _, axis = _along_axis(node)
    if indices.shape[axis] != 1:
        return None
    return where(_is_at(indices, x.shape, axis), add(x, updates), x)


@structural(
    Sum, lambda x: sum(_one_hot(_one(x)), dtype=x.dtype), EXACT, NUMBERS, domain="x is not -0.0"
)
def sum_of_one(node: Node) -> Value | None:
    """The sum of a row that has one element which may not be 0: that element."""
    op = node.op
    if not isinstance(op, Sum) or len(op.axes) != 1:
        return None
    (axis,) = op.axes
    value = _only(node.inputs[0], axis)
    if value is None or value.dtype != node.dtype:
        return None
    return value if op.keepdims else squeeze(value, axis)


def _one_hot(x: Value) -> Value:
    """For the example: x in a row of zeros.  x: [1] -> [3]"""
    return where(_is_at(_last(), (3,), 0), x, 0)


def _along_axis(node: Node) -> tuple[Op, int]:
    axis: int = node.op.attributes()["axis"]
    return node.op, axis


def _is_long(x: Node, axis: int) -> bool:
    """Whether x has more than one element along an axis, counted from the last."""
    return x.ndim >= -axis and x.shape[axis] != 1


def _is_at(indices: Any, shape: Shape, axis: int) -> Value:
    """Where the place along an axis is a row's index, which is checked and may be negative.

    indices: int, of length 1 along the axis -> bool [*shape]
    """
    length = shape[axis]
    short = isinstance(length, int) and length <= np.iinfo(np.int32).max
    places = iota(shape, axis, INT32 if short else INT64)
    return places == apply(TakeAlongAxis(axis), places, indices)


def _only(x: Node, axis: int) -> Value | None:
    """The element of a row that may not be 0, if there is one such: [.., 1, ..] along the axis."""
    if isinstance(x.op, Negative):
        value = _only(x.inputs[0], axis)
        return None if value is None else -value
    if not isinstance(x.op, Where):
        return None
    place, value, other = x.inputs
    is_zero = is_number(other, 0.0) or is_number(other, -0.0)
    if not is_zero or not _is_one_place(place, x, axis) or _is_long(value, axis - x.ndim):
        return None
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return broadcast_to(value, shape)


def _is_one_place(node: Node, x: Node, axis: int) -> bool:
    """Whether a condition is `_is_at` of some index, for each row of x."""
    if not isinstance(node.op, Equal) or node.shape != x.shape:
        return False
    places, index = node.inputs
    if not isinstance(places.op, Iota):
        places, index = index, places
    return (
        isinstance(places.op, Iota)
        and places.op.axis == axis
        and index.op == TakeAlongAxis(axis)
        and index.inputs[0] is places
    )


ONE_INDEX_RULES = (take_of_elementwise, scatter_of_one, sum_of_one)
