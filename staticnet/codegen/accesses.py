"""What of memory a launch reads and writes, by place: what its threads may have to wait for."""

from __future__ import annotations

from collections.abc import Iterable

from staticnet.codegen.kernel import Kernel, Load, Store, names_in
from staticnet.codegen.regions import Span, cut_in_rows, cut_of, rows_of
from staticnet.ir.index import Index
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.fusion import Group
from staticnet.plan.plan import Place, Plan

Spans = tuple[list[Span], list[Span]]
"""What is read, and what is written."""


class Accesses:
    """The spans of a plan's launches."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def kernel(self, group: Group, kernel: Kernel, buffers: list[Node]) -> Spans:
        """What a kernel reads and writes."""
        reads: list[Span] = []
        writes = self._scratch(group)
        for parameter, node in zip(kernel.parameters, buffers, strict=True):
            cut = _cut_by(group, kernel, parameter.name, node)
            (writes if parameter.written else reads).append(self._of(node, cut))
        return reads, writes

    def routine(self, group: Group, cut: str = "", left: str = "") -> Spans | None:
        """What a routine reads and writes; None where that is not known.

        cut, left: how threads cut its result, and what it begins as; and its first operand
        """
        traffic, node = self.plan.traffic(group), group.nodes[0]
        if any(self.plan.holder(x) is None for x in (*traffic.reads, *traffic.writes)):
            return None
        cuts = dict.fromkeys(node.inputs, "")
        if left:
            cuts[node.inputs[0]] = left
        if cut and node.op.begins_as is not None:
            first = node.inputs[node.op.begins_as]
            if self.plan.places.get(first) == self.plan.places.get(node):
                cuts[first] = cut
            else:
                cut = ""  # it is copied first, and cut otherwise
        if left or cut:
            cuts[self.plan.fusion.memory(node.inputs[1], True)] = ""  # each thread needs all of it
        reads = [self._of(x, cuts.get(x, "")) for x in traffic.reads]
        return reads, [*self._scratch(group), *(self._of(x, cut) for x in traffic.writes)]

    def _scratch(self, group: Group) -> list[Span]:
        """The scratch memory of all, if a group has some."""
        used = self.plan.workspaces.of(group)
        return [Span("arena", 0, self.plan.scratch, self.plan.arena_bytes)] if used else []

    def copy(self, node: Node, target: Place, source: Place | None) -> Spans:
        """What a copy of a value reads and writes; it is read where it lies if not at `source`."""
        size = int(node.type.nbytes)
        cut, _ = cut_of(fixed(node.shape), node.dtype.itemsize)
        read = _span(source, size, cut) if source else self._of(node, cut)
        return [read], [_span(target, size, cut)]

    def _of(self, node: Node, cut: str) -> Span:
        holder = self.plan.holder(node)
        assert holder is not None, node
        return _span(self.plan.places[holder], int(holder.type.nbytes), cut)


def _span(place: Place, size: int, cut: str) -> Span:
    """So many bytes of memory."""
    if place.kind == "arena":
        return Span("arena", 0, place.at, place.at + size, cut)
    return Span(place.kind, place.at, 0, size, cut)


def _cut_by(group: Group, kernel: Kernel, buffer: str, node: Node) -> str:
    """How a map's threads cut one of its buffers; nothing if each may use all of it."""
    if kernel.kind != "map" or kernel.tiled:
        return ""
    rows = rows_of(group.domain)
    found = [s for s in kernel.loops[0].body if isinstance(s, Load | Store) and s.buffer == buffer]
    if rows:
        local = all(_stays_in_row(kernel, s.at, rows, int(node.type.size)) for s in found)
        return cut_in_rows(rows) if local else ""
    whole = Index.of(kernel.loops[0].symbols[0])
    in_order = not kernel.outer and all(s.at.is_same(whole) for s in found)
    if not in_order or node.type.size != kernel.size:
        return ""
    cut, piece = cut_of(fixed(node.shape), node.dtype.itemsize)
    return cut if piece == kernel.unit * node.dtype.itemsize else ""


def _stays_in_row(kernel: Kernel, at: Index, rows: int, size: int) -> bool:
    """Whether a place of an array of `size` elements is in that row of it which its point is in."""
    (inner,) = kernel.loops[0].symbols
    if not kernel.outer:
        return size == kernel.size and at.is_same(Index.of(inner))
    first = kernel.outer[0]
    if first.extent != rows or size % rows:
        return False
    rest = Index(tuple((s, c) for s, c in at.terms if s != first), at.constant)
    steps = dict(at.terms).get(first, 0) == size // rows and first.text not in names_in(rest)
    return steps and rest.least >= 0 and rest.greatest < size // rows


def merged(pairs: Iterable[Spans]) -> Spans:
    """What several read and write."""
    each = list(pairs)
    return [s for reads, _ in each for s in reads], [s for _, writes in each for s in writes]
