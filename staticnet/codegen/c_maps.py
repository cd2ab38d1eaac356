"""Maps as C: each element of the space is computed alone."""

from __future__ import annotations

import math

from staticnet.codegen.c_loops import Printer, for_, indent, positions, share_of
from staticnet.codegen.c_statements import loaded, statements
from staticnet.codegen.kernel import Let, checked_in_row, turned_loads
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import compute_dtype
from staticnet.ir.index import Symbol

TILE = 32  # of each axis of a map that reads across its inner one
SHORT = 8  # points of an inner axis that make no vector
RUN = 256  # points of the axis before, along which vectors go instead


class Maps(Printer):
    """A loop over all points, whose innermost axis is a vector's."""

    def lines(self) -> list[str]:
        """The body, in tiles where something is read across the inner axis."""
        if not self.kernel.tiled:
            return self._map()
        return self._across() if self.kernel.loops[0].symbols[0].extent <= SHORT else self._tiled()

    def _map(self) -> list[str]:
        (loop,) = self.kernel.loops
        (v,) = loop.symbols
        if not self.kernel.outer:
            return [
                *share_of(v.extent, self.kernel.unit),
                *self.innermost(v, "begin", "end", loop.body),
            ]
        n = v.extent
        checked, body = checked_in_row(loop.body, v)
        inside = [
            f"const int64_t first = SN_MAX(begin - o*{n}, 0), last = SN_MIN(end - o*{n}, {n});",
            *positions(self.kernel.outer, "o"),
            *statements(checked),
            *self.innermost(v, "first", "last", body),
        ]
        head = f"for (int64_t o = begin / {n}; o*{n} < end; ++o) {{"
        return [*share_of(self.kernel.size, self.kernel.unit), head, *indent(inside), "}"]

    def _across(self) -> list[str]:
        """Vectors along the last outer axis, for each point of a short inner one."""
        (loop,) = self.kernel.loops
        (v,) = loop.symbols
        *others, u = self.kernel.outer
        ends, walked, count = ("0", str(u.extent)), others, math.prod(s.extent for s in others)
        if u.extent > RUN:
            runs = Symbol(f"{u.text}_run", math.ceil(u.extent / RUN))
            ends = (f"{runs.text}*{RUN}", f"SN_MIN(({runs.text} + 1)*{RUN}, {u.extent})")
            walked, count = [*others, runs], count * runs.extent
        inside = for_(v.text, 0, v.extent, self.innermost(u, *ends, loop.body))
        return [
            *share_of(count),
            *for_("o", "begin", "end", [*positions((*walked,), "o"), *inside]),
        ]

    def _tiled(self) -> list[str]:
        """Tiles of the last two axes; what lies along the first is turned in a local array."""
        (loop,) = self.kernel.loops
        (v,) = loop.symbols
        *others, u = self.kernel.outer
        rows = Symbol(f"{u.text}_tile", math.ceil(u.extent / TILE))
        columns = (f"{v.text}_tile", f"SN_MIN({v.text}_tile + {TILE}, {v.extent})")
        lines = (f"{rows.text}*{TILE}", f"SN_MIN(({rows.text} + 1)*{TILE}, {u.extent})")
        at = f"({v.text} - {columns[0]})*{TILE + 1} + {u.text} - {lines[0]}"
        turned = turned_loads(loop.body, self.kernel.outer, v)
        body = tuple(
            Let(s.name, compute_dtype(s.dtype), f"{s.name}_tile[{at}]") if s in turned else s
            for s in loop.body
        )
        inside: list[str] = []
        for load in turned:
            tile = f"{load.name}_tile"
            inside.append(f"{c_type(compute_dtype(load.dtype))} {tile}[{TILE * (TILE + 1)}];")
            copy = for_(u.text, *lines, [f"{tile}[{at}] = {loaded(load)};"])
            inside += for_(v.text, *columns, copy)
        inside += for_(u.text, *lines, self.innermost(v, *columns, body))
        walk = for_(columns[0], 0, v.extent, inside, TILE)
        count = math.prod(s.extent for s in others) * rows.extent
        return [
            *share_of(count),
            *for_("o", "begin", "end", [*positions((*others, rows), "o"), *walk]),
        ]
