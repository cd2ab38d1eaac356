"""`keep_casts`: the 16-bit value of a weight is state, which the weight's own update writes.

Products in 16 bits have a step begin with a cast of each weight: it reads four bytes an element and
writes two. Where the step updates the weight, the next value is in a register of the update's
kernel, and its cast is two bytes more to write there. So `cast(w)` becomes a variable whose update
is the cast of w's, and a step reads two bytes. Each product has the bits that it had.

The variable has w for its `origin`. It holds what this graph's steps wrote; before a step after w
was set from the host or updated by another function, the executable makes it again. See
docs/adr/0015.
"""

from __future__ import annotations

from staticnet.ir import location
from staticnet.ir.dtype import HALVES
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.selection import Cast
from staticnet.ops.state import Variable, copy_of
from staticnet.passes.manager import Context, Pass
from staticnet.passes.precision import cast
from staticnet.rewrite.driver import keep, rebuild

NAME = "keep_casts"


def keep_casts(graph: Graph, context: Context) -> Graph:
    """The graph in which casts to 16 bits of variables that it updates are variables."""
    if not context.keeps_casts:
        return graph
    updated = {target for target, value in graph.updates if value is not target}
    copies = {
        node: _copy(node)
        for node in graph.nodes
        if isinstance(node.op, Cast) and node.dtype in HALVES and node.inputs[0] in updated
    }
    if not copies:
        return graph
    context.notes["kept casts"] += len(copies)

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        return copies[node] if node in copies else keep(node, inputs)

    rebuilt = rebuild(graph, NAME, replace)
    following = dict(rebuilt.updates)
    updates = list(rebuilt.updates)
    for node, copy in copies.items():
        with location.attributed(node.provenance._replace(made_by=NAME)):
            updates.append((copy, cast(following[node.inputs[0]], copy.dtype)))
    return Graph(rebuilt.name, list(rebuilt.inputs), list(rebuilt.outputs), tuple(updates))


def _copy(node: Node) -> Variable:
    """The variable that a cast of a variable becomes."""
    (origin,) = node.inputs
    assert isinstance(origin, Variable)
    with location.attributed(node.provenance._replace(made_by=NAME)):
        return copy_of(origin, node.dtype)


KEEP_CASTS = Pass(NAME, keep_casts)
