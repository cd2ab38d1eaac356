"""The graph that a user declares: values in, values out, and what becomes of the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from staticnet.control.state_updates import close_updates
from staticnet.errors import GraphError
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, topological
from staticnet.ir.value import Value
from staticnet.ops.state import Variable


def declare(
    name: str,
    inputs: Sequence[Value] | Value,
    outputs: Sequence[Value] | Value,
    updates: Mapping[Variable, Value] | Iterable[tuple[Variable, Value]] | None,
) -> Graph:
    """The graph of these, with the updates that stand in it and those of state that has its own.

    Raises:
        GraphError: if an input, output or update is no node, or the graph is not well formed.
    """
    ins, outs = _as_node_list(inputs, "input"), _as_node_list(outputs, "output")
    updates = _as_updates(updates)
    values = _as_node_list(list(updates.values()), "update")
    made, standing = close_updates([*outs, *values])
    outs, values = made[: len(outs)], made[len(outs) :]
    named: dict[Any, Any] = dict(zip(updates, values, strict=True))
    named |= {target: value for target, value in standing.items() if target not in named}
    pairs = _with_default_updates(outs, named)
    return Graph(name, ins, outs, tuple(pairs.items()))


def _as_node_list(values: Sequence[Value] | Value, what: str) -> list[Node]:
    """Nodes from one Value or several."""
    if not isinstance(values, Iterable):
        raise GraphError(f"an {what} must be a graph node, not {values!r:.60}")
    listed: list[Any] = [values] if isinstance(values, Value) else list(values)
    for value in listed:
        if not isinstance(value, Node):
            raise GraphError(f"an {what} must be a graph node, not {value!r:.60}")
    return listed


def _as_updates(updates: Any) -> dict[Any, Any]:
    """The variables' next values, of a dict or of pairs."""
    listed = updates.items() if isinstance(updates, Mapping) else updates
    pairs = [] if listed is None else [_several(pair) for pair in _several(listed)]
    for pair in pairs:
        if len(pair) != 2:
            raise GraphError(_no_updates(pair))
    return dict(pairs)


def _several(given: Any) -> list[Any]:
    if isinstance(given, Value | str) or not isinstance(given, Iterable):
        raise GraphError(_no_updates(given))
    return list(given)


def _no_updates(given: Any) -> str:
    return (
        f"updates must be variables with their next values, not {given!r:.60}: {{w: new}}, "
        "[(w, new)], or what minimize gives"
    )


def _with_default_updates(outputs: list[Node], updates: dict[Any, Any]) -> dict[Node, Node]:
    """`updates` and those of the state they and the outputs read."""
    while True:
        reached = topological([*outputs, *updates.values()])
        missing = {
            node: node.default_update
            for node in reached
            if isinstance(node, Variable)
            and node.default_update is not None
            and node not in updates
        }
        if not missing:
            return updates
        updates |= missing
