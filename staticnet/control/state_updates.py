"""What becomes of updates that stand in a graph: they are taken out, and made one a variable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from staticnet.control.traced import substitute
from staticnet.errors import GraphError
from staticnet.ir import location, modes
from staticnet.ir.node import Node, build, describe, topological
from staticnet.ops.state import Variable
from staticnet.ops.with_update import REMEDY, WithUpdate, settle


class StateUpdate(NamedTuple):
    """`target` becomes `following`, which is made of `target` and `observed`."""

    target: Node
    observed: Node
    following: Node


def taken_out(
    roots: Sequence[Node], enters: Callable[[Node], bool] | None = None
) -> tuple[list[Node], list[StateUpdate], list[Node]]:
    """The roots without the updates that stand in them, the updates, and where they stood.

    Nodes that it does not enter stay as they are.
    """
    order = topological(roots, enters)
    standing = (n for n in order if isinstance(n.op, WithUpdate))
    places = dict.fromkeys(n for n in standing if enters is None or enters(n))
    if not places:
        return list(roots), [], []
    known: dict[Node, Node] = {}
    found: dict[StateUpdate, None] = {}
    for node in order:
        operands = tuple([known.get(operand, operand) for operand in node.inputs])
        if node in places:
            known[node], *rest = operands
            found[StateUpdate(*rest)] = None
        elif any(new is not old for new, old in zip(operands, node.inputs, strict=True)):
            with location.attributed(node.provenance):
                known[node] = build(node.op, operands)
            modes.stand_for(known[node], node)
    updates = sorted(found, key=lambda update: update.observed.number)
    return [known.get(root, root) for root in roots], updates, list(places)


def combined(updates: Iterable[StateUpdate]) -> dict[Variable, Node]:
    """Each variable's next value: of several updates one after another.

    Raises:
        GraphError: if what is updated is no variable.
    """
    last: dict[Variable, Node] = {}
    for target, _, following in updates:
        if not isinstance(target, Variable):
            raise GraphError(f"{describe(target)} is updated, and is no variable; {REMEDY}")
        values: dict[Node, Any] = {v: n for v, n in last.items() if v is not n}
        (made,) = substitute([following], values) if values else [following]
        assert isinstance(made, Node)
        last[target] = made
    return last


def updates_in(roots: Sequence[Node]) -> tuple[list[Node], dict[Variable, Node]]:
    """The roots without the updates that stand in them, and each variable's next value."""
    new, updates, _ = taken_out(roots)
    return new, combined(updates)


def close_updates(roots: Sequence[Node]) -> tuple[list[Node], dict[Variable, Node]]:
    """`updates_in`, for a graph that is closed with them."""
    new, updates, places = taken_out(roots)
    settle(places)
    return new, combined(updates)
