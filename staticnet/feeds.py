"""What a function is fed: checked against its placeholders before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from staticnet.errors import FeedError, StaticnetError
from staticnet.ir.dim import Dim, substitute
from staticnet.ir.dtype import kind
from staticnet.ir.node import Node
from staticnet.ops.promotion import adapted


def order_feeds(inputs: Sequence[Node], args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """Positional and named feeds in the inputs' order.

    Raises:
        FeedError: on a missing, extra, unknown or doubled feed.
    """
    names = [node.name for node in inputs]
    if len(args) > len(names):
        raise FeedError(f"{len(args)} feeds for {len(names)} placeholders ({', '.join(names)})")
    feeds = dict(zip(names, args, strict=False))
    for name, feed in named.items():
        if name not in names:
            raise FeedError(f"no placeholder is named {name!r}; there are {', '.join(names)}")
        if name in feeds:
            raise FeedError(f"the placeholder {name!r} is fed twice, by position and by name")
        feeds[name] = feed
    for node in inputs:
        if node.name not in feeds:
            raise FeedError(f"{_show(node)} is not fed")
    return [feeds[name] for name in names]


def _show(node: Node) -> str:
    return f"the placeholder {node.name}: {node.type}, declared on {node.provenance},"


def convert(
    node: Node, feed: Any, adopt: Callable[[Any], Any] = lambda feed: None
) -> np.ndarray[Any, Any]:
    """A feed as an array of the placeholder's dtype and rank.

    Arrays must have the dtype, or a narrower one of its kind; numbers and lists adapt.
    `adopt` gives a feed that lies in a device's memory as an array there, and None for any other.

    Raises:
        FeedError: naming the placeholder and the line that declared it.
    """
    if isinstance(feed, np.generic) and feed.dtype == node.dtype and not node.ndim:
        return np.asarray(feed)  # what follows would give the same, five times as late
    if isinstance(feed, Mapping):
        raise FeedError(f"{_show(node)} is fed a dict; feed arrays by name: f(**feeds)")
    try:
        array = adopt(feed)
        if array is None:
            array = adapted(feed, node.dtype)
    except StaticnetError as error:
        raise FeedError(f"{_show(node)} is fed {type(feed).__name__}: {error}") from None
    if array.dtype != node.dtype:
        widens = np.can_cast(array.dtype, node.dtype, "safe")
        if kind(array.dtype) != kind(node.dtype) or not widens:
            raise FeedError(
                f"{_show(node)} is fed {array.dtype}; convert it with .astype({node.dtype.name!r})"
            )
        array = array.astype(node.dtype)
    if array.ndim != node.ndim:
        raise FeedError(f"{_show(node)} is fed an array of {array.ndim} axes: {list(array.shape)}")
    return array


def bind_dims(inputs: Sequence[Node], arrays: Sequence[Any]) -> dict[str, int]:
    """The numbers that the feeds' shapes give the symbolic dims.

    Raises:
        FeedError: if a fixed dim differs, or two feeds disagree about a symbolic one.
    """
    found: dict[str, tuple[int, Node]] = {}
    derived: list[tuple[Node, int, Dim, int]] = []
    for node, array in zip(inputs, arrays, strict=True):
        for axis, (dim, length) in enumerate(zip(node.shape, array.shape, strict=True)):
            if isinstance(dim, int):
                if dim != length:
                    raise FeedError(
                        f"{_show(node)} is fed an array of shape {list(array.shape)}: "
                        f"axis {axis} must be {dim}"
                    )
            elif str(dim).isidentifier():
                _bind(found, str(dim), length, node)
            else:
                derived.append((node, axis, dim, length))
    for node, axis, dim, length in derived:
        _check_derived(found, node, axis, dim, length)
    return {name: length for name, (length, _) in found.items()}


def _bind(found: dict[str, tuple[int, Node]], name: str, length: int, node: Node) -> None:
    known, other = found.setdefault(name, (length, node))
    if known != length:
        raise FeedError(
            f"the dimension {name} is {length} in {_show(node)} but {known} in {_show(other)[:-1]}"
        )


def _check_derived(
    found: dict[str, tuple[int, Node]], node: Node, axis: int, dim: Dim, length: int
) -> None:
    """Check `2*batch + 1 == length`, solving it if one unknown is left and it is linear."""
    unknown = dim.symbols - found.keys()
    values = {name: value for name, (value, _) in found.items()}
    if len(unknown) == 1:
        (name,) = unknown
        at: list[Any] = [substitute(dim, values | {name: x}) for x in (0, 1, 2)]
        offset, slope = at[0], at[1] - at[0]
        if at[2] - at[1] == slope != 0 and (length - offset) % slope == 0:
            _bind(found, name, (length - offset) // slope, node)
            return
    if unknown or substitute(dim, values) != length:
        raise FeedError(f"{_show(node)} is fed {length} on axis {axis}, which must be {dim}")
