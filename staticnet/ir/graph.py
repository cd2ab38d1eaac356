"""`Graph(name, inputs, outputs, updates)`: what a function computes; immutable and hash-consed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from staticnet.errors import ArgumentError, GraphError
from staticnet.ir import location
from staticnet.ir.node import Node, build, describe, topological
from staticnet.ir.op import symbols_of_op
from staticnet.ir.printer import format_graph

if TYPE_CHECKING:
    import networkx

Updates = tuple[tuple[Node, Node], ...]
_table: WeakValueDictionary[tuple[Any, ...], Graph] = WeakValueDictionary()
_lock = threading.Lock()


class Graph:
    """Placeholders to feed, nodes to return, and for each updated variable its next value.

    Raises:
        GraphError: if the name is no text on one line, an input is no placeholder or is named
            twice, a placeholder is reached that is no input, or an update's target is no variable
            or differs in type from its value.
    """

    __slots__ = ("__weakref__", "_nodes", "_symbols", "inputs", "name", "outputs", "updates")
    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: Updates
    _nodes: tuple[Node, ...]
    _symbols: frozenset[str] | None
    draw: ClassVar[Callable[[Graph], str] | None] = None
    """How a notebook shows a graph, as HTML. `import staticnet` sets it: see docs/adr/0014."""

    def __new__(
        cls, name: str, inputs: Sequence[Node], outputs: Sequence[Node], updates: Updates = ()
    ) -> Graph:
        """The one graph of these parts, checked when it is new."""
        if not isinstance(name, str) or not name.isprintable():
            raise GraphError(f"a graph's name must be printable text on one line, not {name!r:.60}")
        flat = (*inputs, *outputs, *(node for pair in updates for node in pair))
        key = (name, len(inputs), len(outputs), *map(id, flat))
        found = _table.get(key)
        if found is not None:
            return found
        graph = object.__new__(cls)
        settle = object.__setattr__
        settle(graph, "name", name)
        settle(graph, "inputs", tuple(inputs))
        settle(graph, "outputs", tuple(outputs))
        settle(graph, "updates", tuple((target, value) for target, value in updates))
        settle(graph, "_nodes", tuple(topological((*graph.inputs, *graph.roots))))
        settle(graph, "_symbols", None)
        _check(graph)
        with _lock:
            return _table.setdefault(key, graph)

    def __setattr__(self, name: str, value: Any) -> None:
        raise GraphError(
            f"{self.name}: a graph does not change; make another: sn.Graph(name, inputs, outputs, "
            f"updates), instead of setting {name!r:.60}"
        )

    @property
    def roots(self) -> tuple[Node, ...]:
        """The outputs and the updates' values."""
        return (*self.outputs, *(value for _, value in self.updates))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Inputs and all that the roots need, operands first."""
        return self._nodes

    @property
    def all_nodes(self) -> Iterator[Node]:
        """The nodes, and those of the graphs that their ops hold."""
        for node in self._nodes:
            yield node
            for held in node.op.graphs.values():
                yield from held.all_nodes

    @property
    def variables(self) -> tuple[Node, ...]:
        """The variables that are read or updated, each once."""
        read = [node for node in self._nodes if node.op.name == "variable"]
        return tuple(dict.fromkeys([*read, *(target for target, _ in self.updates)]))

    @property
    def symbols(self) -> frozenset[str]:
        """The names of all symbolic dims."""
        found = self._symbols
        if found is None:  # a call asks, and a graph may be large
            found = self._find_symbols()
            object.__setattr__(self, "_symbols", found)
        return found

    def _find_symbols(self) -> frozenset[str]:
        names: frozenset[str] = frozenset()
        for type_ in {node.type for node in self._nodes}:
            names |= type_.symbols
        for op in {node.op for node in self._nodes}:
            names |= symbols_of_op(op)
        return names

    def substitute(self, values: Mapping[str, int]) -> Graph:
        """The graph with symbolic dims replaced by numbers; its nodes keep their lines."""
        if self.symbols.isdisjoint(values):
            return self
        new: dict[Node, Node] = {}
        for node in self._nodes:
            with location.attributed(node.provenance):
                op = node.op.substitute(dict(values))
                new[node] = build(op, tuple([new[operand] for operand in node.inputs]))
        return Graph(
            self.name,
            [new[node] for node in self.inputs],
            [new[node] for node in self.outputs],
            tuple((target, new[value]) for target, value in self.updates),
        )

    def __str__(self) -> str:
        return format_graph(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} nodes>"

    def _repr_html_(self) -> str | None:
        draw = type(self).draw
        return None if draw is None else draw(self)

    def __copy__(self) -> Graph:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        """The same graph of copies of its variables."""
        parts = (self.inputs, self.outputs, self.updates)
        return Graph(self.name, *copy.deepcopy(parts, memo))

    def __reduce__(self) -> Any:
        raise ArgumentError(
            f"the graph {self.name} does not pickle; print it and read it with sn.parse"
        )

    def to_networkx(self) -> networkx.MultiDiGraph[Node]:
        """The data flow as a networkx graph: an edge from operand to user, keyed by position."""
        import networkx as nx

        result: nx.MultiDiGraph[Node] = nx.MultiDiGraph(name=self.name)
        for node in self._nodes:
            result.add_node(node, op=node.op.name, type=str(node.type), label=describe(node))
            for position, operand in enumerate(node.inputs):
                result.add_edge(operand, node, key=position)
        return result

    def to_dot(self) -> str:
        """The data flow in Graphviz' language."""
        lines = [f'digraph "{_dot(self.name)}" {{', "  node [shape=box, fontname=monospace];"]
        return "\n".join([*lines, *_dot_nodes(self, "n"), "}"])


def _dot(text: str) -> str:
    """A text between quotes in Graphviz' language."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _dot_nodes(graph: Graph, prefix: str) -> list[str]:
    """The nodes and edges of a graph; what an op holds is a cluster, dotted lines lead from it."""
    names = {node: f"{prefix}{i}" for i, node in enumerate(graph.nodes)}
    lines = []
    for node, name in names.items():
        bold = ", style=bold" if any(node is root for root in graph.roots) else ""
        lines.append(f'  {name} [label="{_dot(describe(node))}"{bold}];')
        lines.extend(f"  {names[operand]} -> {name};" for operand in node.inputs)
        for what, held in node.op.graphs.items():
            inner = f"{name}_{what}_"
            lines.append(f"  subgraph cluster_{name}_{what} {{")
            lines.append(f'    label="{what} of {node.op.name}";')
            lines += [f"  {line}" for line in _dot_nodes(held, inner)]
            lines.append("  }")
            roots = set(held.roots)
            ends = (i for i, each in enumerate(held.nodes) if each in roots)
            lines += [f"  {inner}{i} -> {name} [style=dotted];" for i in ends]
    return lines


def _check(graph: Graph) -> None:
    names: set[str] = set()
    for node in graph.inputs:
        if node.op.name != "placeholder":
            raise GraphError(
                f"{graph.name}: the input {describe(node)} is not a placeholder; inputs come "
                "first, then outputs"
            )
        if node.name in names:
            raise GraphError(f"{graph.name}: two inputs are named {node.name!r}; names must differ")
        names.add(node.name)
    given = set(graph.inputs)
    for node in graph._nodes:
        if node.op.name == "placeholder" and node not in given:
            raise GraphError(
                f"{graph.name}: the placeholder {describe(node)} declared on {node.provenance} is "
                "needed but is not an input; add it to inputs"
            )
    _check_updates(graph)


def _check_updates(graph: Graph) -> None:
    seen: set[Node] = set()
    for target, value in graph.updates:
        if target.op.name != "variable":
            raise GraphError(f"{graph.name}: the update target {describe(target)} is no variable")
        if target in seen:
            raise GraphError(f"{graph.name}: the variable {describe(target)} is updated twice")
        if target.type != value.type:
            raise GraphError(
                f"{graph.name}: the update of {describe(target)} has the type {value.type} "
                f"({value.provenance}); cast or reshape it to the variable's type"
            )
        seen.add(target)
