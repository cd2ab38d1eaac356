"""What every pass has to keep of a graph: how it is called, and what it gives and updates."""

from __future__ import annotations

from typing import Any

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, describe


def broken_interface(before: Graph, after: Any) -> str:
    """What a graph does that does not stand for `before`; "" if it does.

    It must have the same inputs, outputs of the same types, and every update, but for those that
    give a variable its own value back. New variables may be updated, known ones not.
    """
    if not isinstance(after, Graph):
        return f"must return a Graph, not {after!r:.60}"
    if after is before:
        return ""
    checks = (_inputs, _outputs, _updates, _symbols)
    return next(filter(None, (check(before, after) for check in checks)), "")


def _inputs(before: Graph, after: Graph) -> str:
    if after.inputs == before.inputs:
        return ""
    old, new = (", ".join(map(describe, graph.inputs)) or "none" for graph in (before, after))
    return f"changes the inputs from {old} to {new}; give the new graph the old one's inputs"


def _outputs(before: Graph, after: Graph) -> str:
    if len(after.outputs) != len(before.outputs):
        return f"makes {len(after.outputs)} outputs of {len(before.outputs)}"
    for i, (old, new) in enumerate(zip(before.outputs, after.outputs, strict=True)):
        if old.type != new.type:
            return (
                f"changes the type of output {i} from {old.type} to {new.type}: {describe(old)} "
                f"({old.provenance}) became {describe(new)}"
            )
    return ""


def _updates(before: Graph, after: Graph) -> str:
    kept = dict(after.updates)
    for target, value in before.updates:
        if target not in kept and target is not value:
            return f"drops the update of {_variable(target)}"
    only_read = set(before.variables) - dict(before.updates).keys()
    for target in kept:
        if target in only_read:
            return f"updates {_variable(target)}, which the graph only reads"
    return ""


def _symbols(before: Graph, after: Graph) -> str:
    new = after.symbols - before.symbols
    return f"brings in the symbolic dims {sorted(new)}, which the graph does not have" * bool(new)


def _variable(target: Node) -> str:
    return f"the variable {describe(target)} ({target.provenance})"
