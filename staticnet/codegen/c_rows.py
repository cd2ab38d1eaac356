"""Reductions of last axes as C: each row's loops, and the blocks in which floats are combined.

What floats are combined in is a block at a time: a vector loop fills it, and `kernels/blocks.h`
combines it in an order that its length gives. So the bits of a sum do not depend on how a compiler
makes vectors of the loop, and thereby on what else is computed there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from staticnet.codegen.c_loops import Printer, for_, indent, positions, renamed_symbol, share_of
from staticnet.codegen.c_statements import (
    combined,
    is_gathered,
    reduces_of,
    room,
    starts,
    statement,
    statements,
)
from staticnet.codegen.kernel import (
    At,
    Keep,
    Load,
    Loop,
    Reduce,
    Statement,
    Store,
    merged_axes,
    names_in,
)
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import HALVES, short_name
from staticnet.ir.index import Index, Symbol, linear

BLOCK = 1024  # elements that are combined at a time: the error of a sum grows slowly
PIECE = 64  # computed elements that go to the lanes at a time, through registers if they can
AHEAD = 4096  # elements of a row up to which the next one is fetched beside it


@dataclass(frozen=True)
class _Tile:
    """The part of a row that is one block: `step` of the axis `cut`, and all of those after it.

    A `whole` one has all of that axis.
    """

    before: tuple[Symbol, ...]
    cut: Symbol
    after: tuple[Symbol, ...]
    step: int
    whole: bool

    @classmethod
    def of(cls, symbols: tuple[Symbol, ...], shared: bool) -> _Tile:
        """The largest that has at most `BLOCK` elements; the first axis may be `shared`."""
        at, size = len(symbols) - 1, 1
        while at and size * symbols[at].extent <= BLOCK:
            size *= symbols[at].extent
            at -= 1
        step = max(1, BLOCK // max(size, 1))
        whole = step >= symbols[at].extent and not (shared and at == 0)
        return cls(symbols[:at], symbols[at], symbols[at + 1 :], step, whole)

    @property
    def inner(self) -> int:
        """Elements for each point of the cut axis."""
        return math.prod(s.extent for s in self.after)

    @property
    def first(self) -> str:
        """The cut axis' first point in a tile."""
        return "0" if self.whole else f"{self.cut.text}_0"

    @property
    def last(self) -> str:
        """Where a tile ends on the cut axis."""
        return str(self.cut.extent) if self.whole else f"{self.cut.text}_1"

    @property
    def count(self) -> str:
        """The elements of a tile."""
        if self.whole:
            return str(self.size)
        gap = f"{self.last} - {self.first}"
        return f"({gap})*{self.inner}" if self.inner > 1 else gap

    @property
    def size(self) -> int:
        """The most elements of a tile."""
        return min(self.step, self.cut.extent) * self.inner

    @property
    def is_line(self) -> bool:
        """Whether the loop over the last axis alone gives all its elements."""
        return not self.after or (self.step == 1 and len(self.after) == 1)

    @property
    def has_pieces(self) -> bool:
        """Whether its elements come in pieces from the loop over the last axis."""
        last = (self.cut, *self.after)[-1]
        return self.size >= PIECE and (self.is_line or last.extent % PIECE == 0)

    @property
    def has_rest(self) -> bool:
        """Whether fewer elements than a piece may be left."""
        last = (self.cut, *self.after)[-1]
        return last.extent % PIECE != 0 or not (self.after or self.whole)

    def across(self, lines: list[str]) -> list[str]:
        """Lines of the last axis, for all points of a tile's other ones."""
        if not lines or not self.after:
            return lines
        if self.is_line:
            return [f"const int64_t {self.cut.text} = {self.first};", *lines]
        for symbol in reversed(self.after[:-1]):
            lines = for_(symbol.text, 0, symbol.extent, lines)
        return for_(self.cut.text, self.first, self.last, lines)

    def place(self) -> Index:
        """Where an element lies in its tile."""
        inner = linear([Index.of(s) for s in self.after], [s.extent for s in self.after])
        start = Index() if self.whole else Index.of(Symbol(self.first, self.cut.extent))
        return (Index.of(self.cut) + start * -1) * self.inner + inner

    def is_run(self, at: Index) -> bool:
        """Whether a tile's elements lie at `at` side by side, in order."""
        steps = dict(at.terms)
        size, fits = 1, True
        for symbol in (*self.after[::-1], self.cut):
            fits &= symbol.extent == 1 or steps.get(symbol) == size
            size *= symbol.extent
        texts = " ".join(s.text for s in steps if s not in (*self.before, self.cut, *self.after))
        return fits and not any(s.text in texts for s in (self.cut, *self.after))

    def start(self, at: Index) -> Index:
        """Where a tile begins whose elements lie at `at`."""
        gone = (*self.after, self.cut) if self.whole else self.after
        terms = tuple((s, c) for s, c in at.terms if s not in gone)
        return renamed_symbol(Index(terms, at.constant), self.cut, self.first)


class Rows(Printer):
    """Rows, each by one thread; or few long ones, which threads share."""

    def lines(self) -> list[str]:
        """The body."""
        return self._shared() if self.kernel.blocks else self._rows()

    def _rows(self) -> list[str]:
        kernel = self.kernel
        keeps = [f"{c_type(dtype)} {name}[{size}];" for name, dtype, size in kernel.keeps]
        inside = positions(kernel.outer, "o")
        for number, loop in enumerate(kernel.loops):
            inside += statements(loop.before)
            reduces = reduces_of(loop)
            inside += starts(reduces)
            ahead = self._ahead() if number == 1 else ()
            inside += self._nest(loop, reduces, "0", str(loop.symbols[0].extent), ahead)
        inside += statements(kernel.after)
        return [*share_of(kernel.rows), *keeps, *for_("o", "begin", "end", inside)]

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
        if any(symbol.extent == 0 for symbol in loop.symbols):
            return []  # a block has at least one element
        gathered = tuple(r for r in reduces if is_gathered(r))
        others = tuple(r for r in reduces if r not in gathered)
        symbols, body, tile = _flat(loop, bool(gathered), self.kernel.blocks > 0)
        body, sources = _gathering(body, gathered, tile)

        def around(symbols: tuple[Symbol, ...], lines: list[str]) -> list[str]:
            for i, symbol in reversed(list(enumerate(symbols))):
                ends = ("0", str(symbol.extent)) if i else (low, high)
                lines = for_(symbol.text, ends[0], ends[1], lines)
            return lines

        v = symbols[-1]
        if not gathered:
            ends = ("0", str(v.extent)) if symbols != loop.symbols[:1] else (low, high)
            return around(symbols[:-1], self.innermost(v, *ends, body, others, ahead))
        block = self._tile(tile, v, body, sources, others, ahead)
        if tile.whole:
            return around(tile.before, ["{", *indent(block), "}"])
        is_first = tile.cut == loop.symbols[0]
        bounds = (low, high) if is_first else ("0", str(tile.cut.extent))
        cut = f"const int64_t {tile.last} = SN_MIN({tile.first} + {tile.step}, {bounds[1]});"
        return around(tile.before, for_(tile.first, *bounds, [cut, *block], tile.step))

    def _tile(
        self, tile: _Tile, v: Symbol, body: tuple[Statement, ...], sources: dict[Reduce, str],
        others: tuple[Reduce, ...], ahead: tuple[Load, ...],
    ) -> list[str]:  # fmt: skip
        """What computes a tile's elements and combines them with those before."""
        made = tuple(r for r in sources if sources[r] == _block(r))
        results = {r: f"sn_{r.combine}_{_suffix(r)}({x}, {tile.count})" for r, x in sources.items()}
        blocks, inside = _blocks(made, tile.size), list[str]()
        ends = ("0", str(v.extent)) if tile.after else (tile.first, tile.last)
        if made and tile.has_pieces and not (ahead or self.kernel.streams):
            blocks = [*_blocks(made, PIECE), *_lanes(made)]
            inside, left, taken = self._pieces(tile, v, *ends, body, made, others)
            for r in made:
                arguments = f"{r.name}_lanes, {_block(r)}, {left}, {taken}"
                results[r] = f"sn_{r.combine}_end_{_suffix(r)}({arguments})"
        elif any(not isinstance(s, Load) for s in body):
            inside = self.innermost(v, *ends, body, others, ahead)
        results_of = (combined(r, r.name, text) for r, text in results.items())
        return [*blocks, *tile.across(inside), *results_of]

    def _pieces(
        self, tile: _Tile, v: Symbol, low: str, high: str, body: tuple[Statement, ...],
        made: tuple[Reduce, ...], others: tuple[Reduce, ...],
    ) -> tuple[list[str], str, str]:  # fmt: skip
        """The loop over the last axis in pieces, each of which goes to the lanes from registers.

        -> lines, the number of elements left in the blocks, the number of those in the lanes
        """
        start, k = f"{v.text}_p", Symbol(f"{v.text}_k", PIECE)
        names = {_block(r) for r in made}
        body = (
            At(v.text, f"{start} + {k.text}"),
            *(
                replace(s, at=Index.of(k)) if isinstance(s, Keep) and s.name in names else s
                for s in body
            ),
        )
        piece = self.innermost(k, "0", str(PIECE), body, others)
        piece += [
            f"sn_{r.combine}_more_{_suffix(r)}({r.name}_lanes, {_block(r)}, {PIECE});" for r in made
        ]
        if not tile.has_rest:
            return for_(start, low, high, piece, PIECE), "0", tile.count
        loop = [f"for (; {start} + {PIECE} <= {high}; {start} += {PIECE}) {{", *indent(piece), "}"]
        rest = self.innermost(k, "0", f"{high} - {start}", body, others)
        lines = [f"int64_t {start} = {low};", *loop, *rest]
        return lines, f"{high} - {start}", f"{start} - {low}"

    def _shared(self) -> list[str]:
        """Few long rows: threads share the blocks of each, and all combine the blocks' results."""
        kernel = self.kernel
        inside = positions(kernel.outer, "o")
        slot = 0
        for loop in kernel.loops:
            inside += _by_first(loop.before)
            reduces = reduces_of(loop)
            extent = loop.symbols[0].extent
            low, high = f"b*{kernel.lines}", f"SN_MIN((b + 1)*{kernel.lines}, {extent})"
            block = [*starts(reduces), *self._nest(loop, reduces, low, high)]
            rooms = {r.name: room(r, (slot + i) * kernel.blocks) for i, r in enumerate(reduces)}
            slot += len(reduces)
            block += [f"{rooms[r.name]}[b] = {r.name};" for r in reduces]
            inside += [
                "{",
                *indent([*share_of(kernel.blocks), *for_("b", "begin", "end", block)]),
                "}",
            ]
            if reduces:
                inside.append("#pragma omp barrier")
                inside += starts(reduces)
                parts = [combined(r, r.name, f"{rooms[r.name]}[b]") for r in reduces]
                inside += for_("b", 0, kernel.blocks, parts)
        inside += _by_first(kernel.after)
        if kernel.rows > 1:
            inside.append("#pragma omp barrier")
        return for_("o", 0, kernel.rows, inside)


def _flat(
    loop: Loop, gathers: bool, shared: bool
) -> tuple[tuple[Symbol, ...], tuple[Statement, ...], _Tile]:
    """A loop's axes, body and tile; axes of a tile, or all if nothing is gathered, are one if that
    is all the same to what is read and written: short ones fill no vectors.

    A tile has the elements that it had, and so a sum its bits.
    """
    symbols, body = loop.symbols, loop.body
    tile = _Tile.of(symbols, shared)
    if shared:
        return symbols, body, tile
    front = tile.before if gathers else ()
    group = symbols[len(front) :]
    outer, inner, merged = merged_axes(group[:-1], group[-1:], body)
    if not gathers:
        return (*outer, *inner), merged, tile
    if outer or len(group) == 1:
        return symbols, body, tile
    return (*front, *inner), merged, _Tile(front, inner[0], (), tile.step * tile.inner, tile.whole)


def _block(r: Reduce) -> str:
    """The name of the block of a reduction's computed elements."""
    return f"{r.name}_block"


def _blocks(reduces: tuple[Reduce, ...], size: int) -> list[str]:
    """Blocks for computed elements."""
    return [f"{c_type(r.dtype)} {_block(r)}[{size}] SN_ALIGNED;" for r in reduces]


def _lanes(reduces: tuple[Reduce, ...]) -> list[str]:
    """Lanes of blocks that are combined in pieces, without an element yet."""
    lines = []
    for r in reduces:
        lines.append(f"sn_lanes_{_suffix(r)} {r.name}_lanes[4];")
        lines.append(f"sn_{r.combine}_none_{_suffix(r)}({r.name}_lanes);")
    return lines


def _suffix(r: Reduce) -> str:
    return short_name(r.dtype)


def _gathering(
    body: tuple[Statement, ...], gathered: tuple[Reduce, ...], tile: _Tile
) -> tuple[tuple[Statement, ...], dict[Reduce, str]]:
    """A loop's body that leaves a tile's elements in blocks, and where those of each reduction are.

    What is kept, or lies in memory, in order needs no block; unless where it lies is computed in
    the loop, by indices that are read and checked there.
    """
    sources: dict[Reduce, str] = {}
    lines: list[Statement] = []
    computed = {s.name for s in body if isinstance(s, At)}
    in_order = [s for s in body if isinstance(s, Keep | Load) and not names_in(s.at) & computed]
    for s in body:
        if not isinstance(s, Reduce) or s not in gathered:
            lines.append(s)
            continue
        sources[s] = next((f for t in in_order if (f := _source(t, s, tile))), _block(s))
        if sources[s] == _block(s):
            lines.append(Keep(_block(s), tile.place(), s.dtype, s.text))
    return tuple(lines), sources


def _source(s: Keep | Load, reduce: Reduce, tile: _Tile) -> str:
    """The address of a tile's elements of a reduction, if this statement tells it."""
    if isinstance(s, Keep):
        name, same = s.name, s.text == reduce.text
    else:
        name, same = s.buffer, s.name == reduce.text and s.dtype not in HALVES
    return f"{name} + {tile.start(s.at)}" if same and tile.is_run(s.at) else ""


def _by_first(statements: tuple[Statement, ...]) -> list[str]:
    """Row statements that all threads run, and of which one stores."""
    lines = []
    for s in statements:
        lines += [f"if (share == 0) {statement(s)[0]}"] if isinstance(s, Store) else statement(s)
    return lines
