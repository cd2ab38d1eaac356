"""Reductions of leading axes as C: each column sums its rows in order, in blocks."""

from __future__ import annotations

import math
from functools import cached_property

from staticnet.codegen.c_loops import Printer, for_, indent, positions, share_of
from staticnet.codegen.c_statements import combined, initial, reduces_of, room, statements
from staticnet.codegen.kernel import Loop, Reduce, fixed_in
from staticnet.codegen.regions import CORES, LINE, PARALLEL_WORK
from staticnet.codegen.scope import c_type

BLOCK = 1024  # rows that are summed at a time, so that the error grows slowly
COLUMNS = 256  # columns that are summed at a time, in registers and level-1 cache


class Columns(Printer):
    """Sums over leading axes, beside the map that feeds them."""

    def lines(self) -> list[str]:
        """The body; threads share the columns or, of few, the rows."""
        return self._shared_columns() if self.kernel.blocks else self._columns()

    def _columns(self) -> list[str]:
        (loop,) = self.kernel.loops
        reduces = reduces_of(loop)
        rows = math.prod(symbol.extent for symbol in loop.symbols)
        body = [
            *_cleared(reduces, "all"),
            *self._summed(loop, reduces, "0", str(rows)),
            *self._finished(reduces),
        ]
        share = share_of(self.kernel.rows, self._width or LINE)
        return [*share, *self._chunks("begin", "end", body)]

    @cached_property
    def _width(self) -> int:
        """The columns of a chunk, if all have as many; else 0.

        A loop over few columns is five times as fast if the compiler knows how many. Where threads
        share them, each has a chunk.
        """
        columns = self.kernel.rows
        shares = not self.kernel.blocks and self.kernel.work >= PARALLEL_WORK
        most = max(LINE, columns // CORES) if shares else columns
        known = min(columns, COLUMNS)
        return known if known <= most and columns % known == 0 else 0

    def _chunks(self, low: str, high: str, body: list[str]) -> list[str]:
        known = self._width
        width = str(known) if known else f"SN_MIN({COLUMNS}, {high} - first)"
        return for_(
            "first", low, high, [f"const int64_t width = {width};", *body], known or COLUMNS
        )

    def _summed(self, loop: Loop, reduces: tuple[Reduce, ...], low: str, high: str) -> list[str]:
        """Combine rows from `low` to `high` into `<name>_all`, a block at a time."""
        before, body = fixed_in(loop.body, {s.text for s in self.kernel.outer})
        inner = [
            *statements(before),
            *(["#pragma omp simd"] if self.simd else []),
            *for_("c", 0, "width", [
                "const int64_t o = first + c;",
                *positions(self.kernel.outer, "o"),
                *statements(tuple(s for s in body if not isinstance(s, Reduce))),
                *(combined(r, f"{r.name}_row[c]", r.text) for r in reduces),
            ]),
        ]  # fmt: skip
        rows = [*positions(loop.symbols, "r"), *inner]
        block = [
            *_cleared(reduces, "row"),
            *for_("r", "r0", f"SN_MIN(r0 + {BLOCK}, {high})", rows),
            *for_("c", 0, "width", [
                combined(r, f"{r.name}_all[c]", f"{r.name}_row[c]") for r in reduces
            ]),
        ]  # fmt: skip
        return for_("r0", low, high, block, BLOCK)

    def _finished(self, reduces: tuple[Reduce, ...]) -> list[str]:
        """The columns' results from their sums `<name>_all`."""
        return for_("c", 0, "width", [
            "const int64_t o = first + c;",
            *positions(self.kernel.outer, "o"),
            *(f"const {c_type(r.dtype)} {r.name} = {r.name}_all[c];" for r in reduces),
            *statements(self.kernel.after),
        ])  # fmt: skip

    def _shared_columns(self) -> list[str]:
        """Few columns: threads share blocks of rows, and then the columns."""
        kernel = self.kernel
        (loop,) = kernel.loops
        reduces = reduces_of(loop)
        rows, width = math.prod(s.extent for s in loop.symbols), kernel.rows
        rooms = [room(r, i * kernel.blocks * width) for i, r in enumerate(reduces)]
        low, high = (f"{b}*{rows}/{kernel.blocks}" for b in ("b", "(b + 1)"))
        block = [
            *_cleared(reduces, "all"),
            *self._summed(loop, reduces, low, high),
            *for_("c", 0, "width", [
                f"{room}[b*{width} + first + c] = {r.name}_all[c];"
                for r, room in zip(reduces, rooms, strict=True)
            ]),
        ]  # fmt: skip
        combine = [
            *_cleared(reduces, "all"),
            *for_("b", 0, kernel.blocks, for_("c", 0, "width", [
                combined(r, f"{r.name}_all[c]", f"{room}[b*{width} + first + c]")
                for r, room in zip(reduces, rooms, strict=True)
            ])),
            *self._finished(reduces),
        ]  # fmt: skip
        parts = for_("b", "begin", "end", self._chunks("0", str(width), block))
        return [
            "{",
            *indent([*share_of(kernel.blocks), *parts]),
            "}",
            "#pragma omp barrier",
            *share_of(width, self._width or LINE),
            *self._chunks("begin", "end", combine),
        ]


def _cleared(reduces: tuple[Reduce, ...], name: str) -> list[str]:
    """Arrays `<reduction>_<name>`, a start for each column."""
    lines = []
    for r in reduces:
        array = f"{r.name}_{name}"
        lines.append(f"{c_type(r.dtype)} {array}[{COLUMNS}];")
        start = initial(r.combine, r.dtype)
        lines.append(f"for (int64_t c = 0; c < width; ++c) {array}[c] = {start};")
    return lines
