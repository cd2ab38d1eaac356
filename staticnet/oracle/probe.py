"""`Function.probe`: one node's value as it is declared, beside the value in the compiled program.

The reference is the slice of the declared graph that computes the node, on the NumPy backend. The
other value comes from the compiled program with the node as one more output and with the updates'
values as outputs: so its kernels are the step's own, and nothing is updated. Both run on copies of
the variables, random counters included: a dropout has the mask that the next step draws. No
variable is written, so other threads may set them or run steps meanwhile; what is copied during a
step of theirs may be partly older than it and partly newer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from staticnet.backends.numpy import NumpyExecutable
from staticnet.compilation import Compilation
from staticnet.errors import GraphError
from staticnet.feeds import bind_dims
from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, describe
from staticnet.ir.shown import Shown, Table
from staticnet.ops.base import Constant
from staticnet.ops.state import Variable
from staticnet.oracle.difference import most_apart, most_ulps
from staticnet.passes.infer_shape import specialize
from staticnet.plan.plan import Plan
from staticnet.plan.roles import base
from staticnet.plan.text import Locations
from staticnet.rewrite.driver import keep, rebuild

SHOWN = 8  # elements that are printed one by one


@dataclass(frozen=True, eq=False, repr=False)
class Probe(Shown):
    """A node's `value` on the NumPy reference, and the `optimised` one on the function's device.

    `kept` says whether the compiled step has the value in memory, and `found` where, or what became
    of it. `max_abs` is the greatest difference, `max_ulp` the greatest in units in the last place
    of the dtype. `line` is the user's, or the line that the node is the gradient of.
    """

    node: str
    line: str
    device: str
    value: np.ndarray[Any, Any]
    optimised: np.ndarray[Any, Any]
    kept: bool
    found: str

    @property
    def max_abs(self) -> float:
        """max |value - optimised|; infinity if one is not finite where the other differs."""
        return most_apart(self.value, self.optimised)

    @property
    def max_ulp(self) -> int:
        """The most steps between neighbouring numbers of the dtype that lie between the two."""
        return most_ulps(self.value, self.optimised)

    def tables(self) -> list[Table]:
        """What was found, declared and optimised, and how far apart they are."""
        return [Table(f"{self.node} ({self.line})", ("", ""), self._rows())]

    def __str__(self) -> str:
        lines = [f"  {what:<9}  {told}" for what, told in self._rows()]
        return "\n".join([f"{self.node} ({self.line})", *lines])

    def _rows(self) -> list[tuple[str, str]]:
        apart = f"{self.max_abs:.3g} at most{self._share()}, {self.max_ulp} ulp"
        return [
            ("found", self.found),
            ("declared", f"{_summary(self.value)} on numpy"),
            ("optimised", f"{_summary(self.optimised)} on {self.device}"),
            ("apart", apart),
        ]

    def _share(self) -> str:
        """The greatest difference as a part of the greatest value: ulps count near 0, too."""
        greatest = most_apart(self.value, np.zeros_like(self.value))
        if not 0 < self.max_abs < np.inf or not 0 < greatest < np.inf:
            return ""
        return f" ({self.max_abs / greatest:.1g} of the greatest value)"


def _summary(x: np.ndarray[Any, Any]) -> str:
    if x.size <= SHOWN:
        return " ".join(np.array2string(x, separator=", ").split())
    if x.dtype == bool:
        return f"{np.count_nonzero(x)} of {x.size} true"
    finite = x[np.isfinite(x)] if is_floating(x.dtype) else x
    others = f", {x.size - finite.size} not finite" if finite.size < x.size else ""
    if not finite.size:
        return f"{x.size} elements, none finite"
    wide = finite.astype(np.float64)
    return f"{wide.min():.6g} to {wide.max():.6g}, mean {wide.mean():.6g}{others}"


def probe(compilation: Compilation, node: Any, arrays: Sequence[Any]) -> Probe:
    """The probe of a node of the declared graph, for feeds that fit its placeholders.

    Raises:
        GraphError: if the node is no part of the graph; names its line.
        FeedError: if the feeds disagree about a dim.
        StateError: if a variable has no value yet.
        ExecutionError: if an op fails.
    """
    graph = compilation.graph
    if not isinstance(node, Node):
        raise GraphError(f"probe: expected a node of {graph.name}, not {node!r:.60}")
    if not _holds(graph, node):
        raise GraphError(
            f"probe: {describe(node)} ({node.provenance}) is no part of {graph.name}: none of its "
            "outputs and updates needs it; return it from the function, or probe what it returns"
        )
    dims = bind_dims(graph.inputs, arrays)
    state = {v: _present(v) for v in graph.variables if isinstance(v, Variable)}
    value = _reference(graph, node, arrays, dims, state)
    found = _counterpart(compilation, node, dims)
    program = Graph(graph.name, found.graph.inputs, (*found.graph.roots, found.node))
    program = _on_copies(program, state)
    executable = compilation.build(program, lambda: compilation.plan(program, {}), {})
    optimised = _on_host(executable.run(arrays)[-1])
    kept, where = found.kept, found.where
    if not where and isinstance(executable, NumpyExecutable):
        kept, where = True, "a value of the optimised graph, which is run node by node"
    elif not where:
        kept, where = _place(compilation.plan(found.graph, dims), found.node)
    device = compilation.backend.name
    return Probe(describe(node), str(node.provenance), device, value, optimised, kept, where)


def _present(variable: Variable) -> Any:
    """A copy of a variable's value; None if it has none yet."""
    return None if variable.array is None else variable.value


def _on_copies(graph: Graph, state: Mapping[Variable, Any]) -> Graph:
    """The graph on variables of its own, with the values of `state`: a run writes no others."""

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        if not isinstance(node, Variable):
            return keep(node, inputs)
        value = state[node if node.origin is None else node.origin]
        made = Variable(node.op, (), node.type)
        made.array = None if value is None else value.astype(node.dtype, copy=False)
        return made

    return rebuild(graph, "", replace)


def _reference(
    graph: Graph,
    node: Node,
    arrays: Sequence[Any],
    dims: Mapping[str, int],
    state: Mapping[Variable, Any],
) -> np.ndarray[Any, Any]:
    needed = Graph(graph.name, graph.inputs, [node])
    fixed = _on_copies(specialize(needed, dims)[0] if dims else needed, state)
    value: np.ndarray[Any, Any] = NumpyExecutable(fixed).run([_on_host(x) for x in arrays])[0]
    return value


def _on_host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array


class _Found(NamedTuple):
    """A node's counterpart in an optimised graph; `where` is empty if the plan is to say."""

    graph: Graph
    node: Node
    kept: bool
    where: str = ""


def _counterpart(compilation: Compilation, node: Node, dims: Mapping[str, int]) -> _Found:
    """What became of a node: passes keep roots, so it is made one unless it is one already."""
    declared = compilation.graph
    graph, records = compilation.compile(dims)
    for i, (output, made) in enumerate(zip(declared.outputs, graph.outputs, strict=True)):
        if output is node:
            return _Found(graph, made, True, f"output {i} of the step")
    updates = dict(graph.updates)
    for target, value in declared.updates:
        if value is node and target in updates:
            where = f"the next value of {describe(target)}"
            return _Found(graph, updates[target], True, where)
    again = Compilation(
        Graph(declared.name, declared.inputs, (*declared.outputs, node), declared.updates),
        compilation.backend,
        compilation.numerics,
        compilation.precision,
        compilation.disabled_passes,
        compilation.memory_limit,
    )
    other, more = again.compile(dims)
    made = other.outputs[-1]
    if _holds(graph, made):
        return _Found(graph, made, True)
    lost = next(
        after.name
        for before, after in zip(records, more, strict=True)
        if not _holds(before.graph, after.graph.outputs[-1])
    )
    why = f"gone since the pass {lost}: compiled again with this node as one more output"
    return _Found(other, made, False, why)


def _holds(graph: Graph, node: Node) -> bool:
    return node in {*graph.nodes, *graph.variables}


def _place(plan: Plan, node: Node) -> tuple[bool, str]:
    """Whether a plan has a node of its graph in memory, and where, or what it is part of."""
    if isinstance(node.op, Constant):
        return True, "a constant of the step"
    holder = plan.holder(node)
    group = plan.fusion.group_of.get(base(node) if holder is None else holder)
    kernel = "" if group is None else f"kernel {plan.numbers[group]}"
    if holder is None:
        what = f"computed inside {kernel}" if kernel else "written into expressions"
        return False, f"in no memory of the step, but {what}; compiled again as one more output"
    where = Locations(plan).of(holder) + (f", written by {kernel}" if kernel else "")
    seen = "" if holder is node else f"a view of {describe(holder)}, "
    return True, f"{seen}in memory of the step: {where}"
