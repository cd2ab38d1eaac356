"""What a loop carries from step to step: a tree that keeps its structure and its types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.node import Node, describe
from staticnet.ir.tree import Tree, flatten
from staticnet.ops.base import constant
from staticnet.ops.promotion import is_weak


def check_structure(before: Tree, after: Tree) -> None:
    """Raise ArgumentError if the carry changes its structure."""
    if before != after:
        raise ArgumentError(
            f"the carry begins as {before} and goes on as {after}; the function must give a carry "
            "of the structure that it takes"
        )


def promoted(init: Any, first: Sequence[Node], after: Sequence[Node]) -> list[Node] | None:
    """The first carries with Python's numbers of `init` in the dtypes that they go on in.

    None if all carries keep their types.

    Raises:
        ShapeError, DTypeError: if one does not, and cannot.
    """
    given, tree = flatten(init)
    new: dict[int, Node] = {}
    for i, (a, b) in enumerate(zip(first, after, strict=True)):
        if a.type == b.type:
            continue
        if not is_weak(given[i]) or a.shape != b.shape:
            differ = DTypeError if a.dtype != b.dtype else ShapeError
            raise differ(
                f"the carry{tree.paths[i]} begins as {describe(a)} and goes on as {describe(b)}, "
                f"made on {b.provenance}; it must keep its type: cast or reshape it in the "
                "function, or begin as what it becomes"
            )
        new[i] = constant(given[i], b.dtype)
    return [new.get(i, a) for i, a in enumerate(first)] if new else None
