"""Maps and rows that stand beside a kernel of rows become part of it.

Nodes join kernels one by one, in the graph's order. When all have a kernel it is known which wait
for which; then a map whose elements are values of rows, or lie where a kernel of rows has its own,
is drawn into that kernel if it feeds or reads it and no third step stands between the two. So the
labels' elements of a cross entropy, its loss and the gradient of its logits are one kernel.

Another kernel of the same rows is drawn in, too, if each would take in the other's nodes one by
one: elementwise ops and reductions, which read of the other what is made at their own point.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from staticnet.ir.index import Index
from staticnet.ir.node import Node
from staticnet.ops.base import Elementwise, Reduction
from staticnet.ops.indexing import TakeAlongAxis
from staticnet.plan.roles import axes_of, base, operand_index, resolve

if TYPE_CHECKING:
    from staticnet.plan.fusion import Fusion, Group


class RowMaps:
    """The maps of a partition, and the kernels of rows that take them in."""

    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.state = {node for update in fusion.graph.updates for node in update}
        self.readers: dict[Group, set[Group]] = defaultdict(set)
        for group in fusion.groups:
            for maker in self._makers(group):
                self.readers[maker].add(group)

    def draw_in(self) -> None:
        """Draw in what can be."""
        for group in self.fusion.groups:
            while group.inner and self._draw_one(group):
                pass

    def _makers(self, group: Group) -> set[Group]:
        """The groups whose values a group reads."""
        fusion = self.fusion
        found = {fusion.group_of[x] for node in group.nodes for x in fusion.sources(node)}
        return found - {group}

    def _draw_one(self, group: Group) -> bool:
        """Draw one kernel in; False if there is none."""
        beside = self._makers(group) | self.readers[group]
        for gone in sorted(beside, key=lambda other: other.number):
            if self._fits(gone, group):
                self._merge(gone, group)
                return True
        return False

    def _merge(self, gone: Group, group: Group) -> None:
        group.rows.update(gone.nodes if gone.domain != group.domain else gone.rows)
        for maker in self._makers(gone):
            self.readers[maker] = self.readers[maker] - {gone} | {group}
        self.readers[group] = (self.readers[group] | self.readers.pop(gone, set())) - {gone, group}
        self.fusion.merge(gone, group)

    def _fits(self, gone: Group, group: Group) -> bool:
        fusion = self.fusion
        if gone.kind not in ("map", "rows") or fusion.why_not_one(gone, group):
            return False
        if self._keeps_state(gone):
            return False
        if any(node.op.moves for node in gone.nodes):  # it writes a view of what it reads
            return False
        first, last = gone.number, group.number
        if fusion.order.waits(first, last):
            first, last = last, first
        if fusion.order.between(first, last):
            return False
        if gone.kind == "rows":
            return self._are_same_rows(gone, group)
        if gone.domain == group.domain:
            return self._are_full(gone, group)
        return group.is_row_shape(gone.domain) and self._are_of_rows(gone, group)

    def _keeps_state(self, gone: Group) -> bool:
        """Whether a kernel has to do with what a step updates, which it does in place."""
        touched = {x for node in gone.nodes for x in (node, *map(base, node.inputs))}
        return not self.state.isdisjoint(touched)

    def _are_full(self, gone: Group, group: Group) -> bool:
        """Whether a map reads a kernel of rows at its own places alone, and is read there.

        A reduction down few columns has a kernel of rows, too, but its rows are those columns.
        """
        if any(isinstance(x.op, Reduction) and not is_of_rows(x, group) for x in group.nodes):
            return False
        whole = axes_of(group.domain)
        if not all(self._reads_at(node, whole, group) for node in gone.nodes):
            return False
        read = [x for node in group.nodes for x in node.inputs if self.fusion.is_inside(x, gone)]
        return all(resolve(x, operand_index(whole, x))[1] == whole for x in read)

    def _are_same_rows(self, gone: Group, group: Group) -> bool:
        """Whether two kernels of rows have the same, each in one order, and meet at own points."""
        if (gone.domain, gone.inner) != (group.domain, group.inner):
            return False
        reductions = (x for x in (*gone.nodes, *group.nodes) if isinstance(x.op, Reduction))
        if not all(is_of_rows(x, group) for x in reductions):
            return False
        return self._meets(gone, group) and self._meets(group, gone)

    def _meets(self, reader: Group, maker: Group) -> bool:
        """Whether a kernel of rows could make what it reads of another one, of the same rows."""
        whole = axes_of(maker.domain)
        row = (*whole[: len(maker.outer)], *[Index()] * maker.inner)
        for node in reader.nodes:
            inside = [x for x in node.inputs if self.fusion.is_inside(x, maker)]
            of_rows = [base(x) in maker.rows for x in inside]
            if isinstance(node.op, Reduction):
                fits, at = not any(of_rows), whole
            elif node in reader.rows:
                fits, at = all(of_rows), row[: node.ndim]
            else:
                fits, at = True, whole
            known = not inside or isinstance(node.op, Elementwise | Reduction)
            if not (fits and known) or self.fusion.moved(inside, at, maker):
                return False
        return True

    def _are_of_rows(self, gone: Group, group: Group) -> bool:
        """Whether each element of a map is a value of a row, for those who read it as well."""
        fusion = self.fusion
        whole = axes_of(group.domain)
        row = (*whole[: len(group.outer)], *[Index()] * group.inner)
        for node in gone.nodes:
            inside = [x for x in node.inputs if fusion.is_inside(x, group)]
            if not isinstance(node.op, Elementwise | TakeAlongAxis):
                return False
            if not all(base(x) in group.rows for x in inside):
                return False
            if not self._reads_at(node, row[: node.ndim], group):
                return False
        for node in group.nodes:
            index = row[: node.ndim] if node in group.rows else whole
            for x in node.inputs:
                if fusion.is_inside(x, gone):
                    if isinstance(node.op, Reduction):
                        return False
                    at = resolve(x, operand_index(index, x))[1]
                    if at not in (row, row[: len(group.outer)]):
                        return False
        return True

    def _reads_at(self, node: Node, index: tuple[Index, ...], group: Group) -> bool:
        """Whether a node of another kernel reads a group's values where those are made."""
        operands = node.inputs
        if isinstance(node.op, TakeAlongAxis) and not self.fusion.is_inside(operands[0], group):
            operands = operands[1:]  # what it takes lies in memory, and its index is elementwise
        inside = [x for x in operands if self.fusion.is_inside(x, group)]
        if inside and operands is node.inputs and not isinstance(node.op, Elementwise):
            return False
        return not self.fusion.moved(inside, index, group)


def is_of_rows(node: Node, group: Group) -> bool:
    """Whether a reduction is over the last axes of the kernel's domain."""
    rank = len(group.domain)
    axes: tuple[int, ...] = getattr(node.op, "axes", ())
    return axes == tuple(range(rank - group.inner, rank))
