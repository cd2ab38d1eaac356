"""Trees of tuples, lists and dicts: `flatten` gives the leaves, and what puts such leaves back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.errors import ArgumentError


@dataclass(frozen=True)
class Tree:
    """The structure around leaves, compared by value.

    `kind` is the container's class, None for a leaf; `keys` are a dict's, in order. None is a tree
    without leaves, as in JAX.
    """

    kind: type | None
    children: tuple[Tree, ...] = ()
    keys: tuple[Any, ...] = ()

    @property
    def leaves(self) -> int:
        """How many leaves it holds."""
        return 1 if self.kind is None else sum(child.leaves for child in self.children)

    @property
    def paths(self) -> list[str]:
        """Where each leaf lies: `[0]['w']`, or nothing for a single one."""
        if self.kind is None:
            return [""]
        names = self.keys or range(len(self.children))
        pairs = zip(names, self.children, strict=True)
        return [f"[{name!r}]{path}" for name, child in pairs for path in child.paths]

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The tree of these leaves.

        Raises:
            ArgumentError: if there are more or fewer than it holds.
        """
        if len(leaves) != self.leaves:
            raise ArgumentError(f"the tree {self} holds {self.leaves} leaves, not {len(leaves)}")
        return self._unflatten(iter(leaves))

    def _unflatten(self, leaves: Any) -> Any:
        if self.kind is None:
            return next(leaves)
        if self.kind is type(None):
            return None
        values = [child._unflatten(leaves) for child in self.children]
        kind: Any = self.kind
        if issubclass(kind, dict):
            return kind(zip(self.keys, values, strict=True))
        return kind(*values) if hasattr(kind, "_fields") else kind(values)

    def __str__(self) -> str:
        """`(*, {'a': *})`, with a star for each leaf."""
        if self.kind is None:
            return "*"
        return str(self.unflatten([_STAR] * self.leaves))


class _Star:
    def __repr__(self) -> str:
        return "*"


_STAR = _Star()
LEAF = Tree(None)


def flatten(tree: Any) -> tuple[list[Any], Tree]:
    """The leaves of a tree in a fixed order, and its structure; a dict's in the order of its keys.

    An OrderedDict's are in its own order, as in JAX. Whatever is no tuple, list, dict or None is a
    leaf.

    Raises:
        ArgumentError: if a dict's keys cannot be put in order.
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Tree:
    kind = type(tree)
    if tree is None:
        return Tree(kind)
    if isinstance(tree, dict):
        kind = kind if kind is OrderedDict else dict
        keys = tuple(tree) if kind is OrderedDict else _in_order(tree)
        return Tree(kind, tuple(_flatten(tree[key], leaves) for key in keys), keys)
    if hasattr(kind, "_fields"):  # a named tuple, or what is like one
        fields = [getattr(tree, name) for name in kind._fields]
        return Tree(kind, tuple(_flatten(child, leaves) for child in fields))
    if isinstance(tree, tuple | list):
        return Tree(kind, tuple(_flatten(child, leaves) for child in tree))
    leaves.append(tree)
    return LEAF


def _in_order(tree: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(tree))
    except TypeError:
        raise ArgumentError(
            f"the keys {list(tree)!r:.60} of a dict in a tree cannot be put in order"
        ) from None


def spread_prefix(prefix: Any, tree: Tree, stands: Callable[[Any], bool]) -> list[Any] | None:
    """For each leaf of a tree its entry in `prefix`; None if the two differ in structure.

    What `stands` for a whole tree is the entry of each of its leaves. A list may be given for a
    tuple, and a dict's keys in any order.
    """
    if tree == LEAF or stands(prefix):
        return [prefix] * tree.leaves
    entries = _entries(prefix, tree)
    if entries is None:
        return None
    found: list[Any] = []
    for entry, child in zip(entries, tree.children, strict=True):
        below = spread_prefix(entry, child, stands)
        if below is None:
            return None
        found += below
    return found


def _entries(prefix: Any, tree: Tree) -> list[Any] | None:
    """What a prefix has for each child of a tree; None if it is no such container."""
    keyed = tree.kind is not None and issubclass(tree.kind, dict)
    if keyed and isinstance(prefix, dict) and set(prefix) == set(tree.keys):
        return [prefix[key] for key in tree.keys]
    listed = not keyed and isinstance(prefix, tuple | list)
    return list(prefix) if listed and len(prefix) == len(tree.children) else None


def map_tree(f: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with f of each leaf."""
    leaves, structure = flatten(tree)
    return structure.unflatten([f(leaf) for leaf in leaves])
