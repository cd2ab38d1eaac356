"""Sequences and optional values: lists of values, of lengths known while graphs are built."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator


@operator("SequenceConstruct")
def construct(call: Call, *xs: Any) -> Any:
    """A sequence of the operands."""
    return (list(xs),)


@operator("SequenceEmpty")
def empty(call: Call) -> Any:
    """A sequence of nothing."""
    return ([],)


@operator("SequenceLength")
def length(call: Call, xs: Any) -> Any:
    """How many elements there are."""
    return sn.constant(np.int64(len(xs)))


@operator("SequenceAt")
def at(call: Call, xs: Any, position: Any) -> Any:
    """The element at a position, which may count from the end."""
    return xs[_position(call, position, len(xs), len(xs))]


@operator("SequenceInsert")
def insert(call: Call, xs: Any, x: Any, position: Any = None) -> Any:
    """The sequence with an element more, before a position or at the end."""
    place = len(xs) if position is None else _position(call, position, len(xs), len(xs) + 1)
    return ([*xs[:place], x, *xs[place:]],)


@operator("SequenceErase")
def erase(call: Call, xs: Any, position: Any = None) -> Any:
    """The sequence without an element: that at a position, or the last."""
    place = len(xs) - 1 if position is None else _position(call, position, len(xs), len(xs))
    return (xs[:place] + xs[place + 1 :],)


def _position(call: Call, position: Any, count: int, end: int) -> int:
    (place,) = call.sizes(position, "the position")
    if not isinstance(place, int) or not -count <= place < end:
        call.fail(f"position {place} is not in a sequence of {count}")
    return place + count if place < 0 else place


@operator("SplitToSequence")
def split(call: Call, x: Any, sizes: Any = None) -> Any:
    """Parts along an axis, each of a length or, without any, each element."""
    axis = call.axis(x.ndim)
    total = x.shape[axis]
    if not isinstance(total, int):
        call.fail(f"the axis {axis} has the length {total}, which is not known")
    if sizes is None:
        parts = sn.split(x, [1] * total, axis=axis) if total else []
        keep = call.integer("keepdims", 1)
        return (parts if keep else [sn.squeeze(part, axis) for part in parts],)
    lengths = call.sizes(sizes, "the lengths")
    if call.known(sizes, "the lengths").ndim == 0:
        each = lengths[0]
        lengths = [min(each, total - start) for start in range(0, total, each)]
    return (sn.split(x, lengths, axis=axis),)


@operator("ConcatFromSequence")
def concat(call: Call, xs: Any) -> Any:
    """The elements one after the other along an axis, or side by side along a new one."""
    if call.flag("new_axis"):
        return sn.stack(list(xs), axis=call.place(call.integer("axis"), xs[0].ndim + 1))
    return sn.concat(list(xs), axis=call.axis(xs[0].ndim))


@operator("SequenceMap")
def map_(call: Call, xs: Any, *others: Any) -> Any:
    """The results of a graph on each element, as sequences."""
    body, rows = call.graph("body"), []
    for i, x in enumerate(xs):
        own = [each[i] if isinstance(each, list) else each for each in others]
        rows.append(call.execution.body(body, [x, *own], call.scope))
    if not rows:
        return tuple([] for _ in body.outputs)
    return tuple(list(column) for column in zip(*rows, strict=True))


@operator("Optional")
def optional(call: Call, x: Any = None) -> Any:
    """x, or nothing."""
    return (x,)


@operator("OptionalHasElement")
def has_element(call: Call, x: Any = None) -> Any:
    """Whether there is a value."""
    return sn.constant(np.bool_(x is not None))


@operator("OptionalGetElement")
def get_element(call: Call, x: Any) -> Any:
    """The value that there is."""
    return call.fail("the optional value is not there") if x is None else (x,)
