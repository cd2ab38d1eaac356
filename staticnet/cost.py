"""`cost_analysis`: floating-point operations and bytes of every node, known before a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from staticnet.control.scan import Scan
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.graph import Graph
from staticnet.ir.location import in_module
from staticnet.ir.node import Node, modules_of, within
from staticnet.ir.shown import Shown, Table
from staticnet.ir.text import value_names
from staticnet.ops.base import Item
from staticnet.ops.own_rules import flops_of_node
from staticnet.plan.by_module import ByModule, by_module

_COLUMNS = ("node", "op", "type", "FLOPs", "bytes", "from")
_FREE = ("placeholder", "variable", "constant")


@dataclass(frozen=True)
class NodeCost:
    """One node's work: FLOPs (a fused multiply-add is two), and bytes read and written.

    `modules` are the paths of the modules that made it. `inside` are the nodes of the graphs that a
    loop or choice runs, at all of its steps.
    """

    name: str
    op: str
    type: str
    flops: int | Dim
    bytes: int | Dim
    lines: str
    modules: tuple[str, ...] = ()
    inside: tuple[NodeCost, ...] = ()

    def times(self, steps: int | Dim) -> NodeCost:
        """The work of as many steps."""
        inside = tuple(each.times(steps) for each in self.inside)
        return replace(self, flops=self.flops * steps, bytes=self.bytes * steps, inside=inside)

    def parts(self) -> Iterator[NodeCost]:
        """The nodes inside where their work is that of this one, else this one."""
        inside = _total([n.flops for n in self.inside]), _total([n.bytes for n in self.inside])
        if self.inside and inside == (self.flops, self.bytes):
            for each in self.inside:
                yield from each.parts()
        else:
            yield self


class ModuleCost(NamedTuple):
    """The work of a module's nodes."""

    flops: int | Dim
    bytes: int | Dim


@dataclass(frozen=True, repr=False)
class CostAnalysis(Shown):
    """The work of a graph, node by node; numbers, or formulas in the symbolic dims.

    `bytes` counts each operand and result once a node, as op-by-op execution moves them;
    `bytes_moved` what the kernels move after fusion, in `launches` launches. These two are None
    while a dim is symbolic: kernels are chosen for sizes.
    """

    graph: str
    nodes: tuple[NodeCost, ...]
    launches: int | None = None
    bytes_moved: int | None = None

    @property
    def flops(self) -> int | Dim:
        """Floating-point operations of one run."""
        return _total([node.flops for node in self.nodes])

    @property
    def bytes(self) -> int | Dim:
        """Bytes read and written in one run, node by node."""
        return _total([node.bytes for node in self.nodes])

    def by_module(self, depth: int | None = None) -> ByModule[ModuleCost]:
        """The work of each module's nodes, gradients included; `depth` cuts the paths.

        Raises:
            ArgumentError: if the depth is not a positive int.
        """
        parts = (part for node in self.nodes for part in node.parts())
        return by_module(((n.modules, ModuleCost(n.flops, n.bytes)) for n in parts), depth)

    def tables(self) -> list[Table]:
        """The nodes, the most costly first where their work is known as a number."""
        nodes = self.nodes
        if isinstance(self.flops, int):
            nodes = tuple(sorted(nodes, key=lambda n: (-int(n.flops), -int(n.bytes))))
        told = f"{_spelt(self.flops)} FLOPs, {_spelt(self.bytes)} bytes"
        rows = [(*row[:3], *map(_spelt, row[3:5]), row[5]) for row in map(_row, nodes)]
        return [Table(f"cost of {self.graph}: {told}", _COLUMNS, rows)]

    def __str__(self) -> str:
        rows = [_COLUMNS]
        for row in map(_row, self.nodes):
            rows.append((*row[:3], str(row[3]), str(row[4]), row[5]))
        rows.append(("total", "", "", str(self.flops), str(self.bytes), ""))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        if self.launches is not None:
            lines.append(f"after fusion: {self.launches} launches, {self.bytes_moved} bytes")
        modules = self.by_module()
        lines += [str(modules)] if modules.is_told else []
        return "\n".join(line.rstrip() for line in [f"cost of {self.graph}", *lines])


def _row(node: NodeCost) -> tuple[str, str, str, int | Dim, int | Dim, str]:
    where = node.lines + in_module(node.modules)
    return node.name, node.op, node.type, node.flops, node.bytes, where


def _spelt(value: int | Dim) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _total(values: list[int | Dim]) -> int | Dim:
    total: int | Dim = 0
    for value in values:
        total = total + value
    return total


def analyse(
    graph: Graph, launches: int | None = None, bytes_moved: int | None = None
) -> CostAnalysis:
    """The cost of every computing node of a graph, with what its plan says."""
    names = value_names(graph)
    return CostAnalysis(
        graph.name,
        tuple(_cost(n, names[n]) for n in graph.nodes if n.op.name not in _FREE),
        launches,
        bytes_moved,
    )


def _cost(node: Node, name: str) -> NodeCost:
    """A node's work; a loop moves what the nodes of its graphs move at all steps.

    A `while_loop`, whose steps nobody knows, counts one; a choice counts both branches.
    """
    operands = [operand.type for operand in node.inputs]
    inside = tuple(_inside(node))
    moved = _total([node.type.nbytes, *(type_.nbytes for type_ in operands)])
    if isinstance(node.op, Item):
        moved = 0
    elif node.op.graphs:
        moved = _total([each.bytes for each in inside])
    flops = flops_of_node(node)
    lines, modules = node.provenance.origin, modules_of([node])
    return NodeCost(f"%{name}", node.op.name, str(node.type), flops, moved, lines, modules, inside)


def _inside(node: Node) -> Iterator[NodeCost]:
    """The nodes of the graphs that an op holds, at all steps."""
    steps = size_of(node.op.length) if isinstance(node.op, Scan) else 1
    own = node.provenance.modules
    for graph in node.op.graphs.values():
        names = value_names(graph)
        for each in graph.nodes:
            if each.op.name not in _FREE:
                cost = _cost(each, names[each])
                yield replace(cost.times(steps), modules=within(cost.modules, own))
