"""`sn.vmap`: a function of one example, made one of many examples at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from staticnet.control.batching import batch_nodes
from staticnet.control.trace import call, flattened, is_eager, parameters, some, tensors_of
from staticnet.errors import (
    ArgumentError,
    MixedValueError,
    OutOfRangeError,
    ShapeError,
    StaticnetError,
)
from staticnet.ir import location
from staticnet.ir.dim import Dim, integer
from staticnet.ir.dtype import INT64
from staticnet.ir.node import Node, describe, with_context
from staticnet.ir.tree import Tree, spread_prefix
from staticnet.ir.types import TensorType
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.arguments import normalize_axis
from staticnet.ops.base import as_value, function
from staticnet.ops.batching import spread
from staticnet.ops.creation import arange
from staticnet.ops.movement import moveaxis, stack
from staticnet.ops.random import indexed


@function
def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """g with g(x)[i] = f(x[i]): f for many examples, computed at once, as if by a loop over them.

    `in_axes` says for each argument of g along which axis its examples lie: an int, None for what
    all of them share, or a tree of these where the argument is one; one int is for all arguments.
    Arguments given by name lie along axis 0. `out_axes` says it of what g gives, where None is
    allowed for what is equal for all examples. f may hold `grad`, loops and other `vmap`s, and is
    called once, on nodes; on tensors of dynamic execution, once for each example.

    A random key is an argument like any other: a shared one draws the same numbers for each
    example, `split` and `fold_in` make some that differ. Layers that draw, as dropout, draw anew
    for each example.

    x: [.., B, ..] -> y: [.., B, ..], where f: [*s] -> [*t]

    Raises:
        ShapeError: if arguments hold different numbers of examples.
        OutOfRangeError: if one has no such axis.
        ArgumentError: if no argument is mapped, axes do not fit arguments or results, or out_axes
            is None for a result that differs by example.
    """
    if not callable(f):
        raise ArgumentError(f"takes a function, not {f!r:.60}")
    f = guarded("vmap: f", f)

    @functools.wraps(f)
    def batched(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flattened("vmap", (args, kwargs))
        axes = axes_of(in_axes, tree.children[0], "in_axes", "the arguments")
        given = _Examples.of(leaves, [*axes, *[0] * tree.children[1].leaves], tree)
        if is_eager(given.leaves):
            return _loop(f, given, out_axes)
        stand_ins = given.stand_ins()
        (at,) = parameters("example", [TensorType(INT64, ())])
        try:
            with indexed(at):
                own_args, own_kwargs = tree.unflatten(stand_ins)
                results, structure = call("vmap", lambda: some("vmap", f(*own_args, **own_kwargs)))
        except MixedValueError:  # f uses tensors of its own
            return _loop(f, replace(given, leaves=tensors_of(given.leaves)), out_axes)
        known = given.many(stand_ins) | {at: arange(given.size)}
        wanted = axes_of(out_axes, structure, "out_axes", "the result")
        rows = zip(results, batch_nodes(results, known, given.size), wanted, strict=True)
        return structure.unflatten([_placed(y, ys, given.size, axis) for y, ys, axis in rows])

    return batched


def axes_of(prefix: Any, tree: Tree, name: str, what: str) -> list[int | None]:
    """For each leaf of a tree its entry in `prefix`, in which an entry may stand for a whole tree.

    Raises:
        ArgumentError: if the two differ in structure.
    """
    entries = spread_prefix(prefix, tree, _is_axis)
    if entries is not None and all(map(_is_axis, entries)):
        return [integer(entry) for entry in entries]
    raise ArgumentError(
        f"vmap: {name}={prefix!r:.60} does not fit {what}, {tree!s:.60}: it is an int, None, or a "
        f"tree of these of the same structure ({location.user_line()})"
    )


def _is_axis(entry: Any) -> bool:
    return entry is None or integer(entry) is not None


@dataclass(frozen=True)
class _Examples:
    """The arguments' leaves, along which axis of each its examples lie, and how many those are."""

    leaves: list[Any]
    axes: list[int | None]
    tree: Tree
    size: int | Dim

    @classmethod
    def of(cls, leaves: Sequence[Any], axes: Sequence[int | None], tree: Tree) -> _Examples:
        """These arguments, checked; raises as `vmap` says."""
        try:
            values = [x if i is None else as_value(x) for x, i in zip(leaves, axes, strict=True)]
            places = [_axis(x, axis) for x, axis in zip(values, axes, strict=True)]
            return cls(values, places, tree, _size(values, places))
        except StaticnetError as error:
            raise with_context(error, "vmap", []) from error.__cause__

    @property
    def rows(self) -> Iterator[tuple[Any, int | None]]:
        """Each leaf with its axis."""
        return zip(self.leaves, self.axes, strict=True)

    def stand_ins(self) -> list[Any]:
        """For each mapped leaf a placeholder of one example, and the others as they are."""
        return [x if axis is None else _stand_in(x, axis) for x, axis in self.rows]

    def many(self, stand_ins: Sequence[Any]) -> dict[Node, Value]:
        """For each of those placeholders all examples, along the first axis."""
        pairs = zip(stand_ins, self.rows, strict=True)
        return {one: moveaxis(x, axis, 0) for one, (x, axis) in pairs if axis is not None}


def _axis(x: Any, axis: int | None) -> int | None:
    try:
        return axis if axis is None else normalize_axis(axis, x.ndim)
    except OutOfRangeError:
        raise OutOfRangeError(
            f"in_axes says {axis} of {describe(x)}, which has {x.ndim} axes; None is for what all "
            "examples share"
        ) from None


def _size(values: Sequence[Any], axes: Sequence[int | None]) -> int | Dim:
    """The number of examples; raises ArgumentError or ShapeError if there is no single one."""
    mapped = [(x, axis) for x, axis in zip(values, axes, strict=True) if axis is not None]
    if not mapped:
        raise ArgumentError(
            "no argument is mapped, so there is no number of examples; in_axes needs an int for "
            "one that holds arrays"
        )
    first: int | Dim = mapped[0][0].shape[mapped[0][1]]
    if any(x.shape[axis] != first for x, axis in mapped):
        listed = ", ".join(f"{describe(x)} has {x.shape[i]} along axis {i}" for x, i in mapped)
        raise ShapeError(
            f"the numbers of examples differ: {listed}; in_axes=None is for what all share"
        )
    return first


def _stand_in(x: Any, axis: int) -> Node:
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    (node,) = parameters("example", [TensorType(x.dtype, shape)])
    node.name = getattr(x, "name", "") or node.name
    return node


def _placed(y: Node, ys: Value | None, size: int | Dim, axis: int | None) -> Value:
    """A result with the examples along the axis that out_axes asks for."""
    try:
        if axis is None:
            if ys is not None:
                raise ArgumentError(
                    f"out_axes is None for {describe(y)} ({y.provenance}), which differs by example"
                )
            return y
        place = normalize_axis(axis, y.ndim + 1, "out_axes")
        many: Value = spread(size, False, y) if ys is None else ys
        return moveaxis(many, 0, place)
    except StaticnetError as error:
        raise with_context(error, "vmap", []) from error.__cause__


def _loop(f: Callable[..., Any], given: _Examples, out_axes: Any) -> Any:
    """f of each example, on tensors of dynamic execution; of none, as it is of zeros."""
    owner = next((x for x in given.leaves if is_eager([x])), None)
    lift = np.asarray if owner is None else owner.lift
    size = int(given.size)
    leaves = [x if axis is None else _some(x, axis, lift) for x, axis in given.rows]
    results = []
    for number in range(max(size, 1)):
        rows = zip(leaves, given.axes, strict=True)
        args, kwargs = given.tree.unflatten([_taken(x, axis, number) for x, axis in rows])
        results.append(flattened("vmap", some("vmap", f(*args, **kwargs))))
    structure = results[0][1]
    wanted = axes_of(out_axes, structure, "out_axes", "the result")
    columns = zip(*(leaves for leaves, _ in results), strict=True)
    pairs = zip(columns, wanted, strict=True)
    return structure.unflatten([_stacked(column, size, axis) for column, axis in pairs])


def _some(x: Any, axis: int, lift: Callable[[Any], Any]) -> Any:
    """x itself, or one example of zeros where it has none."""
    if x.shape[axis]:
        return lift(x)
    return lift(np.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype))


def _taken(x: Any, axis: int | None, number: int) -> Any:
    return x if axis is None else x[(slice(None),) * axis + (number,)]


def _stacked(column: Sequence[Any], size: int, axis: int | None) -> Any:
    """The results of all examples along an axis, or the one that is all of theirs."""
    if axis is not None:
        y = stack(column, axis)
        return y if size else y[(slice(None),) * normalize_axis(axis, y.ndim) + (slice(0, 0),)]
    first, *others = (np.asarray(y) for y in column)
    if not all(np.array_equal(first, y, equal_nan=True) for y in others):
        raise ArgumentError(
            f"vmap: out_axes is None for {describe(column[0])}, which differs by example "
            f"({location.user_line()})"
        )
    return column[0]
