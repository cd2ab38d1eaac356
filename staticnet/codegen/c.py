"""Kernels as C functions `name(share, shares, buffers…, scratch, error, site)`.

`shares` threads call a kernel, each with its number `share`. It takes its part of the outer space;
where threads share a reduction, they meet at a barrier between the blocks and their combination.
"""

from __future__ import annotations

import math
import re

from staticnet.codegen.c_statements import (
    clauses,
    combined,
    initial,
    loaded,
    nan_ends,
    reduces_of,
    starts,
    statement,
    statements,
    stored,
)
from staticnet.codegen.kernel import (
    Kernel,
    Let,
    Load,
    Loop,
    Reduce,
    Statement,
    Store,
    turned_loads,
)
from staticnet.codegen.scope import c_type, compute_dtype
from staticnet.ir.index import Index, Symbol
from staticnet.plan.partials import SLOT

BLOCK = 1024  # a float sum is kept in blocks of so many, so that its error grows slowly
COLUMNS = 256  # columns that a column kernel sums at a time, in registers and level-1 cache
TILE = 32  # of each axis of a map that reads across its inner one
LINE = 16  # elements that no two threads write: a cache line or more
STREAM = 256  # elements that are gathered before they go around the caches
AHEAD = 4096  # elements of a row up to which the next one is fetched beside it


def function(kernel: Kernel, name: str) -> str:
    """The C function of a kernel."""
    parameters = ["int64_t share", "int64_t shares"]
    for p in kernel.parameters:
        const = "" if p.written else "const "
        parameters.append(f"{const}{c_type(p.dtype)} *{p.name}")
    if kernel.blocks:
        parameters.append("char *scratch")
    parameters += ["volatile int *error", "int site"]
    body = _Printer(kernel).lines()
    return "\n".join([f"SN_KERNEL void {name}({', '.join(parameters)}) {{", *_indent(body), "}"])


def _indent(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _for(
    variable: str, low: str | int, high: str | int, body: list[str], step: int = 1
) -> list[str]:
    advance = f"++{variable}" if step == 1 else f"{variable} += {step}"
    head = f"for (int64_t {variable} = {low}; {variable} < {high}; {advance}) {{"
    return [head, *_indent(body), "}"]


def _positions(symbols: tuple[Symbol, ...], flat: str) -> list[str]:
    """The loop variables of a flattened index space."""
    lines, size = [], 1
    for symbol in reversed(symbols):
        place = f"{flat} / {size}" if size > 1 else flat
        text = f"({place}) % {symbol.extent}" if symbol is not symbols[0] else place
        lines.append(f"const int64_t {symbol.text} = {text};")
        size *= symbol.extent
    return lines[::-1]


def _share(count: int, unit: int = 1) -> list[str]:
    """The part of a thread, `begin` to `end`, which starts at a multiple of `unit`."""
    cuts = (f"SN_CUT({count}, {share}, {unit})" for share in ("share", "share + 1"))
    return ["const int64_t begin = {}, end = {};".format(*cuts)]


class _Printer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.simd = not kernel.may_fail

    def lines(self) -> list[str]:
        kernel = self.kernel
        if kernel.kind == "map":
            body = self._tiled() if kernel.tiled else self._map()
        elif kernel.kind == "columns":
            body = self._shared_columns() if kernel.blocks else self._columns()
        else:
            body = self._shared_rows() if kernel.blocks else self._rows()
        tiles = [
            f"{c_type(p.dtype)} {p.name}_line[{STREAM}] SN_ALIGNED;"
            for p in kernel.parameters
            if p.name in kernel.streams
        ]
        return [*tiles, *body, *(["SN_FENCE"] if tiles else [])]

    # maps

    def _map(self) -> list[str]:
        (loop,) = self.kernel.loops
        (v,) = loop.symbols
        if not self.kernel.outer:
            return [*_share(v.extent, LINE), *self._innermost(v, "begin", "end", loop.body)]
        n = v.extent
        inside = [
            f"const int64_t first = SN_MAX(begin - o*{n}, 0), last = SN_MIN(end - o*{n}, {n});",
            *_positions(self.kernel.outer, "o"),
            *self._innermost(v, "first", "last", loop.body),
        ]
        head = f"for (int64_t o = begin / {n}; o*{n} < end; ++o) {{"
        return [*_share(self.kernel.size, LINE), head, *_indent(inside), "}"]

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
            copy = _for(u.text, *lines, [f"{tile}[{at}] = {loaded(load)};"])
            inside += _for(v.text, *columns, copy)
        inside += _for(u.text, *lines, self._innermost(v, *columns, body))
        walk = _for(columns[0], 0, v.extent, inside, TILE)
        count = math.prod(s.extent for s in others) * rows.extent
        return [
            *_share(count),
            *_for("o", "begin", "end", [*_positions((*others, rows), "o"), *walk]),
        ]

    def _innermost(
        self, v: Symbol, low: str, high: str, body: tuple[Statement, ...],
        reduces: tuple[Reduce, ...] = (), renamed: dict[str, str] | None = None,
        ahead: tuple[Load, ...] = (),
    ) -> list[str]:  # fmt: skip
        """The vector loop over one axis.

        In lines where stores are streamed, which gather there first, or where loads go ahead: what
        they read of the next row is fetched.
        """
        pragma = [" ".join(["#pragma omp simd", *clauses(reduces, renamed)])] if self.simd else []
        streamed = [s for s in body if isinstance(s, Store) and self._streams(s, v)]
        if not streamed and not ahead:
            return [*pragma, *_for(v.text, low, high, statements(body, renamed))]
        start = f"{v.text}_line"
        texts = statements(tuple(s for s in body if s not in streamed), renamed)
        texts += [f"{s.buffer}_line[{v.text} - {start}] = {stored(s)};" for s in streamed]
        inside = [
            f"const int64_t {v.text}_end = SN_MIN({start} + {STREAM}, {high});",
            *(
                f"if (o + 1 < end) sn_prefetch({load.buffer} + "
                f"{_renamed(load.at, v, start) + self._row_step(load)}, "
                f"({v.text}_end - {start}) * sizeof *{load.buffer});"
                for load in ahead
            ),
            *pragma,
            *_for(v.text, start, f"{v.text}_end", texts),
            *(
                f"sn_stream({s.buffer} + {_renamed(s.at, v, start)}, {s.buffer}_line, "
                f"({v.text}_end - {start}) * sizeof *{s.buffer});"
                for s in streamed
            ),
        ]
        return _for(start, low, high, inside, STREAM)

    def _streams(self, store: Store, v: Symbol) -> bool:
        along = dict(store.at.terms).get(v) == 1
        others = (s.text for s, _ in store.at.terms if s != v)
        return along and store.buffer in self.kernel.streams and not any(
            re.search(rf"\b{v.text}\b", text) for text in others
        )  # fmt: skip

    def _row_step(self, load: Load) -> int:
        """How far from a row's element the next row's lies."""
        return dict(load.at.terms).get(self.kernel.outer[-1], 0) if self.kernel.outer else 0

    # rows

    def _rows(self) -> list[str]:
        kernel = self.kernel
        keeps = [f"{c_type(dtype)} {name}[{size}];" for name, dtype, size in kernel.keeps]
        inside = _positions(kernel.outer, "o")
        for number, loop in enumerate(kernel.loops):
            inside += statements(loop.before)
            reduces = reduces_of(loop)
            inside += starts(reduces)
            ahead = self._ahead() if number == 1 else ()
            inside += self._nest(loop, reduces, "0", str(loop.symbols[0].extent), ahead)
            inside += nan_ends(reduces)
        inside += statements(kernel.after)
        return [*_share(kernel.rows), *keeps, *_for("o", "begin", "end", inside)]

    def _ahead(self) -> tuple[Load, ...]:
        """What the first loop of a large kernel reads along rows.

        It comes from memory, and a row is too short for the hardware to see what follows: the
        second loop, which finds its row in the caches, has time to fetch the next.
        """
        kernel = self.kernel
        (*others, v) = kernel.loops[0].symbols
        if others or not kernel.streams or v.extent > AHEAD:
            return ()
        loads = (s for s in kernel.loops[0].body if isinstance(s, Load))
        return tuple(
            s
            for s in loads
            if dict(s.at.terms).get(v) == 1
            and self._row_step(s) >= v.extent
            and {symbol for symbol, _ in s.at.terms} <= {*kernel.outer, v}
        )

    def _nest(
        self, loop: Loop, reduces: tuple[Reduce, ...], low: str, high: str,
        ahead: tuple[Load, ...] = (),
    ) -> list[str]:  # fmt: skip
        """The loops over reduced axes, of the first from `low` to `high`."""
        *before, last = loop.symbols
        bounds = ("0", str(last.extent)) if before else (low, high)
        sums = {
            r.name: f"{r.name}_block" for r in reduces if r.combine == "sum" and r.dtype.kind == "f"
        }
        if sums and last.extent > 2 * BLOCK:
            start = f"{last.text}_0"
            inner = self._innermost(last, start, f"{last.text}_1", loop.body, reduces, sums, ahead)
            types = {sums[r.name]: c_type(r.dtype) for r in reduces if r.name in sums}
            block = [
                f"const int64_t {last.text}_1 = SN_MIN({start} + {BLOCK}, {bounds[1]});",
                *(f"{types[name]} {name} = 0;" for name in sums.values()),
                *inner,
                *(f"{name} += {part};" for name, part in sums.items()),
            ]
            lines = _for(start, bounds[0], bounds[1], block, BLOCK)
        else:
            lines = self._innermost(last, *bounds, loop.body, reduces, None, ahead)
        for symbol in reversed(before):
            first = symbol is loop.symbols[0]
            lines = _for(symbol.text, low if first else 0, high if first else symbol.extent, lines)
        return lines

    def _shared_rows(self) -> list[str]:
        """Few long rows: threads share the blocks of each, and all combine the blocks' results."""
        kernel = self.kernel
        inside = _positions(kernel.outer, "o")
        slot = 0
        for loop in kernel.loops:
            inside += _by_first(loop.before)
            reduces = reduces_of(loop)
            extent = loop.symbols[0].extent
            low, high = f"b*{kernel.lines}", f"SN_MIN((b + 1)*{kernel.lines}, {extent})"
            block = [*starts(reduces), *self._nest(loop, reduces, low, high), *nan_ends(reduces)]
            rooms = {r.name: _room(r, (slot + i) * kernel.blocks) for i, r in enumerate(reduces)}
            slot += len(reduces)
            block += [f"{rooms[r.name]}[b] = {r.name};" for r in reduces]
            inside += [
                "{",
                *_indent([*_share(kernel.blocks), *_for("b", "begin", "end", block)]),
                "}",
            ]
            if reduces:
                inside.append("#pragma omp barrier")
                inside += starts(reduces)
                parts = tuple(
                    Reduce(r.name, r.dtype, r.combine, f"{rooms[r.name]}[b]") for r in reduces
                )
                inside += _for("b", 0, kernel.blocks, statements(parts))
                inside += nan_ends(reduces)
        inside += _by_first(kernel.after)
        if kernel.rows > 1:
            inside.append("#pragma omp barrier")
        return _for("o", 0, kernel.rows, inside)

    # columns

    def _columns(self) -> list[str]:
        (loop,) = self.kernel.loops
        reduces = reduces_of(loop)
        rows = math.prod(symbol.extent for symbol in loop.symbols)
        body = [
            *_cleared(reduces, "all"),
            *self._summed(loop, reduces, "0", str(rows)),
            *_for("c", 0, "width", self._finish([f"{r.name}_all[c]" for r in reduces])),
        ]
        return [*_share(self.kernel.rows, LINE), *self._chunks("begin", "end", body)]

    def _chunks(self, low: str, high: str, body: list[str]) -> list[str]:
        width = f"const int64_t width = SN_MIN({COLUMNS}, {high} - first);"
        return _for("first", low, high, [width, *body], COLUMNS)

    def _summed(self, loop: Loop, reduces: tuple[Reduce, ...], low: str, high: str) -> list[str]:
        """Combine rows from `low` to `high` into `<name>_all`, a block at a time."""
        body = tuple(s for s in loop.body if not isinstance(s, Reduce))
        inner = [
            *(["#pragma omp simd"] if self.simd else []),
            *_for("c", 0, "width", [
                "const int64_t o = first + c;",
                *_positions(self.kernel.outer, "o"),
                *statements(body),
                *(combined(r, f"{r.name}_row[c]", r.text) for r in reduces),
            ]),
        ]  # fmt: skip
        rows = [*_positions(loop.symbols, "r"), *inner]
        block = [
            *_cleared(reduces, "row"),
            *_for("r", "r0", f"SN_MIN(r0 + {BLOCK}, {high})", rows),
            *_for("c", 0, "width", [
                combined(r, f"{r.name}_all[c]", f"{r.name}_row[c]") for r in reduces
            ]),
        ]  # fmt: skip
        return _for("r0", low, high, block, BLOCK)

    def _finish(self, sums: list[str]) -> list[str]:
        """A column's results from its sums."""
        (loop,) = self.kernel.loops
        return [
            "const int64_t o = first + c;",
            *_positions(self.kernel.outer, "o"),
            *(
                f"const {c_type(r.dtype)} {r.name} = {text};"
                for r, text in zip(reduces_of(loop), sums, strict=True)
            ),
            *statements(self.kernel.after),
        ]

    def _shared_columns(self) -> list[str]:
        """Few columns: threads share blocks of rows, and then the columns."""
        kernel = self.kernel
        (loop,) = kernel.loops
        reduces = reduces_of(loop)
        rows, width = math.prod(s.extent for s in loop.symbols), kernel.rows
        rooms = [_room(r, i * kernel.blocks * width) for i, r in enumerate(reduces)]
        low, high = (f"{b}*{rows}/{kernel.blocks}" for b in ("b", "(b + 1)"))
        block = [
            *_cleared(reduces, "all"),
            *self._summed(loop, reduces, low, high),
            *_for("c", 0, "width", [
                f"{room}[b*{width} + first + c] = {r.name}_all[c];"
                for r, room in zip(reduces, rooms, strict=True)
            ]),
        ]  # fmt: skip
        combine = [
            *(f"{c_type(r.dtype)} {r.name}_b = {initial(r.combine, r.dtype)};" for r in reduces),
            *_for("b", 0, kernel.blocks, [
                combined(r, f"{r.name}_b", f"{room}[b*{width} + first + c]")
                for r, room in zip(reduces, rooms, strict=True)
            ]),
            *self._finish([f"{r.name}_b" for r in reduces]),
        ]  # fmt: skip
        parts = _for("b", "begin", "end", self._chunks("0", str(width), block))
        return [
            "{",
            *_indent([*_share(kernel.blocks), *parts]),
            "}",
            "#pragma omp barrier",
            *_share(width),
            *self._chunks("begin", "end", _for("c", 0, "width", combine)),
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


def _room(r: Reduce, slot: int) -> str:
    """The scratch memory of a reduction's partial results."""
    return f"(({c_type(r.dtype)} *)(scratch + {slot * SLOT}))"


def _by_first(statements: tuple[Statement, ...]) -> list[str]:
    """Row statements that all threads run, and of which one stores."""
    lines = []
    for s in statements:
        lines += (
            [f"if (share == 0) {statement(s, {})[0]}"] if isinstance(s, Store) else statement(s, {})
        )
    return lines


def _renamed(at: Index, symbol: Symbol, name: str) -> Index:
    return Index(
        tuple((Symbol(name, s.extent) if s == symbol else s, c) for s, c in at.terms), at.constant
    )
