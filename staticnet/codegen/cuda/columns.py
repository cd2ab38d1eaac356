"""Columns as CUDA: neighbouring threads have neighbouring columns, and others more of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from staticnet.codegen.cuda.part import SLOT, THREADS, Part, ceil_div, power_of_2
from staticnet.codegen.cuda.statements import (
    Writer,
    block,
    combination,
    combined,
    reduces,
    starts,
)
from staticnet.codegen.kernel import Kernel, Reduce
from staticnet.codegen.scope import c_type

WANTED_BLOCKS = 512  # that share the rows
MIN_ROWS = 64  # of a block that shares them
TILE = 32  # columns of a block
COLUMN_BLOCKS = 4  # at once; to have one more of its own accord the compiler may spill


def column_parts(kernel: Kernel, writer: Writer) -> list[Part]:
    """One part, or of many rows two: blocks of rows, and their combination."""
    (loop,) = kernel.loops
    found, chunks, rows = reduces(loop.body), _chunks(kernel), _rows(kernel)
    body = [*writer.positions(loop.symbols, "r"), *writer.lines(loop.body)] if rows else []
    if chunks == 1:
        return [_part(kernel, writer, 1, body, str(rows), writer.lines(kernel.after))]
    rooms = [_room(r, i * chunks * kernel.rows) for i, r in enumerate(found)]
    place = f"[{writer.wide}chunk * {kernel.rows} + c]"
    leave = [f"{room}{place} = {r.name};" for r, room in zip(found, rooms, strict=True)]
    size = ceil_div(rows, chunks)
    parts = [
        combined(r, f"{room}[r * {kernel.rows} + c]") for r, room in zip(found, rooms, strict=True)
    ]
    return [
        _part(kernel, writer, chunks, body, f"sn_clamp(first + {size}, 0, {rows})", leave, size),
        _part(kernel, writer, 1, parts, str(chunks), writer.lines(kernel.after), scratch=True),
    ]


def scratch_bytes(kernel: Kernel) -> int:
    """Bytes of partial results."""
    chunks = _chunks(kernel)
    return chunks * kernel.rows * len(reduces(kernel.loops[0].body)) * SLOT if chunks > 1 else 0


def _rows(kernel: Kernel) -> int:
    return math.prod(s.extent for s in kernel.loops[0].symbols)


def _across(kernel: Kernel) -> int:
    """The columns of a block."""
    return min(TILE, power_of_2(kernel.rows))


def _chunks(kernel: Kernel) -> int:
    """In how many parts blocks share the rows."""
    return chunks_of(kernel.rows, _rows(kernel))


def chunks_of(columns: int, rows: int) -> int:
    """In how many parts blocks share the rows above so many columns."""
    tiles = max(1, ceil_div(columns, min(TILE, power_of_2(columns))))
    return max(1, min(WANTED_BLOCKS // tiles, rows // MIN_ROWS))


def _part(
    kernel: Kernel, writer: Writer, chunks: int, body: Sequence[str], end: str,
    finish: Sequence[str], size: int = 0, scratch: bool = False,
) -> Part:  # fmt: skip
    """Blocks of columns and of `size` rows (0: all), from `first` to `end`."""
    across, index = _across(kernel), writer.index
    found = reduces(kernel.loops[0].body)
    tiles = ceil_div(kernel.rows, across)
    first = [f"const {index} first = {writer.wide}chunk * {size};"] if size else []
    start = f"{'first + ' if size else ''}threadIdx.x / {across}"
    inside = [
        *first,
        "#pragma unroll 4",
        *block(f"for ({index} r = {start}; r < {end}; r += {THREADS // across})", body),
    ]
    down = [
        f"{r.name} = sn_reduce_down<{combination(r)}, {across}, {THREADS}>({r.name});"
        for r in found
    ]
    columns = writer.positions(kernel.outer, "c")
    lines = [
        f"const int chunk = block / {tiles};" if chunks > 1 else "",
        f"const {index} c = {writer.wide}(block % {tiles}) * {across} + threadIdx.x % {across};",
        *columns,
        *starts(found),
        *block(f"if (c < {kernel.rows})", inside),
        *down,
        *block(f"if (threadIdx.x < {across} && c < {kernel.rows})", finish),
    ]
    text, scratch = tuple(filter(None, lines)), scratch or chunks > 1
    return Part(text, tiles * chunks, THREADS, scratch=scratch, together=COLUMN_BLOCKS)


def _room(r: Reduce, slot: int) -> str:
    """The scratch memory of a reduction's partial results."""
    return f"(({c_type(r.dtype)} *)(scratch + {slot * SLOT}))"
