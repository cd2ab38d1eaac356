"""The graph transformations, one file each, and what a pass of your own is written with.

A pass is a function of a graph that gives another; `rebuild` maps every node, `keep` is what it
does by default, and a graph's nodes take all of staticnet's functions.
"""

from staticnet.passes.manager import Context, Pass, Record, run_passes
from staticnet.passes.rules import rules_pass
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import APPROXIMATES, EXACT, REASSOCIATES, Numerics, Rule

__all__ = [
    "APPROXIMATES",
    "EXACT",
    "REASSOCIATES",
    "Context",
    "Numerics",
    "Pass",
    "Record",
    "Rule",
    "keep",
    "rebuild",
    "rules_pass",
    "run_passes",
]
