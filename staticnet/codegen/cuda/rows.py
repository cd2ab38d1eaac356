"""Rows as CUDA: threads share each row, and blocks share it where rows are few and long."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from staticnet.codegen.cuda.part import MAX_BLOCKS, SLOT, THREADS, Part, ceil_div, power_of_2
from staticnet.codegen.cuda.statements import (
    NOTHING_HELD,
    REGISTER,
    Held,
    Writer,
    block,
    combination,
    combined,
    names,
    reduces,
    starts,
)
from staticnet.codegen.kernel import Keep, Kernel, Load, Loop, Reduce, Statement, Store
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import FLOAT32, DType
from staticnet.ir.index import Index
from staticnet.plan.partials import LONG_ROW, SHARED_ROWS

SMALL_BLOCK = 128  # threads of a block whose warps have rows of their own
CHUNK = 4096  # elements of a long row that a block takes at least
WANTED_BLOCKS = 2 * SHARED_ROWS
MAX_GRID = 2**31 - 1  # blocks of a launch
MAX_HELD_BYTES = 128  # of a row, in the registers of one thread


def row_parts(kernel: Kernel, writer: Writer) -> list[Part]:
    """One part, or of few long rows one for each loop and one for what comes after."""
    width = _width(kernel)
    kept = f"j * {width} + l" if width > 1 else "j"
    printer = _Rows(_with_numbered_keeps(kernel, kept), writer, width, kept)
    return printer.shared() if printer.chunks > 1 else [printer.alone()]


def scratch_bytes(kernel: Kernel) -> int:
    """Bytes of partial results."""
    count = sum(len(reduces(loop.body)) for loop in kernel.loops)
    chunks = _chunks(kernel)
    return kernel.rows * chunks * count * SLOT if chunks > 1 else 0


def _length(kernel: Kernel) -> int:
    return math.prod(s.extent for s in kernel.loops[0].symbols)


def _chunks(kernel: Kernel) -> int:
    """In how many parts blocks share a row."""
    return 1 if kernel.keeps else chunks_of(kernel.rows, _length(kernel))


def chunks_of(rows: int, length: int) -> int:
    """In how many parts blocks share rows of which nothing is kept."""
    if length < LONG_ROW or rows * 2 > WANTED_BLOCKS or rows == 0:
        return 1
    return min(length // CHUNK, WANTED_BLOCKS // rows)


def _lanes(length: int, width: int) -> int:
    """The threads that share a row in one block: part of a warp, a warp, or all."""
    for longest, lanes in ((512, 32), (1024, 128), (4096, 256), (8192, 512)):
        if length <= longest:
            return min(lanes, power_of_2(length // width))
    return 1024


def _width(kernel: Kernel) -> int:
    """Elements that a thread takes at a time, the same in all loops.

    With the threads of a row they make the order of its sums: the row's length alone decides, and
    not what else is read there, so that a sum has the same bits in every kernel.
    """
    length = kernel.loops[0].symbols[-1].extent
    return next(width for width in (4, 2, 1) if length % width == 0) if length else 1


def _with_numbered_keeps(kernel: Kernel, number: str) -> Kernel:
    """The kernel with `name[number]` for an element of the row that is kept."""
    places = {
        f"{s.name}[{s.at}]": f"{s.name}[{number}]"
        for loop in kernel.loops
        for s in loop.body
        if isinstance(s, Keep)
    }

    def numbered(s: Statement) -> Statement:
        if isinstance(s, Load):
            return s
        text = s.text
        for place, name in places.items():
            text = text.replace(place, name)
        return replace(s, text=text)

    loops = tuple(replace(x, body=tuple(map(numbered, x.body))) for x in kernel.loops)
    return replace(kernel, loops=loops)


@dataclass(frozen=True)
class _Rows:
    kernel: Kernel
    writer: Writer
    width: int
    kept: str

    @property
    def chunks(self) -> int:
        return _chunks(self.kernel)

    @property
    def length(self) -> int:
        return _length(self.kernel)

    def alone(self) -> Part:
        """Rows, each by threads of one block."""
        lanes = _lanes(self.length, self.width)
        threads = max(lanes, SMALL_BLOCK)
        rows, index, wide = threads // lanes, self.writer.index, self.writer.wide
        packs = ceil_div(self.length, lanes * self.width)
        inside = self.writer.positions(self.kernel.outer, "o")
        held = self._held(packs)
        inside += self._arrays(held, packs)
        for number, loop in enumerate(self.kernel.loops):
            inside += self._row(loop.before, "lane == 0")
            found = reduces(loop.body)
            inside += starts(found)
            if (self.kernel.keeps or held.arrays) and self.length:
                apart = self._apart(held, packs, threads, number)
                turn = [*apart, f"const {index} e = {self._packs(f'j * {lanes} + lane')};"]
                inside += self._again(held, anew=not apart) if number else []
                element = block(f"if (e < {self.length})", self._element(loop, held))
                head = f"for (int j = 0; j < {packs}; ++j)"
                inside += ["#pragma unroll", *block(head, [*turn, *element])]
            else:
                inside += self._over(loop, "lane", str(self.length), lanes)
            inside += _reduced(found, lanes)
        inside += self._row(self.kernel.after, "lane == 0")
        own = f"{wide}block * {rows} + threadIdx.x / {lanes}" if rows > 1 else "block"
        first = f"{index} o = {own};"
        blocks = min(ceil_div(self.kernel.rows, rows), MAX_GRID if rows == 1 else 8 * MAX_BLOCKS)
        if blocks * rows == self.kernel.rows:  # what a loop leaves as it is would take registers
            over = [f"const {first}", *inside]
        else:
            step = f"o += {wide}blocks * {rows}"
            over = block(f"for ({first} o < {self.kernel.rows}; {step})", inside)
        lines = (f"int lane = threadIdx.x % {lanes};", *over)
        return Part(lines, blocks, threads, together=int(threads == 1024 and bool(held.arrays)))

    def _held(self, packs: int) -> Held:
        """The loads that several loops make, as many as registers hold."""
        loads = Counter(
            key
            for loop in self.kernel.loops
            for key in dict.fromkeys((s.buffer, s.at) for s in loop.body if isinstance(s, Load))
        )
        sizes = {p.name: self._held_bytes(p.dtype, packs) for p in self.kernel.parameters}
        kept = sum(max(dtype.itemsize, REGISTER) for _, dtype, _ in self.kernel.keeps)
        room = MAX_HELD_BYTES - kept * packs * self.width
        held = Held()
        for (buffer, at), loops in loads.items():
            if loops > 1 and self._can_hold(buffer, at) and sizes[buffer] <= room:
                held.arrays[buffer, at] = f"h{len(held.arrays)}"
                room -= sizes[buffer]
        return held

    def _held_bytes(self, dtype: DType, packs: int) -> int:
        """Bytes of the registers that so many packs take: a pack has its own, elements share."""
        if self.width > 1:
            return packs * REGISTER * ceil_div(dtype.itemsize * self.width, REGISTER)
        return REGISTER * ceil_div(dtype.itemsize * packs, REGISTER)

    def _can_hold(self, buffer: str, at: Index) -> bool:
        """Whether loops read the same there, at places that loop variables tell, in whole packs."""
        load = Load("", buffer, at, FLOAT32)
        symbols = self.kernel.loops[0].symbols
        inner, outer = {s.text for s in symbols}, {s.text for s in self.kernel.outer}
        used = names(load)
        return (
            buffer in self._read_only()
            and bool(used & inner)
            and used <= inner | outer
            and (self.width == 1 or self.writer.is_pack(load, symbols[-1], self.width))
        )

    def _read_only(self) -> set[str]:
        return {p.name for p in self.kernel.parameters if not p.written} - self.writer.empty

    def _arrays(self, held: Held, packs: int) -> list[str]:
        """Registers for what a thread keeps and holds of a row."""
        size = max(1, packs)
        lines = [f"{c_type(t)} {name}[{size * self.width}];" for name, t, _ in self.kernel.keeps]
        dtypes = self._dtypes()
        for (buffer, _), name in held.arrays.items():
            dtype = dtypes[buffer]
            if self.width > 1:
                lines.append(f"sn_pack<{c_type(dtype)}, {self.width}> {name}[{size}];")
            elif dtype.itemsize < REGISTER:
                lines.append(f"sn_held<{c_type(dtype)}, {size}> {name};")
            else:
                lines.append(f"{c_type(dtype)} {name}[{size}];")
        return lines

    def _again(self, held: Held, anew: bool) -> list[str]:
        """Before a loop after the first: it reads (`anew`), and takes apart what is held, anew.

        Its turns are written out as the first's are: a compiler that sees them compute the same
        holds all of it, and that may be far more than there are registers.
        """
        filled = {slot.partition("[")[0] for slot in held.filled}
        names = [name for name in held.arrays.values() if name in filled]
        return ["sn_again(lane);"] * anew + [f"sn_again({name});" for name in names]

    def _apart(self, held: Held, packs: int, threads: int, number: int) -> list[str]:
        """In the turns of loop `number`: where they begin is computed anew, for four elements once.

        A compiler that knows all places at once mixes the turns, and has none of the registers that
        takes where the row fills most of a thread's. The first loop's packs are read all at once.
        """
        dtypes = self._dtypes()
        taken = sum(self._held_bytes(dtypes[buffer], packs) for buffer, _ in held.arrays)
        turns = max(1, 4 // self.width)
        if threads < 1024 or 2 * taken <= MAX_HELD_BYTES or (number == 0 and turns == 1):
            return []
        return [f"if (j % {turns} == 0) sn_again(lane);" if turns > 1 else "sn_again(lane);"]

    def _dtypes(self) -> dict[str, DType]:
        return {p.name: p.dtype for p in self.kernel.parameters}

    def _element(self, loop: Loop, held: Held = NOTHING_HELD) -> list[str]:
        """The statements of a pack of elements from `e` on."""
        lines = self.writer.positions(loop.symbols, "e", self.width)
        return [*lines, *self.writer.pack(loop.body, loop.symbols[-1], self.width, self.kept, held)]

    def _packs(self, count: str) -> str:
        """The elements of so many packs."""
        if self.width == 1:
            return count
        return f"({count}) * {self.width}" if " " in count else f"{count} * {self.width}"

    def _over(self, loop: Loop, first: str, end: str, threads: int) -> list[str]:
        head = (
            f"for ({self.writer.index} e = {self._packs(first)}; e < {end}; "
            f"e += {threads * self.width})"
        )
        return block(head, self._element(loop)) if self.length else []

    def _row(self, statements: Iterable[Statement], one: str) -> list[str]:
        """Statements of a row's values: all threads compute them, `one` stores them."""
        return [
            f"if ({one}) {self.writer.line(s)}" if isinstance(s, Store) else self.writer.line(s)
            for s in statements
        ]

    def shared(self) -> list[Part]:
        """Long rows: a part for each loop, and one for what comes after the last."""
        count = len(self.kernel.loops)
        parts = [self._stage(i, self.chunks) for i in range(count)]
        return [*parts, self._stage(count, 1)] if self.kernel.after else parts

    def _stage(self, stage: int, chunks: int) -> Part:
        """Blocks of one loop: they combine what the loops before it left, and leave their own."""
        index = self.writer.index
        lines = [
            "const int lane = threadIdx.x;",
            f"const int chunk = block % {chunks};",
            f"const {index} o = block / {chunks};",
            *self.writer.positions(self.kernel.outer, "o"),
        ]
        slot = 0
        for number, loop in enumerate(self.kernel.loops[: stage + 1]):
            before = loop.before if number == stage else _without_stores(loop.before)
            lines += self._row(before, "chunk == 0 && lane == 0")
            found = reduces(loop.body)
            rooms = [
                _room(r, (slot + i) * self.kernel.rows * self.chunks) for i, r in enumerate(found)
            ]
            slot += len(found)
            lines += starts(found)
            if number < stage:
                for r, room in zip(found, rooms, strict=True):
                    part = combined(r, f"{room}[o * {self.chunks} + b]")
                    head = f"for (int b = lane; b < {self.chunks}; b += {THREADS})"
                    lines += block(head, [part])
                lines += _reduced(found, THREADS)
                continue
            width = self.width
            size = ceil_div(ceil_div(self.length, width), self.chunks) * width
            lines.append(
                f"const {index} end = sn_clamp((chunk + 1) * ({index}){size}, 0, {self.length});"
            )
            start = f"chunk * ({index}){size // width} + lane"
            lines += self._over(loop, start, "end", THREADS)
            lines += _reduced(found, THREADS)
            lines += [
                f"if (lane == 0) {room}[o * {self.chunks} + chunk] = {r.name};"
                for r, room in zip(found, rooms, strict=True)
            ]
        if stage == len(self.kernel.loops):
            lines += self._row(self.kernel.after, "lane == 0")
        return Part(tuple(lines), self.kernel.rows * chunks, THREADS, scratch=True)


def _without_stores(statements: Iterable[Statement]) -> list[Statement]:
    return [s for s in statements if not isinstance(s, Store)]


def _reduced(found: Iterable[Reduce], threads: int) -> list[str]:
    """Each thread of a row gets the row's result."""
    return [f"{r.name} = sn_reduce<{combination(r)}, {threads}>({r.name});" for r in found]


def _room(r: Reduce, slot: int) -> str:
    """The scratch memory of a reduction's partial results."""
    return f"(({c_type(r.dtype)} *)(scratch + {slot * SLOT}))"
