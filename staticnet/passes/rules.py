"""Passes made of rewrite rules: the graph in their normal form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.graph import Graph
from staticnet.ir.location import Location, user_line
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import rewrite
from staticnet.rewrite.pattern import APPROXIMATES, EXACT, Rule


def rules_pass(name: str, rules: Iterable[Rule], where: Location | None = None) -> Pass:
    """A pass that applies rules at every node until none fires; exact compilation uses exact ones.

    `where` is the line that it is known by, the caller's if none is given.

    Raises:
        ArgumentError: if there is no rule, or something else.
    """
    held: tuple[Any, ...] = tuple(rules)
    for rule in held:
        if not isinstance(rule, Rule):
            raise ArgumentError(
                f"rules_pass {name}: {rule!r:.60} is no rule; make one with sn.rule"
            )
    if not held:
        raise ArgumentError(f"rules_pass {name}: there is no rule")

    def run(graph: Graph, context: Context) -> Graph:
        exact = context.numerics == "exact"
        return rewrite(graph, [r for r in held if r.is_exact or not exact], name, context.notes)

    numerics = EXACT if all(rule.is_exact for rule in held) else APPROXIMATES
    return Pass(name, run, numerics, selects=True, where=where or user_line(), rules=held)
