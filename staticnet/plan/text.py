"""The text of a plan: which nodes share a kernel."""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.ir.printer import format_graph, value_names
from staticnet.plan.fusion import Fusion


def format_groups(graph: Graph) -> str:
    """The graph's text with a comment at each node that a kernel or routine makes.

    Comments are not read back, so `sn.parse` gives the graph again. Nodes without one are not made
    at all: they are looked through, or written into the expressions that use them.

    Raises:
        ShapeError: if a dim is symbolic; give it a number.
    """
    fusion = Fusion(graph)
    alive = [group for group in fusion.groups if group.nodes]
    number = {group: i for i, group in enumerate(alive)}
    names = value_names(graph)
    notes = {}
    for node, group in fusion.group_of.items():
        space = ",".join(map(str, group.domain))
        notes[f"%{names[node]}:"] = f"// step {number[group]}: {group.kind} [{space}]"
    lines = []
    for line in format_graph(graph).splitlines():
        note = notes.get(line.split()[0]) if line.startswith("  %") else None
        lines += [f"  {note}", line] if note else [line]
    return "\n".join(lines)
