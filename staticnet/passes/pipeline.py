"""A pipeline as a user writes it: passes, rules and plain functions, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.passes.manager import Pass
from staticnet.passes.rules import rules_pass
from staticnet.rewrite.pattern import Rule


def as_passes(passes: Any) -> tuple[Pass, ...]:
    """A pipeline of what a user gives: passes, rules, or functions of a graph, under their names.

    Raises:
        ArgumentError: if it is no sequence of those, or two of them have one name.
    """
    if not isinstance(passes, Sequence) or isinstance(passes, str):
        raise ArgumentError(f"passes must be a sequence of passes, not {passes!r:.60}")
    made = tuple(map(_as_pass, passes))
    for name, count in Counter(p.name for p in made).items():
        if count > 1:
            twins = " and ".join(str(p) for p in made if p.name == name)
            raise ArgumentError(f"passes: {count} of them are named {name!r}: {twins}")
    return made


def _as_pass(given: Any) -> Pass:
    if isinstance(given, Pass):
        return given
    if isinstance(given, Rule):
        return rules_pass(given.name, [given], given.where)
    if not callable(given) or not hasattr(given, "__name__"):
        raise ArgumentError(
            f"passes: {given!r:.60} is neither an sn.Pass, nor a rule, nor a function of a graph"
        )
    return Pass(given.__name__, given)
