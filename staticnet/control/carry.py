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


def promoted(
    init: Any, first: Sequence[Node], after: Sequence[Node], within: str = ""
) -> list[Node] | None:
    """The first carries with Python's numbers of `init` in the dtypes that they go on in.

    None if all carries keep their types. `within` is the path to what the user carries.

    Raises:
        ShapeError, DTypeError: if one does not, and cannot.
    """
    given, tree = flatten(init)
    new: dict[int, Node] = {}
    for i, (a, b) in enumerate(zip(first, after, strict=True)):
        if a.type == b.type:
            continue
        if not is_weak(given[i]) or a.shape != b.shape:
            path = tree.paths[i].removeprefix(within)
            raise _changed(path, a, b, f", made on {b.provenance}")
        new[i] = constant(given[i], b.dtype)
    return [new.get(i, a) for i, a in enumerate(first)] if new else None


def _changed(path: str, a: Any, b: Any, made: str = "") -> ShapeError | DTypeError:
    differ = DTypeError if a.dtype != b.dtype else ShapeError
    return differ(
        f"the carry{path} begins as {describe(a)} and goes on as {describe(b)}{made}; it must keep "
        "its type: cast or reshape it in the function, or begin as what it becomes"
    )


class Kept:
    """Holds what is carried on tensors of dynamic execution to what it began as."""

    def __init__(self, init: Any, tree: Tree, first: Sequence[Any]) -> None:
        self.tree = tree
        self.first = first
        self.weak = [is_weak(x) for x in flatten(init)[0]]

    def check(self, carry: Any) -> Any:
        """A next carry; raises ArgumentError, ShapeError or DTypeError as for a graph's."""
        leaves, structure = flatten(carry)
        check_structure(self.tree, structure)
        for i, (a, b) in enumerate(zip(self.first, leaves, strict=True)):
            if not hasattr(b, "dtype"):
                continue  # a number of Python
            if a.shape != b.shape or (a.dtype != b.dtype and not self.weak[i]):
                raise _changed(self.tree.paths[i], a, b)
        return carry
