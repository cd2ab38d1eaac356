"""The protocol of a source: what its batches look like, and an epoch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from staticnet.errors import ArgumentError, StaticnetError
from staticnet.function import Function
from staticnet.ir.dtype import DType
from staticnet.ir.tree import Tree, flatten
from staticnet.ops.promotion import as_array

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layout:
    """What a batch is: inputs and targets as trees, each leaf's dtype and an example's shape."""

    inputs: Tree
    targets: Tree
    types: tuple[tuple[DType, tuple[int, ...]], ...]

    @classmethod
    def of(cls, batch: Any) -> tuple[Layout, list[Array]]:
        """The layout of a pair of trees, and its leaves as arrays.

        Raises:
            ArgumentError: if it is no pair, or a leaf has no axis of examples.
        """
        inputs, targets = map(_without_numbers, batch)
        leaves, tree = flatten(inputs)
        more, target_tree = flatten(targets)
        arrays = [_as_leaf(leaf) for leaf in (*leaves, *more)]
        types = tuple((x.dtype, tuple(x.shape[1:])) for x in arrays)
        return cls(tree, target_tree, types), arrays

    def of_inputs(self) -> Layout:
        """That of the inputs alone."""
        return Layout(self.inputs, flatten(None)[1], self.types[: self.inputs.leaves])

    @property
    def names(self) -> list[str]:
        """A placeholder's name for each leaf: `x`, `x_1`, `y`, or a dict's key."""
        found: list[str] = []
        for letter, tree in (("x", self.inputs), ("y", self.targets)):
            for number in range(tree.leaves):
                key = tree.keys[number] if len(tree.keys) == tree.leaves else None
                plain = letter if tree.leaves == 1 else f"{letter}_{number}"
                named = isinstance(key, str) and key.isidentifier() and key not in found
                found.append(str(key) if named else plain)
        return found

    def __str__(self) -> str:
        shown = (
            f"{name} {dtype}[n{''.join(f',{n}' for n in shape)}]"
            for name, (dtype, shape) in zip(self.names, self.types, strict=True)
        )
        return ", ".join(shown)


def _without_numbers(tree: Any) -> Any:
    """The tree with lists of numbers as arrays; a list of arrays stays one of several inputs."""
    if isinstance(tree, list) and not any(hasattr(x, "ndim") for x in tree[:1]):
        return _as_leaf(tree)
    return tree


def _as_leaf(leaf: Any) -> Array:
    """A leaf as an array with examples along its first axis, uncopied where it is one."""
    try:
        array = as_array(leaf)
    except (StaticnetError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"data: {type(leaf).__name__} is no array of examples: {error}; convert it to numbers"
        ) from None
    if not array.ndim:
        raise ArgumentError(f"data: {leaf!r:.60} is one number, and must have an axis of examples")
    return array


@dataclass(frozen=True)
class Plan:
    """Which epoch is asked for: its number from 0, and how its batches are made.

    `skip` batches were made before: by a run that goes on here.
    """

    number: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False
    skip: int = 0


def on_host(output: Any) -> Array:
    """What a step gave, as NumPy's array: a GPU's is waited for and copied."""
    return np.asarray(output.get() if hasattr(output, "get") else output)


class Epoch(Protocol):
    """The batches of an epoch, run by a function many at a time."""

    total: int | None  # batches of the whole epoch, where that is known

    def run(self, function: Function, most: int) -> tuple[list[Array], Array] | None:
        """At most so many steps: each output, stacked, and each step's examples; None at the end.

        Raises:
            DataError: if a record cannot be read; names its file and place.
        """
        ...

    def close(self) -> None:
        """Let go of what reads ahead."""
        ...


class Source(Protocol):
    """Examples, and what a batch of them looks like.

    `examples` is their number, None where only an end tells. `exact` is whether an epoch's order
    depends on the plan alone, so that a run resumed within it sees what it would have seen.
    """

    exact: bool

    @property
    def examples(self) -> int | None:
        """How many there are."""
        ...

    @property
    def layout(self) -> Layout:
        """What a batch is."""
        ...

    def epoch(self, plan: Plan) -> Epoch:
        """The batches of an epoch."""
        ...

    def inputs(self) -> Source:
        """The inputs alone."""
        ...


def integers_of(layout: Layout, arrays: Sequence[Array], rows: Array | None = None) -> str:
    """Where the least and the greatest of an array's integers stand: one of them is out of range.

    Without any, that the index was computed.

    rows: the records that arrays hold, in their order; by default from 0 on
    """
    told = []
    for name, x in zip(layout.names, arrays, strict=True):
        if x.dtype.kind in "iu" and x.size:
            flat = x.reshape(len(x), -1)
            ends = [(flat.min(1).argmin(), flat.min()), (flat.max(1).argmax(), flat.max())]
            low, high = (f"{v} in record {i if rows is None else rows[i]}" for i, v in ends)
            told.append(f"{name} goes from {low} to {high}")
    return "; ".join(told) or "it was computed, as the data holds no integers"


def length_of(arrays: Sequence[Array], names: Sequence[str], empty: bool = False) -> int:
    """The number of examples.

    Raises:
        ArgumentError: if arrays differ in it, or there are none and `empty` does not allow it.
    """
    lengths = {name: len(x) for name, x in zip(names, arrays, strict=True)}
    if not lengths:
        raise ArgumentError("data: there are no arrays")
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ArgumentError(f"data: arrays must have one number of examples: {shown}")
    (count,) = set(lengths.values())
    if not count and not empty:
        raise ArgumentError("data: there are no examples")
    return count
